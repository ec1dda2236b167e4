"""Word documents (.docx): an own reader, because it reads more files in a tenth of the memory."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from studio.documents.parsers import html, plain, rtf
from studio.documents.parsers.base import TextBuilder, choose_title, corrupt, make_document
from studio.documents.parsers.charts import KINDS as CHARTS
from studio.documents.parsers.charts import chart_lines
from studio.documents.parsers.equations import Equation, raised
from studio.documents.parsers.numbering import BULLET, Numbering
from studio.documents.parsers.package import Package, XmlHandler, open_package, whole_number
from studio.documents.parsers.properties import office_properties
from studio.documents.parsers.tables import Tables
from studio.domain import ParsedDocument, ParserEvent, PartFailure
from studio.errors import DocumentFault, FailureCode

WHAT = "Word"

_HEADING_NAME = re.compile(r"heading\s*([1-9])$", re.IGNORECASE)
_SKIPPED = frozenset({"Fallback", "moveFrom", "del", "instrText", "delText"})
_OFF = frozenset({"0", "false", "off", "none"})
_WORD_CHARS = 4
"""Letters from which on a raised number after them is the mark of a note, not a power of a unit."""
_CHUNKS = {".htm": html, ".html": html, ".xhtml": html, ".rtf": rtf, ".txt": plain}
_CHUNK_DEPTH = 2
_MARGINS = "Headers and footers"
_SIDE_PARTS = (
    (("footnotes",), "Footnotes"),
    (("endnotes",), "Endnotes"),
    (("comments",), "Comments"),
    (("diagramData",), "Diagrams"),
    (("header", "footer"), _MARGINS),
)


def parse(path: Path, source: BinaryIO | None = None, depth: int = 0) -> Iterator[ParserEvent]:
    """One document; spans follow the headings. Charts, notes, comments, headers and footers come after the text.

    `depth` counts the documents it is embedded in. `source` holds the plain file where the one at `path` is protected.
    A damaged part beside the text is named.
    """
    failures: list[PartFailure] = []
    with open_package(path, WHAT, source) as package:
        main = main_part(package, "word/document.xml")
        relations = list(dict.fromkeys(package.relations(main).values()))
        styles, numbering = Styles(), Numbering()
        for kind, target in relations:
            if kind == "styles" and target in package:
                _try(package, target, styles, failures)
            elif kind == "numbering" and target in package:
                _try(package, target, numbering, failures)
        builder = TextBuilder()
        chunks = partial(_chunk, package, package.relations(main), failures, depth)
        body = Body(builder, styles, numbering, chunks)
        package.parse(main, body)
        _charts(package, relations, builder, failures)
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


def _charts(
    package: Package, relations: list[tuple[str, str]], builder: TextBuilder, failures: list[PartFailure]
) -> None:
    for kind, target in relations:
        if kind not in CHARTS or target not in package:
            continue
        builder.begin(anchor="Charts")
        try:
            above = False
            for text, row in chart_lines(package, target):
                builder.block(text, "\n" if row and above else "\n\n", whole=row)
                above = row
        except DocumentFault as fault:
            failures.append(PartFailure(target, fault.code.value, fault.full_message))


def _chunk(
    package: Package, relations: dict[str, tuple[str, str]], failures: list[PartFailure], depth: int, key: str
) -> str:
    """The text of a document in another format that stands in place of paragraphs (w:altChunk); "" for none."""
    target = relations.get(key, ("", ""))[1]
    suffix = PurePosixPath(target).suffix.lower()
    if target not in package or depth >= _CHUNK_DEPTH:
        return ""
    try:
        content = package.read(target)
        if content.startswith(b"PK"):
            events = list(parse(Path(target), io.BytesIO(content), depth + 1))
        elif suffix in _CHUNKS:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                place = Path(folder) / f"chunk{suffix}"
                place.write_bytes(content)
                events = list(_CHUNKS[suffix].parse(place))
        else:
            return ""
    except DocumentFault as fault:
        if fault.code is not FailureCode.NO_TEXT:
            failures.append(PartFailure(target, fault.code.value, fault.full_message))
        return ""
    return "\n\n".join(event.text for event in events if isinstance(event, ParsedDocument))


def _try(package: Package, part: str, handler: XmlHandler, failures: list[PartFailure]) -> None:
    try:
        package.parse(part, handler)
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
        self._lists: dict[str, str] = {}
        self._depths: dict[str, int] = {}
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
        elif name == "outlineLvl" and self._style and (level := whole_number(value)) is not None:
            self._levels.setdefault(self._style, level + 1)
        elif name == "numId" and self._style:
            self._lists[self._style] = value
        elif name == "ilvl" and self._style:
            self._depths[self._style] = whole_number(value) or 0

    def numbered(self, style: str) -> tuple[str, int]:
        """The list that paragraphs of a style belong to ("" for none), and their depth in it."""
        depth: int | None = None
        for _ in range(20):
            depth = self._depths.get(style) if depth is None else depth
            if style in self._lists:
                return self._lists[style], depth or 0
            if style not in self._parents:
                break
            style = self._parents[style]
        return "", 0

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

    def is_title(self, style: str) -> bool:
        """Whether the style is that of the document's title."""
        return style in self._titles or style == "Title"


class Body(XmlHandler):
    """Headings, paragraphs and tables of the text, in reading order."""

    def __init__(
        self,
        builder: TextBuilder,
        styles: Styles,
        numbering: Numbering | None = None,
        chunk: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._builder = builder
        self._styles = styles
        self._numbering = numbering or Numbering()
        self._chunk = chunk
        self._tables = Tables(builder)
        self._skip = 0
        self._in_text = False
        self._paragraphs: list[_Paragraph] = []  # a text box is a story inside a paragraph
        self._in_run = self._hidden = self._raised = False
        self._equation: Equation | None = None
        self._reading: list[str] | None = None  # of ruby text, while it is read
        self._readings: list[str] = []
        self.title = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skip or name in _SKIPPED:
            self._skip += 1
        elif self._equation is not None:
            self._equation.start(name, attributes)
        elif name == "altChunk":
            self._builder.block(self._chunk(attributes.get("id", "")))
        elif name == "p":
            self._paragraphs.append(_Paragraph())
        elif name == "tbl":
            self._tables.begin()
        elif name == "tr":
            self._tables.begin_row()
        elif name == "tc":
            self._tables.begin_cell()
        elif name == "gridSpan":
            self._tables.widen(whole_number(attributes.get("val", "")) or 1)
        elif name == "vMerge":
            self._tables.merge(attributes.get("val") == "restart")
        elif self._paragraphs:
            self._in_paragraph(name, attributes)

    def _in_paragraph(self, name: str, attributes: dict[str, str]) -> None:
        paragraph, value = self._paragraphs[-1], attributes.get("val", "")
        if name == "t":
            self._in_text = True
        elif name == "r":
            self._in_run, self._hidden, self._raised = True, False, False
        elif name in ("vanish", "webHidden") and self._in_run:
            self._hidden = self._hidden or (name == "vanish" and value not in _OFF)
        elif name == "vertAlign" and self._in_run:
            self._raised = value == "superscript"
        elif name == "oMath":
            self._equation = Equation()
        elif name == "rt":
            self._reading = []
        elif name == "tab":
            paragraph.parts.append("\t")
        elif name in ("br", "cr"):
            paragraph.parts.append("\n")
        elif name == "noBreakHyphen":
            paragraph.parts.append("-")
        elif name == "pStyle":
            paragraph.style = value
        elif name == "outlineLvl" and (level := whole_number(value)) is not None:
            paragraph.outline = level + 1
        elif name == "numId":
            paragraph.list = value
        elif name == "ilvl":
            paragraph.depth = whole_number(value) or 0
        elif name == "numPr":
            paragraph.in_list = True

    def text(self, data: str) -> None:
        if self._skip:
            return
        if self._equation is not None:
            self._equation.text(data)
        elif self._in_text and self._paragraphs and not self._hidden:
            if self._reading is not None:
                self._reading.append(data)
            else:
                self._paragraphs[-1].parts.append(self._as_raised(data) if self._raised else data)

    def _as_raised(self, data: str) -> str:
        """A raised text so that it does not run together with what it follows."""
        before = "".join(self._paragraphs[-1].parts[-2:])
        tail = before[-_WORD_CHARS:]
        if not before or not before[-1].isalnum():
            return data
        if len(tail) == _WORD_CHARS and tail.isalpha():  # the mark of a note, be it a number or a letter
            return f" {data}"
        return raised(data.strip()) if data.strip().isdecimal() else data

    def end(self, name: str) -> None:
        if self._skip:
            self._skip -= 1
        elif self._equation is not None and name != "oMath":
            self._equation.end(name)
        elif self._equation is not None:
            if self._paragraphs:
                self._paragraphs[-1].parts.append(self._equation.line())
            self._equation = None
        elif name == "t":
            self._in_text = False
        elif name == "r":
            self._in_run = self._hidden = self._raised = False
        elif name == "rt" and self._reading is not None:
            self._readings.append("".join(self._reading).strip())
            self._reading = None
        elif name == "ruby" and self._paragraphs:
            reading = " ".join(filter(None, self._readings))
            self._readings.clear()
            self._paragraphs[-1].parts.append(f"({reading})" if reading else "")
        elif name == "p" and self._paragraphs:
            self._end_paragraph(self._paragraphs.pop())
        elif name == "tr":
            self._tables.end_row()

    def _end_paragraph(self, paragraph: _Paragraph) -> None:
        text = "".join(paragraph.parts).strip()
        if not text:
            return
        style, outline = paragraph.style, paragraph.outline
        level = outline if outline is not None and outline <= 9 else self._styles.level(style)
        label = self._label(paragraph)
        numbered = f"{label} {text}" if label else text
        if self._tables.inside:
            self._tables.add(text if label == BULLET else numbered)
        elif self._styles.is_title(style):
            self.title = self.title or text
            self._builder.block(numbered)
        elif level is not None and len(text) <= 300:
            self._builder.heading(level, text if label == BULLET else numbered)
        else:
            self._builder.block(numbered, "\n" if label else "\n\n")

    def _label(self, paragraph: _Paragraph) -> str:
        number, depth = self._styles.numbered(paragraph.style)
        number = paragraph.list or number
        depth = depth if paragraph.depth is None else paragraph.depth
        return self._numbering.label(number, depth) or (BULLET if paragraph.in_list and number != "0" else "")


@dataclass(slots=True)
class _Paragraph:
    parts: list[str] = field(default_factory=list)
    style: str = ""
    outline: int | None = None
    list: str = ""
    depth: int | None = None
    in_list: bool = False


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
