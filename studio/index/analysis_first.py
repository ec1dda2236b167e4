"""The analysis of indexes of version 1, which are read and never built upon."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from studio.index.analysis import CJK, Analyzer, Term, Terms, Unit

_KEPT = 4
"""Analyses kept, of so many languages. One for each generation would be lost with it until Python looks for cycles,
which it seldom does among what is old, and a new generation would begin with words never met."""


class FirstAnalyzer(Analyzer):
    """The analysis of version 1: words and pairs of characters, nothing inside identifiers."""

    _word = re.compile(rf"[{CJK}]+|[^\W{CJK}]+")
    _run = re.compile(f"[{CJK}]+")

    def __init__(self, language: str) -> None:
        super().__init__(language)
        self._pattern = self._word

    def is_plain(self, text: str) -> bool:
        return True

    def terms(self, text: str) -> list[str]:
        return list(self._chain.analyze(self.spaced(text)))

    def wanted(self, text: str) -> Iterator[tuple[Terms, float]]:
        return (((term,), 1.0) for term in self.terms(text))

    def sequence(self, text: str) -> list[tuple[int, str]]:
        tokens = self._chain.pre_tokenize(self.spaced(text)).tokens
        return [(token.position - tokens[0].position, token.text) for token in tokens]

    def whole(self, text: str) -> Terms:
        terms = self.terms(text)
        return tuple(terms) if len(terms) == 1 else ()

    def spaced(self, text: str) -> str:
        """Runs of CJK characters as overlapping pairs separated by spaces; lone surrogates as "?"."""

        def pairs(match: re.Match[str]) -> str:
            return f" {' '.join(term.text for term in _first_pairs(match.group()).words)} "

        return self._run.sub(pairs, text.encode("utf-8", "replace").decode("utf-8"))

    def _analyse(self, raw: str) -> Unit:
        if self._run.match(raw):
            return _first_pairs(raw)
        return Unit.of([Term(term, 0, 0, len(raw)) for term in self._chain.analyze(raw)], 1)


def _first_pairs(run: str) -> Unit:
    count = max(1, len(run) - 1)
    return Unit.of([Term(run[at : at + 2], at, at, min(at + 2, len(run))) for at in range(count)], count)


@functools.lru_cache(_KEPT)
def analyzer_for(language: str, version: int) -> Analyzer:
    """The analysis of an index of this version, the same for all of them: some 10 MB of words that it has met."""
    return FirstAnalyzer(language) if version == 1 else Analyzer(language)
