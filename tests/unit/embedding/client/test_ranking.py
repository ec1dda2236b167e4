"""Cross-encoders through llama.cpp's rank pooling: scores, worker, catalog."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.domain import ModelInfo
from studio.embedding.client import EmbeddingClient, RankingClient, launch
from studio.embedding.model_files import sha256_of
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.embedding.worker.engine import Engine
from studio.errors import ModelFault, WorkerDied
from studio.paths import DataPaths
from tests.helpers import ROOT, tiny_reranker
from tests.unit.embedding.client import fragile_worker
from tests.unit.embedding.client.test_embedding_client import SENTENCE, busy

CLS, SEP = 2, 3
QUERY = "the quick fox"
PASSAGES = ["the fox jumps over the dog", "a lazy house", "", "the dog " * 100, "x\ud800y \0"]


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_reranker.make_reranker(tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def engine(gguf_file: Path) -> Iterator[Engine]:
    loaded = Engine(gguf_file, max_tokens=512)
    yield loaded
    loaded.close()


@pytest.fixture
def model(gguf_file: Path) -> ModelInfo:
    size = gguf_file.stat().st_size
    return ModelInfo("tiny-reranker", sha256_of(gguf_file), 64, 64, "rank", size, "", True, gguf_file)


def score(engine: Engine, query: str, passages: list[str]) -> list[float]:
    ranking = engine.begin_ranking(query, passages)
    while ranking.step():
        pass
    assert ranking.vectors.shape == (len(passages), 1)
    return [float(value) for value in ranking.vectors[:, 0]]


def test_scores_agree_with_an_independent_forward_pass(engine: Engine, gguf_file: Path) -> None:
    expected = [tiny_reranker.expected_score(gguf_file, tokens.tolist()) for tokens in engine.pairs(QUERY, PASSAGES)]
    np.testing.assert_allclose(score(engine, QUERY, PASSAGES), expected, atol=2e-3)
    assert max(expected) - min(expected) > 0.05, "the passages differ by more than the tolerance"


def test_a_score_does_not_depend_on_what_is_packed_with_it_and_tells_query_from_passage(engine: Engine) -> None:
    together = score(engine, QUERY, PASSAGES * 3)
    for row, passage in enumerate(PASSAGES):
        alone = score(engine, QUERY, [passage])
        assert alone == score(engine, QUERY, [passage])
        np.testing.assert_allclose(together[row :: len(PASSAGES)], alone * 3, atol=1e-4)
    assert abs(score(engine, "fox", ["house"])[0] - score(engine, "house", ["fox"])[0]) > 0.01
    assert score(engine, QUERY, []) == []


def test_pairs_stand_as_bert_reads_them_and_never_exceed_its_length(engine: Engine) -> None:
    assert engine.max_tokens == tiny_reranker.POSITIONS
    (pair,) = engine.pairs("fox", ["the dog"])
    assert pair.tolist() == [CLS, *engine.tokens("fox")[1:-1], SEP, *engine.tokens("the dog")[1:-1], SEP]
    for tokens in engine.pairs("the fox " * 500, PASSAGES):
        assert len(tokens) <= tiny_reranker.POSITIONS
        assert (tokens[0], tokens[-1]) == (CLS, SEP)
        assert np.count_nonzero(tokens == SEP) == 2, "a query that is too long leaves room for the passage"
    assert len(engine.pairs("[SEP] [CLS]", ["[SEP]"])[0]) > 4
    assert np.count_nonzero(engine.pairs("[SEP]", ["[CLS]"])[0] == SEP) == 2, "text cannot forge special tokens"


def test_a_model_does_only_its_own_kind_of_work(engine: Engine, tiny_gguf: Path) -> None:
    with pytest.raises(ModelFault, match="gives no embeddings"):
        engine.embed(["fox"])
    embedder = Engine(tiny_gguf, max_tokens=48)
    with pytest.raises(ModelFault, match="no reranker"):
        embedder.begin_ranking("fox", ["dog"])
    embedder.close()


async def test_a_client_scores_many_passages_in_their_order(model: ModelInfo, engine: Engine) -> None:
    passages = [f"{'the dog ' * (number % 7)} fox {'house ' * (number % 3)}" for number in range(100)]
    client = await RankingClient.start(model)
    scores = await client.scores(QUERY, passages)
    assert await client.scores(QUERY, []) == []
    await client.close()
    np.testing.assert_allclose(scores, score(engine, QUERY, passages), atol=2e-3)
    assert np.std(scores) > 0.02, "so that the wrong order would show"


async def test_a_worker_killed_while_it_ranks_is_replaced(model: ModelInfo) -> None:
    client = await RankingClient.start(model)
    expected = await client.scores(QUERY, [SENTENCE] * 200)
    async with asyncio.TaskGroup() as group:
        ranking = group.create_task(client.scores(QUERY, [SENTENCE] * 200))
        os.kill(await busy(client), signal.SIGKILL)
    assert ranking.result() == expected
    await client.close()


async def test_a_passage_that_kills_the_worker_twice_fails_and_the_next_call_works(
    model: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "WORKER_MODULE", fragile_worker.__name__)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    client = await RankingClient.start(model)
    with pytest.raises(WorkerDied, match="ended twice"):
        await client.scores(QUERY, ["a house", fragile_worker.KILLER])
    assert len(await client.scores(QUERY, ["a house"])) == 1
    await client.close()


async def test_a_reranker_is_installed_like_a_model_and_is_no_embedder(gguf_file: Path, tmp_path: Path) -> None:
    paths = DataPaths(tmp_path / "data")
    paths.create()
    catalog = ModelCatalog(paths)
    info = await catalog.install(str(gguf_file))
    assert (info.name, info.kind, info.pooling) == ("tiny-reranker", "reranker", "rank")
    pool = EmbedderPool(catalog)
    with pytest.raises(ModelFault, match="is a reranker"):
        await pool.embedder(info.name)
    ranker = await pool.ranker(info.name)
    assert isinstance(ranker, RankingClient)
    assert len(await ranker.scores(QUERY, PASSAGES)) == len(PASSAGES)
    with pytest.raises(ModelFault, match="is a reranker"):
        await pool.embedder(info.name)
    assert [loaded.name for loaded in pool.loaded()] == [info.name]
    await pool.unload(info.name)
    assert pool.loaded() == []
    assert len(await ranker.scores(QUERY, PASSAGES)) == len(PASSAGES), "it is loaded again"
    await pool.close()


async def test_an_embedder_is_no_reranker(model_paths: DataPaths, default_model: ModelInfo) -> None:
    pool = EmbedderPool(ModelCatalog(model_paths))
    assert default_model.kind == "embedder"
    with pytest.raises(ModelFault, match="no reranker"):
        await pool.ranker(default_model.name)
    assert pool.loaded() == [], "it is not even started"
    assert isinstance(await pool.embedder(default_model.name), EmbeddingClient)
    await pool.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"head": False}, "holds no classifier"), ({"labels": 3}, "classifier with 3 labels")],
)
async def test_what_cannot_give_one_score_is_refused(tmp_path: Path, options: dict[str, int], message: str) -> None:
    file = tiny_reranker.make_reranker(tmp_path, **options)  # type: ignore[arg-type]
    paths = DataPaths(tmp_path / "data")
    paths.create()
    with pytest.raises(ModelFault, match=message):
        await ModelCatalog(paths).install(str(file))
    assert not any(info.kind == "reranker" and info.installed for info in ModelCatalog(paths).list())
