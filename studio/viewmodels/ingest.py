"""The ingest queue: jobs one after the other, each file's progress, what failed and why."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from studio.domain import FileProgress, IngestOptions, IngestProgress, IngestReport, IngestStage, KnowledgeBase
from studio.errors import StudioError
from studio.viewmodels.base import ViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Ingest, Library, Sample
from studio.viewmodels.queue import QueueModel, Tone, document_rows
from studio.viewmodels.text import count, duration, remaining

_FILES_PER_TURN = 300
"""Rows changed before the window gets a turn: a snapshot of a large folder holds every file, at 15 µs each."""


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for. `kb` is None when the files shall make their own knowledge base."""

    kind: str
    kb: KnowledgeBase | None
    paths: tuple[Path, ...] = ()


class IngestViewModel(ViewModel):
    """Accepts files at any time; runs one job at a time, since a knowledge base has one writer."""

    changed = Signal()
    """Summary, progress or state changed."""
    finished = Signal(str)
    """A job ended and the knowledge base of this id may have another generation."""
    held_back = Signal(str, str)
    """(id of the knowledge base, reason): a job built a generation that the gate holds back."""

    def __init__(
        self,
        ingest: Ingest,
        library: Library,
        sample: Sample,
        sources: LibraryViewModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.queue = QueueModel(self)
        self._ingest = ingest
        self._library = library
        self._sample = sample
        self._sources = sources
        self._waiting: deque[Job] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._job: Job | None = None
        self._progress: IngestProgress | None = None
        self._cancelling = False
        self._outcome = ""
        self._held = ("", "")
        self._backlog: dict[str, FileProgress] = {}
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(lambda: self._show_backlog(_FILES_PER_TURN))
        self.shows_documents = False
        sources.selection_changed.connect(self._show_documents)
        sources.changed.connect(self._show_documents)
        sources.writability_changed.connect(self.changed)

    # ------------------------------------------------------------ what the pane shows

    @property
    def target(self) -> str:
        """Where dropped files go, in words."""
        selected = self._sources.selected
        return f"into {selected.name}" if selected is not None else "into a new knowledge base"

    @property
    def read_only(self) -> str:
        """Why nothing can be indexed for now, "" when it can."""
        return self._sources.read_only

    @property
    def running(self) -> bool:
        """Whether a job is under way or waits."""
        return self._worker is not None and not self._worker.done()

    @property
    def running_kb(self) -> str | None:
        """Id of the knowledge base being written, when it is known."""
        return self._job.kb.id if self._job is not None and self._job.kb is not None else None

    @property
    def fraction(self) -> float:
        """How much of the running job is done, 0..1."""
        progress = self._progress
        if progress is None or progress.files_total == 0:
            return 0.0
        return min(1.0, (progress.files_done + self.queue.active_fraction()) / progress.files_total)

    @property
    def summary(self) -> str:
        """`2 of 8 done · about 2 min left`, or how the last job ended."""
        progress = self._progress
        if not self.running or progress is None:
            return self._outcome or (count(len(self.queue.items), "file") if self.queue.items else "")
        if self._cancelling:
            return "Cancelling…"
        if progress.stage is IngestStage.SCANNING:
            return "Looking through the files…"
        if progress.stage in (IngestStage.SEALING, IngestStage.PROMOTING):
            return f"{progress.files_done} of {progress.files_total} done · making the new generation searchable"
        parts = [f"{progress.files_done:,} of {progress.files_total:,} done"]
        if progress.seconds_left is not None and progress.seconds_left >= 1:
            parts.append(remaining(progress.seconds_left))
        if self._waiting:
            parts.append(f"{count(len(self._waiting), 'more job')} waiting")
        return " · ".join(parts)

    @property
    def status(self) -> str:
        """`Ingesting 4 files, 33%`, "" when nothing runs."""
        if not self.running:
            return ""
        progress = self._progress
        if self._job is not None and self._job.kind == "rebuild":
            return f"Building a new generation, {self.fraction:.0%}"
        if progress is None or progress.files_total == 0:
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
    def has_failed(self) -> bool:
        """Whether something could be tried again."""
        return bool(self.queue.failed_paths()) and not self.running and not self.shows_documents

    @property
    def has_finished(self) -> bool:
        """Whether there are rows of finished files to clear."""
        return not self.shows_documents and any(row.tone in (Tone.OK, Tone.BAD, Tone.CALM) for row in self.queue.items)

    # ------------------------------------------------------------ gestures

    def add(self, paths: Sequence[Path]) -> None:
        """Index files and folders into the selected knowledge base, or into a new one named after them."""
        if paths:
            self._enqueue(Job("ingest", self._sources.selected, tuple(paths)))

    def rebuild(self, kb: KnowledgeBase) -> None:
        """Build a new generation of everything in a knowledge base."""
        self._enqueue(Job("rebuild", kb))

    def ensure_sample(self) -> None:
        """Make the sample knowledge base, unless it is there, and select it."""
        self._enqueue(Job("sample", None))

    def retry_failed(self) -> None:
        """Try again what failed, in the knowledge base it failed in."""
        by_kb: dict[str, list[Path]] = {}
        for kb_id, path in self.queue.failed_paths():
            by_kb.setdefault(kb_id, []).append(Path(path))
        for kb in self._sources.knowledge_bases:
            if kb.id in by_kb:
                self._enqueue(Job("ingest", kb, tuple(by_kb[kb.id])))

    def cancel_all(self) -> None:
        """Stop the running job and drop those that wait. What was searchable before stays so."""
        self._waiting.clear()
        if self._job is not None:
            self._cancelling = True
            self.cancel("job")
        self.changed.emit()

    def clear_finished(self) -> None:
        """Remove the rows of files that are through."""
        self.queue.keep_active()
        self.forget_held()
        self._outcome = ""
        self._show_documents()
        self.changed.emit()

    def forget_held(self) -> None:
        """The generation that was held back is active now, or of no interest any more."""
        self._held = ("", "")
        self.changed.emit()

    # ------------------------------------------------------------ jobs

    def _enqueue(self, job: Job) -> None:
        self._waiting.append(job)
        if not self.running:
            self._worker = self.launch("worker", self._work())
        self.changed.emit()

    async def _work(self) -> None:
        if self.shows_documents:
            self.queue.reset([])
            self.shows_documents = False
        while self._waiting:
            self._job = self._waiting.popleft()
            self._progress = None
            self._outcome = ""
            self._held = ("", "")
            task = self.launch("job", self._run(self._job))
            self.changed.emit()
            # Waiting for the task without taking over its outcome: a job that is cancelled or fails
            # must not end this queue. Failures are reported by the owner of the task.
            await asyncio.wait([task])
            self._after(task)
        # Still counts as running until this coroutine returns, so tell once more afterwards.
        asyncio.get_running_loop().call_soon(self.changed.emit)

    def _after(self, task: asyncio.Task[IngestReport | None]) -> None:
        self._show_backlog(len(self._backlog))
        if task.cancelled():
            self._outcome = "Cancelled. What was searchable before still is."
            self.queue.stop_active("Cancelled", Tone.CALM)
        elif (error := task.exception()) is not None:
            self._outcome = str(error) if isinstance(error, StudioError) else "The job failed."
            self.queue.stop_active("Not indexed", Tone.BAD)
        elif (report := task.result()) is not None:
            self._outcome = _outcome(report)
            if report.held:
                self._held = (report.kb_id, report.held)
                self.held_back.emit(report.kb_id, report.held)
        kb_id = self.running_kb or (self._progress.kb_id if self._progress is not None else "")
        self._job = None
        self._cancelling = False
        self.finished.emit(kb_id)
        self.changed.emit()

    async def _run(self, job: Job) -> IngestReport | None:
        if job.kind == "sample":
            kb = await self._sample.ensure(self._on_progress)
            await self._sources.refresh()
            self._sources.select(kb.id)
            return None
        if job.kb is None:
            job = Job(job.kind, await self._new_kb(job.paths), job.paths)
            self._job = job
        assert job.kb is not None
        self.queue.set_roots(job.paths)
        work: Coroutine[Any, Any, IngestReport]
        if job.kind == "rebuild":
            work = self._ingest.rebuild(job.kb.id, self._on_progress)
        else:
            work = self._ingest.ingest(job.kb.id, job.paths, IngestOptions(), self._on_progress)
        report = await work
        for failure in report.failed:
            self.queue.add_failure(job.kb.id, failure)
        await self._sources.refresh()
        return report

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

    def _on_progress(self, progress: IngestProgress) -> None:
        self._progress = progress
        self._backlog.update((file.path, file) for file in progress.changed)
        self._show_backlog(_FILES_PER_TURN)
        self.changed.emit()

    def _show_backlog(self, most: int) -> None:
        """Move files from the backlog to the queue; the rest follows when the window has had its turn."""
        if self._progress is None or not self._backlog:
            return
        now = [self._backlog.pop(path) for path in list(itertools.islice(self._backlog, most))]
        self.queue.apply(self._progress, now)
        if self._backlog:
            self._turn.start()

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
        self.queue.show_documents(rows)
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
        (len(report.failed), "could not be indexed"),
    ):
        if number:
            parts.append(f"{number:,} {word}")
    if not parts:
        return "Nothing to index was found."
    if report.held:
        parts.append(f"generation {report.generation} is held back")
    return " · ".join([*parts, duration(report.seconds)])
