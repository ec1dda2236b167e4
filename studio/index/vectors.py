"""The vector side: LanceDB tables of chunks and documents, one database per knowledge base.

With `upkeep` the only importer of `lancedb` and `lance`. Both tables are append-mostly; a generation is a pair of table
versions held by tags of the same name. Lance never flushes to disk by itself and keeps no file open
between queries, so writers flush (`generations`) and readers hold leases.

`import lancedb` takes seconds and the interpreter lock; it happens in a thread at first use.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.domain import (
    Candidate,
    Chunk,
    DocumentRecord,
    DocumentStatus,
    Metric,
    Vectors,
)
from studio.errors import InvariantViolated
from studio.index.lance_faults import mapped
from studio.index.rows import (
    ADDED_COLUMNS,
    CHUNK_CONTENT,
    CHUNK_TEXT,
    chunk_of,
    chunk_rows,
    chunk_schema,
    document_rows,
    document_schema,
    embedding_keys,
    indexed_texts,
    matrix_of,
    records_of,
    sound_rows,
    text_keys_of,
)
from studio.index.upkeep import added_rows, clean_up_versions, files_of_version, index_scalars, maintain

INDEX_CACHE_BYTES = 64 << 20
METADATA_CACHE_BYTES = 32 << 20
"""Lance's own caches default to 6 GB and 1 GB, which a laptop does not have."""

DOCUMENTS_TABLE = "documents"
_IDS_PER_PREDICATE = 500


class VectorDatabase:
    """The LanceDB database of one knowledge base."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: Any = None
        self._opening = asyncio.Lock()

    async def _connection(self) -> Any:
        async with self._opening:
            if self._db is None:
                lancedb = await load_library()
                with mapped(self._path):
                    session = lancedb.Session(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES)
                    self._db = await lancedb.connect_async(str(self._path), session=session)
        return self._db

    def close(self) -> None:
        """Let go of the connection and its caches."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def forget_caches(self) -> None:
        """Connect anew the next time: files that vanished or came back are not what the caches remember."""
        self._db = None

    async def table_names(self) -> list[str]:
        """Names of the tables that exist."""
        db = await self._connection()
        with mapped(self._path):
            return list((await db.list_tables(limit=1000)).tables)

    async def writer(self, chunks_table: str, dimension: int, base: tuple[int, int] | None) -> TableWriter:
        """Tables whose head equals `base` = (chunks version, documents version), or empty ones.

        An abandoned build leaves rows at the head; they vanish here, by a metadata-only commit.
        """
        chunks = await self._at_base(chunks_table, chunk_schema(dimension), base[0] if base else None)
        documents = await self._at_base(DOCUMENTS_TABLE, document_schema(), base[1] if base else None)
        return TableWriter(chunks, documents, dimension, self._path)

    async def _at_base(self, name: str, schema: Any, version: int | None) -> Any:
        db = await self._connection()
        with mapped(self._path):
            if name not in await self.table_names():
                table = await db.create_table(name, schema=schema)
                await table.set_unenforced_primary_key(schema.names[0])
                return table
            table = await db.open_table(name)
            if version is None:
                if await table.count_rows():
                    await table.delete("true")
            elif await table.version() != version:
                await table.checkout(version)
                await table.restore()
            present = (await table.schema()).names
            if missing := {
                key: sql for key, sql in ADDED_COLUMNS.items() if key in schema.names and key not in present
            }:
                await table.add_columns(missing)
            return table

    async def reader(self, chunks_table: str, chunks_version: int, documents_version: int) -> TableReader:
        """The two tables as one generation sees them."""
        db = await self._connection()
        with mapped(self._path):
            chunks = await db.open_table(chunks_table, version=chunks_version)
            documents = await db.open_table(DOCUMENTS_TABLE, version=documents_version)
        return TableReader(chunks, documents, self._path)

    async def records(self, version: int) -> list[DocumentRecord]:
        """The document rows of a version of their table; the chunks may be unreadable."""
        db = await self._connection()
        with mapped(self._path):
            rows = await (await db.open_table(DOCUMENTS_TABLE, version=version)).query().to_arrow()
        return await asyncio.to_thread(records_of, rows)

    async def text_keys(self, version: int) -> set[str]:
        """Names of the stored texts that the documents of a version of their table come from."""
        db = await self._connection()
        with mapped(self._path):
            table = await db.open_table(DOCUMENTS_TABLE, version=version)
            rows = await table.query().select(["sha256", "kind"]).to_arrow()
        return await asyncio.to_thread(text_keys_of, rows)

    async def tags(self) -> dict[str, dict[str, int]]:
        """Tags of every table with the versions they hold, by table name."""
        return {name: await self.tags_of(name) for name in await self.table_names()}

    async def tags_of(self, table: str) -> dict[str, int]:
        """Tags of a table with the versions they hold."""
        db = await self._connection()
        with mapped(self._path):
            found = await (await db.open_table(table)).tags.list()
        return {tag: int(entry["version"]) for tag, entry in found.items()}

    async def set_tag(self, table: str, tag: str, version: int) -> None:
        """Let a tag hold a version. Raises StorageFault when that version does not exist."""
        db = await self._connection()
        with mapped(self._path):
            await _set_tag(await db.open_table(table), tag, version)

    async def drop_tag(self, tag: str) -> None:
        """Remove a tag from every table that has it."""
        db = await self._connection()
        with mapped(self._path):
            for name, tags in (await self.tags()).items():
                if tag in tags:
                    await (await db.open_table(name)).tags.delete(tag)

    async def drop_table(self, table: str) -> None:
        """Remove a table with all its versions, if it is there."""
        db = await self._connection()
        with mapped(self._path):
            if table in await self.table_names():
                await db.drop_table(table)

    async def clean_up(self, keep_tables: set[str], *, remove_orphans: bool) -> None:
        """Delete versions no tag holds, and tables that are not in `keep_tables`.

        `remove_orphans` also deletes files of commits that never happened; only safe under the
        writer lock.
        """
        db = await self._connection()
        with mapped(self._path):
            for name in await self.table_names():
                if name not in keep_tables:
                    await db.drop_table(name)
                    continue
                await clean_up_versions(await db.open_table(name), remove_orphans=remove_orphans)

    async def files(self, table: str, version: int) -> list[Path]:
        """Every file that a version of a table needs."""
        db = await self._connection()
        with mapped(self._path):
            return await files_of_version(await db.open_table(table), version, self._path / f"{table}.lance")


class TableWriter:
    """Writes one build. Not for concurrent use; the generation's builder serialises calls."""

    def __init__(self, chunks: Any, documents: Any, dimension: int, path: Path) -> None:
        self._chunks = chunks
        self._documents = documents
        self._dimension = dimension
        self._path = path

    async def append_chunks(self, kb_id: str, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Append rows. `vectors` has shape (len(chunks), dimension). Raises InvariantViolated, StorageFault."""
        check_vectors(vectors, len(chunks), self._dimension)
        data = await asyncio.to_thread(chunk_rows, kb_id, chunks, vectors, self._dimension)
        with mapped(self._path):
            await self._chunks.add(data)

    async def append_documents(self, records: Sequence[DocumentRecord]) -> None:
        """Append document rows."""
        data = await asyncio.to_thread(document_rows, records)
        with mapped(self._path):
            await self._documents.add(data)

    async def delete_chunks(self, document_ids: Iterable[str]) -> None:
        """Delete the chunks of documents."""
        with mapped(self._path):
            for part in _parts(document_ids):
                await self._chunks.delete(f"document_id IN ({part})")

    async def delete_paths(self, paths: Iterable[str]) -> None:
        """Delete every document row of these source paths."""
        with mapped(self._path):
            for part in _parts(paths):
                await self._documents.delete(f"source_path IN ({part})")

    async def mark(self, tag: str) -> tuple[int, int]:
        """Let a tag hold both tables as they are; returns (chunks version, documents version)."""
        with mapped(self._path):
            versions = await self._chunks.version(), await self._documents.version()
            for table, version in zip((self._chunks, self._documents), versions, strict=True):
                await _set_tag(table, tag, version)
        return versions

    async def added_since(self, version: int | None) -> AsyncGenerator[list[tuple[str, str, str]], None]:
        """(chunk id, document id, indexed text) of the chunks that a version of the table (None: no rows) lacks."""
        with mapped(self._path):
            async for batch in added_rows(self._chunks, version, CHUNK_TEXT):
                yield await asyncio.to_thread(indexed_texts, batch)

    async def seal(self, tag: str, *, merge: bool) -> tuple[int, int, int, int]:
        """Maintain indexes, tag both tables; returns (chunks version, documents version, chunks, documents).

        New rows get a delta index; with `merge` the deltas become one and small fragments are joined.
        The row counts are those of the tagged versions.
        """
        with mapped(self._path):
            for table, columns in ((self._chunks, ("chunk_id", "document_id")), (self._documents, ("document_id",))):
                await index_scalars(table, columns)
                await maintain(table, merge=merge)
            versions = [await table.version() for table in (self._chunks, self._documents)]
            for table, version in zip((self._chunks, self._documents), versions, strict=True):
                await _set_tag(table, tag, version)
            chunks = await self._chunks.count_rows()
            documents = await self._documents.count_rows(f"status = {sql_text(DocumentStatus.INDEXED)}")
        return versions[0], versions[1], chunks, documents

    def close(self) -> None:
        """Let go of the tables."""
        self._chunks.close()
        self._documents.close()


class TableReader:
    """Reads one generation; any number of concurrent calls."""

    def __init__(self, chunks: Any, documents: Any, path: Path) -> None:
        self._chunks = chunks
        self._documents = documents
        self._path = path

    async def nearest(
        self, vector: Vectors, *, metric: Metric, limit: int, document_ids: Sequence[str] | None = None
    ) -> list[Candidate]:
        """The `limit` chunks nearest to `vector` (shape (dimension,)), exact, best first.

        Scores: cosine similarity, dot product, or 1 - d²/2 for l2 (which is the cosine for unit
        vectors). `document_ids` filters before the top-k.
        """
        with mapped(self._path):
            query = self._chunks.query().nearest_to(vector).distance_type(metric.value).limit(limit)
            if document_ids is not None:
                query = query.where(f"document_id IN ({_quoted(document_ids)})")
            rows = await query.bypass_vector_index().select(["chunk_id", "_distance"]).to_arrow()
        ids, distances = rows["chunk_id"].to_pylist(), rows["_distance"].to_numpy()
        scores = 1.0 - distances / 2.0 if metric is Metric.L2 else 1.0 - distances
        return [Candidate(chunk, float(score)) for chunk, score in zip(ids, scores, strict=True)]

    async def chunks(self, chunk_ids: Sequence[str]) -> dict[str, Chunk]:
        """Chunks by id; ids that do not exist are left out."""
        if not chunk_ids:
            return {}
        columns = [name for name in CHUNK_CONTENT if name != "embedding"]
        with mapped(self._path):
            rows = await self._chunks.query().where(f"chunk_id IN ({_quoted(chunk_ids)})").select(columns).to_list()
        return {row["chunk_id"]: chunk_of(row) for row in rows}

    async def embeddings_of(self, document_ids: Sequence[str]) -> dict[str, Vectors]:
        """Embeddings of documents' chunks by embedding key, each of shape (dimension,)."""
        found: dict[str, Vectors] = {}
        with mapped(self._path):
            for part in _parts(document_ids):
                rows = (
                    await self._chunks.query()
                    .where(f"document_id IN ({part})")
                    .select(["content_hash", "metadata", "embedding"])
                    .to_arrow()
                )
                found.update(zip(embedding_keys(rows), matrix_of(rows["embedding"]), strict=True))
        return found

    async def chunk_ids(self) -> list[str]:
        """Every chunk id (for checks)."""
        with mapped(self._path):
            rows = await self._chunks.query().select(["chunk_id"]).to_arrow()
        return await asyncio.to_thread(rows["chunk_id"].to_pylist)

    async def batches(self, columns: Sequence[str], rows: int | None = None) -> AsyncGenerator[Any, None]:
        """These columns of every chunk as Arrow record batches, of at most `rows` rows or of some thousand."""
        with mapped(self._path):
            query = self._chunks.query().select(list(columns))
            async for batch in await query.to_batches(max_batch_length=rows):
                yield batch

    async def contents(self) -> list[tuple[str, str, str]]:
        """(chunk id, document id, indexed text) of every chunk."""
        with mapped(self._path):
            rows = await self._chunks.query().select(list(CHUNK_TEXT)).to_arrow()
        return await asyncio.to_thread(indexed_texts, rows)

    async def documents(self, document_ids: Sequence[str] | None = None) -> list[DocumentRecord]:
        """Document rows: all of them, or those with these ids (one row per source path)."""
        with mapped(self._path):
            query = self._documents.query()
            if document_ids is not None:
                query = query.where(f"document_id IN ({_quoted(document_ids)})")
            rows = await query.to_arrow()
        return await asyncio.to_thread(records_of, rows)

    def close(self) -> None:
        """Let go of the tables."""
        self._chunks.close()
        self._documents.close()


async def load_library() -> Any:
    """Import lancedb in a thread (seconds at first use). Returns the module."""
    await asyncio.to_thread(importlib.import_module, "lancedb.index")
    return await asyncio.to_thread(importlib.import_module, "lancedb")


def check_vectors(vectors: Vectors, rows: int, dimension: int) -> None:
    """Raise InvariantViolated unless the shape is (rows, dimension) and every row is finite and non-zero."""
    if vectors.shape != (rows, dimension):
        raise InvariantViolated(f"Expected {rows} vectors of {dimension} numbers, got shape {vectors.shape}.")
    if not bool(np.all(sound_rows(vectors))):
        raise InvariantViolated("The embedding model returned a vector that is not finite or has no length.")


def sql_text(value: str) -> str:
    """A SQL string literal; the only way text gets into a predicate."""
    return "'" + value.replace("'", "''") + "'"


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(sql_text(value) for value in values) or "''"


async def _set_tag(table: Any, tag: str, version: int) -> None:
    if tag in await table.tags.list():
        await table.tags.update(tag, version)
    else:
        await table.tags.create(tag, version)


def _parts(values: Iterable[str]) -> Iterator[str]:
    """Literals for IN (…), some hundred at a time: a predicate is parsed as a whole."""
    items = list(dict.fromkeys(values))
    for start in range(0, len(items), _IDS_PER_PREDICATE):
        yield _quoted(items[start : start + _IDS_PER_PREDICATE])
