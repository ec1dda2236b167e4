"""One generation's tables, read: the nearest vectors, and the rows behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from studio.concurrency import TaskOwner
from studio.domain import AnnIndex, AnnState, Candidate, Chunk, DocumentRecord, DocumentStatus, Metric, Vectors
from studio.errors import StorageFault
from studio.index.vectors.document_table import DocumentTable
from studio.index.vectors.faults import mapped
from studio.index.vectors.lance_internals import table_folder, without_blobs
from studio.index.vectors.maintenance import VECTOR_INDEX, index_bytes
from studio.index.vectors.nearest import Estimating, nearest
from studio.index.vectors.passage_file import PASSAGE_COLUMNS
from studio.index.vectors.predicates import Within, id_lists, quoted, sql_text
from studio.index.vectors.row_map import BYTES_PER_ROW, RowMap, read_row_map
from studio.index.vectors.rows import CHUNK_CONTENT, chunk_of, embedding_keys, matrix_of, records_of
from studio.index.vectors.session import Cache
from studio.memory import give_back

FLAT = AnnState()

_SEARCHES_BEFORE_MAP = 2
"""The row map is read beside this one: a program that answers one query and ends would wait for it in vain."""

_IN_MEMORY = 2
"""Times the bytes that an index has on disk it takes at most in memory."""

log = logging.getLogger(__name__)


class TableReader:
    """Reads one generation; any number of concurrent calls."""

    def __init__(self, chunks: Any, documents: Any, path: Path, *, cache: Cache, room: Callable[[], int]) -> None:
        """`room` says how many bytes more may be kept in memory."""
        self.cache: Cache | None = cache
        self._room = room
        self._chunks = chunks
        self._documents = documents
        self._path = path
        self._index_is_damaged = False
        self._row_map: RowMap | None = None
        self._wholly_indexed = False
        self._mapping = asyncio.Lock()
        self._tasks = TaskOwner("row map")
        self._searches = 0
        self.documents_at_hand: DocumentTable | None = None
        """What `document_table` has read."""
        self.warm = False
        """Whether it was warmed up, so that another cache is too."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """The directories of the two tables."""
        return tuple(table_folder(self._path, table.name) for table in (self._chunks, self._documents))

    @property
    def nbytes(self) -> int:
        """Bytes of its own tables in memory."""
        return sum(table.nbytes for table in (self._row_map, self.documents_at_hand) if table is not None)

    async def nearest(
        self,
        vector: Vectors,
        *,
        metric: Metric,
        limit: int,
        within: Within | None = None,
        ann: AnnState = FLAT,
        minimum: float | None = None,
        exact: bool = False,
        estimated: bool = False,
    ) -> list[Candidate]:
        """The `limit` chunks nearest to `vector` (shape (dimension,)), best first; as many as there are, if fewer.

        Scores: cosine similarity, dot product, or 1 - d²/2 for l2 (which is the cosine for unit vectors). They are
        those of the real vectors, but that IVF-RQ may estimate those behind the first of a long list, and all of them
        with `estimated`: to be mixed with other scores that is enough (`ann.BITS_PER_DIMENSION`). `ann` is the
        generation's; `exact` searches without it. None scores less than `minimum`.
        """
        # Rows that the index does not cover are compared by distances of another scale than those that it estimates.
        trusted = minimum is None and self._wholly_indexed
        estimating = (Estimating.ALL if estimated else Estimating.TAIL) if trusted else Estimating.NOTHING
        self._searches += 1
        if self._searches == _SEARCHES_BEFORE_MAP:
            self._tasks.launch("read", self._read_row_map())
        look = partial(
            nearest, self._chunks, vector, metric=metric, limit=limit, within=within, ann=ann, row_map=self._row_map,
        )  # fmt: skip
        exact = exact or self._index_is_damaged
        try:
            with mapped(self._path):
                found = await look(exact=exact, estimating=estimating)
        except StorageFault as fault:
            if exact or ann.index is AnnIndex.FLAT:
                raise
            with mapped(self._path):
                found = await look(exact=True)
            self._index_is_damaged = True  # all it holds is in the rows too; the next build learns it anew
            log.warning("searching without the vector index, which cannot be read: %s", fault)
        return found if minimum is None else [item for item in found if item.score >= minimum]

    async def prewarm(self) -> None:
        """Read the row map into memory, the vector index, and a first row, which the first queries would wait for.

        What there is no room for is left out.
        """
        self.warm = True
        await self._read_row_map()
        with mapped(self._path):
            size = _IN_MEMORY * await index_bytes(self._chunks)
            if size and size <= self._room():
                await self._chunks.prewarm_index(VECTOR_INDEX)
            await self._chunks.query().limit(1).select(["chunk_id", "document_id", "embedding"]).to_arrow()
        await asyncio.to_thread(give_back)  # the index is read in larger pieces than are kept

    async def _warm_up(self) -> None:
        try:
            await self.prewarm()
        except StorageFault as fault:  # a search meets it too
            log.warning("the indexes in %s could not be read ahead: %s", self._path, fault)

    async def _read_row_map(self) -> None:
        async with self._mapping:  # the warm-up and the second search may come together
            if self._row_map is None:
                with suppress(StorageFault), mapped(self._path):  # a reader of the rows themselves meets it too
                    room = self._room()
                    if await self._chunks.count_rows() * BYTES_PER_ROW > room:
                        return
                    stats = await self._chunks.index_stats(VECTOR_INDEX)
                    self._row_map = await read_row_map(
                        self._chunks, self._path.parent, vector_bytes=room if stats is None else 0
                    )
                    self._wholly_indexed = stats is not None and stats.num_unindexed_rows == 0
                    await asyncio.to_thread(give_back)  # the reading took four times what the map takes

    async def vectors_of(self, chunk_ids: Iterable[str]) -> dict[str, Vectors]:
        """Embeddings by chunk id, each of shape (dimension,); ids that do not exist are left out."""
        found: dict[str, Vectors] = {}
        with mapped(self._path):
            for part in id_lists(chunk_ids):
                rows = (
                    await self._chunks.query()
                    .where(f"chunk_id IN ({part})")
                    .select(["chunk_id", "embedding"])
                    .to_arrow()
                )
                found.update(zip(rows["chunk_id"].to_pylist(), matrix_of(rows["embedding"]), strict=True))
        return found

    async def chunks(self, chunk_ids: Sequence[str]) -> dict[str, Chunk]:
        """Chunks by id; ids that do not exist are left out."""
        if not chunk_ids:
            return {}
        columns = [name for name in CHUNK_CONTENT if name != "embedding"]
        with mapped(self._path):
            rows = await self._chunks.query().where(f"chunk_id IN ({quoted(chunk_ids)})").select(columns).to_list()
        return {row["chunk_id"]: chunk_of(row) for row in rows}

    async def passages(self, chunk_ids: Sequence[str]) -> dict[str, Chunk]:
        """As `chunks`, but as results show them, maybe without their content hashes: in half the time."""
        row_map = self._row_map
        if row_map is None:
            return await self.chunks(chunk_ids)
        wanted = row_map.rows_of(chunk_ids)
        if not wanted:
            return {}
        with mapped(self._path):
            query = without_blobs(self._chunks.take_row_ids(wanted)).select(list(PASSAGE_COLUMNS)).with_row_id()
            rows = await query.to_arrow()
        return {chunk.chunk_id: chunk for chunk in row_map.chunks_of(rows)}

    def passages_at_hand(self, chunk_ids: Sequence[str]) -> dict[str, Chunk] | None:
        """As `passages`, in a tenth of the time; None when they are not in a file. Blocking; call it from a thread."""
        row_map = self._row_map
        chunks = row_map.chunks_in_file(chunk_ids) if row_map is not None else None
        return {chunk.chunk_id: chunk for chunk in chunks} if chunks is not None else None

    async def document_ids_of(self, chunk_ids: Sequence[str]) -> dict[str, str]:
        """Chunk id → id of its document; ids that do not exist are left out."""
        found: dict[str, str] = {}
        with mapped(self._path):
            for part in id_lists(chunk_ids):
                query = self._chunks.query().where(f"chunk_id IN ({part})").select(["chunk_id", "document_id"])
                rows = await query.to_arrow()
                found.update(zip(*(rows.column(name).to_pylist() for name in ("chunk_id", "document_id")), strict=True))
        return found

    async def embeddings_of(self, document_ids: Sequence[str]) -> dict[str, Vectors]:
        """Embeddings of documents' chunks by embedding key, each of shape (dimension,)."""
        found: dict[str, Vectors] = {}
        with mapped(self._path):
            for part in id_lists(document_ids):
                rows = (
                    await self._chunks.query()
                    .where(f"document_id IN ({part})")
                    .select(["content_hash", "metadata", "embedding"])
                    .to_arrow()
                )
                found.update(zip(embedding_keys(rows), matrix_of(rows["embedding"]), strict=True))
        return found

    async def batches(self, columns: Sequence[str], rows: int | None = None) -> AsyncGenerator[Any, None]:
        """These columns of every chunk as Arrow record batches, of at most `rows` rows or of some thousand."""
        with mapped(self._path):
            query = self._chunks.query().select(list(columns))
            async for batch in await query.to_batches(max_batch_length=rows):
                yield batch

    async def document_columns(self, columns: Sequence[str]) -> Any:
        """These columns of the indexed documents as an Arrow table."""
        with mapped(self._path):
            query = self._documents.query().where(f"status = {sql_text(DocumentStatus.INDEXED)}")
            return await query.select(list(columns)).to_arrow()

    async def documents(self, document_ids: Sequence[str] | None = None) -> list[DocumentRecord]:
        """Document rows: all of them, or those with these ids (one row per source path)."""
        with mapped(self._path):
            query = self._documents.query()
            if document_ids is not None:
                query = query.where(f"document_id IN ({quoted(document_ids)})")
            rows = await query.to_arrow()
        return await asyncio.to_thread(records_of, rows)

    async def document_table(self) -> DocumentTable:
        """All document rows, to be asked many times; kept until this is closed."""
        if self.documents_at_hand is None:
            with mapped(self._path):
                rows = await self._documents.query().to_arrow()
            self.documents_at_hand = await asyncio.to_thread(DocumentTable, rows)
            del rows
            # The making took twice what the table takes. It is a search that is here: it need not wait for this.
            self._tasks.start(asyncio.to_thread(give_back), name="give back")
        return self.documents_at_hand

    async def failed_documents(self) -> int:
        """Files that could not be indexed."""
        with mapped(self._path):
            return int(await self._documents.count_rows(f"status = {sql_text(DocumentStatus.FAILED)}"))

    async def unindexed_rows(self) -> int:
        """Chunks that the vector index does not cover, so that each is compared; all of them where there is none."""
        with mapped(self._path):
            stats = await self._chunks.index_stats(VECTOR_INDEX)
            return int(await self._chunks.count_rows() if stats is None else stats.num_unindexed_rows)

    def forget(self) -> None:
        """Let go of what was read to be quick."""
        self._tasks.cancel("read")
        if self._row_map is not None:
            self._row_map.close()
        self._row_map = self.documents_at_hand = None
        self._wholly_indexed = False
        self._searches = 0

    async def move_to(self, cache: Cache, *, warm: bool) -> None:
        """Read through another cache from now on; calls that run finish on the old one. With `warm`, what was in memory
        is read again, as far as there is room, while the caller goes on. Raises StorageFault; then nothing has changed.
        """
        db = await cache.connection(self._path)
        with mapped(self._path):
            tables = [
                await db.open_table(table.name, version=await table.version())
                for table in (self._chunks, self._documents)
            ]
        if self.cache is None:  # closed meanwhile
            return
        self._chunks, self._documents = tables
        self.cache = cache
        if warm:
            self._searches = 0
            if self.warm:
                self._tasks.launch("read", self._warm_up())

    def close(self) -> None:
        """Let go of the tables."""
        self.cache = None
        self.forget()
        self._chunks.close()
        self._documents.close()
