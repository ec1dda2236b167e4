"""How short memory is: three levels, judged from what the operating system and the ledger say.

A level is reached at once, as a process over its limit is killed without notice. It is left only after all readings
have stayed below a lower threshold for some seconds, so that nothing is switched off and on again with every reading.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from studio.memory.budget import amount
from studio.memory.readings import MachineReading

HOLD_S = 5.0
"""How long readings must be lower before a level is left: longer than a batch of indexing takes."""


class Level(IntEnum):
    """How short memory is."""

    NORMAL = 0
    ELEVATED = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which value on a level is reached, and below which it is left again."""

    elevated: float
    critical: float
    elevated_ends: float
    critical_ends: float

    def level(self, value: float) -> Level:
        """The level this value reaches."""
        return _level(value, self.elevated, self.critical)

    def kept(self, value: float) -> Level:
        """The highest level this value does not let end."""
        return _level(value, self.elevated_ends, self.critical_ends)


# Below a twentieth of free memory systems begin to swap. Of a group's limit less may be left: nothing but this program
# lives on it. A tenth of the time spent waiting is felt; the oom killers of desktops act at half of it and more.
MACHINE = Thresholds(elevated=0.90, critical=0.95, elevated_ends=0.86, critical_ends=0.92)
GROUP = Thresholds(elevated=0.80, critical=0.90, elevated_ends=0.74, critical_ends=0.84)
STALL = Thresholds(elevated=10.0, critical=30.0, elevated_ends=5.0, critical_ends=15.0)
PRIVATE = Thresholds(elevated=0.85, critical=0.95, elevated_ends=0.78, critical_ends=0.88)
# Mapped files count for the budget, but the system takes their pages back by itself: nothing must stop because of them.
HELD = Thresholds(elevated=0.95, critical=float("inf"), elevated_ends=0.88, critical_ends=float("inf"))


@dataclass(frozen=True, slots=True)
class Usage:
    """What the program holds, in bytes, and its budget. `private` is what only the program can give back."""

    private: int
    mapped: int
    budget: int


@dataclass(frozen=True, slots=True)
class Measure:
    """One value, its thresholds, and what it says in words."""

    thresholds: Thresholds
    value: float
    words: str


class Pressure:
    """The level now (`level`) and why (`reason`, a sentence; "" when memory is not short)."""

    def __init__(self, clock: Callable[[], float], hold_s: float = HOLD_S) -> None:
        self._clock = clock
        self._hold_s = hold_s
        self._lower_since: float | None = None
        self.level = Level.NORMAL
        self.pressing = Level.NORMAL
        self.reason = ""

    def judge(self, machine: MachineReading, usage: Usage) -> Level:
        """Take a reading in. Returns the level it reaches by itself (`pressing`), at most `level`."""
        measures = _measures(machine, usage)
        worst = max(measures, key=lambda measure: (measure.thresholds.level(measure.value), _share(measure)))
        self.pressing = worst.thresholds.level(worst.value)
        keeping = max(measures, key=lambda measure: (measure.thresholds.kept(measure.value), _share(measure)))
        kept = keeping.thresholds.kept(keeping.value)
        if self.pressing > self.level:
            self.level = self.pressing
        if kept >= self.level:
            self._lower_since = None
            self.reason = "" if self.level is Level.NORMAL else keeping.words
        else:
            self._wait()
        return self.pressing

    def _wait(self) -> None:
        """Leave the level for the one below when readings have been lower for long enough."""
        now = self._clock()
        if self._lower_since is None:
            self._lower_since = now
        if now - self._lower_since >= self._hold_s:
            self.level = Level(self.level - 1)
            self._lower_since = now  # the next level down is watched as long
            if self.level is Level.NORMAL:
                self._lower_since, self.reason = None, ""


def _measures(machine: MachineReading, usage: Usage) -> list[Measure]:
    held = usage.private + usage.mapped
    budget = f"of its budget of {amount(usage.budget)}"
    measures = [
        Measure(
            MACHINE,
            1 - machine.available / max(1, machine.total),
            f"The computer has {amount(machine.available)} of its {amount(machine.total)} of memory left.",
        ),
        Measure(PRIVATE, usage.private / max(1, usage.budget), f"The program uses {amount(usage.private)} {budget}."),
        Measure(HELD, held / max(1, usage.budget), f"The program uses {amount(held)} {budget}, mapped files included."),
    ]
    group = machine.tightest
    if group is not None:
        words = f"{amount(group.held)} of the {amount(group.limit)} the program's control group may have are in use."
        measures.append(Measure(GROUP, group.held / group.limit, words))
    if machine.stall is not None:
        words = f"Work waited for memory {machine.stall:.0f} % of the last ten seconds."
        measures.append(Measure(STALL, machine.stall, words))
    return measures


def _share(measure: Measure) -> float:
    """How near a value is to its first threshold, to compare values of different kinds."""
    return measure.value / measure.thresholds.elevated


def _level(value: float, elevated: float, critical: float) -> Level:
    return Level.CRITICAL if value >= critical else Level.ELEVATED if value >= elevated else Level.NORMAL
