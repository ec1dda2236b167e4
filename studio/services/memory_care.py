"""Keeping to the memory budget: what the parts of the program hold, what each may take, and what it gives up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Set

from studio.concurrency import Attention, TaskOwner
from studio.config import Config
from studio.documents.pool import ParserPool
from studio.embedding.pool import EmbedderPool
from studio.errors import StudioError
from studio.index.generations import Stores
from studio.memory import (
    DROP_CACHES,
    FLUSH,
    PAUSE_INGEST,
    SMALLER_BATCHES,
    SMALLER_CACHES,
    UNLOAD_IDLE_MODELS,
    Grant,
    Kind,
    Level,
    MemoryCoordinator,
    Step,
    arrow_bytes,
    cached_bytes,
    give_back,
    mapped_files,
)
from studio.services.costs import APPLICATION_BYTES, MODEL, MODEL_FILES
from studio.services.ingest import BUILD_BYTES, BuildRoom
from studio.services.search import SearchService

CACHES_MINIMUM_BYTES = 32 << 20
"""What LanceDB's caches may take in any case."""
CACHES_SHARE, CACHES_SHARE_AT_MOST = 1 / 8, 1 / 4
"""Of the budget: what LanceDB's caches would like to have, and what they may have where nothing else wants it. More of
them would by itself be what makes memory short."""
FILES_EVERY_S = 5.0
"""How often it is asked which files are mapped and cached: that walks all mappings of a process, some 15 ms, and takes
some system calls a file. Nothing is decided by it, only by what processes hold in all."""

QUIET_S = 60.0
"""Between two readings while nothing is at work, which would take memory."""
WORK_SHARE = 0.1
"""Of a core: what takes more of it is at work."""
IN_USE_S = 10.0
"""A model that was used so lately is not unloaded a second time while memory stays short: every search would wait for
it to load."""

log = logging.getLogger(__name__)

Doing = Callable[[], Awaitable[None]]


class ModelRoom:
    """Reserves room for models in the budget. Implements `embedding.admission.Admission`."""

    def __init__(self, memory: MemoryCoordinator) -> None:
        self._memory = memory
        self._grants: dict[str, Grant] = {}

    async def admit(self, component: str, needed_bytes: int, smaller: str) -> None:
        """Reserve memory for a model; what it held before is replaced. Raises MemoryRefused."""
        self.release(component)
        self._grants[component] = self._memory.admit(component, minimum=needed_bytes, smaller=smaller)

    def release(self, component: str) -> None:
        """The model is gone. Idempotent."""
        grant = self._grants.pop(component, None)
        if grant is not None:
            grant.release()


class MemoryCare:
    """Tells the coordinator what there is, and does what it asks for. To be used on the event loop."""

    def __init__(
        self,
        memory: MemoryCoordinator,
        config: Config,
        stores: Stores,
        embedders: EmbedderPool,
        parser: ParserPool,
        search: SearchService,
        builds: BuildRoom,
        attention: Attention | None = None,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._attention = attention or Attention()
        self._cpu = cpu
        self._spent_s = 0.0
        self._memory = memory
        self._config = config
        self._stores = stores
        self._caches = stores.caches
        self._embedders = embedders
        self._parser = parser
        self._search = search
        self._builds = builds
        self._owner = TaskOwner("memory")
        self._resizing = asyncio.Lock()
        self._caches_bytes = -1
        self._small_caches = False
        self._program = self._baseline()
        self._share = self._cache_share()
        self._forget: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin to read memory, and to act on it."""
        self._enter()
        self._offer()
        self._resize_soon()
        self._parser.end_after(idle_seconds(self._config))
        self._forget.append(self._config.subscribe(self._settings_changed))
        self._owner.start(self._memory.run(self._pause), name="readings")

    async def _pause(self, seconds: float) -> None:
        """The time between two readings: longer while nothing is at work, without end while no person looks either.

        Work that is not a job, such as measuring or importing, is known by the processor time it takes.
        """
        spent, self._spent_s = self._cpu() - self._spent_s, self._cpu()
        if self._memory.level is Level.NORMAL and self._attention.is_quiet and spent < WORK_SHARE * seconds:
            await self._attention.pause(QUIET_S, resting=self._stores.release)
        else:
            await asyncio.sleep(seconds)

    def _settings_changed(self, changed: Set[str]) -> None:
        if changed & {"memory_budget_mib", "model_idle_minutes"}:
            self.settings_changed()

    def settings_changed(self) -> None:
        """Take the budget and the time after which unused processes end from the settings again."""
        self._memory.set_budget(self._config.integer("memory_budget_mib"))
        self._embedders.unload_after(idle_seconds(self._config))
        self._parser.end_after(idle_seconds(self._config))
        self._program.release()
        self._share.release()
        self._program = self._baseline()
        self._share = self._cache_share()
        if self._small_caches:
            self._share.squeeze()
        self._resize_soon()

    async def close(self) -> None:
        """Take back everything that was registered, granted and given up. Idempotent."""
        await self._owner.close()
        for forget in self._forget:
            forget()
        self._forget.clear()
        self._builds.resume()
        self._embedders.shrink_batches(False)
        self._caches.small_builds = False
        self._share.release()
        self._program.release()

    async def retire_replaced(self, kb_id: str) -> None:
        """Unload the models that older generations of a knowledge base were built with, once nothing is at work with
        them, unless an active generation of any knowledge base needs them. Never raises StudioError."""
        try:
            for name in await self._replaced(kb_id):
                self._embedders.retire(name)
        except StudioError as error:
            log.warning("models that were replaced stay loaded: %s", error)

    async def _replaced(self, kb_id: str) -> Set[str]:
        loaded = {model.name for model in self._embedders.loaded()}
        if not loaded:
            return set()
        former = {generation.settings.model for generation in await self._stores.catalog.generations(kb_id)}
        return loaded & (former - await self._stores.catalog.active_models())

    # ------------------------------------------------------------ what there is

    def _enter(self) -> None:
        enter, caches = self._memory.register, self._caches
        self._forget += [
            enter(MODEL_FILES, _Seldom(self._model_files), Kind.MAPPED, MODEL),
            enter("LanceDB's caches", caches.held),
            enter("tables of rows", caches.maps),
            enter("Arrow's buffers", arrow_bytes),
            enter("keyword indexes", _Seldom(caches.mapped), Kind.MAPPED),
            enter("recent searches", self._search.held_bytes),
            enter("files in the page cache", _Seldom(lambda: cached_bytes(caches.files()) or 0), Kind.CACHED),
        ]

    def _model_files(self) -> int:
        """Pages of model files that workers have mapped; the size of the files where the system does not tell."""
        held = 0
        for model in self._embedders.loaded():
            if model.path is not None:
                mapped = mapped_files(model.pid)
                held += model.size_bytes if mapped is None else mapped.get(str(model.path.resolve()), 0)
        return held

    # ------------------------------------------------------------ what each may take

    # Both are there whatever the budget says: of one that is too small they get what there is, and who comes later is
    # refused.

    def _baseline(self) -> Grant:
        budget = self._memory.budget
        needed = APPLICATION_BYTES - BUILD_BYTES
        return budget.admit("the program itself", minimum=max(0, min(needed, budget.free)))

    def _cache_share(self) -> Grant:
        budget = self._memory.budget
        minimum = max(0, min(CACHES_MINIMUM_BYTES, budget.free))
        preferred = max(minimum, int(CACHES_SHARE * budget.total))
        return budget.admit(
            "the caches of indexes",
            minimum=minimum,
            preferred=preferred,
            maximum=max(preferred, int(CACHES_SHARE_AT_MOST * budget.total)),
            resized=lambda _: self._resize_soon(),
        )

    def _resize_soon(self) -> None:
        self._owner.start(self._resize(), name="caches")

    async def _resize(self) -> None:
        async with self._resizing:  # whichever comes last sets the size that holds then
            size = self._share.size
            if size != self._caches_bytes:
                await self._caches.resize(size)
                self._caches_bytes = size

    # ------------------------------------------------------------ what is given up

    def _offer(self) -> None:
        offers: list[tuple[Step, str, Doing, Doing, Doing | None]] = [
            (SMALLER_BATCHES, "models", self._shrink_batches, self._grow_batches, None),
            (SMALLER_CACHES, "indexes", self._squeeze_caches, self._relax_caches, None),
            (FLUSH, "builds", self._build_small, self._build_large, None),
            (PAUSE_INGEST, "builds", self._pause_builds, self._resume_builds, None),
            (PAUSE_INGEST, "readers", self._parser.end_idle, _nothing, self._parser.end_idle),
            (UNLOAD_IDLE_MODELS, "models", self._unload_idle_models, _nothing, self._unload_unused_models),
            (DROP_CACHES, "searches", self._drop_searches, _nothing, None),
            (DROP_CACHES, "indexes", self._caches.drop, _nothing, _trim),  # which ends with a trim
        ]
        self._forget += [self._memory.sacrifices.register(*offer) for offer in offers]

    async def _shrink_batches(self) -> None:
        self._embedders.shrink_batches(True)

    async def _grow_batches(self) -> None:
        self._embedders.shrink_batches(False)

    async def _squeeze_caches(self) -> None:
        self._small_caches = True
        self._share.squeeze()
        await self._resize()  # so that memory is read when it has happened

    async def _relax_caches(self) -> None:
        self._small_caches = False
        self._share.relax()

    async def _build_small(self) -> None:
        self._caches.small_builds = True

    async def _build_large(self) -> None:
        self._caches.small_builds = False

    async def _pause_builds(self) -> None:
        self._builds.pause(PAUSE_INGEST.sentence)

    async def _resume_builds(self) -> None:
        self._builds.resume()

    async def _unload_idle_models(self) -> None:
        await self._embedders.unload_idle()

    async def _unload_unused_models(self) -> None:
        await self._embedders.unload_idle(IN_USE_S)

    async def _drop_searches(self) -> None:
        self._search.drop()


class _Seldom:
    """The last answer for some seconds: it takes long to get a new one."""

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask
        self._asked_at = -FILES_EVERY_S
        self._answer = 0

    def __call__(self) -> int:
        now = time.monotonic()
        if now - self._asked_at >= FILES_EVERY_S:
            self._answer, self._asked_at = self._ask(), now
        return self._answer


def idle_seconds(config: Config) -> float:
    """After how many seconds without use a model is unloaded and the processes that read files end; 0: never."""
    return 60.0 * config.integer("model_idle_minutes")


async def _nothing() -> None:
    pass


async def _trim() -> None:
    await asyncio.to_thread(give_back)
