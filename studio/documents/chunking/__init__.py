"""From a text to chunks.

Belongs here: sentences, and cutting by tokens.
Does not: extracting a text (`parsers`).
"""

from studio.documents.chunking.chunker import HEADING_SEPARATOR, make_chunks, segment
from studio.documents.chunking.token_chunks import cut

__all__ = [
    "HEADING_SEPARATOR",
    "cut",
    "make_chunks",
    "segment",
]
