"""kill -9 at random moments: what was promoted stays whole, what was not leaves no trace."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

from tests.faults.kills import Drill, points_of
from tests.helpers.command import Program, kill_group

STAGES = ("scanning", "indexing", "sealing", "promoting")
ROUNDS = 8


def _documents(folder: Path, round_: int) -> None:
    for n in range(6):
        (folder / f"{n}.txt").write_text(f"Round {round_}. " + f"Document {n} speaks of subject {n}. " * 30)


def _interrupted(program: Program, folder: Path, stage: str, delay_s: float) -> bool:
    """Kill an ingest and all its workers `delay_s` after it announces `stage`; True when it had not ended by itself."""
    out, err_end = os.pipe()
    with Path(os.devnull).open("r+b") as null, os.fdopen(out, encoding="utf-8") as err:
        process = program.start("ingest", "Notes", folder, streams=(null.fileno(), null.fileno(), err_end))
        os.close(err_end)
        for line in err:
            if line.startswith(stage):
                break
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            kill_group(process)
    return process.wait() == -signal.SIGKILL


def test_killed_ingests_leave_the_old_or_the_new_generation_whole(program: Program, folder: Path) -> None:
    program.ok("kb", "create", "Notes")
    _documents(folder, 0)
    program.ok("ingest", "Notes", folder)
    acknowledged, killed = 0, 0
    rng = random.Random(20)
    for round_ in range(1, ROUNDS + 1):
        _documents(folder, round_)
        # Every other kill comes at once, the rest somewhere in the fifth of a second that follows.
        delay_s = 0.0 if round_ % 2 else rng.uniform(0.0, 0.2)
        running = _interrupted(program, folder, STAGES[(round_ - 1) // 2], delay_s)
        killed += running
        report = program.ok("doctor")
        assert report["ok"], [check for check in report["checks"] if not check["ok"]]
        results = program.ok("search", "Notes", "round subject", "--limit", "50", "--mode", "keyword")["results"]
        rounds = {result["content"].split(".")[0] for result in results if result["content"].startswith("Round")}
        assert len(rounds) == 1, "a mixture of two generations is visible"
        seen = int(rounds.pop().removeprefix("Round "))
        assert seen in (acknowledged, round_) if running else seen == round_
        assert {Path(result["citation"]["source_path"]).name for result in results} == {f"{n}.txt" for n in range(6)}
        acknowledged = seen
    assert killed >= 2, "an ingest ends sooner than it can be killed"
    _documents(folder, 99)
    assert program.ok("ingest", "Notes", folder)["updated"] == 6
    states = {item["state"] for item in program.ok("generations", "Notes")}
    assert "building" not in states


async def test_every_other_operation_survives_its_failpoints(program: Program, tmp_path: Path) -> None:
    drill = Drill(program, tmp_path, seed=20)
    await drill.warm_up()
    # Building has tests of its own, above and in test_failpoints.
    turns = [
        (name, point)
        for name in ("promote", "rollback", "gc", "export", "import")
        for point in points_of(name)
        if point not in points_of("build")
    ]
    for operation, point in turns:
        await drill.turn(operation, point)
    for operation in ("gc", "import"):
        await drill.turn(operation, None)
    assert drill.failures() == []
    assert sum(tally.at_failpoints for tally in drill.tallies.values()) == len(turns)
