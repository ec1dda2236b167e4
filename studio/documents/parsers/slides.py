"""PowerPoint presentations (.pptx): own reader, one span a slide."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from studio.documents.parsers.base import MAX_HEADING_CHARS, TextBuilder, choose_title, make_document, no_text, one_line
from studio.documents.parsers.charts import KINDS as CHARTS
from studio.documents.parsers.charts import chart_lines
from studio.documents.parsers.equations import Equation
from studio.documents.parsers.package import Package, XmlHandler, open_package
from studio.documents.parsers.properties import office_properties
from studio.documents.parsers.tables import joined
from studio.domain import PageCounts, ParsedDocument
from studio.errors import DocumentFault

WHAT = "PowerPoint"

_SLIDE_NUMBER = re.compile(r"ppt/slides/slide(\d+)\.xml$")
_PLACEHOLDERS_LEFT_OUT = frozenset({"sldNum", "dt", "sldImg"})
_MARGINS = frozenset({"ftr", "hdr"})
_BESIDE = {"diagramData": "", **dict.fromkeys(sorted(CHARTS), ""), "notesSlide": "Notes:", "comments": "Comments:"}
"""Parts that belong to a slide, by the kind of their relation, and what stands before their text."""


def parse(path: Path, source: BinaryIO | None = None) -> Iterator[ParsedDocument]:
    """One document; a slide is a page. Diagrams, charts, speaker notes and comments follow the text of their slide.

    `source` holds the plain file where the one at `path` is protected.
    """
    with open_package(path, WHAT, source) as package:
        builder = TextBuilder()
        slides = _slides(package)
        if not slides:
            raise no_text("This presentation holds no slides.")
        first_title = ""
        readable = failed = 0
        for number, name in enumerate(slides, 1):
            try:
                slide = _slide(package, name)
            except DocumentFault as fault:
                failed += 1
                if failed == len(slides):
                    raise fault
                continue
            title = one_line(slide.title)[:MAX_HEADING_CHARS]
            first_title = first_title or title
            add_slide(builder, number, title, slide.paragraphs)
            readable += bool(slide.paragraphs)
        properties = office_properties(package)
    text, spans = builder.build()
    yield make_document(
        text,
        spans,
        "pptx",
        title=choose_title(properties.title, first_title, path),
        author=properties.author,
        licence=properties.licence,
        created=properties.created,
        metadata=properties.metadata,
        pages=PageCounts(len(slides), readable, len(slides) - readable - failed, failed),
    )


def add_slide(builder: TextBuilder, number: int, title: str, paragraphs: Iterable[tuple[str, bool]]) -> None:
    """Add the paragraphs of a slide: each its text, and whether it is a row of a table. No passage leaves it."""
    builder.begin(page=number, anchor=f"Slide {number}: {title}" if title else f"Slide {number}", hard=True)
    gap = "\n\n"
    for text, row in paragraphs:
        builder.block(text, gap, whole=row)
        gap = "\n"


def _slide(package: Package, name: str) -> Slide:
    slide = Slide()
    package.parse(name, slide)
    relations = list(dict.fromkeys(package.relations(name).values()))
    for wanted, label in _BESIDE.items():
        for kind, target in relations:
            if kind != wanted or target not in package:
                continue
            beside: list[tuple[str, bool]] = []
            with contextlib.suppress(DocumentFault):  # the slide itself is worth more
                beside = chart_lines(package, target) if kind in CHARTS else _side(package, target)
            if kind == "notesSlide":  # a page number that is no placeholder
                beside = [line for line in beside if not line[0].isdecimal()]
            if label and beside:
                slide.paragraphs.append((label, False))
            slide.paragraphs += beside
    slide.paragraphs += [(text, False) for text in dict.fromkeys(slide.margins)]
    return slide


def _side(package: Package, part: str) -> list[tuple[str, bool]]:
    side = Slide()
    package.parse(part, side)
    return side.paragraphs


def _slides(package: Package) -> list[str]:
    """Members of the slides in the order they are shown."""
    main = next((target for kind, target in package.relations("").values() if kind == "officeDocument"), "")
    main = main if main in package else "ppt/presentation.xml"
    if main in package:
        order = _Order()
        package.parse(main, order)
        relations = package.relations(main)
        found = list(dict.fromkeys(relations[key][1] for key in order.ids if key in relations))
        if any(name in package for name in found):
            return found
    numbered = [(int(match.group(1)), name) for name in package.names if (match := _SLIDE_NUMBER.match(name))]
    return [name for _, name in sorted(numbered)]


class _Order(XmlHandler):
    def __init__(self) -> None:
        self.ids: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sldId":
            # Both `id` and `r:id` have the local name "id"; the relation comes last and wins.
            self.ids.append(attributes.get("id", ""))


class Slide(XmlHandler):
    """Paragraphs of a slide, of its notes, comments or a diagram, and whether they are rows of a table.

    Its header and footer are apart, in `margins`; numbers of pages are left out.
    """

    def __init__(self) -> None:
        self.paragraphs: list[tuple[str, bool]] = []
        self.margins: list[str] = []
        self.title = ""
        self._inline: list[str] = []
        self._in_text = False
        self._skip = 0
        self._placeholder = ""
        self._row: list[list[str]] | None = None
        self._equation: Equation | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skip or name == "Fallback" or (name == "fld" and attributes.get("type") == "slidenum"):
            self._skip += 1
        elif self._equation is not None:
            self._equation.start(name, attributes)
        elif name == "oMath":
            self._equation = Equation()
        elif name in ("sp", "graphicFrame", "pic", "cxnSp"):
            self._placeholder = ""  # a table after a footer is none
        elif name == "ph":
            self._placeholder = attributes.get("type", "body")
        elif name in ("t", "text"):
            self._in_text = True
        elif name == "br":
            self._inline.append("\n")
        elif name == "tab":
            self._inline.append("\t")
        elif name == "tr":
            self._row = []
        elif name == "tc" and self._row is not None:
            self._row.append([])

    def text(self, data: str) -> None:
        if self._skip:
            return
        if self._equation is not None:
            self._equation.text(data)
        elif self._in_text:
            self._inline.append(data)

    def end(self, name: str) -> None:
        if self._skip:
            self._skip -= 1
        elif self._equation is not None and name != "oMath":
            self._equation.end(name)
        elif self._equation is not None:
            self._inline.append(self._equation.line())
            self._equation = None
        elif name == "t":
            self._in_text = False
        elif name in ("p", "pt", "text"):
            self._in_text = False
            self._end_paragraph()
        elif name == "tr" and self._row is not None:
            row, self._row = joined(self._row), None
            if row:
                self.paragraphs.append((row, True))

    def _end_paragraph(self) -> None:
        text = "".join(self._inline).strip()
        self._inline.clear()
        if not text or self._placeholder in _PLACEHOLDERS_LEFT_OUT:
            return
        if self._placeholder in _MARGINS:
            if any(map(str.isalpha, text)):
                self.margins.append(text)
        elif self._row:
            self._row[-1].append(text)
        else:
            if self._placeholder in ("title", "ctrTitle"):
                self.title = f"{self.title} {text}".strip()
            self.paragraphs.append((text, False))
