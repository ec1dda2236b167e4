"""Writing the two tables of a build: rows in, rows out, and what seals them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from studio.domain import AnnIndex, AnnState, Chunk, DocumentRecord, DocumentStatus, Generation, Metric, Vectors
from studio.errors import InvariantViolated
from studio.index.vectors.ann import Upkeep
from studio.index.vectors.faults import mapped
from studio.index.vectors.maintenance import added_rows, clean_up_versions, index_scalars, maintain, maintain_vectors
from studio.index.vectors.predicates import id_lists, sql_text
from studio.index.vectors.rows import CHUNK_TEXT, chunk_rows, document_rows, indexed_texts, sound_rows
from studio.index.vectors.session import Cache

log = logging.getLogger(__name__)

GROWN = 1.25
"""Times the rows of its base that a build has which joins fragments out of turn."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """The tagged versions of both tables, their rows (of the documents: those indexed), and the vector index."""

    chunks_version: int
    documents_version: int
    chunks: int
    documents: int
    ann: AnnState


class TableWriter:
    """Writes one build. Not for concurrent use; the generation's builder serialises calls."""

    def __init__(self, chunks: Any, documents: Any, dimension: int, path: Path, cache: Cache) -> None:
        self._chunks = chunks
        self._documents = documents
        self._dimension = dimension
        self._path = path
        self._appended = 0
        self._cache: Cache | None = cache  # held: it ends with its last user

    async def append_chunks(self, kb_id: str, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Append rows. `vectors` has shape (len(chunks), dimension). Raises InvariantViolated, StorageFault."""
        check_vectors(vectors, len(chunks), self._dimension)
        data = await asyncio.to_thread(chunk_rows, kb_id, chunks, vectors, self._dimension)
        with mapped(self._path):
            await self._chunks.add(data)
        self._appended += len(chunks)

    async def append_documents(self, records: Sequence[DocumentRecord]) -> None:
        """Append document rows."""
        data = await asyncio.to_thread(document_rows, records)
        with mapped(self._path):
            await self._documents.add(data)

    async def delete_chunks(self, document_ids: Iterable[str]) -> None:
        """Delete the chunks of documents."""
        with mapped(self._path):
            for part in id_lists(document_ids):
                await self._chunks.delete(f"document_id IN ({part})")

    async def delete_paths(self, paths: Iterable[str]) -> None:
        """Delete every document row of these source paths."""
        with mapped(self._path):
            for part in id_lists(paths):
                await self._documents.delete(f"source_path IN ({part})")

    async def mark(self, tag: str) -> tuple[int, int]:
        """Let a tag hold both tables as they are; returns (chunks version, documents version)."""
        with mapped(self._path):
            versions = await self._chunks.version(), await self._documents.version()
            for table, version in zip((self._chunks, self._documents), versions, strict=True):
                await set_tag(table, tag, version)
        return versions

    async def added_since(self, version: int | None) -> AsyncGenerator[list[tuple[str, str, str]], None]:
        """(chunk id, document id, indexed text) of the chunks that a version of the table (None: no rows) lacks."""
        with mapped(self._path):
            async for batch in added_rows(self._chunks, version, CHUNK_TEXT):
                yield await asyncio.to_thread(indexed_texts, batch)

    async def seal(self, tag: str, *, metric: Metric, index: AnnIndex, base: Generation | None, merge: bool) -> Sealed:
        """Maintain indexes and tag both tables; `base` is the generation that the build stands on.

        New rows get a delta index; with `merge` the deltas become one and small fragments are joined, as in a build
        that wrote much: between checkpoints it wrote many of them.
        """
        upkeep = Upkeep(index, appended=self._appended)
        if base is not None:
            upkeep = replace(upkeep, base=base.ann, base_rows=base.chunks)
        with mapped(self._path):
            merge = merge or await self._chunks.count_rows() > GROWN * upkeep.base_rows
            await index_scalars(self._chunks, ("chunk_id", "document_id"))
            await index_scalars(self._documents, ("document_id",))
            ann = await maintain_vectors(self._chunks, metric, self._dimension, upkeep, merge=merge)
            await maintain(self._documents, merge=merge)
            versions = [await table.version() for table in (self._chunks, self._documents)]
            for table, version in zip((self._chunks, self._documents), versions, strict=True):
                await set_tag(table, tag, version)
            chunks = await self._chunks.count_rows()
            documents = await self._documents.count_rows(f"status = {sql_text(DocumentStatus.INDEXED)}")
        for table in (self._chunks, self._documents) if merge else ():
            try:
                await clean_up_versions(table, remove_orphans=False)  # the fragments that were joined
            except Exception:  # what a damaged file of the past makes the library raise has no common type
                log.warning("joined fragments stay until the next collection", exc_info=True)
        return Sealed(versions[0], versions[1], chunks, documents, ann)

    def close(self) -> None:
        """Let go of the tables."""
        self._cache = None
        self._chunks.close()
        self._documents.close()


def check_vectors(vectors: Vectors, rows: int, dimension: int) -> None:
    """Raise InvariantViolated unless the shape is (rows, dimension) and every row is finite and non-zero."""
    if vectors.shape != (rows, dimension):
        raise InvariantViolated(f"Expected {rows} vectors of {dimension} numbers, got shape {vectors.shape}.")
    if not bool(np.all(sound_rows(vectors))):
        raise InvariantViolated("The embedding model returned a vector that is not finite or has no length.")


async def set_tag(table: Any, tag: str, version: int) -> None:
    """Let a tag hold a version of a table, whether it was there or not."""
    if tag in await table.tags.list():
        await table.tags.update(tag, version)
    else:
        await table.tags.create(tag, version)
