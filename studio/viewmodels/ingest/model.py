"""The ingest: where files go, each file's progress, how jobs ended; the documents while nothing runs."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from studio.domain import FileProgress, IngestProgress, IngestReport, IngestStage, JobKind, JobState, KnowledgeBase
from studio.services.jobs import JobEnded
from studio.viewmodels.base import ViewModel
from studio.viewmodels.ingest.file_rows import QueueModel, QueueRow, Tone, document_rows
from studio.viewmodels.ingest.jobs import JobsViewModel, files_words, stage_words
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Library, Sample
from studio.viewmodels.text import count, duration
from studio.viewmodels.ways_out import clickable

_FILES_PER_TURN = 1000
"""Rows changed before the window gets a turn: a snapshot of a large folder holds every file, at some 10 µs each."""


class IngestViewModel(ViewModel):
    """Turns what the queue tells into rows and words. The jobs themselves, and what steers them, are in `jobs`."""

    changed = Signal()
    """Summary, progress or state changed."""
    finished = Signal(str)
    """A job ended and the knowledge base of this id may have another generation."""
    accepted = Signal(object, str, bool)
    """(job, what was added in words, whether it made its knowledge base) of files that are in the queue now."""
    cleared = Signal(str, object)
    """(in words, call that takes it back): what was through is off the list."""
    held_back = Signal(str, str)
    """(id of the knowledge base, reason): a job built a generation that the gate holds back."""

    def __init__(
        self,
        jobs: JobsViewModel,
        library: Library,
        sample: Sample,
        sources: LibraryViewModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.queue = QueueModel(self)
        self.jobs = jobs
        self._library = library
        self._sample = sample
        self._sources = sources
        self._preparing = 0
        self._outcome = ""
        self._held = ("", "")
        self._backlog: deque[tuple[IngestProgress, Iterator[FileProgress]]] = deque()
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(self._show_backlog)
        self.shows_documents = False
        jobs.progressed.connect(self._on_progress)
        jobs.ended.connect(self._on_ended)
        jobs.changed.connect(self._on_jobs)
        sources.selection_changed.connect(self._show_documents)
        sources.changed.connect(self._show_documents)
        sources.writability_changed.connect(self.changed)

    # ------------------------------------------------------------ what the pane shows

    @property
    def target(self) -> str:
        """Where dropped files go, in words."""
        selected = self._sources.selected
        if selected is not None:
            return f"into {selected.name}"
        return "into the one you choose" if self._sources.knowledge_bases else "into a new knowledge base"

    @property
    def read_only(self) -> str:
        """Why nothing can be indexed for now, "" when it can."""
        return self._sources.read_only

    @property
    def running(self) -> bool:
        """Whether a job is under way or will be by itself."""
        return self._preparing > 0 or self.jobs.running

    @property
    def running_kb(self) -> str | None:
        """Id of the knowledge base being written, when it is known."""
        job = self.jobs.current
        return job.kb_id if job is not None and job.state is JobState.RUNNING else None

    @property
    def fraction(self) -> float:
        """How much of the running job is done, 0..1."""
        progress = self._progress
        if progress is None or progress.files_total == 0:
            job = self.jobs.current
            return job.files_done / job.files_total if job is not None and job.files_total else 0.0
        return min(1.0, (progress.files_done + self.queue.active_fraction()) / progress.files_total)

    @property
    def summary(self) -> str:
        """`2 of 8 files · 38 passages/s · about 2 min left`, or how the last job ended."""
        progress, job = self._progress, self.jobs.current
        if job is not None and job.wish == "cancel":
            return "Cancelling…"
        if job is not None and job.state is JobState.PAUSED:
            return "Paused"
        if progress is None:
            if self.running:
                return "Starting…"
            return self._outcome or (count(len(self.queue.items), "file") if self.queue.items else "")
        words = stage_words(progress)
        if progress.paused:
            words = [progress.paused, files_words(progress)]
        if self.jobs.waiting:
            words.append(f"{count(self.jobs.waiting, 'more job')} waiting")
        return " · ".join(words)

    @property
    def status(self) -> str:
        """`Ingesting 4 files, 33%`, `Paused: …`, "" when nothing runs."""
        progress, job = self._progress, self.jobs.current
        if job is not None and job.state is JobState.PAUSED:
            return f"Ingest paused, {self.fraction:.0%}"
        if progress is not None and progress.paused:
            return progress.paused
        if not self.running:
            return ""
        if job is not None and job.kind is JobKind.REBUILD:
            return f"Building a new generation, {self.fraction:.0%}"
        if progress is None or progress.files_total == 0 or progress.stage is IngestStage.SCANNING:
            return "Looking through the files…"
        left = max(0, progress.files_total - progress.files_done)
        return f"Ingesting {count(left, 'file')}, {self.fraction:.0%}" if left else "Making it searchable…"

    @property
    def held(self) -> str:
        """Why the last job's generation is not active, "" if it is."""
        return self._held[1]

    @property
    def held_kb(self) -> str:
        """Id of the knowledge base whose new generation is held back."""
        return self._held[0]

    @property
    def has_finished(self) -> bool:
        """Whether there are rows of finished files or failed jobs to clear."""
        return (not self.shows_documents and self.queue.finished > 0) or self.jobs.has_failed

    @property
    def _progress(self) -> IngestProgress | None:
        return self.jobs.progress(self.jobs.current)

    # ------------------------------------------------------------ gestures

    def add(self, paths: Sequence[Path], kb_id: str | None = None, what: str = "") -> None:
        """Index files and folders into a knowledge base, or into a new one named after them.

        `what` are they in words; their number for short.
        """
        if paths:
            what = what or count(len(paths), "item")
            self._prepare(f"add {len(paths)} {paths[0]}", self._add(tuple(paths), kb_id, what))

    def ensure_sample(self) -> None:
        """Make the sample knowledge base, unless it is there, and select it."""
        self._prepare("sample", self._ensure_sample())

    def clear_finished(self) -> None:
        """Remove the rows of files that are through, and the jobs that failed."""
        rows = [] if self.shows_documents else self.queue.through
        put_back = partial(self._put_back, rows, self._outcome, self._held, self.jobs.forget_failed())
        self.queue.keep_active()
        self.forget_held()
        self._outcome = ""
        self._show_documents()
        self.changed.emit()
        self.cleared.emit("The list is cleared", put_back)

    def _put_back(
        self, rows: Sequence[QueueRow], outcome: str, held: tuple[str, str], jobs: Callable[[], None]
    ) -> None:
        """Show again what was cleared, before what came meanwhile."""
        self.cancel("documents")
        jobs()
        new = [] if self.shows_documents else list(self.queue.items)
        known = {(row.kb_id, row.path) for row in new}
        if rows:
            self.queue.reset([*(row for row in rows if (row.kb_id, row.path) not in known), *new])
            self.shows_documents = False
        self._outcome = self._outcome or outcome
        self._held = self._held if self._held[1] else held
        self.changed.emit()

    def forget_held(self) -> None:
        """The generation that was held back is active now, or of no interest any more."""
        self._held = ("", "")
        self.changed.emit()

    # ------------------------------------------------------------ beginning

    def _prepare(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        task = self.launch(f"{key} {id(work)}", work)
        if task is None:
            return
        self._preparing += 1
        task.add_done_callback(self._prepared)
        self.changed.emit()

    def _prepared(self, _task: asyncio.Task[None]) -> None:
        self._preparing -= 1
        self.changed.emit()

    async def _add(self, paths: tuple[Path, ...], kb_id: str | None, what: str) -> None:
        known = {kb.id for kb in self._sources.knowledge_bases}
        if kb_id is None:
            kb_id = (await self._new_kb(paths)).id
        made = kb_id not in known
        self.jobs.add(kb_id, paths, accepted=lambda job: self.accepted.emit(job, what, made))

    async def _ensure_sample(self) -> None:
        kb = await self._sample.ensure()
        await self._drained()
        await self._sources.refresh()
        self._sources.select(kb.id)
        self.finished.emit(kb.id)

    async def _new_kb(self, paths: Sequence[Path]) -> KnowledgeBase:
        """A knowledge base named after the folder; the one this folder made before, if it did."""
        first = paths[0]
        is_folder = await asyncio.to_thread(first.is_dir)
        folder = first if is_folder else first.parent
        name = folder.name or "Documents"
        taken = {kb.name.casefold(): kb for kb in self._sources.knowledge_bases}
        candidate, number = name, 2
        while (kb := taken.get(candidate.casefold())) is not None:
            documents = await self._library.documents(kb.id) if kb.active_generation is not None else []
            if not documents or any(Path(record.source_path).is_relative_to(folder) for record in documents):
                self._sources.select(kb.id)
                return kb
            candidate, number = f"{name} {number}", number + 1
        created = await self._library.create(candidate)
        await self._sources.refresh()
        self._sources.select(created.id)
        return created

    # ------------------------------------------------------------ what the queue tells

    def _on_jobs(self) -> None:
        job = self.jobs.current
        if job is not None and job.state is JobState.RUNNING:
            self._begin()
            self.queue.set_roots([Path(path) for path in job.paths])
        self.changed.emit()

    def _begin(self) -> None:
        if self.shows_documents:
            self.queue.reset([])
            self.shows_documents = False

    def _on_progress(self, progress: IngestProgress) -> None:
        self._begin()
        self._backlog.append((progress, iter(progress.changed)))
        if not self._turn.isActive():
            self._show_backlog()
        self.changed.emit()

    def _show_backlog(self) -> None:
        """Move files from the backlog to the rows; the rest follows when the window has had its turn."""
        room = _FILES_PER_TURN
        while self._backlog and room:
            progress, files = self._backlog[0]
            now = list(itertools.islice(files, room))
            if len(now) < room:
                self._backlog.popleft()
            room -= len(now)
            self.queue.apply(progress, now)
        if self._backlog:
            self._turn.start()

    async def _drained(self) -> None:
        while self._backlog:
            self._show_backlog()
            await asyncio.sleep(0)

    async def _stop(self, kb_id: str, word: str, tone: Tone) -> None:
        """What was not through when a job ended will not be."""
        for first in range(0, len(self.queue.items), _FILES_PER_TURN):
            self.queue.stop(kb_id, word, tone, first, first + _FILES_PER_TURN)
            await asyncio.sleep(0)

    def _on_ended(self, event: JobEnded) -> None:
        self._prepare("ended", self._after(event))

    async def _after(self, event: JobEnded) -> None:
        await self._drained()
        job, report = event.job, event.report
        if job.state is JobState.CANCELLED:
            kept = report is not None and report.generation is not None
            self._outcome = "Cancelled. What was searchable before still is."
            if kept and report is not None:
                self._outcome = f"Cancelled; what was finished is kept: {_outcome(report)}"
            await self._stop(job.kb_id, "Cancelled", Tone.CALM)
        elif job.state is JobState.FAILED:
            self._outcome = clickable(job.error) or "The job failed."
            await self._stop(job.kb_id, "Not indexed", Tone.BAD)
            if event.error is not None:
                self.report(event.error)
            else:
                self.failed.emit(self._outcome, "")
        elif report is not None:
            self.queue.add_failures(report.kb_id, report.failed)
            self._outcome = _outcome(report)
            held = clickable(report.held)
            self._held = (report.kb_id, held) if held else ("", "")
            if held:
                self.held_back.emit(report.kb_id, held)
        await self._sources.refresh()
        self.finished.emit(job.kb_id)

    # ------------------------------------------------------------ documents, when nothing is queued

    def _show_documents(self) -> None:
        self.changed.emit()
        if not self.running and (self.shows_documents or not self.queue.items):
            self.launch("documents", self._read_documents())

    async def _read_documents(self) -> None:
        kb = self._sources.selected
        records = await self._library.documents(kb.id) if kb is not None and kb.active_generation is not None else []
        if self.running:
            return
        rows = await asyncio.to_thread(document_rows, kb.id if kb is not None else "", records)
        ran_meanwhile = bool(self.queue.items) and not self.shows_documents
        if self.running or ran_meanwhile or kb is not self._sources.selected:
            return
        self.queue.reset(rows)
        self.shows_documents = True
        self.changed.emit()


def _outcome(report: IngestReport) -> str:
    """How a job ended, in one line."""
    parts = []
    for number, word in (
        (report.added, "added"),
        (report.updated, "updated"),
        (report.unchanged, "unchanged"),
        (report.removed, "removed"),
        (sum(item.count for item in report.held_removals), "no longer there, kept"),
        (len(report.failed), "could not be indexed"),
    ):
        if number:
            parts.append(f"{number:,} {word}")
    if not parts:
        return "Nothing to index was found."
    if report.held:
        parts.append(f"generation {report.generation} is held back")
    return " · ".join([*parts, duration(report.seconds)])
