"""Equations of Office files (OMML) on one line: 3/8, 4·10⁶, √(a+b)."""

from __future__ import annotations

from dataclasses import dataclass, field

from studio.documents.parsers.package import XmlHandler
from studio.documents.parsers.raised import RAISABLE, RAISED

MAX_OPEN = 200
"""Structures within each other; what is deeper is written down without its structure."""

_SLOTS = frozenset({"num", "den", "e", "sup", "sub", "deg", "fName", "lim"})
_KINDS = frozenset(
    {"f", "sSup", "sSub", "sSubSup", "sPre", "rad", "nary", "d", "func", "limLow", "limUpp", "m", "mr", "eqArr"}
)


def raised(text: str) -> str:
    """A text as an exponent: in raised characters where there are such, else behind a caret."""
    if text and set(text) <= set(RAISABLE):
        return text.translate(RAISED)
    return f"^{_grouped(text)}" if text else ""


def _grouped(text: str) -> str:
    """In brackets, unless it is one number, one name or in brackets already."""
    plain = text.replace(".", "").replace(",", "")
    bracketed = text[:1] == "(" and text.find(")") == len(text) - 1
    return text if len(text) < 2 or plain.isdecimal() or text.isalpha() or bracketed else f"({text})"


@dataclass(slots=True)
class _Frame:
    kind: str
    slots: list[tuple[str, str]] = field(default_factory=list)
    signs: dict[str, str] = field(default_factory=dict)

    def of(self, name: str) -> str:
        return "".join(text for slot, text in self.slots if slot == name)

    def each(self) -> list[str]:
        return [text for _, text in self.slots]


class Equation(XmlHandler):
    """Receives what is inside an equation; `line()` is what it says."""

    def __init__(self) -> None:
        self._frames = [_Frame("")]
        self._texts: list[list[str]] = [[]]
        self._in_text = False
        self._deep = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "t":
            self._in_text = True
        elif name in ("chr", "begChr", "endChr", "sepChr"):
            self._frames[-1].signs[name] = attributes.get("val", "")
        elif name in _KINDS:
            if len(self._frames) >= MAX_OPEN:
                self._deep += 1
            else:
                self._frames.append(_Frame(name))
        elif name in _SLOTS and not self._deep:
            self._texts.append([])

    def text(self, data: str) -> None:
        if self._in_text:
            self._texts[-1].append(data)

    def end(self, name: str) -> None:
        if name == "t":
            self._in_text = False
        elif name in _KINDS:
            if self._deep:
                self._deep -= 1
            elif len(self._frames) > 1:
                text = _written(self._frames.pop())
                if self._frames[-1].kind == "m":  # a row of a matrix
                    self._frames[-1].slots.append(("row", text))
                else:
                    self._texts[-1].append(text)
        elif name in _SLOTS and not self._deep and len(self._texts) > 1:
            self._frames[-1].slots.append((name, "".join(self._texts.pop()).strip()))

    def line(self) -> str:
        """The equation as far as it has been received."""
        return "".join(self._texts[0]).strip()


def _written(frame: _Frame) -> str:
    base = frame.of("e")
    low, high = frame.of("sub"), frame.of("sup")
    below = f"_{_grouped(low)}" if low else ""
    kind = frame.kind
    if kind == "f":
        return f"{_grouped(frame.of('num'))}/{_grouped(frame.of('den'))}"
    if kind in ("sSup", "sSub", "sSubSup"):
        return f"{_grouped(base)}{below}{raised(high)}"
    if kind == "sPre":
        return f"{below}{raised(high)}{base}"
    if kind == "rad":
        return f"{raised(frame.of('deg'))}√{_grouped(base)}"
    if kind == "nary":
        return f"{frame.signs.get('chr', '∫')}{below}{raised(high)} {base}"
    if kind == "d":
        inner = frame.signs.get("sepChr", "|").join(frame.each())
        return f"{frame.signs.get('begChr', '(')}{inner}{frame.signs.get('endChr', ')')}"
    if kind == "func":
        return f"{frame.of('fName')} {base}"
    if kind in ("limLow", "limUpp"):
        return f"{base}_{_grouped(frame.of('lim'))}" if kind == "limLow" else f"{base}{raised(frame.of('lim'))}"
    return {"mr": ", ", "m": "; ", "eqArr": "; "}[kind].join(frame.each())
