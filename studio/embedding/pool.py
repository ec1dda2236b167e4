"""One client per model, embedder or reranker, started when it is first needed and unloaded when it is not.

A model that finds no room takes it from those that are idle, the least recently used first; only when none of these is
left it is refused.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from studio.concurrency import TaskOwner
from studio.domain import Embedder, ModelInfo
from studio.embedding.admission import Admission, Unlimited
from studio.embedding.client import EmbeddingClient, ModelClient, RankingClient
from studio.embedding.models import ModelCatalog
from studio.errors import EnvironmentFault, ModelFault
from studio.memory import amount, process_reading
from studio.ways_out import ChooseReranker, InstallModel, InstallReranker

C = TypeVar("C", bound=ModelClient)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with a running worker, which has `path`, of `size_bytes`, mapped; the OS knows the rest of `pid`.

    `last_use` is when its last request ended, in seconds of the pool's clock.
    """

    name: str
    pid: int
    path: Path | None
    size_bytes: int
    last_use: float
    idle: bool


class EmbedderPool:
    """Implements `domain.EmbedderProvider`."""

    def __init__(
        self,
        catalog: ModelCatalog,
        *,
        threads: int = 1,
        admission: Admission | None = None,
        idle_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`admission` is asked before each load. A model that is idle for `idle_s` seconds is unloaded; 0: never."""
        self._catalog = catalog
        self._threads = threads
        self._clients: dict[str, ModelClient] = {}
        self._room = _Room(admission or Unlimited(), self.unload_longest_idle)
        self._idle_s = idle_s
        self._clock = clock
        self._sleep = sleep
        self._small_batches = False
        self._owner = TaskOwner("models")
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
            if client is not None and await self._gone(client):
                client = None
            if client is None:
                client = self._clients[model] = await self._start(model, kind)
                client.small_batches = self._small_batches
                self._watch()
            if not isinstance(client, kind):
                raise wrong_kind(client.model)
            return client

    async def _gone(self, client: ModelClient) -> bool:
        """Whether its file was removed since it was unloaded; another of the same name may have been installed."""
        path = client.model.path
        if client.pid is not None or not client.idle or (path is not None and await asyncio.to_thread(path.is_file)):
            return False
        await client.close()
        return True

    async def _start(self, model: str, kind: type[C]) -> C:
        info = await asyncio.to_thread(self._catalog.find, model)
        if info is None or not info.installed:
            raise ModelFault(
                f"The model {model} is not installed.",
                way_out=InstallModel(model),
            )
        if (info.kind == "reranker") is not issubclass(kind, RankingClient):
            raise wrong_kind(info)
        return await kind.start(
            info,
            threads=self._threads,
            admission=self._room,
            clock=self._clock,
            # llama.cpp loads damaged weights without a word, so the bytes are compared first.
            check=functools.partial(self._catalog.verify, info),
        )

    # ------------------------------------------------------------ memory

    def loaded(self) -> list[LoadedModel]:
        """The models whose worker runs now, the least recently used first."""
        return [
            LoadedModel(
                client.model.name, pid, client.model.path, client.model.size_bytes, client.last_use, client.idle
            )
            for client in self._by_use()
            if (pid := client.pid) is not None
        ]

    async def unload(self, model: str) -> None:
        """Free the memory of a model. Its embedders stay valid: the next request loads it again."""
        client = self._clients.get(model)
        if client is not None:
            await client.unload()

    def retire(self, model: str) -> None:
        """Unload a model as soon as its last request is answered and it is not held."""
        client = self._clients.get(model)
        if client is not None:
            self._owner.launch(f"retire {model}", client.unload_when_idle())

    async def unload_idle(self, unused_s: float = 0.0) -> dict[str, int]:
        """Unload every model that was idle for `unused_s` seconds: how many bytes the worker of each had resident."""
        freed: dict[str, int] = {}
        for client in self._by_use():
            pid = client.pid
            if pid is None or not client.idle or self._clock() - client.last_use < unused_s:
                continue
            reading = await asyncio.to_thread(process_reading, pid)
            if await client.unload_if_idle():
                freed[client.model.name] = reading.resident if reading is not None else 0
        if freed:
            log.info("idle models unloaded: %s", ", ".join(f"{name} ({amount(size)})" for name, size in freed.items()))
        return freed

    async def unload_longest_idle(self) -> bool:
        """Unload the idle model that was used longest ago; False when none is loaded and idle."""
        for client in self._by_use():
            if client.idle and await client.unload_if_idle():
                log.info("the model %s was unloaded to make room", client.model.name)
                return True
        return False

    def unload_after(self, idle_s: float) -> None:
        """Unload models that are idle for `idle_s` seconds from now on; 0: never."""
        self._idle_s = idle_s
        self._owner.cancel("idle")
        if self._clients:
            self._watch()

    def shrink_batches(self, small: bool) -> None:
        """Send a quarter as much text at a time to the workers, or as much as usual again; vectors stay the same.

        Holds for the calls that follow. What a worker takes for the model itself depends on the longest text alone.
        """
        self._small_batches = small
        for client in self._clients.values():
            client.small_batches = small

    def _by_use(self) -> list[ModelClient]:
        return sorted(self._clients.values(), key=lambda client: client.last_use)

    def _watch(self) -> None:
        if self._idle_s > 0 and not self._closed:
            self._owner.launch("idle", self._unload_unused(self._idle_s))

    async def _unload_unused(self, idle_s: float) -> None:
        """Unload each model that was idle for so long."""
        while True:
            for client in self._by_use():
                if client.idle and self._clock() - client.last_use >= idle_s and await client.unload_if_idle():
                    log.info("the model %s was unloaded: unused for %.0f s", client.model.name, idle_s)
            now = self._clock()
            waiting = [client for client in self._clients.values() if client.idle and client.pid is not None]
            await self._sleep(max(0.0, min((client.last_use + idle_s - now for client in waiting), default=idle_s)))

    async def close(self) -> None:
        """End every worker. Idempotent."""
        self._closed = True
        await self._owner.close()
        for model in list(self._clients):
            async with self._starting[model]:
                client = self._clients.pop(model, None)
                if client is not None:
                    await client.close()


class _Room:
    """An `Admission` that takes room from idle models before it gives up."""

    def __init__(self, admission: Admission, make_room: Callable[[], Awaitable[bool]]) -> None:
        self._admission = admission
        self._make_room = make_room
        self._asking = asyncio.Lock()

    async def admit(self, component: str, needed_bytes: int, smaller: str) -> None:
        async with self._asking:  # two that ask at once would both unload for room that one of them takes
            while True:
                try:
                    return await self._admission.admit(component, needed_bytes, smaller)
                except EnvironmentFault:
                    # A client that waits for `_asking` is not idle, so no two of them wait for each other.
                    if not await self._make_room():
                        raise

    def release(self, component: str) -> None:
        self._admission.release(component)


def wrong_kind(info: ModelInfo) -> ModelFault:
    """What to say of a model that is put to the other kind's use."""
    if info.kind == "reranker":
        return ModelFault(
            f"The model {info.name} is a reranker: it judges a passage together with a query and gives no embeddings.",
            way_out=ChooseReranker(info.name),
        )
    return ModelFault(
        f"The model {info.name} is an embedding model and no reranker.",
        way_out=InstallReranker(),
    )
