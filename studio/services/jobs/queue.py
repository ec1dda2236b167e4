"""The queue of jobs: durable in the catalog, one job at a time over all knowledge bases, in the order of the queue.

Every process that started its queue works on the same jobs; a knowledge base's writer lock decides which of them
runs one, and what is steered from another process gets through within a second or two.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from studio.concurrency import Attention, TaskOwner
from studio.domain import FileProgress, IngestOptions, IngestReport, Job, JobKind, JobState
from studio.errors import Busy, Conflict, InvalidRequest, ModelFault, NotFound, StudioError
from studio.index.files import try_lock
from studio.index.generations import Stores
from studio.services.ingest import DEFAULT_OPTIONS, IngestService, JobControl
from studio.services.jobs.backoff import Backoff
from studio.services.jobs.events import Bulletin, JobChanged, JobEnded, JobEvent, JobProgress
from studio.services.jobs.retry import request_again

POLL_S = 1.0
"""How often the queue looks whether another process changed the catalog; takes some 30 µs when it did not."""
QUIET_POLL_S = 10.0
"""The same, while nothing is at work."""

POLL_SHARE = 0.1
"""Listing a job of a million files takes 0.6 s; then the queue looks less often, for this share of the time."""

BUSY_AGAIN_S, BUSY_AT_MOST_S = 0.5, 8.0
"""A knowledge base that another process writes is tried again after this long, doubled every time."""

_QUEUE = "queue"

log = logging.getLogger(__name__)

__all__ = ["JobChanged", "JobEnded", "JobEvent", "JobProgress", "JobQueue"]


@dataclass(slots=True, eq=False)
class _Running:
    """The job this process runs. `settled` is set once the catalog says what became of it."""

    job: Job
    control: JobControl
    task: asyncio.Task[IngestReport | Exception]
    pausing: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_stopping(self) -> bool:
        """Whether its task was cancelled already; to do so again would disturb it while it tidies up."""
        return self.pausing or self.control.cancelled

    def suspend(self) -> None:
        """Stop the job where it is, to go on later."""
        if not self.is_stopping:
            self.pausing = True
            self.task.cancel()


class JobQueue:
    """Accepts jobs at any time and runs them once it is started. Passwords stay in memory."""

    def __init__(self, stores: Stores, ingest: IngestService, attention: Attention | None = None) -> None:
        self._attention = attention or Attention()
        self._stores = stores
        self._ingest = ingest
        self._jobs = stores.catalog.jobs
        self._bulletin = Bulletin(stores)
        self._owner = TaskOwner("job queue")
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._running: _Running | None = None
        self._busy = Backoff(BUSY_AGAIN_S, BUSY_AT_MOST_S)
        self._passwords: dict[str, tuple[str, ...]] = {}
        self._held = ""
        self._started = self._closed = False

    def subscribe(self, listener: Callable[[JobEvent], None]) -> Callable[[], None]:
        """Call `listener` with everything that happens, on the event loop; returns what ends that."""
        return self._bulletin.subscribe(listener)

    async def start(self) -> None:
        """Run what waits: queued jobs and those a program that died left behind. Paused ones stay paused."""
        if not self._started and not self._closed:
            self._started = True
            self._owner.start(self._work(), name="work")
            self._owner.start(self._watch(), name="watch")

    async def close(self) -> None:
        """Stop; the running job goes on from where it is at the next start. Idempotent."""
        self._closed = True
        if self._running is not None and self._running.is_stopping:
            await self._running.settled.wait()
        await self._owner.close()

    # ------------------------------------------------------------ asking

    async def jobs(self) -> list[Job]:
        """Jobs that have not ended, in the order they run. Raises StorageFault, as do all that read the catalog."""
        return await self._jobs.open()

    async def ended(self, kb: str | None = None) -> list[Job]:
        """The last 50 jobs that ended, of one knowledge base or of all, the latest first. Raises NotFound."""
        kb_id = (await self._stores.knowledge_base(kb)).id if kb is not None else None
        return await self._jobs.ended(kb_id)

    async def job(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        return await self._jobs.get(job_id)

    async def is_live(self, job: Job) -> bool:
        """Whether a program is at work on a job that is running: one that died holds no writer lock any more."""
        if job.state is not JobState.RUNNING:
            return False
        lock = await asyncio.to_thread(try_lock, self._stores.paths.kb(job.kb_id).writer_lock, shared=False)
        if lock is not None:
            lock.release()
        return lock is None

    async def files(self, job_id: str, failed: bool = False) -> list[FileProgress]:
        """The files of a job, or those that could not be indexed."""
        return await self._jobs.files(job_id, failed=failed)

    # ------------------------------------------------------------ adding

    async def add(
        self, kb: str, paths: Sequence[Path], options: IngestOptions = DEFAULT_OPTIONS, passwords: Sequence[str] = ()
    ) -> Job:
        """Make a knowledge base match files and folders, when it is this job's turn.

        `passwords` open protected files; a restart of the program forgets them. Raises NotFound, StorageFault.
        """
        if not paths:
            raise InvalidRequest("Nothing to ingest: name at least one file or folder.")
        names = [str(path.expanduser().absolute()) for path in paths]  # it may run elsewhere, or after a restart
        return await self._accept(kb, JobKind.INGEST, names, asdict(options), passwords)

    async def add_rebuild(self, kb: str) -> Job:
        """Chunk and embed all documents of a knowledge base anew. Raises NotFound, also when it is empty."""
        base = await self._stores.knowledge_base(kb)
        if base.active_generation is None:
            raise NotFound(f"“{base.name}” is empty: nothing can be rebuilt.", way_out="Ingest some documents first.")
        return await self._accept(base.id, JobKind.REBUILD, [], {})

    async def add_removal(self, kb: str, documents: Sequence[str]) -> Job:
        """Remove documents by id or path; those that are not there then are passed over."""
        return await self._accept(kb, JobKind.REMOVE, documents, {})

    async def retry(self, job_id: str, passwords: Sequence[str] = ()) -> Job:
        """A new job: for the files that failed, or for all of it when the job itself failed or was cancelled.

        A job that a fault made wait goes on. Raises NotFound, and Conflict where there is nothing to try again.
        """
        old = await self.job(job_id)
        if old.state is JobState.PAUSED and old.error:
            self._passwords[old.id] = (*passwords, *self._passwords.get(old.id, ()))
            await self.resume(old.id)
            return await self.job(old.id)
        failed = [file.path for file in await self.files(old.id, failed=True)]
        kind, paths, options = await asyncio.to_thread(request_again, old, failed)
        return await self._accept(old.kb_id, kind, paths, options, passwords)

    async def _accept(
        self, kb: str, kind: JobKind, paths: Sequence[str], options: Mapping[str, Any], passwords: Sequence[str] = ()
    ) -> Job:
        base = await self._stores.knowledge_base(kb)
        job_id = await self._jobs.create(base.id, kind, paths, options, state=JobState.QUEUED)
        if passwords:
            self._passwords[job_id] = tuple(passwords)
        await self._tell()
        return await self.job(job_id)

    # ------------------------------------------------------------ steering

    async def pause(self, job_id: str) -> None:
        """Let a job wait until it is resumed, over restarts too; others go on. What it has done is kept.

        Raises NotFound, and Conflict when it has ended.
        """
        async with self._turn:
            job = await self._steerable(job_id)
            if (running := self._mine(job_id)) is not None:
                # Written down first: were the program killed while the job stops, it would go on at the next start.
                await self._jobs.wish(job_id, "pause")
                running.suspend()
                await running.settled.wait()
            elif await self.is_live(job):
                await self._jobs.wish(job_id, "pause")
            elif job.state is not JobState.PAUSED:
                await self._jobs.set_state(job_id, JobState.PAUSED)
        await self._tell()

    async def resume(self, job_id: str) -> None:
        """Let a paused job go on when it is its turn. Raises NotFound, and Conflict when it has ended."""
        async with self._turn:
            job = await self._steerable(job_id)
            if job.state is JobState.PAUSED:
                await self._jobs.set_state(job_id, JobState.QUEUED)
            elif job.wish == "pause":
                await self._jobs.wish(job_id, "")
        await self._tell()

    async def cancel(self, job_id: str, *, keep: bool = False) -> None:
        """End a job that runs or waits; what was searchable before stays so.

        `keep` makes the files that are through searchable first: the job begins no other and ends a little later, as
        cancelled. A job that has finished nothing, or of whose kind no part is worth keeping, is just cancelled.
        Raises NotFound, and Conflict when it has ended otherwise.
        """
        async with self._turn:
            job = await self._steerable(job_id, but=JobState.CANCELLED)
            if keep and await self._finishes_early(job):
                pass
            elif (running := self._mine(job_id)) is not None:
                with contextlib.suppress(StudioError):  # as for a pause, but a full disk must not keep the job alive
                    await self._jobs.wish(job_id, "cancel")
                running.control.cancel()
                await running.settled.wait()
            elif await self.is_live(job):
                await self._jobs.wish(job_id, "cancel")
            elif not job.state.ended:
                await self._finish(job, JobState.CANCELLED)
        await self._tell()

    async def _finishes_early(self, job: Job) -> bool:
        """Ask a job to keep what it has done; False where there is nothing to keep."""
        if job.kind is not JobKind.INGEST or job.state.ended:
            return False
        running = self._mine(job.id)
        at_work = running is not None or await self.is_live(job)
        if not at_work and not await self._jobs.checkpoint_of(job.id):
            return False
        await self._jobs.finish_early(job.id)
        if running is not None:
            running.control.finish()
        return True

    async def move(self, job_id: str, before: str | None) -> None:
        """Put a job directly before another, or last. One that runs goes on running. Raises Conflict."""
        await self._jobs.move(job_id, before)
        await self._tell()

    def hold(self, reason: str) -> None:
        """Let the whole queue wait; `reason` is a sentence."""
        self._held = reason
        if self._running is not None:
            self._running.control.pause(_QUEUE, reason)

    def release(self) -> None:
        """Take `hold` back."""
        self._held = ""
        if self._running is not None:
            self._running.control.resume(_QUEUE)
        self._wake.set()

    def _mine(self, job_id: str) -> _Running | None:
        return self._running if self._running is not None and self._running.job.id == job_id else None

    async def _steerable(self, job_id: str, but: JobState | None = None) -> Job:
        """A job that has not ended, once it has stopped if it is stopping. Raises NotFound, Conflict."""
        running = self._mine(job_id)
        if running is not None and running.is_stopping:
            await running.settled.wait()
        job = await self.job(job_id)
        if job.state.ended and job.state is not but:
            raise Conflict(f"Job {job_id} has ended already: it is {job.state}.")
        return job

    async def _finish(self, job: Job, state: JobState, error: str = "") -> None:
        """End a job that no program runs, and remove what it had built unless another writes: the next writer would."""
        await self._jobs.finish(job.id, state, error=error)
        self._passwords.pop(job.id, None)
        store = self._stores.store(job.kb_id)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(store.paths.journal(job.id).unlink, missing_ok=True)
        with contextlib.suppress(StudioError), await store.lock_for_writing(job.kb_id):
            await store.recover()

    # ------------------------------------------------------------ running

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            wait_s: float | None = BUSY_AT_MOST_S
            try:
                async with self._turn:  # the job is not paused or cancelled between the look at its state and its start
                    job = None if self._held else await self._next()
                    running = self._begin(job) if job is not None else None
                if running is not None:
                    await self._run(running)
                    continue
                wait_s = self._busy.until_next()
            except Exception as error:
                log.warning("the queue waits: %s", error, exc_info=not isinstance(error, StudioError))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _next(self) -> Job | None:
        """The job to run now: one that was interrupted before any that waits."""
        found = (await self._bulletin.tell()).values()  # so that the end of each is told, however soon it comes
        for job in sorted(found, key=lambda job: (job.state is not JobState.RUNNING, job.position)):
            if job.state is JobState.PAUSED or self._busy.waits(job.kb_id):
                continue
            if job.wish in ("", "finish"):
                return job
            if await self.is_live(job):
                self._busy.put_off(job.kb_id)
                continue
            if job.wish == "pause":  # its program died before it could obey
                await self._jobs.set_state(job.id, JobState.PAUSED)
            else:
                await self._finish(job, JobState.CANCELLED)
            await self._tell()
        return None

    def _begin(self, job: Job) -> _Running:
        control = JobControl()
        control.keeps = job.kind is JobKind.INGEST
        self._running = _Running(job, control, self._owner.start(self._attempt(job, control), name=job.id))
        if self._held:  # since a job was looked for
            control.pause(_QUEUE, self._held)
        return self._running

    async def _run(self, running: _Running) -> None:
        try:
            with self._attention.working():
                await asyncio.wait([running.task])
            await self._settle(running)
        finally:
            self._running = None
            running.settled.set()

    async def _attempt(self, job: Job, control: JobControl) -> IngestReport | Exception:
        try:
            passwords = self._passwords.get(job.id, ())
            progress = partial(self._bulletin.progress, job)
            return await self._ingest.execute(job, progress, control=control, passwords=passwords)
        except Exception as error:
            return error

    async def _settle(self, running: _Running) -> None:
        """Write down what became of a job, unless its runner did, and tell it."""
        job, outcome = running.job, None if running.task.cancelled() else running.task.result()
        error = outcome if isinstance(outcome, Exception) else None
        try:
            found = await self.job(job.id)
            if not found.state.ended:
                found = await self._written(running, found, error)
        except NotFound:  # its knowledge base was deleted
            found = replace(job, state=JobState.CANCELLED)
        except StudioError as fault:
            log.warning("what became of job %s could not be written down: %s", job.id, fault)
            self._busy.put_off(job.kb_id)
            return
        if found.state.ended:
            self._busy.forget(job.kb_id)
            self._passwords.pop(job.id, None)
            report = outcome if isinstance(outcome, IngestReport) else None
            await self._bulletin.ended(found, report, error if found.state is JobState.FAILED else None)
            return
        if found.state is not JobState.PAUSED:
            self._busy.put_off(job.kb_id)
        await self._tell()

    async def _written(self, running: _Running, found: Job, error: Exception | None) -> Job:
        """The job as it is to be after an attempt that did not end it."""
        if running.control.cancelled:
            await self._finish(found, JobState.CANCELLED)
        elif isinstance(error, ModelFault) and found.kind in (JobKind.REINDEX, JobKind.RESTORE):
            await self._jobs.set_state(found.id, JobState.PAUSED, error=error.full_message)
        elif error is not None and not isinstance(error, Busy) and found.state is not JobState.PAUSED:
            await self._finish(found, JobState.FAILED, _sentence(found, error))
        elif running.pausing and found.state is not JobState.PAUSED:
            await self._jobs.set_state(found.id, JobState.PAUSED)
        return await self.job(found.id)

    # ------------------------------------------------------------ telling

    async def _watch(self) -> None:
        """Notice what other processes do: jobs they add, steer, run and end."""
        seen: int | None = None
        took_s = 0.0
        while True:
            try:
                stamp = await self._stores.catalog.stamp()
                if stamp != seen:
                    begun = time.monotonic()
                    await self._tell()
                    took_s = time.monotonic() - begun
                    seen = stamp
            except Exception as error:
                log.warning("the jobs cannot be read: %s", error, exc_info=not isinstance(error, StudioError))
            poll_s = QUIET_POLL_S if self._attention.is_quiet else POLL_S
            await self._attention.pause(max(poll_s, took_s / POLL_SHARE))

    async def _tell(self) -> None:
        """Publish what changed since it was told last, and let the queue look again."""
        running = self._running
        found = await self._bulletin.tell(running.job.id if running is not None else "")
        if running is not None and (job := found.get(running.job.id)) is not None and job.wish == "pause":
            running.suspend()  # asked for by another process; the next job goes on meanwhile
        self._wake.set()


def _sentence(job: Job, error: Exception) -> str:
    if isinstance(error, StudioError):
        return error.full_message
    log.error("job %s was ended by a bug", job.id, exc_info=error)
    return f"An internal error ended the job: {type(error).__name__}: {error}."
