from __future__ import annotations

import pytest

from studio.memory import GIB, Level, MachineReading
from studio.memory.pressure import Pressure, Usage
from studio.memory.readings import Group

NORMAL, ELEVATED, CRITICAL = Level
CALM = Usage(private=100, mapped=0, budget=1000)


class Bench:
    """A judge on a clock that stands still unless it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pressure = Pressure(lambda: self.now, hold_s=5.0)

    def reads(
        self, *, left: float = 0.5, group: float | None = None, stall: float | None = None, usage: Usage = CALM
    ) -> Level:
        """One reading: the share of the machine that is left, the share of the group's limit that is in use."""
        groups = (Group("/g", 1_200_000_000, round(1_200_000_000 * group) + 77, 77),) if group is not None else ()
        self.pressure.judge(MachineReading(8 * GIB, round(8 * GIB * left), groups, stall), usage)
        return self.pressure.level


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("reading", "level", "words"),
    [
        ({}, NORMAL, ""),
        ({"left": 0.101}, NORMAL, ""),
        ({"left": 0.099}, ELEVATED, "The computer has 850 MB of its 8.59 GB of memory left."),
        ({"left": 0.049}, CRITICAL, "The computer has 421 MB of its 8.59 GB of memory left."),
        ({"group": 0.79}, NORMAL, ""),
        ({"group": 0.81}, ELEVATED, "972 MB of the 1.20 GB the program's control group may have are in use."),
        ({"group": 0.91}, CRITICAL, "1.09 GB of the 1.20 GB the program's control group may have are in use."),
        ({"stall": 9.9}, NORMAL, ""),
        ({"stall": 10.0}, ELEVATED, "Work waited for memory 10 % of the last ten seconds."),
        ({"stall": 31.4}, CRITICAL, "Work waited for memory 31 % of the last ten seconds."),
        ({"usage": Usage(849 * 10**6, 0, 10**9)}, NORMAL, ""),
        ({"usage": Usage(851 * 10**6, 0, 10**9)}, ELEVATED, "The program uses 851 MB of its budget of 1.00 GB."),
        ({"usage": Usage(960 * 10**6, 0, 10**9)}, CRITICAL, "The program uses 960 MB of its budget of 1.00 GB."),
        (
            {"usage": Usage(100 * 10**6, 4400 * 10**6, 10**9)},
            ELEVATED,  # the system can take the pages of files back: no reason to stop anything
            "The program uses 4.50 GB of its budget of 1.00 GB, mapped files included.",
        ),
        (
            {"left": 0.099, "stall": 50.0, "group": 0.85},
            CRITICAL,
            "Work waited for memory 50 % of the last ten seconds.",
        ),
    ],
)
def test_every_measure_reaches_every_level(bench: Bench, reading: dict, level: Level, words: str) -> None:
    assert bench.reads(**reading) is level
    assert bench.pressure.pressing is level
    assert bench.pressure.reason == words


def test_the_cache_of_files_is_no_pressure(bench: Bench) -> None:
    group = Group("/g", 1000, usage=990, file_cache=400)
    bench.pressure.judge(MachineReading(8 * GIB, 4 * GIB, (group,)), CALM)
    assert bench.pressure.level is NORMAL


def test_levels_rise_at_once_and_fall_step_by_step(bench: Bench) -> None:
    assert bench.reads(left=0.01) is CRITICAL
    assert bench.reads() is CRITICAL
    assert bench.pressure.pressing is NORMAL
    assert bench.pressure.reason == "The computer has 86 MB of its 8.59 GB of memory left."
    bench.now += 4.9
    assert bench.reads() is CRITICAL
    bench.now += 0.1
    assert bench.reads() is ELEVATED
    bench.now += 4.9
    assert bench.reads() is ELEVATED
    bench.now += 0.1
    assert bench.reads() is NORMAL
    assert bench.pressure.reason == ""


def test_a_single_lower_reading_starts_no_clock_that_runs_on(bench: Bench) -> None:
    bench.reads(left=0.09)
    bench.reads()
    bench.now += 4
    bench.reads(left=0.09)
    bench.now += 4
    assert bench.reads() is ELEVATED
    bench.now += 4
    assert bench.reads() is ELEVATED
    bench.now += 1
    assert bench.reads() is NORMAL


@pytest.mark.parametrize(
    ("reached", "between", "below"),
    [
        ({"left": 0.09}, {"left": 0.12}, {"left": 0.15}),
        ({"group": 0.81}, {"group": 0.76}, {"group": 0.73}),
        ({"stall": 12.0}, {"stall": 6.0}, {"stall": 4.0}),
        ({"usage": Usage(86, 0, 100)}, {"usage": Usage(80, 0, 100)}, {"usage": Usage(77, 0, 100)}),
        ({"usage": Usage(0, 96, 100)}, {"usage": Usage(0, 90, 100)}, {"usage": Usage(0, 87, 100)}),
    ],
)
def test_between_the_thresholds_a_level_lasts(bench: Bench, reached: dict, between: dict, below: dict) -> None:
    assert bench.reads(**between) is NORMAL
    assert bench.reads(**reached) is ELEVATED
    for _ in range(10):
        bench.now += 60
        assert bench.reads(**between) is ELEVATED
        assert bench.pressure.pressing is NORMAL
    bench.reads(**below)
    bench.now += 5
    assert bench.reads(**below) is NORMAL


def test_critical_lasts_between_its_thresholds(bench: Bench) -> None:
    bench.reads(left=0.04)
    bench.now += 60
    assert bench.reads(left=0.07) is CRITICAL
    assert bench.pressure.pressing is ELEVATED
    assert bench.pressure.reason == "The computer has 601 MB of its 8.59 GB of memory left."
    bench.reads(left=0.09)
    bench.now += 5
    assert bench.reads(left=0.09) is ELEVATED
    bench.now += 600
    assert bench.reads(left=0.09) is ELEVATED  # below the threshold of critical, not of elevated


def test_the_level_rises_again_while_it_waits_to_fall(bench: Bench) -> None:
    bench.reads(left=0.09)
    bench.reads()
    bench.now += 3
    assert bench.reads(left=0.01) is CRITICAL
