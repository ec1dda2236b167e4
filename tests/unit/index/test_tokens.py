from __future__ import annotations

import sys
import threading
from collections import Counter

import pytest

from studio.index import tokens
from studio.index.tokens import Tokens


def test_the_tokens_that_hold_a_term_are_found_and_analysed_once() -> None:
    asked: Counter[str] = Counter()

    def letters(token: str) -> str:
        asked[token] += 1
        return token

    memory = Tokens(letters)
    for _ in range(2):
        assert memory.holding("ax", ["ab", "cd", "a", "ab"]) == {"ab", "a"}
        assert memory.holding("d", ["cd", "ef"]) == {"cd"}
        assert memory.holding("z", ["cd"]) == set()
    assert set(asked.values()) == {1}


def test_a_long_token_is_handed_back_and_not_remembered() -> None:
    memory = Tokens(str)
    long = "x" * 65
    for _ in range(2):
        assert memory.holding("a", ["b", long, "x" * 64]) == {long}
    assert memory._seen[0] == {"b", "x" * 64}


def test_what_it_remembers_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MOST", 10)
    memory = Tokens(str)
    for number in range(500):
        assert memory.holding(str(number)[:1], [str(number), "a"]) == {str(number)}
        assert len(memory._seen[0]) <= 11


def test_threads_get_the_answers_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """They learn and forget all the time: a token that is known must always be found by its terms."""
    monkeypatch.setattr(tokens, "_MOST", 50)
    memory = Tokens(lambda token: (token[:1], token[1:]))
    wrong: list[set[str]] = []

    def ask(offset: int) -> None:
        for number in range(3000):
            text = [f"a{(number * 7 + offset + at) % 90}" for at in range(5)]
            if (found := memory.holding({"a"}, text)) != set(text):
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
