from __future__ import annotations

from pathlib import Path

import pytest

from studio.errors import InvalidRequest, NotFound
from studio.services.quality.judged_files import read_qrels, read_queries, write_beir, write_run, write_trec


def test_both_forms_of_judgments(tmp_path: Path) -> None:
    beir, trec = tmp_path / "beir.tsv", tmp_path / "trec.txt"
    beir.write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n\n")
    trec.write_text("q1 0 d1 1\nq1  Q0\td2 0\n")
    assert read_qrels(beir) == read_qrels(trec) == {"q1": {"d1": 1, "d2": 0}}


def test_all_forms_of_queries(tmp_path: Path) -> None:
    path = tmp_path / "queries"
    expected = {"1": "blue whales", "2": "grand pianos"}
    path.write_text('{"_id": "1", "text": "blue whales"}\n\n{"_id": 2, "text": "grand pianos"}\n')
    assert read_queries(path) == expected
    path.write_text("1\tblue whales\n2\tgrand pianos\n")
    assert read_queries(path) == expected
    path.write_text(
        "<top>\n<num> Number: 1\n<title> blue\nwhales\n<desc> Description:\nnot this\n</top>\n"
        "<top><num>2</num><title>grand pianos</title></top>\n"
    )
    assert read_queries(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"_id": "1", "text": "a"}\nnot json\n', "line 2"),
        ('{"_id": "1"}\n', "line 1"),
        ("[1, 2]\n", "line 1"),
        ("<top><desc>nothing</top>", "no topic"),
        ('{"_id": "7", "text": "  "}\n', "“7”"),
    ],
)
def test_bad_queries_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=message):
        read_queries(path)


@pytest.mark.parametrize("line", ["q1\td1\tmany", "q1 d1", "q1 0 d1 1000000000", "a b c d e"])
def test_bad_judgments_name_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text(f"q0\td0\t1\n{line}\n")
    with pytest.raises(InvalidRequest, match="line 2"):
        read_qrels(path)


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_queries(tmp_path / "none")
    (tmp_path / "odd").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match="UTF-8"):
        read_qrels(tmp_path / "odd")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    queries = {"how do whales sing?": "how do whales sing?", "100%25": "taxes “net”"}
    judgments = {
        "how do whales sing?": {"/home/me/my notes/whales 50%20off.md": 2, "d1": 0},
        "100%25": {"https://example.org/a%20b": 1, "C:\\Notes\\net tax.txt": 1},
    }
    for write in (write_beir, write_trec):
        topics, qrels = write(tmp_path / write.__name__, queries, judgments)
        assert read_queries(topics) == queries
        assert read_qrels(qrels) == judgments
    assert all(len(line.split()) == 4 for line in qrels.read_text().splitlines())


def test_a_name_that_would_break_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot stand"):
        write_beir(tmp_path, {"q": "x"}, {"q": {"a\tb": 1}})


def test_a_run_has_six_columns_and_scores_that_fall(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "a.txt", {"q 1": [("a b", 0.5), ("c", 0.5), ("d", 0.1)]}, "hybrid")
    rows = [line.split() for line in run.read_text().splitlines()]
    assert [row[:4] for row in rows] == [
        ["q%201", "Q0", "a%20b", "1"],
        ["q%201", "Q0", "c", "2"],
        ["q%201", "Q0", "d", "3"],
    ]
    assert {row[5] for row in rows} == {"hybrid"}
    scores = [float(row[4]) for row in rows]
    assert scores == sorted(set(scores), reverse=True)
