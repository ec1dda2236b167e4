"""Models that crash the process on some processors: the safe way is tried, and nothing untrue is said of the file."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from studio.domain import ModelInfo
from studio.embedding.client import EmbeddingClient, launch, probe
from studio.errors import ModelFault
from studio.workers import CRASH_SIGNALS, NTSTATUS_ERROR, WorkerProcess, crashed
from tests.helpers import ROOT
from tests.unit.embedding.client import crashing_worker
from tests.unit.embedding.model_files import sparse_gguf


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Workers that crash, or are killed, where `CRASHES` says."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(launch, "WORKER_MODULE", crashing_worker.__name__)
    yield monkeypatch


@pytest.mark.parametrize("kind", [Type.Q4_0, Type.Q4_1, Type.Q8_0, Type.Q4_K, Type.Q6_K, Type.IQ4_XS], ids=str)
async def test_quantised_models_work_on_this_processor(kind: Type, tmp_path: Path) -> None:
    model = sparse_gguf.make_model(tmp_path / "q.gguf", width=256, layers=1, heads=4, matrices=kind)
    ready = await probe(model, max_tokens=48)
    assert ready.dimension == 256


async def test_a_model_that_crashes_when_it_loads_goes_on_the_safe_way(
    crashing: pytest.MonkeyPatch, tiny_model: ModelInfo
) -> None:
    crashing.setenv(crashing_worker.CRASHES, "load")
    assert tiny_model.path is not None
    assert (await probe(tiny_model.path, max_tokens=48)).dimension == 64
    client = await EmbeddingClient.start(tiny_model)
    try:
        assert np.linalg.norm(await client.embed(["the fox"])) == pytest.approx(1.0, abs=1e-4)
    finally:
        await client.close()


async def test_a_model_that_crashes_on_a_text_goes_on_the_safe_way(
    crashing: pytest.MonkeyPatch, tiny_model: ModelInfo
) -> None:
    crashing.setenv(crashing_worker.CRASHES, "embed")
    assert tiny_model.path is not None
    assert (await probe(tiny_model.path, max_tokens=48)).dimension == 64
    client = await EmbeddingClient.start(tiny_model)
    try:
        first = client.pid
        assert (await client.embed(["the fox"])).shape == (1, 64)
        second = client.pid
        assert first != second
        assert (await client.embed(["a dog"])).shape == (1, 64)
        assert client.pid == second, "it has learnt"
    finally:
        await client.close()


async def test_one_that_crashes_either_way_says_what_was_tried(
    crashing: pytest.MonkeyPatch, tiny_model: ModelInfo
) -> None:
    crashing.setenv(crashing_worker.CRASHES, "always")
    assert tiny_model.path is not None
    with pytest.raises(ModelFault, match="also without the processor's special instructions"):
        await probe(tiny_model.path, max_tokens=48)
    with pytest.raises(ModelFault, match=r"The model tiny-bert crashes .* also without"):
        await EmbeddingClient.start(tiny_model)


async def test_one_that_is_killed_while_it_loads_is_not_called_damaged(
    crashing: pytest.MonkeyPatch, tiny_model: ModelInfo
) -> None:
    crashing.setenv(crashing_worker.CRASHES, "killed")
    assert tiny_model.path is not None
    for attempt in (probe(tiny_model.path, max_tokens=48), EmbeddingClient.start(tiny_model)):
        with pytest.raises(ModelFault, match="ended before it was ready") as caught:
            await attempt
        assert "damaged" not in caught.value.full_message
        assert caught.value.way_out.startswith("Try again.")


async def test_a_worker_is_started_without_caution_first(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    spawn = WorkerProcess.spawn

    async def noting(module: str, arguments: list[str], environment: dict[str, str]) -> WorkerProcess:
        seen.append("--cautious" in arguments)
        return await spawn(module, arguments, environment)

    monkeypatch.setattr(WorkerProcess, "spawn", noting)
    await probe(tiny_gguf, max_tokens=48)
    assert seen == [False]


def test_crashes_are_told_from_ends_by_others() -> None:
    assert {-int(number) for number in CRASH_SIGNALS} >= {-signal.SIGSEGV, -signal.SIGABRT}
    assert all(crashed(-int(number)) for number in CRASH_SIGNALS)
    assert crashed(NTSTATUS_ERROR + 5), "an access violation on Windows"
    assert not any(crashed(code) for code in (0, 1, 9, 255, -int(signal.SIGTERM), -9))
