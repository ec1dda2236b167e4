from __future__ import annotations

import json
import random

import pytest

from studio.index.keywords import Condition, date_bounds, parse
from studio.index.keywords.query import Phrase, Word

NOW = 1_700_000_000_000  # 2023-11-14
DAY = 86_400_000


def understood(text: str) -> dict[str, object]:
    return {key: value for key, value in parse(text).understood().items() if value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", {"words": "plain words"}),
        ('a "b c" d', {"words": "a d", "phrases": ["b c"]}),
        ("“b c” „d e“ „f g” ", {"phrases": ["b c", "d e", "f g"]}),
        ('"b   c\n"', {"phrases": ["b c"]}),
        ("a -b", {"words": "a", "excluded": ["b"]}),
        ('-b -"c d" -type:pdf', {"excluded": ["b", '"c d"', "type:pdf"]}),
        ("-ärger -東京", {"excluded": ["ärger", "東京"]}),
        ("Type:pdf TITLE:x", {"filters": ["title:x", "type:pdf"]}),
        ('title:"a b"', {"filters": ['title:"a b"']}),
        ("title:“a b”", {"filters": ['title:"a b"']}),
        ("meta.Project:apollo", {"filters": ["meta.Project:apollo"]}),
        ("after:2020 before:3d", {"filters": ["after:2020", "before:3d"]}),
        ("tag:a tag:b", {"filters": ["tag:a", "tag:b"]}),
        ("type:pdf type:docx", {"any_of": [["type:pdf", "type:docx"]]}),
        ("type:pdf type:pdf", {"filters": ["type:pdf"]}),
        ("a OR b OR c d", {"words": "a b c d", "any_of": [["a", "b", "c"]]}),
        ('"a b" OR c OR type:pdf', {"words": "c", "any_of": [['"a b"', "c", "type:pdf"]]}),
        ("a OR b c OR d", {"words": "a b c d", "any_of": [["a", "b"], ["c", "d"]]}),
        ("北京 OR 上海", {"words": "北京 上海", "any_of": [["北京", "上海"]]}),
    ],
)
def test_the_syntax_is_understood(text: str, expected: dict[str, object]) -> None:
    assert understood(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "-5", "a - b", "--flag", "foo-bar", "http://x", "foo:bar", "std::vector", "12:30", "title:", "type: pdf",
        "C:\\x", "after:yesterday", "before:2020-13", "meta.:x", "C++ C# .NET", 'a 5" disk', "A OR B", "OR", "(a) [b]",
        "a|b", "a or b", "-_x", "ORacle FOR", "'a b'", "a&b", "*", "x^2", "~", "\\",
    ],
)  # fmt: skip
def test_anything_else_is_words(text: str) -> None:
    query = parse(text)
    assert (query.words, query.text) == (text, text)
    assert (query.required, query.excluded) == ((), ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a "b c', "a b c"),
        ("„a b", "a b"),
        ('title:"a b', "title: a b"),
        ("a OR", "a"),
        ("OR a", "a"),
        ('a "" b', "a b"),
    ],
)
def test_what_has_no_end_is_words(text: str, words: str) -> None:
    assert understood(text) == {"words": words}


def test_a_minus_inside_a_word_or_behind_a_phrase_excludes_nothing() -> None:
    assert understood('well-known "a b"-c') == {"words": "well-known -c", "phrases": ["a b"]}


def test_a_doubled_or_is_one_and_an_exclusion_is_no_operand() -> None:
    assert understood("a OR OR b") == {"words": "a b", "any_of": [["a", "b"]]}
    assert understood("a OR -b") == {"words": "a", "excluded": ["b"]}


def test_what_is_embedded_has_no_operators() -> None:
    query = parse('how "inner loop" -outer type:pdf loops OR cycles')
    assert query.text == "how inner loop loops cycles"
    assert query.words == "how loops cycles"
    assert query.required == ((Phrase("inner loop"),), (Word("loops"), Word("cycles")), (Condition("type", "pdf"),))
    assert query.excluded == (Word("outer"),)


def test_conditions_alone_say_nothing() -> None:
    assert (parse("type:pdf -draft").text, parse("type:pdf -draft").words) == ("", "")


def test_characters_that_cannot_be_seen_are_harmless() -> None:
    query = parse("\u200f-foo \x00bar\ud800 \u202etype:pdf\u202c")
    assert (query.excluded, query.words) == ((Word("foo"),), "bar?")
    assert query.required == ((Condition("type", "pdf"),),)
    json.dumps(query.understood()).encode()


@pytest.mark.parametrize(
    "text",
    ["a ", '"a', "„", "“", "- ", "-a ", "title:", "title:a ", "a OR ", "OR ", "-meta.a", "a", " ", 'a"', "\x00", ' "“',
     "„a "],
)  # fmt: skip
def test_long_queries_are_read_to_their_end(text: str) -> None:
    query = parse((text * 600_000)[:600_000] + " whales")  # at a quadratic cost this would take a quarter of an hour
    assert "whales" in query.words or "whales" in query.text or query.excluded


def test_random_text_is_read_without_an_error() -> None:
    chance = random.Random(5)
    alphabet = [
        '"',
        "“",
        "„",
        "-",
        ":",
        "OR",
        " ",
        " ",
        "a",
        "title",
        "type",
        "meta.x",
        "after",
        "2020",
        "\u200f",
        "\ud800",
        "é",
    ]
    for _ in range(3000):
        query = parse("".join(chance.choices(alphabet, k=chance.randrange(30))))
        json.dumps(query.understood()).encode()
        assert not any(len(group) == 0 for group in query.required)


@pytest.mark.parametrize(
    ("value", "first", "days"),
    [
        ("1970", 0, 365), ("2020", 18262, 366), ("2020-02", 18293, 29), ("2020-2", 18293, 29), ("2020-02-29", 18321, 1),
        ("0d", 19675, 1), ("1w", 19668, 1), ("1m", 19644, 1), ("2Y", 18945, 1), ("9999-12-31", 2932896, 1),
    ],
)  # fmt: skip
def test_dates_have_bounds(value: str, first: int, days: int) -> None:
    assert date_bounds(value, NOW) == (first * DAY, (first + days) * DAY)


def test_a_month_ago_is_never_the_next_month() -> None:
    march_31 = 1_680_220_800_000
    assert date_bounds("1m", march_31) == date_bounds("2023-02-28")


@pytest.mark.parametrize(
    "value", ["", "x", "20", "0000", "2020-13", "2023-02-29", "٢٠٢٠", "99999y", "1h", "-1d", "2020-"]
)
def test_other_values_are_no_dates(value: str) -> None:
    assert date_bounds(value, NOW) is None


def test_stars_beside_letters_make_a_wildcard() -> None:
    for text in ("steuer*", "*bescheid", "*grund*", "st*er", "münz*"):
        assert parse(text).understood()["wildcards"] == [text]
        assert parse(text).text == text.replace("*", "")
    for text in ("**bold**", "5 * 3", "*.pdf", "a*", "*", "f(x*)", "cat**"):
        assert not parse(text).required
