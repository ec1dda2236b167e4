"""The part of a passage to show: the stretch with the most different matched terms."""

from __future__ import annotations

import re
from collections.abc import Sequence

SNIPPET_CHARS = 320

_BREAK = re.compile(r"(?<=[.!?。！？])\s+|\n+")


def snippet(
    content: str, highlights: Sequence[tuple[int, int]], length: int = SNIPPET_CHARS
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Cut `content` to about `length` characters around its highlights.

    Returns the snippet, its white space folded to single spaces, and the highlights that lie in it as
    offsets into the snippet. Starts at a sentence where one begins close before the first match.
    """
    start = _best_start(content, highlights, length)
    end = min(len(content), start + length)
    if end < len(content):
        space = content.rfind(" ", start + length // 2, end)
        end = space if space > 0 else end
    return _folded(content, start, end, highlights)


def _best_start(content: str, highlights: Sequence[tuple[int, int]], length: int) -> int:
    if len(content) <= length or not highlights:
        return 0
    best, best_count = 0, -1
    for first, (begin, _) in enumerate(highlights):
        words = {content[a:b].casefold() for a, b in highlights[first:] if b <= begin + length}
        if len(words) > best_count:
            best, best_count = begin, len(words)
    sentence = 0
    for match in _BREAK.finditer(content, 0, best + 1):
        sentence = match.end()
    if best - sentence <= length // 3:
        return sentence
    return content.find(" ", best - length // 4, best) + 1 or best


def _folded(
    content: str, start: int, end: int, highlights: Sequence[tuple[int, int]]
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Fold white space while carrying offsets along."""
    pieces: list[str] = []
    position: dict[int, int] = {}
    out = 0
    for at in range(start, end):
        position[at] = out
        char = content[at]
        if char.isspace():
            if out == 0 or pieces[-1] == " ":
                continue
            char = " "
        pieces.append(char)
        out += 1
    position[end] = out
    ranges = tuple(
        (position[a], position[b]) for a, b in highlights if start <= a and b <= end and position[a] < position[b]
    )
    return "".join(pieces).rstrip(), ranges
