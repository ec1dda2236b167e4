"""When models are loaded, unloaded and refused."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from studio.embedding.client import EmbeddingClient, loading
from studio.embedding.model_files import read_footprint
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.embedding.worker import Kind, protocol
from studio.errors import MemoryRefused, ModelFault
from studio.paths import DataPaths
from studio.workers import WorkerProcess
from tests.helpers import tiny_bert
from tests.unit.embedding.client.memory_doubles import Clock, Limited
from tests.unit.embedding.client.test_embedding_client import SENTENCE, busy

IDLE_S = 60.0
NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def three_models(tmp_path_factory: pytest.TempPathFactory) -> ModelCatalog:
    """A catalog with three models of the same size and different weights."""
    work = tmp_path_factory.mktemp("three")
    paths = DataPaths(work / "data")
    paths.create()
    catalog = ModelCatalog(paths)
    for seed, name in enumerate(NAMES):
        asyncio.run(catalog.install(str(tiny_bert.make_model(work / name, seed=seed))))
    return catalog


@pytest.fixture
def each(three_models: ModelCatalog) -> int:
    """What one of the models takes."""
    path = three_models.find("one").path  # type: ignore[union-attr]
    assert path is not None
    return read_footprint(path, 48).total_bytes


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pool(three_models: ModelCatalog, clock: Clock) -> AsyncIterator[EmbedderPool]:
    """A pool without a memory limit."""
    opened = EmbedderPool(three_models, idle_s=IDLE_S, clock=clock, sleep=clock.sleep)
    yield opened
    await opened.close()


def narrow(catalog: ModelCatalog, room: int, clock: Clock) -> tuple[EmbedderPool, Limited]:
    """A pool with so much room, in which nothing is unloaded for being idle."""
    limited = Limited(room)
    return EmbedderPool(catalog, admission=limited, clock=clock, sleep=clock.sleep), limited


async def client_of(pool: EmbedderPool, model: str) -> EmbeddingClient:
    embedder = await pool.embedder(model)
    assert isinstance(embedder, EmbeddingClient)
    return embedder


def names(pool: EmbedderPool) -> list[str]:
    return [loaded.name for loaded in pool.loaded()]


@contextmanager
def halted(pid: int) -> Iterator[None]:
    """The worker does not get on, so a request it has stays unanswered."""
    process = psutil.Process(pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


async def test_an_idle_model_ends_its_process_and_loads_again_on_demand(pool: EmbedderPool, clock: Clock) -> None:
    embedder = await client_of(pool, "one")
    await clock.advance(IDLE_S / 2)
    expected = await embedder.embed([SENTENCE])
    (loaded,) = pool.loaded()
    assert (loaded.name, loaded.path, loaded.last_use, loaded.idle) == ("one", embedder.model.path, clock.now, True)
    await clock.advance(IDLE_S - 1)
    assert names(pool) == ["one"], "counted from the last use, not from the start"
    await clock.advance(1)
    assert names(pool) == []
    assert not psutil.pid_exists(loaded.pid)
    np.testing.assert_array_equal(await embedder.embed([SENTENCE]), expected)
    assert pool.loaded()[0].pid != loaded.pid
    await clock.advance(IDLE_S)
    assert names(pool) == [], "and so on"


async def test_a_model_at_work_is_not_idle(pool: EmbedderPool, clock: Clock) -> None:
    embedder = await client_of(pool, "one")
    pid = embedder.pid
    assert pid is not None
    with halted(pid):
        request = asyncio.create_task(embedder.embed([SENTENCE]))
        await busy(embedder)
        await clock.advance(5 * IDLE_S)
        assert (names(pool), pool.loaded()[0].idle) == (["one"], False)
        assert await pool.unload_idle() == {}
    await request
    assert embedder.pid == pid
    await clock.advance(IDLE_S)
    assert names(pool) == []


async def test_a_model_that_is_held_is_not_idle(pool: EmbedderPool, clock: Clock) -> None:
    embedder = await client_of(pool, "one")
    with embedder.hold():
        with embedder.hold():
            await clock.advance(5 * IDLE_S)
        await embedder.embed([SENTENCE])
        await clock.advance(5 * IDLE_S)
        assert names(pool) == ["one"]
    await clock.advance(IDLE_S - 1)
    assert names(pool) == ["one"], "counted from the end of the hold"
    await clock.advance(1)
    assert names(pool) == []


async def test_the_idle_time_can_be_changed_and_switched_off(pool: EmbedderPool, clock: Clock) -> None:
    await pool.embedder("one")
    pool.unload_after(10 * IDLE_S)
    await asyncio.sleep(0)
    await clock.advance(10 * IDLE_S - 1)
    assert names(pool) == ["one"]
    pool.unload_after(0)
    await asyncio.sleep(0)
    assert clock._sleepers == {}, "nobody waits any more"
    clock.now += 100 * IDLE_S
    pool.unload_after(IDLE_S)
    await asyncio.sleep(0)
    await clock.advance(0)
    assert names(pool) == []


async def test_being_unloaded_again_and_again_is_not_taken_for_a_crash(pool: EmbedderPool) -> None:
    embedder = await client_of(pool, "one")
    for _ in range(loading.RESTARTS + 2):
        await embedder.embed([SENTENCE])
        freed = await pool.unload_idle()
        assert freed.keys() == {"one"}
        assert freed["one"] > 20_000_000, "a Python process has more than this resident"


async def test_models_that_were_just_used_can_be_spared(pool: EmbedderPool, clock: Clock) -> None:
    await pool.embedder("one")
    await clock.advance(4)
    await pool.embedder("two")
    await clock.advance(4)
    assert (await pool.unload_idle(5.0)).keys() == {"one"}
    assert names(pool) == ["two"]


async def test_under_pressure_all_idle_models_go_and_others_stay(pool: EmbedderPool) -> None:
    kept = await client_of(pool, "two")
    with kept.hold():
        await pool.embedder("one")
        await pool.embedder("three")
        gone = {loaded.pid for loaded in pool.loaded() if loaded.name != "two"}
        assert (await pool.unload_idle()).keys() == {"one", "three"}
        assert names(pool) == ["two"]
    assert not any(map(psutil.pid_exists, gone))


async def test_the_least_recently_used_model_makes_room(three_models: ModelCatalog, clock: Clock, each: int) -> None:
    pool, limited = narrow(three_models, 2 * each, clock)
    for name in ("one", "two", "one"):
        clock.now += 1
        await (await pool.embedder(name)).embed([SENTENCE])
    assert names(pool) == ["two", "one"]
    clock.now += 1
    await (await pool.embedder("three")).embed([SENTENCE])
    assert names(pool) == ["one", "three"]
    assert limited.held == {"the model one": each, "the model three": each}
    clock.now += 1
    await (await pool.embedder("two")).embed([SENTENCE])
    assert names(pool) == ["three", "two"], "it loads again and the next one goes"
    await pool.close()
    assert limited.held == {}


async def test_a_model_is_refused_only_when_no_other_is_idle(
    three_models: ModelCatalog, clock: Clock, each: int
) -> None:
    pool, limited = narrow(three_models, 2 * each - 1, clock)
    first = await client_of(pool, "one")
    pid = first.pid
    with first.hold():
        with pytest.raises(ModelFault) as refused:
            await pool.embedder("two")
        assert first.pid == pid
        assert limited.held == {"the model one": each}
    assert isinstance(refused.value.__cause__, MemoryRefused)
    assert f"needs {each} bytes and {each - 1} of {2 * each - 1} are free" in str(refused.value)
    assert "MB mapped from files" in str(refused.value)
    assert refused.value.way_out == (
        "Install a smaller quantisation of the model two or choose a smaller model, or allow more memory."
    )
    assert (await (await pool.embedder("two")).embed([SENTENCE])).shape == (1, 64)
    assert names(pool) == ["two"]
    await pool.close()


async def test_many_requests_for_more_models_than_fit(three_models: ModelCatalog, clock: Clock, each: int) -> None:
    pool, limited = narrow(three_models, 2 * each, clock)

    async def ask(name: str) -> bool:
        try:
            return (await (await pool.embedder(name)).embed([SENTENCE])).shape == (1, 64)
        except ModelFault as fault:
            assert isinstance(fault.__cause__, MemoryRefused)  # both others were at work
            return False

    async with asyncio.timeout(120):  # nobody waits for anybody in a circle
        for _ in range(3):
            assert sum(await asyncio.gather(*map(ask, NAMES * 2))) >= 2
    assert len(limited.held) <= 2
    assert {f"the model {name}" for name in names(pool)} == limited.held.keys()
    await pool.close()
    assert limited.held == {}


async def test_a_crash_gives_the_room_back(three_models: ModelCatalog, clock: Clock, each: int) -> None:
    pool, limited = narrow(three_models, each, clock)
    embedder = await client_of(pool, "one")
    assert embedder.pid is not None
    os.kill(embedder.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        await limited.released.wait()
    assert limited.held == {}
    await embedder.embed([SENTENCE])
    assert limited.held == {"the model one": each}
    await pool.close()


async def test_a_start_that_fails_gives_the_room_back(
    three_models: ModelCatalog, clock: Clock, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, limited = narrow(three_models, each, clock)
    with monkeypatch.context() as broken:
        broken.setattr("studio.embedding.client.launch.WORKER_MODULE", "no_such_module")
        with pytest.raises(ModelFault):
            await pool.embedder("one")
        assert limited.released.is_set()
        assert limited.held == {}
    embedder = await pool.embedder("one")
    await pool.unload("one")
    with monkeypatch.context() as broken:
        broken.setattr("studio.embedding.client.launch.WORKER_MODULE", "no_such_module")
        with pytest.raises(ModelFault):
            await embedder.embed([SENTENCE])
        assert limited.held == {}, "also when it is loaded again"
    await embedder.embed([SENTENCE])
    await pool.close()


async def test_a_model_that_does_not_fit_is_not_tried_when_it_is_installed(tmp_path: Path, tiny_gguf: Path) -> None:
    paths = DataPaths(tmp_path / "data")
    paths.create()
    needed = read_footprint(tiny_gguf, 64).total_bytes
    limited = Limited(needed - 1)
    catalog = ModelCatalog(paths, admission=limited)
    with pytest.raises(ModelFault, match=f"needs {needed} bytes"):
        await catalog.install(str(tiny_gguf))
    assert list(paths.models.glob("*.gguf")) == []
    limited.limit += 1
    assert (await catalog.install(str(tiny_gguf))).installed
    assert limited.released.is_set()
    assert limited.held == {}


async def test_a_retired_model_answers_its_last_request_before_it_ends(pool: EmbedderPool) -> None:
    old = await client_of(pool, "one")
    expected = await old.embed([SENTENCE])
    pid = old.pid
    assert pid is not None
    with halted(pid):
        search = asyncio.create_task(old.embed([SENTENCE], interactive=True))
        await busy(old)
        pool.retire("one")
        assert (await (await pool.embedder("two")).embed([SENTENCE])).shape == (1, 64)
        assert set(names(pool)) == {"one", "two"}
    np.testing.assert_array_equal(await search, expected)
    async with asyncio.timeout(60):
        while psutil.pid_exists(pid):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
    pool.retire("one")
    pool.retire("nobody-knows-me")
    assert not psutil.pid_exists(pid)


async def test_smaller_batches_give_the_same_vectors(pool: EmbedderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    send = WorkerProcess.send

    async def record(process: WorkerProcess, kind: int, request: int, *parts: bytes) -> None:
        if kind == Kind.EMBED:
            sizes.append(len(protocol.decode_texts(parts[0])))
        await send(process, kind, request, *parts)

    monkeypatch.setattr(WorkerProcess, "send", record)
    texts = [f"{SENTENCE * (number % 5)} {number}" for number in range(100)]
    embedder = await pool.embedder("one")
    expected = await embedder.embed(texts)
    usual = max(sizes)
    pool.shrink_batches(True)
    sizes.clear()
    np.testing.assert_allclose(await embedder.embed(texts), expected, atol=1e-4)
    assert max(sizes) == usual // 4
    sizes.clear()
    await (await pool.embedder("two")).embed(texts)
    assert max(sizes) == usual // 4, "also of a model that was started meanwhile"
    pool.shrink_batches(False)
    sizes.clear()
    np.testing.assert_array_equal(await embedder.embed(texts), expected)
    assert max(sizes) == usual


async def test_a_file_that_was_changed_is_not_loaded(tmp_path: Path, tiny_gguf: Path, clock: Clock) -> None:
    paths = DataPaths(tmp_path / "data")
    paths.create()
    info = await ModelCatalog(paths).install(str(tiny_gguf))
    assert info.path is not None
    with info.path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    pool, limited = narrow(ModelCatalog(paths), 1 << 30, clock)
    with pytest.raises(ModelFault, match="changed or damaged"):
        await pool.embedder(info.name)
    assert limited.released.is_set(), "room is asked for first, as comparing reads the whole file"
    assert (limited.held, pool.loaded()) == ({}, [])
    await pool.close()


async def test_a_model_installed_anew_under_its_name_is_found(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path / "data")
    paths.create()
    catalog = ModelCatalog(paths)
    pool = EmbedderPool(catalog)
    found = []
    for seed in range(2):
        folder = tiny_bert.make_model(tmp_path / str(seed) / "same", seed=seed)
        info = await catalog.install(str(folder))
        embedder = await pool.embedder("same")
        assert embedder.model == info
        found.append(await embedder.embed([SENTENCE]))
        await pool.unload("same")
        catalog.remove("same")
    assert not np.allclose(*found)
    await pool.close()
