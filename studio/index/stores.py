"""Access to every knowledge base's store through one catalog."""

from __future__ import annotations

import asyncio
import shutil

from studio.concurrency import Executor
from studio.domain import KnowledgeBase
from studio.errors import StorageFault, storage_fault
from studio.index.caches import IndexCaches
from studio.index.catalog import Catalog
from studio.index.generations import GenerationStore
from studio.index.glance import Moment
from studio.memory import use_few_arenas
from studio.paths import DataPaths


class Stores:
    """The catalog, its thread, and one `GenerationStore` per knowledge base, opened when first used."""

    def __init__(self, paths: DataPaths, catalog: Catalog, thread: Executor) -> None:
        self.paths = paths
        self.catalog = catalog
        self.thread = thread
        self.caches = IndexCaches(paths.root / "kb")
        self._stores: dict[str, GenerationStore] = {}
        self._known: tuple[Moment | None, dict[str, KnowledgeBase]] = (None, {})

    @classmethod
    async def open(cls, paths: DataPaths) -> Stores:
        """Create the data directory if need be and open its catalog. Raises StorageFault."""
        use_few_arenas()
        thread = Executor("catalog")
        try:
            await asyncio.to_thread(paths.create)
            await asyncio.to_thread(_refuse_lost_catalog, paths)
            catalog = await thread.run(Catalog, paths.catalog)
        except OSError as error:
            thread.close()
            raise storage_fault(error, "creating the data directory", paths.root) from error
        except BaseException:
            thread.close()
            raise
        return cls(paths, catalog, thread)

    async def knowledge_base(self, name_or_id: str) -> KnowledgeBase:
        """One knowledge base, as it is now. Raises NotFound."""
        moment = self.catalog.moment()
        if moment is None or moment != self._known[0]:
            self._known = (moment, {})
        known = self._known[1]  # who waits longer than the moment lasts puts what was read where nobody looks any more
        if name_or_id not in known:
            known[name_or_id] = await self.thread.run(self.catalog.knowledge_base, name_or_id)
        return known[name_or_id]

    def store(self, kb_id: str) -> GenerationStore:
        """The store of a knowledge base, by id."""
        if kb_id not in self._stores:
            self._stores[kb_id] = GenerationStore(kb_id, self.paths.kb(kb_id), self.catalog, self.thread, self.caches)
        return self._stores[kb_id]

    def release(self) -> None:
        """Let go of the generations kept open, and with them of the threads that look after their keyword indexes."""
        for store in self._stores.values():
            store.release()

    async def forget(self, kb_id: str) -> None:
        """Delete a knowledge base's row, then its files; a crash in between leaves an orphan for doctor."""
        store = self._stores.pop(kb_id, None)
        if store is not None:
            store.close()
        await self.thread.run(self.catalog.delete_kb, kb_id)
        await asyncio.to_thread(shutil.rmtree, self.paths.kb(kb_id).root, ignore_errors=True)

    async def close(self) -> None:
        """Close every store, then the catalog."""
        for store in self._stores.values():
            store.close()
        self._stores.clear()
        self.caches.forget()
        await self.thread.run(self.catalog.close)
        await asyncio.to_thread(self.thread.close)


def _refuse_lost_catalog(paths: DataPaths) -> None:
    """An empty catalog beside the files of knowledge bases would declare all of them to be rubbish."""
    bases = paths.root / "kb"
    # In this order: the files of the first knowledge base come after the catalog.
    if bases.is_dir() and any(bases.iterdir()) and not paths.catalog.exists():
        raise StorageFault(
            f"The catalog {paths.catalog} is gone, but the files of knowledge bases are there.",
            way_out=f"Put it back from a backup, or move {bases} away to start anew.",
        )
