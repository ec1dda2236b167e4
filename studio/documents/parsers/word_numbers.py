"""Automatic numbers of Word paragraphs, which stand nowhere in their text: “7.2”, “(a)”, “Article IV”."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from studio.documents.parsers.package import XmlHandler, whole_number

MAX_LEVEL = 8
_PLACE = re.compile(r"%([1-9])")
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
_MOST_ROMAN = 5000


@dataclass(slots=True)
class _Level:
    start: int = 1
    kind: str = "decimal"
    text: str = ""
    legal: bool = False


@dataclass(slots=True)
class _List:
    """A definition: its levels, and for the numbers drawn from it so far, how far each level is."""

    levels: dict[int, _Level] = field(default_factory=dict)
    reached: dict[int, int] = field(default_factory=dict)


class Numbering(XmlHandler):
    """The lists that a document defines, and the numbers of its paragraphs one after the other."""

    def __init__(self) -> None:
        self._lists: dict[str, _List] = {}
        self._of: dict[str, str] = {}  # list as paragraphs call it → its definition
        self._starts: dict[str, dict[int, int]] = {}  # the same → levels that it begins anew
        self._abstract = self._number = ""
        self._level: _Level | None = None
        self._overridden = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        value = attributes.get("val", "")
        if name == "abstractNum":
            self._abstract = attributes.get("abstractNumId", "")
            self._lists[self._abstract] = _List()
        elif name == "num":
            self._number, self._abstract = attributes.get("numId", ""), ""
        elif name == "abstractNumId":
            self._of[self._number] = value
        elif name == "lvlOverride":
            self._overridden = whole_number(attributes.get("ilvl", "")) or 0
        elif name == "startOverride":
            self._starts.setdefault(self._number, {})[self._overridden] = whole_number(value) or 0
        elif name == "lvl" and self._abstract:
            self._level = self._lists[self._abstract].levels.setdefault(
                whole_number(attributes.get("ilvl", "")) or 0, _Level()
            )
        elif self._level is not None:
            self._about_level(self._level, name, value)

    @staticmethod
    def _about_level(level: _Level, name: str, value: str) -> None:
        if name == "start":
            level.start = whole_number(value) or 0
        elif name == "numFmt":
            level.kind = value
        elif name == "lvlText":
            level.text = value
        elif name == "isLgl":
            level.legal = value not in ("0", "false")

    def end(self, name: str) -> None:
        if name == "lvl":
            self._level = None

    def next(self, number: str, at: int) -> str:
        """What stands before the next paragraph of a list at a level; "- " for a bullet, "" where there is nothing."""
        found = self._lists.get(self._of.get(number, ""))
        if found is None or not 0 <= at <= MAX_LEVEL:
            return "- " if number not in ("", "0") else ""
        level = found.levels.get(at, _Level())
        anew = self._starts.get(number, {})
        if at in anew:
            found.reached[at] = anew.pop(at)
        else:
            found.reached[at] = found.reached[at] + 1 if at in found.reached else level.start
        for deeper in [other for other in found.reached if other > at]:
            del found.reached[deeper]
        if level.kind == "bullet":
            return "- "
        if level.kind == "none":
            return ""

        def shown(match: re.Match[str]) -> str:
            place = int(match[1]) - 1
            own = found.levels.get(place, _Level())
            kind = "decimal" if level.legal else own.kind
            return in_words(found.reached.get(place, own.start), kind)

        text = _PLACE.sub(shown, level.text).strip()
        return f"{text} " if text else ""


def in_words(number: int, kind: str) -> str:
    """A number as a list shows it, by the names of ISO/IEC 29500-1, 17.18.59; kinds that are rare are decimals."""
    if kind in ("upperRoman", "lowerRoman") and 0 < number < _MOST_ROMAN:
        text = ""
        for value, sign in _ROMAN:
            text += sign * (number // value)
            number %= value
        return text.upper() if kind == "upperRoman" else text
    if kind in ("upperLetter", "lowerLetter") and number > 0:
        text = chr(ord("a") + (number - 1) % 26) * min(10, 1 + (number - 1) // 26)
        return text.upper() if kind == "upperLetter" else text
    if kind == "decimalZero":
        return f"{number:02}"
    return str(number)
