"""Word documents (.docx): an own reader, because it reads more files in a tenth of the memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from studio.documents.parsers.base import TextBuilder, choose_title, corrupt, make_document
from studio.documents.parsers.charts import KINDS as CHARTS
from studio.documents.parsers.charts import chart_lines
from studio.documents.parsers.encodings import decode
from studio.documents.parsers.equations import Equation
from studio.documents.parsers.html import decode_html, html_text
from studio.documents.parsers.package import Package, XmlHandler, open_package, whole_number
from studio.documents.parsers.properties import office_properties
from studio.documents.parsers.raised import raised
from studio.documents.parsers.rtf import rtf_text
from studio.documents.parsers.tables import Tables
from studio.documents.parsers.word_numbers import Numbering
from studio.domain import ParserEvent, PartFailure
from studio.errors import DocumentFault

WHAT = "Word"

_HEADING_NAME = re.compile(r"heading\s*([1-9])$", re.IGNORECASE)
_SKIPPED = frozenset({"Fallback", "moveFrom", "del", "instrText", "delText"})
_SOME_LIST = "?"
"""What a paragraph belongs to that does not say to which list."""
_NO = frozenset({"0", "false", "off"})
_MARGINS = "Headers and footers"
_SIDE_PARTS = (
    (("footnotes",), "Footnotes"),
    (("endnotes",), "Endnotes"),
    (("comments",), "Comments"),
    (("diagramData",), "Diagrams"),
    (("header", "footer"), _MARGINS),
)


def parse(path: Path, source: BinaryIO | None = None) -> Iterator[ParserEvent]:
    """One document; spans follow the headings. Notes, comments, headers and footers come after the text.

    `source` holds the plain file where the one at `path` is protected. A damaged part beside the text is named.
    """
    failures: list[PartFailure] = []
    with open_package(path, WHAT, source) as package:
        main = main_part(package, "word/document.xml")
        relations = list(dict.fromkeys(package.relations(main).values()))
        styles, numbering = Styles(), Numbering()
        for kind, target in relations:
            if kind in ("styles", "numbering") and target in package:
                _try(package, target, styles if kind == "styles" else numbering, failures)
        builder = TextBuilder()
        body = Body(builder, styles, numbering)
        package.parse(main, body)
        builder.begin()
        for kind, target in relations:
            if target in package and (kind in CHARTS or kind == "aFChunk"):
                _add_part(package, kind, target, builder, failures)
        for kinds, anchor in _SIDE_PARTS:
            # A document has headers by the dozen, most of them alike; in one place they are told apart by nothing.
            side = Aside()
            for kind, target in relations:
                if kind in kinds and target in package:
                    _try(package, target, side, failures)
            builder.begin(anchor=anchor)
            for paragraph in dict.fromkeys(side.paragraphs):
                if anchor != _MARGINS or any(character.isalpha() for character in paragraph):  # no page numbers
                    builder.block(paragraph)
        text, spans = builder.build()
        properties = office_properties(package)
    yield from failures
    yield make_document(
        text,
        spans,
        "docx",
        title=choose_title(properties.title, body.title or builder.first_heading, path),
        author=properties.author,
        licence=properties.licence,
        created=properties.created,
        metadata=properties.metadata,
    )


def _try(package: Package, part: str, handler: XmlHandler, failures: list[PartFailure]) -> None:
    try:
        package.parse(part, handler)
    except DocumentFault as fault:
        failures.append(PartFailure(part, fault.code.value, fault.full_message))


def _add_part(package: Package, kind: str, part: str, builder: TextBuilder, failures: list[PartFailure]) -> None:
    """A chart, or a file of another format that Word shows within the text."""
    try:
        if kind in CHARTS:
            with builder.whole():
                for line, is_row in chart_lines(package, part):
                    builder.block(line, "\n" if is_row else "\n\n")
        elif part.lower().endswith((".htm", ".html", ".xhtml", ".mht")):
            builder.block(html_text(decode_html(package.read(part))))
        elif part.lower().endswith(".txt"):
            builder.block(decode(package.read(part)))
        elif part.lower().endswith(".rtf"):
            builder.block(rtf_text(package.read(part).decode("latin-1")))
    except DocumentFault as fault:
        failures.append(PartFailure(part, fault.code.value, fault.full_message))


def main_part(package: Package, usual: str) -> str:
    """The member that holds the document proper."""
    for kind, target in package.relations("").values():
        if kind == "officeDocument" and target in package:
            return target
    if usual in package:
        return usual
    raise corrupt(WHAT, "its main part is missing")


class Styles(XmlHandler):
    """Which paragraph styles are headings, of which level (1 to 9), and which is the title."""

    def __init__(self) -> None:
        self._levels: dict[str, int] = {}
        self._parents: dict[str, str] = {}
        self._titles: set[str] = set()
        self._numbers: dict[str, str] = {}
        self._list_levels: dict[str, int] = {}
        self._style = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        value = attributes.get("val", "")
        if name == "style":
            self._style = attributes.get("styleId", "")
        elif name == "name" and self._style:
            heading = _HEADING_NAME.match(value)
            if heading:
                self._levels[self._style] = int(heading.group(1))
            elif value.lower() == "title":
                self._titles.add(self._style)
        elif name == "basedOn":
            self._parents[self._style] = value
        elif name == "numId" and self._style:
            self._numbers[self._style] = value
        elif name == "ilvl" and self._style:
            self._list_levels[self._style] = whole_number(value) or 0
        elif name == "outlineLvl" and self._style and (level := whole_number(value)) is not None:
            self._levels.setdefault(self._style, level + 1)

    def level(self, style: str) -> int | None:
        """Heading level of a style, inherited along `basedOn`; None for body text."""
        for _ in range(20):
            if style in self._levels:
                level = self._levels[style]
                return level if level <= 9 else None
            if style not in self._parents:
                break
            style = self._parents[style]
        heading = _HEADING_NAME.match(style)
        return int(heading.group(1)) if heading else None

    def number(self, style: str) -> tuple[str, int]:
        """(list that paragraphs of a style are numbered by, level in it), inherited along `basedOn`; "" for none."""
        level: int | None = None
        for _ in range(20):
            level = self._list_levels.get(style) if level is None else level
            if style in self._numbers:
                return self._numbers[style], level or 0
            if style not in self._parents:
                break
            style = self._parents[style]
        return "", 0

    def is_title(self, style: str) -> bool:
        """Whether the style is that of the document's title."""
        return style in self._titles or style == "Title"


@dataclass(slots=True)
class _Run:
    """How a stretch of text is shown."""

    hidden: bool = False
    raised: bool = False


class Body(XmlHandler):
    """Headings, paragraphs and tables of the text, in reading order."""

    def __init__(self, builder: TextBuilder, styles: Styles, numbering: Numbering) -> None:
        self._builder = builder
        self._styles = styles
        self._numbering = numbering
        self._tables = Tables(builder)
        self._skip = 0
        self._in_text = False
        self._paragraphs: list[list[str]] = []  # a text box is a story inside a paragraph
        self._style: list[tuple[str, int | None]] = []
        self._list: list[tuple[str | None, int | None]] = []  # the same: list and level that a paragraph states
        self._run: _Run | None = None
        self._equation: Equation | None = None
        self._readings: list[str] | None = None
        self._read_as: list[str] = []
        self.title = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skip or name in _SKIPPED:
            self._skip += 1
            return
        if name == "p":
            self._paragraphs.append([])
            self._style.append(("", None))
            self._list.append((None, None))
        elif name == "tbl":
            self._tables.begin()
        elif name == "tr":
            self._tables.begin_row()
        elif name == "tc":
            self._tables.begin_cell()
        elif name == "gridSpan":
            self._tables.widen(whole_number(attributes.get("val", "")) or 1)
        elif name == "vMerge":
            if attributes.get("val", "continue") == "continue":
                self._tables.go_on()
        elif not self._paragraphs:
            return
        elif name == "oMath" and self._equation is None:
            self._equation = Equation()
        elif self._equation is not None:
            self._equation.start(name, attributes)
            self._in_text = self._in_text or name == "t"
        elif name == "t":
            self._in_text = True
        elif name == "r":
            self._run = _Run()
        elif name == "rt":
            self._readings = []
        elif self._run is not None and name in ("vanish", "webHidden"):
            self._run.hidden = attributes.get("val", "") not in _NO
        elif self._run is not None and name == "vertAlign":
            self._run.raised = attributes.get("val", "") == "superscript"
        elif name == "tab":
            self._paragraphs[-1].append("\t")
        elif name in ("br", "cr"):
            self._paragraphs[-1].append("\n")
        elif name == "noBreakHyphen":
            self._paragraphs[-1].append("-")
        elif name == "pStyle":
            self._style[-1] = (attributes.get("val", ""), self._style[-1][1])
        elif name == "outlineLvl" and (level := whole_number(attributes.get("val", ""))) is not None:
            self._style[-1] = (self._style[-1][0], level + 1)
        elif name == "numPr":
            self._list[-1] = (_SOME_LIST, None)
        elif name == "numId":
            self._list[-1] = (attributes.get("val", ""), self._list[-1][1])
        elif name == "ilvl":
            self._list[-1] = (self._list[-1][0], whole_number(attributes.get("val", "")) or 0)

    def text(self, data: str) -> None:
        if not self._in_text or self._skip or not self._paragraphs:
            return
        if self._equation is not None:
            self._equation.text(data)
        elif self._readings is not None:
            self._readings.append(data)
        elif self._run is not None and self._run.hidden:
            return
        elif self._run is not None and self._run.raised:
            self._paragraphs[-1].append(raised("".join(self._paragraphs[-1][-3:]), data))
        else:
            apart = self._paragraphs[-1] and self._paragraphs[-1][-1].endswith(" ")
            self._paragraphs[-1].append(data.lstrip(" ") if apart else data)

    def end(self, name: str) -> None:
        if self._skip:
            self._skip -= 1
        elif name == "oMath" and self._equation is not None:
            if self._paragraphs:
                self._paragraphs[-1].append(self._equation.line())
            self._equation = None
        elif name == "t":
            self._in_text = False
        elif self._equation is not None:
            self._equation.end(name)
        elif name == "r":
            self._run = None
        elif name == "rt" and self._readings is not None:
            # How characters are read, behind the text that it would tear apart.
            self._read_as.append("".join(self._readings).strip())
            self._readings = None
        elif name == "p" and self._paragraphs:
            self._end_paragraph()
        elif name == "tr":
            self._tables.end_row()

    def _end_paragraph(self) -> None:
        text = "".join(self._paragraphs.pop()).strip()
        style, outline = self._style.pop()
        number, at = self._list.pop()
        if self._read_as and text:
            text = f"{text} ({' '.join(filter(None, self._read_as))})"
        self._read_as.clear()
        if not text:
            return
        of_style, level_of_style = self._styles.number(style)
        number = of_style if number is None else number
        label = self._numbering.next(number, level_of_style if at is None else at) if number else ""
        if label != "- " or not self._tables.inside:
            text = f"{label}{text}"
        level = outline if outline is not None and outline <= 9 else self._styles.level(style)
        if self._tables.inside:
            self._tables.add(text)
        elif self._styles.is_title(style):
            self.title = self.title or text
            self._builder.block(text)
        elif level is not None and len(text) <= 300:
            self._builder.heading(level, text.removeprefix("- "))
        elif label:
            self._builder.block(text, "\n")
        else:
            self._builder.block(text)


class Aside(XmlHandler):
    """Paragraphs of what stands beside the text: notes, comments, headers, diagrams."""

    def __init__(self) -> None:
        self.paragraphs: list[str] = []
        self._parts: list[str] = []
        self._in_text = False
        self._skip = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skip or name in _SKIPPED:
            self._skip += 1
        elif name == "t":
            self._in_text = True
        elif name in ("tab", "br", "cr"):
            self._parts.append(" ")

    def text(self, data: str) -> None:
        if self._in_text and not self._skip:
            self._parts.append(data)

    def end(self, name: str) -> None:
        if self._skip:
            self._skip -= 1
        elif name == "t":
            self._in_text = False
        elif name == "p":
            text = "".join(self._parts).strip()
            self._parts.clear()
            if text:
                self.paragraphs.append(text)
