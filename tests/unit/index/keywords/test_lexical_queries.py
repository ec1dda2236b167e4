"""What queries find in a keyword index: the query language, filters, identifiers, and hostile input."""

from __future__ import annotations

import random
import re
import unicodedata
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from studio.domain import Candidate
from studio.errors import InvariantViolated
from studio.index.keywords import Condition, LexicalReader, LexicalWriter, Operand, parse
from studio.index.keywords.query import Pattern, Word


def made(tmp_path: Path, rows: dict[str, str], language: str = "en") -> LexicalReader:
    """An index of chunks "a", "b", … each of a document named alike in capitals."""
    writer = LexicalWriter(tmp_path / "made", language, None)
    writer.add_contents((name, name.upper(), text) for name, text in rows.items())
    writer.seal()
    return LexicalReader(tmp_path / "made", language)


def found(reader: LexicalReader, query: str, **options: object) -> str:
    return "".join(sorted(hit.chunk_id for hit in reader.search(query, limit=50, **options)))


COLOURS = {
    "a": "red green blue",
    "b": "red blue green",
    "c": "yellow",
    "d": "red yellow",
    "e": "the state of the art",
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("red", "abd"),
        ("red -blue", "d"),
        ('"green blue"', "a"),
        ('"green blue" yellow', "a"),
        ('red -"green blue"', "bd"),
        ("green OR yellow", "abcd"),
        ("red green OR yellow", "abcd"),
        ('"green blue" OR yellow', "acd"),
        ("-red", "ce"),
        ('-"green blue" -yellow', "be"),
        ("red -red", ""),
        ('red "yellow"', "cd"),
        ('"state of the art"', "e"),
        ('"art of state"', ""),
        ('"the of" red', ""),
        ("-the red", "abd"),
        ("the OR of", ""),
        ("-blue-green red", "ad"),
        ("red | - green", "abd"),
    ],
)
def test_what_a_query_demands_and_excludes_holds(tmp_path: Path, query: str, expected: str) -> None:
    assert found(made(tmp_path, COLOURS), query) == expected


def test_conditions_are_answered_by_their_caller(tmp_path: Path) -> None:
    reader = made(tmp_path, COLOURS)
    holds = {
        Condition("type", "pdf"): {"A", "C"},
        Condition("type", "txt"): ["D"],
        Condition("tag", "x"): frozenset("AD"),
    }
    assert found(reader, "red type:pdf", holds=holds) == "a"
    assert found(reader, "type:pdf", holds=holds) == "ac"
    assert found(reader, "type:pdf type:txt", holds=holds) == "acd"
    assert found(reader, "type:pdf tag:x", holds=holds) == "a"
    assert found(reader, "-type:pdf", holds=holds) == "bde"
    assert found(reader, "red -tag:x", holds=holds) == "b"
    assert found(reader, "type:pdf OR green", holds=holds) == "abc"
    assert found(reader, "type:pdf", holds=holds, document_ids=["B", "C"]) == "c"
    assert found(reader, "-type:pdf", holds=holds, document_ids=["B", "C"]) == "b"
    assert found(reader, "type:pdf", holds={Condition("type", "pdf"): ()}) == ""
    for query in ("type:pdf", "red -type:pdf", "red OR type:pdf"):
        with pytest.raises(InvariantViolated, match="type:pdf"):
            reader.search(query, limit=5)


def test_a_query_of_conditions_lists_all_with_one_score_in_one_order(tmp_path: Path) -> None:
    reader = made(tmp_path, COLOURS)
    hits = reader.search("-yellow", limit=50)
    assert [hit.chunk_id for hit in hits] == ["a", "b", "e"]
    assert {hit.score for hit in hits} == {1.0}
    assert reader.search("-yellow", limit=2) == hits[:2]


def test_demands_do_not_change_the_scores_of_words(tmp_path: Path) -> None:
    reader = made(tmp_path, COLOURS)
    free = {hit.chunk_id: hit.score for hit in reader.search("green blue", limit=5)}
    assert {hit.chunk_id: hit.score for hit in reader.search('"green blue"', limit=5)} == {
        "a": pytest.approx(free["a"])
    }
    assert {hit.chunk_id: hit.score for hit in reader.search("green blue -yellow", limit=5)} == pytest.approx(free)


def test_chunks_that_fulfil_a_query_are_named_up_to_a_limit(tmp_path: Path) -> None:
    reader = made(tmp_path, COLOURS)
    assert reader.matching(parse('anything "red" -yellow'), limit=2) == {"a", "b"}
    assert reader.matching(parse('anything "red"'), limit=2) is None
    assert reader.matching(parse("-yellow"), limit=9, document_ids=["A", "C"]) == {"a"}
    assert reader.matching(parse('"violet"'), limit=9) == set()


def test_frequencies_and_boosts_make_scores_comparable(tmp_path: Path) -> None:
    reader = made(tmp_path, COLOURS)
    assert reader.frequencies(parse('red "green blue" violet the')) == (
        5,
        {"red": 3, "violet": 0, "green": 2, "blue": 2},
    )
    plain = reader.search("yellow", limit=1)[0].score
    assert reader.search("yellow", limit=1, boosts={"yellow": 2.5})[0].score == pytest.approx(2.5 * plain)
    assert found(reader, "yellow green", boosts={"green": 1.5}) == "abcd"


def test_identifiers_are_found_by_their_parts_and_whole(tmp_path: Path) -> None:
    reader = made(
        tmp_path,
        {
            "a": "raise HTTPServerError when os.path.join fails",
            "b": "the snake_case of a server",
            "c": "a path to join, in any case",
            "d": "written in C++ and C#",
            "e": "vitamin C of .NET",
        },
    )
    assert [hit.chunk_id for hit in reader.search("server", limit=5)] == ["b", "a"]
    assert found(reader, "HTTPServerError") == "ab" and reader.search("httpservererror", limit=1)[0].chunk_id == "a"
    assert found(reader, '"server error"') == "a"
    assert found(reader, '"os.path.join"') == "a"
    assert found(reader, '"server"') == "ab" and found(reader, "raise -server") == ""
    assert [hit.chunk_id for hit in reader.search("os.path.join", limit=5)] == ["a", "c"]
    assert [hit.chunk_id for hit in reader.search("SNAKE_CASE", limit=5)] == ["b", "c"]
    assert reader.search("C++", limit=5)[0].chunk_id == "d" and reader.search(".NET", limit=5)[0].chunk_id == "e"
    assert found(reader, "C -C++") == "e"
    assert found(reader, "server -HTTPServerError") == "b"
    assert found(reader, "HTTPServerError OR C++ written OR raise") == "ad"


def test_words_beside_identifiers_score_as_if_there_were_none(tmp_path: Path) -> None:
    texts = {"a": "snake_case and camelCase words", "b": "plain words of 2.5 mg", "c": "other words"}
    plain = {"a": "snake case and camelcase words", "b": "plain words of 2 5 mg", "c": "other words"}
    for folder in ("named", "plain"):
        (tmp_path / folder).mkdir()
    named, bare = made(tmp_path / "named", texts), made(tmp_path / "plain", plain)
    for query in ("words", "plain other words", "mg", "camelcase"):
        assert named.search(query, limit=5) == bare.search(query, limit=5)


def test_a_single_character_is_found_inside_a_run(tmp_path: Path) -> None:
    reader = made(tmp_path, {"a": "北京大学", "b": "大", "c": "東京2020年", "d": "看第1章节 and 第2章", "e": "plain"})
    assert found(reader, "大") == "ab"
    assert found(reader, "京") == "ac"
    assert found(reader, '"学"') == "a"
    assert found(reader, "京 -東京") == "a"
    assert found(reader, '"東京2020"') == "c"
    assert found(reader, '"京2020年"') == "c"
    assert found(reader, '"第1章"') == "d"
    assert found(reader, '"第2章"') == "d"
    assert found(reader, '"第3章"') == ""
    assert found(reader, '"京大学"') == "a"


def test_accents_match_in_words_and_phrases_of_every_spelling(tmp_path: Path) -> None:
    rows = {"a": "le café mangées", "b": "le cafe mangees", "c": "le cafe\u0301 mange\u0301es", "d": "thé"}
    reader = made(tmp_path, rows, "fr")
    for query in ("café", "cafe", "mangées", "mangees", '"café mangées"', '"cafe mangees"', '"cafe\u0301 mangées"'):
        assert found(reader, query) == "abc", query
    assert found(reader, "-mangées") == "d"


def same(some: list[Candidate], others: list[Candidate]) -> bool:
    """Whether these are the same hits in the same order, with about the same scores."""
    scores = [pytest.approx(hit.score) for hit in others]
    return [hit.chunk_id for hit in some] == [hit.chunk_id for hit in others] and [hit.score for hit in some] == scores


def test_many_documents_pass_or_stay_out_exactly(tmp_path: Path) -> None:
    count = 4000
    rows = [
        (f"{n:032x}", f"{n // 2:032x}", "common " * (n % 7 + 1) + ("rare" if n % 1000 == 0 else ""))
        for n in range(count)
    ]
    writer = LexicalWriter(tmp_path / "many", "en", None)
    writer.add_contents(rows)
    writer.seal()
    reader = LexicalReader(tmp_path / "many", "en")
    every = reader.search("common rare", limit=count)
    parent = {chunk: document for chunk, document, _ in rows}
    chance = random.Random(1)
    documents = sorted(set(parent.values()))
    for size in (0, 1, 10, 1200, 1999):
        allowed = frozenset(chance.sample(documents, size))
        expected = [hit for hit in every if parent[hit.chunk_id] in allowed]
        assert same(reader.search("common rare", limit=25, document_ids=allowed), expected[:25])
        holds = {Condition("tag", "x"): allowed}
        kept = [hit for hit in every if parent[hit.chunk_id] not in allowed]
        assert same(reader.search("common rare -tag:x", limit=25, holds=holds), kept[:25])
    few = frozenset(documents[-1100:])  # none of them is among the first of "common"
    expected = [hit for hit in reader.search("rare", limit=count) if parent[hit.chunk_id] in few]
    assert same(reader.search("rare", limit=2, document_ids=few), expected[:2])


# ------------------------------------------------------------ hostile queries

NOUNS = ["zebra", "quartz", "violin", "marble", "tundra", "falcon", "copper", "lantern", "meadow", "glacier"]
_UNINDEXED = frozenset(("or", "to", "a"))
PIECES = [
    *NOUNS, *NOUNS, '"', '"', "“", "”", "„", "-", "-", " ", " ", " ", " OR ", " OR ", "OR", "(", ")", ":", "type:",
    "tag:x",    "-tag:x", "type:pdf", "meta.k:v", "-meta.k:v", "title:", "*", "?", "\\",
    "/", "[a TO b]", "^2", "~1", "+", "&&", "||", "!",
    "'; DROP TABLE chunks; --", "1=1", "\x00", "\x1b", "\ud800", "\u200f", "\u202e", "北", "北京", " e\u0301",
    "\n", "\t", "zebra_quartz", "zebraQuartz", "zebra.quartz", "C++", "😀", "\uffff", "%", "_", ".", "..", "ﬁ",
    "½", "0" * 70,
]  # fmt: skip


def test_no_hostile_query_fails_or_gets_a_chunk_it_should_not(tmp_path: Path) -> None:
    chance = random.Random(11)
    texts = {f"{n:032x}": chance.choices(NOUNS, k=chance.randrange(1, 7)) for n in range(60)}
    writer = LexicalWriter(tmp_path / "fuzz", "en", None)
    writer.add_contents((chunk, chunk, " ".join(words)) for chunk, words in texts.items())
    writer.seal()
    reader = LexicalReader(tmp_path / "fuzz", "en")
    everything = frozenset(texts)
    checked = 0
    for _ in range(10_000):
        query = parse("".join(chance.choices(PIECES, k=chance.randrange(1, 12))))
        conditions = {
            item for group in (*query.required, query.excluded) for item in group if isinstance(item, Condition)
        }
        holds = {item: frozenset(chance.sample(sorted(texts), 20)) for item in conditions}
        allowed = chance.choice([None, everything, frozenset(chance.sample(sorted(texts), 30))])
        hits = reader.search(query, limit=20, document_ids=allowed, holds=holds)
        ids = {hit.chunk_id for hit in hits}
        assert allowed is None or ids <= allowed
        matching = reader.matching(query, limit=200, document_ids=allowed, holds=holds)
        assert matching is not None and ids <= matching
        for chunk in matching:
            for group in query.required:
                assert any(_holds(item, texts[chunk], holds.get(item, ()), chunk) is not False for item in group), query
            assert not any(_holds(item, texts[chunk], holds.get(item, ()), chunk) for item in query.excluded), query
            checked += bool(query.required or query.excluded)
    assert checked > 20_000


def _holds(item: Operand, words: list[str], documents: frozenset[str], chunk: str) -> bool | None:
    """Whether an operand holds of a chunk, judged without the index; None for what is not indexed."""
    if isinstance(item, Condition):
        return chunk in documents
    if isinstance(item, Pattern):
        return any(fnmatchcase(word, unicodedata.normalize("NFKC", item.text.lower())) for word in words)
    letters = "".join(char if char.isalnum() or char in "\u0301\ud800" else " " for char in item.text.lower())
    wanted = letters.split()
    if not set(wanted).isdisjoint(_UNINDEXED) or "0" * 65 in letters:
        return None
    if isinstance(item, Word) and re.search(r"[^\W_][._]+[^\W_]|(?<![\w.])\.[A-Za-z]|\+\+", item.text):
        return None  # may be a name
    return wanted in [words[at : at + len(wanted)] for at in range(len(words))]
