"""What was dropped, and how it is taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from PySide6.QtCore import QObject, Signal

from studio.domain import DocumentRecord, DocumentStatus, GenerationState, Job
from studio.viewmodels.base import ViewModel
from studio.viewmodels.ingest.model import IngestViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import JobQueue, Library, Maintenance
from studio.viewmodels.text import count


@dataclass(frozen=True, slots=True)
class _Did:
    """What a job did: paths of which there were no documents before, how many others are not what they were, and the
    number of the generation before while it is kept.
    """

    added: list[str] = field(default_factory=list)
    changed: int = 0
    parent: int | None = None


class DropsViewModel(ViewModel):
    """Says where files went, with a way to take them out again."""

    added = Signal(str, object)
    """(in words, call that takes it back) of files that were added to a knowledge base."""
    restored = Signal(str)
    """The knowledge base of this id answers from an earlier generation again."""
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
        """Take a drop back: end its job, or undo what it did; `made` says that it made its base.

        Where it changed documents, the generation before answers again: nothing else has their texts any more. If that
        cannot be, as something else was built on it or is about to be, what it added is removed and the rest is said.
        """
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
        did = await self._did(job.kb_id, generation) if kb is not None and generation is not None else _Did()
        is_last = kb is not None and kb.active_generation == generation and not others
        if did.changed and did.parent is not None and is_last:
            await self._maintenance.rollback(job.kb_id, did.parent)
            await self._sources.refresh()
            self.restored.emit(job.kb_id)
            self.done.emit(f"Taken back: generation {did.parent} answers searches again.")
            return
        if did.added:
            await self._queue.add_removal(job.kb_id, did.added)
        said = f"{count(len(did.added), 'file')} will be removed again." if did.added else "Taken back."
        if did.changed:
            removed = f"{said} " if did.added else ""
            said = f"{removed}{count(did.changed, 'changed file')} cannot be taken back: the index was built on since."
        self.done.emit(said)

    async def _did(self, kb_id: str, number: int) -> _Did:
        """What a generation is in comparison with the one it was made of."""
        generations = {item.number: item for item in await self._maintenance.generations(kb_id)}
        found = generations.get(number)
        if found is None:
            return _Did()
        before = _states(await self._library.documents(kb_id, found.parent) if found.parent is not None else [])
        now = await self._library.documents(kb_id, number)
        is_new = [record.source_path for record in now if record.source_path not in before]
        after = _states(now)
        changed = sum(after.get(path) != state for path, state in before.items())
        parent = generations.get(found.parent) if found.parent is not None else None
        kept = parent is not None and parent.state is GenerationState.ARCHIVED
        return _Did(list(dict.fromkeys(is_new)), changed, found.parent if kept else None)


def _states(records: Iterable[DocumentRecord]) -> dict[str, frozenset[str]]:
    """Path → contents of what is indexed."""
    found: dict[str, frozenset[str]] = {}
    for record in records:
        if record.status is DocumentStatus.INDEXED:
            found[record.source_path] = found.get(record.source_path, frozenset()) | {record.sha256}
    return found
