"""The services under memory pressure. Readings of the machine and the clock are made up, all else is real."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from studio import bootstrap
from studio.bootstrap import Services, open_services
from studio.config import Config
from studio.domain import IngestOptions, IngestStage, Job, JobKind, JobState, SearchMode, SearchRequest, SearchResponse
from studio.embedding.client import EmbeddingClient
from studio.embedding.pool import EmbedderPool
from studio.errors import Cancelled, MemoryRefused, ModelFault
from studio.memory import (
    FLUSH,
    GIB,
    ORDER,
    PAUSE_INGEST,
    SMALLER_BATCHES,
    SMALLER_CACHES,
    Holding,
    Level,
    MachineReading,
    MemoryCoordinator,
    Step,
)
from studio.memory.readings import Group
from studio.paths import DataPaths
from studio.services import memory_care
from studio.services.costs import FILE_BYTES, READER_BYTES
from studio.services.ingest import BUILD_BYTES, BuildRoom, JobControl, pipeline, source_reader
from studio.services.ingest.room import TIMES_WITHOUT_PRESSURE
from studio.services.jobs.queue import JobEnded, JobEvent, JobProgress
from studio.services.memory_care import CACHES_MINIMUM_BYTES, IN_USE_S
from studio.ways_out import AllowMemory, ways_in
from tests.helpers import tiny_bert

Write = Callable[[str, str], Path]
TOTAL = 16 * GIB
EASY = MachineReading(TOTAL, TOTAL // 2)
TIGHT = MachineReading(TOTAL, TOTAL * 8 // 100)
SHORT = MachineReading(TOTAL, TOTAL * 3 // 100)
CACHES = "the caches of indexes"


class Machine:
    """What the machine says, and the time."""

    def __init__(self) -> None:
        self.reading = EASY
        self.now = 0.0

    def coordinator(self, budget_mib: int, workers) -> MemoryCoordinator:
        return _ByHand(budget_mib, workers, read_machine=lambda: self.reading, clock=lambda: self.now)

    async def says(self, reading: MachineReading, memory: MemoryCoordinator) -> Level:
        """One reading, and what is done because of it."""
        self.reading = reading
        await memory.step()
        return memory.level

    async def relaxes(self, memory: MemoryCoordinator) -> None:
        """Time passes until nothing is given up any more."""
        self.reading = EASY
        await memory.step()
        for _ in range(2):
            self.now += 60
            await memory.step()
        assert memory.level is Level.NORMAL
        assert memory.engaged == []


class _ByHand(MemoryCoordinator):
    """Steps only when a test says so."""

    async def run(self, sleep=asyncio.sleep) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(bootstrap, "MemoryCoordinator", machine.coordinator)
    return machine


@pytest_asyncio.fixture
async def services(data_dir: Path, machine: Machine) -> AsyncIterator[Services]:
    async with open_services(data_dir) as opened:
        yield opened
    assert opened.memory.budget.grants == [], "everything is given back at the end"
    assert opened.memory.sacrifices._actions == []
    assert opened.memory._ledger._sources == []


@pytest.fixture
async def kb(services: Services, folder: Path, write: Write) -> str:
    base = await services.library.create("Notes")
    write("whales.txt", "Whales are mammals of the sea. They sing for hours.")
    write("piano.txt", "A grand piano has eighty-eight keys and strings of steel.")
    await services.ingest.ingest(base.id, [folder], IngestOptions(jobs=1))
    return base.id


async def search(services: Services, kb: str, query: str) -> SearchResponse:
    response = await services.search.search(SearchRequest((kb,), query, SearchMode.HYBRID))
    assert response.degraded is None
    return response


def model_pids(services: Services) -> list[int]:
    return [model.pid for model in pool(services).loaded()]


def pool(services: Services) -> EmbedderPool:
    return services.memory_care._embedders


def some_time_after(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no model have been used lately."""
    monkeypatch.setattr(pool(services), "_clock", lambda: time.monotonic() + IN_USE_S)


def granted(services: Services, component: str) -> int | None:
    sizes = {grant.component: grant.size for grant in services.memory.budget.grants}
    return sizes.get(component)


def holding(services: Services, name: str) -> Holding:
    (found,) = [item for item in services.memory.snapshot().holdings if item.name == name]
    return found


# ------------------------------------------------------------ what is held and granted


async def test_the_parts_of_the_program_are_told_apart(services: Services, kb: str) -> None:
    await search(services, kb, "whales")
    (model,) = pool(services).loaded()
    # Pages that other processes have mapped, too, count by this one's share.
    assert 0 < holding(services, "model files").mapped <= model.size_bytes
    assert holding(services, "model").private > 20_000_000
    caches = services.memory_care._stores.caches
    assert holding(services, "LanceDB's caches").private == caches.held() > 0
    assert holding(services, "keyword indexes").mapped > 0
    assert holding(services, "recent searches").private == services.search.held_bytes() > 0
    assert holding(services, "files in the page cache").cached > 0
    used = services.memory.snapshot()
    assert "files in the page cache" not in used.parts
    assert used.used_bytes == sum(used.parts.values())


async def test_the_budget_is_shared_out(services: Services, kb: str) -> None:
    budget = services.memory.budget
    assert budget.total == TOTAL // 2
    assert pool(services)._idle_s == services.ingest._work._parser._idle_s == 15 * 60
    assert granted(services, "the program itself") == 200_000_000
    assert granted(services, CACHES) == budget.total // 4
    (model,) = pool(services).loaded()
    size = granted(services, f"the model {model.name}")
    assert size is not None and size > model.size_bytes
    assert services.memory_care._stores.caches._limit == budget.total // 4
    await pool(services).unload(model.name)
    assert granted(services, f"the model {model.name}") is None


async def test_settings_hold_at_once(services: Services, kb: str) -> None:
    services.config.set("memory_budget_mib", "1024")
    services.config.set("model_idle_minutes", "3")
    assert services.memory.budget.total == GIB
    assert pool(services)._idle_s == services.ingest._work._parser._idle_s == 180
    assert granted(services, CACHES) == GIB // 4
    await asyncio.gather(*services.memory_care._owner._tasks.keys() - {_readings(services)})
    assert services.memory_care._stores.caches._limit == GIB // 4
    Config(services.config.path).set("model_idle_minutes", "0")  # as another program does
    await services.library.stamp()
    assert pool(services)._idle_s == services.ingest._work._parser._idle_s == 0


def _readings(services: Services) -> asyncio.Task:
    (task,) = [task for task, name in services.memory_care._owner._tasks.items() if name == "readings"]
    return task


async def test_a_budget_that_is_too_small_for_the_program_lets_it_start(data_dir: Path, machine: Machine) -> None:
    Config(DataPaths(data_dir).config).set("memory_budget_mib", "100")
    async with open_services(data_dir) as services:
        assert services.memory.budget.free == 0
        base = await services.library.create("Notes")
        services.config.set("memory_budget_mib", "1024")
        services.memory_care.settings_changed()
        assert granted(services, "the program itself") == 200_000_000
        assert (granted(services, CACHES) or 0) >= CACHES_MINIMUM_BYTES
        assert (await services.library.get(base.id)).name == "Notes"


# ------------------------------------------------------------ what is given up


@pytest.mark.parametrize("step", ORDER, ids=lambda step: step.name)
async def test_something_is_given_up_at_every_step(services: Services, machine: Machine, step: Step) -> None:
    await machine.says(TIGHT if step.level is Level.ELEVATED else SHORT, services.memory)
    assert step in services.memory.engaged
    await machine.relaxes(services.memory)


async def test_memory_gets_short(services: Services, machine: Machine, kb: str, caplog) -> None:
    caches, memory = services.memory_care._stores.caches, services.memory
    client = await pool(services).embedder("all-MiniLM-L6-v2")
    assert isinstance(client, EmbeddingClient)
    assert not client.small_batches
    assert await machine.says(TIGHT, memory) is Level.ELEVATED
    assert memory.engaged == [SMALLER_BATCHES, SMALLER_CACHES, FLUSH]
    assert client.small_batches
    assert granted(services, CACHES) == caches._limit == CACHES_MINIMUM_BYTES
    assert caches.small_builds
    services.memory_care.settings_changed()
    assert granted(services, CACHES) == CACHES_MINIMUM_BYTES, "it stays with the minimum"
    await search(services, kb, "whales")
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        assert await machine.says(replace(TIGHT, available=TOTAL // 14), memory) is Level.ELEVATED
    assert caplog.messages == []
    await machine.relaxes(memory)
    assert not client.small_batches
    assert not caches.small_builds
    assert granted(services, CACHES) == memory.budget.total // 4
    await asyncio.gather(*services.memory_care._owner._tasks.keys() - {_readings(services)})
    assert caches._limit == memory.budget.total // 4


async def test_idle_models_and_caches_go_and_come_back_with_the_next_search(
    services: Services, machine: Machine, kb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await search(services, kb, "singing mammals")
    (pid,) = model_pids(services)
    caches = services.memory_care._stores.caches
    assert caches.maps() > 0
    assert services.search.held_bytes() > 0
    assert await machine.says(SHORT, services.memory) is Level.CRITICAL
    assert services.memory.engaged == list(ORDER)
    assert (services.search.held_bytes(), caches.maps()) == (0, 0)
    assert not psutil.pid_exists(pid)
    assert model_pids(services) == []
    assert not [name for name in (item.component for item in services.memory.budget.grants) if "model" in name]
    assert services.search._filters._tables._values == {}
    assert list(services.ingest._work._parser.worker_pids) == []
    after = await search(services, kb, "singing mammals")
    assert [item.chunk_id for item in after.results] == [item.chunk_id for item in before.results]
    (fresh,) = model_pids(services)
    assert fresh != pid
    await services.memory.step()
    assert model_pids(services) == [fresh], "searches would wait for it again and again"
    some_time_after(services, monkeypatch)
    await services.memory.step()
    assert model_pids(services) == [], "as long as memory is short"
    await machine.relaxes(services.memory)
    await search(services, kb, "instruments with keys")
    assert len(model_pids(services)) == 1


async def test_what_is_freed_while_memory_stays_short_is_given_back(
    services: Services, machine: Machine, kb: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trims: list[int] = []
    monkeypatch.setattr(memory_care, "give_back", lambda: trims.append(1))
    await machine.says(SHORT, services.memory)
    assert trims == [], "the caches do, when they are dropped"
    await services.memory.step()
    await services.memory.step()
    assert len(trims) == 2
    parser = services.ingest._work._parser
    async with aclosing(parser.parse(folder / "whales.txt")) as events:
        assert [event async for event in events]
    assert len(parser.worker_pids) == 1
    await services.memory.step()
    assert list(parser.worker_pids) == []
    await machine.relaxes(services.memory)
    assert len(trims) == 3


# ------------------------------------------------------------ builds


class Ear:
    """What the queue tells."""

    def __init__(self, services: Services) -> None:
        self.events: list[JobEvent] = []
        self._changed = asyncio.Event()
        services.queue.subscribe(self)

    def __call__(self, event: JobEvent) -> None:
        self.events.append(event)
        self._changed.set()

    @property
    def paused(self) -> str:
        told = [event.progress for event in self.events if isinstance(event, JobProgress)]
        return told[-1].paused if told else ""

    @property
    def seals(self) -> bool:
        told = [event.progress for event in self.events if isinstance(event, JobProgress)]
        return any(progress.stage is IngestStage.SEALING for progress in told)

    def waits(self, job_id: str) -> bool:
        told = [event.progress for event in self.events if isinstance(event, JobProgress)]
        return bool(told) and told[-1].job_id == job_id and bool(told[-1].paused)

    @property
    def ended(self) -> list[JobEnded]:
        return [event for event in self.events if isinstance(event, JobEnded)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await self._changed.wait()
                self._changed.clear()


class Batches:
    """Notes the batches that the model is given, and lets something happen at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.idle: list[bool] = []
        self.at: dict[int, Callable] = {}
        embed = EmbeddingClient.embed

        async def noted(
            client: EmbeddingClient, texts: Sequence[str], *, interactive: bool = False, query: bool = False
        ):
            if not interactive:
                self.sizes.append(len(texts))
                self.idle.append(client.idle)
                if (happens := self.at.get(len(self.sizes))) is not None:
                    await happens()
            return await embed(client, texts, interactive=interactive, query=query)

        monkeypatch.setattr(EmbeddingClient, "embed", noted)
        monkeypatch.setattr(pipeline, "CHUNKS_PER_BATCH", 1)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Batches:
    return Batches(monkeypatch)


def fill(write: Write, folder: Path, files: int = 12) -> Path:
    for n in range(files):
        write(f"more/{n}.txt", f"File {n} speaks of subject {n}.")
    return folder / "more"


@pytest.mark.parametrize("at", [2, 12])
async def test_ingest_waits_and_goes_on_by_itself_while_searches_are_answered(
    services: Services, machine: Machine, kb: str, folder: Path, write: Write, batches: Batches, at: int, monkeypatch
) -> None:
    ear = Ear(services)
    reached = asyncio.Event()

    async def short() -> None:
        await machine.says(SHORT, services.memory)
        reached.set()

    batches.at[at] = short
    await services.queue.start()
    job = await services.queue.add(kb, [fill(write, folder)])
    await ear.until(lambda: ear.paused == PAUSE_INGEST.sentence)
    await reached.wait()
    assert services.memory.sentence == "Ingest paused: memory is short. Search still works."
    assert PAUSE_INGEST in services.memory.engaged
    for query in ("whales", "a piano", "keys of steel", "the sea"):
        assert (await search(services, kb, query)).results
    assert len(batches.sizes) <= at + 2, "those that had begun, and no more"
    assert not ear.seals
    assert ear.ended == []
    assert (await services.queue.job(job.id)).state is JobState.RUNNING
    some_time_after(services, monkeypatch)
    assert await machine.says(SHORT, services.memory) is Level.CRITICAL
    assert model_pids(services) == [], "a build that waits does not keep its model"
    await machine.relaxes(services.memory)
    await ear.until(lambda: len(ear.ended) == 1)
    assert ear.ended[0].report is not None
    assert (ear.ended[0].report.added, ear.ended[0].report.failed) == (12, ())
    assert len(await services.library.documents(kb)) == 14
    assert sum(batches.sizes) == 12, "nothing was embedded twice"
    assert batches.idle[0] is False and batches.idle[-1] is False, "held while it builds"
    assert (await search(services, kb, "subject 11")).results
    assert granted(services, "indexing Notes") is None


async def test_a_build_that_comes_while_memory_is_short_waits_and_can_be_cancelled(
    services: Services, machine: Machine, kb: str, folder: Path, write: Write, batches: Batches
) -> None:
    ear = Ear(services)
    await services.queue.start()
    await machine.says(SHORT, services.memory)
    first = await services.queue.add(kb, [fill(write, folder)])
    await ear.until(lambda: ear.paused == PAUSE_INGEST.sentence)
    assert granted(services, "indexing Notes") is None
    await services.queue.cancel(first.id)
    await ear.until(lambda: len(ear.ended) == 1)
    assert ear.ended[0].job.state is JobState.CANCELLED
    second = await services.queue.add(kb, [folder / "more"])
    await ear.until(lambda: ear.waits(second.id))
    assert batches.sizes == []
    await machine.relaxes(services.memory)
    await ear.until(lambda: len(ear.ended) == 2)
    assert ear.ended[1].job.state is JobState.DONE
    assert len(await services.library.documents(kb)) == 14


async def test_processes_that_read_files_end_while_an_ingest_waits(
    services: Services, machine: Machine, kb: str, folder: Path, write: Write, batches: Batches, monkeypatch
) -> None:
    monkeypatch.setattr(source_reader, "CHUNKS_PER_PIECE", 1)
    monkeypatch.setattr(pipeline, "PIECES_QUEUED", 30)
    monkeypatch.setattr(pipeline, "PIECES_BEFORE_A_FILE", 8)
    for n in range(8):  # of about seven passages each
        write(f"more/{n}.txt", "\n\n".join(f"File {n} speaks of subject {n} and of {m}. " * 15 for m in range(8)))
    ear = Ear(services)
    batches.at[2] = lambda: machine.says(SHORT, services.memory)
    await services.queue.start()
    await services.queue.add(kb, [folder / "more"])
    await ear.until(lambda: ear.paused == PAUSE_INGEST.sentence)
    async with asyncio.timeout(20):
        while services.ingest._work._parser.worker_pids:
            await services.memory.step()
            await asyncio.sleep(0.01)
    assert ear.ended == []
    await machine.relaxes(services.memory)
    await ear.until(lambda: len(ear.ended) == 1)
    assert len(await services.library.documents(kb)) == 10


async def test_a_build_waits_for_memory_that_the_computer_is_short_of_now() -> None:
    machine, control = Machine(), JobControl()
    memory = MemoryCoordinator(1024, dict, read_machine=lambda: machine.reading)
    job = Job("j", "kb", JobKind.INGEST, JobState.RUNNING, (), {"include": (), "exclude": (), "jobs": 2})
    group = Group("/g", 1200_000_000, usage=980_000_000, file_cache=0)
    told: list[str] = []

    async def pass_time(_: float) -> None:
        told.append(control.paused)
        if len(told) == 20:
            machine.reading = EASY

    await machine.says(replace(EASY, groups=(group,)), memory)
    async with BuildRoom(memory, sleep=pass_time).place("Notes", job, control, 0) as place:
        assert place.readers(2) == 2
        assert control.paused == ""
    assert (
        told
        == [
            "“indexing Notes” needs 240 MB of memory, and the computer has 220 MB left. "
            "Indexing begins by itself when there is more."
        ]
        * 20
    )
    assert memory.budget.grants == []


async def test_a_build_is_refused_where_there_is_too_little_memory_for_long_and_nothing_presses() -> None:
    machine, control = Machine(), JobControl()
    machine.reading = MachineReading(TOTAL, 220_000_000)
    memory = MemoryCoordinator(1024, dict, read_machine=lambda: machine.reading)
    job = Job("j", "kb", JobKind.RESTORE, JobState.RUNNING, (), {})
    times = 0

    async def pass_time(_: float) -> None:
        nonlocal times
        times += 1

    with pytest.raises(MemoryRefused, match="needs 240 MB of memory, and the computer has 220 MB left"):
        async with BuildRoom(memory, sleep=pass_time).place("Notes", job, control, 0):
            pass
    assert (times, control.paused) == (TIMES_WITHOUT_PRESSURE, "")


async def test_what_a_person_paused_stays_so(
    services: Services, machine: Machine, kb: str, folder: Path, write: Write, batches: Batches
) -> None:
    ear = Ear(services)
    begun = asyncio.Event()

    async def began() -> None:
        begun.set()

    batches.at[2] = began
    await services.queue.start()
    job = await services.queue.add(kb, [fill(write, folder)])
    await begun.wait()
    await services.queue.pause(job.id)
    await machine.says(SHORT, services.memory)
    await machine.relaxes(services.memory)
    await search(services, kb, "whales")
    assert (await services.queue.job(job.id)).state is JobState.PAUSED
    assert ear.ended == []
    await services.queue.resume(job.id)
    await ear.until(lambda: len(ear.ended) == 1)
    assert len(await services.library.documents(kb)) == 14


async def test_two_who_hold_a_build_are_told_apart() -> None:
    room, control = BuildRoom(), JobControl()
    job = Job("j", "kb", JobKind.REBUILD, JobState.RUNNING, (), {})
    async with room.place("Notes", job, control, 0):
        control.hold("somebody", "Held.")
        room.pause(PAUSE_INGEST.sentence)
        room.resume()
        assert control.paused == "Held."
        room.pause(PAUSE_INGEST.sentence)
        control.let_go("somebody")
        assert control.paused == PAUSE_INGEST.sentence
        room.resume()
        assert control.paused == ""
    room.pause(PAUSE_INGEST.sentence)
    assert control.paused == "", "it has ended"


async def test_a_model_is_not_tried_without_room_when_it_is_installed(services: Services, tmp_path: Path) -> None:
    folder = tiny_bert.make_model(tmp_path / "tiny")
    budget = services.memory.budget
    others = budget.admit("others", minimum=budget.free)
    with pytest.raises(ModelFault, match=r"is not loaded: it would take .* of its own"):
        await services.models.install(str(folder))
    others.release()
    assert (await services.models.install(str(folder))).installed


async def test_a_build_without_room_is_refused_with_numbers(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    services.config.set("memory_budget_mib", "450")
    services.memory_care.settings_changed()
    fill(write, folder)
    ear = Ear(services)
    needed = BUILD_BYTES + READER_BYTES + 2 * FILE_BYTES
    with pytest.raises(MemoryRefused) as refused:
        await services.ingest.ingest(kb, [folder])
    assert str(refused.value).startswith(
        f"“indexing Notes” needs {needed / 1e6:.0f} MB of memory, and 238 MB of the budget of 472 MB are free "
        "(held by “the program itself” 200 MB"
    )
    assert ways_in(refused.value.way_out) == [AllowMemory(452, "Choose a smaller embedding model")]
    assert model_pids(services) == [], "idle models were unloaded before"
    assert granted(services, "indexing Notes") is None
    await services.queue.start()
    await ear.until(lambda: len(ear.ended) == 1)
    assert ear.ended[0].job.state is JobState.FAILED
    assert ear.ended[0].job.error == refused.value.full_message
    assert len(await services.library.documents(kb)) == 2
    services.config.set("memory_budget_mib", "1024")
    services.memory_care.settings_changed()
    await services.queue.retry(ear.ended[0].job.id)
    await ear.until(lambda: len(ear.ended) == 2)
    assert ear.ended[1].job.state is JobState.DONE
    assert len(await services.library.documents(kb)) == 14


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
async def test_what_a_build_was_granted_is_given_back(
    services: Services, kb: str, folder: Path, write: Write, batches: Batches, end: str
) -> None:
    seen: list[int | None] = []

    async def happens() -> None:
        seen.append(granted(services, "indexing Notes"))
        if end == "failed":
            raise ModelFault("No more.")
        if end == "cancelled" and (running := services.queue._running) is not None:
            running.control.obey("cancel")

    batches.at = dict.fromkeys(range(1, 100), happens)
    building = services.ingest.ingest(kb, [fill(write, folder)])
    if end == "done":
        await building
    else:
        with pytest.raises(ModelFault if end == "failed" else Cancelled):
            await building
    assert seen[0] == BUILD_BYTES + 2 * READER_BYTES + 2 * FILE_BYTES
    assert granted(services, "indexing Notes") is None
    assert services.memory_care._builds._controls == []
    assert all(not client._holds for client in pool(services)._clients.values())


@pytest.mark.parametrize(("mib", "readers"), [(4096, 4), (460, 3), (360, 2), (260, 1)])
async def test_fewer_files_are_read_side_by_side_where_memory_is_small(mib: int, readers: int) -> None:
    memory = MemoryCoordinator(mib, dict, read_machine=lambda: EASY)
    options = {"include": (), "exclude": (), "jobs": 4}
    job = Job("j", "kb", JobKind.INGEST, JobState.RUNNING, (), options)
    async with BuildRoom(memory).place("Notes", job, JobControl(), 1000) as place:
        assert place.readers(4) == readers
        assert place.readers(1) == 1
    async with BuildRoom(memory).place("Notes", replace(job, kind=JobKind.REMOVE), JobControl(), 0) as place:
        assert place.readers(4) == 1
    assert memory.budget.grants == []


async def test_documents_can_be_removed_where_memory_is_small(services: Services, kb: str, folder: Path) -> None:
    services.config.set("memory_budget_mib", "360")
    services.memory_care.settings_changed()
    with pytest.raises(MemoryRefused):
        await services.ingest.ingest(kb, [folder])
    report = await services.ingest.remove(kb, [str(folder / "piano.txt")])
    assert (report.removed, granted(services, "indexing Notes")) == (1, None)


async def test_a_model_that_was_replaced_leaves_memory(
    services: Services, kb: str, folder: Path, write: Write, tmp_path: Path
) -> None:
    small = (await services.models.install(str(tiny_bert.make_model(tmp_path / "tiny-bert")))).name
    other = await services.library.create("Other")
    write("../other/a.txt", "A second knowledge base keeps the first model.")
    await services.ingest.ingest(other.id, [folder.parent / "other"])
    await services.models.use(kb, small)
    await services.ingest.rebuild(kb)
    assert {model.name for model in pool(services).loaded()} == {"all-MiniLM-L6-v2", small}, "“Other” needs it"
    await services.models.use(other.id, small)
    await services.ingest.rebuild(other.id)
    await retired(services)
    assert [model.name for model in pool(services).loaded()] == [small]
    assert (await search(services, kb, "whales")).results
    await services.maintenance.rollback(kb)
    assert [model.name for model in pool(services).loaded()] == [small], "“Other” needs it"
    await services.maintenance.rollback(other.id)
    await retired(services)
    assert model_pids(services) == []
    assert (await search(services, kb, "whales")).results
    assert [model.name for model in pool(services).loaded()] == ["all-MiniLM-L6-v2"]


async def retired(services: Services) -> None:
    tasks = pool(services)._owner._tasks.items()
    await asyncio.gather(*[task for task, name in tasks if name.startswith("retire")])


async def test_memory_is_not_read_while_the_window_is_hidden_and_nothing_works(
    data_dir: Path, machine: Machine
) -> None:
    async with open_services(data_dir) as services:
        care, level = services.memory_care, services.memory._pressure
        care._cpu = lambda: 0.0
        services.attention.set_shown(False)
        pause = asyncio.create_task(care._pause(0.0))
        for _ in range(5):
            await asyncio.sleep(0)
        assert pause.done(), "no time has gone by that could tell whether something is at work"
        care._cpu = lambda: 0.0
        pause = asyncio.create_task(care._pause(1.0))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not pause.done()
        with services.attention.working():
            await pause
            await care._pause(0.0)
        level.level = Level.ELEVATED
        await care._pause(0.0)
