"""Parent side of parsing: a few worker processes, reused, limited, replaced when they fail."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from studio.documents import frames
from studio.domain import ParsedDocument, ParserEvent
from studio.errors import Cancelled, DocumentFault, FailureCode, WorkerDied
from studio.workers import WorkerProcess

WORKER_MODULE = "studio.documents.parser_worker"
FILES_PER_WORKER = 200
"""A worker is replaced after this many files: allocators seldom give memory back."""
START_LIMIT_S = 60.0
LARGE_FRAME_BYTES = 1 << 16

# One thread each: on many-core machines numerical libraries otherwise reserve more address space
# than the memory limit allows.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PYTHONUTF8": "1"}


class ParserPool:
    """Reads files in worker processes; implements `domain.DocumentParser`.

    `time_limit_s` bounds the wait for the next batch of a file, which for anything but a tabular
    file is the whole file; time the consumer takes does not count. `memory_limit_bytes` bounds what
    one worker may allocate (POSIX). At most `workers` files are read at once; further calls wait.
    """

    def __init__(
        self,
        workers: int = 2,
        time_limit_s: float = 60.0,
        memory_limit_bytes: int = 1 << 30,
        *,
        files_per_worker: int = FILES_PER_WORKER,
        worker_module: str = WORKER_MODULE,
    ) -> None:
        if workers < 1:
            raise ValueError("a parser pool needs at least one worker")
        self._slots = asyncio.Semaphore(workers)
        self._time_limit_s = time_limit_s
        self._memory_limit_bytes = memory_limit_bytes
        self._files_per_worker = files_per_worker
        self._worker_module = worker_module
        self._idle: list[_Worker] = []
        self._live: set[_Worker] = set()
        self._closed = False

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run now."""
        return tuple(worker.process.pid for worker in self._live)

    async def parse(self, path: Path, *, passwords: Sequence[str] = ()) -> AsyncGenerator[ParserEvent, None]:
        """Documents of one file, streamed. Raises DocumentFault, Cancelled when the pool is closed meanwhile.

        Wrap it in `contextlib.aclosing` when the iteration may stop early; the worker that reads the
        file is then ended.
        """
        path = path.absolute()
        await asyncio.to_thread(check_readable, path)
        async with self._slots:
            worker = await self._request(path)
            finished = False
            try:
                while True:
                    kind, body = await self._receive(worker)
                    if kind == frames.DOCUMENTS:
                        for parsed in await _decode(body):
                            yield parsed
                    elif kind == frames.DONE:
                        finished = True
                        return
                    else:
                        fault = frames.decode_fault(body)
                        finished = fault.code is not FailureCode.OUT_OF_MEMORY
                        raise fault
            finally:
                # Not finished: timed out, crashed, or the consumer left; the worker is in the middle of the file.
                if finished and not self._closed and worker.files < self._files_per_worker:
                    self._idle.append(worker)
                else:
                    await self._end(worker)

    async def _request(self, path: Path) -> _Worker:
        """A worker that has begun to read the file.

        A reused worker may have died since its last file (the system was short of memory, say): that
        is not this file's fault, so a fresh one gets a second try.
        """
        while True:
            worker, fresh = await self._take()
            try:
                await worker.begin(path)
                return worker
            except (WorkerDied, TimeoutError) as error:
                await self._end(worker)
                if fresh:
                    raise WorkerDied(
                        "The process that reads documents cannot be started.",
                        way_out="Check that the installation is complete and that memory is free.",
                    ) from error
            except BaseException:
                await self._end(worker)
                raise

    async def _take(self) -> tuple[_Worker, bool]:
        if self._closed:
            raise Cancelled("Reading was stopped because the program is closing.")
        while self._idle:
            worker = self._idle.pop()
            if worker.process.alive:
                return worker, False
            await self._end(worker)
        arguments = (str(self._memory_limit_bytes), str(self._time_limit_s))
        worker = _Worker(await WorkerProcess.spawn(self._worker_module, arguments, _ENVIRONMENT))
        self._live.add(worker)
        return worker, True

    async def _receive(self, worker: _Worker) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(self._time_limit_s):
                return await worker.receive()
        except TimeoutError as error:
            raise DocumentFault(
                FailureCode.TIMED_OUT,
                f"Reading this file took longer than {self._time_limit_s:g} seconds and was stopped.",
                way_out="If it opens elsewhere, save it again or split it; it may be damaged.",
            ) from error
        except WorkerDied as error:
            if self._closed:
                raise Cancelled("Reading was stopped because the program is closing.") from error
            raise DocumentFault(
                FailureCode.CRASHED,
                "The process that read this file ended unexpectedly; the file is damaged or needs too much memory.",
                way_out="If it opens elsewhere, save it again under a new name and add that file.",
            ) from error

    async def _end(self, worker: _Worker) -> None:
        self._live.discard(worker)
        await worker.process.kill()

    async def close(self) -> None:
        """End every worker, also those in the middle of a file; idempotent."""
        self._closed = True
        self._idle.clear()
        while self._live:
            await self._end(next(iter(self._live)))


class _Worker:
    """One process and how many files it has read."""

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
        self.files = 0

    async def begin(self, path: Path) -> None:
        """Hand over a file and wait until the worker has taken it. Raises WorkerDied, TimeoutError."""
        self.files += 1
        async with asyncio.timeout(START_LIMIT_S):
            await self.process.send(frames.PARSE, self.files, frames.encode_path(path))
            kind, _ = await self.receive()
        if kind != frames.STARTED:
            raise WorkerDied(f"The worker answered with an unexpected frame of kind {kind}.")

    async def receive(self) -> tuple[int, bytes]:
        """Kind and body of the next frame."""
        kind, request, body = await self.process.receive()
        if request != self.files:
            raise WorkerDied(f"The worker answered request {request} instead of {self.files}.")
        return kind, body


async def _decode(body: bytes) -> list[ParsedDocument]:
    """Decode a batch, a large one beside the event loop."""
    if len(body) < LARGE_FRAME_BYTES:
        return frames.decode_documents(body)
    return await asyncio.to_thread(frames.decode_documents, body)


def check_readable(path: Path) -> None:
    """Refuse what is no regular file, without opening it: opening a pipe would wait for ever.

    Raises DocumentFault VANISHED, NO_PERMISSION or UNSUPPORTED.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DocumentFault(FailureCode.VANISHED, "The file is no longer there.") from error
    except PermissionError as error:
        raise DocumentFault(
            FailureCode.NO_PERMISSION,
            "There is no permission to reach this file.",
            way_out="Check the permissions of the folder it lies in.",
        ) from error
    except (OSError, ValueError) as error:
        raise DocumentFault(FailureCode.VANISHED, f"The file cannot be reached: {error}.") from error
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or pipe"
        raise DocumentFault(FailureCode.UNSUPPORTED, f"This is {what}, not a file.")
