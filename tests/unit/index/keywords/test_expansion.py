"""Words that stand for several terms of the index: with stars, and as parts of compounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.index.keywords import LexicalReader, LexicalWriter, parse

ROWS = [
    ("insurance", "d1", "Die Krankenversicherungsbeiträge für Müller steigen."),
    ("tax", "d2", "Der Steuerbescheid kam gestern."),
    ("returns", "d3", "Steuererklärungen sind jetzt fällig."),
    ("hospital", "d4", "De ziekenhuisdirecteur sprak lang."),
    ("library", "d5", "The university library is open."),
    ("dues", "d6", "Beiträge sind fällig, sagt die Satzung."),
    ("paper", "d7", "Et dagblad skrev om kommunedirektøren."),
]


def reader(folder: Path, language: str) -> LexicalReader:
    writer = LexicalWriter(folder / "g", language, None)
    writer.add_contents(ROWS)
    writer.seal()
    return LexicalReader(folder / "g", language)


def found(index: LexicalReader, query: str) -> set[str]:
    return {hit.chunk_id for hit in index.search(query, limit=20)}


@pytest.mark.parametrize("language", ["en", "de"])
def test_stars_stand_for_letters(tmp_path: Path, language: str) -> None:
    index = reader(tmp_path, language)
    assert found(index, "steuer*") == {"tax", "returns"}
    assert found(index, "*bescheid") == {"tax"}
    assert found(index, "*BESCHEIDE") == {"tax"}
    assert found(index, "krank*beitr*") == {"insurance"}
    assert found(index, "universit*") == {"library"}
    assert found(index, "fällig -steuer*") == {"dues"}
    assert found(index, "qqq*") == set()


@pytest.mark.parametrize("language", ["en", "de", "no"])
def test_parts_of_compounds_find_them(tmp_path: Path, language: str) -> None:
    index = reader(tmp_path, language)
    assert found(index, "Versicherung") >= ({"insurance"} if language == "de" else set())
    assert found(index, "Krankenversicherung") == {"insurance"}
    assert found(index, "erklärungen") == {"returns"}
    assert found(index, "directeur") == {"hospital"}
    assert found(index, "direktør") == {"paper"}
    assert found(index, "Satzungsbeiträge") >= {"dues"}


def test_the_word_itself_comes_before_its_compounds(tmp_path: Path) -> None:
    hits = reader(tmp_path, "de").search("Beiträge", limit=5)
    assert [hit.chunk_id for hit in hits] == ["dues", "insurance"]


def test_what_stands_for_too_many_words_is_cut_and_said(tmp_path: Path) -> None:
    writer = LexicalWriter(tmp_path / "g", "xx", None)
    writer.add_contents([(f"c{n}", "d", f"word{n} text") for n in range(200)])
    writer.seal()
    expansion = LexicalReader(tmp_path / "g", "xx").expansion(parse("wor*"))
    assert len(expansion.like["wor*"]) == 128
    assert "128 most frequent" in expansion.notes[0]


def test_a_word_longer_than_a_passage_finds_its_pieces(tmp_path: Path) -> None:
    strand = "".join("acgt"[(n * n + n // 7) % 4] for n in range(1200))
    writer = LexicalWriter(tmp_path / "g", "en", None)
    writer.add_contents([("one", "d", strand[:600]), ("two", "d", strand[600:]), ("other", "e", "acgt" * 20)])
    writer.seal()
    assert found(LexicalReader(tmp_path / "g", "en"), strand) == {"one", "two"}
