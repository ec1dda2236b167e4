"""OpenDocument texts and presentations (.odt, .odp): own reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import (
    MAX_HEADING_CHARS,
    TextBuilder,
    choose_title,
    locked,
    make_document,
    one_line,
)
from studio.documents.parsers.package import Package, XmlHandler, open_package, whole_number
from studio.documents.parsers.properties import odf_properties
from studio.documents.parsers.slides import add_slide
from studio.documents.parsers.tables import Tables, joined
from studio.domain import PageCounts, ParsedDocument, ParserEvent, PartFailure
from studio.errors import DocumentFault

WHAT = "OpenDocument"
MAX_SPACES = 1000

_SKIPPED = frozenset(
    {"tracked-changes", "forms", "scripts", "automatic-styles", "font-face-decls", "object-ole", "desc"}
)
_SKIPPED_INLINE = frozenset({"note-citation", "ruby-text", "page-number", "page-count"})
_SKIPPED_ASIDE = frozenset({"date", "date-string", "creator", "creator-initials", "sender-initials"})
_ASIDE = {"note": "Notes", "annotation": "Comments"}
_MARGINS = frozenset({"header", "footer", "header-left", "footer-left", "header-first", "footer-first"})


def parse_odt(path: Path) -> Iterator[ParserEvent]:
    """A text; spans follow the headings. Notes, comments, headers and footers come after the text."""
    with open_package(path, WHAT) as package:
        refuse_encrypted(package)
        builder = TextBuilder()
        content = Content(builder)
        package.parse("content.xml", content)
        margins = _Margins()
        if "styles.xml" in package:
            try:
                package.parse("styles.xml", margins)
            except DocumentFault as fault:
                yield PartFailure("styles.xml", fault.code.value, fault.full_message)
        beside = {**content.aside, "Headers and footers": margins.paragraphs}
        for anchor, paragraphs in beside.items():
            builder.begin(anchor=anchor)
            for paragraph in dict.fromkeys(paragraphs):
                builder.block(paragraph)
        yield _document(package, builder, "odt", builder.first_heading or content.title, path)


def parse_odp(path: Path) -> Iterator[ParsedDocument]:
    """A presentation; a slide is a page. Notes and comments follow the text of their slide."""
    with open_package(path, WHAT) as package:
        refuse_encrypted(package)
        builder = TextBuilder()
        slides = Slides(builder)
        package.parse("content.xml", slides)
        slides.end_slide()
        pages = PageCounts(slides.count, slides.readable, slides.count - slides.readable)
        yield _document(package, builder, "odp", slides.first_title, path, pages)


def refuse_encrypted(package: Package) -> None:
    """Raises DocumentFault ENCRYPTED for a package under a password: its parts are encrypted one by one."""
    manifest = "META-INF/manifest.xml"
    if manifest in package and b"encryption-data" in package.read(manifest):
        raise locked(WHAT)


def _document(
    package: Package, builder: TextBuilder, kind: str, heading: str, path: Path, pages: PageCounts | None = None
) -> ParsedDocument:
    properties = odf_properties(package)
    text, spans = builder.build()
    return make_document(
        text,
        spans,
        kind,
        title=choose_title(properties.title, heading, path),
        author=properties.author,
        licence=properties.licence,
        created=properties.created,
        metadata=properties.metadata,
        pages=pages,
    )


class Paragraphs(XmlHandler):
    """Paragraphs and headings of a `content.xml`; what becomes of them is up to `add`."""

    def __init__(self) -> None:
        self._open: list[tuple[list[str], int | None, bool]] = []  # paragraphs nest: notes, text boxes
        self._skip = 0
        self._list_item = False
        self._aside: list[str] = []
        self.aside: dict[str, list[str]] = {anchor: [] for anchor in _ASIDE.values()}

    def add(self, text: str, level: int | None, item: bool) -> None:
        """A paragraph, a heading of a `level`, or an item of a list."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skip or name in _SKIPPED or name in _SKIPPED_INLINE or (self._aside and name in _SKIPPED_ASIDE):
            self._skip += 1
        elif name in _ASIDE:
            self._aside.append(_ASIDE[name])
        elif name in ("p", "h"):
            heading = whole_number(attributes.get("outline-level", "1")) if name == "h" else None
            self._open.append(([], heading, self._list_item))
            self._list_item = False
        elif name == "list-item":
            self._list_item = True
        elif self._open:
            self._inline(name, attributes)

    def _inline(self, name: str, attributes: dict[str, str]) -> None:
        parts = self._open[-1][0]
        if name == "s":
            count = whole_number(attributes.get("c", "1"))
            parts.append(" " * (1 if count is None else min(count, MAX_SPACES)))
        elif name == "tab":
            parts.append("\t")
        elif name == "line-break":
            parts.append("\n")

    def text(self, data: str) -> None:
        if self._open and not self._skip:
            self._open[-1][0].append(data.replace("\n", " "))

    def end(self, name: str) -> None:
        if self._skip:
            self._skip -= 1
        elif name in _ASIDE and self._aside:
            self._aside.pop()
        elif name in ("p", "h") and self._open:
            parts, level, item = self._open.pop()
            text = "".join(parts).strip()
            if text and self._aside:
                self.aside[self._aside[-1]].append(text)
            elif text:
                self.add(text, level, item)
        elif name == "list-item":
            self._list_item = False


class Content(Paragraphs):
    """Headings, paragraphs, lists and tables of a text."""

    def __init__(self, builder: TextBuilder) -> None:
        super().__init__()
        self._builder = builder
        self._tables = Tables(builder)
        self.title = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        super().start(name, attributes)
        if self._skip:
            return
        if name == "table":
            self._tables.begin()
        elif name == "table-row":
            self._tables.begin_row()
        elif name in ("table-cell", "covered-table-cell"):
            self._tables.begin_cell()

    def end(self, name: str) -> None:
        if name == "table-row" and not self._skip:
            self._tables.end_row()
        super().end(name)

    def add(self, text: str, level: int | None, item: bool) -> None:
        if self._tables.inside:
            self._tables.add(text)
        elif level is not None:
            self._builder.heading(level, text)
        elif item:
            self._builder.block(f"- {text}", "\n")
        else:
            self._builder.block(text)


class Slides(Paragraphs):
    """The slides of a presentation."""

    def __init__(self, builder: TextBuilder) -> None:
        super().__init__()
        self._builder = builder
        self._slide: list[tuple[str, bool]] | None = None
        self._notes: list[str] = []
        self._in_notes = False
        self._title = ""
        self._placeholder = ""
        self._row: list[list[str]] | None = None
        self.count = self.readable = 0
        self.first_title = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        super().start(name, attributes)
        if self._skip:
            return
        if name == "page":
            self.end_slide()
            self.count += 1
            self._slide, self._title = [], ""
        elif name in ("frame", "custom-shape"):
            self._placeholder = attributes.get("class", "")
        elif name == "notes":
            self._in_notes = True
        elif name == "table-row":
            self._row = []
        elif name in ("table-cell", "covered-table-cell") and self._row is not None:
            self._row.append([])

    def end(self, name: str) -> None:
        super().end(name)
        if name == "notes":
            self._in_notes = False
        elif name == "table-row" and self._row is not None:
            row, self._row = joined(self._row), None
            if row and self._slide is not None:
                self._slide.append((row, True))

    def add(self, text: str, level: int | None, item: bool) -> None:
        if self._slide is None:
            return
        if self._row:
            self._row[-1].append(text)
        elif self._in_notes:
            self._notes.append(text)
        else:
            if self._placeholder == "title" and not self._title:
                self._title = text
            self._slide.append((text, False))

    def end_slide(self) -> None:
        """Write the slide that is being collected, if there is one."""
        if self._slide is None:
            return
        for label, paragraphs in (("Notes:", self._notes), ("Comments:", self.aside["Comments"])):
            self._slide += [(paragraph, False) for paragraph in (label, *paragraphs) if paragraphs]
            paragraphs.clear()
        title = one_line(self._title)[:MAX_HEADING_CHARS]
        self.first_title = self.first_title or title
        self.readable += bool(self._slide)
        add_slide(self._builder, self.count, title, self._slide)
        self._slide = None


class _Margins(Paragraphs):
    """Headers and footers, which stand among the styles."""

    def __init__(self) -> None:
        super().__init__()
        self._margins = 0
        self.paragraphs: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        super().start(name, attributes)
        self._margins += name in _MARGINS and not self._skip

    def end(self, name: str) -> None:
        self._margins -= name in _MARGINS and not self._skip
        super().end(name)

    def add(self, text: str, level: int | None, item: bool) -> None:
        if self._margins and any(character.isalpha() for character in text):
            self.paragraphs.append(text)
