"""Loading one model into a worker process: asking for room first, and giving up one that keeps dying."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from studio.domain import ModelInfo
from studio.embedding.admission import Admission
from studio.embedding.client.launch import crash_fault, start_worker
from studio.embedding.model_files import ModelFootprint, read_footprint
from studio.embedding.worker import ReadyInfo
from studio.errors import EnvironmentFault, ModelFault, WorkerCrashed, WorkerDied
from studio.memory import amount
from studio.ways_out import InstallModel
from studio.workers import WorkerProcess

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[None]]
"""Says whether the file may be loaded, by raising what is wrong with it."""

RESTARTS = 6
RESTART_WINDOW_S = 60.0


async def reserve(admission: Admission, component: str, model: str, footprint: ModelFootprint) -> None:
    """Ask for room for a model. Raises ModelFault with the numbers and the way out when there is none."""
    smaller = f"Install a smaller quantisation of the model {model} or choose a smaller model"
    try:
        await admission.admit(component, footprint.total_bytes, smaller)
    except EnvironmentFault as error:
        raise ModelFault(
            f"The model {model} is not loaded: it would take {amount(footprint.mapped_bytes)} mapped "
            f"from files and {amount(footprint.private_bytes)} of its own. {error}",
            way_out=error.way_out or f"{smaller}.",
        ) from error


class Loader:
    """Starts workers of one model, one at a time. What is loaded holds its reservation until `release`."""

    def __init__(self, info: ModelInfo, threads: int, admission: Admission) -> None:
        self._info = info
        self._threads = threads
        self._admission = admission
        self._component = f"the model {info.name}"
        self._footprint: ModelFootprint | None = None
        self._starts: deque[float] = deque(maxlen=RESTARTS)
        self._cautious = False

    async def footprint(self) -> ModelFootprint:
        """What a worker takes. Raises ModelFault when the file is not there or damaged."""
        if self._footprint is None:
            self._footprint = await asyncio.to_thread(read_footprint, self._file(), self._info.max_tokens)
        return self._footprint

    async def load(self, check: Check | None = None) -> WorkerProcess:
        """Start a worker. Raises ModelFault, also when there is no room, WorkerDied when it keeps ending."""
        await reserve(self._admission, self._component, self._info.name, await self.footprint())
        try:
            if check is not None:
                await check()
            self._note_start()
            return await self._spawn()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the reservation back: the worker is gone. Idempotent."""
        self._admission.release(self._component)

    def be_cautious(self) -> None:
        """Start workers without what crashes on some processors from now on: one has crashed."""
        if not self._cautious:
            log.warning("the model %s goes on without the processor's special instructions", self._info.name)
        self._cautious = True

    def forgive(self) -> None:
        """Do not count the last start: that worker ends because it is told to, not because it keeps dying."""
        if self._starts:
            self._starts.pop()

    def _note_start(self) -> None:
        now = time.monotonic()
        if len(self._starts) == RESTARTS and now - self._starts[0] < RESTART_WINDOW_S:
            raise WorkerDied(
                f"The process of the model {self._info.name} keeps ending ({RESTARTS} starts within a minute)."
            )
        self._starts.append(now)

    def _file(self) -> Path:
        info = self._info
        if info.path is None or not info.path.is_file():
            raise ModelFault(
                f"The file of the model {info.name} is not there.",
                way_out=InstallModel(info.name, again=True),
            )
        return info.path

    async def _spawn(self) -> WorkerProcess:
        try:
            process, ready = await self._start()
        except WorkerCrashed as error:
            if self._cautious:
                raise crash_fault(f"The model {self._info.name}", error) from error
            self.be_cautious()
            return await self._spawn()
        try:
            self._recognise(ready)
        except ModelFault:
            await process.kill()
            raise
        return process

    async def _start(self) -> tuple[WorkerProcess, ReadyInfo]:
        info = self._info
        return await start_worker(
            self._file(), max_tokens=info.max_tokens, threads=self._threads, cautious=self._cautious
        )

    def _recognise(self, ready: ReadyInfo) -> None:
        info = self._info
        if (ready.dimension, ready.pooling) != (info.given_dimension, info.pooling):
            raise ModelFault(
                f"The file of the model {info.name} is not what it was: dimension {ready.dimension} with "
                f"{ready.pooling} pooling instead of {info.given_dimension} with {info.pooling}.",
                way_out=InstallModel(info.name, again=True),
            )
