"""A model of 4.4 GB: refused and admitted with numbers, its mapped pages told from its own memory, and dropped."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import psutil
import pytest

from studio.cli.ways_out import typed
from studio.domain import ModelInfo
from studio.embedding.client import EmbeddingClient
from studio.embedding.model_files import read_footprint
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.errors import MemoryRefused, ModelFault
from studio.memory import GIB, Budget, Grant, cached_bytes, mapped_files, process_reading
from studio.paths import DataPaths
from tests.unit.embedding.client.memory_doubles import Limited
from tests.unit.embedding.model_files import sparse_gguf

SHA256 = "0" * 64
WIDTH = 4096


class Budgeted:
    """An `Admission` by the program's own budget."""

    def __init__(self, total: int) -> None:
        self.budget = Budget(total, 64 * GIB)
        self.grants: dict[str, Grant] = {}

    async def admit(self, component: str, needed_bytes: int, smaller: str) -> None:
        self.release(component)
        self.grants[component] = self.budget.admit(component, minimum=needed_bytes, smaller=smaller)

    def release(self, component: str) -> None:
        if component in self.grants:
            self.grants.pop(component).release()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> DataPaths:
    """A data directory with the large model in it."""
    paths = DataPaths(tmp_path_factory.mktemp("large"))
    paths.create()
    path = sparse_gguf.make_model(paths.models / f"{SHA256}.gguf", width=WIDTH, layers=11, heads=32)
    description = {
        "name": "large", "sha256": SHA256, "dimension": WIDTH, "max_tokens": 512, "pooling": "mean",
        "size_bytes": path.stat().st_size,
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(description))
    return paths


@pytest.fixture
def large(paths: DataPaths) -> ModelInfo:
    info = ModelCatalog(paths).find("large")
    assert info is not None
    assert info.size_bytes == pytest.approx(4.4e9, rel=0.01)
    return info


@pytest.mark.parametrize("budget", [GIB, 2 * GIB, 4 * GIB])
async def test_it_is_refused_before_it_is_read_or_started(paths: DataPaths, large: ModelInfo, budget: int) -> None:
    children = psutil.Process().children()
    admission = Budgeted(budget)
    pool = EmbedderPool(ModelCatalog(paths), admission=admission)
    with pytest.raises(ModelFault) as refused:
        await pool.embedder("large")
    assert isinstance(refused.value.__cause__, MemoryRefused), "and not a file that is not what it was"
    assert str(refused.value) == (
        "The model large is not loaded: it would take 4.47 GB mapped from files and 108 MB of its own. "
        f"“the model large” needs 4.57 GB of memory, and {budget / 1e9:.2f} GB of the budget of {budget / 1e9:.2f} GB "
        "are free."
    )
    assert typed(refused.value.way_out) == (
        "Install a smaller quantisation of the model large or choose a smaller model, or allow more memory: "
        "rag-studio config set memory_budget_mib 4363"
    )
    assert admission.budget.grants == []
    assert psutil.Process().children() == children
    await pool.close()


async def test_the_budget_that_is_named_is_enough_and_one_byte_less_is_not(large: ModelInfo) -> None:
    assert large.path is not None
    needed = read_footprint(large.path, large.max_tokens).total_bytes
    assert 4362 << 20 < needed <= 4363 << 20
    with pytest.raises(ModelFault):
        await EmbeddingClient.start(large, admission=Limited(needed - 1))


async def test_its_pages_are_told_from_its_own_memory_and_go_with_the_worker(large: ModelInfo) -> None:
    path = large.path
    assert path is not None
    admission = Budgeted(4363 << 20)
    client = await EmbeddingClient.start(large, admission=admission)
    (vector,) = await client.embed(["the quick fox"])
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-4)
    pid = client.pid
    assert pid is not None
    reading = process_reading(pid)
    assert reading is not None
    assert reading.resident == pytest.approx((await client.footprint()).total_bytes, rel=0.15)
    files = mapped_files(pid)
    if files is not None:  # the system tells
        assert files[str(path)] == pytest.approx(large.size_bytes, rel=0.01)
        assert reading.mapped >= files[str(path)]
        assert reading.private < 150_000_000
    drop_cached(path)
    if cached_bytes([path]) is not None and hasattr(os, "posix_fadvise"):
        assert cached_bytes([path]) == pytest.approx(large.size_bytes, rel=0.01), "what is mapped cannot be dropped"
    await client.unload()
    assert not psutil.pid_exists(pid)
    assert admission.budget.grants == []
    drop_cached(path)
    if hasattr(os, "posix_fadvise"):
        assert cached_bytes([path]) == 0, "nobody has it mapped any more"
    await client.close()


def drop_cached(path: Path) -> None:
    """Let the system forget the pages of a file that nobody has mapped, where it can be asked to."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
