"""One module for each group of commands.

Belongs here: what a command asks of the services, and how its answer is worded.
Does not: reading arguments (`arguments`), tables and JSON (`output`).
"""

from studio.cli.commands import (
    bundles,
    citing,
    compare,
    doctor,
    gate,
    generations,
    ingest,
    jobs,
    library,
    memory,
    quality,
    searching,
    tags,
    tuning,
    watch,
)

__all__ = [
    "bundles",
    "citing",
    "compare",
    "doctor",
    "gate",
    "generations",
    "ingest",
    "jobs",
    "library",
    "memory",
    "quality",
    "searching",
    "tags",
    "tuning",
    "watch",
]
