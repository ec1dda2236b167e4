"""The memory: how much is in use, who holds it, how short it is, and what that means for people."""

from __future__ import annotations

import asyncio

from PySide6.QtCore import QObject, Signal

from studio.concurrency import Attention, Executor
from studio.memory import PAUSE_INGEST, Holding, Level, MemorySnapshot
from studio.viewmodels.base import ViewModel
from studio.viewmodels.ports import Memory
from studio.viewmodels.text import component, memory, size

_INTERVAL_S = 2.0
_INTERVAL_QUIET_S = 60.0
"""While nothing is at work: a reading walks all pages of each process."""
_INTERVAL_SHOWN_S = 1.0
"""While the ledger is looked at."""
_ENOUGH = "There is enough memory."


class Part(Holding):
    """What one component holds, as a person reads it."""

    __slots__ = ()

    @property
    def amount(self) -> str:
        """The size to show: what counts, or the cached files of a part that has nothing else."""
        return size(self.counted or self.cached)

    @property
    def detail(self) -> str:
        """`95 MB of its own · 36 MB mapped from files`."""
        kinds = (
            (self.private, "of its own"),
            (self.mapped, "mapped from files"),
            (self.cached, "cached by the system, not counted"),
        )
        return " · ".join(f"{size(held)} {kind}" for held, kind in kinds if held) or "nothing"


class MemoryViewModel(ViewModel):
    """Reads the memory, in a thread, every two seconds while something is at work, and when the level changed."""

    changed = Signal()
    """A new reading is there."""

    def __init__(self, memory: Memory, parent: QObject | None = None, *, attention: Attention | None = None) -> None:
        super().__init__(parent)
        self._attention = attention or Attention()
        self._memory = memory
        self._thread = Executor("studio-memory")
        self._wake = asyncio.Event()
        self._unsubscribe = memory.subscribe(self.look)
        self._reading = MemorySnapshot(0, 0, {})
        self._shown = False
        self._parts: dict[str, Part] = {}

    # ------------------------------------------------------------ in words

    @property
    def text(self) -> str:
        """`1.24 of 4.0 GB`, "" before the first reading."""
        return memory(self.used_bytes, self.budget_bytes) if self.budget_bytes else ""

    @property
    def fraction(self) -> float:
        """How much of the budget is in use, 0..1."""
        return min(1.0, self.used_bytes / max(1, self.budget_bytes))

    @property
    def used_bytes(self) -> int:
        """What counts against the budget now."""
        return self._reading.used_bytes

    @property
    def budget_bytes(self) -> int:
        """The budget, 0 before the first reading."""
        return self._reading.budget_bytes

    @property
    def level(self) -> Level:
        """How short memory is."""
        return self._reading.level

    @property
    def sentence(self) -> str:
        """What a person should know, "" while memory is not short."""
        return self._reading.sentence

    @property
    def reason(self) -> str:
        """Why memory is short, "" when it is not."""
        return self._reading.reason

    @property
    def state(self) -> str:
        """The sentence and its reason; a word that all is well when there is none."""
        return " ".join(filter(None, (self.sentence, self.reason))) or _ENOUGH

    @property
    def pause(self) -> str:
        """Why ingest waits for memory, "" when it does not."""
        return self.state if self.sentence == PAUSE_INGEST.sentence else ""

    @property
    def tip(self) -> str:
        """Who holds what, line by line."""
        parts = sorted(self._held(), key=lambda part: -part.counted)
        lines = [f"{part.name}: {part.amount}" for part in parts if part.counted]
        return "\n".join([*filter(None, (self.sentence, self.reason)), "Memory in use, of the budget", *lines])

    @property
    def total(self) -> Part:
        """All that counts, as one part."""
        held = self._reading.holdings
        return Part("In use", sum(part.private for part in held), sum(part.mapped for part in held))

    @property
    def parts(self) -> tuple[Part, ...]:
        """Who holds what. While it is shown, every part keeps its place, one that holds nothing any more too."""
        return tuple(self._parts.values())

    # ------------------------------------------------------------ reading

    def start(self) -> None:
        """Keep reading."""
        self.launch("memory", self._watch())

    def look(self) -> None:
        """Read as soon as the reading under way is through."""
        self._wake.set()

    def set_shown(self, shown: bool) -> None:
        """The parts come on the screen, the largest first, and stay where they are until they go from it."""
        self._shown = shown
        if shown:
            held = sorted(self._held(), key=lambda part: (-part.counted, -part.cached))
            self._parts = {part.name: part for part in held}
            self.look()

    async def close(self) -> None:
        self._unsubscribe()
        await super().close()
        await asyncio.to_thread(self._thread.close)

    async def _watch(self) -> None:
        while True:
            self._wake.clear()
            self._reading = await self._thread.run(self._memory.snapshot)
            self._place()
            self.changed.emit()
            interval_s = _INTERVAL_QUIET_S if self._attention.is_quiet else _INTERVAL_S
            await self._attention.pause(_INTERVAL_SHOWN_S if self._shown else interval_s, self._wake)

    def _place(self) -> None:
        held = {part.name: part for part in self._held()}
        gone = {name: Part(name) for name in self._parts} if self._shown else {}
        self._parts = {**gone, **held}

    def _held(self) -> list[Part]:
        """The parts that hold anything."""
        return [
            Part(component(held.name), held.private, held.mapped, held.cached)
            for held in self._reading.holdings
            if held.counted or held.cached
        ]
