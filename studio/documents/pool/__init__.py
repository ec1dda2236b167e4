"""Parser processes from this side: started, confined, limited in time and memory, replaced.

Belongs here: everything about the processes.
Does not: what runs in them (`parser_worker`, `parsers`).
"""

from studio.documents.pool.pool import ParserPool

__all__ = [
    "ParserPool",
]
