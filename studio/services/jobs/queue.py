"""The queue of jobs: durable in the catalog, one job at a time over all knowledge bases, in the order of the queue.

Every process that started its queue works on the same jobs, and one that waits for a job runs that one; a knowledge
base's writer lock decides which of them gets it. What is asked of a job is written into the catalog, by whichever
process, and the process that runs it looks there four times a second.
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
from studio.domain import (
    FileProgress,
    IngestOptions,
    IngestProgress,
    IngestReport,
    IngestStage,
    Job,
    JobKind,
    JobState,
    KnowledgeBase,
    ProgressSink,
)
from studio.errors import Busy, Cancelled, Conflict, InvalidRequest, ModelFault, NotFound, StudioError
from studio.index.files import try_lock
from studio.index.generations import Doubtful, Stores
from studio.services.ingest import DEFAULT_OPTIONS, IngestService, JobControl, RebuildFirst
from studio.services.jobs.backoff import Backoff
from studio.services.jobs.events import JobChanged, JobEnded, JobEvent, JobFeed, JobProgress
from studio.services.jobs.retry import request_again

ASKED_POLL_S = 0.25
"""How often is looked what another process asks of the job that runs here; takes some 20 µs."""
POLL_S = 0.5
"""How often the queue looks whether another process changed the catalog; takes some 30 µs when it did not."""

POLL_SHARE = 0.1
"""Listing a job of a million files takes 0.6 s; then the queue looks less often, for this share of the time."""

BUSY_AGAIN_S, BUSY_AT_MOST_S = 0.5, 8.0
"""A knowledge base that another process writes is tried again after this long, doubled every time."""

log = logging.getLogger(__name__)

__all__ = ["JobChanged", "JobEnded", "JobEvent", "JobProgress", "JobQueue"]


@dataclass(slots=True, eq=False)
class _Running:
    """The job this process runs. `settled` is set once the catalog says what became of it."""

    job: Job
    control: JobControl
    task: asyncio.Task[IngestReport | Exception]
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class JobQueue:
    """Accepts jobs at any time. Runs all of them once it is started, before that those that are waited for.

    Passwords stay in memory.
    """

    def __init__(self, stores: Stores, ingest: IngestService, attention: Attention | None = None) -> None:
        self._attention = attention or Attention()
        self._stores = stores
        self._ingest = ingest
        self._jobs = stores.catalog.jobs
        self._feed = JobFeed(stores)
        self._owner = TaskOwner("job queue")
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._running: _Running | None = None
        self._busy = Backoff(BUSY_AGAIN_S, BUSY_AT_MOST_S)
        self._passwords: dict[str, tuple[str, ...]] = {}
        self._awaited: dict[str, list[asyncio.Future[IngestReport]]] = {}
        self._rebuilds: dict[str, str] = {}
        """Jobs that come after a rebuild: id → id of the rebuild."""
        self._loops: list[asyncio.Task[None]] = []
        self._started = self._closed = False
        self.subscribe(self._on_event)

    def subscribe(self, listener: Callable[[JobEvent], None]) -> Callable[[], None]:
        """Call `listener` with everything that happens, on the event loop; returns what ends that."""
        return self._feed.subscribe(listener)

    async def start(self) -> None:
        """Run what waits: queued jobs and those a program that died left behind. Paused ones stay paused."""
        self._started = not self._closed
        self._begin_loops()
        self._wake.set()

    def _begin_loops(self) -> None:
        if not self._loops and not self._closed:
            self._loops = [self._owner.start(self._work(), name="work"), self._owner.start(self._watch(), name="watch")]

    async def close(self) -> None:
        """Stop; the running job goes on from where it is at the next start. Idempotent."""
        self._closed = True
        for waiting in [waiting for some in self._awaited.values() for waiting in some]:
            waiting.cancel()
        if self._running is not None and self._running.control.stopping:
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

    async def add_repair(
        self,
        base: KnowledgeBase,
        kind: JobKind,
        documents: Sequence[str],
        options: Mapping[str, Any] | None = None,
        replaces: Job | None = None,
    ) -> Job:
        """Read damaged documents again, or restore what is left of a generation, in the place of a job like it."""
        return await self._accept(base.id, kind, documents, options or {}, replaces=replaces.id if replaces else "")

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
        self,
        kb: str,
        kind: JobKind,
        paths: Sequence[str],
        options: Mapping[str, Any],
        passwords: Sequence[str] = (),
        *,
        replaces: str = "",
    ) -> Job:
        base = await self._stores.knowledge_base(kb)
        await self._stores.store(base.id).refuse_doubtful()  # nothing is written into an older catalog
        job_id = await self._jobs.create(base.id, kind, paths, options, replaces=replaces)
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
                running.control.obey("pause")
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
                running.control.obey("cancel")
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
            running.control.obey("finish")
        return True

    async def move(self, job_id: str, before: str | None) -> None:
        """Put a job directly before another, or last. One that runs goes on running. Raises Conflict."""
        await self._jobs.move(job_id, before)
        await self._tell()

    def _mine(self, job_id: str) -> _Running | None:
        return self._running if self._running is not None and self._running.job.id == job_id else None

    async def _steerable(self, job_id: str, but: JobState | None = None) -> Job:
        """A job that has not ended, once it has stopped if it is stopping. Raises NotFound, Conflict."""
        running = self._mine(job_id)
        if running is not None and running.control.stopping:
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
                    job = await self._next()
                    running = self._begin(job) if job is not None else None
                if running is not None:
                    await self._run(running)
                    continue
                wait_s = self._busy.until_next()
            except Exception as error:
                log.warning("the queue waits: %s", error, exc_info=not isinstance(error, StudioError))
                if not self._started:  # what is waited for is not tried again unasked
                    for job_id in self._awaited:
                        self._answer(job_id, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _next(self) -> Job | None:
        """The job to run now: one that was interrupted before any that waits."""
        found = await self._feed.tell()  # so that the end of each is told, however soon it comes
        for job in sorted(found.values(), key=lambda job: (job.state is not JobState.RUNNING, job.position)):
            if job.state is JobState.PAUSED or not self._is_wanted(job.id) or self._busy.waits(job.kb_id):
                continue
            rebuild = self._rebuilds.get(job.id)
            if rebuild is not None and (rebuild in found or not await self._goes_on_after(job, rebuild)):
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

    def _is_wanted(self, job_id: str) -> bool:
        """Whether this process runs a job: one that is waited for, or that such a one waits for, else any."""
        awaited = self._awaited
        return self._started or job_id in awaited or any(self._rebuilds.get(key) == job_id for key in awaited)

    def _begin(self, job: Job) -> _Running:
        control = JobControl(keeps=job.kind is JobKind.INGEST)
        self._running = _Running(job, control, self._owner.start(self._attempt(job, control), name=job.id))
        control.attach(self._running.task)
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
            progress = partial(self._feed.progress, job)
            return await self._ingest.execute(job, progress, control, passwords)
        except Exception as error:
            return error

    async def _settle(self, running: _Running) -> None:
        """Write down what became of a job, unless its runner did, and tell it."""
        job, outcome = running.job, None if running.task.cancelled() else running.task.result()
        error = outcome if isinstance(outcome, Exception) else None
        if isinstance(error, Doubtful):  # nothing is written into a catalog that is older than the files
            self._busy.put_off(job.kb_id)
            self._answer(job.id, error)
            return
        try:
            if isinstance(error, RebuildFirst) and not running.control.stopping:
                await self._put_rebuild_before(job)
                return
            found = await self.job(job.id)
            if not found.state.ended:
                found = await self._written(running, found, error)
        except NotFound:  # its knowledge base was deleted
            found = replace(job, state=JobState.CANCELLED)
        except StudioError as unwritten:
            log.warning("what became of job %s could not be written down: %s", job.id, unwritten)
            self._busy.put_off(job.kb_id)
            self._answer(job.id, error or unwritten)
            return
        if found.state.ended:
            self._busy.forget(job.kb_id)
            self._passwords.pop(job.id, None)
            report = outcome if isinstance(outcome, IngestReport) else await self._feed.report_of(job.id)
            fault = _fault(found, error)
            await self._pass_on(found, fault)
            await self._feed.ended(found, report, fault)
            return
        if found.state is not JobState.PAUSED:
            self._busy.put_off(job.kb_id)
            if isinstance(error, Busy):
                self._feed.waits(replace(_seen_from_outside(found), paused=str(error)))
        elif (fault := _fault(found, error)) is not None:
            await self._pass_on(found, fault)
            self._answer(job.id, fault)
        await self._tell()

    async def _written(self, running: _Running, found: Job, error: Exception | None) -> Job:
        """The job as it is to be after an attempt that did not end it."""
        if running.control.cancelled:
            await self._finish(found, JobState.CANCELLED)
        elif isinstance(error, ModelFault) and found.kind in (JobKind.REINDEX, JobKind.RESTORE):
            await self._jobs.set_state(found.id, JobState.PAUSED, error=error.full_message)
        elif error is not None and not isinstance(error, Busy | RebuildFirst) and found.state is not JobState.PAUSED:
            await self._finish(found, JobState.FAILED, _sentence(found, error))
        elif running.control.pausing and found.state is not JobState.PAUSED:
            await self._jobs.pause(found.id)
        return await self.job(found.id)

    # ------------------------------------------------------------ a rebuild before a job

    async def _put_rebuild_before(self, job: Job) -> None:
        """Let a job wait for a rebuild of its knowledge base, which goes on if a fault made it wait."""
        waiting = await self._jobs.unfinished(job.kb_id, JobKind.REBUILD)
        if waiting is None:
            waiting = await self._accept(job.kb_id, JobKind.REBUILD, [], {})
        elif waiting.state is JobState.PAUSED and waiting.error:
            await self._jobs.set_state(waiting.id, JobState.QUEUED)
        self._rebuilds[job.id] = waiting.id
        await self._jobs.move(waiting.id, job.id)
        await self._tell()

    async def _goes_on_after(self, job: Job, rebuild: str) -> bool:
        """Whether the rebuild that ended was done; else the job ends as it did, or waits like it."""
        del self._rebuilds[job.id]
        try:
            ended = await self.job(rebuild)
        except NotFound:
            return True
        if ended.state in (JobState.FAILED, JobState.CANCELLED):
            await self._finish(job, ended.state, ended.error)
            await self._tell()
            return False
        return True

    async def _pass_on(self, rebuild: Job, fault: Exception | None) -> None:
        """What came of a rebuild that ran here holds for the jobs that wait for it, unless it was done."""
        state = rebuild.state
        after = [job_id for job_id, first in self._rebuilds.items() if first == rebuild.id]
        for job_id in after if state is not JobState.DONE else ():
            del self._rebuilds[job_id]
            if fault is not None:  # before the catalog has its words
                self._answer(job_id, fault)
            if state is JobState.PAUSED:
                await self._jobs.set_state(job_id, state, error=rebuild.error)
            else:
                await self._finish(await self.job(job_id), state, rebuild.error)

    # ------------------------------------------------------------ waiting for a job

    async def run(self, job: Job, progress: ProgressSink | None = None, passwords: Sequence[str] = ()) -> IngestReport:
        """Wait for a job, run by this process if none is quicker, and return its report.

        Of a job that runs in another process `progress` hears what the catalog says. When the caller is cancelled, a
        job that runs here stops where it is, to go on later, unless the queue was started. Raises Cancelled when the
        job was cancelled, and what it failed with, also when it can go on afterwards.
        """
        if self._closed:
            raise Conflict("The program is being closed.")
        if passwords:
            self._passwords[job.id] = tuple(passwords)
        answer: asyncio.Future[IngestReport] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(job.id, []).append(answer)
        forget = self.subscribe(partial(self._follow, job.id, progress)) if progress is not None else None
        try:
            if (found := await self.job(job.id)).state.ended:  # in another process, before it was listened to
                self._answer_ended(JobEnded(found, await self._feed.report_of(job.id)))
            self._begin_loops()
            self._wake.set()
            return await answer
        finally:
            if forget is not None:
                forget()
            self._awaited[job.id].remove(answer)
            if not self._awaited[job.id]:
                del self._awaited[job.id]
            if not self._started:
                await self._leave()

    async def _leave(self) -> None:
        """Stop the job that is not waited for any more, and look for no other when none is."""
        running = self._running
        if running is not None and not self._is_wanted(running.job.id):
            running.control.interrupt()
            await running.settled.wait()
        if not self._awaited:
            loops, self._loops = self._loops, []
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def withdraw(self, job_id: str) -> None:
        """Cancel a job that no program has begun; any other stays as it is."""
        async with self._turn:
            await self._jobs.withdraw(job_id)
        await self._tell()

    def _follow(self, job_id: str, progress: ProgressSink, event: JobEvent) -> None:
        """Tell `progress` of a job, and of the rebuild it waits for."""
        ids = (job_id, self._rebuilds.get(job_id))
        match event:
            case JobProgress(snapshot) if snapshot.job_id in ids:
                progress(snapshot)
            case JobChanged(job) if job.id in ids and self._mine(job.id) is None:
                progress(_seen_from_outside(job))

    def _on_event(self, event: JobEvent) -> None:
        match event:
            case JobEnded(job):
                self._busy.forget(job.kb_id)
                self._answer_ended(event)
            case JobChanged(job) if job.state is JobState.PAUSED and job.error and self._mine(job.id) is None:
                self._answer(job.id, Conflict(job.error))

    def _answer_ended(self, event: JobEnded) -> None:
        job = event.job
        if event.report is not None:
            self._answer(job.id, event.report)
        elif job.state is JobState.FAILED:
            self._answer(job.id, event.error or Conflict(job.error))
        elif job.state is JobState.CANCELLED:
            self._answer(job.id, Cancelled(f"Job {job.id} was cancelled. What was searchable before still is."))
        else:
            self._answer(job.id, Conflict(f"Job {job.id} has ended: it is {job.state}."))

    def _answer(self, job_id: str, answer: IngestReport | BaseException) -> None:
        for waiting in self._awaited.get(job_id, ()):
            if waiting.done():
                continue
            if isinstance(answer, IngestReport):
                waiting.set_result(answer)
            else:
                waiting.set_exception(answer)

    # ------------------------------------------------------------ telling

    async def _watch(self) -> None:
        """Notice what other processes do: what they ask of the job that runs here, jobs they add, run and end."""
        seen: int | None = None
        due = 0.0
        while True:
            try:
                await self._obey()
                stamp = await self._stores.catalog.stamp()
                if stamp != seen and time.monotonic() >= due:
                    begun = time.monotonic()
                    await self._tell()
                    due = begun + max(POLL_S, (time.monotonic() - begun) / POLL_SHARE)
                    seen = stamp
            except Exception as error:
                log.warning("the jobs cannot be read: %s", error, exc_info=not isinstance(error, StudioError))
            await self._attention.pause(POLL_S if self._running is None else ASKED_POLL_S)

    async def _obey(self) -> None:
        """Do what is asked of the job that runs here."""
        running = self._running
        if running is not None and not running.control.stopping:
            running.control.obey(await self._jobs.asked_of(running.job.id))

    async def _tell(self) -> None:
        """Publish what changed since it was told last, and let the queue look again."""
        running = self._running
        await self._feed.tell(running.job.id if running is not None else "")
        self._wake.set()


def _seen_from_outside(job: Job) -> IngestProgress:
    """How far a job is that another process runs, or none, by what it wrote down."""
    words = {JobState.PAUSED: "Paused.", JobState.QUEUED: "Waiting."}
    return IngestProgress(
        job_id=job.id, kb_id=job.kb_id,
        stage=IngestStage.INDEXING if job.state is JobState.RUNNING and job.files_total else IngestStage.SCANNING,
        files_total=job.files_total, files_done=job.files_done, files_failed=job.files_failed,
        paused=words.get(job.state, ""),
    )  # fmt: skip


def _fault(job: Job, error: Exception | None) -> Exception | None:
    """What ended a job or made it wait: the `error` of an attempt here, if it was that, else what the catalog says."""
    if job.state not in (JobState.FAILED, JobState.PAUSED) or not job.error:
        return None
    elsewhere = error is None or (isinstance(error, StudioError) and str(error) not in job.error)
    return Conflict(job.error) if elsewhere else error


def _sentence(job: Job, error: Exception) -> str:
    if isinstance(error, StudioError):
        return error.full_message
    log.error("job %s was ended by a bug", job.id, exc_info=error)
    return f"An internal error ended the job: {type(error).__name__}: {error}."
