"""Embedders and rerankers: which there are, install, choose, remove."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from studio.domain import KnowledgeBase, ModelInfo, ModelWishes
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool, wrong_kind
from studio.errors import Conflict, ModelFault
from studio.index.generations import Stores
from studio.ways_out import InstallModel

InstallProgress = Callable[[int, int | None, str], None]


class ModelService:
    """The model catalog as a person uses it."""

    def __init__(self, stores: Stores, catalog: ModelCatalog, embedders: EmbedderPool) -> None:
        self._stores = stores
        self._catalog = catalog
        self._embedders = embedders

    async def list(self) -> list[ModelInfo]:
        """Installed models and those that can be installed by name."""
        return await asyncio.to_thread(self._catalog.list)

    async def install(
        self, source: str, progress: InstallProgress | None = None, wishes: ModelWishes | None = None
    ) -> ModelInfo:
        """Install by known name, file, folder or URL. Raises ModelFault; Conflict when it is there with others set."""
        return await self._catalog.install(source, progress, wishes)

    async def use(self, kb: str, model: str) -> KnowledgeBase:
        """Let a knowledge base use another model; its next build embeds everything anew. Raises ModelFault."""
        base = await self._stores.knowledge_base(kb)
        info = await asyncio.to_thread(self._catalog.find, model)
        if info is None or not info.installed:
            raise ModelFault(f"The model {model} is not installed.", way_out=InstallModel(model))
        if info.kind == "reranker":
            raise wrong_kind(info)
        settings = replace(base.settings, model=info.name)
        return await self._stores.catalog.update_settings(base.id, settings)

    async def remove(self, name: str) -> None:
        """Delete a model's file. Raises Conflict while a knowledge base uses it, ModelFault when it is not there."""
        users = [kb.name for kb in await self._stores.catalog.knowledge_bases() if kb.settings.model == name]
        if users:
            raise Conflict(
                f"The model {name} is used by: {', '.join(users)}.", way_out="Let them use another model first."
            )
        await self._embedders.unload(name)
        await asyncio.to_thread(self._catalog.remove, name)
