"""From a passage back to its place on a PDF page."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

PROBE_LETTERS = 24
PROBE_STEP = 8
MAX_HITS_PER_PROBE = 16

_FOLDED = {"ı": "i"}


@dataclass(frozen=True, slots=True)
class PageMatch:
    """Where a passage stands on a page, in UTF-16 units as Qt counts; `quality` is 1.0 for a full match."""

    start: int
    length: int
    quality: float


def locate(page_text: str, passage: str) -> PageMatch | None:
    """Find a passage on a page by letters and digits only; None if it is not there.

    Two PDF libraries agree on letters but not on spaces, hyphens, ligatures and accents, so both
    texts are reduced first. Where they disagree about some letters too, short probes vote for the
    place; `quality` is then the share of probes that agree.
    """
    page, origin = _reduce(page_text)
    wanted, _ = _reduce(passage)
    if not wanted:
        return None
    start = page.find(wanted)
    if start >= 0:
        return _match(page_text, origin, start, start + len(wanted), 1.0)
    offsets = range(0, max(1, len(wanted) - PROBE_LETTERS + 1), PROBE_STEP)
    hits = [(offset, place) for offset in offsets for place in _places(page, wanted[offset : offset + PROBE_LETTERS])]
    if not hits:
        return None
    # Hits of the true place share their shift (place - offset), give or take what one text lacks.
    slack = max(PROBE_LETTERS, len(wanted) // 8)
    best = max((_agreeing(hits, place - offset, slack) for offset, place in hits[:256]), key=len)
    first, last = best[0], best[-1]
    start = max(0, first[1] - first[0])
    end = min(len(page), last[1] + len(wanted) - last[0])
    if not start < end:
        return None
    return _match(page_text, origin, start, end, len({offset for offset, _ in best}) / len(offsets))


def _agreeing(hits: list[tuple[int, int]], shift: int, slack: int) -> list[tuple[int, int]]:
    return [(offset, place) for offset, place in hits if abs(place - offset - shift) <= slack]


def _places(page: str, probe: str) -> list[int]:
    places: list[int] = []
    at = page.find(probe)
    while at >= 0 and len(places) < MAX_HITS_PER_PROBE:
        places.append(at)
        at = page.find(probe, at + 1)
    return places


def _reduce(text: str) -> tuple[str, list[int]]:
    """Letters and digits of a text, case-folded, without marks, and the code point each came from."""
    letters: list[str] = []
    origin: list[int] = []
    for index, character in enumerate(text):
        if character.isascii():
            if character.isalnum():
                letters.append(character.lower())
                origin.append(index)
            continue
        for part in unicodedata.normalize("NFKD", character).casefold():
            if part.isalnum():
                letters.append(_FOLDED.get(part, part))
                origin.append(index)
    return "".join(letters), origin


def _match(text: str, origin: list[int], start: int, end: int, quality: float) -> PageMatch:
    first, after = origin[start], origin[end - 1] + 1
    before = _utf16_length(text[:first])
    return PageMatch(before, _utf16_length(text[first:after]), quality)


def _utf16_length(text: str) -> int:
    return len(text) + sum(ord(character) > 0xFFFF for character in text)
