"""The queue of jobs: durable in the catalog, one job at a time over all knowledge bases, in the order of the queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from studio.concurrency import TaskOwner
from studio.domain import (
    FileProgress,
    IngestOptions,
    IngestProgress,
    IngestReport,
    Job,
    JobKind,
    JobState,
)
from studio.errors import Busy, Conflict, InvalidRequest, StudioError
from studio.index.locks import try_lock
from studio.index.stores import Stores
from studio.services.control import JobControl
from studio.services.ingest import DEFAULT_OPTIONS, IngestService

BUSY_AGAIN_S = 2.0
"""A knowledge base that another process writes is tried again after this long; other jobs go on meanwhile."""

_QUEUE = "queue"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A job was accepted, began, was paused or put back, or moved."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far the running job is."""

    progress: IngestProgress


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job came to its end: with a report, or with the error that ended it, or cancelled with neither."""

    job: Job
    report: IngestReport | None = None
    error: BaseException | None = None


JobEvent = JobChanged | JobProgress | JobEnded


@dataclass(slots=True, eq=False)
class _Running:
    """The job this process runs, and what is to become of it when its task is cancelled."""

    job: Job
    control: JobControl
    task: asyncio.Task[IngestReport]
    pausing: bool = False


class JobQueue:
    """Accepts jobs at any time and runs them once it is started. Passwords stay in memory."""

    def __init__(self, stores: Stores, ingest: IngestService) -> None:
        self._stores = stores
        self._ingest = ingest
        self._listeners: list[Callable[[JobEvent], None]] = []
        self._owner = TaskOwner("job queue", on_error=lambda error: None)  # `_settle` tells of each
        self._wake = asyncio.Event()
        self._running: _Running | None = None
        self._busy: dict[str, float] = {}
        self._passwords: dict[str, tuple[str, ...]] = {}
        self._held = ""
        self._started = self._closed = False

    def subscribe(self, listener: Callable[[JobEvent], None]) -> Callable[[], None]:
        """Call `listener` with everything that happens, on the event loop; returns what ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe

    async def start(self) -> None:
        """Run what waits: queued jobs and those a program that died left behind. Paused ones stay paused."""
        if not self._started and not self._closed:
            self._started = True
            self._owner.start(self._work(), name="work")

    async def close(self) -> None:
        """Stop; the running job goes on from where it is at the next start. Idempotent."""
        self._closed = True
        await self._owner.close()

    # ------------------------------------------------------------ asking

    async def jobs(self) -> list[Job]:
        """Jobs that have not ended, in the order they run."""
        return await self._stores.thread.run(self._stores.catalog.jobs.open)

    async def ended(self, kb: str | None = None) -> list[Job]:
        """The last jobs that ended, of one knowledge base or of all, the latest first."""
        kb_id = (await self._stores.knowledge_base(kb)).id if kb is not None else None
        return await self._stores.thread.run(self._stores.catalog.jobs.ended, kb_id)

    async def job(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        return await self._stores.thread.run(self._stores.catalog.jobs.get, job_id)

    async def files(self, job_id: str, failed: bool = False) -> list[FileProgress]:
        """The files of a job, or those that could not be indexed."""
        return await self._stores.thread.run(self._stores.catalog.jobs.files, job_id, failed=failed)

    # ------------------------------------------------------------ adding

    async def add(
        self, kb: str, paths: Sequence[Path], options: IngestOptions = DEFAULT_OPTIONS, passwords: Sequence[str] = ()
    ) -> Job:
        """Make a knowledge base match files and folders, when it is this job's turn. Raises NotFound, StorageFault."""
        if not paths:
            raise InvalidRequest("Nothing to ingest: name at least one file or folder.")
        names = [str(path) for path in paths]
        return await self._accept(kb, JobKind.INGEST, names, asdict(options), passwords)

    async def add_rebuild(self, kb: str) -> Job:
        """Chunk and embed all documents of a knowledge base anew."""
        return await self._accept(kb, JobKind.REBUILD, [], {})

    async def add_removal(self, kb: str, documents: Sequence[str]) -> Job:
        """Remove documents by id or path."""
        return await self._accept(kb, JobKind.REMOVE, documents, {})

    async def retry(self, job_id: str, passwords: Sequence[str] = ()) -> Job:
        """A new job: for the files that failed, or for all of it when the job itself failed.

        Raises NotFound, and Conflict while it has not ended.
        """
        old = await self.job(job_id)
        if not old.state.ended:
            raise Conflict("This job has not ended yet.", way_out="Wait for it, or resume it if it is paused.")
        failed = await self.files(job_id, failed=True)
        paths = [file.path for file in failed] if old.state is JobState.DONE and failed else old.paths
        return await self._accept(old.kb_id, old.kind, paths, dict(old.options), passwords)

    async def _accept(
        self, kb: str, kind: JobKind, paths: Sequence[str], options: dict[str, object], passwords: Sequence[str] = ()
    ) -> Job:
        base = await self._stores.knowledge_base(kb)
        jobs, thread = self._stores.catalog.jobs, self._stores.thread
        job_id = await thread.run(jobs.create, base.id, kind, paths, options, state=JobState.QUEUED)
        if passwords:
            self._passwords[job_id] = tuple(passwords)
        return await self._tell(job_id)

    # ------------------------------------------------------------ steering

    async def pause(self, job_id: str) -> None:
        """Let a job wait until it is resumed; others go on. What it has done is kept."""
        job = await self.job(job_id)
        if self._running is not None and self._running.job.id == job_id:
            self._running.pausing = True
            self._running.task.cancel()
        elif job.state is JobState.RUNNING and await self._is_written_elsewhere(job):
            await self._wish(job_id, "pause")
        elif not job.state.ended:
            await self._set(job_id, JobState.PAUSED)

    async def resume(self, job_id: str) -> None:
        """Let a paused job go on when it is its turn."""
        job = await self.job(job_id)
        if job.state is JobState.PAUSED:
            await self._set(job_id, JobState.QUEUED)
        elif job.state is JobState.RUNNING and job.wish:
            await self._wish(job_id, "")

    async def cancel(self, job_id: str) -> None:
        """End a job that runs or waits; what was searchable before stays so."""
        job = await self.job(job_id)
        if self._running is not None and self._running.job.id == job_id:
            self._running.control.cancel()
        elif job.state is JobState.RUNNING and await self._is_written_elsewhere(job):
            await self._wish(job_id, "cancel")
        elif not job.state.ended:
            await self._end(job_id, JobState.CANCELLED)
            await self._tidy(job)

    async def move(self, job_id: str, before: str | None) -> None:
        """Put a job directly before another, or last."""
        await self._stores.thread.run(self._stores.catalog.jobs.move, job_id, before)
        await self._tell(job_id)

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

    async def _wish(self, job_id: str, wish: str) -> None:
        await self._stores.thread.run(self._stores.catalog.jobs.wish, job_id, wish)
        await self._tell(job_id)

    async def _set(self, job_id: str, state: JobState) -> None:
        await self._stores.thread.run(self._stores.catalog.jobs.set_state, job_id, state)
        await self._tell(job_id)

    async def _end(self, job_id: str, state: JobState, error: str = "") -> None:
        await self._stores.thread.run(self._stores.catalog.jobs.finish, job_id, state, error=error)
        self._publish(JobEnded(await self.job(job_id)))

    async def _is_written_elsewhere(self, job: Job) -> bool:
        lock = await asyncio.to_thread(try_lock, self._stores.store(job.kb_id).paths.writer_lock, shared=False)
        if lock is None:
            return True
        lock.release()
        return False

    async def _tidy(self, job: Job) -> None:
        """Remove what a cancelled job had built, unless somebody is writing: then the next writer does."""
        store = self._stores.store(job.kb_id)
        with contextlib.suppress(StudioError):
            base = await self._stores.knowledge_base(job.kb_id)
            with await store.lock_for_writing(base.name):
                await store.recover()
        await asyncio.to_thread(store.paths.journal(job.id).unlink, missing_ok=True)

    # ------------------------------------------------------------ running

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            job = None if self._held else await self._next()
            if job is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BUSY_AGAIN_S if self._busy else None):
                        await self._wake.wait()
                continue
            await self._run(job)

    async def _next(self) -> Job | None:
        now = time.monotonic()
        self._busy = {job: until for job, until in self._busy.items() if until > now}
        try:
            waiting = await self.jobs()
        except StudioError as error:
            log.warning("the queue cannot be read: %s", error)
            self._busy[""] = now + BUSY_AGAIN_S
            return None
        ready = (job for job in waiting if job.state is not JobState.PAUSED and job.id not in self._busy)
        return next(ready, None)

    async def _run(self, job: Job) -> None:
        control = JobControl()
        begun = False

        def progress(item: IngestProgress) -> None:
            nonlocal begun
            if not begun:
                begun = True
                self._owner.start(self._told(job.id), name="told")
            self._publish(JobProgress(item))

        work = self._ingest.execute(job.id, progress, control=control, passwords=self._passwords.get(job.id, ()))
        running = self._running = _Running(job, control, self._owner.start(work, name=job.id))
        if self._held:
            control.pause(_QUEUE, self._held)
        try:
            await asyncio.wait([running.task])
        finally:
            self._running = None
            if not running.task.done():  # this queue is closing
                running.task.cancel()
        try:
            await self._settle(running)
        except StudioError as error:
            log.warning("what became of job %s could not be written down: %s", job.id, error)
            self._busy[job.id] = time.monotonic() + BUSY_AGAIN_S

    async def _settle(self, running: _Running) -> None:
        """Tell how a job's task ended."""
        job, task = running.job, running.task
        if task.cancelled():
            if running.pausing and not running.control.cancelled:
                await self._set(job.id, JobState.PAUSED)
            elif running.control.cancelled:
                self._passwords.pop(job.id, None)
                self._publish(JobEnded(await self.job(job.id)))
            return
        error = task.exception()
        if isinstance(error, Busy):
            self._busy[job.id] = time.monotonic() + BUSY_AGAIN_S
            return
        found = await self.job(job.id)
        if error is not None and not found.state.ended and found.state is not JobState.PAUSED:
            if not isinstance(error, StudioError):
                log.error("job %s stopped by an unexpected error", job.id, exc_info=error)
            sentence = error.full_message if isinstance(error, StudioError) else f"An internal error: {error}."
            await self._stores.thread.run(self._stores.catalog.jobs.finish, job.id, JobState.FAILED, error=sentence)
            found = await self.job(job.id)
        if found.state is JobState.PAUSED:
            self._publish(JobChanged(found))
            return
        self._passwords.pop(job.id, None)
        self._publish(JobEnded(found, None if error is not None else task.result(), error))

    async def _told(self, job_id: str) -> None:
        with contextlib.suppress(StudioError):
            self._publish(JobChanged(await self.job(job_id)))

    async def _tell(self, job_id: str) -> Job:
        job = await self.job(job_id)
        self._publish(JobChanged(job))
        self._wake.set()
        return job

    def _publish(self, event: JobEvent) -> None:
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:  # whoever listens must not stop the jobs
                log.exception("a listener of the job queue failed")
