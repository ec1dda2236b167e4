from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.domain import SearchMode
from studio.errors import InvalidRequest, NotFound
from studio.services.quality import query_measures, read_qrels, read_queries


def test_measures_of_a_ranking_worked_out_by_hand() -> None:
    ndcg, recall, mrr, average, precision = query_measures(["x", "a", "y", "b"], {"a": 1, "b": 1, "c": 1, "z": 0}, 4)
    gain = 1 / 1.584962500721156 + 1 / 2.321928094887362
    ideal = 1 + 1 / 1.584962500721156 + 0.5
    assert ndcg == pytest.approx(gain / ideal)
    assert recall == pytest.approx(2 / 3)
    assert mrr == pytest.approx(0.5)
    assert average == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert precision == pytest.approx(0.5)


def test_a_perfect_and_an_empty_ranking() -> None:
    assert query_measures(["a"], {"a": 2}, 10)[:4] == (1.0, 1.0, 1.0, 1.0)
    assert query_measures([], {"a": 1}, 10) == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_grades_count(tmp_path: Path) -> None:
    better = query_measures(["a", "b"], {"a": 2, "b": 1}, 10)[0]
    worse = query_measures(["b", "a"], {"a": 2, "b": 1}, 10)[0]
    assert better == pytest.approx(1.0)
    assert worse < better


def test_both_forms_of_judgments(tmp_path: Path) -> None:
    beir, trec = tmp_path / "beir.tsv", tmp_path / "trec.txt"
    beir.write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n")
    trec.write_text("q1 0 d1 1\nq1 0 d2 0\n")
    assert read_qrels(beir) == read_qrels(trec) == {"q1": {"d1": 1, "d2": 0}}


def test_bad_files_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"_id": "1", "text": "a"}\nnot json\n')
    with pytest.raises(InvalidRequest, match="line 2"):
        read_queries(path)
    path.write_text("q1\td1\tmany\n")
    with pytest.raises(InvalidRequest, match="line 1"):
        read_qrels(path)
    with pytest.raises(NotFound):
        read_queries(tmp_path / "none")


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
    assert seen[0] == (0, 9)
    with pytest.raises(InvalidRequest, match="No query"):
        qrels.write_text("other\td1\t1\n")
        await services.quality.evaluate("Eval", queries, qrels, modes=[SearchMode.KEYWORD])
