"""Equations of Word files (Office Math, ISO/IEC 29500-1, 22.1) in a line: 3/8, 4·10⁶, √(x+1), ∑_(i=1)^n."""

from __future__ import annotations

from studio.documents.parsers.raised import power

_STRUCTURES = frozenset(("f", "sSup", "sSub", "sSubSup", "sPre", "rad", "nary", "d", "func", "acc", "limLow", "limUpp"))
_PARTS = frozenset(("num", "den", "e", "sup", "sub", "deg", "fName", "lim"))


class Equation:
    """Collects the elements of one equation."""

    def __init__(self) -> None:
        self._texts: list[list[str]] = [[]]
        self._open: list[tuple[str, dict[str, list[str]], dict[str, str]]] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element of the equation begins."""
        if name in _STRUCTURES:
            self._open.append((name, {}, {}))
        elif name in _PARTS and self._open:
            self._texts.append([])
        elif name in ("chr", "begChr", "endChr") and self._open:
            self._open[-1][2][name] = attributes.get("val", "")

    def text(self, data: str) -> None:
        """Characters of it."""
        self._texts[-1].append(data)

    def end(self, name: str) -> None:
        """An element ends."""
        if name in _PARTS and self._open and len(self._texts) > 1:
            self._open[-1][1].setdefault(name, []).append("".join(self._texts.pop()).strip())
        elif name in _STRUCTURES and self._open and self._open[-1][0] == name:
            kind, parts, signs = self._open.pop()
            self._texts[-1].append(_shown(kind, {part: ", ".join(texts) for part, texts in parts.items()}, signs))

    def line(self) -> str:
        """The whole of it."""
        return "".join(text for texts in self._texts for text in texts).strip()


def _shown(kind: str, parts: dict[str, str], signs: dict[str, str]) -> str:
    base, above, below = parts.get("e", ""), parts.get("sup", ""), parts.get("sub", "")
    if kind == "f":
        return f"{_grouped(parts.get('num', ''))}/{_grouped(parts.get('den', ''))}"
    if kind in ("sSup", "sSub", "sSubSup", "sPre"):
        lowered = f"{base}_{_grouped(below)}" if below else base
        return power(lowered, above) if above else lowered
    if kind == "rad":
        degree = parts.get("deg", "")
        return f"{power('', degree) if degree else ''}√{_grouped(base)}"
    if kind == "nary":
        bounds = (f"_{_grouped(below)}" if below else "") + (f"^{_grouped(above)}" if above else "")
        return f"{signs.get('chr') or '∫'}{bounds} {base}"
    if kind == "d":
        return f"{signs.get('begChr', '(')}{base}{signs.get('endChr', ')')}"
    if kind == "func":
        return f"{parts.get('fName', '')} {base}"
    if kind in ("limLow", "limUpp"):
        return f"{base} {parts.get('lim', '')}".strip()
    return base


def _grouped(text: str) -> str:
    return text if all(sign.isalnum() or sign in ".,⁰¹²³⁴⁵⁶⁷⁸⁹√" for sign in text) else f"({text})"
