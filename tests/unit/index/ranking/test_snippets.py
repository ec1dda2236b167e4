from __future__ import annotations

import random
import re
import unicodedata
from itertools import pairwise, permutations, product

import pytest

from studio.index.ranking import snippet
from studio.index.ranking.snippets import GAP, SNIPPET_CHARS

FILLER = "Nothing of note stands here. "
NEAR = "We call it a trace loop, for want of a better name that would say it all in a word or two."


def ranges_of(content: str, *words: str) -> list[tuple[int, int]]:
    return sorted(match.span() for word in words for match in re.finditer(word, content))


def marked(content: str, *words: str, length: int = SNIPPET_CHARS) -> tuple[str, list[str]]:
    text, highlights = snippet(content, ranges_of(content, *words), length)
    assert len(text) <= length
    assert all(left[1] <= right[0] for left, right in pairwise(highlights))
    return text, [text[a:b] for a, b in highlights]


def test_short_passages_are_shown_whole_with_folded_space() -> None:
    content = "  One\n\n two\tthree "
    text, highlights = snippet(content, ranges_of(content, "two"))
    assert text == "One two three"
    assert [text[a:b] for a, b in highlights] == ["two"]


def test_the_stretch_with_most_different_terms_is_chosen() -> None:
    content = "alpha alpha alpha. " + FILLER * 20 + "Here beta meets gamma at last. " + "more filler. " * 40
    text, terms = marked(content, "alpha", "beta", "gamma", length=46)
    assert terms == ["beta", "gamma"]
    assert text == "Here beta meets gamma at last. more filler."


def test_two_stretches_are_joined_where_none_holds_all_terms() -> None:
    content = FILLER * 9 + "The first is alpha. " + FILLER * 20 + "Here beta meets gamma at last. " + FILLER * 20
    text, terms = marked(content, "alpha", "beta", "gamma")
    assert terms == ["alpha", "beta", "gamma"]
    left, right = text.split(GAP)
    assert left.startswith("The first is alpha.")
    assert right.startswith("Here beta meets gamma at last.")
    assert left in content
    assert right in content


def test_a_rare_term_outweighs_a_frequent_one() -> None:
    content = "The loop of a trace. " * 12 + FILLER * 12 + "A trampoline it is. " + FILLER * 12
    assert marked(content, "loop", "trace", "trampoline", length=40)[1] == ["trampoline"]


def test_terms_side_by_side_win_over_terms_far_apart() -> None:
    apart = "A trace was taken, and many other things were done before the day of the loop. "
    content = FILLER * 12 + apart + FILLER * 12 + NEAR + " " + FILLER * 12
    text, _ = marked(content, "trace", "loop", length=200)
    assert text.startswith(NEAR)


def test_terms_gain_nothing_from_one_that_is_not_shown_with_them() -> None:
    side_by_side = "Nothing comes of alpha. Beta is what followed. "
    content = "Here is gamma at last. " + FILLER * 12 + side_by_side + FILLER * 12
    assert marked(content, "alpha", "Beta", "gamma", length=40)[1] == ["gamma"]


def test_the_second_stretch_is_the_one_that_adds_most_to_the_first() -> None:
    first, same, other = "Alpha beta gamma. ", "Alpha beta delta here. ", "An epsilon and a zeta. "
    content = first + FILLER * 12 + same + FILLER * 12 + other + FILLER * 12
    terms = marked(content, "Alpha", "beta", "gamma", "delta", "epsilon", "zeta", length=70)[1]
    assert terms == ["Alpha", "beta", "gamma", "epsilon", "zeta"]


def test_nothing_is_shown_twice() -> None:
    rng = random.Random(5)
    for _ in range(300):
        words = [f"w{number}{rng.choice(['', '', '', '.'])}" for number in range(rng.randrange(20, 120))]
        content = " ".join(words)
        shown, _ = marked(content, *(rf"\b{word.strip('.')}\b" for word in rng.sample(words, 6)), length=90)
        parts = shown.replace(GAP, " ").split()
        assert len(set(parts)) == len(parts)


def test_of_equal_sentences_the_first_is_shown_in_whatever_order_their_terms_come() -> None:
    """The weights are logarithms: added up in another order they would not be quite the same."""
    for one, other in product(permutations(["aa", "bb", "cc", "dd"]), permutations(["ee", "ff", "gg", "hh"])):
        first, second = f"So {' '.join(one)} it is. ", f"So {' '.join(other)} it is. "
        often = "".join(
            f"Only {term} for once now. {FILLER}" * number
            for number, pair in enumerate(["aa ee", "bb ff", "cc gg", "dd hh"], 1)
            for term in pair.split()
        )
        content = first + FILLER * 2 + second + FILLER * 2 + often
        text, _ = marked(content, r"\b([a-h])\1\b", length=38)
        assert text.startswith(first.strip())


def test_forms_of_one_word_are_one_term() -> None:
    content = FILLER * 9 + "Loops and loop and looped. " + FILLER * 9 + "A loop of traces. " + FILLER * 9
    assert marked(content, "[Ll]oop\\w*", "traces", length=70)[1] == ["loop", "traces"]


def test_it_starts_at_the_sentence_of_the_first_match() -> None:
    content = "Nothing of note. " * 30 + "The cat sat on the mat and slept. " + "Nothing else. " * 30
    text, _ = snippet(content, ranges_of(content, "mat"))
    assert text.startswith("The cat sat")
    assert text.endswith("Nothing else.")


def test_a_long_sentence_is_cut_between_words_around_the_match() -> None:
    words = [f"word{number}" for number in range(400)]
    content = "In the beginning " + " ".join(words) + "."
    text, terms = marked(content, "word300\\b")
    assert terms == ["word300"]
    assert set(text.split()) <= set(words)
    near = "In the beginning " + " ".join(words[:9]) + " needle " + " ".join(words)
    assert marked(near, "needle")[0].startswith("In the beginning word0")


def test_at_the_end_of_the_passage_the_room_goes_to_what_precedes() -> None:
    content = "Sentence of some length. " * 40 + "The needle."
    text, terms = marked(content, "needle")
    assert terms == ["needle"]
    assert text.endswith("The needle.")
    assert len(text) > 250


def test_highlights_survive_folding_and_cutting() -> None:
    rng = random.Random(7)
    for _ in range(300):
        words = [rng.choice(["needle", "hay", "straw", "x", "läng", "文字"]) for _ in range(rng.randrange(1, 200))]
        content = "".join(word + rng.choice([" ", "  ", "\n", ". ", "\n\n "]) for word in words)
        text, terms = marked(content, "needle")
        assert set(terms) <= {"needle"}
        assert "  " not in text
        assert all(part in " ".join(content.split()) for part in text.split(GAP))
        if "needle" in content:
            assert terms


CHARACTERS = {
    "accents in parts": "e\u0301 o\u0302\u0323 n\u0303",
    "emoji": "👩\u200d👩\u200d👧 👍\U0001f3fd 🇩🇪 ❤\ufe0f 🏴\U000e0067\U000e0062\U000e007f",
    "indic": "क्षि स्त्री न्त",
    "jamo": "\u1112\u1161\u11ab \u1100\u1173\u11af",
    "hebrew": "שָׁ וֹ ם",
    "arabic": "مَ رْ حَ",
    "cjk": "文 字 検 索 𠮷",
    "thai": "เก แม่ กำ",
    "spaces": "a b \u2028 c \u3000 \r\n",
}


@pytest.mark.parametrize("name", CHARACTERS)
def test_no_character_is_cut_in_any_script(name: str) -> None:
    """Characters in random order, mostly without spaces; every piece of the snippet is made of whole ones."""
    rng = random.Random(name)
    characters = CHARACTERS[name].split()
    whole = re.compile("|".join(re.escape(item) for item in sorted(characters, key=len, reverse=True)) + r"|[ x.]")
    for _ in range(60):
        parts = [rng.choice([*characters] * 3 + [" ", ". ", " x"]) for _ in range(rng.randrange(1, 500))]
        content = "".join(parts)
        if name == "emoji":
            content = content.replace("🇩🇪🇩🇪", "🇩🇪 🇩🇪").replace("🇩🇪🇩🇪", "🇩🇪 🇩🇪")
        places = [0]
        for part in whole.findall(content):
            places.append(places[-1] + len(part))
        assert places[-1] == len(content)
        marks = [tuple(sorted(rng.sample(range(len(content) + 1), 2))) for _ in range(rng.randrange(0, 4))]
        short = [(a, min(b, a + 4)) for a, b in marks if a in places]
        text, highlights = snippet(content, short, 60)
        for part in [*text.split(GAP), *(text[a:b] for a, b in highlights)]:
            assert re.sub(whole, "", part) == "", (part, content)
        assert len(text) <= 60


def test_an_accent_belongs_to_the_highlight_of_its_letter() -> None:
    content = unicodedata.normalize("NFD", "Le café est fermé.")
    at = content.index("cafe")
    text, highlights = snippet(content, [(at, at + 4)])
    assert [text[a:b] for a, b in highlights] == [unicodedata.normalize("NFD", "café")]


def test_latin_words_in_unspaced_text_stay_whole() -> None:
    content = "これは検索Pythonの説明で" * 60
    text, terms = marked(content, "Python")
    assert terms
    assert not text.startswith(tuple("ython"))
    assert re.sub("Python", "", text).isascii() is False
    assert not re.search("[A-Za-z]", text.replace("Python", ""))


def test_a_marked_phrase_over_a_sentence_end_is_kept_whole() -> None:
    content = FILLER * 20 + "We met Mr. Smith there. " + FILLER * 20
    text, terms = marked(content, "Mr. Smith", length=60)
    assert terms == ["Mr. Smith"]
    assert text.startswith("We met Mr. Smith there.")


def test_without_matches_it_is_the_beginning() -> None:
    content = "word " * 500
    text, highlights = snippet(content, [])
    assert text.startswith("word word")
    assert text.endswith("word")
    assert len(text) > SNIPPET_CHARS * 3 // 4
    assert highlights == ()


@pytest.mark.parametrize("content", ["", " \n ", "x" * 5000, "\u0301" * 5000, "a\u0301" * 3000, "\u200d" * 900])
def test_odd_passages_are_shown_as_far_as_there_is_room(content: str) -> None:
    text, _ = snippet(content, [(0, len(content)), (5, 3), (-4, 2), (0, len(content) + 9)])
    assert len(text) <= SNIPPET_CHARS
    assert bool(text) is bool(content.strip())


def test_texts_of_ascii_are_cut_like_all_others() -> None:
    """A letter of another alphabet changes what the quick ways may take for granted, and nothing else."""
    rng = random.Random(11)
    words = ["loop", "traces", "Quit", "equal", "a", "queue's", "state-of-the-art", "e.g.", "fig.)", "x" * 100]
    spaces = [*[" "] * 30, "  ", "\n", "\t", ". ", "\x1c"]
    for _ in range(400):
        text = "".join(rng.choice(words) + rng.choice(spaces) for _ in range(rng.randrange(60, 200)))
        ranges = ranges_of(text, rng.choice(words[:5]), "traces")[:: rng.randrange(1, 9)]
        other, same = snippet(text.replace("q", "é"), ranges)
        assert (other.replace("é", "q"), same) == snippet(text, ranges)


def test_a_mark_behind_a_full_stop_belongs_to_it() -> None:
    content = "文字を検索。\u20dd" * 90
    for place in range(40, 200):
        text, _ = snippet(content, [(place, place + 1)], 50)
        assert not re.search("(^|[^。])\u20dd", text)


def test_white_space_takes_no_room_that_is_not_shown() -> None:
    rng = random.Random(12)
    for _ in range(200):
        sentences = [" ".join(rng.choices(["hay", "straw", "needle"], [9, 9, 1], k=9)) + ". " for _ in range(30)]
        content = "".join(sentences)
        for wide in ("  ", "\t\t", "\u2003", "\u2003 \t"):
            text, terms = marked(re.sub(r"(?<![.]) ", wide, content), "needle")
            assert (text, terms) == marked(content, "needle")
