"""The health of searching and rerankers, on the command line."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import tiny_reranker
from tests.helpers.command import Program


def test_health_is_reported_for_people_and_for_scripts(program: Program, folder: Path) -> None:
    empty = {"level": "good", "latency": None, "knowledge_bases": [], "remembers_queries": True}
    assert program.ok("doctor", "--health") == empty
    (folder / "whale.txt").write_text("The blue whale sings in the deep sea.")
    for name in ("Sea", "Empty"):
        program.ok("kb", "create", name)
    program.ok("ingest", "Sea", folder)
    report = program.ok("doctor", "--health")
    assert [kb["name"] for kb in report["knowledge_bases"]] == ["Empty", "Sea"]
    sea = program.ok("doctor", "--health", "Sea")["knowledge_bases"][0]
    assert (sea["level"], sea["index"], sea["recall"]) == ("good", "flat", {"value": 1.0, "queries": 0, "of": "exact"})
    assert sea["freshness"]["generation"] == 1
    text = program.run("doctor", "--health").out
    assert "Searching is in good health." in text
    assert "Sea: good" in text
    assert "nothing indexed yet" in text
    outcome = program.run("doctor", "--health", "Nowhere")
    assert outcome.code == 1
    assert "There is no knowledge base “Nowhere”." in outcome.err


def test_a_reranker_is_listed_as_one_and_is_no_embedding_model(program: Program, tmp_path: Path) -> None:
    file = tiny_reranker.make_reranker(tmp_path)
    assert program.ok("model", "install", file)["kind"] == "reranker"
    kinds = {info["name"]: info["kind"] for info in program.ok("model", "list")}
    assert (kinds["all-MiniLM-L6-v2"], kinds["tiny-reranker"]) == ("embedder", "reranker")
    assert "reranker" in program.run("model", "list").out
    program.ok("kb", "create", "Sea")
    outcome = program.run("model", "use", "Sea", "tiny-reranker")
    assert outcome.code == 1
    assert "The model tiny-reranker is a reranker" in outcome.err
    assert "config set reranker tiny-reranker" in outcome.err
