"""PDF, page by page (the only importer of pypdfium2)."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from studio.documents.parsers.pdf_page import largest_line, read_page
from studio.domain import PageCounts, ParseProgress, ParserEvent
from studio.errors import DocumentFault, FailureCode

MAX_BOOKMARKS = 10_000
MAX_ATTACHED = 1_000
TELL_EVERY_S = 0.2
_ENDS_BYTES = 2048

# pdfium marks a hyphen it takes for a line-end hyphen by U+FFFE (older builds: U+0002).
_CUT_WORD = re.compile("([^\\W_]+)[\ufffe\x02][ \t]*(?:\r?\n)?[ \t]*([^\\W_]+)")
_COMPOUND = re.compile(r"[^\W_]+-[^\W_]+")
_WORD = re.compile(r"[^\W_]+")
_LINE_END_HYPHEN = re.compile("[\ufffe\x02\u00ad][ \t]*(?:\r?\n)?[ \t]*")
_PDF_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?")

_Bookmarks = dict[int, list[tuple[str, str]]]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[pypdfium2.PdfDocument]:
    """A PDF, with the passwords that are given. Raises DocumentFault CORRUPT, ENCRYPTED, EMPTY."""
    pdf = _open(path)
    try:
        yield pdf
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
    with contextlib.suppress(pypdfium2.PdfiumError):
        pdf.init_forms()
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


def read(pdf: pypdfium2.PdfDocument, path: Path) -> Iterator[ParserEvent]:
    """One document with a hard span per page; bookmarks become anchors. Pages without text are recognised if possible.

    Between its pages come signs of life. There are two rounds: whether a word has a hyphen is told by the rest of the
    document.
    """
    builder = TextBuilder()
    bookmarks = _bookmarks(pdf)
    total = len(pdf)
    title = _title(pdf, path)  # before anything is drawn into its pages
    pages: list[_Read] = []
    told = time.monotonic()
    for index in range(total):
        if time.monotonic() - told >= TELL_EVERY_S:
            told = time.monotonic()
            yield ParseProgress(index, total)
        try:
            pages.append(_read_page(pdf, index))
        except (pypdfium2.PdfiumError, AssertionError):
            pages.append(_FAILED)
    counts = Counter(page.state for page in pages)
    if counts["failed"] == total:
        raise corrupt("PDF", "none of its pages can be opened")
    hyphens = Hyphens([page.text for page in pages])
    anchor = ""
    for index, page in enumerate(pages):
        text = "\n\n".join(filter(None, (hyphens.joined(page.text), page.beside)))
        if text:
            anchor = _add_page(builder, text, index + 1, anchor, bookmarks.get(index, []))
        else:
            anchor = bookmarks[index][-1][1] if index in bookmarks else anchor
    text, spans = builder.build()
    if not text:
        raise _nothing_to_read(pages)
    declared = {key: _metadata(pdf, key) for key in ("Author", "CreationDate", "Keywords", "Subject")}
    date = _PDF_DATE.match(declared["CreationDate"])
    yield make_document(
        text,
        spans,
        "pdf",
        title=title,
        author=declared["Author"],
        created="-".join(part for part in date.groups() if part) if date else "",
        pages=PageCounts(total, counts["readable"], counts["blank"] + counts["scan"], counts["failed"], counts["ocr"]),
        metadata={key.lower(): declared[key] for key in ("Keywords", "Subject")},
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """A page: `state` is readable, ocr, scan (a picture that could not be read), blank or failed."""

    text: str
    beside: str
    state: str


_FAILED = _Read("", "", "failed")


def _read_page(pdf: pypdfium2.PdfDocument, index: int) -> _Read:
    page = pdf[index]
    try:
        read = read_page(pdf, page, index)
        text, beside = read.text.strip(), "\n".join(read.beside)
        if text and not read.is_scan:
            return _Read(text, beside, "readable")
        if not text and not read.has_picture:
            return _Read("", beside, "readable" if beside else "blank")
        reader = recogniser()
        seen = reader.text(page) if reader is not None else ""
        if not seen:
            return _Read(text, beside, "scan" if read.has_picture else "blank")
        stamped = [line for line in text.splitlines() if line.strip() and line.strip() not in seen]
        return _Read("\n".join([*stamped, seen]), beside, "ocr")
    finally:
        page.close()


def _nothing_to_read(pages: Sequence[_Read]) -> DocumentFault:
    """Why a PDF has no text. Only pictures can be read by text recognition: blank pages and drawings cannot."""
    scans = sum(page.state == "scan" for page in pages)
    number = "1 page" if len(pages) == 1 else f"{len(pages):,} pages"
    if not scans:
        are = "its page is" if len(pages) == 1 else f"its {number} are"
        return no_text(f"This PDF holds no text: {are} blank or drawn without letters.")
    if recogniser() is not None:
        return no_text(f"This PDF has no text layer ({number}), and no text could be recognised in its pictures.")
    return DocumentFault(
        FailureCode.NEEDS_OCR,
        f"This PDF has no text layer (scanned, {number}); needs OCR.",
        way_out="Install Tesseract and add it again, or run it through text recognition (for instance OCRmyPDF).",
    )


class Hyphens:
    """Which words that a line end has cut keep their hyphen: those that the document spells with one elsewhere, those
    beside a digit or a single letter (e-mail), and two names (Meier-Schmidt).
    """

    def __init__(self, texts: Sequence[str]) -> None:
        cut = {f"{left}-{right}".lower() for text in texts for left, right in _CUT_WORD.findall(text)}
        spelled = _words_of(texts, _COMPOUND, cut)
        solid = _words_of(texts, _WORD, {word.replace("-", "") for word in spelled})
        self._kept = {word for word in spelled if word.replace("-", "") not in solid}

    def joined(self, text: str) -> str:
        """Text of a page as pdfium gives it, with `\\n` line ends and words joined that a line end had cut."""
        return clean(_LINE_END_HYPHEN.sub("", _CUT_WORD.sub(self._word, text))).strip()

    def _word(self, match: re.Match[str]) -> str:
        left, right = match.groups()
        stays = (
            left[-1].isdigit()
            or right[0].isdigit()
            or len(left) == 1
            or (left.istitle() and right.istitle())
            or f"{left}-{right}".lower() in self._kept
        )
        return f"{left}-{right}" if stays else left + right


def _words_of(texts: Sequence[str], pattern: re.Pattern[str], wanted: set[str]) -> set[str]:
    """Which of these words in lower case are in the texts; nothing is looked at for none."""
    if not wanted:
        return set()
    return {word for text in texts for word in wanted.intersection(map(str.lower, pattern.findall(text)))}


def _title(pdf: pypdfium2.PdfDocument, path: Path) -> str:
    """The declared title, else the line of the first page that is set in the largest type, else the file's name."""
    declared = _metadata(pdf, "Title")
    if (title := choose_title(declared, "", path)) != one_line(path.stem):
        return title
    try:
        return choose_title(declared, largest_line(pdf), path)
    except (pypdfium2.PdfiumError, AssertionError):
        return title


def attachments(pdf: pypdfium2.PdfDocument) -> list[tuple[str, bytes]]:
    """(name, content) of the files that a PDF carries; a damaged list costs what follows in it."""
    found: list[tuple[str, bytes]] = []
    with contextlib.suppress(pypdfium2.PdfiumError, UnicodeError):
        for at in range(min(pdf.count_attachments(), MAX_ATTACHED)):
            attached = pdf.get_attachment(at)
            found.append((attached.get_name() or f"attachment {at + 1}", bytes(attached.get_data())))
    return found


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
