"""What all parsers share: cleaned text, location spans, limits and faults."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.documents.chunking import HEADING_SEPARATOR, segment
from studio.documents.parsers import passwords
from studio.domain import PageCounts, ParsedDocument, ParserEvent, Span
from studio.errors import DocumentFault, FailureCode

Parser = Callable[[Path], Iterator[ParserEvent]]
"""Reads a file. Between its documents it may give signs of life (`ParseProgress`) and name parts it cannot read."""

MAX_TEXT_CHARS = 32_000_000
"""Longest text of one document; above it the memory of a worker would not do."""
MAX_FILE_BYTES = 256 << 20
"""Largest file that a parser reads into memory as a whole."""
MAX_HEADING_CHARS = 120
MAX_HEADING_LEVEL = 12
"""Headings below it count as of this level: with thousands of levels the paths of titles would outgrow the text."""
MAX_METADATA = 32
MAX_METADATA_CHARS = 500
"""What is kept of what a document says about itself: so many fields, so long each."""
MAX_LISTED = 64
"""Items of a list that is kept as a field; a longer one is no list of names but data."""

_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\ud800-\udfff\ufeff\ufffe\uffff]")
_SPACES = re.compile(r"\s+")
_LETTER = re.compile(r"[^\W_]")
_FILE_NAME_TITLE = re.compile(
    r"\.(docx?|dotx?|pptx?|xlsx?|odt|rtf|indd|qxd|tex|dvi|txt|pdf|p65|fm|wpd)$", re.IGNORECASE
)
_TITLE_PREFIX = re.compile(r"^microsoft (word|powerpoint|excel) - ", re.IGNORECASE)
_PLACEHOLDER_TITLES = frozenset((
    "untitled", "untitled document", "unknown", "title", "document", "none", "null", "undefined", "anonymous",
    "unspecified", "unnamed", "no title", "new document", "blank", "about:blank", "microsoft word",
    "powerpoint presentation", "slide 1", "folie 1", "unbenannt", "ohne titel", "kein titel", "titel", "dokument",
    "powerpoint-präsentation", "sans titre", "sans nom", "présentation powerpoint", "sin título",
    "presentación de powerpoint", "senza titolo", "presentazione di powerpoint", "sem título",
    "apresentação do powerpoint", "naamloos", "powerpoint-presentatie", "utan titel", "bez tytułu", "bez názvu",
))  # fmt: skip
_COUNTED_TITLE = re.compile(
    r"(untitled|unbenannt|scan|scanned document|new document)[ _-]?\d{1,4}|"
    r"(document|dokument|doc|presentation|präsentation|présentation|book|mappe|classeur|libro)\d{1,4}",
    re.IGNORECASE,
)
"""What programs call a document that nobody has named."""
_PLACE_TITLE = re.compile(r"[a-z]:\\|file:/|\\\\", re.IGNORECASE)


def corrupt(what: str = "", why: str = "") -> DocumentFault:
    """The file is damaged: `what` names the format ("PDF"), `why` is a clause about the cause."""
    detail = f": {why}" if why else ""
    return DocumentFault(
        FailureCode.CORRUPT,
        f"This {what} file is damaged and cannot be read{detail}."
        if what
        else f"The file is damaged and cannot be read{detail}.",
        way_out="Open it in the program it was made with and save it again, or fetch it anew.",
    )


def unsupported(message: str, way_out: str = "") -> DocumentFault:
    """The format is none that can be indexed."""
    return DocumentFault(FailureCode.UNSUPPORTED, message, way_out=way_out)


def encrypted(what: str) -> DocumentFault:
    """The file wants a password, and none of `passwords.current()` is the right one."""
    tried = ", and none of the given passwords opens it" if passwords.current() else ""
    return DocumentFault(
        FailureCode.ENCRYPTED,
        f"This {what} file is protected by a password{tried}.",
        way_out="Enter its password to index it.",
    )


def locked(what: str) -> DocumentFault:
    """The file is protected in a way that no password helps with here."""
    return DocumentFault(
        FailureCode.ENCRYPTED,
        f"This {what} file is protected by a password, in a way that cannot be opened here.",
        way_out="Open it in the program it was made with and save it without a password.",
    )


def empty(message: str = "The file is empty (0 bytes).") -> DocumentFault:
    """There is nothing in the file."""
    return DocumentFault(FailureCode.EMPTY, message)


def no_text(message: str, way_out: str = "") -> DocumentFault:
    """The file is sound but holds no text."""
    return DocumentFault(FailureCode.NO_TEXT, message, way_out=way_out)


def too_large(message: str) -> DocumentFault:
    """The file, or what it unpacks to, goes beyond what one worker may hold."""
    return DocumentFault(FailureCode.TOO_LARGE, message, way_out="Split it into smaller files.")


def check_size(path: Path) -> None:
    """Raises DocumentFault TOO_LARGE above `MAX_FILE_BYTES`."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise too_large(
            f"The file is too large for one document ({size >> 20} MB; the limit is {MAX_FILE_BYTES >> 20} MB)."
        )


def read_all(path: Path) -> bytes:
    """The whole file. Raises DocumentFault above `MAX_FILE_BYTES`."""
    check_size(path)
    return path.read_bytes()


def clean(text: str) -> str:
    """Text with `\\n` line ends and without control characters, lone surrogates and soft hyphens."""
    return _UNWANTED.sub(_replace_unwanted, _LINE_ENDS.sub("\n", text))


def _replace_unwanted(match: re.Match[str]) -> str:
    return "\ufffd" if "\ud800" <= match.group() <= "\udfff" else ""


def one_line(text: str) -> str:
    """Cleaned text with every run of white space as a single space."""
    return _SPACES.sub(" ", clean(text)).strip()


def scalar_text(value: Any) -> str:
    """A scalar as text, or a list of scalars joined by commas; "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        nested = len(value) > MAX_LISTED or any(isinstance(item, (list, tuple)) for item in value)
        return "" if nested else ", ".join(filter(None, map(scalar_text, value)))
    if value is None or isinstance(value, (dict, bytes, bytearray)) or value != value:
        return ""
    return str(value)


def kept_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The first `MAX_METADATA` fields that have a name and a value, each on one line and cut to length."""
    kept: dict[str, str] = {}
    for name, value in metadata.items():
        name, value = (one_line(part[: 2 * MAX_METADATA_CHARS])[:MAX_METADATA_CHARS] for part in (name, value))
        if name and value:
            kept.setdefault(name, value)
            if len(kept) == MAX_METADATA:
                break
    return kept


def choose_title(declared: str | None, first_heading: str, path: Path) -> str:
    """The declared title if it is one, else the first heading, else the file's name."""
    title = _TITLE_PREFIX.sub("", one_line(declared or ""))
    sane = 1 < len(title) <= 300 and not _is_placeholder(title) and "\ufffd" not in title
    if sane and not _FILE_NAME_TITLE.search(title) and any(c.isalnum() for c in title):
        return title
    return one_line(first_heading)[:300] or one_line(path.stem)


def _is_placeholder(title: str) -> bool:
    bare = title.strip("()[]<>{} .").lower()
    return bare in _PLACEHOLDER_TITLES or bool(_COUNTED_TITLE.fullmatch(bare) or _PLACE_TITLE.match(title))


class TextBuilder:
    """Collects paragraphs, headings and pages, and remembers where each begins."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._marks: list[tuple[int, int | None, str, bool, bool]] = []
        self._pending = True
        self._page: int | None = None
        self._anchor = ""
        self._hard = False
        self._whole = False
        self._path: list[tuple[int, str]] = []
        self.first_heading = ""

    def begin(self, *, page: int | None = None, anchor: str = "", hard: bool = False) -> None:
        """Whatever is added next starts a new span."""
        self._page, self._anchor = page, anchor
        self._hard = hard or self._hard
        self._pending = True

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """What is added inside is a table or code, kept in one chunk where it fits: a span of its own, same place.

        What follows goes on where the text before was: same page, same anchor. One inside another is part of it.
        """
        if self._whole:
            yield
            return
        self._whole = self._pending = True
        try:
            yield
        finally:
            self._whole = False

    def heading(self, level: int, title: str) -> None:
        """Add a heading; what follows is anchored at its path of titles, outermost first."""
        title = one_line(title)
        if not title:
            return
        self.first_heading = self.first_heading or title
        level = min(level, MAX_HEADING_LEVEL)
        self._path = [(outer, name) for outer, name in self._path if outer < level] + [
            (level, title[:MAX_HEADING_CHARS])
        ]
        self.begin(page=self._page, anchor=HEADING_SEPARATOR.join(name for _, name in self._path))
        self.block(title)

    def block(self, text: str, gap: str = "\n\n", *, whole: bool = False) -> None:
        """Add a paragraph, `gap` after the one before. White space at its ends is dropped.

        `whole`: it is a table or code, see `whole()`; with `gap` a line end it goes on with the one directly above it.
        Its first line stays indented.
        """
        text = clean(text).rstrip()
        text = text.lstrip("\n") if whole else text.lstrip()
        if not text:
            return
        if self._length:
            self._append(gap)
        separate = whole and not self._whole and gap != "\n"
        whole = whole or self._whole
        if self._pending or separate or whole != self._marks[-1][4]:
            self._marks.append((self._length, self._page, self._anchor, self._hard, whole))
            self._pending = self._hard = False
        self._append(text)

    def line(self, text: str) -> None:
        """Add a line directly below the one before."""
        self.block(text, gap="\n")

    def _append(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_TEXT_CHARS:
            raise text_too_large()
        self._parts.append(text)

    def build(self) -> tuple[str, tuple[Span, ...]]:
        """The text and the spans that cover it."""
        text = "".join(self._parts)
        ends = [mark[0] for mark in self._marks[1:]] + [len(text)] * bool(self._marks)
        spans = tuple(
            Span(start, end, page, anchor, hard, whole)
            for (start, page, anchor, hard, whole), end in zip(self._marks, ends, strict=True)
        )
        return text, spans


def text_too_large() -> DocumentFault:
    """The text of one document exceeds `MAX_TEXT_CHARS`."""
    return too_large(f"The document holds more than {MAX_TEXT_CHARS // 1_000_000} million characters of text.")


def make_document(
    text: str,
    spans: tuple[Span, ...],
    kind: str,
    *,
    title: str = "",
    author: str = "",
    licence: str = "",
    created: str = "",
    external_id: str = "",
    row: int = 0,
    pages: PageCounts | None = None,
    metadata: Mapping[str, str] | None = None,
) -> ParsedDocument:
    """A parsed document with its segments.

    Raises DocumentFault NO_TEXT without a letter or digit to index, TOO_LARGE beyond `MAX_TEXT_CHARS`.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise text_too_large()
    if not _LETTER.search(text):
        raise no_text("The file holds no text.")
    return ParsedDocument(
        text=text,
        spans=spans or (Span(0, len(text)),),
        segments=segment(text, spans),
        kind=kind,
        title=title,
        author=one_line(author)[:300],
        licence=one_line(licence)[:300],
        created=one_line(created)[:40],
        external_id=external_id,
        row=row,
        pages=pages or PageCounts(),
        metadata=kept_metadata(metadata) if metadata else {},
    )
