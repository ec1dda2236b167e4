"""Reading what is left of tables that do not open any more: fragment by fragment, version by version.

With `upkeep` and `vectors` an importer of `lance`. Nothing here raises for damage: what cannot be read is not there.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.domain import Chunk, DocumentRecord
from studio.index.rows import chunk_of, records_of

_CHUNK_COLUMNS = (
    "chunk_id", "document_id", "content", "content_hash", "page_number", "anchor", "char_start", "char_end", "metadata",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Document rows that could be read. `complete` when they are all rows of the version that was asked for."""

    records: list[DocumentRecord]
    complete: bool


async def salvaged_records(table: Path, version: int) -> Salvaged:
    """Rows of a documents table (its directory): those of a version, and where some of its files are damaged those of
    the versions before it for the paths that are missing. A row that was removed in between may come back so.
    """
    lance = await asyncio.to_thread(importlib.import_module, "lance")

    def read() -> Salvaged:
        found: dict[tuple[str, int], DocumentRecord] = {}
        for number in range(version, 0, -1):
            records, whole = _records(lance, table, number)
            paths = {path for path, _ in found}
            found |= {(row.source_path, row.row): row for row in records if row.source_path not in paths}
            if whole:
                return Salvaged([*found.values()], number == version)
        return Salvaged([*found.values()], False)

    return await asyncio.to_thread(read)


def _records(lance: Any, table: Path, version: int) -> tuple[list[DocumentRecord], bool]:
    records: list[DocumentRecord] = []
    whole = False
    with suppress(Exception):  # what a damaged file makes the library raise has no common type
        fragments = lance.dataset(str(table), version=version).get_fragments()
        whole = True
        for fragment in fragments:
            try:
                records += records_of(fragment.to_table())
            except Exception:
                whole = False
    return records, whole


async def salvaged_chunks(table: Path, version: int) -> list[Chunk]:
    """Chunks of a version of a table (its directory), out of those of its files that can be read."""
    lance = await asyncio.to_thread(importlib.import_module, "lance")

    def read() -> list[Chunk]:
        return [*_chunks(lance, table, version)]

    return await asyncio.to_thread(read)


def _chunks(lance: Any, table: Path, version: int) -> Iterator[Chunk]:
    with suppress(Exception):
        for fragment in lance.dataset(str(table), version=version).get_fragments():
            with suppress(Exception):
                rows = fragment.to_table(columns=[*_CHUNK_COLUMNS]).to_pylist()
                yield from map(chunk_of, rows)
