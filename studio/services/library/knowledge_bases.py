"""Knowledge bases: create, rename, delete, look inside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import astuple

from studio.config import Config
from studio.domain import DocumentRecord, KbSettings, KnowledgeBase, Retention
from studio.errors import InvalidRequest, storage_fault
from studio.index.generations import Stores

MIN_CHUNK_TOKENS = 16


class LibraryService:
    """Everything about knowledge bases but their contents."""

    def __init__(self, stores: Stores, config: Config) -> None:
        self._stores = stores
        self._config = config

    @property
    def read_only(self) -> str | None:
        """Why nothing can be changed for now, in sentences for a person; None when it can."""
        return self._stores.catalog.read_only

    async def require_writable(self) -> None:
        """Look again whether something can be changed. Raises StorageFault, with the reason, while nothing can."""
        await self._stores.catalog.require_writable()

    async def list(self) -> list[KnowledgeBase]:
        """All knowledge bases by name."""
        return await self._stores.catalog.knowledge_bases()

    async def get(self, name_or_id: str) -> KnowledgeBase:
        """One of them. Raises NotFound."""
        return await self._stores.knowledge_base(name_or_id)

    def default_settings(self) -> KbSettings:
        """Settings of a new knowledge base."""
        return KbSettings(model=self._config.text("model"), contextual=True)

    async def create(self, name: str, settings: KbSettings | None = None) -> KnowledgeBase:
        """Add one. Raises Conflict when the name is taken, InvalidRequest for settings that make no sense."""
        settings = settings or self.default_settings()
        _require_sense(settings)
        kb = await self._stores.catalog.create_kb(name, settings)
        try:
            await asyncio.to_thread(self._stores.paths.kb(kb.id).create)
        except OSError as error:
            await self._stores.forget(kb.id)
            raise storage_fault(error, "creating the knowledge base", self._stores.paths.kb(kb.id).root) from error
        await self._stores.catalog.describe(kb.id)
        return kb

    async def change_settings(self, name_or_id: str, settings: KbSettings) -> KnowledgeBase:
        """Let the next ingest rebuild a knowledge base with other settings. Raises NotFound, InvalidRequest."""
        _require_sense(settings)
        kb = await self.get(name_or_id)
        return await self._stores.catalog.update_settings(kb.id, settings)

    async def retention(self, name_or_id: str) -> Retention:
        """Which old generations of a knowledge base are kept. Raises NotFound."""
        return retention_of(await self.get(name_or_id), self._config)

    async def set_retention(self, name_or_id: str, retention: Retention | None) -> Retention:
        """Replace that policy; None goes back to the program's. Raises NotFound, InvalidRequest."""
        if retention is not None and min(astuple(retention)) < 0:
            raise InvalidRequest("Nothing in the policy can be negative.")
        kb = await self.get(name_or_id)
        kb = await self._stores.catalog.set_retention(kb.id, retention)
        return retention_of(kb, self._config)

    async def rename(self, name_or_id: str, new_name: str) -> KnowledgeBase:
        """Give another name. Raises NotFound, Conflict."""
        kb = await self.get(name_or_id)
        return await self._stores.catalog.rename_kb(kb.id, new_name)

    async def delete(self, name_or_id: str) -> None:
        """Delete a knowledge base with all its generations; source files stay. Raises NotFound, Busy."""
        kb = await self.get(name_or_id)
        with await self._stores.store(kb.id).lock_for_writing(kb.name, to_delete=True):
            await self._stores.forget(kb.id)

    async def documents(self, name_or_id: str, generation: int | None = None) -> Sequence[DocumentRecord]:
        """Documents of the active generation (or another), by path; empty before the first ingest."""
        kb = await self.get(name_or_id)
        if generation is None and kb.active_generation is None:
            return []
        async with self._stores.store(kb.id).reading(generation) as snapshot:
            return await snapshot.tables.documents()

    async def stamp(self) -> int:
        """A number that differs after this or another process changed anything; settings of others are noticed too."""
        self._config.refresh()
        return await self._stores.catalog.stamp()


def _require_sense(settings: KbSettings) -> None:
    if settings.chunk_tokens < MIN_CHUNK_TOKENS:
        raise InvalidRequest(f"Chunks need at least {MIN_CHUNK_TOKENS} tokens.")
    if not 0 <= settings.chunk_overlap <= settings.chunk_tokens // 2:
        raise InvalidRequest("The overlap must be between 0 and half the chunk size.")


def retention_of(kb: KnowledgeBase, config: Config) -> Retention:
    """The knowledge base's own policy, or the program's."""
    return kb.retention or Retention(
        config.integer("keep_generations"), float(config.integer("keep_min_age_hours")), config.integer("keep_max_mib")
    )
