"""One embedding client per model, started when it is first needed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from studio.domain import Embedder
from studio.embedding.client import EmbeddingClient
from studio.embedding.models import ModelCatalog
from studio.errors import ModelFault


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with a running worker. `size_bytes` is the mapped file; the OS knows the rest of `pid`."""

    name: str
    pid: int
    size_bytes: int
    idle: bool


class EmbedderPool:
    """Implements `domain.EmbedderProvider`."""

    def __init__(self, catalog: ModelCatalog, *, threads: int = 1) -> None:
        self._catalog = catalog
        self._threads = threads
        self._clients: dict[str, EmbeddingClient] = {}
        self._starting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._closed = False

    async def embedder(self, model: str) -> Embedder:
        """The running embedder of the named model. Raises ModelFault when it is missing or damaged."""
        async with self._starting[model]:
            if self._closed:
                raise ModelFault("The program is closing; no model is started any more.")
            if model not in self._clients:
                self._clients[model] = await self._start(model)
            return self._clients[model]

    async def _start(self, model: str) -> EmbeddingClient:
        info = await asyncio.to_thread(self._catalog.find, model)
        if info is None or not info.installed:
            raise ModelFault(
                f"The embedding model {model} is not installed.",
                way_out=f"Install it with: rag-studio model install {model}",
            )
        # llama.cpp loads damaged weights without a word, so the bytes are compared first.
        await self._catalog.verify(info)
        return await EmbeddingClient.start(info, threads=self._threads)

    def loaded(self) -> list[LoadedModel]:
        """The models whose worker runs now."""
        return [
            LoadedModel(client.model.name, client.pid, client.model.size_bytes, client.idle)
            for client in self._clients.values()
            if client.pid is not None
        ]

    async def unload(self, model: str) -> None:
        """Free the memory of a model. Its embedders stay valid: the next request loads it again."""
        client = self._clients.get(model)
        if client is not None:
            await client.unload()

    async def close(self) -> None:
        """End every worker. Idempotent."""
        self._closed = True
        for model in list(self._clients):
            async with self._starting[model]:
                client = self._clients.pop(model, None)
                if client is not None:
                    await client.close()
