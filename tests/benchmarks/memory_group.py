"""The part of `memory.py` that puts the program into a control group: the program inside, and who watches it."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from memory_meter import mb, prepare, question, words, write_notes

from studio.bootstrap import Services, open_services
from studio.domain import JobState, KbSettings, SearchRequest
from studio.memory import MemoryCoordinator
from tests.helpers.control_group import Ballast, ControlGroup, NoControlGroup

NAME = "Under pressure"
FIRST_FILES = 100
"""Are ingested before anything is measured: searches need something to find."""
SEARCHES = 200
PAUSE_S = 0.05
"""Between the answer to one search and the next: 2 processors are few, and the ingest is to have its share."""
FROM_SHARE = 0.8
"""Of the limit: what is in use when the ballast begins to grow."""
RAMP_MIB, RAMP_S = 10, 0.8
"""The ballast grows by so much at a time. Memory is read every 3 seconds as long as there is enough of it."""
HIGH_S, LOW_S = 8.0, 30.0
AT_MOST_S = 1800.0
MIB = 1 << 20


async def inside(data: Path, files: Path, coordinated: bool) -> None:
    """The program: tells its parent on stdout where it is, one JSON document a line."""
    if not coordinated:
        MemoryCoordinator.run = _never  # type: ignore[method-assign]
    rng, vocabulary = random.Random(5), words()
    async with open_services(data) as services:
        kb = await services.library.create(NAME, KbSettings(contextual=False))
        await services.ingest.ingest(kb.id, [files / "first"])
        await services.queue.start()

        async def search() -> float:
            begun = time.perf_counter()
            await services.search.search(SearchRequest((NAME,), question(rng, vocabulary)))
            spent = time.perf_counter() - begun
            await asyncio.sleep(PAUSE_S)
            return spent * 1000

        for _ in range(20):
            await search()
        _tell(unpressured=[await search() for _ in range(SEARCHES)])
        levels: Counter[str] = Counter()
        steps: set[str] = set()

        def note() -> None:
            levels[services.memory.level.name.lower()] += 1
            steps.update(step.name for step in services.memory.engaged)

        services.memory.subscribe(note)
        begun = time.perf_counter()
        job = await services.queue.add(kb.id, [files])
        pressured = []
        while not (job := await services.queue.job(job.id)).state.ended:
            pressured.append(await search())
        taken_s = time.perf_counter() - begun
        _tell(
            done=job.state is JobState.DONE, pressured=pressured, seconds=taken_s, error=job.error,
            documents=await _documents(services), levels=levels, steps=sorted(steps),
        )  # fmt: skip


async def _documents(services: Services) -> int:
    return len(await services.library.documents(NAME))


async def _never(*_: object) -> None:
    await asyncio.Event().wait()


def _tell(**news: object) -> None:
    print(json.dumps(news), flush=True)


@dataclass
class Watched:
    """What is seen from outside; sizes in bytes of private memory.

    `told` is what the program said, `resting` what it held before the ingest, `highest_program` the most while it ran,
    `highest_pressed` the most while the ballast was as large as it gets.
    """

    told: dict[str, Any] = field(default_factory=dict)
    resting: int = 0
    ballast_mib: int = 0
    highest_private: int = 0
    highest_program: int = 0
    highest_pressed: int = 0
    waves: int = 0
    code: int | None = None


def watch(group: ControlGroup, command: list[str], limit: int, room: int) -> Watched:
    """Run the program in the group, and let a ballast rise and fall beside it from the moment the ingest begins."""
    seen, latest = Watched(), time.monotonic() + AT_MOST_S
    program = subprocess.Popen([*group.prefix(), *command], stdout=subprocess.PIPE, text=True)
    pressed, over = threading.Event(), threading.Event()

    def read() -> None:
        assert program.stdout is not None
        for line in program.stdout:
            seen.told.update(json.loads(line))
            pressed.set()
        over.set()
        pressed.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with Ballast(group) as ballast:
            pressed.wait(AT_MOST_S)
            seen.resting = group.private
            seen.ballast_mib = max(0, (limit - seen.resting - room) // MIB)

            def pass_time(seconds: float) -> bool:
                ends = time.monotonic() + seconds
                while time.monotonic() < ends and not over.is_set():
                    private = group.private
                    seen.highest_private = max(seen.highest_private, private)
                    seen.highest_program = max(seen.highest_program, private - ballast.mib * MIB)
                    if ballast.mib >= seen.ballast_mib:
                        seen.highest_pressed = max(seen.highest_pressed, private - ballast.mib * MIB)
                    over.wait(0.05)
                return not over.is_set()

            while not over.is_set() and time.monotonic() < latest:
                seen.waves += 1
                _wave(ballast, max(0, (int(FROM_SHARE * limit) - seen.resting) // MIB), seen.ballast_mib, pass_time)
    finally:
        if not over.is_set():
            program.kill()
        seen.code = program.wait()
        reader.join()
    return seen


def _wave(ballast: Ballast, from_mib: int, most_mib: int, pass_time: Callable[[float], bool]) -> None:
    for size in [*range(from_mib, most_mib, RAMP_MIB), most_mib]:
        ballast.hold(size)
        if not pass_time(RAMP_S):
            return
    pass_time(HIGH_S)
    ballast.hold(0)
    pass_time(LOW_S)


def measure(folder: Path, script: Path, files: int, limit: int, room: int, coordinated: bool) -> None:
    """Print what became of the ingest, or why no group can be made."""
    try:
        group = ControlGroup(limit)
    except NoControlGroup as reason:
        print(f"Skipped: {reason}")
        return
    write_notes(folder / "files" / "first", FIRST_FILES, seed=1)
    write_notes(folder / "files" / "more", files, seed=2)
    data = prepare(folder / "data", 0 if coordinated else MIB)  # a budget of 1 TiB: all there is
    arguments = ["--inside", str(data), str(folder / "files"), str(int(coordinated))]
    with group:
        seen = watch(group, [sys.executable, str(script), *arguments], limit, room)
        kills, peak = group.kills, group.peak
    _print(seen, files, limit, coordinated, kills, peak)


def _print(seen: Watched, files: int, limit: int, coordinated: bool, kills: int, peak: int | None) -> None:
    told = seen.told
    print(
        f"\n{files:,} files in a control group of {mb(limit)} MB, {'with' if coordinated else 'WITHOUT'} coordination"
    )
    finished = bool(told.get("done"))
    rows = {
        "finished": f"{'yes' if finished else 'NO'}"
        + (f", in {told['seconds']:.0f} s" if "seconds" in told else f", exit code {seen.code}"),
        "documents": f"{told.get('documents', 0):,}",
        "killed by the system": str(kills),
        "highest charge, page cache included, MB": mb(peak) if peak is not None else "?",
        "highest private, ballast included, MB": mb(seen.highest_private),
        "the program's own before the ingest, MB": mb(seen.resting),
        "the program's own at most, MB": mb(seen.highest_program),
        "the same under the whole ballast, MB": mb(seen.highest_pressed),
        "ballast, MB, times": f"{mb(seen.ballast_mib * MIB)}, {seen.waves}",
        "changes told, by level": ", ".join(f"{name} {n}" for name, n in told.get("levels", {}).items()) or "none",
        "given up": ", ".join(told.get("steps", [])) or "nothing",
    }
    if told.get("error"):
        rows["error"] = told["error"]
    for name, value in rows.items():
        print(f"{name:<46}{value}")
    percentiles = {}
    for name in ("unpressured", "pressured"):
        if times := told.get(name):
            percentiles[name] = np.percentile(times, (50, 95))
            p50, p95 = percentiles[name]
            print(
                f"{f'searches, {name}':<46}{len(times):,}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, {max(times):.0f} at most"
            )
    ratio = percentiles["pressured"][1] / percentiles["unpressured"][1] if len(percentiles) == 2 else None
    if ratio is not None:
        print(f"{'p95 pressured ÷ unpressured':<46}{ratio:.2f}")
    if coordinated:
        print(f"bar: {'met' if finished and not kills and ratio is not None and ratio < 5 else 'MISSED'}", flush=True)
    else:
        print(f"bar (killed without coordination): {'met' if kills else 'MISSED'}", flush=True)
