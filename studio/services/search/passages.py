"""The rows behind candidates: passages, their documents, their embeddings; the last few kept.

Reading ten rows of a table takes as long as a search of it. So the documents of a knowledge base of usual size are all
read at once and stay.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from studio.concurrency import SEARCHES
from studio.domain import Chunk, ChunkInGeneration, DocumentRecord, Vectors
from studio.errors import StorageFault
from studio.index.vectors import TableReader
from studio.services.search.ranker import Ranking
from studio.services.search.recent import Recent
from studio.services.search.scopes import Scope

KEPT_PASSAGES = 2_000
"""Passages kept: some 4 MB. Moving the weight or turning a page shows mostly those that were shown before."""

KEPT_VECTORS = 2_000
"""Embeddings kept: 3 MB of 384 numbers each."""

WHOLE_TABLE = 50_000
"""The rows of at most so many documents are all kept, 0.4 KB each, while the generation stays open. Of more, and of
other generations, those that were asked for last."""

T = TypeVar("T")


@dataclass(slots=True)
class Fetched:
    """Passages, and the rows of their documents by scope and id; `fault` when some cannot be read."""

    chunks: dict[ChunkInGeneration, Chunk] = field(default_factory=dict)
    documents: dict[tuple[int, str], list[DocumentRecord]] = field(default_factory=dict)
    fault: StorageFault | None = None

    def add(self, scope: int, chunks: Mapping[str, Chunk], documents: Mapping[str, list[DocumentRecord]]) -> None:
        """Put in what was read of a scope, by the ids that it has there."""
        self.chunks.update((ChunkInGeneration(scope, key), chunk) for key, chunk in chunks.items())
        self.documents.update(((scope, key), rows) for key, rows in documents.items())


class Passages:
    """Reads what results are made of. A generation never changes, so what was read of it stays true."""

    def __init__(self) -> None:
        self._chunks: _Rows[Chunk] = _Rows(KEPT_PASSAGES)
        self._documents: _Rows[list[DocumentRecord]] = _Rows(KEPT_PASSAGES)
        self._vectors: _Rows[Vectors] = _Rows(KEPT_VECTORS)

    async def fetch(self, ranking: Ranking, ids: Iterable[ChunkInGeneration]) -> Fetched:
        """The rows of chunks. Raises StorageFault when none of a knowledge base's can be read."""
        result = Fetched()
        for number, wanted in _by_scope(ids).items():
            scope = ranking.scopes[number]
            place = (scope.kb.id, scope.snapshot.generation.number)
            documents = {ranking.documents.get(ChunkInGeneration(number, name), "") for name in wanted} - {""}
            # What the sides said of documents lets both be read at once.
            chunks, records = await asyncio.gather(
                self._read_chunks(ranking, scope, place, wanted, result), self._read_documents(scope, place, documents)
            )
            left = {chunk.document_id for chunk in chunks.values()} - documents
            records.update(await self._read_documents(scope, place, left))
            result.add(number, chunks, records)
        return result

    def at_hand(self, ranking: Ranking, ids: Iterable[ChunkInGeneration]) -> Fetched | None:
        """As `fetch`, without waiting for the tables; None where that cannot be. Blocking; call it from a thread."""
        result = Fetched()
        for number, wanted in _by_scope(ids).items():
            scope = ranking.scopes[number]
            place = (scope.kb.id, scope.snapshot.generation.number)
            table = scope.snapshot.tables.documents_at_hand
            chunks, missing = self._chunks.find(place, wanted)
            found = scope.snapshot.tables.passages_at_hand(missing) if missing else {}
            if table is None or found is None:
                return None
            self._chunks.keep(place, found)
            chunks.update(found)
            records, unknown = self._documents.find(place, sorted({chunk.document_id for chunk in chunks.values()}))
            if unknown:
                records.update(self._keep_documents(place, table.records(unknown)))
            result.add(number, chunks, records)
        return result

    def held_bytes(self) -> int:
        """Of the texts and embeddings kept; tables of documents are Arrow's."""
        texts = self._chunks.total(lambda chunk: sys.getsizeof(chunk.content))
        return texts + self._vectors.total(lambda vector: vector.nbytes)

    def forget(self) -> None:
        """Read everything anew."""
        for kept in (self._chunks, self._documents, self._vectors):
            kept.clear()

    async def _read_chunks(
        self, ranking: Ranking, scope: Scope, place: Hashable, wanted: Sequence[str], result: Fetched
    ) -> dict[str, Chunk]:
        chunks, missing = self._chunks.find(place, wanted)
        if missing:
            found, fault = await _readable(scope.snapshot.tables, missing)
            if fault is not None:
                if not found and not chunks:
                    raise fault
                ranking.doubt(fault)
                result.fault = fault
            self._chunks.keep(place, found)
            chunks.update(found)
        return chunks

    async def _read_documents(
        self, scope: Scope, place: Hashable, wanted: AbstractSet[str]
    ) -> dict[str, list[DocumentRecord]]:
        records, missing = self._documents.find(place, sorted(wanted))
        if missing:
            records.update(self._keep_documents(place, await _records(scope, missing)))
        return records

    def _keep_documents(self, place: Hashable, rows: Iterable[DocumentRecord]) -> dict[str, list[DocumentRecord]]:
        found: dict[str, list[DocumentRecord]] = {}
        for record in rows:
            found.setdefault(record.document_id, []).append(record)
        self._documents.keep(place, found)
        return found

    async def vectors(self, ranking: Ranking, ids: Iterable[ChunkInGeneration]) -> dict[ChunkInGeneration, Vectors]:
        """Embeddings of chunks, each of shape (dimension,); those of another dimension are left out."""
        result: dict[ChunkInGeneration, Vectors] = {}
        for number, wanted in _by_scope(ids).items():
            scope = ranking.scopes[number]
            place = (scope.kb.id, scope.snapshot.generation.number)
            vectors, missing = self._vectors.find(place, wanted)
            if missing:
                found = await scope.snapshot.tables.vectors_of(missing)
                self._vectors.keep(place, found)
                vectors.update(found)
            result.update((ChunkInGeneration(number, key), vector) for key, vector in vectors.items())
        width = next((len(vector) for vector in result.values()), 0)
        return {key: vector for key, vector in result.items() if len(vector) == width}


class _Rows(Generic[T]):
    """The rows used last, by generation and id."""

    def __init__(self, size: int) -> None:
        self._values = Recent[tuple[Hashable, str], T](size)

    def clear(self) -> None:
        self._values.clear()

    def total(self, measure: Callable[[T], int]) -> int:
        return self._values.total(measure)

    def find(self, place: Hashable, ids: Sequence[str]) -> tuple[dict[str, T], list[str]]:
        """(what is there by id, ids that are not)."""
        found = {name: value for name in ids if (value := self._values.get((place, name))) is not None}
        return found, [name for name in ids if name not in found]

    def keep(self, place: Hashable, values: Mapping[str, T]) -> None:
        for name, value in values.items():
            self._values.keep((place, name), value)


async def _records(scope: Scope, ids: Sequence[str]) -> list[DocumentRecord]:
    if not scope.snapshot.kept or scope.snapshot.generation.documents > WHOLE_TABLE:
        return await scope.snapshot.tables.documents(ids)
    table = await scope.snapshot.tables.document_table()
    return await SEARCHES.run(table.records, ids)


def _by_scope(chunks: Iterable[ChunkInGeneration]) -> dict[int, list[str]]:
    wanted: dict[int, list[str]] = {}
    for scope, chunk_id in chunks:
        wanted.setdefault(scope, []).append(chunk_id)
    return wanted


async def _readable(tables: TableReader, chunk_ids: Sequence[str]) -> tuple[dict[str, Chunk], StorageFault | None]:
    """Chunks by id; when files are gone those that are in other files, and the fault."""
    try:
        return await tables.passages(chunk_ids), None
    except StorageFault as fault:
        found: dict[str, Chunk] = {}
        for chunk_id in chunk_ids:
            with suppress(StorageFault):
                found.update(await tables.passages([chunk_id]))
        return found, fault
