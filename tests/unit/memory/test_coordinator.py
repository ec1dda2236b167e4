from __future__ import annotations

import asyncio
import os
import threading

import psutil
import pytest

from studio.errors import MemoryRefused
from studio.memory import (
    APPLICATION,
    DROP_CACHES,
    GIB,
    ORDER,
    PAUSE_INGEST,
    SMALLER_BATCHES,
    UNLOAD_IDLE_MODELS,
    Kind,
    Level,
    MachineReading,
    MemoryCoordinator,
    ProcessReading,
    Step,
)
from studio.memory.readings import Group

NORMAL, ELEVATED, CRITICAL = Level
TOTAL = 8 * GIB
EASY = MachineReading(TOTAL, TOTAL // 2)
TIGHT = MachineReading(TOTAL, TOTAL * 8 // 100)
SHORT = MachineReading(TOTAL, TOTAL * 3 // 100)


class Bench:
    """A coordinator whose readings and clock are made up."""

    def __init__(self, budget_mib: int = 1000) -> None:
        self.machine = EASY
        self.process = ProcessReading(300 << 20, 200 << 20, 100 << 20)
        self.now = 0.0
        self.gives: dict[str, MachineReading] = {}
        self.told: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.memory = MemoryCoordinator(
            budget_mib,
            dict,
            read_machine=lambda: self.machine,
            read_process=self._read_process,
            clock=lambda: self.now,
            hold_s=5.0,
        )

    def _read_process(self, pid: int) -> ProcessReading:
        self.threads.add(threading.current_thread())
        return self.process

    def sacrifice(self, step: Step) -> None:
        async def engage() -> None:
            self.told.append(step.name)
            self.machine = self.gives.get(step.name, self.machine)

        async def release() -> None:
            self.told.append(f"-{step.name}")

        self.memory.sacrifices.register(step, "part", engage, release)

    async def reads(self, machine: MachineReading, *, after_s: float = 0.0) -> Level:
        self.machine = machine
        self.now += after_s
        self.told.clear()
        await self.memory.step()
        return self.memory.level


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def whole(bench: Bench) -> Bench:
    """With a part at every step."""
    for step in ORDER:
        bench.sacrifice(step)
    return bench


async def test_memory_gets_short_and_recovers(whole: Bench) -> None:
    names = [step.name for step in ORDER]
    memory = whole.memory
    assert await whole.reads(EASY) is NORMAL
    assert (whole.told, memory.sentence, memory.reason) == ([], "", "")
    assert await whole.reads(TIGHT) is ELEVATED
    assert whole.told == names[:3]
    assert memory.sentence == "Memory is getting short: what is indexed goes to the disk earlier."
    assert memory.reason == "The computer has 687 MB of its 8.59 GB of memory left."
    assert await whole.reads(SHORT) is CRITICAL
    assert whole.told == names[3:]
    assert memory.engaged == list(ORDER)
    assert memory.sentence == "Ingest paused: memory is short. Search still works."
    assert await whole.reads(EASY) is CRITICAL
    assert whole.told == []
    assert await whole.reads(EASY, after_s=5) is ELEVATED
    assert whole.told == ["-drop_caches", "-unload_idle_models", "-pause_ingest"]
    assert await whole.reads(EASY, after_s=5) is NORMAL
    assert whole.told == ["-flush", "-smaller_caches", "-smaller_batches"]
    assert (memory.engaged, memory.sentence, memory.reason) == ([], "", "")


async def test_memory_is_read_after_each_sacrifice(whole: Bench) -> None:
    whole.gives = {"smaller_caches": EASY}
    assert await whole.reads(TIGHT) is ELEVATED
    assert whole.told == ["smaller_batches", "smaller_caches"]


@pytest.mark.parametrize("step", ORDER, ids=lambda step: step.name)
async def test_every_action_by_itself(bench: Bench, step: Step) -> None:
    bench.sacrifice(step)
    await bench.reads(TIGHT)
    assert bench.told == ([step.name] if step.level is ELEVATED else [])
    await bench.reads(SHORT)
    assert bench.memory.engaged == [step]
    assert bench.memory.sentence == step.sentence
    assert bench.memory.snapshot().sentence == step.sentence
    await bench.reads(EASY)
    await bench.reads(EASY, after_s=5)
    await bench.reads(EASY, after_s=5)
    assert bench.memory.engaged == []
    assert bench.memory.sentence == ""


async def test_a_level_at_which_nothing_can_be_given_up_is_still_told(bench: Bench) -> None:
    await bench.reads(TIGHT)
    assert bench.memory.sentence == "Memory is getting short. Search still works."
    await bench.reads(SHORT)
    assert bench.memory.sentence == "Memory is short. Search still works."


async def test_the_programs_own_use_is_pressure_too(bench: Bench) -> None:
    bench.process = ProcessReading(0, 960 << 20, 0)
    assert await bench.reads(EASY) is CRITICAL
    assert bench.memory.reason == "The program uses 1.01 GB of its budget of 1.05 GB."
    other = Bench()
    other.process = ProcessReading(0, 100 << 20, 3000 << 20)
    assert await other.reads(EASY) is ELEVATED


async def test_readings_are_made_in_a_thread(bench: Bench) -> None:
    await bench.reads(EASY)
    assert bench.threads and threading.main_thread() not in bench.threads


async def test_listeners_hear_of_changes_only(whole: Bench) -> None:
    heard: list[Level] = []
    stop = whole.memory.subscribe(lambda: heard.append(whole.memory.level))
    await whole.reads(EASY)
    await whole.reads(TIGHT)
    await whole.reads(TIGHT)
    await whole.reads(SHORT)
    assert heard == [ELEVATED, CRITICAL]
    stop()
    await whole.reads(EASY)
    await whole.reads(EASY, after_s=5)
    assert heard == [ELEVATED, CRITICAL]


async def test_changes_of_level_are_in_the_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await bench.reads(SHORT)
    await bench.reads(EASY)
    await bench.reads(EASY, after_s=5)
    assert [record.getMessage() for record in caplog.records if "→" in record.getMessage()] == [
        "memory: normal → critical. The computer has 258 MB of its 8.59 GB of memory left.",
        "memory: critical → elevated. The computer has 258 MB of its 8.59 GB of memory left.",
    ]


async def test_it_runs_more_often_when_memory_is_short(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    script: list[MachineReading | None] = [EASY, TIGHT, None, SHORT]
    waits: list[float] = []

    def read() -> MachineReading:
        reading = script[len(waits)]
        if reading is None:
            raise OSError("no reading")
        return reading

    bench.memory._read_machine = read

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == len(script):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await bench.memory.run(sleep)
    assert waits == [3.0, 1.0, 1.0, 0.5]
    assert bench.memory.level is CRITICAL  # one that failed does not end it
    assert "no reading" in caplog.text


async def test_the_snapshot(bench: Bench) -> None:
    bench.memory.register("vector caches", lambda: 50 << 20)
    bench.memory.register("page cache", lambda: 900 << 20, Kind.CACHED)
    await bench.reads(SHORT)
    found = await asyncio.to_thread(bench.memory.snapshot)
    assert found.used_bytes == 300 << 20
    assert found.budget_bytes == 1000 << 20
    assert found.parts == {APPLICATION: 250 << 20, "vector caches": 50 << 20}
    assert {holding.name: holding.cached for holding in found.holdings}["page cache"] == 900 << 20
    assert (found.level, found.sentence) == (CRITICAL, "Memory is short. Search still works.")
    assert found.reason == bench.memory.reason != ""


def test_the_ledger_of_this_process() -> None:
    found = MemoryCoordinator(2048, lambda: {"model": [os.getpid()], "parsers": [], "gone": [2**22 + 1]}).snapshot()
    resident = psutil.Process().memory_info().rss
    assert found.budget_bytes == min(2048 << 20, psutil.virtual_memory().total)
    assert 0.5 * resident < found.parts["model"] <= 1.1 * resident  # without what others share with it
    assert (found.parts["parsers"], found.parts["gone"]) == (0, 0)
    assert found.used_bytes == sum(found.parts.values())


def test_what_is_asked_for_is_admitted_or_refused_with_numbers(bench: Bench) -> None:
    grant = bench.memory.admit("model", minimum=400 << 20, preferred=500 << 20)
    assert grant.size == 500 << 20
    with pytest.raises(MemoryRefused, match="held by “model” 419 MB"):
        bench.memory.admit("build", minimum=700 << 20)
    grant.release()
    bench.memory.admit("build", minimum=700 << 20)


def test_the_computer_as_it_is_now_counts_too(bench: Bench) -> None:
    group = Group("/g", 1200 << 20, usage=1100 << 20, file_cache=100 << 20)
    bench.machine = MachineReading(TOTAL, TOTAL // 2, (group,))
    with pytest.raises(MemoryRefused) as refused:
        bench.memory.admit("build", minimum=250 << 20, smaller="Choose a smaller batch")
    assert str(refused.value) == "“build” needs 262 MB of memory, and the computer has 210 MB left."
    assert refused.value.way_out == "Choose a smaller batch, or close other programs."
    with pytest.raises(MemoryRefused) as refused:
        bench.memory.admit("build", minimum=250 << 20)
    assert refused.value.way_out == "Close other programs."
    bench.memory.admit("build", minimum=200 << 20)


async def test_the_budget_follows_setting_and_limit() -> None:
    bench = Bench(budget_mib=0)
    sizes: list[int] = []
    bench.memory.admit("cache", minimum=1, preferred=TOTAL, resized=sizes.append)
    assert bench.memory.budget.total == 4 * GIB
    bench.memory.set_budget(2048)
    assert sizes == [2 * GIB]
    # A control group may get another limit while the program runs.
    await bench.reads(MachineReading(TOTAL, TOTAL // 2, (Group("/g", GIB, 10, 0),)))
    assert sizes == [2 * GIB, GIB]
    await bench.reads(EASY)
    bench.memory.set_budget(0)
    assert sizes == [2 * GIB, GIB, 2 * GIB, 4 * GIB]


async def test_what_people_read_first_is_that_ingest_waits(bench: Bench) -> None:
    for step in (SMALLER_BATCHES, PAUSE_INGEST, UNLOAD_IDLE_MODELS, DROP_CACHES):
        bench.sacrifice(step)
    await bench.reads(SHORT)
    assert bench.memory.engaged[-1] is DROP_CACHES
    assert bench.memory.sentence == PAUSE_INGEST.sentence
