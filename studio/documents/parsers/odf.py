"""OpenDocument texts and presentations (.odt, .odp): own reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import (
    MAX_HEADING_CHARS,
    TextBuilder,
    choose_title,
    encrypted,
    make_document,
    one_line,
)
from studio.documents.parsers.package import Package, XmlHandler, open_package
from studio.documents.parsers.word import Fields
from studio.domain import PageCounts, ParsedDocument

WHAT = "OpenDocument"
MAX_SPACES = 1000

_SKIPPED = frozenset(
    {"tracked-changes", "forms", "scripts", "automatic-styles", "font-face-decls", "object-ole", "desc"}
)
_SKIPPED_INLINE = frozenset({"annotation", "note-citation", "ruby-text", "page-number", "page-count"})


def parse_odt(path: Path) -> Iterator[ParsedDocument]:
    """A text; spans follow the headings."""
    yield _parse(path, "odt")


def parse_odp(path: Path) -> Iterator[ParsedDocument]:
    """A presentation; a slide is a page."""
    yield _parse(path, "odp")


def _parse(path: Path, kind: str) -> ParsedDocument:
    with open_package(path, WHAT) as package:
        manifest = "META-INF/manifest.xml"
        if manifest in package and b"encryption-data" in package.read(manifest):
            raise encrypted(WHAT)
        builder = TextBuilder()
        content = Content(builder)
        package.parse("content.xml", content)
        fields = _meta(package)
    content.end_slide()
    text, spans = builder.build()
    pages = PageCounts(content.slides, content.readable, content.slides - content.readable, 0)
    return make_document(
        text,
        spans,
        kind,
        title=choose_title(fields.get("title"), builder.first_heading or content.first_title, path),
        author=fields.get("creator", fields.get("initial-creator", "")),
        created=fields.get("creation-date", "")[:10],
        pages=pages,
    )


def _meta(package: Package) -> dict[str, str]:
    fields = Fields()
    if "meta.xml" in package:
        package.parse("meta.xml", fields)
    return fields.found


class Content(XmlHandler):
    """Headings, paragraphs, lists, table rows and slides of a `content.xml`."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._open: list[tuple[list[str], int | None]] = []  # paragraphs nest: notes, text boxes
        self._cells: list[list[list[str]]] = []
        self._skip = 0
        self._list_item = False
        self._slide: list[str] | None = None
        self._slide_title = ""
        self._placeholder = ""
        self.slides = self.readable = 0
        self.first_title = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skip or name in _SKIPPED or name in _SKIPPED_INLINE:
            self._skip += 1
        elif name == "page":
            self.end_slide()
            self.slides += 1
            self._slide, self._slide_title = [], ""
        elif name == "frame":
            self._placeholder = attributes.get("class", "")
        elif name == "notes" and self._slide is not None:
            self._placeholder = "notes"
        elif name in ("p", "h"):
            level = attributes.get("outline-level", "1")
            self._open.append(([], int(level) if name == "h" and level.isdigit() else None))
        elif name == "list-item":
            self._list_item = True
        elif name == "table-row":
            self._cells.append([])
        elif name in ("table-cell", "covered-table-cell"):
            if self._cells:
                self._cells[-1].append([])
        elif self._open:
            self._inline(name, attributes)

    def _inline(self, name: str, attributes: dict[str, str]) -> None:
        parts = self._open[-1][0]
        if name == "s":
            count = attributes.get("c", "1")
            parts.append(" " * min(int(count) if count.isdigit() else 1, MAX_SPACES))
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
        elif name in ("p", "h") and self._open:
            parts, level = self._open.pop()
            self._emit("".join(parts).strip(), level)
        elif name == "list-item":
            self._list_item = False
        elif name == "table-row" and self._cells:
            row = " | ".join(" ".join(cell) for cell in self._cells.pop())
            if row.strip(" |"):
                self._emit(row.rstrip(" |"), None, "\n")

    def _emit(self, text: str, level: int | None, gap: str = "\n\n") -> None:
        if not text:
            return
        if self._cells and self._cells[-1]:
            self._cells[-1][-1].append(text.replace("\n", " "))
        elif self._slide is not None:
            if self._placeholder == "title" and not self._slide_title:
                self._slide_title = text
            self._slide.append(text)
        elif level is not None:
            self._builder.heading(level, text)
        elif self._list_item:
            self._builder.block(f"- {text}", "\n")
            self._list_item = False
        else:
            self._builder.block(text, gap)

    def end_slide(self) -> None:
        """Write the slide that is being collected, if there is one."""
        if self._slide is None:
            return
        title = one_line(self._slide_title)[:MAX_HEADING_CHARS]
        self.first_title = self.first_title or title
        self.readable += bool(self._slide)
        anchor = f"Slide {self.slides}: {title}" if title else f"Slide {self.slides}"
        self._builder.begin(page=self.slides, anchor=anchor)
        for i, paragraph in enumerate(self._slide):
            self._builder.block(paragraph, "\n" if i else "\n\n")
        self._slide = None
