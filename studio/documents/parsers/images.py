"""Pictures (PNG, JPEG, TIFF, WebP), read by text recognition: a page for each picture in the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import TextBuilder, choose_title, make_document, no_text, read_all, unsupported
from studio.documents.parsers.ocr import recogniser
from studio.domain import PageCounts, ParserEvent
from studio.errors import DocumentFault, FailureCode

_HEIC = frozenset((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif"))


def is_picture(head: bytes) -> bool:
    """Whether a file begins as a picture does."""
    return (
        head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*"))
        or (head.startswith(b"RIFF") and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in _HEIC)
    )


def parse(path: Path) -> Iterator[ParserEvent]:
    """One document with a page for each picture."""
    data = read_all(path)
    if data[4:8] == b"ftyp":
        raise unsupported(
            "This file is a picture in the HEIC format, which cannot be read here.",
            "Save it as JPEG or PNG and add that file.",
        )
    reader = recogniser()
    if reader is None:
        raise DocumentFault(
            FailureCode.NEEDS_OCR,
            "This file is a picture; needs OCR.",
            way_out="Install Tesseract and add it again.",
        )
    builder = TextBuilder()
    pages = reader.pages(data)
    for number, page in enumerate(pages, 1):
        builder.begin(page=number, hard=True)
        builder.block(page)
    text, spans = builder.build()
    if not text:
        raise no_text("No text could be recognised in this picture.")
    read = sum(map(bool, pages))
    yield make_document(
        text,
        spans,
        "image",
        title=choose_title("", "", path),
        pages=PageCounts(len(pages), 0, len(pages) - read, 0, read),
    )
