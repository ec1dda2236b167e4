from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studio.cli.ways_out import typed
from studio.confinement import available
from studio.domain import Embedder, EmbedderProvider, ModelInfo
from studio.embedding.client import EmbeddingClient, launch, loading
from studio.embedding.client import client as client_module
from studio.embedding.client.client import messages
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.embedding.worker import Kind
from studio.errors import ModelFault, WorkerDied
from studio.paths import DataPaths
from studio.workers import WorkerProcess
from tests.helpers import ROOT
from tests.unit.embedding.client import fragile_worker

SENTENCE = "the quick fox jumps over the lazy dog. "


@pytest.fixture
async def client(default_model: ModelInfo) -> AsyncIterator[EmbeddingClient]:
    started = await EmbeddingClient.start(default_model)
    yield started
    await started.close()


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients start the fragile worker, a real one that dies or hangs on certain texts."""
    monkeypatch.setattr(launch, "WORKER_MODULE", fragile_worker.__name__)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


PROJECT = [str(Path(client_module.__file__).parents[2])]


async def busy(client: EmbeddingClient) -> int:
    """Wait until the worker owes an answer; its process id."""
    while not client._pending or client.pid is None:  # noqa: ASYNC110 - no event tells, and none is needed
        await asyncio.sleep(0)
    return client.pid


def test_it_is_an_embedder_and_the_pool_a_provider() -> None:
    embedder: type[Embedder] = EmbeddingClient
    provider: type[EmbedderProvider] = EmbedderPool
    assert (embedder, provider) == (EmbeddingClient, EmbedderPool)


def test_messages_are_bounded_and_keep_the_order() -> None:
    texts = [str(number) for number in range(100)] + ["x" * 200_000, "y" * 200_000, "z" * 600_000, "end"]
    parts = messages(texts)
    assert [text for part in parts for text in part] == texts
    assert all(len(part) <= 32 for part in parts)
    assert all(len(part) == 1 or sum(map(len, part)) <= 256 * 1024 for part in parts)
    assert messages([]) == []


async def test_embedding(client: EmbeddingClient, default_model: ModelInfo) -> None:
    assert client.model == default_model
    vectors = await client.embed(["A cat sits.", "A kitten is sitting.", "Quarterly revenue fell."])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]


async def test_batch_and_single_results_agree_and_repeat(client: EmbeddingClient) -> None:
    texts = [f"Sentence number {number}. " * (number % 9) for number in range(150)]
    first, again = await client.embed(texts), await client.embed(texts)
    np.testing.assert_array_equal(first, again)
    for row in (0, 1, 70, 149):
        (alone,) = await client.embed([texts[row]], interactive=True)
        assert alone @ first[row] > 0.99999


async def test_odd_texts(client: EmbeddingClient) -> None:
    assert (await client.embed([])).shape == (0, 384)
    assert await client.count_tokens([]) == []
    vectors = await client.embed(["", "\ud800 lone", "x" * 10_000, "word " * 2_000, "\0"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert await client.count_tokens(["", "word " * 2_000, "\ud800"]) == [0, 2000, 1]
    assert len(await client.count_tokens(["word"] * 1000)) == 1000


async def test_many_callers_share_the_worker(client: EmbeddingClient) -> None:
    texts = [f"caller {number}" for number in range(20)]
    expected = await client.embed(texts)
    results = await asyncio.gather(*(client.embed([text], interactive=bool(i % 2)) for i, text in enumerate(texts)))
    for row, result in zip(expected, results, strict=True):
        assert result[0] @ row > 0.99999


async def test_a_query_is_answered_before_the_batch_that_came_first(client: EmbeddingClient) -> None:
    finished: list[str] = []

    async def run(name: str, texts: list[str], interactive: bool) -> None:
        await client.embed(texts, interactive=interactive)
        finished.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(run("batch", [SENTENCE * 20] * 64, False))
        await busy(client)
        group.create_task(run("query", ["what jumps over the dog?"], True))
    assert finished == ["query", "batch"]


async def test_cancelling_one_caller_does_not_disturb_the_others(
    client: EmbeddingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    send = WorkerProcess.send

    async def record(process: WorkerProcess, kind: int, request: int, *parts: bytes) -> None:
        sent.append(kind)
        await send(process, kind, request, *parts)

    monkeypatch.setattr(WorkerProcess, "send", record)
    async with asyncio.TaskGroup() as group:
        doomed = group.create_task(client.embed([SENTENCE * 20] * 300))
        await busy(client)
        other = group.create_task(client.embed(["a house"]))
        doomed.cancel()
    assert doomed.cancelled()
    assert other.result().shape == (1, 384)
    assert client.idle
    in_flight = sent.count(Kind.EMBED) - 1
    assert sent.count(Kind.CANCEL) == in_flight > 0, "the worker is told, so that it does not work for nobody"


async def test_a_killed_worker_is_replaced_and_nothing_is_lost(client: EmbeddingClient) -> None:
    texts = [f"{SENTENCE * 5} {number}" for number in range(150)]
    expected = await client.embed(texts)
    async with asyncio.TaskGroup() as group:
        batch = group.create_task(client.embed(texts))
        query = group.create_task(client.embed(["a question"], interactive=True))
        first = await busy(client)
        os.kill(first, signal.SIGKILL)
    np.testing.assert_array_equal(batch.result(), expected)
    assert query.result().shape == (1, 384)
    assert client.pid not in (None, first)


@pytest.mark.skipif(not available(), reason="Nothing confines a process here.")
async def test_a_model_runs_confined_and_so_does_each_of_its_threads(tiny_model: ModelInfo, tmp_path: Path) -> None:
    assert tiny_model.path is not None
    link = tmp_path / "link.gguf"
    link.symlink_to(tiny_model.path)
    client = await EmbeddingClient.start(replace(tiny_model, path=link), threads=2)
    try:
        assert (await client.embed([SENTENCE] * 40)).shape == (40, 64)
        tasks = [(task / "status").read_text() for task in Path(f"/proc/{client.pid}/task").iterdir()]
        assert len(tasks) > 1 and all("Seccomp:\t2\n" in status for status in tasks)
    finally:
        await client.close()


async def test_a_worker_killed_while_idle_is_replaced(client: EmbeddingClient) -> None:
    first = client.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert (await client.embed(["still there?"])).shape == (1, 384)
    assert client.pid != first


@pytest.mark.usefixtures("fragile")
async def test_only_the_text_that_kills_twice_fails(tiny_model: ModelInfo) -> None:
    client = await EmbeddingClient.start(tiny_model)
    try:
        innocents = [client.embed([f"the fox {letter}"]) for letter in "abc"]
        results = await asyncio.gather(
            *innocents, client.embed([fragile_worker.KILLER]), client.embed(["a dog"]), return_exceptions=True
        )
        assert [type(result) for result in results].count(WorkerDied) == 1
        assert isinstance(results[3], WorkerDied)
        assert "twice" in str(results[3])
        assert fragile_worker.KILLER in str(results[3])
        assert (await client.embed(["a house"])).shape == (1, 64)
    finally:
        await client.close()


@pytest.mark.usefixtures("fragile")
async def test_a_worker_that_keeps_dying_is_given_up(tiny_model: ModelInfo) -> None:
    client = await EmbeddingClient.start(tiny_model)
    try:
        for _ in range(loading.RESTARTS):
            with pytest.raises(WorkerDied):
                await client.embed([fragile_worker.KILLER])
        with pytest.raises(WorkerDied, match="keeps ending"):
            await client.embed(["a house"])
        assert client.pid is None
    finally:
        await client.close()


@pytest.mark.usefixtures("fragile")
async def test_a_worker_that_hangs_is_ended(tiny_model: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "STALL_S", 0.4)
    client = await EmbeddingClient.start(tiny_model)
    try:
        with pytest.raises(WorkerDied, match="twice"):
            await client.embed([fragile_worker.HANGER])
    finally:
        await client.close()


@pytest.mark.usefixtures("fragile")
async def test_signs_of_life_are_no_answers(tiny_model: ModelInfo) -> None:
    client = await EmbeddingClient.start(tiny_model)
    try:
        assert (await client.embed([SENTENCE] * 100)).shape == (100, 64)
    finally:
        await client.close()


@pytest.mark.usefixtures("fragile")
async def test_an_unusable_vector_is_a_fault(tiny_model: ModelInfo) -> None:
    client = await EmbeddingClient.start(tiny_model)
    try:
        with pytest.raises(ModelFault, match=fragile_worker.ZERO):
            await client.embed(["a house", fragile_worker.ZERO])
    finally:
        await client.close()


async def test_a_file_that_is_not_the_model_it_was_is_refused(tiny_model: ModelInfo, tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="dimension 64"):
        await EmbeddingClient.start(replace(tiny_model, dimension=384))
    with pytest.raises(ModelFault, match="not there"):
        await EmbeddingClient.start(replace(tiny_model, path=tmp_path / "gone.gguf"))


async def test_closing_fails_what_waits_and_is_idempotent(default_model: ModelInfo) -> None:
    client = await EmbeddingClient.start(default_model)
    waiting = asyncio.gather(client.embed([SENTENCE * 20] * 200), return_exceptions=True)
    await busy(client)
    await client.close()
    (result,) = await waiting
    assert isinstance(result, WorkerDied)
    with pytest.raises(WorkerDied, match="closed"):
        await client.embed(["too late"])
    await client.close()
    assert client.pid is None


async def test_the_pool_starts_one_worker_per_model_and_unloads_it(model_paths: DataPaths) -> None:
    pool = EmbedderPool(ModelCatalog(model_paths))
    try:
        first, second = await asyncio.gather(*(pool.embedder("all-MiniLM-L6-v2") for _ in range(2)))
        assert first is second
        (loaded,) = pool.loaded()
        assert loaded.name == "all-MiniLM-L6-v2"
        assert loaded.size_bytes == first.model.size_bytes
        await pool.unload("all-MiniLM-L6-v2")
        assert pool.loaded() == []
        assert (await first.embed(["loaded again on demand"])).shape == (1, 384)
        assert pool.loaded()[0].pid != loaded.pid
        with pytest.raises(ModelFault) as caught:
            await pool.embedder("nobody-knows-me")
        assert "rag-studio model install nobody-knows-me" in typed(caught.value.full_message)
    finally:
        await pool.close()
    assert pool.loaded() == []
    with pytest.raises(ModelFault):
        await pool.embedder("all-MiniLM-L6-v2")


async def test_unloading_during_a_request_loses_nothing(tiny_model: ModelInfo) -> None:
    client = await EmbeddingClient.start(tiny_model)
    try:
        async with asyncio.TaskGroup() as group:
            batch = group.create_task(client.embed([SENTENCE] * 500))
            await busy(client)
            await client.unload()
        assert batch.result().shape == (500, 64)
    finally:
        await client.close()
