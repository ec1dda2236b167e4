from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from studio.errors import InvariantViolated
from studio.memory import (
    DROP_CACHES,
    FLUSH,
    ORDER,
    PAUSE_INGEST,
    SMALLER_BATCHES,
    SMALLER_CACHES,
    UNLOAD_IDLE_MODELS,
    Level,
    Step,
)
from studio.memory.actions import Sacrifices

NORMAL, ELEVATED, CRITICAL = Level
GIVEN_UP = [
    "smaller_batches",
    "smaller_caches",
    "flush",
    "pause_ingest",
    "unload_idle_models",
    "drop_caches",
]


class Program:
    """Parts that write down what they are told."""

    def __init__(self) -> None:
        self.sacrifices = Sacrifices()
        self.told: list[str] = []
        self.failing: set[str] = set()
        self.readings: list[Level] = []

    def part(self, step: Step, part: str = "part", name: str = "") -> Callable[[], None]:
        name = name or step.name

        def call(text: str) -> Callable[[], Awaitable[None]]:
            async def told() -> None:
                self.told.append(text)
                if text in self.failing:
                    raise OSError("cannot")

            return told

        again = call(f"{name} again") if step is UNLOAD_IDLE_MODELS else None
        return self.sacrifices.register(step, part, call(name), call(f"-{name}"), again)

    async def at(self, held: Level, pressing: Level | None = None, *then: Level) -> list[str]:
        """What the parts are told at a level; `then` are the readings after each, the last of which stays."""
        self.told.clear()
        self.readings = list(then) or [held if pressing is None else pressing]

        async def look() -> Level:
            return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]

        await self.sacrifices.follow(held, held if pressing is None else pressing, look)
        return list(self.told)

    @property
    def engaged(self) -> list[str]:
        return [action.step.name for action in self.sacrifices.engaged]


@pytest.fixture
def program() -> Program:
    program = Program()
    for step in reversed(ORDER):  # the order of registration is not the order of sacrifice
        program.part(step)
    return program


def test_the_order_of_sacrifice() -> None:
    assert [(step.name, step.level) for step in ORDER] == [
        ("smaller_batches", ELEVATED),
        ("smaller_caches", ELEVATED),
        ("flush", ELEVATED),
        ("pause_ingest", CRITICAL),
        ("unload_idle_models", CRITICAL),
        ("drop_caches", CRITICAL),
    ]
    assert PAUSE_INGEST.sentence == "Ingest paused: memory is short. Search still works."
    assert all(step.sentence.endswith(".") for step in ORDER)


async def test_each_level_gives_up_its_own_and_takes_it_back_in_reverse(program: Program) -> None:
    assert await program.at(NORMAL) == []
    assert await program.at(ELEVATED) == GIVEN_UP[:3]
    assert program.engaged == GIVEN_UP[:3]
    assert await program.at(ELEVATED) == []
    assert await program.at(CRITICAL) == GIVEN_UP[3:]
    assert program.engaged == GIVEN_UP
    assert await program.at(ELEVATED) == ["-drop_caches", "-unload_idle_models", "-pause_ingest"]
    assert program.engaged == GIVEN_UP[:3]
    assert await program.at(NORMAL) == ["-flush", "-smaller_caches", "-smaller_batches"]
    assert program.engaged == []
    assert await program.at(NORMAL) == []


async def test_critical_at_once_begins_with_what_hurts_least(program: Program) -> None:
    assert await program.at(CRITICAL) == GIVEN_UP
    assert await program.at(NORMAL) == [f"-{name}" for name in reversed(GIVEN_UP)]


async def test_nothing_more_is_given_up_once_a_reading_is_better(program: Program) -> None:
    assert await program.at(ELEVATED, ELEVATED, NORMAL) == GIVEN_UP[:1]
    assert await program.at(ELEVATED, NORMAL) == []  # the level is held, but nothing presses
    assert await program.at(ELEVATED, ELEVATED, NORMAL) == GIVEN_UP[1:2]
    assert await program.at(CRITICAL, CRITICAL, CRITICAL, CRITICAL, ELEVATED) == GIVEN_UP[2:5]
    assert program.engaged == GIVEN_UP[:5]


async def test_a_reading_in_between_can_be_worse(program: Program) -> None:
    assert await program.at(ELEVATED, ELEVATED, ELEVATED, CRITICAL) == GIVEN_UP


async def test_what_there_is_later_is_given_up_too(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    await program.at(CRITICAL)
    caplog.clear()
    assert await program.at(CRITICAL) == ["unload_idle_models again"]
    assert await program.at(CRITICAL, ELEVATED) == []
    assert program.engaged == GIVEN_UP
    assert caplog.text == ""  # said once


async def test_one_that_fails_does_not_stop_the_others(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    program.failing = {"smaller_caches", "-pause_ingest"}
    assert await program.at(CRITICAL) == GIVEN_UP
    assert program.engaged == [name for name in GIVEN_UP if name != "smaller_caches"]
    assert "smaller_caches of part failed" in caplog.text
    assert "smaller_caches" not in await program.at(CRITICAL)  # not tried with every reading
    assert await program.at(NORMAL) == [f"-{name}" for name in reversed(GIVEN_UP)]  # half of it may have been done
    assert "taking back pause_ingest of part failed" in caplog.text
    program.failing = set()
    await program.at(CRITICAL)
    assert program.engaged == GIVEN_UP


async def test_one_that_is_done_again_and_fails_is_told_once(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    program.failing = {"unload_idle_models", "unload_idle_models again"}
    assert "unload_idle_models" in await program.at(CRITICAL)
    for _ in range(3):
        assert await program.at(CRITICAL) == ["unload_idle_models again"]
    assert caplog.text.count("unload_idle_models of part failed") == 1
    program.failing = set()
    await program.at(CRITICAL)
    assert "unload_idle_models" in program.engaged


async def test_each_step_is_in_the_log(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await program.at(CRITICAL)
    await program.at(NORMAL)
    said = [record.getMessage() for record in caplog.records]
    assert f"memory: pause_ingest of part engaged: {PAUSE_INGEST.sentence}" in said
    assert "memory: pause_ingest of part taken back" in said
    assert len(said) == 2 * len(ORDER)


async def test_parts_of_a_step_act_in_the_order_of_registration() -> None:
    program = Program()
    program.part(FLUSH, name="flush")
    program.part(SMALLER_CACHES, "vectors", "vectors")
    program.part(SMALLER_CACHES, "preview", "preview")
    assert await program.at(ELEVATED) == ["vectors", "preview", "flush"]
    assert await program.at(NORMAL) == ["-flush", "-preview", "-vectors"]


async def test_parts_come_and_go(program: Program) -> None:
    forget = program.part(SMALLER_BATCHES, "job", "job")
    await program.at(ELEVATED)
    forget()
    forget()
    assert await program.at(NORMAL) == ["-flush", "-smaller_caches", "-smaller_batches"]
    await program.at(CRITICAL)
    program.part(PAUSE_INGEST, "late", "late")
    assert await program.at(CRITICAL) == ["late", "unload_idle_models again"]


async def test_a_part_may_go_while_another_acts() -> None:
    program = Program()

    async def quiet() -> None: ...

    async def leave() -> None:
        forget()

    program.sacrifices.register(SMALLER_BATCHES, "first", leave, leave)
    forget = program.part(DROP_CACHES)
    assert await program.at(CRITICAL) == []
    forget = program.part(UNLOAD_IDLE_MODELS)
    program.sacrifices.register(DROP_CACHES, "last", quiet, leave)
    await program.at(CRITICAL)
    assert await program.at(NORMAL) == []


def test_a_step_outside_the_order_is_a_bug() -> None:
    async def nothing() -> None: ...

    with pytest.raises(InvariantViolated, match="“other”"):
        Sacrifices().register(Step("other", ELEVATED, "Other."), "part", nothing, nothing)
