"""Access to every knowledge base's store through one catalog."""

from __future__ import annotations

import asyncio
import shutil

from studio.concurrency import Executor
from studio.domain import KnowledgeBase
from studio.errors import storage_fault
from studio.index.catalog import Catalog
from studio.index.generations import GenerationStore
from studio.paths import DataPaths


class Stores:
    """The catalog, its thread, and one `GenerationStore` per knowledge base, opened when first used."""

    def __init__(self, paths: DataPaths, catalog: Catalog, thread: Executor) -> None:
        self.paths = paths
        self.catalog = catalog
        self.thread = thread
        self._stores: dict[str, GenerationStore] = {}

    @classmethod
    async def open(cls, paths: DataPaths) -> Stores:
        """Create the data directory if need be and open its catalog. Raises StorageFault."""
        thread = Executor("catalog")
        try:
            await asyncio.to_thread(paths.create)
            catalog = await thread.run(Catalog, paths.catalog)
        except OSError as error:
            thread.close()
            raise storage_fault(error, "creating the data directory", paths.root) from error
        except BaseException:
            thread.close()
            raise
        return cls(paths, catalog, thread)

    async def knowledge_base(self, name_or_id: str) -> KnowledgeBase:
        """One knowledge base. Raises NotFound."""
        return await self.thread.run(self.catalog.knowledge_base, name_or_id)

    def store(self, kb_id: str) -> GenerationStore:
        """The store of a knowledge base, by id."""
        if kb_id not in self._stores:
            self._stores[kb_id] = GenerationStore(kb_id, self.paths.kb(kb_id), self.catalog, self.thread)
        return self._stores[kb_id]

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
        await self.thread.run(self.catalog.close)
        await asyncio.to_thread(self.thread.close)
