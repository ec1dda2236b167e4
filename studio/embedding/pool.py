"""One client per model, embedder or reranker, started when it is first needed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TypeVar

from studio.domain import Embedder, ModelInfo
from studio.embedding.client import EmbeddingClient, ModelClient, RankingClient
from studio.embedding.models import ModelCatalog
from studio.errors import ModelFault

C = TypeVar("C", bound=ModelClient)


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
        self._clients: dict[str, ModelClient] = {}
        self._starting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._closed = False

    async def embedder(self, model: str) -> Embedder:
        """The running embedder of the named model. Raises ModelFault when it is missing, damaged or a reranker."""
        return await self._client(model, EmbeddingClient)

    async def ranker(self, model: str) -> RankingClient:
        """The running reranker of that name. Raises ModelFault when it is missing, damaged or an embedder."""
        return await self._client(model, RankingClient)

    async def _client(self, model: str, kind: type[C]) -> C:
        async with self._starting[model]:
            if self._closed:
                raise ModelFault("The program is closing; no model is started any more.")
            client = self._clients.get(model)
            if client is None:
                client = self._clients[model] = await self._start(model, kind)
            if not isinstance(client, kind):
                raise wrong_kind(client.model)
            return client

    async def _start(self, model: str, kind: type[C]) -> C:
        info = await asyncio.to_thread(self._catalog.find, model)
        if info is None or not info.installed:
            raise ModelFault(
                f"The model {model} is not installed.",
                way_out=f"Install it with: rag-studio model install {model}",
            )
        if (info.kind == "reranker") is not issubclass(kind, RankingClient):
            raise wrong_kind(info)
        # llama.cpp loads damaged weights without a word, so the bytes are compared first.
        await self._catalog.verify(info)
        return await kind.start(info, threads=self._threads)

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


def wrong_kind(info: ModelInfo) -> ModelFault:
    """What to say of a model that is put to the other kind's use."""
    if info.kind == "reranker":
        return ModelFault(
            f"The model {info.name} is a reranker: it judges a passage together with a query and gives no embeddings.",
            way_out=f"Choose it for the order of results with: rag-studio config set reranker {info.name}",
        )
    return ModelFault(
        f"The model {info.name} is an embedding model and no reranker.",
        way_out="Install a cross-encoder in GGUF format: rag-studio model install FILE",
    )
