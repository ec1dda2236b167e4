"""Finding the few tokens of a text that hold one of a query's terms, without analysing those seen before."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence

_MOST = 1 << 14
_LONGEST = 64
"""Longer tokens, which are lines of scripts without spaces more often than words, are not remembered."""

_is_plain = re.compile("[A-Za-z]?[a-z]*[.,;:!?)]*").fullmatch
"""One word of plain letters, and what may stand behind it."""


class Tokens:
    """Which terms the tokens of texts hold, tokens being what white space separates.

    `terms_of` gives the terms of a token. With `keeps_initials` the term of a plain word begins as the word does, so
    that most words need not be analysed to know that they hold none of a few terms. Safe to use from several threads:
    the sets of strings only grow, one by one, and are exchanged for empty ones when there are many.
    """

    def __init__(self, terms_of: Callable[[str], Iterable[str]], *, keeps_initials: bool = False) -> None:
        self._terms_of = terms_of
        self._keeps_initials = keeps_initials
        self._seen: tuple[set[str], dict[str, set[str]]] = set(), {}

    def holding(self, terms: Collection[str], tokens: Sequence[str]) -> set[str]:
        """Those of `tokens` that hold one of `terms`, and the long ones, which may."""
        known, holders = self._seen
        long: set[str] = set()
        if not known.issuperset(tokens):
            if len(known) >= _MOST:
                known, holders = self._seen = set(), {}
            initials = {term[:1] for term in terms}
            for token in set(tokens) - known:
                if self._keeps_initials and _is_plain(token) and token[0].lower() not in initials:
                    continue
                if len(token) > _LONGEST:
                    long.add(token)
                    continue
                for term in self._terms_of(token):
                    holders.setdefault(term, set()).add(token)
                known.add(token)  # last: another thread that finds it here finds its terms
        return set[str]().union(*(holders.get(term, ()) for term in terms)).intersection(tokens) | long
