from __future__ import annotations

import re
import sys
import threading
from collections import Counter

import pytest

from studio.index.keywords import Analyzer, tokens
from studio.index.keywords.tokens import Finder, Hit, Tokens


class Asked:
    """A finder for terms that are whole words in lower case, and what it asked for."""

    def __init__(self, *terms: str, letters: int = 2) -> None:
        self.held: Counter[str] = Counter()
        self.finder = Finder(frozenset(terms), self._held, self._hit, Tokens(self._held).holding, letters)

    def found(self, text: str) -> list[str]:
        return [text[start:end] for start, end in self.finder.highlights(text)[0]]

    def _held(self, token: str) -> tuple[str, ...]:
        self.held[token] += 1
        return tuple(re.findall(r"\w+", token.lower()))

    def _hit(self, token: str, terms: frozenset[str]) -> Hit:
        words = [word for word in re.finditer(r"\w+", token.lower()) if word.group() in terms]
        return tuple(word.span() for word in words), frozenset(word.group() for word in words)


def test_only_tokens_that_begin_like_a_term_are_looked_at_and_each_of_them_once() -> None:
    asked = Asked("loop", "dot")
    for _ in range(2):
        assert asked.found("A loop, no\tLOOP\nbut (dots) and\x1cdot, and loop") == ["loop", "LOOP", "dot", "loop"]
    assert asked.held == {"loop,": 1, "LOOP": 1, "(dots)": 1, "dot,": 1, "loop": 1}
    assert asked.finder.highlights("a dot or loop")[1] == {"dot", "loop"}
    assert asked.finder.highlights("") == asked.finder.highlights("do lo") == ([], set())


def test_parts_inside_of_words_and_words_behind_signs_are_looked_at() -> None:
    asked = Asked("loop", "dot")
    text = "aLoop a2Loop ALOoper ALOOP aloop a_loop x.dot x-dots C<dot> bloop"
    asked.found(text)
    assert set(asked.held) == {"aLoop", "a2Loop", "a_loop", "x.dot", "x-dots", "C<dot>"}
    asked = Asked("loop")
    asked.found("AALoop AALOop")
    assert set(asked.held) == {"AALoop"}


def test_a_y_may_be_an_i_and_a_term_of_one_letter_be_any_word_with_it() -> None:
    asked = Asked("die", "c")
    asked.found("dying dog days cat scat C++")
    assert set(asked.held) == {"dying", "cat", "C++"}


def test_words_that_are_not_ascii_are_all_looked_at() -> None:
    asked = Asked("loop")
    assert asked.found("“so” – naïve, no “loop”") == ["loop"]
    assert set(asked.held) == {"“so”", "–", "naïve,", "“loop”"}
    asked = Asked("loop")
    assert asked.found("“so” – no … “loop”") == ["loop"]
    assert set(asked.held) == {"“loop”"}


def test_what_is_found_twice_is_told_once_and_in_order() -> None:
    """White space that is not ASCII parts tokens too."""
    asked = Asked("loop", "é")
    assert asked.finder.highlights("loop é\u00a0loop, éé é\u3000é") == (
        [(0, 4), (5, 6), (7, 11), (16, 17), (18, 19)],
        {"loop", "é"},
    )


@pytest.mark.parametrize(("letters", "looked_at"), [(0, {"an", "eel", "ate", "are"}), (1, {"an", "ate", "are"})])
def test_fewer_letters_may_be_all_that_a_term_keeps(letters: int, looked_at: set[str]) -> None:
    asked = Asked("are", letters=letters)
    assert asked.found("an are eel ate are") == ["are", "are"]
    assert set(asked.held) == looked_at


def test_a_long_token_is_not_remembered() -> None:
    long = "北" * 65
    asked = Asked(long, "a")
    assert asked.found(f"a {long} {long[:64]} b") == ["a", long]
    assert set(asked.held) == {"a", long[:64]} and set(asked.finder._known) == {"a"}


def test_what_a_query_remembers_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MOST_OF_A_QUERY", 10)
    asked = Asked("loop")
    for number in range(100):
        assert asked.found(f"loop{number} loop") == ["loop"]
        assert len(asked.finder._known) <= 10


def test_the_tokens_that_hold_a_term_are_known_after_they_were_analysed_once() -> None:
    asked: Counter[str] = Counter()

    def letters(token: str) -> str:
        asked[token] += 1
        return token

    memory = Tokens(letters)
    for _ in range(2):
        assert memory.holding("ax", ["ab", "cd", "a", "ab"]) == {"ab", "a"}
        assert memory.holding("z", ["cd", "z" * 65]) == {"z" * 65}
    assert asked == {"ab": 1, "cd": 1, "a": 1}


def test_what_is_known_of_tokens_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MOST", 10)
    memory = Tokens(str)
    for number in range(500):
        assert memory.holding(str(number)[:1], [str(number), "a"]) == {str(number)}
        assert len(memory._seen[0]) <= 11


@pytest.mark.parametrize("letters", ["a", "é"])
def test_threads_get_the_answers_of_one(letters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They ask one analysis for many terms, so that what it keeps comes and goes all the time."""
    monkeypatch.setattr(tokens, "_MOST", 20)
    analyzer = Analyzer("xx")
    words = [f"{letters}{number}" for number in range(40)]
    terms = [analyzer.terms(word)[0] for word in words]
    text = " ".join(words)
    wrong: list[object] = []

    def ask(offset: int) -> None:
        for number in range(400):
            at = (number * 7 + offset) % len(words)
            found = [text[start:end] for start, end in analyzer.highlights(text, {terms[at]})[0]]
            if found != [words[at]]:
                wrong.append(found)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(offset,)) for offset in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
