"""Cleaning up: which old generations are kept, what would go, and having it go."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from studio.domain import KnowledgeBase, Retention
from studio.viewmodels.base import ViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Library, Maintenance
from studio.viewmodels.text import count, size


class CleanupViewModel(ViewModel):
    """The policy of one knowledge base, a preview of its effect, and the collection itself."""

    changed = Signal()
    """Policy, preview or state changed."""
    done = Signal(str)
    """A collection ended without errors; what it freed, in words."""
    collected = Signal()
    """Generations may be gone."""

    def __init__(
        self, library: Library, maintenance: Maintenance, sources: LibraryViewModel, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._library = library
        self._maintenance = maintenance
        self._sources = sources
        self._kb: KnowledgeBase | None = None
        self.policy = Retention()
        self.own_policy = False
        self.preview = ""
        self.can_collect = False
        self.kept: tuple[str, ...] = ()
        self.busy = False

    @property
    def kb(self) -> KnowledgeBase | None:
        """The knowledge base whose policy is shown."""
        return self._kb

    def open(self, kb: KnowledgeBase) -> None:
        """Read the policy of a knowledge base and what it would let go."""
        self._kb, self.preview, self.kept, self.can_collect = kb, "", (), False
        self._begin()
        self.launch("read", self._read(kb.id))

    def save(self, policy: Retention | None) -> None:
        """Keep to another policy from now on; None: the program's."""
        if self._kb is not None:
            self._begin()
            self.launch("read", self._save(self._kb.id, policy))

    def collect(self) -> None:
        """Delete what the saved policy lets go."""
        if self._kb is not None:
            self._begin()
            self.launch("collect", self._collect(self._kb.id))

    def report(self, error: BaseException) -> None:
        self.busy = False
        super().report(error)
        self.changed.emit()

    def _begin(self) -> None:
        self.busy = True
        self.changed.emit()

    async def _read(self, kb_id: str) -> None:
        self.policy = await self._library.retention(kb_id)
        self.own_policy = any(kb.id == kb_id and kb.retention is not None for kb in self._sources.knowledge_bases)
        await self._look(kb_id)

    async def _save(self, kb_id: str, policy: Retention | None) -> None:
        await self._library.set_retention(kb_id, policy)
        await self._sources.refresh()
        await self._read(kb_id)

    async def _collect(self, kb_id: str) -> None:
        report = await self._maintenance.collect(kb_id)
        await self._sources.refresh()
        self.collected.emit()
        await self._look(kb_id)
        if report.errors:
            more = f" {count(len(report.errors) - 1, 'other deletion')} failed too." if len(report.errors) > 1 else ""
            self.failed.emit(
                f"{report.errors[0]}{more}", f"{size(report.freed_bytes)} were freed; the rest is tried again."
            )
        else:
            self.done.emit(f"{size(report.freed_bytes)} freed.")

    async def _look(self, kb_id: str) -> None:
        """What a collection would do now."""
        report = await self._maintenance.collect(kb_id, dry_run=True)
        doomed = [name.rpartition("/")[2] for name in report.deleted]
        self.kept = tuple(f"Generation {item.generation}: {item.why}" for item in report.kept)
        self.can_collect = bool(doomed) or report.freed_bytes > 0
        if doomed:
            names = "generation" if len(doomed) == 1 else "generations"
            self.preview = (
                f"Cleaning up deletes {names} {', '.join(doomed)} and frees about {size(report.freed_bytes)}. "
                "This cannot be undone."
            )
        elif report.freed_bytes:
            self.preview = (
                f"No generation is due. Left-over files of about {size(report.freed_bytes)} would be deleted."
            )
        else:
            self.preview = "Nothing to delete: the policy keeps every generation there is."
        self.busy = False
        self.changed.emit()
