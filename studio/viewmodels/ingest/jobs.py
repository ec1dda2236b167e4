"""The jobs of the queue: what waits, what runs and how far it is, what failed; and the gestures that steer them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from studio.concurrency import Attention
from studio.domain import IngestOptions, IngestProgress, IngestReport, IngestStage, Job, JobKind, JobState
from studio.services.ingest import held_words
from studio.services.jobs import JobChanged, JobEnded, JobEvent, JobProgress
from studio.viewmodels.base import ItemListModel, ViewModel
from studio.viewmodels.ingest.file_rows import Tone
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import JobQueue
from studio.viewmodels.text import count, remaining
from studio.viewmodels.ways_out import clickable

_OPTIONS = IngestOptions()
_WORKS = {
    JobKind.REBUILD: "New generation of everything",
    JobKind.REINDEX: "Reading damaged documents again",
    JobKind.RESTORE: "Restoring documents",
}
_WISHES = {"cancel": "Cancelling…", "pause": "Pausing…", "finish": "Keeping what is finished…"}
_PATHS_NAMED = 3
_LOOK_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job: for which knowledge base, what of, how it stands, and how far it is (0..1).

    `held` counts the documents that one which is done kept, because their files look mislaid.
    """

    job: Job
    name: str
    subject: str
    detail: str
    tone: Tone
    badge: str
    fraction: float
    held: int = 0

    @property
    def fault(self) -> str:
        """Why a job does not go on, in words."""
        return clickable(self.job.error) or self.detail


class JobModel(ItemListModel[JobRow]):
    """Jobs in the order they run; those that failed come last, then those that kept documents."""

    def describe(self, row: int, item: JobRow) -> str:
        return f"{item.name}, {item.subject}, {item.badge or f'{item.fraction:.0%}'}, {item.detail}"

    def tip(self, item: JobRow) -> str:
        return "\n".join([*item.job.paths[:20], *(["…"] if len(item.job.paths) > 20 else []), item.detail])


class Passwords:
    """What was entered for files since the program began, by knowledge base; never written to disk."""

    def __init__(self) -> None:
        self._entered: dict[str | None, tuple[str, ...]] = {}

    def add(self, kb_id: str | None, password: str) -> None:
        """Remember a password, if there is one; None stands for a knowledge base that is not there yet."""
        known = self._entered.get(kb_id, ())
        if password and password not in known:
            self._entered[kb_id] = (password, *known)

    def of(self, kb_id: str | None) -> tuple[str, ...]:
        """What to try on the files of a knowledge base."""
        return tuple(dict.fromkeys((*self._entered.get(kb_id, ()), *self._entered.get(None, ()))))


class JobsViewModel(ViewModel):
    """Mirrors the queue. Only `cancel_job` ends a job: closing the window leaves all of them to the next start."""

    changed = Signal()
    """A job came, moved on, or ended."""
    progressed = Signal(object)
    """An `IngestProgress` arrived."""
    ended = Signal(object)
    """A job ended: the `JobEnded` of the queue."""
    cancelled = Signal(str, object)
    """(in words, call that takes it back) of a job that was cancelled with nothing to keep, or taken off the list."""
    continued = Signal(str)
    """Says that a job goes on which an earlier program left in the middle."""

    def __init__(
        self,
        queue: JobQueue,
        sources: LibraryViewModel,
        parent: QObject | None = None,
        *,
        attention: Attention | None = None,
    ) -> None:
        super().__init__(parent)
        self._attention = attention or Attention()
        self.rows = JobModel(self)
        self._queue = queue
        self._sources = sources
        self._jobs: dict[str, Job] = {}
        self._failed: dict[str, Job] = {}
        self._kept: dict[str, JobRow] = {}
        self._progress: dict[str, IngestProgress] = {}
        self.passwords = Passwords()
        self._interrupted: set[str] = set()
        self._events = 0
        self._adding = 0
        self._unsubscribe = queue.subscribe(self._on_event)
        sources.changed.connect(self._show)

    # ------------------------------------------------------------ how things stand

    @property
    def current(self) -> Job | None:
        """The job that runs, or would if it were not paused; None when no job has begun."""
        begun = [job for job in self._jobs.values() if job.state in (JobState.RUNNING, JobState.PAUSED)]
        return min(begun, key=lambda job: (job.state is JobState.PAUSED, job.position), default=None)

    @property
    def running(self) -> bool:
        """Whether a job is under way or will be without a person's doing."""
        return self._adding > 0 or any(job.state is not JobState.PAUSED for job in self._jobs.values())

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return sum(job.state is JobState.QUEUED for job in self._jobs.values())

    @property
    def can_pause(self) -> bool:
        """Whether there is a job that is not paused."""
        return any(job.state is not JobState.PAUSED and not job.wish for job in self._jobs.values())

    @property
    def can_resume(self) -> bool:
        """Whether there is a job that waits for a person to let it go on."""
        return any(job.state is JobState.PAUSED for job in self._jobs.values())

    @property
    def has_failed(self) -> bool:
        """Whether jobs are on the list that ended: they failed, or kept documents."""
        return bool(self._failed or self._kept)

    def progress(self, job: Job | None) -> IngestProgress | None:
        """The last snapshot of a job."""
        return self._progress.get(job.id) if job is not None else None

    @property
    def _order(self) -> list[str]:
        """Ids of the jobs that have not ended, as they are shown."""
        return [row.job.id for row in self.rows.items if row.job.id in self._jobs]

    # ------------------------------------------------------------ gestures

    def start(self) -> None:
        """Go on with what an earlier program left unfinished."""
        self._do("start", self._start())

    def add(
        self, kb_id: str, paths: Sequence[Path], password: str = "", accepted: Callable[[Job], None] | None = None
    ) -> None:
        """Read files into a knowledge base. A password stays known for other files of it while the program runs.

        `accepted` is called with the job once it is safe.
        """
        self.passwords.add(kb_id, password)
        self._ask(self._queue.add(kb_id, paths, _OPTIONS, passwords=self.passwords.of(kb_id)), accepted)

    def rebuild(self, kb_id: str) -> None:
        """Build a new generation of everything in a knowledge base."""
        self._ask(self._queue.add_rebuild(kb_id))

    def pause(self, job: Job) -> None:
        """Let a job wait until it is resumed, over restarts too."""
        self._do(job.id, self._queue.pause(job.id))

    def resume(self, job: Job) -> None:
        """Let a paused job go on where it was."""
        self._do(job.id, self._queue.resume(job.id))

    def finished_files(self, job: Job) -> int:
        """Files of a job that are through, which a cancellation can keep."""
        if job.kind is not JobKind.INGEST or job.state.ended:
            return 0
        progress = self._progress.get(job.id)
        return progress.files_done if progress is not None else job.files_done

    def cancel_job(self, job: Job, *, keep: bool = False) -> None:
        """Stop a job for good, or take one that ended off the list. What was searchable before stays so.

        `keep` makes the files searchable that are through.
        """
        if job.id in self._failed or job.id in self._kept:
            put_back = self._take_off([job.id])
            self.cancelled.emit(f"Off the list: {subject(job)}", put_back)
            return
        self._do(job.id, self._cancel(job, keep))

    async def _cancel(self, job: Job, keep: bool) -> None:
        await self._queue.cancel(job.id, keep=keep)
        if not keep:
            self.cancelled.emit(f"Cancelled: {subject(job)}", lambda: self.retry(job))

    def retry(self, job: Job) -> None:
        """Begin a failed job again."""
        self._failed.pop(job.id, None)
        self._do(job.id, self._retry(job))
        self._show()

    def remove_kept(self, row: JobRow) -> None:
        """Do a job once more that kept documents, and let so many go now: not more, should more be gone by then."""
        job = row.job
        self._kept.pop(job.id, None)
        options = replace(job.ingest_options, allow_removals=row.held)
        paths = [Path(path) for path in job.paths]
        self._ask(self._queue.add(job.kb_id, paths, options, passwords=self.passwords.of(job.kb_id)))
        self._show()

    def move(self, job: Job, step: int) -> None:
        """Move a job that has not ended up (-1) or down (1) in the queue."""
        if self.can_move(job, step):
            order = self._order
            following = order.index(job.id) + step + (step > 0)
            self._do("move", self._move(job.id, order[following] if following < len(order) else None))

    def can_move(self, job: Job, step: int) -> bool:
        """Whether there is a place for a job up (-1) or down (1) in the queue."""
        order = self._order
        return job.id in order and 0 <= order.index(job.id) + step < len(order)

    def pause_all(self) -> None:
        """Let every job wait."""
        for job in list(self._jobs.values()):
            if job.state is not JobState.PAUSED:
                self.pause(job)

    def resume_all(self) -> None:
        """Let every paused job go on."""
        for job in list(self._jobs.values()):
            if job.state is JobState.PAUSED:
                self.resume(job)

    def forget_failed(self) -> Callable[[], None]:
        """Take the jobs that ended off the list; returns the call that puts them back."""
        return self._take_off([*self._failed, *self._kept])

    def _take_off(self, job_ids: Sequence[str]) -> Callable[[], None]:
        failed = {job_id: self._failed.pop(job_id) for job_id in job_ids if job_id in self._failed}
        kept = {job_id: self._kept.pop(job_id) for job_id in job_ids if job_id in self._kept}
        self._show()

        def put_back() -> None:
            self._failed |= failed
            self._kept |= kept
            self._show()

        return put_back

    async def close(self) -> None:
        self._unsubscribe()
        await super().close()

    # ------------------------------------------------------------ work

    def _do(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        self.launch(f"{key} {id(work)}", work)  # gestures do not replace one another

    async def _start(self) -> None:
        if not self._sources.is_loaded:
            await self._sources.refresh()
        await self._read()
        self._interrupted = {job.id for job in self._jobs.values() if job.state is JobState.RUNNING}
        await self._queue.start()
        while True:  # other processes add and run jobs too
            await self._attention.pause(_LOOK_EVERY_S)
            await self._read()

    async def _read(self) -> None:
        """Read the jobs; once more if one of them moved meanwhile."""
        seen = -1
        while seen != self._events:
            seen = self._events
            jobs = await self._queue.jobs()
        read = {job.id: job for job in jobs}
        if read != self._jobs:
            self._jobs = read
            self._show()

    async def _retry(self, job: Job) -> None:
        await self._queue.retry(job.id, passwords=self.passwords.of(job.kb_id))
        await self._read()

    async def _move(self, job_id: str, before: str | None) -> None:
        await self._queue.move(job_id, before)
        await self._read()

    def _ask(self, request: Coroutine[Any, Any, Job], accepted: Callable[[Job], None] | None = None) -> None:
        self._adding += 1
        self._do("ask", self._accepted(request, accepted))

    async def _accepted(self, request: Coroutine[Any, Any, Job], accepted: Callable[[Job], None] | None) -> None:
        try:
            job = await request
            if accepted is not None:
                accepted(job)
            await self._read()
        finally:
            self._adding -= 1
            self._show()

    # ------------------------------------------------------------ events

    def _on_event(self, event: JobEvent) -> None:
        self._events += 1
        match event:
            case JobChanged(job):
                self._say_stopped(job)
                self._put(job)
            case JobProgress(progress):
                self._progress[progress.job_id] = progress
                if progress.job_id in self._interrupted:
                    self._interrupted.remove(progress.job_id)
                    self.continued.emit(f"Going on with what was interrupted in “{self._name_of(progress.kb_id)}”.")
                self.progressed.emit(progress)
            case JobEnded(job):
                self._put(job)
                if job.state is JobState.FAILED:
                    self._failed[job.id] = job
                elif event.report is not None:
                    self._keep(job, event.report)
                self.ended.emit(event)
                self._progress.pop(job.id, None)
        self._show()

    def _keep(self, job: Job, report: IngestReport) -> None:
        """What a job held back waits on the list, in place of what one like it did before."""
        same = [row.job.id for row in self._kept.values() if (row.job.kb_id, row.job.paths) == (job.kb_id, job.paths)]
        for job_id in same:
            del self._kept[job_id]
        if held := report.held_removals:
            self._kept[job.id] = JobRow(
                job, self._name_of(job.kb_id), subject(job), held_words(held), Tone.WARN, "Kept", 1.0,
                sum(item.count for item in held),
            )  # fmt: skip

    def _say_stopped(self, job: Job) -> None:
        """A fault made a job wait that went on until now."""
        before = self._jobs.get(job.id)
        if _is_stopped(job) and not (before is not None and _is_stopped(before)):
            waits = f"“{self._name_of(job.kb_id)}” waits under Ingest until you resume it."
            self.failed.emit(clickable(job.error), waits)

    def _put(self, job: Job) -> None:
        if job.state.ended:
            self._jobs.pop(job.id, None)
        else:
            self._jobs[job.id] = job

    def _show(self) -> None:
        order = sorted(self._jobs.values(), key=lambda job: job.position)
        self.rows.replace([*(self._row(job) for job in (*order, *self._failed.values())), *self._kept.values()])
        self.changed.emit()

    def _name_of(self, kb_id: str) -> str:
        return next((kb.name for kb in self._sources.knowledge_bases if kb.id == kb_id), "Knowledge base")

    def _row(self, job: Job) -> JobRow:
        progress = self._progress.get(job.id)
        total = progress.files_total if progress is not None else job.files_total
        done = progress.files_done if progress is not None else job.files_done
        detail, tone, badge = _standing(job, progress)
        fraction = min(1.0, done / total) if total else 0.0
        return JobRow(job, self._name_of(job.kb_id), subject(job), detail, tone, badge, fraction)


def subject(job: Job) -> str:
    """What a job is about: `Papers, notes and 3 more`."""
    if job.kind in _WORKS:
        return _WORKS[job.kind]
    if job.kind is JobKind.REMOVE:
        return f"Removing {count(len(job.paths), 'document')}"
    names = [Path(path).name or path for path in job.paths[:_PATHS_NAMED]]
    more = len(job.paths) - len(names)
    if more:
        return f"{', '.join(names)} and {more:,} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _is_stopped(job: Job) -> bool:
    """Whether a fault made a job wait for a person."""
    return job.state is JobState.PAUSED and bool(job.error)


def files_words(progress: IngestProgress) -> str:
    """`12 of 300 files`."""
    return f"{progress.files_done:,} of {count(progress.files_total, 'file')}"


def stage_words(progress: IngestProgress) -> list[str]:
    """How a running job stands: stage, files, rate, time left."""
    files = files_words(progress)
    match progress.stage:
        case IngestStage.SCANNING:
            return ["Looking through the files", *([files] if progress.files_done else [])]
        case IngestStage.SEALING | IngestStage.PROMOTING:
            return ["Making the new generation searchable", files]
    parts = ["Indexing", files] if progress.stage is IngestStage.INDEXING else [files]
    if progress.chunks_per_second >= 1:
        parts.append(f"{count(round(progress.chunks_per_second), 'passage')}/s")
    if progress.seconds_left is not None and progress.seconds_left >= 1:
        parts.append(remaining(progress.seconds_left))
    if progress.files_failed:
        parts.append(f"{progress.files_failed:,} could not be indexed")
    return parts


def _standing(job: Job, progress: IngestProgress | None) -> tuple[str, Tone, str]:
    """Detail, tone and badge of a job."""
    files = [f"{job.files_done:,} of {count(job.files_total, 'file')}"] if job.files_total else []
    match job.state:
        case JobState.FAILED:
            return clickable(job.error) or "The job failed.", Tone.BAD, "Failed"
        case JobState.PAUSED if _is_stopped(job):
            return " · ".join([*files, clickable(job.error)]), Tone.WARN, "Paused"
        case JobState.PAUSED:
            return " · ".join(["Paused", *files]), Tone.CALM, "Paused"
        case JobState.QUEUED:
            return " · ".join(["Waiting", *files]), Tone.WAIT, "Waiting"
    if job.wish:
        return _WISHES.get(job.wish, ""), Tone.RUN, ""
    if progress is None:
        return "Starting", Tone.RUN, ""
    if progress.paused:
        return " · ".join([progress.paused, files_words(progress)]), Tone.CALM, "Paused"
    return " · ".join(stage_words(progress)), Tone.RUN, ""
