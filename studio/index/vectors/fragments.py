"""What can still be read of a damaged table: fragment by fragment through its manifest, else file by file without one.

A version's own fragments honour deletions. A data file that no manifest leads to tells the rows that were written to
it, whatever was deleted later: callers prefer what a manifest tells.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from studio.domain import Chunk, DocumentRecord
from studio.index.vectors.lance_internals import data_files, is_panic
from studio.index.vectors.rows import ROWS_PER_TURN, by_path, chunk_of, document_key, record_of_row

_CHUNK = (
    "chunk_id", "document_id", "content", "content_hash", "page_number", "anchor", "char_start", "char_end", "metadata",
)  # fmt: skip
Row = TypeVar("Row")


@dataclass(slots=True)
class Remains(Generic[Row]):
    """Rows that could be read, and whether those are all rows of the version."""

    rows: list[Row] = field(default_factory=list)
    whole: bool = False


async def records_left(table: Path, version: int | None) -> Remains[DocumentRecord]:
    """The document rows of a version of a table (its directory); None: of all its data files, in any order."""
    found = await asyncio.to_thread(_read, table, version, None, _record)
    return Remains(by_path(found.rows), found.whole)


async def chunks_left(table: Path, version: int | None) -> Remains[Chunk]:
    """The chunk rows of a version of a table, but for those whose text differs from its hash; None as above."""
    return await asyncio.to_thread(_read, table, version, list(_CHUNK), _chunk)


def _record(row: dict[str, Any]) -> DocumentRecord | None:
    if row["document_key"] != document_key(row["document_id"], row["source_path"]):
        return None
    return record_of_row(row)


def _chunk(row: dict[str, Any]) -> Chunk | None:
    content_hash = hashlib.sha256(row["content"].encode("utf-8", "replace")).hexdigest()
    return chunk_of(row) if content_hash == row["content_hash"] else None


def _read(
    table: Path, version: int | None, columns: list[str] | None, row_of: Callable[[dict[str, Any]], Row | None]
) -> Remains[Row]:
    found: Remains[Row] = Remains()
    if version is None:
        for file in sorted(data_files(table), key=_age):
            found.rows += _rows(partial(_file_rows, file, columns), row_of)[0]
        return found
    lance = importlib.import_module("lance")
    try:
        fragments = lance.dataset(str(table), version=version).get_fragments()
    except BaseException as error:
        _refuse_other(error)
        return found
    found.whole = True
    for fragment in fragments:
        rows, whole = _rows(partial(fragment.to_table, columns=columns), row_of)
        found.rows += rows
        found.whole = found.whole and whole
    return found


def _rows(read: Callable[[], Any], row_of: Callable[[dict[str, Any]], Row | None]) -> tuple[list[Row], bool]:
    """The rows of one file, and whether each of them was sound."""
    rows: list[Row] = []
    whole = True
    try:
        for batch in read().to_batches(max_chunksize=ROWS_PER_TURN):
            for values in batch.to_pylist():
                try:
                    row = row_of(values)
                except (ValueError, TypeError, KeyError):
                    row = None
                if row is None:
                    whole = False
                else:
                    rows.append(row)
    except BaseException as error:
        _refuse_other(error)
        whole = False
    return rows, whole


def _file_rows(file: Path, columns: Sequence[str] | None) -> Any:
    reader = importlib.import_module("lance.file").LanceFileReader(str(file))
    table = reader.read_all().to_table()
    return table.select(columns) if columns is not None else table


def embeddings_without_manifest(table: Path) -> Iterable[Any]:
    """Record batches of `content_hash`, `metadata` and `embedding` of every data file that can be read."""
    for file in data_files(table):
        try:
            yield from _file_rows(file, ["content_hash", "metadata", "embedding"]).to_batches(ROWS_PER_TURN)
        except BaseException as error:
            _refuse_other(error)


def _refuse_other(error: BaseException) -> None:
    """Go on after anything a damaged file makes the library raise."""
    if not isinstance(error, Exception) and not is_panic(error):
        raise error


def _age(file: Path) -> int:
    return file.stat().st_mtime_ns
