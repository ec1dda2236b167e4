"""The one place that knows the memory budget, what is held, how short memory is, and what is given up for it.

Parts of the program register what they hold (`register`), what they can give up (`sacrifices.register`), and ask before
they take much (`admit`). The coordinator knows none of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from studio.errors import MemoryRefused
from studio.memory.actions import PAUSE_INGEST, Sacrifices, Step
from studio.memory.budget import Budget, Grant, amount, budget_bytes
from studio.memory.ledger import APPLICATION, Holding, Kind, Ledger
from studio.memory.pressure import HOLD_S, Level, Pressure, Usage
from studio.memory.readings import MachineReading, ProcessReading, machine_reading, process_reading

log = logging.getLogger(__name__)

INTERVALS_S = {Level.NORMAL: 3.0, Level.ELEVATED: 1.0, Level.CRITICAL: 0.5}
"""Between two readings, which take some milliseconds each."""
_SENTENCES = {
    Level.NORMAL: "",
    Level.ELEVATED: "Memory is getting short. Search still works.",
    Level.CRITICAL: "Memory is short. Search still works.",
}


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """What the program holds now, in bytes, and how short memory is.

    `parts` are the components that count against the budget; `holdings` tell them apart by kind, page cache included.
    `sentence` says what a person should know, `reason` why; both are "" when memory is not short.
    """

    used_bytes: int
    budget_bytes: int
    parts: Mapping[str, int]
    holdings: tuple[Holding, ...] = ()
    level: Level = Level.NORMAL
    sentence: str = ""
    reason: str = ""


class MemoryCoordinator:
    """Owns budget, ledger, pressure and sacrifices.

    `workers` returns the worker processes that run now, as name → process ids. Apart from `snapshot()`, to be used on
    the event loop. `step()` is one turn of `run()`.
    """

    def __init__(
        self,
        budget_mib: int,
        workers: Callable[[], Mapping[str, Sequence[int]]],
        *,
        read_machine: Callable[[], MachineReading] = machine_reading,
        read_process: Callable[[int], ProcessReading | None] = process_reading,
        clock: Callable[[], float] = time.monotonic,
        hold_s: float = HOLD_S,
    ) -> None:
        self._read_machine = read_machine
        self._budget_mib = budget_mib
        ceiling = read_machine().ceiling
        self.budget = Budget(budget_bytes(ceiling, budget_mib), ceiling)
        self.sacrifices = Sacrifices()
        self._ledger = Ledger(workers, read_process)
        self._pressure = Pressure(clock, hold_s)
        self._listeners: list[Callable[[], None]] = []
        self._announced: tuple[object, ...] = self._state()

    @property
    def level(self) -> Level:
        return self._pressure.level

    @property
    def reason(self) -> str:
        """Why memory is short, in a sentence; "" when it is not."""
        return self._pressure.reason

    @property
    def engaged(self) -> list[Step]:
        """The sacrifices that are made now, in order."""
        return list(dict.fromkeys(action.step for action in self.sacrifices.engaged))

    @property
    def sentence(self) -> str:
        """What a person should know: that ingest waits, else the last sacrifice, else the level; "" when none."""
        steps = self.engaged
        if not steps:
            return _SENTENCES[self.level]
        return (PAUSE_INGEST if PAUSE_INGEST in steps else steps[-1]).sentence

    def register(
        self, name: str, held: Callable[[], int], kind: Kind = Kind.PRIVATE, inside: str = APPLICATION
    ) -> Callable[[], None]:
        """Enter a part into the ledger: `held` returns bytes, quickly, and is called in a thread.

        Several sources of one name add up. `inside` is the process it is part of. Returns what takes it back.
        """
        return self._ledger.register(name, held, kind, inside)

    def admit(
        self,
        component: str,
        *,
        minimum: int,
        preferred: int | None = None,
        maximum: int | None = None,
        resized: Callable[[int], None] | None = None,
        smaller: str = "",
    ) -> Grant:
        """Ask for memory before taking it; see `Budget.admit`.

        Raises MemoryRefused when the budget, or the computer as it is now, has no room for the minimum.
        """
        headroom = self._read_machine().headroom
        if minimum > headroom:
            raise MemoryRefused(
                f"“{component}” needs {amount(minimum)} of memory, and the computer has {amount(headroom)} left.",
                way_out=f"{smaller}, or close other programs." if smaller else "Close other programs.",
            )
        return self.budget.admit(
            component, minimum=minimum, preferred=preferred, maximum=maximum, resized=resized, smaller=smaller
        )

    def set_budget(self, budget_mib: int) -> None:
        """Set another budget in MiB, 0 for the default. Who holds a grant hears of its new size."""
        self._budget_mib = budget_mib
        self._fit(self._read_machine().ceiling)

    def snapshot(self) -> MemorySnapshot:
        """What is held now. Blocking for some milliseconds; call it from a thread."""
        holdings = self._ledger.read()
        parts = {holding.name: holding.counted for holding in holdings if holding.counted or not holding.cached}
        return MemorySnapshot(
            sum(parts.values()), self.budget.total, parts, holdings, self.level, self.sentence, self.reason
        )

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Be called on the event loop whenever level, reason or sacrifices changed. Returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def step(self) -> None:
        """Read once, and give up or take back what the reading asks for."""
        pressing = await self._look()
        await self.sacrifices.follow(self.level, pressing, self._look)
        self._announce()

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Step for ever, more often the shorter memory is. A reading that fails is logged, and the next one tried."""
        while True:
            try:
                await self.step()
            except Exception:
                log.exception("memory: a reading failed")
            await sleep(INTERVALS_S[self.level])

    def _fit(self, ceiling: int) -> None:
        """Keep the budget below what is there: the limit of a control group may change while the program runs."""
        total = budget_bytes(ceiling, self._budget_mib)
        if (total, ceiling) != (self.budget.total, self.budget.ceiling):
            self.budget.resize(total, ceiling)

    async def _look(self) -> Level:
        machine, held = await asyncio.to_thread(lambda: (self._read_machine(), self._ledger.read()))
        self._fit(machine.ceiling)
        usage = Usage(
            sum(holding.private for holding in held), sum(holding.mapped for holding in held), self.budget.total
        )
        before = self.level
        pressing = self._pressure.judge(machine, usage)
        if self.level is not before:
            log.log(
                logging.INFO if self.level < before else logging.WARNING,
                "memory: %s → %s. %s",
                before.name.lower(),
                self.level.name.lower(),
                self.reason,
            )
        return pressing

    def _state(self) -> tuple[object, ...]:
        return self.level, self.reason, self.engaged

    def _announce(self) -> None:
        state = self._state()
        if state != self._announced:
            self._announced = state
            for listener in list(self._listeners):
                listener()
