"""A passage lies within one slide or sheet, and is cited with the heading that its words stand below."""

from __future__ import annotations

from pathlib import Path

from studio.documents.chunking import make_chunks
from studio.documents.chunking.chunker import pack
from studio.domain import Chunk, ParsedDocument
from tests.unit.documents.making import docx, paragraph, read_one
from tests.unit.documents.parsers.test_office_coverage import cell, presentation, row, slide, workbook_of
from tests.unit.documents.parsers.test_open_formats import book, opendocument


def passages(parsed: ParsedDocument, limit: int = 200) -> list[Chunk]:
    """Passages as they are cited; a word is a token."""
    counts = [len(parsed.text[a:b].split()) for a, b in parsed.segments]
    ranges = pack(parsed.text, parsed.spans, parsed.segments, counts, limit=limit, overlap=limit // 5)
    return make_chunks("d", parsed, ranges)


def cited(parsed: ParsedDocument) -> list[tuple[str, str]]:
    return [(chunk.anchor, chunk.content) for chunk in passages(parsed)]


def test_a_passage_lies_within_one_slide(tmp_path: Path) -> None:
    decks = [
        presentation(tmp_path / "a.pptx", [slide("One"), slide("Two"), slide("Three")]),
        opendocument(
            tmp_path / "a.odp",
            "presentation",
            "".join(f"<draw:page><text:p>{text}</text:p></draw:page>" for text in ("One", "Two", "Three")),
        ),
    ]
    for deck in decks:
        found = [(chunk.page_number, chunk.anchor, chunk.content) for chunk in passages(read_one(deck))]
        assert found == [(1, "Slide 1", "One"), (2, "Slide 2", "Two"), (3, "Slide 3", "Three")]


def test_a_passage_lies_within_one_sheet(tmp_path: Path) -> None:
    sheets = {name: row(1, cell("A1", name.lower())) for name in ("First", "Second")}
    assert cited(read_one(workbook_of(tmp_path / "a.xlsx", sheets))) == [
        ("Sheet First", "first"),
        ("Sheet Second", "second"),
    ]


def test_what_stands_below_a_heading_is_cited_with_it(tmp_path: Path) -> None:
    parts = (("Chapter", 1, ""), ("Aim", 2, "Short."), ("Means", 2, "Few."), ("End", 1, "Done."))
    word = "".join(paragraph(title, f"Heading{level}") + paragraph(text) for title, level, text in parts)
    odt = "".join(
        f'<text:h text:outline-level="{level}">{title}</text:h><text:p>{text}</text:p>' for title, level, text in parts
    )
    page = "".join(f"<h{level}>{title}</h{level}><p>{text}</p>" for title, level, text in parts)
    for path in (
        docx(tmp_path / "a.docx", word),
        opendocument(tmp_path / "a.odt", "text", odt),
        book(tmp_path / "a.epub", {"a": page}, ""),
    ):
        assert cited(read_one(path)) == [
            ("Chapter › Aim", "Chapter\n\nAim\n\nShort."),
            ("Chapter › Means", "Means\n\nFew."),
            ("End", "End\n\nDone."),
        ]
