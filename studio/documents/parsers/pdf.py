"""PDF, page by page (the only importer of pypdfium2)."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium

from studio.documents.chunking import HEADING_SEPARATOR
from studio.documents.parsers import passwords
from studio.documents.parsers.base import (
    MAX_HEADING_CHARS,
    TextBuilder,
    choose_title,
    clean,
    corrupt,
    encrypted,
    make_document,
    no_text,
    one_line,
)
from studio.documents.parsers.ocr import recogniser
from studio.domain import PageCounts, ParseProgress, ParserEvent
from studio.errors import DocumentFault, FailureCode

MAX_BOOKMARKS = 10_000
TELL_EVERY_S = 0.2
_ENDS_BYTES = 2048

# pdfium marks a hyphen it takes for a line-end hyphen by U+FFFE (older builds: U+0002).
_LINE_END_HYPHEN = re.compile("[\ufffe\x02\u00ad][ \t]*(?:\r?\n)?[ \t]*")
_PDF_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?")

_Bookmarks = dict[int, list[tuple[str, str]]]


def parse(path: Path) -> Iterator[ParserEvent]:
    """One document with a hard span per page; bookmarks become anchors. Pages without text are recognised if possible.

    Between its pages come signs of life.
    """
    pdf = _open(path)
    try:
        yield from _read(pdf, path)
    finally:
        pdf.close()


def _open(path: Path) -> pypdfium2.PdfDocument:
    # Not through PdfDocument(path): it cannot tell a document without pages from one that does not
    # open, and then reports the error of whatever file was opened before.
    for password in (None, *passwords.current()):
        secret = None if password is None else password.encode("utf-8", "replace") + b"\0"
        handle = pdfium.FPDF_LoadDocument(os.fsencode(path) + b"\0", secret)
        if handle:
            break
        if pdfium.FPDF_GetLastError() not in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
            raise corrupt("PDF", _broken_by(path))
    else:
        raise encrypted("PDF")
    pdf = pypdfium2.PdfDocument(handle)
    if len(pdf) == 0:
        pdf.close()
        raise DocumentFault(
            FailureCode.EMPTY,
            "This PDF has no pages, or its list of pages is damaged.",
            way_out="Open it in a PDF viewer and save it again, or fetch it anew.",
        )
    return pdf


def _broken_by(path: Path) -> str:
    """Why a file does not open, as far as its ends tell: the library says no more than that it does not."""
    with path.open("rb") as stream:
        head = stream.read(_ENDS_BYTES)
        stream.seek(max(0, path.stat().st_size - _ENDS_BYTES))
        tail = stream.read()
    if b"%PDF-" not in head:
        return "its beginning is missing"
    return (
        "its table of objects or a part it needs is unreadable" if b"%%EOF" in tail else "it breaks off before its end"
    )


def _read(pdf: pypdfium2.PdfDocument, path: Path) -> Iterator[ParserEvent]:
    builder = TextBuilder()
    bookmarks = _bookmarks(pdf)
    anchor = ""
    readable = empty = failed = recognised = 0
    total = len(pdf)
    told = time.monotonic()
    for index in range(total):
        if time.monotonic() - told >= TELL_EVERY_S:
            told = time.monotonic()
            yield ParseProgress(index, total)
        try:
            text, by_ocr = _page_text(pdf, index)
        except (pypdfium2.PdfiumError, AssertionError):
            failed += 1
            text = ""
        else:
            recognised += by_ocr
            readable += bool(text) and not by_ocr
            empty += not text
        if text:
            anchor = _add_page(builder, text, index + 1, anchor, bookmarks.get(index, []))
        else:
            anchor = bookmarks[index][-1][1] if index in bookmarks else anchor
    if failed == total:
        raise corrupt("PDF", "none of its pages can be opened")
    if not readable and not recognised:
        pages = "1 page" if total == 1 else f"{total} pages"
        if recogniser() is not None:
            raise no_text(f"This PDF has no text layer ({pages}), and no text could be recognised in its pictures.")
        raise DocumentFault(
            FailureCode.NEEDS_OCR,
            f"This PDF has no text layer (scanned, {pages}); needs OCR.",
            way_out="Install Tesseract and add it again, or run it through text recognition (for instance OCRmyPDF).",
        )
    text, spans = builder.build()
    declared = {key: _metadata(pdf, key) for key in ("Title", "Author", "CreationDate", "Keywords", "Subject")}
    date = _PDF_DATE.match(declared["CreationDate"])
    yield make_document(
        text,
        spans,
        "pdf",
        title=choose_title(declared["Title"], "", path),
        author=declared["Author"],
        created="-".join(part for part in date.groups() if part) if date else "",
        pages=PageCounts(total, readable, empty, failed, recognised),
        metadata={key.lower(): declared[key] for key in ("Keywords", "Subject")},
    )


def _page_text(pdf: pypdfium2.PdfDocument, index: int) -> tuple[str, bool]:
    """(text of a page, whether it was recognised in a picture)."""
    page = pdf[index]
    try:
        text_page = page.get_textpage()
        try:
            text = normalised(text_page.get_text_range())
        finally:
            text_page.close()
        if text or pdfium.FPDFPage_CountObjects(page) == 0:
            return text, False
        reader = recogniser()
        text = reader.text(page) if reader is not None else ""
        return text, bool(text)
    finally:
        page.close()


def normalised(text: str) -> str:
    """Text of a page as pdfium gives it, with `\\n` line ends and words joined that a line end had cut."""
    return clean(_LINE_END_HYPHEN.sub("", text)).strip()


def _add_page(builder: TextBuilder, text: str, number: int, anchor: str, bookmarks: list[tuple[str, str]]) -> str:
    """Add a page and return the anchor in force at its end.

    A bookmark says on which page its section begins, not where; the page is split at the section's
    title if the title stands there, else the section is taken to begin with the next page (or with
    this one, if no section is in force).
    """
    at = 0
    cuts: list[tuple[int, str]] = []
    for title, path in bookmarks:
        words = [re.escape(word) for word in title.split()]
        found = re.compile(r"\s+".join(words), re.IGNORECASE).search(text, at) if words else None
        if found:
            cuts.append((found.start(), path))
            at = found.end()
        elif not anchor and not cuts:
            anchor = path
    begun = 0
    builder.begin(page=number, anchor=anchor, hard=True)
    for start, path in cuts:
        before = text[begun:start]
        builder.block(before)
        builder.begin(page=number, anchor=path)
        begun = start
    builder.block(text[begun:])
    return bookmarks[-1][1] if bookmarks else anchor


def _bookmarks(pdf: pypdfium2.PdfDocument) -> _Bookmarks:
    """Per page index: (title, path of titles) of the sections that begin there, in outline order."""
    found: _Bookmarks = defaultdict(list)
    path: list[str] = []
    try:
        for bookmark in itertools.islice(pdf.get_toc(), MAX_BOOKMARKS):
            title = one_line(bookmark.get_title())[:MAX_HEADING_CHARS]
            path = [*path[: bookmark.level], title]
            destination = bookmark.get_dest()
            index = destination.get_index() if destination is not None else None
            if title and index is not None and index >= 0:
                found[index].append((title, HEADING_SEPARATOR.join(part for part in path if part)))
    except (pypdfium2.PdfiumError, UnicodeError):
        pass  # a damaged outline costs anchors, not the document
    return dict(found)


def _metadata(pdf: pypdfium2.PdfDocument, key: str) -> str:
    try:
        value: str = pdf.get_metadata_value(key)
    except (pypdfium2.PdfiumError, UnicodeError):
        return ""
    return value
