"""Rerankers by name: cross-encoders in GGUF format, and LanceDB's where a person has installed what they need.

Off unless the setting `reranker` or a request names one. A reranker orders what fusion found, it finds nothing itself,
so a search goes on without one that fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from studio.domain import Reranker
from studio.embedding.client import RankingClient
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.errors import InvalidRequest, ModelFault
from studio.index.vectors import LanceReranker, lance_rerankers
from studio.ways_out import InstallReranker, SmallerReranker

TIME_LIMIT_S = 10.0
"""For one call: beyond it a person would rather have the fused order. 50 passages of 240 tokens take a cross-encoder of
MiniLM's size some 3 s on one core."""
LOAD_LIMIT_S = 60.0
"""Importing torch and reading a model takes some 10 s on a slow disk."""


class Rerankers:
    """Finds rerankers by name and keeps those in use loaded."""

    def __init__(self, models: ModelCatalog, pool: EmbedderPool) -> None:
        self._models = models
        self._pool = pool
        self._lance: dict[str, _OfLance] = {}
        self._loading = asyncio.Lock()

    async def names(self) -> list[str]:
        """The rerankers that can be used now: installed GGUF models, then those of LanceDB."""
        infos = await asyncio.to_thread(self._models.list)
        local = [info.name for info in infos if info.installed and info.kind == "reranker"]
        return local + await asyncio.to_thread(lance_rerankers.installed)

    async def reranker(self, name: str) -> Reranker:
        """The reranker of that name, loaded: a GGUF model's, or “lancedb:KIND” or “lancedb:KIND:MODEL”.

        Raises InvalidRequest for an unknown name, ModelFault when it is not installed or cannot be loaded,
        WorkerDied.
        """
        if name.startswith(lance_rerankers.PREFIX):
            return await self._of_lance(name)
        if await asyncio.to_thread(self._models.find, name) is None:
            raise await self._unknown(name)
        return _OfModel(name, await self._pool.ranker(name), self._pool)

    async def _of_lance(self, name: str) -> Reranker:
        _, kind, *model = name.split(":", 2)
        if kind not in lance_rerankers.KINDS:
            raise await self._unknown(name)
        async with self._loading:
            if name not in self._lance:
                loaded = _OfLance(name)
                await loaded.load(kind, model[0] if model else "")
                self._lance[name] = loaded
            return self._lance[name]

    async def _unknown(self, name: str) -> InvalidRequest:
        usable = ", ".join(await self.names())
        others = ", ".join(lance_rerankers.PREFIX + kind for kind in lance_rerankers.KINDS)
        return InvalidRequest(
            f"There is no reranker “{name}”; only those that run on this machine are offered.",
            way_out=InstallReranker(usable, others),
        )


def _too_slow(name: str) -> ModelFault:
    return ModelFault(
        f"The reranker {name} took more than {TIME_LIMIT_S:g} seconds.",
        way_out=SmallerReranker(),
    )


@dataclass(frozen=True, slots=True)
class _OfModel:
    """A GGUF cross-encoder in its worker process."""

    name: str
    client: RankingClient
    pool: EmbedderPool

    async def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                return await self.client.scores(query, passages)
        except TimeoutError:
            # Slow or hung, which cannot be told apart; the next request gets a fresh process.
            await self.pool.unload(self.name)
            raise _too_slow(self.name) from None


class _OfLance:
    """One of LanceDB's, in a thread of its own: its packages promise nothing about several threads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reranker")
        self._reranker: LanceReranker | None = None

    async def load(self, kind: str, model: str) -> None:
        """Import the packages and read the model. Raises ModelFault."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOAD_LIMIT_S):
                self._reranker = await loop.run_in_executor(self._thread, LanceReranker, kind, model)
        except TimeoutError:
            raise ModelFault(f"The reranker {self.name} did not load within {LOAD_LIMIT_S:g} seconds.") from None
        finally:
            if self._reranker is None:
                self._thread.shutdown(wait=False)

    async def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        assert self._reranker is not None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                return await loop.run_in_executor(self._thread, self._reranker.scores, query, list(passages))
        except TimeoutError:
            raise _too_slow(self.name) from None
