"""Finding the few tokens of a text that hold one of a query's terms, tokens being what white space separates."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator

Range = tuple[int, int]
Hit = tuple[tuple[Range, ...], frozenset[str]]
"""Where a token stands for terms, and which these are."""

_MOST = 1 << 14
_MOST_OF_A_QUERY = 1 << 10
_LONGEST = 64
"""Longer tokens, which are lines of scripts without spaces more often than words, are not remembered."""
_NOTHING: Hit = (), frozenset()

# For texts as bytes, one for each code point. White space that is not ASCII parts no tokens here, which does no harm.
_TOKENS = bytes(0x20 if chr(byte).isspace() and byte < 0x80 else byte for byte in range(0x100))
_WORDS = bytes(ord(chr(byte).lower()) if byte < 0x80 and chr(byte).isalnum() else 0x20 for byte in range(0x100))
_KINDS = bytes(
    (0x41 if chr(byte).isupper() else 0x61) if byte < 0x80 and chr(byte).isalnum() else 0x20 for byte in range(0x100)
)
_ODD = re.compile("[^\x00-\x7f\u00a0\u00a7\u2010-\u2027\u2030-\u205e]")
"""What a text without words that are not ASCII has none of."""
_INNER = b"aA", b"AAa"
"""Behind the first character of these, in `_KINDS`, a part of an identifier may begin inside a word."""


class Tokens:
    """Which terms the tokens of texts hold, for finding those that hold a term without analysing those seen before.

    `terms_of` gives the terms of a token. Safe to use from several threads: the sets of strings only grow, one by one,
    and are exchanged for empty ones when there are many.
    """

    def __init__(self, terms_of: Callable[[str], Iterable[str]]) -> None:
        self._terms_of = terms_of
        self._seen: tuple[set[str], dict[str, set[str]]] = set(), {}

    def holding(self, terms: Collection[str], tokens: Collection[str]) -> set[str]:
        """Those of `tokens` that hold one of `terms`, and the long ones, which may."""
        known, holders = self._seen
        long: set[str] = set()
        if not known.issuperset(tokens):
            if len(known) >= _MOST:
                known, holders = self._seen = set(), {}
            for token in set(tokens) - known:
                if len(token) > _LONGEST:
                    long.add(token)
                    continue
                for term in self._terms_of(token):
                    holders.setdefault(term, set()).add(token)
                known.add(token)  # last: another thread that finds it here finds its terms
        return set[str]().union(*(holders.get(term, ()) for term in terms)).intersection(tokens) | long


class Finder:
    """Finds what stands for one of a few terms. Safe to use from several threads.

    `held` gives the terms that a token holds, `hit` where it stands for which ones of some terms, and `holding` those
    of many tokens that hold terms. The first `letters` characters of an ASCII word, as far as it has as many, are those
    of its term, where this has as many: so most words need not be looked at to know that they do not have the terms. A
    “y” in second place may be an “i”.
    """

    def __init__(
        self,
        terms: frozenset[str],
        held: Callable[[str], Collection[str]],
        hit: Callable[[str, frozenset[str]], Hit],
        holding: Callable[[Collection[str], Collection[str]], set[str]],
        letters: int,
    ) -> None:
        self._terms = terms
        self._held = held
        self._hit = hit
        self._holding = holding
        self._letters = letters
        self._known: dict[str, Hit] = {}
        heads = {term[:letters] for term in terms}
        heads |= {f"{head[0]}y" for head in heads if head[1:] == "i"}
        self._heads = tuple(b" " + head.encode().translate(_WORDS) for head in heads if head.isascii())

    def highlights(self, text: str) -> tuple[list[Range], set[str]]:
        """Code-point ranges of the words of a text, or parts of them, that stand for terms, in order; and the terms."""
        ranges: list[Range] = []
        terms: set[str] = set()
        for at, token in self._candidates(text):
            here, held = self._known.get(token) or self._look(token)
            if here:
                for start, end in here:
                    ranges.append((at + start, at + end))
                terms |= held
        return sorted(set(ranges)), terms  # tokens found by their beginnings may be several of those in the text

    def _look(self, token: str) -> Hit:
        if len(token) > _LONGEST:
            return self._hit(token, self._terms)
        found = _NOTHING if self._terms.isdisjoint(self._held(token)) else self._hit(token, self._terms)
        if len(self._known) >= _MOST_OF_A_QUERY:
            self._known = {}
        self._known[token] = found
        return found

    def _candidates(self, text: str) -> list[tuple[int, str]]:
        """Where tokens stand that may hold terms: those with a word, or part of one, that begins like a term."""
        if self._letters == 0:
            return list(self._places(text, text.split()))
        found: list[tuple[int, str]] = []
        if not text.isascii() and _ODD.search(text):
            found.extend(self._places(text, [token for token in text.split() if not token.isascii()]))
        plain = text.encode("ascii", "replace")
        tokens, words = plain.translate(_TOKENS), b" %b " % plain.translate(_WORDS)
        beginnings = self._inside(plain, words)
        for head in self._heads:
            at = words.find(head)
            while at >= 0:
                beginnings.append(at)
                at = words.find(head, at + 1)
        beginnings.sort()
        end = -1
        for at in beginnings:
            if at > end:
                end = tokens.find(b" ", at)
                if end < 0:
                    end = len(text)
                start = at if tokens[at - 1 : at] == b" " else tokens.rfind(b" ", 0, at) + 1
                found.append((start, text[start:end]))
        return found

    def _inside(self, plain: bytes, words: bytes) -> list[int]:
        """Where parts of identifiers begin like a term, inside of words."""
        kinds = plain.translate(_KINDS)
        beginnings = []
        for inner in _INNER:
            at = kinds.find(inner)
            while at >= 0:
                if (b" " + words[at + 2 : at + 4]).startswith(self._heads):
                    beginnings.append(at + 1)
                at = kinds.find(inner, at + 1)
        return beginnings

    def _places(self, text: str, tokens: Collection[str]) -> Iterator[tuple[int, str]]:
        """Every place of those of `tokens`, some of the text's, that hold terms."""
        for token in self._holding(self._terms, tokens):
            at = text.find(token)
            while at >= 0:
                end = at + len(token)
                if not (text[max(0, at - 1) : at] + text[end : end + 1]).strip():
                    yield at, token
                at = text.find(token, end)
