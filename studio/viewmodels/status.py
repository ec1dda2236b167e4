"""The status bar: the active generation, what runs, what is saved, how searching stands, how much memory is in use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from PySide6.QtCore import QObject, Signal

from studio.concurrency import Executor
from studio.services.health_report import HealthReport, text_of
from studio.viewmodels.base import ViewModel
from studio.viewmodels.generations import GenerationsViewModel
from studio.viewmodels.ingest import IngestViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Health, Memory
from studio.viewmodels.text import count, memory, size
from studio.viewmodels.transfers import TransfersViewModel

_MEMORY_INTERVAL_S = 2.0
HEALTH_INTERVAL_S = 30.0
"""Between two looks at the health of searching; each reads the log of the searches."""


class StatusViewModel(ViewModel):
    """Puts the state of the program into a few words."""

    changed = Signal()
    """A text changed."""
    memory_changed = Signal()
    """A new reading of the memory is there."""
    health_changed = Signal()
    """A new report on the health of searching is there."""

    def __init__(
        self,
        memory: Memory,
        health: Health,
        sources: LibraryViewModel,
        generations: GenerationsViewModel,
        ingest: IngestViewModel,
        transfers: TransfersViewModel,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._memory = memory
        self._health = health
        self._sources = sources
        self._generations = generations
        self._ingest = ingest
        self._transfers = transfers
        self._thread = Executor("studio-memory")
        self.memory_text = ""
        self.memory_fraction = 0.0
        self.memory_parts: Mapping[str, int] = {}
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
        """What runs, "" when nothing does."""
        return self._ingest.status

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
    def memory_tip(self) -> str:
        """What holds the memory, line by line."""
        lines = [f"{name}: {size(held)}" for name, held in sorted(self.memory_parts.items(), key=lambda part: -part[1])]
        return "\n".join(["Memory in use, of the budget", *lines])

    @property
    def health(self) -> str:
        """What the chip says, "" while nothing needs attention."""
        return "Search needs attention" if self.health_tip else ""

    @property
    def health_tip(self) -> str:
        """What needs attention, a sentence a line."""
        found = self._report.findings if self._report is not None else []
        return "\n".join(finding.message for finding in found)

    @property
    def health_text(self) -> str:
        """The whole report in words."""
        return text_of(self._report) if self._report is not None else ""

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

    def start(self) -> None:
        """Keep reading the memory."""
        self.launch("memory", self._watch())

    async def close(self) -> None:
        await super().close()
        await asyncio.to_thread(self._thread.close)

    async def _watch(self) -> None:
        while True:
            reading = await self._thread.run(self._memory.snapshot)
            self.memory_text = memory(reading.used_bytes, reading.budget_bytes)
            self.memory_fraction = min(1.0, reading.used_bytes / max(1, reading.budget_bytes))
            self.memory_parts = dict(reading.parts)
            self.memory_changed.emit()
            await asyncio.sleep(_MEMORY_INTERVAL_S)
