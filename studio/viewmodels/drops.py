"""What was dropped, and how it is taken back."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject, Signal

from studio.domain import DocumentStatus, Job
from studio.viewmodels.base import ViewModel
from studio.viewmodels.ingest import IngestViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import JobQueue, Library, Maintenance
from studio.viewmodels.text import count


class DropsViewModel(ViewModel):
    """Says where files went, with a way to take them out again."""

    added = Signal(str, object)
    """(in words, call that takes it back) of files that were added to a knowledge base."""
    done = Signal(str)
    """Something was taken back: what, in words."""

    def __init__(
        self,
        queue: JobQueue,
        library: Library,
        maintenance: Maintenance,
        ingest: IngestViewModel,
        sources: LibraryViewModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._queue = queue
        self._library = library
        self._maintenance = maintenance
        self._sources = sources
        ingest.accepted.connect(self._say)

    def _say(self, job: Job, what: str, made: bool) -> None:
        name = next((kb.name for kb in self._sources.knowledge_bases if kb.id == job.kb_id), "the knowledge base")
        self.added.emit(f"{what} added to “{name}”", partial(self.undo, job, made))

    def undo(self, job: Job, made: bool) -> None:
        """Take a drop back: end its job, or remove the documents it added; `made` says that it made its base."""
        self.launch(f"undo {job.id}", self._undo(job, made))

    async def _undo(self, job: Job, made: bool) -> None:
        waiting = [item for item in await self._queue.jobs() if item.kb_id == job.kb_id]
        if any(item.id == job.id for item in waiting):
            await self._queue.cancel(job.id)
        ended = next((item for item in await self._queue.ended(job.kb_id) if item.id == job.id), None)
        generation = ended.generation if ended is not None else None
        await self._sources.refresh()
        kb = next((kb for kb in self._sources.knowledge_bases if kb.id == job.kb_id), None)
        others = any(item.id != job.id for item in waiting)
        if kb is not None and made and not others and kb.active_generation in (None, generation):
            await self._library.delete(kb.id)
            await self._sources.refresh()
            self.done.emit(f"“{kb.name}” is removed again.")
            return
        paths = await self._added(job.kb_id, generation) if kb is not None and generation is not None else []
        if paths:
            await self._queue.add_removal(job.kb_id, paths)
            self.done.emit(f"{count(len(paths), 'file')} will be removed again.")
        else:
            self.done.emit("Taken back.")

    async def _added(self, kb_id: str, number: int) -> list[str]:
        """Paths of which a generation has documents and the one it was made of has none."""
        found = next((item for item in await self._maintenance.generations(kb_id) if item.number == number), None)
        if found is None:
            return []
        before = await self._library.documents(kb_id, found.parent) if found.parent is not None else []
        known = {record.source_path for record in before if record.status is DocumentStatus.INDEXED}
        now = await self._library.documents(kb_id, number)
        return list(dict.fromkeys(record.source_path for record in now if record.source_path not in known))
