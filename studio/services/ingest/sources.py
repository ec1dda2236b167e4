"""The files of a job, the records made of them, and what became of them all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from studio.documents.kinds import document_id
from studio.domain import (
    DocumentRecord,
    DocumentStatus,
    FileFailure,
    PageCounts,
    ParsedDocument,
    ParserEvent,
    PartFailure,
)
from studio.errors import DocumentFault, FailureCode, reading_fault, storage_fault


async def _unchanged() -> bool:
    return False


@dataclass(slots=True, eq=False)
class Source:
    """A file of the job. `documents` yields what is in it; `old` is what the parent generation has of it."""

    path: Path
    kind: str
    size_bytes: int
    mtime_ns: int
    change_stamp: int
    old: Sequence[DocumentRecord]
    sha256: Callable[[], Awaitable[str]]
    documents: Callable[[], AsyncIterator[ParserEvent]]
    store_texts: bool = True
    keep_old: bool = True
    """Whether the build holds the rows of before, so that they can stay when the file cannot be read."""
    fault: DocumentFault | None = None
    """Why the file as a whole cannot be indexed."""
    changed: Callable[[], Awaitable[bool]] = _unchanged
    """Whether the file is another one now than when the reading began."""
    copied: Callable[[], AbstractAsyncContextManager[Source]] | None = None
    """A source that reads a private copy of a file that changes all the time."""
    read_again: bool = False
    """Another source for the same file follows; this one leaves no trace."""
    failed_parts: list[PartFailure] = field(default_factory=list)
    """Members of an archive that could not be read."""
    partial: DocumentFault | None = None
    """Why some rows of a tabular file are missing; the others are indexed."""
    records: list[DocumentRecord] = field(default_factory=list)
    records_written: bool = False
    counted: list[str] = field(default_factory=list)
    """Document ids of every record held or written so far."""
    emitted: dict[str, str] = field(default_factory=dict)
    """Row key → document id of every document found so far."""
    restated: set[str] = field(default_factory=set)
    """Row keys of documents of which something else is said than before, whatever became of their text."""


@dataclass(slots=True)
class Outcome:
    """What the pipeline did, in documents and chunks."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    chunks_added: int = 0
    embedded: int = 0
    reused: int = 0
    failures: list[FileFailure] = field(default_factory=list)
    new_failures: int = 0
    left: int = 0
    """Files that were not begun since the job was to finish early; no part of `counts`."""

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Outcome:
        """The outcome with these `counts`."""
        outcome = cls()
        for name, count in counts.items():
            setattr(outcome, name, count)
        return outcome

    @property
    def counts(self) -> dict[str, int]:
        """The numbers, by name."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("failures", "left")}

    @property
    def changed(self) -> bool:
        """False when a generation made of this would equal its parent."""
        return bool(self.added or self.updated or self.removed or self.new_failures)


def indexed_record(source: Source, parsed: ParsedDocument, identity: str, sha256: str) -> DocumentRecord:
    """The row of a document that is indexed; its chunk count is filled in later."""
    return DocumentRecord(
        document_id=identity, source_path=str(source.path), sha256=sha256, size_bytes=source.size_bytes,
        mtime_ns=source.mtime_ns, kind=source.kind, title=parsed.title, author=parsed.author, licence=parsed.licence,
        external_id=parsed.external_id, row=parsed.row, pages=parsed.pages, chunks=0,
        status=DocumentStatus.INDEXED, error="", reason="", created=parsed.created,
        metadata=parsed.metadata, change_stamp=source.change_stamp,
    )  # fmt: skip


def says(record: DocumentRecord) -> tuple[object, ...]:
    """What a record says about its document beside the text; a title is part of that, or the row's number."""
    return record.author, record.licence, record.created, dict(record.metadata)


def moved_record(record: DocumentRecord, source: Source) -> DocumentRecord:
    """The row of a file whose content is indexed under another path."""
    return replace(
        record, source_path=str(source.path), size_bytes=source.size_bytes, mtime_ns=source.mtime_ns,
        title=source.path.stem if record.title == Path(record.source_path).stem else record.title,
        change_stamp=source.change_stamp,
    )  # fmt: skip


def failed_record(source: Source, fault: DocumentFault) -> DocumentRecord:
    """The row of a file that could not be indexed."""
    path = str(source.path)
    return DocumentRecord(
        document_id=document_id(path, "failed"), source_path=path, sha256="", size_bytes=source.size_bytes,
        mtime_ns=source.mtime_ns, kind=source.kind, title=source.path.name, author="", licence="", external_id="",
        row=0, pages=PageCounts(), chunks=0, status=DocumentStatus.FAILED, error=fault.code, reason=fault.full_message,
        change_stamp=source.change_stamp,
    )  # fmt: skip


def failed_part(source: Source, failure: PartFailure) -> DocumentRecord:
    """The row of a member of an archive that could not be indexed."""
    record = failed_record(source, DocumentFault(FailureCode(failure.error), failure.reason))
    return replace(
        record, document_id=document_id(str(source.path), "failed", failure.part), external_id=failure.part,
        title=failure.part.rsplit("/", 1)[-1],
    )  # fmt: skip


def file_fault(error: OSError) -> DocumentFault:
    """What an error while reading a file means for that file; raises StorageFault when the fault is ours."""
    if isinstance(error, FileNotFoundError):
        return DocumentFault(FailureCode.VANISHED, "The file went away while it was being read.")
    if isinstance(error, PermissionError):
        return DocumentFault(FailureCode.NO_PERMISSION, "You have no permission to read this file.")
    if error.filename is None:
        raise storage_fault(error, "storing extracted text") from error
    return reading_fault(error)
