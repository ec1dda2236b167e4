from __future__ import annotations

import random
import re

from studio.index.snippets import SNIPPET_CHARS, snippet


def ranges_of(content: str, *words: str) -> list[tuple[int, int]]:
    return sorted(match.span() for word in words for match in re.finditer(word, content))


def test_short_passages_are_shown_whole_with_folded_space() -> None:
    content = "  One\n\n two\tthree "
    text, highlights = snippet(content, ranges_of(content, "two"))
    assert text == "One two three"
    assert [text[a:b] for a, b in highlights] == ["two"]


def test_the_stretch_with_most_different_terms_is_chosen() -> None:
    content = (
        "alpha alpha alpha. " + "filler words here. " * 40 + "Here beta meets gamma at last. " + "more filler. " * 40
    )
    text, highlights = snippet(content, ranges_of(content, "alpha", "beta", "gamma"))
    assert {text[a:b] for a, b in highlights} == {"beta", "gamma"}
    assert len(text) <= SNIPPET_CHARS


def test_it_starts_at_the_sentence_of_the_first_match() -> None:
    content = "Nothing of note. " * 30 + "The cat sat on the mat and slept. " + "Nothing else. " * 30
    text, _ = snippet(content, ranges_of(content, "mat"))
    assert text.startswith("The cat sat")


def test_highlights_survive_folding_and_cutting() -> None:
    rng = random.Random(7)
    for _ in range(300):
        words = [rng.choice(["needle", "hay", "straw", "x", "läng", "文字"]) for _ in range(rng.randrange(1, 200))]
        content = "".join(word + rng.choice([" ", "  ", "\n", ". ", "\n\n "]) for word in words)
        text, highlights = snippet(content, ranges_of(content, "needle"))
        assert {text[a:b] for a, b in highlights} <= {"needle"}
        assert "  " not in text
        if "needle" in content:
            assert highlights


def test_without_matches_it_is_the_beginning() -> None:
    content = "word " * 500
    text, highlights = snippet(content, [])
    assert text.startswith("word word")
    assert highlights == ()
