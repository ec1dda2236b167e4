"""The status bar: the active generation, what runs, what is saved, how searching stands, how short memory is."""

from __future__ import annotations

import asyncio
import time

from PySide6.QtCore import QObject, Signal

from studio.services.health import HealthReport, text_of
from studio.viewmodels.base import ViewModel
from studio.viewmodels.generations import GenerationsViewModel, TransfersViewModel
from studio.viewmodels.ingest import IngestViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.memory import MemoryViewModel
from studio.viewmodels.ports import Health
from studio.viewmodels.text import count
from studio.viewmodels.ways_out import clickable

HEALTH_INTERVAL_S = 30.0
"""Between two looks at the health of searching; each reads the log of the searches."""


class StatusViewModel(ViewModel):
    """Puts the state of the program into a few words."""

    changed = Signal()
    """A text changed."""
    health_changed = Signal()
    """A new report on the health of searching is there."""

    def __init__(
        self,
        memory: MemoryViewModel,
        health: Health,
        sources: LibraryViewModel,
        generations: GenerationsViewModel,
        ingest: IngestViewModel,
        transfers: TransfersViewModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.memory = memory
        self._health = health
        self._sources = sources
        self._generations = generations
        self._ingest = ingest
        self._transfers = transfers
        self._report: HealthReport | None = None
        self._looked = -HEALTH_INTERVAL_S
        self._look: asyncio.Task[None] | None = None
        for signal in (
            sources.changed,
            sources.selection_changed,
            sources.writability_changed,
            generations.changed,
            ingest.changed,
            transfers.changed,
            memory.changed,
        ):
            signal.connect(self.changed)

    @property
    def generation(self) -> str:
        """`Generation 42 · bge-small · 384 d`."""
        kb = self._sources.selected
        if kb is None:
            bases = self._sources.knowledge_bases
            return f"All sources · {count(len(bases), 'knowledge base')}" if bases else "No knowledge base yet"
        active = self._generations.active
        if kb.active_generation is None:
            return f"{kb.name} · nothing indexed yet"
        if active is None or active.number != kb.active_generation:
            return f"Generation {kb.active_generation}"
        parts = [f"Generation {active.number}"]
        parts += [active.model.name, f"{active.model.dimension} d"] if active.model else ["keyword search only"]
        return " · ".join(parts)

    @property
    def is_live(self) -> bool:
        """Whether the chip names a generation that answers searches."""
        kb = self._sources.selected
        return kb is not None and kb.active_generation is not None

    @property
    def activity(self) -> str:
        """What runs, "" when nothing does. Why memory lets it wait is said once, beside the gauge."""
        said = self._ingest.status
        return f"Ingest paused, {self.fraction:.0%}" if said and said == self.memory.sentence else said

    @property
    def fraction(self) -> float:
        """How far what runs has come, 0..1."""
        return self._ingest.fraction

    @property
    def transfer(self) -> str:
        """Which export or import runs, "" when none does."""
        return self._transfers.text

    @property
    def transfer_fraction(self) -> float:
        """How far the export or import has come, 0..1."""
        return self._transfers.fraction

    def cancel_transfers(self) -> None:
        """Stop exports and imports."""
        self._transfers.cancel_all()

    @property
    def read_only(self) -> str:
        """Why nothing can be changed for now, "" when it can."""
        return self._sources.read_only

    @property
    def saved(self) -> str:
        """Whether everything is on disk."""
        if self.read_only:
            return "Read-only"
        return "Indexing…" if self._ingest.running else "All changes saved"

    @property
    def health(self) -> str:
        """What the chip says, "" while nothing needs attention."""
        return "Search needs attention" if self.health_tip else ""

    @property
    def health_tip(self) -> str:
        """What needs attention, a sentence a line."""
        found = self._report.findings if self._report is not None else []
        return clickable("\n".join(finding.message for finding in found))

    @property
    def health_text(self) -> str:
        """The whole report in words."""
        return clickable(text_of(self._report)) if self._report is not None else ""

    def look_at_health(self) -> None:
        """See how searching stands, soon: not more often than every half minute, and never in the way of a search."""
        if self._look is None or self._look.done():
            self._look = self.launch("health", self._look_at_health())

    def measure_health(self) -> None:
        """Make the full report, with the recall measured now."""
        self.launch("measure", self._read_health(measure=True))

    async def _look_at_health(self) -> None:
        await asyncio.sleep(max(0.0, self._looked + HEALTH_INTERVAL_S - time.monotonic()))
        await self._read_health(measure=False)

    async def _read_health(self, *, measure: bool) -> None:
        self._looked = time.monotonic()
        self._report = await self._health.report(measure=measure)
        self.health_changed.emit()
