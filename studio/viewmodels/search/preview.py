"""What the preview shows of a result: its PDF page, or the stored text around the passage."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from studio.concurrency import Executor
from studio.documents.citations import PageMatch as PageMatch
from studio.documents.citations import locate
from studio.domain import SearchResult, Span, StoredText
from studio.errors import StudioError
from studio.viewmodels.base import ViewModel
from studio.viewmodels.ports import Search
from studio.viewmodels.text import document_title, utf16_range
from studio.viewmodels.ways_out import sentences

_PART_CHARS = 60_000
_MAX_PDF_BYTES = 512 << 20
_STALE_MS = 500
"""So long the source shown before may stay while the next one is loaded."""

Passage = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class PdfContent:
    """A PDF to show. `data` are the very bytes that were indexed; `page` counts from 0."""

    key: str
    title: str
    anchor: str
    data: bytes
    page: int
    passage: str


@dataclass(frozen=True, slots=True)
class TextSection:
    """A page or part of a text. `start` and `length` mark the passage in UTF-16 units."""

    text: str
    label: str
    start: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class TextContent:
    """A text to show, in sections; `note` says why it is not the document itself."""

    title: str
    anchor: str
    sections: tuple[TextSection, ...]
    current: int
    note: str


@dataclass(frozen=True, slots=True)
class _PdfFile:
    path: str
    size: int
    mtime_ns: int
    data: bytes
    sha256: str


class PreviewViewModel(ViewModel):
    """Loads what belongs to a result and finds passages on pages, away from the GUI thread."""

    changed = Signal()
    """`content` is another."""
    located = Signal(object, object)
    """(token, PageMatch or None) for a `locate`."""
    match_changed = Signal(str)
    """How well the passage was found, in words."""

    def __init__(self, search: Search, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._search = search
        self._threads = Executor("studio-preview", threads=2)
        self._file: _PdfFile | None = None
        self._text: tuple[tuple[str, int, str], StoredText] | None = None
        self.result: SearchResult | None = None
        self.content: PdfContent | TextContent | None = None
        self.source_exists = False
        self._shown: Passage | None = None
        self._wanted: Passage | None = None
        self._stale = QTimer(self)
        self._stale.setSingleShot(True)
        self._stale.setInterval(_STALE_MS)
        self._stale.timeout.connect(lambda: self._put(None, None))

    def held_bytes(self) -> int:
        """What is kept of the file that was shown last, and of the text. May be called from any thread."""
        file, text = self._file, self._text
        copies = 2  # one for what comes next, one that the page on screen is drawn from
        return (copies * len(file.data) if file is not None else 0) + (sys.getsizeof(text[1].text) if text else 0)

    def show(self, result: SearchResult | None) -> None:
        """Show a result, or nothing."""
        if result is None:
            self._want(None)
            self.result = None
            self.source_exists = False
            self.match_changed.emit("")
            self._put(None, None)
            return
        self.result = result
        passage = _passage(result)
        if passage == self._wanted:
            return  # other scores only, when the results were put in another order
        self._want(passage)
        if passage == self._shown:
            return  # another one was selected for a moment
        if self.content is not None:
            self._stale.start()
        self.launch("load", self._load(result))

    def _want(self, passage: Passage | None) -> None:
        """Whatever is on its way belongs to what was selected before."""
        self._wanted = passage
        self._stale.stop()
        self.cancel("load")

    def _put(self, passage: Passage | None, content: PdfContent | TextContent | None) -> None:
        """Show the source of a passage, if that is still the one to show."""
        if passage is None or passage == self._wanted:
            self._shown, self.content = passage, content
            self._stale.stop()
            self.changed.emit()

    def pdf_failed(self, why: str) -> None:
        """The PDF on the screen could not be opened after all: show the stored text."""
        if self.result is not None and self._shown == self._wanted:
            self.launch("load", self._load_text(self.result, why))

    def locate(self, token: object, page_text: str, passage: str) -> None:
        """Find a passage in the text of a page; answers through `located`."""
        self.launch("locate", self._locate(token, page_text, passage))

    def tell_match(self, match: PageMatch | None) -> None:
        """Put the quality of a match into words."""
        if match is None:
            self.match_changed.emit("The passage could not be marked on this page")
        elif match.quality >= 0.999:
            self.match_changed.emit("Exact match on page")
        else:
            self.match_changed.emit(f"Close match, {match.quality:.0%}")

    async def close(self) -> None:
        await super().close()
        await asyncio.to_thread(self._threads.close)

    async def _load(self, result: SearchResult) -> None:
        path = result.citation.source_path
        if not path.lower().endswith(".pdf") or result.citation.page_number is None:
            self.source_exists = await self._threads.run(os.path.isfile, path)
            await self._load_text(result, "" if self.source_exists else _GONE)
            return
        file = await self._threads.run(_read_pdf, path, self._file)
        if isinstance(file, str):
            self.source_exists = await self._threads.run(os.path.isfile, path)
            await self._load_text(result, file)
            return
        self.source_exists = True
        if not _same_version(file.sha256, result.citation.version):
            await self._load_text(result, "The file changed since it was indexed; this is the text as indexed.")
            return
        self._file = file
        content = PdfContent(
            key=file.sha256,
            title=document_title(result),
            anchor=result.citation.anchor,
            data=file.data,
            page=result.citation.page_number - 1,
            passage=result.content,
        )
        self.match_changed.emit("")
        self._put(_passage(result), content)

    async def _load_text(self, result: SearchResult, note: str) -> None:
        key = (result.kb_id, result.generation, result.document_id)
        if self._text is None or self._text[0] != key:
            try:
                self._text = (key, await self._search.document_text(*key))
            except StudioError as error:
                # The passage itself came with the result, so there is always something to show.
                section = TextSection(result.content, "", 0, utf16_range(result.content, 0, len(result.content))[1])
                self._show_text(result, (section,), 0, sentences(error))
                return
        stored = self._text[1]
        citation = result.citation
        sections, current = await self._threads.run(text_sections, stored, citation.char_start, citation.char_end)
        self._show_text(result, sections, current, note)

    def _show_text(self, result: SearchResult, sections: tuple[TextSection, ...], current: int, note: str) -> None:
        content = TextContent(document_title(result), result.citation.anchor, sections, current, note)
        self.match_changed.emit("Exact match in text" if sections[current].length else "")
        self._put(_passage(result), content)

    async def _locate(self, token: object, page_text: str, passage: str) -> None:
        found = await self._threads.run(locate, page_text, passage)
        self.located.emit(token, found)


def _passage(result: SearchResult) -> Passage:
    return result.kb_id, result.generation, result.chunk_id, result.citation


_GONE = "The file is no longer there; this is the text as indexed."


def _read_pdf(path: str, cached: _PdfFile | None) -> _PdfFile | str:
    """The file with its hash, or in words why it cannot be had.

    The bytes that were hashed are the bytes that are shown: a file that is exchanged between the
    check and the loading could hold the window up for ever in QtPdf.
    """
    try:
        info = Path(path).stat()
        if not stat.S_ISREG(info.st_mode):
            return "The file is not a regular file; this is the text as indexed."
        if cached is not None and (cached.path, cached.size, cached.mtime_ns) == (path, info.st_size, info.st_mtime_ns):
            return cached
        if info.st_size > _MAX_PDF_BYTES:
            return "The file is too large to show its pages; this is the text as indexed."
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return _GONE
    except OSError as error:
        return f"The file cannot be read ({error.strerror or error}); this is the text as indexed."
    return _PdfFile(path, info.st_size, info.st_mtime_ns, data, hashlib.sha256(data).hexdigest())


def _same_version(sha256: str, version: str) -> bool:
    """Whether a file is the one that was indexed; a citation's version is its SHA-256 or the head of it."""
    version = version.removeprefix("sha256:").lower()
    return sha256.startswith(version) if version else True


def text_sections(stored: StoredText, start: int, end: int) -> tuple[tuple[TextSection, ...], int]:
    """Cut a text into pages, or into parts where it has none; (sections, the one with the passage).

    `start` and `end` are the passage, in code points of the stored text.
    """
    cuts = list(_pages(stored.spans)) or list(_parts(stored.text))
    if not cuts:
        return (TextSection("", ""),), 0
    current = next((row for row, (low, high, _) in enumerate(cuts) if low <= start < high), 0)
    sections = []
    for row, (low, high, label) in enumerate(cuts):
        section = TextSection(stored.text[low:high], label)
        if row == current:
            marked = utf16_range(section.text, max(0, start - low), min(high, end) - low)
            section = replace(section, start=marked[0], length=max(0, marked[1]))
        sections.append(section)
    return tuple(sections), current


def _pages(spans: Iterable[Span]) -> Iterable[tuple[int, int, str]]:
    pages: dict[int, tuple[int, int]] = {}
    for span in spans:
        if span.page is not None:
            low, high = pages.get(span.page, (span.start, span.end))
            pages[span.page] = (min(low, span.start), max(high, span.end))
    total = max(pages, default=0)
    for page, (low, high) in sorted(pages.items()):
        yield low, high, f"Page {page} of {total}"


def _parts(text: str) -> Iterable[tuple[int, int, str]]:
    bounds = [0]
    while len(text) - bounds[-1] > _PART_CHARS:
        line_end = text.rfind("\n", bounds[-1] + _PART_CHARS // 2, bounds[-1] + _PART_CHARS)
        bounds.append(line_end + 1 if line_end >= 0 else bounds[-1] + _PART_CHARS)
    bounds.append(len(text))
    total = len(bounds) - 1
    for part in range(total):
        yield bounds[part], bounds[part + 1], f"Part {part + 1} of {total}" if total > 1 else ""
