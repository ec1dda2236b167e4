"""The vector side: LanceDB tables of chunks and documents, one database per knowledge base.

With `upkeep`, and `lance_rerankers` for what its name says, the only importer of `lancedb` and `lance`. Both tables are
append-mostly; a generation is a pair of table versions held by tags of the same name. Lance never flushes to disk by
itself and keeps no file open between queries, so writers flush (`generations`) and readers hold leases.

`import lancedb` takes seconds and the interpreter lock; it happens in a thread at first use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from studio.domain import DocumentRecord, Generation, Metric, ModelIdentity
from studio.index.vectors.faults import mapped
from studio.index.vectors.lance_internals import table_folder
from studio.index.vectors.maintenance import clean_up_versions, clone_version, files_of_version
from studio.index.vectors.rows import BESIDE, chunk_schema, document_schema, documents_beside, records_of, text_keys_of
from studio.index.vectors.scratch import Scratch
from studio.index.vectors.session import Sessions
from studio.index.vectors.table_reader import TableReader
from studio.index.vectors.table_writer import TableWriter, set_tag

_PRIVATE_CACHE_BYTES = 32 << 20

DOCUMENTS_TABLE = "documents"


class VectorDatabase:
    """The LanceDB database of one knowledge base, read through caches it shares with others or has for itself."""

    def __init__(self, path: Path, caches: Sessions | None = None) -> None:
        self._path = path
        self._caches = caches or Sessions(_PRIVATE_CACHE_BYTES)

    async def _connection(self) -> Any:
        return await (await self._caches.main()).connection(self._path)

    def close(self) -> None:
        """Let go of the connection."""
        self._caches.disconnect(self._path)

    def forget_caches(self) -> None:
        """Remember nothing the next time: files that vanished or came back are not what the caches remember."""
        self._caches.forget()

    async def table_names(self) -> list[str]:
        """Names of the tables that exist."""
        db = await self._connection()
        with mapped(self._path):
            return list((await db.list_tables(limit=1000)).tables)

    async def writer(
        self, chunks_table: str, dimension: int, chunks_version: int | None, documents_version: int | None
    ) -> TableWriter:
        """Tables whose heads equal these versions, None for empty ones.

        An abandoned build leaves rows at the head; they vanish here, by a metadata-only commit.
        """
        cache = await self._caches.aside()
        db = await cache.connection(self._path)
        chunks = await self._at_base(db, chunks_table, chunk_schema(dimension), chunks_version)
        documents = await self._at_base(db, DOCUMENTS_TABLE, document_schema(), documents_version)
        return TableWriter(chunks, documents, dimension, self._path, cache)

    async def _at_base(self, db: Any, name: str, schema: Any, version: int | None) -> Any:
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
            return table

    async def reader(
        self, chunks_table: str, chunks_version: int, documents_version: int, *, kept: bool = False
    ) -> TableReader:
        """The two tables as one generation sees them; in the main cache when they are `kept` open."""
        cache = await (self._caches.main() if kept else self._caches.aside())
        db = await cache.connection(self._path)
        with mapped(self._path):
            chunks = await db.open_table(chunks_table, version=chunks_version)
            documents = await db.open_table(DOCUMENTS_TABLE, version=documents_version)
        return TableReader(chunks, documents, self._path, cache=cache, room=self._caches.room)

    async def scratch(self, chunks_table: str, version: int, folder: Path, metric: Metric) -> Scratch:
        """A clone of a version of a chunks table in a folder of its own, to try vector indexes on."""
        cache = await self._caches.apart()
        with mapped(self._path):
            await clone_version(table_folder(self._path, chunks_table), version, table_folder(folder, chunks_table))
            table = await (await cache.connection(folder)).open_table(chunks_table)
            dimension = (await table.schema()).field("embedding").type.list_size
            return Scratch(table, await table.count_rows(), dimension, metric, folder, cache)

    async def records(self, version: int) -> list[DocumentRecord]:
        """The document rows of a version of their table; the chunks may be unreadable."""
        db = await self._connection()
        with mapped(self._path):
            rows = await (await db.open_table(DOCUMENTS_TABLE, version=version)).query().to_arrow()
        return await asyncio.to_thread(records_of, rows)

    async def rows(self, table: str, version: int) -> int:
        """How many rows a version of a table has."""
        db = await self._connection()
        with mapped(self._path):
            return int(await (await db.open_table(table, version=version)).count_rows())

    async def dimension(self, table: str) -> int:
        """Length of the vectors of a chunks table."""
        db = await self._connection()
        with mapped(self._path):
            return int((await (await db.open_table(table)).schema()).field("embedding").type.list_size)

    async def documents_beside(self, version: int, known: Collection[str]) -> list[tuple[str, str, str, int]]:
        """(id, path, name of the stored text, chunks) of the indexed documents of a version that are not `known`."""
        db = await self._connection()
        with mapped(self._path):
            table = await db.open_table(DOCUMENTS_TABLE, version=version)
            rows = await table.query().select(list(BESIDE)).to_arrow()
        return await asyncio.to_thread(documents_beside, rows, known)

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
            await set_tag(await db.open_table(table), tag, version)

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
            return await files_of_version(await db.open_table(table), version, table_folder(self._path, table))


def table_for(model: ModelIdentity, generations: Sequence[Generation], base: Generation | None) -> str:
    """Vectors of different models never share a table: the first model has `chunks`, others one by hash."""
    for generation in (base, *generations) if base else generations:
        if generation.model is not None and generation.model.sha256 == model.sha256:
            return generation.chunks_table
    return "chunks" if not generations else f"chunks_{model.sha256[:8]}"


def fresh_table_for(model: ModelIdentity, generations: Sequence[Generation]) -> str:
    """A name that no generation's table has."""
    return f"chunks_{model.sha256[:8]}_{max((item.number for item in generations), default=0) + 1}"
