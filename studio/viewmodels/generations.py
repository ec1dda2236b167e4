"""The generations of the selected knowledge base."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from studio.domain import Generation, GenerationState, KnowledgeBase
from studio.viewmodels.base import ItemListModel, ViewModel
from studio.viewmodels.ingest import IngestViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Maintenance
from studio.viewmodels.text import count, moment, size

_CHIPS = {
    GenerationState.BUILDING: "building",
    GenerationState.READY: "ready",
    GenerationState.ACTIVE: "active",
    GenerationState.ARCHIVED: "kept for rollback",
    GenerationState.MARKED_FOR_DELETION: "being deleted",
    GenerationState.FAILED: "failed",
}


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """A generation as the list shows it."""

    number: int
    name: str
    chip: str
    state: GenerationState
    detail: str
    when: str

    @property
    def can_promote(self) -> bool:
        return self.state is GenerationState.READY

    @property
    def can_roll_back_to(self) -> bool:
        return self.state is GenerationState.ARCHIVED


class GenerationModel(ItemListModel[GenerationRow]):
    """Newest first."""

    def describe(self, row: int, item: GenerationRow) -> str:
        return f"{item.name}, {item.chip}, {item.detail}, {item.when}"


class GenerationsViewModel(ViewModel):
    """Lists generations, promotes, rolls back, and has new ones built."""

    changed = Signal()
    """The list or what can be done changed."""
    promoted = Signal(str)
    """Another generation of the knowledge base of this id is active."""

    def __init__(
        self,
        maintenance: Maintenance,
        sources: LibraryViewModel,
        ingest: IngestViewModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.rows = GenerationModel(self)
        self._maintenance = maintenance
        self._sources = sources
        self._ingest = ingest
        self._generations: list[Generation] = []
        self._shown_kb: str | None = None
        self._was_building = False
        sources.selection_changed.connect(self.refresh)
        sources.changed.connect(self.refresh)
        ingest.finished.connect(self.refresh)
        ingest.changed.connect(self._show_progress)

    @property
    def kb(self) -> KnowledgeBase | None:
        """The knowledge base whose generations are listed."""
        return self._sources.selected

    @property
    def active(self) -> Generation | None:
        """The generation searches use."""
        return next((item for item in self._generations if item.state is GenerationState.ACTIVE), None)

    @property
    def can_build(self) -> bool:
        """Whether a new generation can be asked for now."""
        return self.kb is not None and self.active is not None and not self._building

    @property
    def can_roll_back(self) -> bool:
        """Whether an older generation is kept."""
        active = self.active
        return active is not None and any(
            item.state is GenerationState.ARCHIVED and item.number < active.number for item in self._generations
        )

    @property
    def _building(self) -> bool:
        return self.kb is not None and self._ingest.running_kb == self.kb.id

    def refresh(self) -> None:
        """Read the list again."""
        self.launch("list", self._read())

    def promote(self, number: int) -> None:
        """Make a ready generation the one searches use."""
        if self.kb is not None:
            self.launch("promote", self._promote(self.kb.id, number))

    def roll_back(self, number: int | None = None) -> None:
        """Go back to a kept generation; None: the newest before the active one."""
        if self.kb is not None:
            self.launch("promote", self._roll_back(self.kb.id, number))

    def build(self) -> None:
        """Build a new generation with the knowledge base's present settings."""
        if self.kb is not None:
            self._ingest.rebuild(self.kb)

    async def _promote(self, kb_id: str, number: int) -> None:
        await self._maintenance.promote(kb_id, number)
        await self._after(kb_id)

    async def _roll_back(self, kb_id: str, number: int | None) -> None:
        await self._maintenance.rollback(kb_id, number)
        await self._after(kb_id)

    async def _after(self, kb_id: str) -> None:
        await self._sources.refresh()
        await self._read()
        self.promoted.emit(kb_id)

    async def _read(self) -> None:
        kb = self.kb
        self._generations = await self._maintenance.generations(kb.id) if kb is not None else []
        rows = [self._row(item) for item in self._generations]
        if kb is None or kb.id != self._shown_kb:
            self.rows.reset(rows)
        else:
            self.rows.replace(rows)
        self._shown_kb = kb.id if kb is not None else None
        self.changed.emit()

    def _show_progress(self) -> None:
        building = self._building
        known = any(item.state is GenerationState.BUILDING for item in self._generations)
        if building and not known and not self._was_building:
            self.refresh()  # the generation that is being built has its own row from the start
        self._was_building = building
        for row, item in enumerate(self._generations):
            if item.state is GenerationState.BUILDING and row < len(self.rows.items):
                self.rows.set_row(row, self._row(item))
        self.changed.emit()

    def _row(self, item: Generation) -> GenerationRow:
        parts = []
        if item.model is not None:
            parts += [item.model.name, f"{item.model.dimension} d"]
        else:
            parts.append("keyword search only")
        parts.append(f"chunk {item.settings.chunk_tokens}/{item.settings.chunk_overlap}")
        building = item.state is GenerationState.BUILDING
        if building:
            parts.append(f"building, {self._ingest.fraction:.0%}" if self._building else "building")
        elif item.state is GenerationState.FAILED:
            parts = [item.error.splitlines()[0] if item.error else "The build failed."]
        else:
            parts += [count(item.documents, "document"), count(item.chunks, "passage"), size(item.size_bytes)]
        when = moment(item.promoted_ms or item.created_ms)
        return GenerationRow(
            number=item.number,
            name=f"Generation {item.number}",
            chip=_CHIPS[item.state],
            state=item.state,
            detail=" · ".join(parts),
            when=f"started {when.removeprefix('today ')}" if building else when,
        )
