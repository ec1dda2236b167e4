"""Reading generations: one is pinned by a lease, opened, and kept open while it is the active one.

The lease is taken first and the state checked second, so the collector (which takes the same lock exclusively
before it marks a generation) can never slip in between.

Files can also vanish by other hands. A generation without its keyword index is still opened, for its vectors; what
was found damaged is not kept open, so that the next attempt sees what a repair or a backup brought back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from studio.domain import Candidate, Generation, GenerationState, KnowledgeBase
from studio.errors import NotFound, StorageFault
from studio.index.catalog import AsyncCatalog
from studio.index.files import FileLock, try_lock
from studio.index.generations.caches import IndexCaches
from studio.index.keywords import LEXICAL_VERSION, Analyzer, Expansion, LexicalReader, Query
from studio.index.vectors import ROWS_VERSION, TableReader, VectorDatabase
from studio.paths import KbPaths

READABLE = (GenerationState.ACTIVE, GenerationState.ARCHIVED, GenerationState.READY)
"""States in which a generation is whole."""


class Snapshot:
    """One generation, open and leased. `close` when done; until then nothing of it is collected."""

    def __init__(
        self,
        generation: Generation,
        tables: TableReader,
        lexical: LexicalReader,
        lease: FileLock,
        caches: IndexCaches,
    ) -> None:
        self.generation = generation
        self.tables = tables
        self.lexical = lexical
        self.kept = False
        """Whether it stays open between readers."""
        self.doubted = isinstance(lexical, LostLexicalReader)
        """Set when reading it failed: it is opened anew the next time."""
        self._lease = lease
        self._caches = caches
        caches.opened(self)

    def close(self) -> None:
        """Let go of the indexes and the lease."""
        self._caches.closed(self)
        self.tables.close()
        self.lexical.close()
        self._lease.release()


class GenerationReader:
    """All generations of one knowledge base, as this process reads them."""

    def __init__(self, kb_id: str, paths: KbPaths, catalog: AsyncCatalog, caches: IndexCaches) -> None:
        self.kb_id = kb_id
        self.paths = paths
        self.caches = caches
        self.repairing = False
        """Whether nothing is collected: what a damaged generation held may be told from anything that is left."""
        self.vectors = VectorDatabase(paths.vectors, caches)
        self._catalog = catalog
        self._cached: Snapshot | None = None
        self._uses: dict[Snapshot, int] = {}
        self._closed = False

    @asynccontextmanager
    async def reading(self, number: int | None = None, kb: KnowledgeBase | None = None) -> AsyncIterator[Snapshot]:
        """The active generation (or `number`), pinned while the block runs; `kb` is the row of it, just read.

        The active generation stays open between calls, any other one while it is read. Raises NotFound when
        there is none.
        """
        base = kb if kb is not None else await self._catalog.knowledge_base(self.kb_id)
        wanted = number if number is not None else base.active_generation
        if wanted is None:
            raise NotFound(f"“{base.name}” is empty.", way_out="Ingest some documents first.")
        snapshot = self._open_one(wanted) or await self._acquire(wanted, follow_active=number is None)
        if number is None and snapshot is not self._cached and not self._closed:  # a late reader keeps nothing open
            self._keep(snapshot)
        self._uses[snapshot] = self._uses.get(snapshot, 0) + 1
        try:
            if snapshot is self._cached:
                await self.caches.adopt(snapshot)
            yield snapshot
        except StorageFault:
            snapshot.doubted = True
            raise
        finally:
            self._uses[snapshot] -= 1
            if snapshot.doubted:
                self.vectors.forget_caches()
                if snapshot is self._cached:
                    snapshot.kept = False
                    self._cached = None
            if snapshot is not self._cached and self._uses[snapshot] == 0:
                del self._uses[snapshot]
                snapshot.close()

    def _open_one(self, number: int) -> Snapshot | None:
        """A snapshot of the generation that is open already."""
        known = (self._cached, *self._uses)
        return next((item for item in known if item and item.generation.number == number and not item.doubted), None)

    async def _acquire(self, number: int, *, follow_active: bool) -> Snapshot:
        generation, lease = await self._lease(number, follow_active=follow_active)
        try:
            refuse_newer(generation)
            lexical = await asyncio.to_thread(_lexical, self.paths.lexical_generation(generation.number), generation)
            tables = await self.vectors.reader(
                generation.chunks_table,
                generation.chunks_version,
                generation.documents_version,
                kept=follow_active,
            )
            return Snapshot(generation, tables, lexical, lease, self.caches)
        except BaseException:
            lease.release()
            raise

    async def _lease(self, number: int, *, follow_active: bool) -> tuple[Generation, FileLock]:
        while True:
            lease: FileLock | None = None
            try:
                await self._catalog.generation(self.kb_id, number)  # no lock file for what never was
                # Not in a thread: a lock taken there while this task is cancelled would have no owner.
                lease = try_lock(self.paths.lease(number), shared=True)
                generation = await self._catalog.generation(self.kb_id, number)
                if lease is not None and generation.state in READABLE:
                    kept, lease = lease, None
                    return generation, kept
                if not follow_active:
                    raise NotFound(f"Generation {number} is {generation.state} and cannot be read.")
            except NotFound:
                if not follow_active:
                    raise
            finally:
                if lease is not None:
                    lease.release()
            # The collector holds it, or has taken it: it was active a moment ago, another one is now.
            await asyncio.sleep(0.005)
            number = (await self._catalog.knowledge_base(self.kb_id)).active_generation or number

    def _keep(self, snapshot: Snapshot) -> None:
        before, self._cached = self._cached, snapshot
        snapshot.kept = True
        if before is not None:
            self._retire(before)
            snapshot.tables.warm |= before.tables.warm  # it is warmed up when it is adopted

    def _retire(self, snapshot: Snapshot) -> None:
        """Close a snapshot that is no longer cached, at once or when its last reader leaves."""
        snapshot.kept = False
        self.caches.forget()  # what was read of it
        if self._uses.get(snapshot, 0) == 0:
            self._uses.pop(snapshot, None)
            snapshot.close()

    def release(self) -> None:
        """Let go of the generation kept open; readers in flight finish on it."""
        cached, self._cached = self._cached, None
        if cached is not None:
            self._retire(cached)

    def close(self) -> None:
        """Let go of everything."""
        self._closed = True
        self.release()
        self.vectors.close()


class LostLexicalReader(LexicalReader):
    """Stands in for a keyword index that cannot be opened: asked for passages, it says why."""

    def __init__(self, path: Path, language: str, fault: StorageFault) -> None:
        self._path = path
        self.analyzer = Analyzer(language)
        self._fault = fault

    @property
    def chunks(self) -> int:
        raise self._again()

    def search(self, query: Query | str, **_: Any) -> list[Candidate]:
        raise self._again()

    def matching(self, query: Query, **_: Any) -> set[str] | None:
        raise self._again()

    def frequencies(self, query: Query) -> tuple[int, dict[str, int]]:
        raise self._again()

    def chunk_ids(self) -> list[str]:
        raise self._again()

    def expansion(self, query: Query) -> Expansion:
        """Words stand for themselves: results of the other side are marked all the same."""
        return Expansion((), {}, {}, ())

    def reopen(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def _again(self) -> StorageFault:
        return StorageFault(str(self._fault), way_out=self._fault.way_out)


def _lexical(path: Path, generation: Generation) -> LexicalReader:
    language = generation.settings.language
    try:
        return LexicalReader(path, language)
    except StorageFault as fault:
        return LostLexicalReader(path, language, fault)


def refuse_newer(generation: Generation) -> None:
    """Raise StorageFault when a newer program wrote this generation's indexes."""
    if generation.rows_version > ROWS_VERSION or generation.lexical_version > LEXICAL_VERSION:
        raise StorageFault(
            f"Generation {generation.number} was written by a newer version of RAG Studio (rows "
            f"{generation.rows_version}, keyword index {generation.lexical_version}; this program knows "
            f"{ROWS_VERSION} and {LEXICAL_VERSION}).",
            way_out="Update RAG Studio, or roll back to an older generation.",
        )
