"""The knowledge bases in the sidebar, and which of them is selected."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from studio.concurrency import Attention
from studio.domain import KnowledgeBase
from studio.viewmodels.base import ItemListModel, ViewModel
from studio.viewmodels.ports import Library
from studio.viewmodels.text import count, short_count, size
from studio.viewmodels.ways_out import clickable

_WATCH_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of the sidebar; `kb` is None for all sources together."""

    name: str
    chunks: int
    kb: KnowledgeBase | None

    @property
    def count(self) -> str:
        return short_count(self.chunks)


class SourceModel(ItemListModel[SourceRow]):
    """All sources first, then each knowledge base."""

    def describe(self, row: int, item: SourceRow) -> str:
        return f"{item.name}, {count(item.chunks, 'passage')}"

    def tip(self, item: SourceRow) -> str:
        if item.kb is None:
            return f"Search everything · {count(item.chunks, 'passage')}"
        return (
            f"{item.name} · {count(item.kb.documents, 'document')} · {count(item.chunks, 'passage')}"
            f" · {size(item.kb.size_bytes)}"
        )


class LibraryViewModel(ViewModel):
    """Lists, creates, renames and deletes knowledge bases; notices what other processes changed."""

    changed = Signal()
    """The list was read again and something in it is different."""
    selection_changed = Signal()
    """Another knowledge base, or all of them, is selected."""
    loaded = Signal()
    """The list was read for the first time."""
    writability_changed = Signal()
    """Something can be changed now and could not before, or the other way round."""

    def __init__(self, library: Library, parent: QObject | None = None, *, attention: Attention | None = None) -> None:
        super().__init__(parent)
        self._attention = attention or Attention()
        self.sources = SourceModel(self)
        self.sources.reset([SourceRow("All sources", 0, None)])
        self._library = library
        self._selected_id: str | None = None
        self._is_loaded = False
        self._read_only = clickable(library.read_only or "")

    @property
    def knowledge_bases(self) -> tuple[KnowledgeBase, ...]:
        """All of them, in the order of the sidebar."""
        return tuple(row.kb for row in self.sources.items if row.kb is not None)

    @property
    def selected(self) -> KnowledgeBase | None:
        """The selected knowledge base; None means all sources."""
        return next((kb for kb in self.knowledge_bases if kb.id == self._selected_id), None)

    @property
    def selected_row(self) -> int:
        """Row of the selection in `sources`."""
        for row, source in enumerate(self.sources.items):
            if source.kb is not None and source.kb.id == self._selected_id:
                return row
        return 0

    @property
    def scope(self) -> tuple[str, ...]:
        """Ids of the knowledge bases a search covers: the selected one, or all that have something to find."""
        selected = self.selected
        if selected is not None:
            return (selected.id,)
        return tuple(kb.id for kb in self.knowledge_bases if kb.active_generation is not None)

    @property
    def generations(self) -> tuple[tuple[str, int | None], ...]:
        """(id, active generation) of the knowledge bases in `scope`."""
        active = {kb.id: kb.active_generation for kb in self.knowledge_bases}
        return tuple((kb_id, active[kb_id]) for kb_id in self.scope)

    @property
    def is_loaded(self) -> bool:
        """Whether the list has been read yet."""
        return self._is_loaded

    @property
    def read_only(self) -> str:
        """Why nothing can be changed for now, "" when it can."""
        return self._read_only

    @property
    def passages(self) -> int:
        """Passages in the scope of the selection."""
        selected = self.selected
        return selected.chunks if selected is not None else sum(kb.chunks for kb in self.knowledge_bases)

    def select(self, kb_id: str | None) -> None:
        """Select a knowledge base by id, or all sources."""
        if kb_id != self._selected_id:
            self._selected_id = kb_id
            self.selection_changed.emit()

    def start(self) -> None:
        """Read the list and keep watching for changes by other processes."""
        self.launch("watch", self._watch())

    async def refresh(self) -> None:
        """Read the list now."""
        bases = await self._library.list()
        rows = [SourceRow("All sources", sum(kb.chunks for kb in bases), None)]
        rows += [SourceRow(kb.name, kb.chunks, kb) for kb in bases]
        different = rows != list(self.sources.items)
        gone = self._selected_id is not None and all(kb.id != self._selected_id for kb in bases)
        if different:
            self.sources.replace(rows)
        first = not self._is_loaded
        self._is_loaded = True
        if gone:
            self._selected_id = None
        if first and self._selected_id is None and len(bases) == 1:
            self._selected_id = bases[0].id
            gone = True
        if different or first:
            self.changed.emit()
        if gone:
            self.selection_changed.emit()
        if first:
            self.loaded.emit()

    def create(self, name: str) -> None:
        """Create a knowledge base and select it."""
        self.launch("create", self._create(name))

    def rename(self, kb_id: str, name: str) -> None:
        """Give a knowledge base another name."""
        self.launch(f"rename {kb_id}", self._rename(kb_id, name))

    def delete(self, kb_id: str) -> None:
        """Delete a knowledge base with everything in it."""
        self.launch(f"delete {kb_id}", self._delete(kb_id))

    async def _create(self, name: str) -> None:
        kb = await self._library.create(name)
        await self.refresh()
        self.select(kb.id)

    async def _rename(self, kb_id: str, name: str) -> None:
        await self._library.rename(kb_id, name)
        await self.refresh()

    async def _delete(self, kb_id: str) -> None:
        await self._library.delete(kb_id)
        await self.refresh()

    def try_writing(self) -> None:
        """Look again whether something can be changed; if not, it is said why."""
        self.launch("writability", self._try_writing())

    async def _try_writing(self) -> None:
        try:
            await self._library.require_writable()
        finally:
            self._look_at_writability()

    def _look_at_writability(self) -> None:
        reason = clickable(self._library.read_only or "")
        if reason != self._read_only:
            self._read_only = reason
            self.writability_changed.emit()

    async def _watch(self) -> None:
        stamp: int | None = None
        while True:
            try:
                now = await self._library.stamp()
                self._look_at_writability()
                if now != stamp:
                    await self.refresh()
                    stamp = now
            except Exception as error:
                if stamp != -1:
                    self.report(error)
                stamp = -1
            await self._attention.pause(_WATCH_INTERVAL_S)
