"""Charts of Word, PowerPoint and Excel files (DrawingML and its newer form): titles, and their data as a table."""

from __future__ import annotations

from dataclasses import dataclass, field

from studio.documents.parsers.number_formats import formatter
from studio.documents.parsers.package import Package, XmlHandler, whole_number
from studio.errors import DocumentFault

KINDS = frozenset({"chart", "chartEx"})
"""Kinds of relations that lead to a chart."""
MAX_POINTS = 20_000
Line = tuple[str, bool]
"""A paragraph, and whether it is a row of a table."""


def chart_lines(package: Package, part: str) -> list[Line]:
    """What a chart says. Raises DocumentFault for a damaged part."""
    chart = _Chart()
    package.parse(part, chart)
    lines = chart.lines()
    for kind, target in dict.fromkeys(package.relations(part).values()):
        if kind == "chartUserShapes" and target in package:
            shapes = _Chart()
            try:
                package.parse(target, shapes)
            except DocumentFault:
                continue
            lines += shapes.lines()
    return lines


@dataclass(slots=True)
class _Series:
    name: str = ""
    categories: dict[int, str] = field(default_factory=dict)
    values: dict[int, str] = field(default_factory=dict)


class _Chart(XmlHandler):
    def __init__(self) -> None:
        self._said: list[str] = []
        self._series: list[_Series] = []
        self._inline: list[str] = []
        self._place: list[str] = []  # the open elements that say what a value is
        self._code = ""
        self._point = 0
        self._points = 0
        self._paragraph = False
        self._caught: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("ser", "series"):
            self._series.append(_Series())
            self._place.append(name)
        elif name in ("tx", "cat", "val", "xVal", "yVal", "bubbleSize", "strDim", "numDim"):
            self._place.append({"strDim": "cat", "numDim": "val"}.get(name, name))
            self._code = ""
            if name in ("strDim", "numDim") and not self._series:
                self._series.append(_Series())
        elif name == "lvl":
            self._code = attributes.get("formatCode", self._code)
        elif name == "pt":
            self._point = whole_number(attributes.get("idx", "")) or 0
            self._code = attributes.get("formatCode", self._code)
            self._caught = []
        elif name in ("v", "formatCode"):
            self._caught = []
        elif name == "p":
            self._inline, self._paragraph = [], True
        elif name == "t":
            self._caught = None

    def text(self, data: str) -> None:
        if self._caught is not None:
            self._caught.append(data)
        elif self._paragraph:
            self._inline.append(data)

    def end(self, name: str) -> None:
        if name in ("v", "pt", "formatCode") and self._caught is not None:
            text, self._caught = "".join(self._caught).strip(), None
            if name == "formatCode":
                self._code = text
            elif text:
                self._value(text)
        elif name == "p":
            self._paragraph = False
            text = " ".join("".join(self._inline).split())
            if text and self._place[-2:] == ["series", "tx"]:
                self._series[-1].name = text
            elif text:
                self._said.append(text)
        elif self._place and name in (self._place[-1], "strDim", "numDim"):
            self._place.pop()

    def _value(self, text: str) -> None:
        place = self._place[-1] if self._place else ""
        if self._points >= MAX_POINTS or not self._series:
            if place == "tx":
                self._said.append(text)  # a title that stands in a cell
            return
        series = self._series[-1]
        if place == "tx" and len(self._place) > 1:
            series.name = series.name or text
        elif place == "tx":
            self._said.append(text)
        elif place in ("cat", "xVal"):
            known = series.categories.get(self._point, "")
            series.categories[self._point] = f"{text} {known}".strip()  # several levels: the inner one comes first
            self._points += 1
        elif place in ("val", "yVal", "bubbleSize"):
            known = series.values.get(self._point, "")
            series.values[self._point] = f"{known}, {self._shown(text)}" if known else self._shown(text)
            self._points += 1

    def _shown(self, text: str) -> str:
        try:
            number = float(text)
        except ValueError:
            return text
        show = formatter(self._code) if self._code else None
        return show(number) if show else f"{number:.15g}"

    def lines(self) -> list[Line]:
        """Titles, then a row for each category with the values of all series."""
        found: list[Line] = [(text, False) for text in dict.fromkeys(self._said)]
        series = [one for one in self._series if one.name or one.categories or one.values]
        if not series:
            return found
        if any(one.name for one in series):
            found.append((" | ".join(["", *(one.name for one in series)]).strip(" |"), True))
        names: dict[int, str] = {}
        for one in series:
            for point, text in one.categories.items():
                names.setdefault(point, text)
        for point in sorted({*names, *(point for one in series for point in one.values)}):
            row = " | ".join([names.get(point, ""), *(one.values.get(point, "") for one in series)])
            if row.strip(" |"):
                found.append((row.rstrip(" |"), True))
        return found
