"""Access to every knowledge base's store through one catalog."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress

from studio.domain import KnowledgeBase
from studio.errors import StorageFault, StudioError, storage_fault
from studio.failpoints import reach
from studio.index.catalog import EMPTY, GONE, AsyncCatalog, Moment, backups, fault_of, is_base, knows_none, unlinkable
from studio.index.files import put_up
from studio.index.generations.building import GenerationStore
from studio.index.generations.caches import IndexCaches
from studio.links import can_link
from studio.memory import use_few_arenas
from studio.paths import DataPaths, KbPaths
from studio.ways_out import RestoreCatalog


class Stores:
    """The catalog, and one `GenerationStore` per knowledge base, opened when first used."""

    def __init__(self, paths: DataPaths, catalog: AsyncCatalog) -> None:
        self.paths = paths
        self.catalog = catalog
        self.caches = IndexCaches(paths.root / "kb")
        self._stores: dict[str, GenerationStore] = {}
        self._known: tuple[Moment | None, dict[str, KnowledgeBase]] = (None, {})

    @classmethod
    async def open(cls, paths: DataPaths, *, adopting: bool = False) -> Stores:
        """Create the data directory if need be and open its catalog. Raises StorageFault, unless it is to be `adopting`
        also where the catalog is lost beside the files of knowledge bases.
        """
        use_few_arenas()
        try:
            await asyncio.to_thread(_create, paths)
            if not adopting:
                await asyncio.to_thread(_refuse_lost_catalog, paths)
            return cls(paths, await AsyncCatalog.open(paths.catalog))
        except OSError as error:
            raise storage_fault(error, "creating the data directory", paths.root) from error

    async def knowledge_base(self, name_or_id: str) -> KnowledgeBase:
        """One knowledge base, as it is now. Raises NotFound."""
        moment = self.catalog.moment()
        if moment is None or moment != self._known[0]:
            self._known = (moment, {})
        known = self._known[1]  # read too late, it is put where it is not looked for any more
        if name_or_id not in known:
            known[name_or_id] = await self.catalog.knowledge_base(name_or_id)
        return known[name_or_id]

    def store(self, kb_id: str) -> GenerationStore:
        """The store of a knowledge base, by id."""
        if kb_id not in self._stores:
            self._stores[kb_id] = GenerationStore(kb_id, self.paths.kb(kb_id), self.catalog, self.caches)
        return self._stores[kb_id]

    def release(self) -> None:
        """Let go of the generations kept open, and with them of the threads that look after their keyword indexes."""
        for store in self._stores.values():
            store.release()

    async def forget(self, kb_id: str) -> None:
        """Delete a knowledge base: first a tombstone is put up, then its row goes, then its files. After a crash in
        between doctor goes on; without a tombstone it would take the files for those of a base that was lost.
        """
        store = self._stores.pop(kb_id, None)
        if store is not None:
            store.close()
        tombstone = self.paths.tombstone(kb_id)
        stood = tombstone.exists()
        await asyncio.to_thread(put_up, tombstone)
        reach("forget.told")
        try:
            await self.catalog.delete_kb(kb_id)
        except StudioError:
            if not stood:  # a caller who hears that the deletion failed goes on using the base
                tombstone.unlink(missing_ok=True)
            raise
        reach("forget.row")
        await asyncio.to_thread(shutil.rmtree, self.paths.kb(kb_id).root, ignore_errors=True)

    async def close(self) -> None:
        """Close every store, then the catalog."""
        for store in self._stores.values():
            store.close()
        self._stores.clear()
        self.caches.forget()
        await self.catalog.close()


def _create(paths: DataPaths) -> None:
    """Make the data directory, unless nothing could be indexed there. Raises StorageFault, OSError."""
    is_new = not paths.catalog.exists()
    paths.create()
    if is_new and not can_link(paths.root):
        raise unlinkable(paths.root)


def _refuse_lost_catalog(paths: DataPaths) -> None:
    """A new catalog beside the files of knowledge bases would know nothing of them, and a database of another program
    is not ours to write into. What is damaged otherwise, SQLite finds out.
    """
    if fault := catalog_fault(paths, thorough=False):
        beside = ", but the files of knowledge bases are there" if holds_bases(paths) else ""
        raise StorageFault(
            f"The catalog {paths.catalog} {fault}{beside}.",
            way_out=RestoreCatalog(),
        )


def catalog_fault(paths: DataPaths, *, thorough: bool) -> str:
    """Why the catalog cannot be used, a sentence without its subject; "" where it can, or where the data directory is
    new. See `fault_of`. Blocking. Raises OSError when it cannot be looked at.
    """
    bases = holds_bases(paths)  # looked for first: a knowledge base has its row before its folder
    fault = fault_of(paths.catalog, thorough=thorough)
    if fault in (GONE, EMPTY):
        return fault if bases or backups(paths.backups) else ""
    return fault or ("knows no knowledge base" if bases and knows_none(paths.catalog) else "")


def holds_bases(paths: DataPaths) -> bool:
    """Whether there are files of knowledge bases that were not deleted on purpose."""
    folders = base_folders(paths)
    return any(is_base(base) and not base.tombstone.exists() for base in folders)


def base_folders(paths: DataPaths) -> list[KbPaths]:
    """Whatever lies where the knowledge bases' folders are, by name."""
    with suppress(OSError):
        return [paths.kb(name) for name in sorted(path.name for path in (paths.root / "kb").iterdir())]
    return []
