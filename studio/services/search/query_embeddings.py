"""Embeddings of queries, the last few hundred kept."""

from __future__ import annotations

from studio.domain import Embedder, EmbedderProvider, ModelIdentity, Vectors
from studio.errors import ModelFault
from studio.services.search.recent import Recent

KEPT = 512
"""Embeddings kept: 0.8 MB of 384 numbers. Typing, paging and weighing ask for the same ones again."""


class QueryEmbeddings:
    """Embeds queries with the model a generation was built with."""

    def __init__(self, embedders: EmbedderProvider) -> None:
        self._embedders = embedders
        self._kept = Recent[tuple[str, str], Vectors](KEPT)

    async def embedder(self, model: str, identity: ModelIdentity | None) -> Embedder:
        """The running embedder. Raises ModelFault also when its model is not the one of `identity`."""
        embedder = await self._embedders.embedder(model)
        if identity is not None and embedder.model.sha256 != identity.sha256:
            raise ModelFault(
                f"This generation was built with another file of the model {model}.",
                way_out="Build a new generation with the present model, or install the old one again.",
            )
        return embedder

    async def embed(self, model: str, identity: ModelIdentity | None, query: str) -> Vectors:
        """The query's embedding, shape (dimension,). Raises ModelFault, WorkerDied."""
        embedder = await self.embedder(model, identity)
        key = (embedder.model.sha256, query)
        found = self._kept.get(key)
        if found is None:
            found = (await embedder.embed([query], interactive=True, query=True))[0]
            self._kept.keep(key, found)
        return found

    def held_bytes(self) -> int:
        """Of the embeddings kept."""
        return self._kept.total(lambda vector: vector.nbytes)

    def forget(self) -> None:
        """Embed every query anew."""
        self._kept.clear()
