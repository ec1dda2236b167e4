"""The terms of an index, looked through for those like a pattern and for those that have a word as a part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MOST_TERMS = 1 << 20
"""Terms that are looked through, the most frequent ones: some 10 MB."""
LONG_TERM = 32
_LEAST_REST = 3


class Vocabulary:
    """Terms, most frequent first. Looking through a hundred thousand takes about a millisecond."""

    def __init__(self, terms: Iterable[str]) -> None:
        self._text = "\n" + "\n".join(terms) + "\n"

    def like(self, pattern: str) -> Iterator[str]:
        """Terms that a regular expression matches as a whole."""
        return (match[1] for match in re.finditer(f"(?<=\n)({pattern})(?=\n)", self._text))

    def holding(self, part: str, inside: bool) -> Iterator[str]:
        """Terms that begin or end with a part, with `inside` have it anywhere, and have more than an ending beside."""
        for at in self._places(part):
            start, end = self._text.rindex("\n", 0, at) + 1, self._text.index("\n", at)
            before, behind = at - start, end - at - len(part)
            if (inside or not (before and behind)) and max(before, behind) >= _LEAST_REST:
                yield self._text[start:end]

    def pieces(self, word: str) -> Iterator[str]:
        """Long terms that are part of a word: a word longer than a passage is cut."""
        return (term for term in self.like(f".{{{LONG_TERM},}}") if term in word)

    def _places(self, part: str) -> Iterator[int]:
        at = self._text.find(part)
        while at >= 0:
            yield at
            at = self._text.find(part, at + 1)
