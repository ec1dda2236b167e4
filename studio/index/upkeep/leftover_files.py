"""Files, tags and tables in a knowledge base's folder that belong to no generation.

What an interrupted build or collection leaves behind is taken by the next collection; it is counted as `waiting`.
Anything else that no generation knows is a `stray`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from studio.domain import Generation
from studio.errors import StudioError
from studio.index.files import try_lock
from studio.index.generations import GenerationStore, tag_of
from studio.index.vectors import DOCUMENTS_TABLE, VectorDatabase

_LEASE = re.compile(r"g\d+")
_TEXT = re.compile(r"[0-9a-f]{64}\.")


@dataclass(frozen=True, slots=True)
class Listing:
    """Names found in a knowledge base's folder."""

    lexical: set[str]
    leases: set[str]
    texts: set[str]
    tables: set[str]
    tags: set[str]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What belongs to no generation: names of strays, and how many files wait for the next collection."""

    strays: list[str]
    waiting: int


async def listing(store: GenerationStore, vectors: VectorDatabase) -> Listing:
    """List first and ask the catalog afterwards: then whatever a job makes in between is not in the list."""
    tables: set[str] = set()
    tags: set[str] = set()
    with suppress(StudioError):
        tables.update(await vectors.table_names())
    for table in tables:
        with suppress(StudioError):
            tags.update(await vectors.tags_of(table))
    paths = store.paths
    lexical, leases, texts = await asyncio.to_thread(
        lambda: [_names(folder) for folder in (paths.lexical, paths.leases, paths.texts)]
    )
    return Listing(lexical, leases, texts, tables, tags)


def leftovers(found: Listing, generations: Sequence[Generation], texts: Iterable[str] | None) -> Leftovers:
    """Compare a listing with generations that were asked for after it, and the texts these need (None: not known)."""
    known = {tag_of(item.number) for item in generations}
    tables = {item.chunks_table for item in generations} | {DOCUMENTS_TABLE}
    unneeded = found.texts.difference(texts) if texts is not None else set()
    strays = [
        *(f"lexical/{name}" for name in found.lexical - known),
        *(f"leases/{name}" for name in found.leases - known if not _LEASE.fullmatch(name)),
        *(f"texts/{name}" for name in unneeded if not _TEXT.match(name)),
        *(f"tag {name}" for name in found.tags - known),
        *(f"table {name}" for name in found.tables - tables),
    ]
    leases = sum(1 for name in found.leases - known if _LEASE.fullmatch(name))
    return Leftovers(sorted(strays), leases + sum(1 for name in unneeded if _TEXT.match(name)))


def is_locked(path: Path) -> bool:
    """Whether a job holds the writer's lock; nothing is created to find out. Raises StorageFault."""
    if not path.is_file():
        return False
    lock = try_lock(path, shared=True)
    if lock is None:
        return True
    lock.release()
    return False


def _names(folder: Path) -> set[str]:
    with suppress(OSError):
        return {path.name for path in folder.iterdir()}
    return set()
