"""Documents, from the parser to the chunk, and the port of parsers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a document's text that shares a location. Offsets are code points, end exclusive.

    `hard`: no chunk may run across the start of this span (a new page). `whole`: a table or code, kept in one chunk
    where it fits.
    """

    start: int
    end: int
    page: int | None = None
    anchor: str = ""
    hard: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class PageCounts:
    """How much of a document could be read, in pages, slides or sheets. All zero for formats without.

    `readable` had text of their own, `ocr` have it from text recognition, `empty` have none, `failed` cannot be opened;
    together they are `total`.
    """

    total: int = 0
    readable: int = 0
    empty: int = 0
    failed: int = 0
    ocr: int = 0


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Text of one document as a parser gives it.

    `text` is what chunks, offsets and the text preview refer to. `spans` are ordered, do not
    overlap, and cover every character that belongs to a page or heading. `segments` are ordered
    (start, end) pairs of sentence-like units that cover the text; the chunker packs them.
    `external_id` names a row of a tabular file (its `_id` or `id`), else "".
    """

    text: str
    spans: tuple[Span, ...]
    segments: tuple[tuple[int, int], ...]
    kind: str
    title: str = ""
    author: str = ""
    licence: str = ""
    created: str = ""
    external_id: str = ""
    row: int = 0
    pages: PageCounts = PageCounts()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParseProgress:
    """A sign of life from a parser: `done` of `total` pages (or members of an archive) are behind it."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PartFailure:
    """A member of an archive (its path inside), or another part of a file, that could not be read; the rest goes on."""

    part: str
    error: str
    reason: str


ParserEvent = ParsedDocument | ParseProgress | PartFailure


class DocumentStatus(StrEnum):
    """`indexed` is never said of a document without text."""

    INDEXED = "indexed"
    FAILED = "failed"


def place_of(source_path: str, external_id: str) -> str:
    """Where a document lies: the path of its file, in which a row or member lies as if that were a folder."""
    return f"{source_path}/{external_id}" if external_id else source_path


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """One document at one path, as a generation lists it."""

    document_id: str
    source_path: str
    sha256: str
    size_bytes: int
    mtime_ns: int
    kind: str
    title: str
    author: str
    licence: str
    external_id: str
    row: int
    pages: PageCounts
    chunks: int
    status: DocumentStatus
    error: str
    reason: str
    created: str = ""
    """Date the document gives itself, as it is written there (ISO 8601 where the format allows)."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What else the document says about itself (front matter, columns of its row, office properties), by name."""
    change_stamp: int = field(default=0, compare=False)
    """Of the file's ctime and inode, 0 where they are not known: as long as it stays, the file need not be read. The
    document is the same with another one."""


CONTEXT = "context"
"""Key of a chunk's metadata: what stood before its text when it was embedded, and stands there for BM25."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage. `chunk_id` is derived from document id and offsets, so it is the same on every run."""

    chunk_id: str
    document_id: str
    content: str
    content_hash: str
    page_number: int | None
    anchor: str
    char_start: int
    char_end: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def context(self) -> str:
        """Title and heading path that precede the text for embedding and BM25, "" for none; never shown."""
        return str(self.metadata.get(CONTEXT, ""))

    @property
    def indexed_text(self) -> str:
        """What is embedded, and what BM25 knows the chunk by."""
        return f"{self.context}\n{self.content}" if self.context else self.content


@dataclass(frozen=True, slots=True)
class StoredText:
    """The extracted text of a document, readable when its source file is gone."""

    text: str
    spans: tuple[Span, ...]


class DocumentParser(Protocol):
    """Files to text. Implementations live behind a process boundary."""

    def recognises_text(self) -> bool:
        """Whether pages without text can be read now."""

    def parse(
        self, path: Path, *, passwords: Sequence[str] = (), roots: Sequence[Path] = ()
    ) -> AsyncIterator[ParserEvent]:
        """Documents of one file, streamed (many for a tabular file or an archive), between signs of life.

        `roots` are the files and folders that the job is about: what reads the file may open nothing else.
        `passwords` are tried on what is protected. Raises DocumentFault for anything wrong with the file.
        """

    async def close(self) -> None:
        """End every worker."""
