from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from studio.bootstrap import Services
from studio.domain import Fusion, GenerationState, SearchMode, Vectors
from studio.errors import EnvironmentFault, InvalidRequest, ModelFault, NotFound
from studio.services.quality import GateService, QualityService, Setting, grid, parse_setting
from studio.services.quality.gate import QualityOutcome
from studio.services.search import Rerankers, SearchService
from tests.helpers.ward import Ward

QUESTIONS = {
    "largest animal of the deep sea": "whale.txt",
    "hammers strike strings of steel": "piano.txt",
    "river of ice carves valleys": "glacier.txt",
    "sings for hours on end": "whale.txt",
    "frame of iron": "piano.txt",
    "speaks of subject 3": "r3",
}


@pytest.fixture
async def quality(ward: Ward) -> QualityService:
    service = QualityService(ward.stores, ward.search)
    for query, document in QUESTIONS.items():
        await service.judging.judge(ward.kb_id, query, document)
    return service


# ------------------------------------------------------------ evaluations


async def test_evaluation_ranks_rows_by_their_ids(services: Services, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    subjects = ["blue whales", "grand pianos", "erupting volcanoes", "melting glaciers"]
    corpus.write_text(
        "".join(json.dumps({"_id": f"d{n}", "text": f"A text about {text}."}) + "\n" for n, text in enumerate(subjects))
    )
    queries = tmp_path / "q.jsonl"
    queries.write_text(
        "".join(json.dumps({"_id": f"q{n}", "text": f"tell me of {text}"}) + "\n" for n, text in enumerate(subjects))
    )
    qrels = tmp_path / "r.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(3)))
    kb = await services.library.create("Eval")
    await services.ingest.ingest(kb.id, [corpus])
    seen: list[tuple[int, int]] = []
    result = await services.quality.evaluate(
        "Eval", queries, qrels, progress=lambda done, total: seen.append((done, total))
    )
    assert (result.k, result.queries, set(result.modes)) == (10, 3, {"hybrid", "vector", "keyword"})
    for mode in result.modes.values():
        assert (mode.ndcg, mode.recall, mode.mrr, mode.map) == (1.0, 1.0, 1.0, 1.0)
        assert mode.precision == pytest.approx(0.1)
        assert mode.latency_ms["p50"] <= mode.latency_ms["p95"] <= mode.latency_ms["p99"]
        assert mode.intervals["ndcg"] == (1.0, 1.0)
        assert mode.per_query["mrr"] == (1.0, 1.0, 1.0)
    assert (seen[0], seen[-1]) == ((0, 9), (9, 9))
    with pytest.raises(InvalidRequest, match="No query"):
        qrels.write_text("other\td1\t1\n")
        await services.quality.evaluate("Eval", queries, qrels, modes=[SearchMode.KEYWORD])


async def test_saved_queries_are_measured_and_the_run_is_kept(ward: Ward, quality: QualityService) -> None:
    await quality.judging.save(ward.kb_id, "nothing is judged for this")
    result = await quality.evaluate(ward.kb_id, modes=[SearchMode.KEYWORD, SearchMode.VECTOR], store=True)
    assert result.queries == len(QUESTIONS)
    assert result.modes["keyword"].ndcg == 1.0
    assert result.modes["vector"].ndcg < 1.0  # its embeddings are hashes
    (difference,) = result.differences
    assert (difference.a, difference.b, difference.measure) == ("keyword", "vector", "ndcg")
    assert difference.difference == pytest.approx(result.modes["vector"].ndcg - 1.0)
    assert difference.interval[0] <= difference.difference <= difference.interval[1]
    low, high = result.modes["vector"].intervals["ndcg"]
    assert low < result.modes["vector"].ndcg < high

    (summary,) = await quality.runs(ward.kb_id)
    assert (summary.id, summary.queries) == (result.id, len(QUESTIONS))
    assert summary.ndcg == {name: mode.ndcg for name, mode in result.modes.items()}
    kept = await quality.run(ward.kb_id, result.id)
    assert (kept.query_ids, kept.differences, kept.created_ms) == (
        result.query_ids,
        result.differences,
        result.created_ms,
    )
    for name, mode in kept.modes.items():
        told = result.modes[name]
        assert (mode.setting, mode.per_query, mode.intervals) == (told.setting, told.per_query, told.intervals)
    with pytest.raises(NotFound, match="no rankings"):
        await quality.export_run(kept, "keyword", ward.folder / "run.txt")
    await quality.delete_run(ward.kb_id, result.id)
    assert await quality.runs(ward.kb_id) == []
    with pytest.raises(NotFound):
        await quality.run(ward.kb_id, result.id)


async def test_two_generations_side_by_side(ward: Ward, quality: QualityService, tmp_path: Path) -> None:
    a, b = parse_setting("keyword/g2"), parse_setting("keyword")
    report = await quality.compare(ward.kb_id, a, b, top=1)
    assert (report.evaluation.modes["keyword/g2"].recall, report.evaluation.modes["keyword"].recall) == (4 / 6, 1.0)
    assert report.unchanged == 4
    assert report.lost == ()
    (gained,) = report.gained
    assert (gained.query, gained.a, gained.b) == ("river of ice carves valleys", 0.0, 1.0)
    by_measure = {item.measure: item for item in report.differences}
    assert by_measure["recall"].difference == pytest.approx(2 / 6)
    assert by_measure["recall"].p_value == pytest.approx(0.5)  # two of six changed: 2 of 4 sign flips are as extreme
    run = await quality.export_run(report.evaluation, "keyword", tmp_path / "run.txt")
    row = next(line.split() for line in run.read_text().splitlines() if line.startswith("speaks%20of"))
    assert (row[2], row[3], row[5]) == ("r3", "1", "keyword")


async def test_documents_are_judged_by_stem_name_or_path(ward: Ward, quality: QualityService, tmp_path: Path) -> None:
    queries, qrels = tmp_path / "q.tsv", tmp_path / "r.tsv"
    queries.write_text("q\tlargest animal of the deep sea\n")
    for name in ("whale", "whale.txt", str(ward.folder / "whale.txt"), "copy of whale"):
        qrels.write_text(f"q\t{name}\t1\n")
        result = await quality.evaluate(ward.kb_id, queries, qrels, modes=[SearchMode.KEYWORD])
        assert result.modes["keyword"].mrr == 1.0, name
        assert result.modes["keyword"].intervals == {}  # one query says nothing about others


async def test_a_document_ranks_by_its_best_passage_once(ward: Ward, quality: QualityService) -> None:
    (ward.folder / "whale.txt").write_text("The whale sings. " * 200)
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    result = await quality.evaluate(ward.kb_id, modes=[SearchMode.KEYWORD])
    for ranking in result.modes["keyword"].rankings.values():
        assert len({name for name, _ in ranking}) == len(ranking)


async def test_requests_that_make_no_sense(ward: Ward, quality: QualityService, tmp_path: Path) -> None:
    for k in (0, 1001):
        with pytest.raises(InvalidRequest, match="between 1"):
            await quality.evaluate(ward.kb_id, k=k)
    with pytest.raises(InvalidRequest, match="same name"):
        await quality.evaluate(ward.kb_id, settings=[Setting("x"), Setting("x", SearchMode.KEYWORD)])
    with pytest.raises(InvalidRequest, match="two files"):
        await quality.evaluate(ward.kb_id, tmp_path / "q.jsonl")
    empty = await ward.library.create("Empty")
    with pytest.raises(InvalidRequest, match="No saved query"):
        await quality.evaluate(empty.id)
    with pytest.raises(NotFound):
        await quality.evaluate(ward.kb_id, settings=[Setting("x", generation=99)])


async def test_a_side_that_cannot_answer_is_not_measured_as_bad(ward: Ward, quality: QualityService) -> None:
    ward.toy.gone = True
    with pytest.raises(EnvironmentFault, match=r"stopped at .*not installed"):
        await quality.evaluate(ward.kb_id, store=True)
    assert await quality.runs(ward.kb_id) == []


async def test_a_cancelled_run_leaves_nothing(ward: Ward, quality: QualityService) -> None:
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if done == 3:
            task.cancel()

    task = asyncio.get_running_loop().create_task(quality.evaluate(ward.kb_id, store=True, progress=progress))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen[-1] == 3
    assert await quality.runs(ward.kb_id) == []
    async with ward.store.reading() as snapshot:
        assert snapshot.generation.number == 3


async def test_work_that_another_setting_has_done_counts_for_every_latency(
    ward: Ward, quality: QualityService, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = ward.toy.embed

    async def slow(texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        await asyncio.sleep(0.05)
        return await embed(texts, interactive=interactive, query=query)

    monkeypatch.setattr(ward.toy, "embed", slow)
    settings = [*grid(weights=(0.0, 0.5)), parse_setting("vector/exact")]
    result = await quality.evaluate(ward.kb_id, settings=settings)
    latencies = {name: mode.latency_ms["p50"] for name, mode in result.modes.items()}
    assert all(latency >= 50 for name, latency in latencies.items() if name != "keyword"), latencies


async def test_a_reranker_orders_what_is_measured(ward: Ward, quality: QualityService) -> None:
    class Backwards:
        name = "backwards"

        async def scores(self, query: str, passages: Sequence[str]) -> list[float]:
            if query in broken:
                raise ModelFault("The reranker is gone.")
            return [-float(len(set(query.split()) & set(passage.lower().split()))) for passage in passages]

    class Shelf:
        async def reranker(self, name: str) -> Backwards:
            return Backwards()

    broken: set[str] = set()
    search = SearchService(ward.stores, ward.toy, cast(Rerankers, Shelf()))
    service = QualityService(ward.stores, search)
    settings = grid([SearchMode.KEYWORD], rerankers=("", "backwards"))
    result = await service.evaluate(ward.kb_id, settings=settings)
    assert [mode.setting.reranker for mode in result.modes.values()] == ["", "backwards"]
    plain, reranked = (mode.mrr for mode in result.modes.values())
    assert reranked < plain == 1.0
    broken.add("frame of iron")
    with pytest.raises(EnvironmentFault, match="reranker is gone"):
        await service.evaluate(ward.kb_id, settings=settings)


# ------------------------------------------------------------ settings


def test_a_grid_has_every_combination_that_differs() -> None:
    names = [item.name for item in grid(weights=(0.0, 0.5), fusions=(Fusion.MINMAX, Fusion.RRF), exact=(False, True))]
    hybrid = ["hybrid/0", "hybrid/0/exact", "hybrid/0/rrf", "hybrid/0/rrf/exact"]
    assert names == [*hybrid, *(name.replace("/0", "/0.5") for name in hybrid), "vector", "vector/exact", "keyword"]
    assert [item.name for item in grid(weights=(0.3,), fusions=(Fusion.RRF,))] == ["hybrid", "vector", "keyword"]


def test_a_setting_is_read_from_its_name() -> None:
    for setting in grid(weights=(None, 0.25), fusions=tuple(Fusion), exact=(False, True), generations=(None, 3),
                        rerankers=("", "local")):  # fmt: skip
        assert parse_setting(setting.name) == setting
    assert parse_setting("hybrid/exact/0.5") == parse_setting(" hybrid / 0.50 / exact")
    for text in ("", "hybrd", "hybrid/fast", "hybrid/g"):
        with pytest.raises(InvalidRequest, match="not a setting"):
            parse_setting(text)


# ------------------------------------------------------------ the gate


async def test_a_generation_that_finds_less_is_held_back_where_the_rule_is_on(
    ward: Ward, quality: QualityService
) -> None:
    gate = GateService(ward.stores, ward.search)
    assert await gate.rule(ward.kb_id) is None
    (ward.folder / "whale.txt").write_text("Nothing is left but a recipe for bread: flour, salt and yeast.")
    (ward.folder / "copy of whale.txt").unlink()
    await gate.set_rule(ward.kb_id, 0.02)
    report = await ward.ingest.ingest(ward.kb_id, [ward.folder])
    assert not report.promoted
    assert "Mean nDCG@10 over 6 saved queries falls from" in report.held
    assert report.held.endswith("by more than the 0.02 allowed.")
    assert (await ward.states())[4] == GenerationState.READY
    checked = await gate.check(ward.kb_id, 4)
    assert checked.quality is not None
    drop = checked.quality.active - checked.quality.candidate
    assert drop > 0.02
    await gate.set_rule(ward.kb_id, drop)
    assert (await gate.check(ward.kb_id, 4)).passed
    await gate.set_rule(ward.kb_id, None)
    assert (await gate.check(ward.kb_id, 4)).quality is None
    assert (await gate.check(ward.kb_id, 3)).passed


async def test_the_rule_needs_five_judged_queries_and_an_active_generation_that_answers(
    ward: Ward, quality: QualityService
) -> None:
    gate = GateService(ward.stores, ward.search)
    await gate.set_rule(ward.kb_id, 0.0)
    for number in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidRequest):
            await gate.set_rule(ward.kb_id, number)
    ward.toy.gone = True
    broken = (await gate.check(ward.kb_id, 1)).quality
    assert broken is not None
    assert "not installed" in broken.problem
    assert not broken.passed
    ward.toy.gone = False
    worse = (await gate.check(ward.kb_id, 1)).quality
    assert worse is not None
    assert not worse.passed
    for query in (await quality.judging.queries(ward.kb_id))[:2]:
        await quality.judging.delete(ward.kb_id, query.id)
    few = (await gate.check(ward.kb_id, 1)).quality
    assert few == QualityOutcome(4, 0.0, 0.0, 0.0, True, "4 of at least 5 saved queries are judged.")
