"""Real pressure: memory is really taken, the operating system says so, and the real program gives up and goes on."""

from __future__ import annotations

import asyncio
import json
import mmap
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.bootstrap import Services
from studio.domain import JobState, KbSettings, SearchRequest
from studio.memory import (
    DROP_CACHES,
    PAUSE_INGEST,
    SMALLER_BATCHES,
    UNLOAD_IDLE_MODELS,
    Level,
    MemoryCoordinator,
    coordinator,
)
from studio.services.jobs import JobEvent, JobProgress
from tests.helpers import pressed_program
from tests.helpers.control_group import Ballast, ControlGroup, NoControlGroup
from tests.helpers.mixed_files import sentences

MIB = 1 << 20
FILES = 16
HOLD_S = 1.0
INTERVAL_S = 0.2
"""Instead of seconds, so that what follows a change of pressure is seen at once."""
LIMIT_MIB = 2000
"""So much that a sixth of it is room enough for an ingest to begin."""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is looked at often, and a level is left soon."""
    monkeypatch.setitem(MemoryCoordinator.__init__.__kwdefaults__, "hold_s", HOLD_S)
    monkeypatch.setattr(coordinator, "INTERVALS_S", dict.fromkeys(Level, INTERVAL_S))


@pytest.fixture
def notes(folder: Path) -> Path:
    """A folder that takes some seconds to embed."""
    pool = sentences()
    for number in range(FILES):
        text = ". ".join(pool[(7 * number + step) % len(pool)] for step in range(60))
        (folder / f"note {number:03}.txt").write_text(f"Note {number}. {text}.", "utf-8")
    return folder


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  levels, models and jobs each tell in a way of their own
            await asyncio.sleep(0.02)


def taken(size: int) -> mmap.mmap:
    """Memory that is really there, until it is closed."""
    memory = mmap.mmap(-1, size)
    for page in range(0, size, mmap.PAGESIZE):
        memory[page] = 1
    return memory


async def test_memory_that_is_taken_pauses_ingest_and_unloads_the_model_until_it_is_given_back(
    services: Services, notes: Path
) -> None:
    memory, embedders = services.memory, services.ingest._work._builder._embedders
    kb = await services.library.create("Notes", KbSettings(contextual=False))
    first = notes.parent / "first.txt"
    first.write_text("The first note, for searches to find.", "utf-8")
    await services.ingest.ingest(kb.id, [first])
    held = (await asyncio.to_thread(memory.snapshot)).holdings
    private, mapped = sum(part.private for part in held), sum(part.mapped for part in held)
    budget = (2 * (private + mapped) + 300 * MIB) // MIB * MIB
    memory.set_budget(budget // MIB)
    done, paused, ended = 0, "", False

    def hear(event: JobEvent) -> None:
        nonlocal done, paused
        if isinstance(event, JobProgress):
            done, paused = event.progress.chunks_done, event.progress.paused

    services.queue.subscribe(hear)
    await services.queue.start()
    assert memory.level is Level.NORMAL

    with taken(88 * budget // 100 - private):
        await eventually(lambda: memory.level is Level.ELEVATED)
        await eventually(lambda: SMALLER_BATCHES in memory.engaged)
        job = await services.queue.add(kb.id, [notes])
        await eventually(lambda: done > 0)
        assert not paused
        with taken(30 * budget // 100):
            await eventually(lambda: DROP_CACHES in memory.engaged)
            assert memory.level is Level.CRITICAL
            assert {PAUSE_INGEST, UNLOAD_IDLE_MODELS} <= set(memory.engaged)
            assert memory.sentence == PAUSE_INGEST.sentence
            assert "of its budget" in memory.reason
            await eventually(lambda: paused == PAUSE_INGEST.sentence)
            await eventually(lambda: not embedders.loaded())
            response = await services.search.search(SearchRequest(("Notes",), "first note"))  # loads the model again
            assert response.results
            await eventually(lambda: not embedders.loaded())
            assert (await services.queue.job(job.id)).state is JobState.RUNNING

    await eventually(lambda: memory.level is Level.NORMAL)
    await eventually(lambda: not memory.engaged)
    assert memory.sentence == ""
    while not ended:
        await asyncio.sleep(0.05)
        ended = (await services.queue.job(job.id)).state.ended
    assert (await services.queue.job(job.id)).state is JobState.DONE
    assert len(await services.library.documents("Notes")) == FILES + 1


class Pressed:
    """The program in a control group, and what it tells."""

    def __init__(self, group: ControlGroup, data_dir: Path, notes: Path) -> None:
        command = [
            *group.prefix(),
            sys.executable,
            "-m",
            pressed_program.__name__,
            str(data_dir),
            str(notes),
            str(HOLD_S),
            str(INTERVAL_S),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._told: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.put(json.loads(line))
        self._told.put(None)

    def ingest(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def told(self, wanted: Callable[[dict[str, Any]], bool], wait_s: float = 60.0) -> dict[str, Any] | None:
        """The next thing it tells that is wanted; None when it tells nothing for so long."""
        while True:
            try:
                news = self._told.get(timeout=wait_s)
            except queue.Empty:
                return None
            assert news is not None, f"it ended with exit code {self._process.wait()}"
            if wanted(news):
                return news

    def __enter__(self) -> Pressed:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def test_a_control_group_that_fills_up_pauses_ingest_before_anything_is_killed(data_dir: Path, notes: Path) -> None:
    try:
        group = ControlGroup(LIMIT_MIB * MIB)
    except NoControlGroup as reason:
        pytest.skip(str(reason))
    with group, Ballast(group) as ballast, Pressed(group, data_dir, notes) as program:
        assert program.told(lambda news: "ready" in news)
        mib = LIMIT_MIB * 82 // 100 - group.private // MIB
        ballast.hold(mib)
        assert program.told(lambda news: news.get("level") == "ELEVATED")
        program.ingest()
        assert program.told(lambda news: "running" in news)
        while (news := program.told(lambda news: PAUSE_INGEST.name in news.get("steps", []), 0.3)) is None:
            mib += 40
            ballast.hold(mib)
        assert news["level"] == "CRITICAL"
        assert news["sentence"] == PAUSE_INGEST.sentence
        assert news["found"] > 0
        ballast.hold(0)
        end = program.told(lambda news: "ended" in news)
        assert end == {"ended": "done", "documents": FILES + 1, "paused": [PAUSE_INGEST.sentence]}
        assert group.kills == 0
