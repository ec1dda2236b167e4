"""PowerPoint presentations (.pptx): own reader, one span a slide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import MAX_HEADING_CHARS, TextBuilder, choose_title, corrupt, make_document, one_line
from studio.documents.parsers.package import Package, XmlHandler, open_package
from studio.documents.parsers.word import core_properties
from studio.domain import PageCounts, ParsedDocument

WHAT = "PowerPoint"

_SLIDE_NUMBER = re.compile(r"ppt/slides/slide(\d+)\.xml$")
_PLACEHOLDERS_LEFT_OUT = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; a slide is a page. Diagrams and speaker notes follow the text of their slide."""
    with open_package(path, WHAT) as package:
        builder = TextBuilder()
        slides = _slides(package)
        if not slides:
            raise corrupt(WHAT, "it has no slides")
        first_title = ""
        readable = 0
        for number, name in enumerate(slides, 1):
            slide = Slide()
            package.parse(name, slide)
            paragraphs = slide.paragraphs
            for kind, target in package.relations(name).values():
                if target in package and kind in ("diagramData", "notesSlide"):
                    side = Slide()
                    package.parse(target, side)
                    notes = (
                        ["Notes:", *side.paragraphs] if kind == "notesSlide" and side.paragraphs else side.paragraphs
                    )
                    paragraphs = paragraphs + notes
            title = one_line(slide.title)[:MAX_HEADING_CHARS]
            first_title = first_title or title
            builder.begin(page=number, anchor=f"Slide {number}: {title}" if title else f"Slide {number}")
            for paragraph in paragraphs:
                builder.block(paragraph, "\n" if paragraph is not paragraphs[0] else "\n\n")
            readable += bool(paragraphs)
        properties = core_properties(package)
    text, spans = builder.build()
    yield make_document(
        text,
        spans,
        "pptx",
        title=choose_title(properties.get("title"), first_title, path),
        author=properties.get("creator", ""),
        licence=properties.get("rights", ""),
        created=properties.get("created", "")[:10],
        pages=PageCounts(len(slides), readable, len(slides) - readable, 0),
    )


def _slides(package: Package) -> list[str]:
    """Members of the slides in the order they are shown."""
    main = next((target for kind, target in package.relations("").values() if kind == "officeDocument"), "")
    main = main if main in package else "ppt/presentation.xml"
    if main in package:
        order = _Order()
        package.parse(main, order)
        relations = package.relations(main)
        found = [relations[key][1] for key in order.ids if key in relations]
        found = [name for name in found if name in package]
        if found:
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
    """Paragraphs of a slide, its notes or a diagram; table rows as one line."""

    def __init__(self) -> None:
        self.paragraphs: list[str] = []
        self.title = ""
        self._inline: list[str] = []
        self._in_text = False
        self._skip = 0
        self._placeholder = ""
        self._row: list[list[str]] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skip or name == "Fallback":
            self._skip += 1
        elif name == "sp":
            self._placeholder = ""
        elif name == "ph":
            self._placeholder = attributes.get("type", "body")
        elif name == "t":
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
        if self._in_text and not self._skip:
            self._inline.append(data)

    def end(self, name: str) -> None:
        if self._skip:
            self._skip -= 1
        elif name == "t":
            self._in_text = False
        elif name in ("p", "pt"):
            self._end_paragraph()
        elif name == "tr" and self._row is not None:
            row = " | ".join(" ".join(cell) for cell in self._row)
            self._row = None
            if row.strip(" |"):
                self.paragraphs.append(row)

    def _end_paragraph(self) -> None:
        text = "".join(self._inline).strip()
        self._inline.clear()
        if not text or self._placeholder in _PLACEHOLDERS_LEFT_OUT:
            return
        if self._row:
            self._row[-1].append(text.replace("\n", " "))
            return
        if self._placeholder in ("title", "ctrTitle"):
            self.title = f"{self.title} {text}".strip()
        self.paragraphs.append(text)
