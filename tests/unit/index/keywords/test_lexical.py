"""The keyword index as such: words, scripts and languages, its files, and what it highlights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.errors import StorageFault
from studio.index.keywords import Analyzer, LexicalReader, LexicalWriter, has_every_field
from studio.index.keywords.analysis import LANGUAGES

ROWS = [
    ("c1", "d1", "Nested loops are traced by recording the inner loop first."),
    ("c2", "d2", "Garbage collectors trace live objects; nothing about iteration here."),
    ("c3", "d2", "The café in São Paulo serves loops of calamari."),
    ("c4", "d3", "北京大学位于中国北京市海淀区"),
]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "g1"
    writer = LexicalWriter(path, "en", None)
    writer.add_contents(ROWS)
    writer.seal()
    return path


def ids(reader: LexicalReader, query: str, **options: object) -> list[str]:
    return [hit.chunk_id for hit in reader.search(query, limit=10, **options)]


def test_words_are_joined_by_or_and_stemmed(index: Path) -> None:
    reader = LexicalReader(index, "en")
    assert ids(reader, "how is a nested loop tracing?")[0] == "c1"
    assert set(ids(reader, "loops objects")) == {"c1", "c2", "c3"}


def test_stop_words_alone_must_all_be_there(index: Path) -> None:
    reader = LexicalReader(index, "en")
    assert ids(reader, "in the") == ["c3"]
    assert ids(reader, "the and of") == []


def test_accents_are_folded_both_ways(index: Path) -> None:
    reader = LexicalReader(index, "en")
    assert ids(reader, "cafe sao") == ["c3"]
    assert ids(reader, "café") == ["c3"]


def test_quotes_mean_the_exact_phrase(index: Path) -> None:
    reader = LexicalReader(index, "en")
    assert ids(reader, '"inner loop"') == ["c1"]
    assert ids(reader, '"loop inner"') == []


def test_a_repeated_word_weighs_more(index: Path) -> None:
    reader = LexicalReader(index, "en")
    once = {hit.chunk_id: hit.score for hit in reader.search("calamari objects", limit=5)}
    twice = {hit.chunk_id: hit.score for hit in reader.search("calamari calamari objects", limit=5)}
    assert twice["c3"] == pytest.approx(2 * once["c3"])
    assert twice["c2"] == pytest.approx(once["c2"])


def test_scripts_without_spaces_are_found_by_part_of_a_word(index: Path) -> None:
    reader = LexicalReader(index, "en")
    assert ids(reader, "大学") == ["c4"]
    assert ids(reader, "海淀") == ["c4"]
    assert ids(reader, "淀海") == []


def test_documents_can_be_filtered_without_changing_scores(index: Path) -> None:
    reader = LexicalReader(index, "en")
    free = {hit.chunk_id: hit.score for hit in reader.search("loops", limit=5)}
    hits = reader.search("loops", limit=5, document_ids=["d2"])
    assert [(hit.chunk_id, hit.score) for hit in hits] == [("c3", pytest.approx(free["c3"]))]


@pytest.mark.parametrize(
    "query",
    ['"', '""', "a:b", "(((", "AND OR NOT", "title:", "*", "?", "\\", "[a TO b]", "\x00\x01", "+-!", "'", "`x`", "^2"],
)
def test_no_query_is_a_syntax_error(index: Path, query: str) -> None:
    assert isinstance(LexicalReader(index, "en").search(query, limit=3), list)


def test_a_very_long_query_is_answered(index: Path) -> None:
    assert "c1" in ids(LexicalReader(index, "en"), "nested " + " ".join(f"word{n}" for n in range(3000)) + " nested")


def test_a_child_shares_files_and_leaves_its_parent_alone(index: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in index.iterdir()}
    writer = LexicalWriter(tmp_path / "g2", "en", index)
    writer.delete(["d2"])
    writer.add_contents([("c5", "d5", "nested fresh")])
    writer.seal()
    assert {file.name: file.read_bytes() for file in index.iterdir()} == before
    shared = [file for file in (tmp_path / "g2").iterdir() if file.stat().st_nlink > 1]
    assert shared
    assert sorted(LexicalReader(tmp_path / "g2", "en").chunk_ids()) == ["c1", "c4", "c5"]
    assert sorted(LexicalReader(index, "en").chunk_ids()) == ["c1", "c2", "c3", "c4"]


def test_copies_where_links_are_refused(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    writer = LexicalWriter(tmp_path / "g2", "en", index)
    writer.seal()
    assert LexicalReader(tmp_path / "g2", "en").chunks == 4


def test_abandoning_removes_the_directory(tmp_path: Path) -> None:
    writer = LexicalWriter(tmp_path / "g1", "en", None)
    writer.add_contents(ROWS)
    writer.abandon()
    assert not (tmp_path / "g1").exists()


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    LexicalWriter(tmp_path / "g1", "en", None).seal()
    reader = LexicalReader(tmp_path / "g1", "en")
    assert (reader.chunks, reader.chunk_ids(), ids(reader, "anything")) == (0, [], [])


def test_a_missing_index_is_a_storage_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="keyword index"):
        LexicalReader(tmp_path / "nowhere", "en")


def test_highlights_cover_the_words_behind_the_terms() -> None:
    analyzer = Analyzer("en")
    text = "Nested LOOPS, looping — 北京大学 loop"
    ranges, _ = analyzer.highlights(text, [*analyzer.terms("a nested loop"), "京大", "大学"])
    assert [text[a:b] for a, b in ranges] == ["Nested", "LOOPS", "looping", "京大学", "loop"]


@pytest.mark.parametrize("language", [*LANGUAGES, "zh", "xx", "pt-BR"])
def test_every_language_can_be_indexed_and_searched(tmp_path: Path, language: str) -> None:
    writer = LexicalWriter(tmp_path / "g1", language, None)
    writer.add_contents([("c1", "d1", "Lorem1234 ipsum")])
    writer.seal()
    assert ids(LexicalReader(tmp_path / "g1", language), "lorem1234") == ["c1"]


def test_an_index_without_a_field_of_today_is_refused_with_the_way_out(tmp_path: Path) -> None:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("body", stored=False)
    tantivy.Index(builder.build(), path=str(tmp_path))
    assert not has_every_field(tmp_path)
    with pytest.raises(StorageFault, match="older program") as refused:
        LexicalReader(tmp_path, "en")
    assert "repair" in refused.value.full_message.lower()
