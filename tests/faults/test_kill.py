"""kill -9 at random moments: what was promoted stays whole, what was not leaves no trace."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from command import Program

KILLS = 8


def _documents(folder: Path, round_: int) -> None:
    for n in range(6):
        (folder / f"{n}.txt").write_text(f"Round {round_}. " + f"Document {n} speaks of subject {n}. " * 30)


def _interrupted(program: Program, folder: Path, delay_s: float) -> bool:
    """Start an ingest and kill its whole process group after `delay_s`; True when it was still running."""
    process = subprocess.Popen(
        program.command("ingest", "Notes", folder),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + delay_s
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running


def test_killed_ingests_leave_the_old_or_the_new_generation_whole(program: Program, folder: Path) -> None:
    program.ok("kb", "create", "Notes")
    _documents(folder, 0)
    begun = time.monotonic()
    program.ok("ingest", "Notes", folder)
    whole_s = time.monotonic() - begun
    acknowledged, killed = 0, 0
    rng = random.Random(20)
    for round_ in range(1, KILLS + 1):
        _documents(folder, round_)
        running = _interrupted(program, folder, rng.uniform(0.2, 1.1) * whole_s)
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
    assert killed >= KILLS // 2
    _documents(folder, 99)
    assert program.ok("ingest", "Notes", folder)["updated"] == 6
    states = {item["state"] for item in program.ok("generations", "Notes")}
    assert "building" not in states
