from __future__ import annotations

import random

import pytest

from studio.documents.citations import locate


def shown(page: str, passage: str) -> tuple[str, float]:
    """What a viewer that counts UTF-16 units would highlight, and the quality."""
    match = locate(page, passage)
    assert match is not None
    units = page.encode("utf-16-le")
    return units[2 * match.start : 2 * (match.start + match.length)].decode("utf-16-le"), match.quality


@pytest.mark.parametrize(
    ("page", "passage", "expected"),
    [
        ("before the passage after", "the passage", "the passage"),
        ("one\r\ntwo three\r\nfour", "two   three four", "two three\r\nfour"),
        ("a hyphen\ufffe\r\nated word", "hyphenated", "hyphen\ufffe\r\nated"),
        ("the ﬁrst ﬂow", "first flow", "ﬁrst ﬂow"),
        ("Über\u00adgröße hier", "UBERGROSSE", "Über\u00adgröße"),
        ("😀😀 after emoji 😀 𝐀bc", "emoji Abc", "emoji 😀 𝐀bc"),
        ("第一章。今天天气很好。", "今天天气很好", "今天天气很好"),
        ("İstanbul ılık", "istanbul ilik", "İstanbul ılık"),
    ],
)
def test_a_passage_is_found_by_letters_and_digits(page: str, passage: str, expected: str) -> None:
    assert shown(page, passage) == (expected, 1.0)


def test_a_passage_that_differs_a_little_is_found_by_vote() -> None:
    rng = random.Random(1)
    words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(7)) for _ in range(120)]
    page = " ".join(words)
    passage = " ".join([*words[40:50], "EXTRA", *words[51:70]])
    found, quality = shown(page, passage)
    assert found.startswith(words[40])
    assert found.endswith(words[69])
    assert 0.4 < quality < 1.0


def test_a_repeated_phrase_does_not_mislead_the_vote() -> None:
    phrase = "according to the annual report of the company"
    passage = f"{phrase} revenue grew by eleven percent in the northern region last yeer"
    page = (
        f"{phrase} nothing happened at all. " + "filler text between. " * 30 + passage.replace("yeer", "year") + " End."
    )
    found, _ = shown(page, passage)
    assert "northern region" in found
    assert "nothing happened" not in found


def test_what_is_not_there_is_not_found() -> None:
    assert locate("some page text", "entirely different words") is None
    assert locate("some page text", " — ") is None
    assert locate("", "anything") is None


@pytest.mark.parametrize("seed", range(20))
def test_any_slice_of_a_page_is_found_exactly(seed: int) -> None:
    rng = random.Random(seed)
    page = "".join(rng.choice("abcÄß 你好😀\r\n.-fi") for _ in range(400))
    start = rng.randrange(300)
    passage = page[start : start + rng.randrange(40, 100)]
    found, quality = shown(page, passage.replace("\r", "").replace("\n", " "))
    assert quality == 1.0
    assert found
    assert [c for c in found if c.isalnum()] == [c for c in passage if c.isalnum()]
