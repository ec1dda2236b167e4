"""Automatic numbers of Word's paragraphs: what stands before them on the page and not in their text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from studio.documents.parsers.package import XmlHandler, whole_number

BULLET = "-"
MAX_LEVELS = 9
_PLACE = re.compile(r"%([1-9])")
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


@dataclass(slots=True)
class _Level:
    start: int = 1
    format: str = "decimal"
    text: str = ""
    legal: bool = False


@dataclass(slots=True)
class _List:
    levels: dict[int, _Level] = field(default_factory=dict)
    counts: list[int] = field(default_factory=lambda: [0] * MAX_LEVELS)


class Numbering(XmlHandler):
    """The lists of word/numbering.xml, and how far each has counted."""

    def __init__(self) -> None:
        self._lists: dict[str, _List] = {}
        self._of: dict[str, str] = {}  # list of a number id
        self._starts: dict[str, dict[int, int]] = {}  # what a number id begins anew with
        self._begun: set[str] = set()
        self._level: _Level | None = None
        self._list = self._id = ""
        self._override = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        value = attributes.get("val", "")
        if name == "abstractNum":
            self._list = attributes.get("abstractNumId", "")
            self._lists[self._list] = _List()
        elif name == "num":
            self._id, self._list = attributes.get("numId", ""), ""
        elif name == "abstractNumId":
            self._of[self._id] = value
        elif name == "lvlOverride":
            self._override = whole_number(attributes.get("ilvl", "")) or 0
        elif name == "startOverride" and self._id:
            self._starts.setdefault(self._id, {})[self._override] = whole_number(value) or 0
        elif name == "lvl":
            self._level = _Level()
            if self._list:
                self._lists[self._list].levels[whole_number(attributes.get("ilvl", "")) or 0] = self._level
        elif self._level is not None:
            if name == "start":
                self._level.start = whole_number(value) or 0
            elif name == "numFmt":
                self._level.format = value
            elif name == "lvlText":
                self._level.text = value
            elif name == "isLgl":
                self._level.legal = value not in ("0", "false")

    def end(self, name: str) -> None:
        if name == "lvl":
            self._level = None

    def label(self, number: str, depth: int) -> str:
        """What stands before the next paragraph of a list; "" before one that is in none."""
        if number in ("", "0"):
            return ""
        known = self._lists.get(self._of.get(number, ""))
        level = known.levels.get(depth) if known else None
        if known is None or level is None or not 0 <= depth < MAX_LEVELS:
            return BULLET
        if number not in self._begun:
            self._begun.add(number)
            for at, start in self._starts.get(number, {}).items():
                if at < MAX_LEVELS:
                    known.counts[at] = 0
                    known.levels.setdefault(at, _Level()).start = start
        counts = known.counts
        counts[depth] = counts[depth] + 1 if counts[depth] else max(level.start, 0)
        for above in range(depth):
            counts[above] = counts[above] or known.levels.get(above, _Level()).start
        counts[depth + 1 :] = [0] * (MAX_LEVELS - depth - 1)
        if level.format == "bullet":
            return BULLET
        if level.format == "none":
            return _PLACE.sub("", level.text).strip()

        def shown(place: re.Match[str]) -> str:
            at = int(place[1]) - 1
            form = known.levels.get(at, level).format
            return _shown(counts[at], "decimal" if level.legal else form)

        return _PLACE.sub(shown, level.text).strip()


def _shown(number: int, form: str) -> str:
    if form in ("lowerLetter", "upperLetter") and 0 < number <= 780:
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter if form == "lowerLetter" else letter.upper()
    if form in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        roman = ""
        for value, sign in _ROMAN:
            roman += sign * (number // value)
            number %= value
        return roman if form == "lowerRoman" else roman.upper()
    if form == "decimalZero":
        return f"{number:02d}"
    return "" if form in ("none", "bullet") else str(number)
