"""The generations of the selected knowledge base."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from studio.domain import Generation, GenerationState, KnowledgeBase
from studio.errors import Conflict
from studio.viewmodels.base import ItemListModel, ViewModel
from studio.viewmodels.ingest import IngestViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Maintenance
from studio.viewmodels.text import count, moment, size
from studio.viewmodels.ways_out import clickable

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
    """A generation as the list shows it.

    `when` and `before` are its latest and its earlier moment; `origin` is its note and what it takes on disk; `held`
    says why it is held back. `ahead`: newer than the active one.
    """

    number: int
    name: str
    chip: str
    state: GenerationState
    detail: str
    origin: str
    held: str
    note: str
    when: str
    before: str
    ahead: bool

    @property
    def can_promote(self) -> bool:
        return self.state is GenerationState.READY

    @property
    def can_roll_back_to(self) -> bool:
        return self.state is GenerationState.ARCHIVED and not self.ahead

    @property
    def can_go_forward_to(self) -> bool:
        return self.state is GenerationState.ARCHIVED and self.ahead

    @property
    def can_be_read(self) -> bool:
        """Whether it can be compared and exported."""
        return self.state in (GenerationState.READY, GenerationState.ACTIVE, GenerationState.ARCHIVED)


class GenerationModel(ItemListModel[GenerationRow]):
    """Newest first."""

    def describe(self, row: int, item: GenerationRow) -> str:
        parts = (item.name, item.chip, item.held, item.detail, item.origin, item.when, item.before)
        return ", ".join(part for part in parts if part)

    def tip(self, item: GenerationRow) -> str:
        return "\n".join(part for part in (item.held, item.note) if part)


class GenerationsViewModel(ViewModel):
    """Lists generations, promotes, rolls back, and has new ones built."""

    changed = Signal()
    """The list or what can be done changed."""
    promoted = Signal(str)
    """Another generation of the knowledge base of this id is active."""
    done = Signal(str)
    """What was done, in words."""
    held_back = Signal(int, str)
    """The gate refused to promote the generation of this number, for this reason."""

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
        sources.writability_changed.connect(self.changed)
        ingest.finished.connect(self.refresh)
        ingest.changed.connect(self._show_progress)

    @property
    def kb(self) -> KnowledgeBase | None:
        """The knowledge base whose generations are listed."""
        return self._sources.selected

    @property
    def read_only(self) -> str:
        """Why nothing can be changed for now, "" when it can."""
        return self._sources.read_only

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
        return any(row.can_roll_back_to for row in self.rows.items)

    @property
    def can_go_forward(self) -> bool:
        """Whether a rollback can be undone."""
        return any(row.can_go_forward_to for row in self.rows.items)

    @property
    def _building(self) -> bool:
        return self.kb is not None and self._ingest.running_kb == self.kb.id

    def refresh(self) -> None:
        """Read the list again."""
        self.launch("list", self._read())

    def promote(self, number: int, *, force: bool = False) -> None:
        """Make a generation the one searches use; a ready one must pass its gate, unless `force`."""
        if self.kb is not None:
            self.launch("promote", self._promote(self.kb.id, number, force))

    def roll_back(self, number: int | None = None) -> None:
        """Go back to a kept generation; None: the newest before the active one."""
        if self.kb is not None:
            self.launch("promote", self._roll_back(self.kb.id, number))

    def go_forward(self) -> None:
        """Undo one rollback."""
        if self.kb is not None:
            self.launch("promote", self._go_forward(self.kb.id))

    def annotate(self, number: int, note: str) -> None:
        """Write another note on a generation."""
        if self.kb is not None:
            self.launch(f"annotate {number}", self._annotate(self.kb.id, number, note))

    def build(self) -> None:
        """Build a new generation with the knowledge base's present settings."""
        if self.kb is not None:
            self._ingest.jobs.rebuild(self.kb.id)

    async def _promote(self, kb_id: str, number: int, force: bool) -> None:
        try:
            generation = await self._maintenance.promote(kb_id, number, force=force)
        except Conflict:
            await self._read()
            held = next((row.held for row in self.rows.items if row.number == number), "")
            if not held:
                raise
            self.held_back.emit(number, held)
            return
        await self._after(generation)

    async def _roll_back(self, kb_id: str, number: int | None) -> None:
        await self._after(await self._maintenance.rollback(kb_id, number))

    async def _go_forward(self, kb_id: str) -> None:
        await self._after(await self._maintenance.roll_forward(kb_id))

    async def _annotate(self, kb_id: str, number: int, note: str) -> None:
        await self._maintenance.annotate(kb_id, number, note)
        await self._read()

    async def _after(self, active: Generation) -> None:
        await self._sources.refresh()
        await self._read()
        self.promoted.emit(active.kb_id)
        self.done.emit(f"Generation {active.number} answers searches now.")

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
        active = self.active
        # The chip says that it is held back, the sentence only why.
        held = clickable(item.held.removeprefix("Held back: ")) if item.state is GenerationState.READY else ""
        when, before = _moments(item)
        return GenerationRow(
            number=item.number,
            name=f"Generation {item.number}",
            chip="held back" if held else _CHIPS[item.state],
            state=item.state,
            detail=self._detail(item),
            origin=_origin(item),
            held=held,
            note=item.note,
            when=when,
            before=before,
            ahead=active is not None and item.number > active.number,
        )

    def _detail(self, item: Generation) -> str:
        if item.state is GenerationState.FAILED:
            return clickable(item.error.splitlines()[0]) if item.error else "The build failed."
        parts = [item.model.name, f"{item.model.dimension} d"] if item.model is not None else ["keyword search only"]
        parts.append(f"chunk {item.settings.chunk_tokens}/{item.settings.chunk_overlap}")
        if item.state is GenerationState.BUILDING:
            parts.append(f"building, {self._ingest.fraction:.0%}" if self._building else "building")
        else:
            parts += [count(item.documents, "document"), count(item.chunks, "passage")]
        return " · ".join(parts)


def _origin(item: Generation) -> str:
    """`ingest: 3 added · own 3.2 MB, shared 410 MB`."""
    sizes = ""
    if item.state not in (GenerationState.BUILDING, GenerationState.FAILED):
        sizes = f"own {size(item.own_bytes)}"
        if item.shared_bytes:
            sizes += f", shared {size(item.shared_bytes)}"
    note = item.note.splitlines()[0] if item.note else ""
    return " · ".join(part for part in (note, sizes) if part)


def _moments(item: Generation) -> tuple[str, str]:
    """The latest moment of a generation's life in words, and the one before it where that matters."""
    if item.state is GenerationState.BUILDING:
        return f"started {moment(item.created_ms).removeprefix('today ')}", ""
    was_active = f"active {moment(item.promoted_ms)}" if item.promoted_ms is not None else ""
    if item.state is GenerationState.ACTIVE and item.promoted_ms is not None:
        return f"since {moment(item.promoted_ms)}", ""
    if item.state is GenerationState.ARCHIVED and item.archived_ms is not None:
        return f"archived {moment(item.archived_ms)}", was_active
    if item.state is GenerationState.READY and item.ready_ms is not None:
        return f"ready {moment(item.ready_ms)}", ""
    return moment(item.promoted_ms or item.created_ms), ""
