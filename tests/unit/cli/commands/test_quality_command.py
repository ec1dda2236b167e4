from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.command import Program

Write = Callable[[str, str], Path]

QUESTIONS = {
    "songs of the largest animals": "whales",
    "strings over an iron frame": "pianos",
    "what does magma become": "lava",
    "under water for miles": "whales",
    "a grand instrument": "pianos",
}


@pytest.fixture
def notes(program: Program, folder: Path, write: Write) -> Program:
    write("whales.md", "# Whales\n\nBlue whales sing songs that travel for hundreds of miles under water.")
    write("pianos.txt", "Songs are played on a grand piano: two hundred strings over an iron frame.")
    write("lava.txt", "Volcanoes erupt when magma rises. Lava cools to basalt.")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    return program


def judged(program: Program, folder: Path) -> None:
    """Save the questions with their answers."""
    queries, qrels = folder / "queries.tsv", folder / "qrels.tsv"
    queries.write_text("".join(f"{text}\t{text}\n" for text in QUESTIONS))
    qrels.write_text("".join(f"{text}\t{document}\t1\n" for text, document in QUESTIONS.items()))
    program.ok("queries", "import", "Notes", queries, qrels)


def test_judgments_are_given_listed_and_taken_back(notes: Program, folder: Path) -> None:
    saved = notes.ok("judge", "Notes", "whale songs", folder / "whales.md", "--grade", "2")
    assert saved["judgments"] == {str(folder / "whales.md"): 2}
    notes.ok("judge", "Notes", "whale songs", "lava.txt", "--grade", "0")
    assert [query["query"] for query in notes.ok("queries", "list", "Notes")] == ["whale songs"]
    assert "1         2       whale songs" in notes.run("queries", "list", "Notes").out
    notes.ok("queries", "rename", "Notes", "whale songs", "whales")
    left = notes.ok("judge", "Notes", "whales", "lava.txt", "--remove")
    assert list(left["judgments"].values()) == [2]
    assert notes.ok("queries", "delete", "Notes", "whales") == {"deleted": "whales"}
    assert notes.ok("queries", "list", "Notes") == []
    for code, *arguments in (
        (1, "judge", "Notes", "x", "nothing.txt"),
        (2, "judge", "Notes", "x", "lava.txt", "--grade", "-1"),
        (2, "evaluate", "Notes"),
    ):
        assert notes.run(*arguments).code == code, arguments


def test_saved_queries_are_evaluated_over_a_grid(notes: Program, tmp_path: Path) -> None:
    judged(notes, tmp_path)
    result = notes.ok(
        "evaluate", "Notes", "--modes", "hybrid,keyword", "--weights", "0,0.5", "--fusions", "minmax,rrf",
        "--output", tmp_path / "run.txt", "--per-query",
    )  # fmt: skip
    assert list(result["modes"]) == ["hybrid/0", "hybrid/0/rrf", "hybrid/0.5", "hybrid/0.5/rrf", "keyword"]
    assert result["id"] > 0
    assert set(result["query_ids"]) == set(QUESTIONS)
    assert all(len(mode["per_query"]["ndcg"]) == len(QUESTIONS) for mode in result["modes"].values())
    rows = [line.split() for line in (tmp_path / "run.hybrid-0.5-rrf.txt").read_text().splitlines()]
    assert len(rows) == 3 * len(QUESTIONS)
    assert {len(row) for row in rows} == {6}
    text = notes.run("evaluate", "Notes", "--weight", "0.4", "--fusion", "rrf").out
    assert text.startswith("5 queries\nSETTING")
    assert "vector − hybrid" in text
    for arguments in (("--modes", "hybird"), ("--indexes", "fast")):
        assert notes.run("evaluate", "Notes", *arguments).code == 2, arguments


def test_two_settings_are_compared(notes: Program, tmp_path: Path) -> None:
    judged(notes, tmp_path)
    report = notes.ok("evaluate", "Notes", "--compare", "keyword", "hybrid/0.5/exact")
    assert (report["a"], report["b"]) == ("keyword", "hybrid/0.5/exact")
    assert [item["measure"] for item in report["differences"]] == ["ndcg", "recall", "mrr", "map", "precision"]
    assert len(report["gained"]) + len(report["lost"]) + report["unchanged"] == len(QUESTIONS)
    assert "queries unchanged." in notes.run("evaluate", "Notes", "--compare", "keyword", "vector").out
    assert notes.run("evaluate", "Notes", "--compare", "keyword", "best").code == 2


def test_queries_go_through_files(notes: Program, tmp_path: Path) -> None:
    judged(notes, tmp_path)
    files = notes.ok("queries", "export", "Notes", tmp_path / "out", "--format", "trec")["files"]
    assert [Path(file).name for file in files] == ["topics.tsv", "qrels.txt"]
    notes.ok("kb", "create", "Other")
    assert notes.ok("queries", "import", "Other", *files) == {"queries": 5, "judgments": 5, "unknown": 0}
    by_files = notes.ok("evaluate", "Notes", "--queries", files[0], "--qrels", files[1], "--modes", "keyword")
    saved = notes.ok("evaluate", "Notes", "--modes", "keyword")
    assert by_files["modes"]["keyword"]["ndcg"] == saved["modes"]["keyword"]["ndcg"] > 0.5
    assert (by_files["id"], saved["id"]) == (0, 1)


def test_the_gate_holds_back_what_finds_less(notes: Program, folder: Path, tmp_path: Path) -> None:
    judged(notes, tmp_path)
    assert notes.ok("gate", "set", "Notes") == {"max_ndcg_drop": None}
    assert notes.ok("gate", "set", "Notes", "--max-ndcg-drop") == {"max_ndcg_drop": 0.02}
    (folder / "whales.md").unlink()
    report = notes.run("ingest", "Notes", folder, "--json").json
    assert not report["promoted"]
    assert "Mean nDCG@10 over 5 saved queries falls from" in report["held"]
    refused = notes.run("promote", "Notes", "2")
    assert refused.code == 1
    assert "more than the 0.02 allowed" in refused.err
    assert "--force" in refused.err
    checked = notes.run("gate", "check", "Notes", "2")
    assert checked.code == 1
    assert "FAILS  Mean nDCG@10" in checked.out
    assert notes.ok("gate", "set", "Notes", "--off") == {"max_ndcg_drop": None}
    notes.ok("promote", "Notes", "2")
