"""The process dies at every named step of build, promotion and collection: nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.failpoints import CHECKPOINT_POINTS, INGEST_POINTS, POINTS
from studio.services.ingest import writer
from tests.faults.kills import POINTS_OF, points_of
from tests.helpers.command import Program

OLD = {"a.txt": "Alpha speaks of whales.", "b.txt": "Beta speaks of pianos."}
NEW = {"a.txt": "Alpha speaks of volcanoes.", "c.txt": "Gamma speaks of glaciers."}
DURABLE = ("promote.done", "collect.marked", "collect.directory", "collect.tag", "collect.forgotten", "collect.swept")
"""Points behind the promotion: from here on the new generation must be the active one."""


def put(folder: Path, documents: dict[str, str]) -> None:
    for file in folder.iterdir():
        file.unlink()
    for name, text in documents.items():
        (folder / name).write_text(text)


def contents(program: Program) -> set[str]:
    found = program.ok("search", "Notes", "speaks", "--limit", "20", "--mode", "keyword")
    return {result["content"] for result in found["results"]}


def test_every_failpoint_belongs_to_an_operation_that_is_killed_there() -> None:
    assert {point for operation in POINTS_OF for point in points_of(operation)} == set(POINTS)


@pytest.mark.parametrize("point", INGEST_POINTS)
def test_a_death_at_any_step_leaves_one_whole_generation(program: Program, folder: Path, point: str) -> None:
    program.ok("config", "set", "keep_generations", "0")
    program.ok("kb", "create", "Notes")
    put(folder, OLD)
    program.ok("ingest", "Notes", folder)
    put(folder, NEW)
    program.killed(point, "ingest", "Notes", folder)
    report = program.ok("doctor")
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]
    assert contents(program) == set((NEW if point in DURABLE else OLD).values())
    program.ok("ingest", "Notes", folder)
    assert contents(program) == set(NEW.values())
    program.ok("gc")
    # A generation that was complete but not yet promoted was whole; it is collected once a later one was promoted.
    assert [item["state"] for item in program.ok("generations", "Notes")] == ["active"]
    assert program.ok("doctor")["ok"]


def test_deaths_around_checkpoints_lose_nothing(
    data_dir: Path, folder: Path, write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHUNKS_PER_CHECKPOINT", 4)
    program = Program(data_dir, constants={f"{writer.__name__}:CHUNKS_PER_CHECKPOINT": 4})
    texts = {f"{n}.txt": f"Number {n} speaks of numbers." for n in range(80)}
    for name, text in texts.items():
        write(name, text)
    program.ok("kb", "create", "Notes")
    left = []
    for point in ("checkpoint.written", "checkpoint.tagged", "checkpoint.written:3", *("reopen.done",) * 3):
        program.killed(point, "ingest", "Notes", folder)
        assert program.ok("doctor")["ok"]
        left.append(point.partition(":")[0])
    assert set(left) == set(CHECKPOINT_POINTS)
    assert program.ok("ingest", "Notes", "--resume")["added"] == len(texts)
    found = program.ok("search", "Notes", "speaks", "--limit", "200", "--mode", "keyword")
    assert {result["content"] for result in found["results"]} == set(texts.values())
    assert program.ok("doctor")["ok"]
