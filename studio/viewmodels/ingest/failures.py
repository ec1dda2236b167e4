"""What could not be indexed: which file, why, and another try."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.domain import DocumentStatus, FileState, IngestProgress, Job, JobState, KnowledgeBase
from studio.errors import FailureCode
from studio.viewmodels.base import ItemListModel, ViewModel
from studio.viewmodels.ingest.file_rows import QueueRow, failed_documents, failure_row
from studio.viewmodels.ingest.jobs import JobsViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import JobQueue, Library

_JOBS_LOOKED_AT = 10


class FailuresModel(ItemListModel[QueueRow]):
    """Files that could not be indexed, by name."""

    def describe(self, row: int, item: QueueRow) -> str:
        return f"{item.name}, {item.badge}, {item.detail}"

    def tip(self, item: QueueRow) -> str:
        return f"{item.path}\n{item.detail}"


class FailuresViewModel(ViewModel):
    """Failures of the selected knowledge base, or of all: of the active generation and of the last jobs."""

    changed = Signal()
    """The list is another one."""

    def __init__(
        self,
        queue: JobQueue,
        library: Library,
        jobs: JobsViewModel,
        sources: LibraryViewModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.rows = FailuresModel(self)
        self._queue = queue
        self._library = library
        self._jobs = jobs
        self._sources = sources
        self._listed: set[tuple[str, str]] = set()
        jobs.progressed.connect(self._on_progress)
        sources.selection_changed.connect(self.refresh)
        sources.changed.connect(self.refresh)

    @property
    def has_locked(self) -> bool:
        """Whether a password would help with any of them."""
        return any(is_locked(row) for row in self.rows.items)

    def refresh(self) -> None:
        """Read the list anew."""
        self.launch("read", self._read())

    def retry(self, rows: Sequence[QueueRow], password: str = "") -> None:
        """Read these files again, with a password if one is given."""
        if rows:
            self.launch(f"retry {id(rows)}", self._retry(tuple(rows), password))

    def text(self, rows: Sequence[QueueRow]) -> str:
        """The list as lines of path and reason, for the clipboard."""
        return "\n".join(f"{row.path}\t{row.detail}" for row in rows or self.rows.items)

    # ------------------------------------------------------------ work

    async def _retry(self, rows: Sequence[QueueRow], password: str) -> None:
        by_kb: dict[str, list[str]] = {}
        for row in rows:
            by_kb.setdefault(row.kb_id, []).append(row.path)
        for kb_id, paths in by_kb.items():
            self._jobs.add(kb_id, await asyncio.to_thread(_files_of, paths), password)

    async def _read(self) -> None:
        selected = self._sources.selected
        bases = (selected,) if selected is not None else self._sources.knowledge_bases
        rows = [row for kb in bases for row in await self._failures_of(kb)]
        rows.sort(key=lambda row: (row.name.casefold(), row.path))
        self._listed = {(row.kb_id, row.path) for row in rows}
        self.rows.replace(rows)
        self.changed.emit()

    async def _failures_of(self, kb: KnowledgeBase) -> list[QueueRow]:
        records = await self._library.documents(kb.id) if kb.active_generation is not None else []
        rows = {row.path: row for row in await asyncio.to_thread(failed_documents, kb.id, records)}
        indexed = {record.source_path for record in records if record.status is DocumentStatus.INDEXED}
        unfinished = [job for job in await self._queue.jobs() if job.kb_id == kb.id]
        ended = _telling(await self._queue.ended(kb.id))
        for job in [*unfinished, *ended]:
            for file in await self._queue.files(job.id, failed=True):
                # What an older job could not read may have been indexed since.
                if file.path not in rows and (file.path not in indexed or job not in ended[1:]):
                    rows[file.path] = failure_row(kb.id, file.path, file.error, file.reason)
        return list(rows.values())

    def _on_progress(self, progress: IngestProgress) -> None:
        """What fails while a job runs joins the end of the list; its end brings the list up to date."""
        selected = self._sources.selected
        if selected is not None and selected.id != progress.kb_id:
            return
        new = [
            failure_row(progress.kb_id, file.path, file.error, file.reason)
            for file in progress.changed
            if file.state is FileState.FAILED and (progress.kb_id, file.path) not in self._listed
        ]
        if new:
            self._listed.update((row.kb_id, row.path) for row in new)
            self.rows.append(new)
            self.changed.emit()


def is_locked(row: QueueRow) -> bool:
    """Whether a password is what it takes."""
    return row.error == FailureCode.ENCRYPTED


def container(path: Path) -> Path:
    """The file itself, or the archive it is a member of. Blocking."""
    for place in (path, *path.parents):
        if place.is_file():
            return place
    return path


def _files_of(paths: Sequence[str]) -> list[Path]:
    return list(dict.fromkeys(container(Path(path)) for path in paths))


def _telling(ended: Sequence[Job]) -> list[Job]:
    """The last jobs whose failures no generation lists: up to and with the latest that made one."""
    telling = []
    for job in ended[:_JOBS_LOOKED_AT]:
        telling.append(job)
        if job.state is JobState.DONE and job.generation is not None:
            break
    return telling
