"""Phrases word for word, and queries whose punctuation means nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.domain import SearchMode, SearchRequest, SearchResponse, Span, StoredText
from studio.index.keywords import has_phrase, parse
from studio.services.search.exact import _without_running_lines, is_prose, may_be_loosened

Write = Callable[[str, str], Path]
WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "joker",
    "kayak",
    "lemon",
    "maple",
    "north",
    "ocean",
]
LONG = [WORDS[(n * n + n // 5) % len(WORDS)] + ("s" if n % 7 == 3 else "") for n in range(900)]


@pytest.fixture
async def kb(services: Services, folder: Path, write: Write) -> str:
    base = await services.library.create("Phrases")
    write("band.txt", "The band played let it be at the harbour.")
    write("home.txt", "We should let him be; it is late at the harbour.")
    write("hamlet.txt", "To be, or not to be: that is the question.")
    write("school.txt", "The university opens. Universities close.")
    write("space.txt", "The universe expands, universal and cold.")
    write("müller.txt", "Hans Müller schrieb.")
    write("long.txt", " ".join(LONG))
    await services.ingest.ingest(base.id, [folder])
    return base.id


async def asked(services: Services, kb: str, query: str, mode: SearchMode = SearchMode.KEYWORD) -> SearchResponse:
    return await services.search.search(SearchRequest((kb,), query, mode))


def files(response: SearchResponse) -> set[str]:
    return {Path(result.citation.source_path).stem for result in response.results}


async def test_a_phrase_is_found_word_for_word_by_both_sides(services: Services, kb: str) -> None:
    for mode in (SearchMode.KEYWORD, SearchMode.HYBRID, SearchMode.VECTOR):
        for query, expected in (
            ('"let it be"', {"band"}),
            ('"to be or not to be"', {"hamlet"}),
            ('"university"', {"school"}),
            ('"universal"', {"space"}),
            ('"universes"', set()),
            ('"hans mueller"', {"müller"}),
            ('"let it be" OR university', {"band", "school"}),
        ):
            assert files(await asked(services, kb, query, mode)) == expected, (mode, query)
    assert files(await asked(services, kb, 'harbour -"let it be"')) == {"home"}


async def test_a_phrase_is_found_over_the_ends_of_passages(services: Services, kb: str) -> None:
    assert len((await asked(services, kb, "heron")).results) > 1
    for start in range(0, 840, 40):
        phrase = " ".join(LONG[start : start + 60])
        assert files(await asked(services, kb, f'"{phrase}"')) == {"long"}, start
    phrase = " ".join([*LONG[300:330], "zebra", *LONG[331:360]])
    assert files(await asked(services, kb, f'"{phrase}"')) == set()


async def test_punctuation_of_prose_empties_no_list(services: Services, kb: str) -> None:
    for query in ('harbour "quiet evening band"', "harbour -harbour", "harbour qqq*"):
        response = await asked(services, kb, query)
        assert files(response) >= {"band", "home"}, query
        assert any("its words are searched" in note for note in response.notes)
    response = await asked(services, kb, '"quiet evening band"')
    assert not response.results


def test_long_texts_are_prose() -> None:
    text = "what do we know of the so called 'inner' and “outer” loops of this -rather long- description in it"
    assert is_prose(parse(text))
    assert not is_prose(parse('"a phrase of many words ' + "and more " * 20 + '"'))
    assert not may_be_loosened(parse('"only this"'))
    assert parse("COVID -19").excluded == ()


@pytest.mark.parametrize(
    ("text", "phrase", "has"),
    [
        ("Let it be.", "let it be", True),
        ("outlet it be", "let it be", False),
        ("the e-mail system", "e-mail system", True),
        ("of\ufb01cial \ufb01le", "official file", True),
        ("Café São", "cafe sao", True),
        ("我在東京的圖書館", "东京的图书馆", True),
        ("readHTTPFile now", "http file", True),
        ("loops", "loop", False),
    ],
)
def test_words_of_a_phrase_stand_as_they_are_written(text: str, phrase: str, has: bool) -> None:
    assert has_phrase(text, phrase) is has


def test_running_lines_of_pages_part_no_phrase() -> None:
    pages = ["Annual report\nthe reserve fund\nPage 1\n", "Annual report\nhad been moved\nPage 2\n"]
    spans = (Span(0, len(pages[0]), page=1), Span(len(pages[0]), len("".join(pages)), page=2))
    text = _without_running_lines(StoredText("".join(pages), spans))
    assert len(text) == len("".join(pages))
    assert text.split() == ["the", "reserve", "fund", "had", "been", "moved"]
