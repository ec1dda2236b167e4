"""Looking at a generation row by row and file by file: what must hold of it, and what does not.

Nothing here changes anything. A store that cannot be read is a finding (`tables_fault`, `keywords_fault`) and never
an exception, whatever the damage makes a library raise. Rows are compared as Arrow columns and turned into Python
values some hundred at a time, so that a window stays responsive next to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from studio.domain import Chunk, DocumentRecord, DocumentStatus, Generation
from studio.errors import StudioError
from studio.index.keywords import (
    FOOTER_MAGIC,
    FOOTER_MAX_BYTES,
    FOOTER_TAIL_BYTES,
    REPLACED,
    LexicalReader,
    files_of_index,
    segment_files,
)
from studio.index.vectors import ROWS_PER_TURN, TableReader, VectorDatabase, matrix_of, sound_rows, text_key

SAMPLE_CHUNKS = 200
"""Chunks of a generation that are looked up one by one: spread evenly over the sorted ids, the same in every run."""

_SCANNED = ("chunk_id", "document_id", "content", "content_hash", "embedding")
_IDS_PER_TURN = 2000
_READ_BYTES = 1 << 20

Verdicts = dict[tuple[int, int], bool]
"""(device, inode) → sound: generations share files, and each is read once."""


@dataclass(slots=True)
class Audit:
    """What was found in one generation. Documents are named by their ids."""

    generation: Generation
    tables_fault: str = ""
    """Why the tables cannot be read, "" when they can; then what follows is known."""
    keywords_fault: str = ""
    """Why the keyword index cannot be used."""
    rows: int = 0
    repeated: int = 0
    keywords: int = 0
    same_chunks: bool = False
    dimension: int = 0
    documents: int = 0
    texts: set[str] = field(default_factory=set)
    """Names of the stored texts that its documents come from."""
    unsound: set[str] = field(default_factory=set)
    """Documents with an embedding that is not finite, has no length or too few numbers."""
    altered: set[str] = field(default_factory=set)
    """Documents with a passage that differs from its hash."""
    miscounted: set[str] = field(default_factory=set)
    """Documents with more or fewer chunks than their row says, or with chunks and no row."""
    sample: list[tuple[Chunk, DocumentRecord]] = field(default_factory=list)
    """Some chunks with the rows of their documents."""

    @property
    def counted(self) -> bool:
        """Whether tables, document rows and catalog tell the same numbers."""
        counts = (self.generation.chunks, self.generation.documents)
        return not self.miscounted and counts == (self.rows, self.documents)

    @property
    def damaged(self) -> set[str]:
        """Documents whose rows cannot be trusted."""
        return self.unsound | self.altered | self.miscounted

    @property
    def whole(self) -> bool:
        """Whether the generation answers searches as it did when it was built; texts are looked at elsewhere."""
        return not self.tables_fault and not self.damaged and self.same_chunks


async def audit(vectors: VectorDatabase, lexical: Path, generation: Generation, verdicts: Verdicts) -> Audit:
    """Look at the tables and the keyword index (the directory `lexical`) of a generation that is leased."""
    result = Audit(generation)
    ids: Any = None
    try:
        ids = await _audit_tables(vectors, result)
    except Exception as error:  # what a damaged file makes a library raise has no common type
        result.tables_fault = _sentence(error)
    try:
        keywords = await asyncio.to_thread(_keyword_ids, lexical, generation, verdicts)
        result.keywords = len(keywords)
        result.same_chunks = ids is not None and not result.repeated and await asyncio.to_thread(_same, ids, keywords)
    except Exception as error:
        result.keywords_fault = _sentence(error)
    return result


async def _audit_tables(vectors: VectorDatabase, result: Audit) -> Any:
    """Fill in what the tables tell; returns the sorted column of chunk ids."""
    generation = result.generation
    reader = await vectors.reader(generation.chunks_table, generation.chunks_version, generation.documents_version)
    try:
        records = [item for item in await reader.documents() if item.status is DocumentStatus.INDEXED]
        result.documents = len(records)
        result.texts = {text_key(record.sha256, record.kind) for record in records}
        scan = _Scan(result, generation.model.dimension if generation.model else 0)
        async for batch in reader.batches(_SCANNED):
            await asyncio.to_thread(scan.add, batch)
        ids = await asyncio.to_thread(scan.finish, records)
        await _look_up(reader, result, await asyncio.to_thread(_spread, ids, SAMPLE_CHUNKS))
        return ids
    finally:
        reader.close()


async def _look_up(reader: TableReader, result: Audit, sample: list[str]) -> None:
    """Find a sample through the indexes of the tables, which a scan does not touch."""
    found = await reader.chunks(sample)
    documents = {chunk.document_id for chunk in found.values()} - result.miscounted
    records = {record.document_id: record for record in await reader.documents(sorted(documents))}
    result.sample = [(chunk, records[chunk.document_id]) for chunk in found.values() if chunk.document_id in records]
    if len(found) < len(sample) or records.keys() != documents:
        raise LookupError("rows that are there are not found through the tables' indexes")


class _Scan:
    """Looks at every row of the chunks table, batch by batch. Blocking."""

    def __init__(self, result: Audit, dimension: int) -> None:
        self._result = result
        self._dimension = dimension
        self._ids: list[Any] = []
        self._documents: list[Any] = []

    def add(self, batch: Any) -> None:
        result = self._result
        documents = batch.column("document_id")
        result.rows += batch.num_rows
        self._ids.append(batch.column("chunk_id"))
        self._documents.append(documents)
        matrix = matrix_of(batch.column("embedding"))
        result.dimension = matrix.shape[1] if len(matrix) else result.dimension
        bad = ~sound_rows(matrix) | (self._dimension not in (0, result.dimension))
        for row in np.flatnonzero(bad).tolist():
            result.unsound.add(documents[row].as_py())
        for start in range(0, batch.num_rows, ROWS_PER_TURN):
            part = batch.slice(start, ROWS_PER_TURN)
            columns = (part.column(name).to_pylist() for name in ("document_id", "content", "content_hash"))
            for document, content, content_hash in zip(*columns, strict=True):
                if hashlib.sha256(content.encode("utf-8", "replace")).hexdigest() != content_hash:
                    result.altered.add(document)

    def finish(self, records: Sequence[DocumentRecord]) -> Any:
        """Count; returns the sorted column of chunk ids."""
        import pyarrow as pa

        ids = pa.chunked_array(self._ids, pa.utf8())
        self._result.repeated = len(ids) - len(ids.unique())
        documents = pa.chunked_array(self._documents, pa.utf8()).value_counts()
        counts = dict(zip(_values(documents.field("values")), _values(documents.field("counts")), strict=True))
        expected = {record.document_id: record.chunks for record in records}
        self._result.miscounted = {name for name in counts.keys() | expected if counts.get(name) != expected.get(name)}
        return _sorted(ids)


def _sorted(ids: Any) -> Any:
    from pyarrow import compute

    return ids.take(compute.sort_indices(ids))


def _spread(ids: Any, count: int) -> list[str]:
    step = max(1, -(-len(ids) // count))
    return [*dict.fromkeys(ids[at].as_py() for at in range(0, len(ids), step))]


def _values(array: Any) -> Iterator[Any]:
    """Python values of an Arrow array; the interpreter gets its turns in between."""
    for start in range(0, len(array), _IDS_PER_TURN):
        yield from array.slice(start, _IDS_PER_TURN).to_pylist()


def _sentence(error: Exception) -> str:
    if isinstance(error, StudioError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error} ({error.filename})"
    return f"{type(error).__name__}: {error}"


def _same(ids: Any, keywords: list[str]) -> bool:
    import pyarrow as pa

    return bool(_sorted(pa.chunked_array([pa.array(keywords, pa.utf8())])).combine_chunks() == ids.combine_chunks())


# ------------------------------------------------------------ keyword index


def _keyword_ids(directory: Path, generation: Generation, verdicts: Verdicts) -> list[str]:
    """Every chunk id of a keyword index whose files are as they were written. Raises StorageFault, LookupError."""
    if broken := damaged_files(directory, verdicts):
        raise LookupError(f"{', '.join(broken)} in {directory} are gone or damaged")
    return LexicalReader(directory, generation.settings.language).chunk_ids()


def damaged_files(directory: Path, verdicts: Verdicts) -> list[str]:
    """Names of the segment files of a Tantivy directory that are gone or differ from their checksum. Blocking.

    Raises OSError, and ValueError or LookupError for a list of segments that makes no sense.
    """
    broken = [name for name in segment_files(directory) if not (directory / name).is_file()]
    for file in sorted(files_of_index(directory)):
        if file.name in REPLACED:
            continue
        status = file.stat()
        key = (status.st_dev, status.st_ino)
        if key not in verdicts:
            verdicts[key] = _checks_out(file, status.st_size)
        if not verdicts[key]:
            broken.append(file.name)
    return broken


def _checks_out(file: Path, size_bytes: int) -> bool:
    with file.open("rb") as stream:
        stream.seek(max(0, size_bytes - FOOTER_TAIL_BYTES))
        tail = stream.read(FOOTER_TAIL_BYTES)
        length = int.from_bytes(tail[:4], "little")
        body_bytes = size_bytes - FOOTER_TAIL_BYTES - length
        if tail[4:] != FOOTER_MAGIC or length > FOOTER_MAX_BYTES or body_bytes < 0:
            return False
        stream.seek(body_bytes)
        try:
            expected = json.loads(stream.read(length))["crc"]
        except (ValueError, KeyError, TypeError):
            return False
        stream.seek(0)
        found, left = 0, body_bytes
        while left and (block := stream.read(min(left, _READ_BYTES))):
            found, left = zlib.crc32(block, found), left - len(block)
        return bool(found == expected)
