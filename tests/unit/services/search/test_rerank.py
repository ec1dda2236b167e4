"""Rerankers by name: cross-encoders in GGUF format and LanceDB's own, with a stand-in for the package they need."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from studio.config import Config
from studio.domain import Reranker
from studio.embedding.client import launch
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.errors import InvalidRequest, ModelFault, WorkerDied
from studio.paths import DataPaths
from studio.services.search import Rerankers, rerank
from tests.helpers import ROOT, tiny_reranker
from tests.unit.embedding.client import fragile_worker

HANGER = "this text hangs the worker"
PASSAGES = ["the lazy dog", "the quick fox jumps", "a house"]

SENTENCE_TRANSFORMERS = """
import time

class CrossEncoder:
    def __init__(self, name, device, trust_remote_code):
        assert not trust_remote_code
        if name.startswith("nowhere"):
            raise OSError(f"{name} is not a folder")
        self.name = name

    def predict(self, pairs, batch_size):
        if any(passage == "slow" for _, passage in pairs):
            time.sleep(0.5)
        if any(passage == "fatal" for _, passage in pairs):
            raise RuntimeError("out of memory")
        return [float(len(set(query.split()) & set(passage.split()))) for query, passage in pairs]
"""
TORCH = """
class cuda:
    is_available = staticmethod(lambda: False)
"""


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_reranker.make_reranker(tmp_path_factory.mktemp("reranker"))


@pytest.fixture
async def rerankers(tmp_path: Path, gguf_file: Path) -> AsyncIterator[Rerankers]:
    paths = DataPaths(tmp_path / "data")
    paths.create()
    catalog = ModelCatalog(paths)
    await catalog.install(str(gguf_file))
    pool = EmbedderPool(catalog)
    yield Rerankers(catalog, pool)
    await pool.close()


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "WORKER_MODULE", fragile_worker.__name__)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What LanceDB's CrossEncoderReranker imports, scoring by the words two texts share."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name, text in (("sentence_transformers", SENTENCE_TRANSFORMERS), ("torch", TORCH)):
        (folder / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(folder))
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(variable, "1")  # so that it is as before after the test
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("sentence_transformers", "torch")]:
        del sys.modules[name]


def test_none_is_used_unless_chosen(tmp_path: Path) -> None:
    config = Config(tmp_path / "config.json")
    assert config.text("reranker") == ""
    config.set("reranker", "tiny-reranker")
    assert Config(tmp_path / "config.json").text("reranker") == "tiny-reranker"


async def test_a_cross_encoder_scores_passages(rerankers: Rerankers, gguf_file: Path) -> None:
    reranker: Reranker = await rerankers.reranker("tiny-reranker")
    assert reranker.name == "tiny-reranker"
    scores = await reranker.scores("fox", PASSAGES)
    assert len(scores) == len(set(scores)) == 3
    assert await reranker.scores("fox", PASSAGES[::-1]) == pytest.approx(scores[::-1], abs=2e-3)
    assert "tiny-reranker" in await rerankers.names()


async def test_unknown_names_are_refused_with_what_there_is(rerankers: Rerankers) -> None:
    for name in ("nobody", "lancedb:CohereReranker", "lancedb:", "lancedb:RRFReranker", "LANCEDB:x", ""):
        with pytest.raises(InvalidRequest, match="There is no reranker") as refusal:
            await rerankers.reranker(name)
        assert "tiny-reranker" in refusal.value.way_out
        assert "lancedb:CrossEncoderReranker" in refusal.value.way_out


async def test_an_embedder_is_no_reranker(rerankers: Rerankers) -> None:
    with pytest.raises(ModelFault, match="no reranker"):
        await rerankers.reranker("all-MiniLM-L6-v2")


@pytest.mark.usefixtures("fragile")
async def test_a_worker_that_dies_is_reported_and_the_next_call_works(rerankers: Rerankers) -> None:
    reranker = await rerankers.reranker("tiny-reranker")
    with pytest.raises(WorkerDied):
        await reranker.scores("fox", [fragile_worker.KILLER])
    assert len(await reranker.scores("fox", PASSAGES)) == 3


@pytest.mark.usefixtures("fragile")
async def test_a_call_that_takes_too_long_is_given_up(rerankers: Rerankers, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = await rerankers.reranker("tiny-reranker")
    await reranker.scores("fox", PASSAGES)
    monkeypatch.setattr(rerank, "TIME_LIMIT_S", 0.2)
    with pytest.raises(ModelFault, match=r"more than 0\.2 seconds"):
        await reranker.scores("fox", [HANGER])
    monkeypatch.setattr(rerank, "TIME_LIMIT_S", 30)
    assert len(await reranker.scores("fox", PASSAGES)) == 3, "the hung process was replaced"


@pytest.mark.usefixtures("packages")
async def test_a_reranker_of_lancedb_works_once_its_packages_are_there(rerankers: Rerankers) -> None:
    assert "lancedb:CrossEncoderReranker" in await rerankers.names()
    reranker = await rerankers.reranker("lancedb:CrossEncoderReranker")
    assert await reranker.scores("the quick fox", PASSAGES) == [1, 3, 0]
    assert await reranker.scores("the quick fox", []) == []
    assert await rerankers.reranker("lancedb:CrossEncoderReranker") is reranker, "its model is loaded once"
    named = await rerankers.reranker("lancedb:CrossEncoderReranker:C:\\models\\mine")
    assert named.name.endswith(":C:\\models\\mine")


@pytest.mark.usefixtures("packages")
async def test_faults_of_lancedbs_rerankers_are_model_faults(
    rerankers: Rerankers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelFault, match="nowhere/model is not a folder"):
        await rerankers.reranker("lancedb:CrossEncoderReranker:nowhere/model")
    reranker = await rerankers.reranker("lancedb:CrossEncoderReranker")
    with pytest.raises(ModelFault, match="out of memory"):
        await reranker.scores("fox", ["fatal"])
    monkeypatch.setattr(rerank, "TIME_LIMIT_S", 0.05)
    with pytest.raises(ModelFault, match=r"more than 0\.05 seconds"):
        await reranker.scores("fox", ["slow"])
    monkeypatch.setattr(rerank, "TIME_LIMIT_S", 30)
    assert await reranker.scores("the fox", ["the fox"]) == [2]


async def test_a_missing_package_is_named(rerankers: Rerankers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "lancedb:ColbertReranker" not in await rerankers.names()
    with pytest.raises(ModelFault, match="needs sentence-transformers") as fault:
        await rerankers.reranker("lancedb:CrossEncoderReranker")
    assert "pip install sentence-transformers" in fault.value.way_out
    with pytest.raises(ModelFault, match='needs "rerankers'):
        await rerankers.reranker("lancedb:ColbertReranker")
