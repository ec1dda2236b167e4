"""Parent side of parsing: a few worker processes, reused, limited, replaced when they fail."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from studio.concurrency import TaskOwner
from studio.documents import frames
from studio.documents.ocr_settings import find_tesseract
from studio.documents.pool.attempts import Clock, Reading
from studio.documents.pool.process import MemoryWatch, ParserProcess, remove_leftovers
from studio.documents.pool.scope import Scopes, Wish
from studio.domain import ParserEvent
from studio.errors import Cancelled, DocumentFault, FailureCode, WorkerDied, WorkerKilled

WORKER_MODULE = "studio.documents.parser_worker"
FILES_PER_WORKER = 200
"""A worker is replaced after this many files: allocators seldom give memory back."""
USUAL_MEMORY_BYTES = 288 << 20
"""What a file may take beside others; with two workers, the model's and the application everything stays below
1.5 GB."""
LARGE_FRAME_BYTES = 1 << 16

_FATAL = (FailureCode.TIMED_OUT, FailureCode.OUT_OF_MEMORY, FailureCode.CRASHED)
"""What costs a worker. A crash may be for want of memory too: some libraries end the process when they get none."""


class ParserPool:
    """Reads files in worker processes; implements `domain.DocumentParser`.

    `time_limit_s` bounds the wait for the next sign of life of a file (documents, pages done, the next member of an
    archive), and the whole file takes at most `attempts.CEILING` of it; time the consumer takes does not count.
    `memory_limit_bytes` is the most a file may take: up to `USUAL_MEMORY_BYTES` beside other files; one that needs
    more, or ends its worker, is read again while no other is. At most `workers` files are read at once; further calls
    wait. `environment` is that of the workers, on top of this process's. Where the system can, a worker is `confined`
    to the folders of the job whose files it reads, without the `private` folders in them.
    """

    def __init__(
        self,
        workers: int = 2,
        time_limit_s: float = 60.0,
        memory_limit_bytes: int = 640 << 20,
        *,
        files_per_worker: int = FILES_PER_WORKER,
        usual_memory_bytes: int = USUAL_MEMORY_BYTES,
        worker_module: str = WORKER_MODULE,
        environment: Mapping[str, str] | None = None,
        private: Sequence[Path] = (),
        confined: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if workers < 1:
            raise ValueError("a parser pool needs at least one worker")
        self._workers = workers
        self._slots = _Slots(workers)
        self._time_limit_s = time_limit_s
        self._memory_limit_bytes = memory_limit_bytes
        self._usual_memory_bytes = min(usual_memory_bytes, memory_limit_bytes)
        self._files_per_worker = files_per_worker
        self._worker_module = worker_module
        self._environment = environment or {}
        self._scopes = Scopes(private, confined=confined)
        self._idle: list[ParserProcess] = []
        self._live: set[ParserProcess] = set()
        self._watch = MemoryWatch()
        self._idle_s = 0.0
        self._last_use = 0.0
        self._clock = clock
        self._sleep = sleep
        self._owner = TaskOwner("parser")
        self._ending: asyncio.Task[None] | None = None
        self._started = False
        self._closed = False

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run now."""
        return tuple(worker.process.pid for worker in list(self._live))  # a thread may ask

    def recognises_text(self) -> bool:
        """Whether pages without text can be read, by Tesseract."""
        return self._tesseract() is not None

    def _tesseract(self) -> str | None:
        return find_tesseract({**os.environ, **self._environment})

    async def parse(
        self, path: Path, *, passwords: Sequence[str] = (), roots: Sequence[Path] = ()
    ) -> AsyncGenerator[ParserEvent, None]:
        """Documents of one file, streamed, between signs of life and parts that cannot be read.

        `roots` are what the job is about, the same for all its files: a worker reads files of one job only, and can
        open what lies below them, or beside the file when there are none.
        Raises DocumentFault, Cancelled when the pool is closed meanwhile. Wrap it in `contextlib.aclosing` when the
        iteration may stop early; the worker that reads the file is then ended.
        """
        path = path.absolute()
        wish = await asyncio.to_thread(self._looked_at, path, roots)
        reading = Reading(path, tuple(passwords))
        while not reading.ended:
            slots = self._slots.all() if reading.alone else self._slots.one()
            async with slots, aclosing(self._read(reading, wish)) as events:
                async for event in events:
                    yield event

    def _looked_at(self, path: Path, roots: Sequence[Path]) -> Wish:
        check_readable(path)
        return self._scopes.wish(path, roots, self._tesseract())

    async def _read(self, reading: Reading, wish: Wish) -> AsyncGenerator[ParserEvent, None]:
        """Read a file to its end, or until it has to be alone, or need not be; an archive outlives fatal members."""
        alone = reading.alone
        if alone:  # what they hold is needed now
            await self.end_idle()
        limit = self._memory_limit_bytes if alone else self._usual_memory_bytes
        while not reading.ended and reading.alone == alone:
            try:
                async with aclosing(self._attempt(reading, wish, limit)) as events:
                    async for event in events:
                        yield event
            except DocumentFault as fault:
                more = limit < self._memory_limit_bytes and fault.code is FailureCode.OUT_OF_MEMORY
                if not alone and (more or fault.code is FailureCode.CRASHED):
                    reading.again_alone()
                elif fault.code in _FATAL and reading.member is not None:
                    yield reading.pass_over(fault)
                else:
                    raise

    async def _attempt(
        self, reading: Reading, wish: Wish, memory_limit_bytes: int
    ) -> AsyncGenerator[ParserEvent, None]:
        worker = await self._request(reading.request, wish, memory_limit_bytes)
        clock = Clock(self._time_limit_s)
        alone = reading.alone
        finished = False
        self._watch.add(worker)
        try:
            while True:
                kind, body = await self._receive(worker, clock)
                if kind == frames.DONE:
                    finished = reading.ended = True
                    return
                if kind == frames.FAULT:
                    fault = frames.decode_fault(body)
                    finished = fault.code is not FailureCode.OUT_OF_MEMORY
                    raise fault
                for event in await _events(kind, body, clock):
                    told = reading.take(event)
                    if told is not None:
                        yield told
                    if reading.alone != alone:  # the next member can be read beside other files again
                        return
        finally:
            self._watch.remove(worker)
            # Not finished: timed out, crashed, or the consumer left; the worker is in the middle of the file.
            if finished and self._reusable(worker):
                self._rest(worker)
            else:
                await self._end(worker)

    def _reusable(self, worker: ParserProcess) -> bool:
        """Whether it is fit for another file: the memory a file took often stays with the process."""
        return (
            not self._closed
            and worker.files < self._files_per_worker
            and worker.memory_limit_bytes == self._usual_memory_bytes
            and worker.grown_bytes() < worker.memory_limit_bytes // 2
        )

    async def _request(self, request: frames.Request, wish: Wish, memory_limit_bytes: int) -> ParserProcess:
        """A worker that has begun to read the file.

        A reused worker may have died since its last file (the system was short of memory, say): that
        is not this file's fault, so a fresh one gets a second try.
        """
        while True:
            worker, fresh = await self._take(wish, memory_limit_bytes)
            try:
                await worker.begin(request)
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

    async def _take(self, wish: Wish, memory_limit_bytes: int) -> tuple[ParserProcess, bool]:
        if self._closed:
            raise Cancelled("Reading was stopped because the program is closing.")
        while (worker := self._idle_for(wish)) is not None:
            if worker.process.alive:
                return worker, False
            await self._end(worker)
        if len(self._live) >= self._workers and self._idle:  # the one that has waited longest is of another job
            await self._end(self._idle.pop(0))
        if not self._started:
            self._started = True
            await asyncio.to_thread(remove_leftovers)
        scope = await asyncio.to_thread(self._scopes.scope, wish)
        worker = await ParserProcess.start(
            self._worker_module, memory_limit_bytes, self._time_limit_s, self._environment, scope
        )
        self._live.add(worker)
        return worker, True

    def _idle_for(self, wish: Wish) -> ParserProcess | None:
        """An idle worker that can read the file, no longer idle."""
        for place in reversed(range(len(self._idle))):
            if self._idle[place].scope.fits(wish):
                return self._idle.pop(place)
        return None

    async def _receive(self, worker: ParserProcess, clock: Clock) -> tuple[int, bytes]:
        try:
            with clock:
                async with asyncio.timeout(clock.patience_s):
                    return await worker.receive()
        except TimeoutError as error:
            raise DocumentFault(
                FailureCode.TIMED_OUT,
                f"Reading this file {clock.complaint} and was stopped.",
                way_out="If it opens elsewhere, save it again or split it; it may be damaged.",
            ) from error
        except WorkerDied as error:
            if self._closed:
                raise Cancelled("Reading was stopped because the program is closing.") from error
            if worker.over_memory:
                raise frames.out_of_memory() from error
            if isinstance(error, WorkerKilled):
                raise DocumentFault(
                    FailureCode.CRASHED,
                    "The process that read this file was ended from outside, by a person or for want of memory.",
                    way_out="Try again; if it happens again, close other programs first or split the file.",
                ) from error
            raise DocumentFault(
                FailureCode.CRASHED,
                "The process that read this file ended unexpectedly; the file is damaged or needs too much memory.",
                way_out="If it opens elsewhere, save it again under a new name and add that file.",
            ) from error

    async def _end(self, worker: ParserProcess) -> None:
        try:
            await worker.end()
        finally:
            self._live.discard(worker)

    def _rest(self, worker: ParserProcess) -> None:
        self._idle.append(worker)
        self._last_use = self._clock()
        if self._ending is None or self._ending.done():
            self._ending = self._owner.start(self._end_unused(), name="idle")

    def end_after(self, idle_s: float) -> None:
        """End idle workers when no file was finished for `idle_s` seconds, from now on; 0: keep them."""
        self._idle_s = idle_s
        if self._idle:
            self._ending = self._owner.start(self._end_unused(), name="idle")  # the one before may sleep for longer

    async def _end_unused(self) -> None:
        while self._idle and self._idle_s > 0:
            rest_s = self._last_use + self._idle_s - self._clock()
            if rest_s > 0:
                await self._sleep(rest_s)
            else:
                await self.end_idle()

    async def end_idle(self) -> None:
        """End the workers that read nothing now; the next file starts one again."""
        while self._idle:
            await self._end(self._idle.pop())

    async def close(self) -> None:
        """End every worker, also those in the middle of a file; idempotent."""
        self._closed = True
        await self._owner.close()
        self._idle.clear()
        while self._live:
            await self._end(next(iter(self._live)))
        await asyncio.to_thread(self._watch.close)


class _Slots:
    """How many files may be read at once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = asyncio.Semaphore(count)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Beside others."""
        async with self._free:
            yield

    @asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        """Alone; one after the other, or two would each wait for the slots the other holds."""
        async with self._turn:
            held = 0
            try:
                for _ in range(self._count):
                    await self._free.acquire()
                    held += 1
                yield
            finally:
                for _ in range(held):
                    self._free.release()


async def _events(kind: int, body: bytes, clock: Clock) -> Sequence[ParserEvent]:
    """What a frame holds. Large batches are decoded beside the event loop."""
    if kind == frames.DOCUMENTS:
        if len(body) < LARGE_FRAME_BYTES:
            documents = frames.decode_documents(body)
        else:
            documents = await asyncio.to_thread(frames.decode_documents, body)
        clock.advance(len(documents))
        return documents
    if kind == frames.PROGRESS:
        progress = frames.decode_progress(body)
        clock.advance(progress.steps)
        return [progress.event]
    if kind == frames.MEMBER:
        clock.restart()
        return [frames.decode_member(body)]
    if kind == frames.FAILURE:
        return [frames.decode_failure(body)]
    raise WorkerDied(f"The worker answered with an unexpected frame of kind {kind}.")


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
