"""One worker process that reads files, from the parent's side: its memory, its temporary files, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from studio.concurrency import run_to_end
from studio.documents import frames
from studio.documents.pool.scope import UNCONFINED, Scope
from studio.errors import WorkerDied
from studio.workers import WorkerProcess

START_LIMIT_S = 60.0
WATCH_SECONDS = 0.2
CHILDREN_EVERY = 5
"""Looking for the children of a process takes a hundred times as long as looking at the process."""
_FOLDER = "rag-studio-parser-"

# One thread each: on many-core machines numerical libraries otherwise reserve more address space
# than the memory limit allows, and begin before the process is confined.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PYTHONUTF8": "1"}


class ParserProcess:
    """A worker process, its own folder for temporary files, and how many files it has read.

    `over_memory` tells that it was ended because it, with the programs it runs, held `memory_limit_bytes` more than
    before its first file.
    """

    def __init__(self, process: WorkerProcess, folder: str, memory_limit_bytes: int, scope: Scope) -> None:
        self.process = process
        self.scope = scope
        self.memory_limit_bytes = memory_limit_bytes
        self.files = 0
        self.over_memory = False
        self._folder = folder
        self._base_bytes = 0
        self._children: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            self._system: psutil.Process | None = psutil.Process(process.pid)

    @classmethod
    async def start(
        cls,
        module: str,
        memory_limit_bytes: int,
        time_limit_s: float,
        environment: Mapping[str, str],
        scope: Scope = UNCONFINED,
    ) -> ParserProcess:
        """Start a worker that reads what lies in `scope`. Raises WorkerDied."""
        folder = os.path.realpath(await run_to_end(tempfile.mkdtemp, prefix=f"{_FOLDER}{os.getpid()}-"))
        try:
            arguments = (str(memory_limit_bytes), str(time_limit_s), folder)
            process = await WorkerProcess.spawn(module, arguments, {**ENVIRONMENT, **environment})
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(process, folder, memory_limit_bytes, scope)

    async def begin(self, request: frames.Request) -> None:
        """Hand over a file and wait until the worker has taken it. Raises WorkerDied, TimeoutError."""
        self.files += 1
        async with asyncio.timeout(START_LIMIT_S):
            if self.files == 1 and (allowed := self.scope.allowed(self._folder)) is not None:
                await self.process.send(frames.CONFINE, 0, frames.encode_allowed(allowed))
            await self.process.send(frames.PARSE, self.files, frames.encode_request(request))
            kind, body = await self.receive()
        if kind != frames.STARTED:
            raise WorkerDied(f"The worker answered with an unexpected frame of kind {kind}.")
        self._base_bytes = frames.decode_memory(body)

    async def receive(self) -> tuple[int, bytes]:
        """Kind and body of the next frame."""
        kind, request, body = await self.process.receive()
        if request != self.files:
            raise WorkerDied(f"The worker answered request {request} instead of {self.files}.")
        return kind, body

    def grown_bytes(self, *, look_for_children: bool = False) -> int:
        """Real memory it holds above what it held before its first file, its children's included; 0 if it is gone."""
        if self._system is None:
            return 0
        with contextlib.suppress(psutil.Error):
            if look_for_children:
                self._children = self._system.children(recursive=True)
            held = int(self._system.memory_info().rss) - self._base_bytes
            for child in self._children:
                with contextlib.suppress(psutil.Error):
                    held += int(child.memory_info().rss)
            return held
        return 0

    def enforce_memory(self, *, look_for_children: bool) -> None:
        """End it if it holds more than it may. For any thread."""
        if self._base_bytes and self.grown_bytes(look_for_children=look_for_children) > self.memory_limit_bytes:
            self.over_memory = True
            _kill([*self._children, *([self._system] if self._system else [])])

    async def end(self) -> None:
        """End the process and those it started, and remove its temporary files; idempotent."""
        try:
            if self.process.alive:
                await run_to_end(self.grown_bytes, look_for_children=True)
        finally:  # also when it is cancelled
            try:
                await self.process.kill()
            finally:
                await run_to_end(self._clean)

    def _clean(self) -> None:
        _kill(self._children)
        shutil.rmtree(self._folder, ignore_errors=True)


class MemoryWatch:
    """A thread that looks at the memory of worker processes while they read."""

    def __init__(self) -> None:
        self._workers: set[ParserProcess] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, worker: ParserProcess) -> None:
        """Watch a worker."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="parser-memory", daemon=True)
                self._thread.start()
            self._workers.add(worker)
            self._changed.notify()

    def remove(self, worker: ParserProcess) -> None:
        """Watch it no longer."""
        with self._changed:
            self._workers.discard(worker)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        rounds = 0
        while True:
            with self._changed:
                while not self._workers and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                workers = list(self._workers)
            for worker in workers:
                worker.enforce_memory(look_for_children=rounds % CHILDREN_EVERY == 0)
            rounds += 1
            with self._changed:
                if not self._closed:
                    self._changed.wait(WATCH_SECONDS)


def remove_leftovers() -> None:
    """Remove temporary files of workers whose program was killed. Blocking."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        owner = folder.name.removeprefix(_FOLDER).split("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
