#!/usr/bin/env python3
"""Build the PDF and Word sample documents from `sample_sources/`, byte for byte the same every time.

    python packaging/make_samples.py [--output resources/samples]

The generated files are committed; run this only after editing a source. Needs `reportlab` and
`python-docx`, which the program itself does not use.

A source is plain text: `key: value` lines, an empty line, then `# heading`, `## subheading`,
`- item`, `| table | row |`, fenced code, paragraphs, and the directives `%abstract` (the paragraph
that follows), `%figure name | caption` and `%references` (the list that follows).
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import docx
from docx.shared import Pt, RGBColor
from reportlab.lib.enums import TA_CENTER, TA_JUSTIFY, TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    FrameBreak,
    KeepTogether,
    ListFlowable,
    ListItem,
    NextPageTemplate,
    PageTemplate,
    Paragraph,
    Preformatted,
    Spacer,
)
from sample_figures import FIGURES

HERE = Path(__file__).resolve().parent
AUTHOR = "RAG Studio sample library"
LICENCE = "CC0 1.0"
WRITTEN = datetime(2026, 11, 1, 12, 0, 0)
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
ROOM_BELOW_HEADING = {1: 90, 2: 55}
"""Points a heading of each level needs before the column ends: itself, a subheading, two lines."""


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of a source: a paragraph, heading, list, table, code listing or figure."""

    kind: str
    text: str = ""
    level: int = 0
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed source file."""

    name: str
    fields: dict[str, str]
    blocks: tuple[Block, ...]


def read_source(path: Path) -> Source:
    """Parse one file of `sample_sources/`. Raises ValueError without a header."""
    header, found, body = path.read_text(encoding="utf-8").partition("\n\n")
    if not found:
        raise ValueError(f"{path.name}: no empty line after the header")
    fields = dict(line.split(": ", 1) for line in header.splitlines())
    return Source(path.stem, fields, tuple(_blocks(body)))


def _blocks(body: str) -> Iterator[Block]:
    pending = "paragraph"
    code: list[str] | None = None
    lines = body.splitlines()
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if line.startswith("```"):
            if code is None:
                code = []
            else:
                yield Block("code", "\n".join(code))
                code = None
        elif code is not None:
            code.append(line)
        elif line.startswith("#"):
            marks, title = line.split(" ", 1)
            yield Block("heading", title, level=len(marks))
        elif line.startswith("%figure "):
            name, caption = line.removeprefix("%figure ").split(" | ")
            yield Block("figure", caption, items=(name,))
        elif line.startswith("%"):
            pending = line[1:]
        elif line[:2] in ("- ", "| "):
            mark, rows = line[:2], [line]
            while position < len(lines) and lines[position].startswith(mark):
                rows.append(lines[position])
                position += 1
            kind = "table" if mark == "| " else "references" if pending == "references" else "bullets"
            yield Block(kind, items=tuple(row.strip("|- ") if mark == "| " else row[2:] for row in rows))
            pending = "paragraph"
        elif line.strip():
            yield Block(pending, line.strip())
            pending = "paragraph"


def markup(text: str) -> str:
    """Inline marks (`code`, **bold**, *italic*) as reportlab's mini-HTML."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"`([^`]+)`", r'<font face="Courier">\1</font>', text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
    return re.sub(r"(?<!\w)\*([^*\s][^*]*)\*", r"<i>\1</i>", text)


# ---------------------------------------------------------------- PDF


@dataclass(frozen=True, slots=True)
class Look:
    """Typography of one kind of PDF. Sizes in points."""

    serif: bool
    columns: int
    size: float
    leading: float
    margin: float
    gutter: float = 7 * mm

    def style(self, name: str, **changes: Any) -> ParagraphStyle:
        """A paragraph style that differs from body text by `changes`."""
        base: dict[str, Any] = {
            "fontName": "Times-Roman" if self.serif else "Helvetica",
            "fontSize": self.size,
            "leading": self.leading,
            "allowWidows": 0,
            "allowOrphans": 0,
            "alignment": TA_JUSTIFY if self.columns > 1 else TA_LEFT,
        }
        return ParagraphStyle(name, **(base | changes))

    @property
    def bold(self) -> str:
        return "Times-Bold" if self.serif else "Helvetica-Bold"

    @property
    def width(self) -> float:
        """Width of the text area, all columns and gutters."""
        return A4[0] - 2 * self.margin


LOOKS = {
    "two-columns": Look(serif=True, columns=2, size=10.6, leading=13.1, margin=19 * mm),
    "report": Look(serif=False, columns=1, size=10.2, leading=15, margin=30 * mm),
}


class Figure(Flowable):
    """A vector drawing from `sample_figures`, centred in its column."""

    def __init__(self, name: str, serif: bool) -> None:
        super().__init__()
        self.drawing = FIGURES[name]
        self.serif = serif

    def wrap(self, available_width: float, _available_height: float) -> tuple[float, float]:
        self.left = max(0.0, (available_width - self.drawing.width) / 2)
        return available_width, self.drawing.height

    def draw(self) -> None:
        self.canv.translate(self.left, 0)
        self.drawing.draw(self.canv)


class PaperTemplate(BaseDocTemplate):
    """Adds every heading to the PDF outline."""

    LEVELS: ClassVar[dict[str, int]] = {"Heading1": 0, "Heading2": 1}

    def afterFlowable(self, flowable: Flowable) -> None:
        if isinstance(flowable, Paragraph) and flowable.style.name in self.LEVELS:
            title = " ".join(flowable.getPlainText().split())
            key = re.sub(r"\W+", "-", title.lower())
            self.canv.bookmarkHorizontal(key, 0, self.frame._y + flowable.height)
            self.canv.addOutlineEntry(title, key, self.LEVELS[flowable.style.name])


def _title(source: Source, look: Look) -> list[Flowable]:
    centred = TA_CENTER if look.columns > 1 else TA_LEFT
    big = 17 if look.columns > 1 else 22
    return [
        Paragraph(
            markup(source.fields["title"]),
            look.style("Title", fontName=look.bold, fontSize=big, leading=big * 1.2, alignment=centred),
        ),
        Spacer(1, 8),
        Paragraph(AUTHOR, look.style("Author", fontSize=11, leading=14, alignment=centred)),
        Paragraph(
            f"{WRITTEN:%B %Y} · dedicated to the public domain ({LICENCE})",
            look.style("Note", fontSize=8.8, leading=12, alignment=centred, textColor="#555555"),
        ),
    ]


def _heading(block: Block, look: Look) -> Flowable:
    number, _, words = block.text.partition(" ")
    size = look.size + (2.4 if block.level == 1 else 0.8)
    return Paragraph(
        f"{number}&nbsp;&nbsp;{markup(words)}" if number[0].isdigit() else markup(block.text),
        look.style(
            f"Heading{block.level}",
            fontName=look.bold,
            fontSize=size,
            leading=size * 1.25,
            alignment=TA_LEFT,
            spaceBefore=10 if block.level == 1 else 7,
            spaceAfter=4,
        ),
    )


def _list(items: tuple[str, ...], look: Look, *, numbered: bool) -> Flowable:
    size = look.size - 1 if numbered else look.size
    style = look.style("Item", fontSize=size, leading=size * 1.2 if numbered else look.leading)
    return ListFlowable(
        [ListItem(Paragraph(markup(item), style), spaceAfter=3) for item in items],
        bulletType="1" if numbered else "bullet",
        bulletFormat="[%s]" if numbered else None,
        bulletFontName="Times-Roman" if look.serif else "Helvetica",
        bulletFontSize=size,
        start=None if numbered else "•",
        leftIndent=17 if numbered else 12,
        spaceBefore=2,
        spaceAfter=6,
    )


def _flowables(source: Source, look: Look) -> Iterator[Flowable]:
    plain = look.style("Body", spaceAfter=0 if look.columns > 1 else 7)
    indented = look.style("BodyIndented", firstLineIndent=11) if look.columns > 1 else plain
    figures = 0
    after_heading = True
    for block in source.blocks:
        if block.kind == "heading":
            yield CondPageBreak(ROOM_BELOW_HEADING[block.level])
            yield _heading(block, look)
        elif block.kind == "abstract":
            yield Paragraph(
                "Abstract",
                look.style("Heading1", fontName=look.bold, fontSize=look.size + 1, spaceAfter=3),
            )
            yield Paragraph(markup(block.text), look.style("Abstract", spaceAfter=6))
        elif block.kind == "paragraph":
            yield Paragraph(markup(block.text), plain if after_heading else indented)
        elif block.kind == "bullets":
            yield _list(block.items, look, numbered=False)
        elif block.kind == "references":
            heading = _heading(Block("heading", "References", level=1), look)
            yield KeepTogether([heading, _list(block.items, look, numbered=True)])
        elif block.kind == "code":
            code = look.style("Code", fontName="Courier", fontSize=8.3, leading=10.2, alignment=TA_LEFT, leftIndent=8)
            yield KeepTogether([Spacer(1, 4), Preformatted(block.text, code), Spacer(1, 7)])
        elif block.kind == "figure":
            figures += 1
            caption = look.style("Caption", fontSize=look.size - 1.2, leading=(look.size - 1.2) * 1.2, spaceAfter=9)
            text = f"<b>Figure {figures}.</b> {markup(block.text)}"
            picture = Figure(block.items[0], look.serif)
            yield KeepTogether([Spacer(1, 7), picture, Spacer(1, 5), Paragraph(text, caption)])
        else:
            raise ValueError(f"{source.name}: a PDF has no place for a {block.kind}")
        after_heading = block.kind in ("heading", "abstract", "bullets", "code", "figure")


def build_pdf(source: Source, target: Path) -> None:
    """Typeset a source as a two-column paper or a one-column report."""
    look = LOOKS[source.fields["layout"]]
    top, bottom = A4[1] - 20 * mm, 22 * mm
    title = _title(source, look)
    title_height = sum(piece.wrap(look.width, top)[1] for piece in title) + 14
    column = (look.width - (look.columns - 1) * look.gutter) / look.columns
    lefts = [look.margin + index * (column + look.gutter) for index in range(look.columns)]

    def frame(left: float, width: float, low: float, high: float) -> Frame:
        return Frame(left, low, width, high - low, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)

    def number_page(canvas: Any, document: Any) -> None:
        canvas.setFont("Times-Roman" if look.serif else "Helvetica", 9)
        canvas.drawCentredString(A4[0] / 2, 12 * mm, str(document.page))

    below = top - title_height
    first = [frame(look.margin, look.width, below, top), *(frame(left, column, bottom, below) for left in lefts)]
    later = [frame(left, column, bottom, top) for left in lefts]
    document = PaperTemplate(
        str(target),
        pagesize=A4,
        title=source.fields["title"],
        author=AUTHOR,
        subject=source.fields["subject"],
        keywords=LICENCE,
        creator="RAG Studio",
        lang="en",
        invariant=1,
    )
    document.addPageTemplates(
        [PageTemplate("first", first, onPageEnd=number_page), PageTemplate("later", later, onPageEnd=number_page)]
    )
    document.build([*title, NextPageTemplate("later"), FrameBreak(), *_flowables(source, look)])


# ---------------------------------------------------------------- Word


def build_docx(source: Source, target: Path) -> None:
    """Write a source as a Word document with heading styles and a table."""
    document = docx.Document()
    properties = document.core_properties
    properties.title, properties.author = source.fields["title"], AUTHOR
    properties.subject, properties.comments = source.fields["subject"], f"Licence: {LICENCE}"
    properties.created = properties.modified = WRITTEN
    properties.last_modified_by = AUTHOR
    properties.language = "en"
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = "Calibri", Pt(11)
    normal.paragraph_format.space_after = Pt(8)
    for level in (1, 2):
        document.styles[f"Heading {level}"].font.color.rgb = RGBColor(0x1F, 0x2A, 0x44)
    document.add_heading(source.fields["title"], level=0)
    for block in source.blocks:
        if block.kind == "heading":
            document.add_heading(block.text, level=block.level)
        elif block.kind == "paragraph":
            document.add_paragraph(block.text)
        elif block.kind == "bullets":
            for item in block.items:
                document.add_paragraph(item, style="List Bullet")
        elif block.kind == "table":
            rows = [[cell.strip() for cell in row.split("|")] for row in block.items]
            table = document.add_table(rows=0, cols=len(rows[0]), style="Light Grid Accent 1")
            for row in rows:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = text
            document.add_paragraph()
        else:
            raise ValueError(f"{source.name}: a Word document has no place for a {block.kind}")
    written = BytesIO()
    document.save(written)
    _rewrite_zip(written, target)


def _rewrite_zip(written: BytesIO, target: Path) -> None:
    """Copy an archive with fixed times, so that equal content gives equal bytes."""
    with zipfile.ZipFile(written) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            entry = zipfile.ZipInfo(name, date_time=ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            copy.writestr(entry, archive.read(name))


def main() -> None:
    """Build every source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE.parent / "resources" / "samples")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted((HERE / "sample_sources").glob("*.txt")):
        source = read_source(path)
        word = source.fields["layout"] == "word"
        target = output / f"{source.name}{'.docx' if word else '.pdf'}"
        (build_docx if word else build_pdf)(source, target)
        print(f"{target} ({target.stat().st_size / 1024:.0f} KB)")


if __name__ == "__main__":
    main()
