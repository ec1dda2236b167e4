"""Old Word and PowerPoint files (.doc, .ppt of Office 95 to 2003): their words, without their layout.

Own readers of [MS-DOC] and [MS-PPT], because the process that reads files may start no other program.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from studio.documents.parsers.base import (
    MAX_HEADING_CHARS,
    TextBuilder,
    choose_title,
    corrupt,
    locked,
    make_document,
    no_text,
    one_line,
    read_all,
    unsupported,
)
from studio.documents.parsers.ole import has_loop, read_streams
from studio.documents.parsers.properties import Properties, old_properties
from studio.documents.parsers.slides import add_slide
from studio.domain import PageCounts, ParsedDocument

MAX_EDITS = 1000
"""Savings of a presentation that are followed back."""
_UNSOUND = (struct.error, IndexError, KeyError, ValueError)

# ---------------------------------------------------------------- Word

_WORD_MARK, _WORD_97 = 0xA5EC, 0xC1
_COMPLEX, _ENCRYPTED, _TABLE_1 = 0x0004, 0x0100, 0x0200
_STORIES = ("", "Footnotes", "Headers and footers", "", "Comments", "Endnotes", "Text boxes", "Text boxes")
_FIELD = re.compile("\x13[^\x13\x14\x15]*(?:\x14([^\x13\x14\x15]*))?\x15")
_ENDS = re.compile("[\r\x07\x0c]")
_LETTERS = str.maketrans({"\x0b": "\n", "\x1e": "-", "\xa0": " ", **dict.fromkeys("\x01\x02\x03\x04\x05\x08\x1f", "")})


def parse_doc(path: Path) -> Iterator[ParsedDocument]:
    """One document. Footnotes, comments, headers and text boxes come after the text.

    Raises DocumentFault CORRUPT, ENCRYPTED, NO_TEXT; UNSUPPORTED for what is older or saved in pieces.
    """
    streams = _streams(path, "Word", ("WordDocument", "0Table", "1Table"))
    try:
        stories = doc_stories(streams)
    except _UNSOUND:
        stories = []
    if not stories:
        raise unsupported(
            "This file in the old Word format (.doc) cannot be read.", "Save it as .docx and add that file."
        )
    builder = TextBuilder()
    for anchor, text in stories:
        builder.begin(anchor=anchor)
        _add_story(builder, text)
    yield _document(builder, "doc", path, _first_line(stories[0][1]), PageCounts())


def doc_stories(streams: dict[str, bytes]) -> list[tuple[str, str]]:
    """The parts of a Word file, each with its name, "" for the text itself; none if the format is another.

    Raises DocumentFault ENCRYPTED, and what damage provokes: struct.error, IndexError, KeyError, ValueError.
    """
    data = streams["WordDocument"]
    mark, version = struct.unpack_from("<HH", data)
    flags = struct.unpack_from("<H", data, 10)[0]
    if flags & _ENCRYPTED:
        raise locked("Word")
    if mark != _WORD_MARK or version < _WORD_97:
        start, length = struct.unpack_from("<I", data, 0x18)[0], struct.unpack_from("<I", data, 0x34)[0]
        text = data[start : start + length].decode("cp1252", "replace")
        return [] if flags & _COMPLEX or not text else [("", text)]
    text = _pieces(data, streams["1Table" if flags & _TABLE_1 else "0Table"])
    lengths = struct.unpack_from("<8I", data, 0x4C)
    stories: list[tuple[str, str]] = []
    at = 0
    for anchor, length in zip(_STORIES, lengths, strict=True):
        if text[at : at + length].strip():
            stories.append((anchor, text[at : at + length]))
        at += length
    return stories


def _pieces(data: bytes, table: bytes) -> str:
    """All characters of a file, put together by the table of its pieces."""
    at, size = struct.unpack_from("<II", data, 0x1A2)
    end = at + size
    while at < end and table[at] == 1:
        at += 3 + int(struct.unpack_from("<H", table, at + 1)[0])
    if at >= end or table[at] != 2:
        raise ValueError
    count = (struct.unpack_from("<I", table, at + 1)[0] - 4) // 12
    places = struct.unpack_from(f"<{count + 1}I", table, at + 5)
    found: list[str] = []
    for number in range(count):
        offset = struct.unpack_from("<I", table, at + 5 + 4 * (count + 1) + 8 * number + 2)[0]
        length = places[number + 1] - places[number]
        if offset & 0x40000000:
            start = (offset & 0x3FFFFFFF) // 2
            found.append(data[start : start + length].decode("cp1252", "replace"))
        else:
            found.append(data[offset : offset + 2 * length].decode("utf-16-le", "replace"))
    return "".join(found)


def _without_fields(text: str) -> str:
    """Fields as their results, not their instructions; they lie within each other."""
    for _ in range(8):
        text, count = _FIELD.subn(lambda one: one[1] or "", text)
        if not count:
            break
    return text.translate(dict.fromkeys((0x13, 0x14, 0x15)))


def _add_story(builder: TextBuilder, text: str) -> None:
    """Add paragraphs, and rows of tables: a cell ends with a mark, a row with one more."""
    text = _without_fields(text)
    cells: list[str] = []
    above = False
    at = 0
    for end in _ENDS.finditer(text):
        part, at = text[at : end.start()].translate(_LETTERS).strip(), end.end()
        if end.group() != "\x07":
            builder.block(part)
            above = False
        elif part or not cells:
            cells.append(one_line(part))
        else:
            builder.block(" | ".join(cells).strip(" |"), "\n" if above else "\n\n", whole=True)
            cells, above = [], True
    builder.block(" | ".join(filter(None, cells)))
    builder.block(text[at:].translate(_LETTERS))


def _first_line(text: str) -> str:
    line = one_line(_without_fields(text.lstrip()[:2000]).split("\r", 1)[0].translate(_LETTERS))
    return line if len(line) <= MAX_HEADING_CHARS else ""


# ---------------------------------------------------------------- PowerPoint

_SLIDES, _NOTES = 0, 2
_DOCUMENT, _SLIDE, _NOTE, _LIST, _PERSIST, _NOTE_OF = 1000, 1006, 1008, 4080, 1011, 1009
_KIND, _WIDE, _NARROW, _OUTLINE, _EDIT, _DIRECTORY = 3999, 4000, 4008, 3998, 4085, 6002
_TITLES = frozenset({0, 6})
_GUARDED = 0xF3D1C4DF
_MARGIN_KINDS = re.compile(r"[*\d\s]*$")


@dataclass(slots=True)
class OldSlide:
    """A slide: its title, its paragraphs, and those of its notes."""

    title: str = ""
    paragraphs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def parse_ppt(path: Path) -> Iterator[ParsedDocument]:
    """One document; a slide is a page, its notes follow. Raises DocumentFault as `parse_doc` does."""
    streams = _streams(path, "PowerPoint", ("PowerPoint Document", "Current User"))
    try:
        slides = ppt_slides(streams["PowerPoint Document"], streams["Current User"])
    except _UNSOUND as error:
        raise unsupported(
            "This file in the old PowerPoint format (.ppt) cannot be read.", "Save it as .pptx and add that file."
        ) from error
    if not slides:
        raise no_text("This presentation holds no slides.")
    builder = TextBuilder()
    for number, slide in enumerate(slides, 1):
        notes = ["Notes:", *slide.notes] if slide.notes else []
        add_slide(builder, number, slide.title, ((text, False) for text in [*slide.paragraphs, *notes]))
    readable = sum(bool(slide.paragraphs or slide.notes) for slide in slides)
    title = next((slide.title for slide in slides if slide.title), "")
    yield _document(builder, "ppt", path, title, PageCounts(len(slides), readable, len(slides) - readable, 0))


def ppt_slides(data: bytes, user: bytes) -> list[OldSlide]:
    """The slides of a presentation in the order they are shown.

    Raises DocumentFault ENCRYPTED, and what damage provokes: struct.error, IndexError, KeyError, ValueError.
    """
    token, edit = struct.unpack_from("<II", user, 12)
    if token == _GUARDED:
        raise locked("PowerPoint")
    places, document = _directory(data, edit)
    slides: list[OldSlide] = []
    by_id: dict[int, OldSlide] = {}
    notes: list[int] = []
    for instance, kind, start, end in _records(data, *_content(data, places[document], _DOCUMENT)):
        if kind != _LIST or instance not in (_SLIDES, _NOTES):
            continue
        for identity, number, texts in _listed(data, start, end):
            if instance == _NOTES:
                notes.append(places[number])
            else:
                slide = _slide(data, *_content(data, places[number], _SLIDE), texts)
                slides.append(slide)
                by_id[identity] = slide
    for place in notes:
        start, end = _content(data, place, _NOTE)
        of = next((at for _, kind, at, _ in _records(data, start, end) if kind == _NOTE_OF), None)
        slide_id = struct.unpack_from("<I", data, of)[0] if of is not None else 0
        if slide_id in by_id:
            by_id[slide_id].notes += _slide(data, start, end, []).paragraphs
    return slides


def _directory(data: bytes, edit: int) -> tuple[dict[int, int], int]:
    """Where each part lies, the latest saving first, and the number of the document."""
    places: dict[int, int] = {}
    document = 0
    for _ in range(MAX_EDITS):
        start, _ = _content(data, edit, _EDIT)
        before, listed, number = struct.unpack_from("<III", data, start + 8)
        document = document or number
        at, end = _content(data, listed, _DIRECTORY)
        while at + 4 <= end:
            head = struct.unpack_from("<I", data, at)[0]
            first, count = head & 0xFFFFF, head >> 20
            for offset, place in enumerate(struct.unpack_from(f"<{count}I", data, at + 4)):
                places.setdefault(first + offset, place)
            at += 4 + 4 * count
        if not before or before >= edit:
            return places, document
        edit = before
    return places, document


def _content(data: bytes, at: int, expected: int) -> tuple[int, int]:
    _, kind, size = struct.unpack_from("<HHI", data, at)
    if kind != expected:
        raise ValueError(kind)
    return at + 8, min(at + 8 + size, len(data))


def _records(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Records side by side: instance, kind, and where their content begins and ends."""
    while at + 8 <= end:
        head, kind, size = struct.unpack_from("<HHI", data, at)
        yield head >> 4, kind, at + 8, min(at + 8 + size, end)
        at += 8 + size


def _deep(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """All records within others in their order: kind, begin, end."""
    while at + 8 <= end:
        head, kind, size = struct.unpack_from("<HHI", data, at)
        at += 8
        if head & 15 != 15:
            yield kind, at, min(at + size, end)
            at += size


def _listed(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, list[tuple[int, str]]]]:
    """Slides of a list: identity, number of the part, texts of the outline with their kinds."""
    current: tuple[int, int, list[tuple[int, str]]] | None = None
    for _, kind, at, to in _records(data, start, end):
        if kind == _PERSIST:
            if current is not None:
                yield current
            current = (struct.unpack_from("<I", data, at + 12)[0], struct.unpack_from("<I", data, at)[0], [])
        elif kind == _KIND and current is not None:
            current[2].append((struct.unpack_from("<I", data, at)[0], ""))
        elif kind in (_WIDE, _NARROW) and current is not None and current[2]:
            current[2][-1] = (current[2][-1][0], _said(data, kind, at, to))
    if current is not None:
        yield current


def _slide(data: bytes, start: int, end: int, outline: list[tuple[int, str]]) -> OldSlide:
    slide = OldSlide()
    shown: set[int] = set()
    sort = -1

    def add(kind: int, text: str) -> None:
        lines = [line.strip() for line in text.replace("\x0b", "\n").split("\r") if not _MARGIN_KINDS.match(line)]
        slide.paragraphs.extend(lines)
        if kind in _TITLES:
            slide.title = slide.title or one_line(" ".join(lines))[:MAX_HEADING_CHARS]

    for kind, at, to in _deep(data, start, end):
        if kind == _OUTLINE:
            number = struct.unpack_from("<I", data, at)[0]
            if number < len(outline) and number not in shown:
                shown.add(number)
                add(*outline[number])
        elif kind == _KIND:
            sort = struct.unpack_from("<I", data, at)[0]
        elif kind in (_WIDE, _NARROW):
            add(sort, _said(data, kind, at, to))
    for number, (kind, text) in enumerate(outline):
        if number not in shown:
            add(kind, text)
    return slide


def _said(data: bytes, kind: int, at: int, to: int) -> str:
    return data[at:to].decode("utf-16-le" if kind == _WIDE else "latin-1", "replace")


# ---------------------------------------------------------------- both


def _streams(path: Path, what: str, names: tuple[str, ...]) -> dict[str, bytes]:
    if has_loop(read_all(path)):
        raise corrupt(what, "the table of its sectors leads in circles")
    return read_streams(path, names)


def _document(builder: TextBuilder, kind: str, path: Path, first: str, pages: PageCounts) -> ParsedDocument:
    text, spans = builder.build()
    about: Properties = old_properties(path)
    return make_document(
        text,
        spans,
        kind,
        title=choose_title(about.title, first, path),
        author=about.author,
        created=about.created,
        pages=pages,
    )
