"""The rows of the ingest queue."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from PySide6.QtCore import QObject

from studio.domain import DocumentRecord, DocumentStatus, FileFailure, FileProgress, FileState, IngestProgress, place_of
from studio.errors import FailureCode
from studio.viewmodels.base import ItemListModel
from studio.viewmodels.text import count, duration, size
from studio.viewmodels.ways_out import clickable

_BADGES = {
    FailureCode.ENCRYPTED: "Locked",
    FailureCode.CORRUPT: "Unreadable",
    FailureCode.EMPTY: "Empty",
    FailureCode.NO_TEXT: "No text",
    FailureCode.NEEDS_OCR: "Needs OCR",
    FailureCode.UNSUPPORTED: "Not supported",
    FailureCode.TOO_LARGE: "Too large",
    FailureCode.TIMED_OUT: "Timed out",
    FailureCode.OUT_OF_MEMORY: "Too large",
    FailureCode.CRASHED: "Unreadable",
    FailureCode.UNREADABLE: "Unreadable",
    FailureCode.NO_PERMISSION: "No permission",
    FailureCode.VANISHED: "Vanished",
    FailureCode.CHANGED: "Changed",
}


_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


class Tone(StrEnum):
    """How a row looks."""

    RUN = "run"
    OK = "ok"
    BAD = "bad"
    WAIT = "wait"
    CALM = "calm"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A file: name as shown, a line of detail, and either a badge or a fraction 0..1."""

    path: str
    kb_id: str
    name: str
    detail: str
    tone: Tone
    badge: str = ""
    fraction: float = 0.0
    error: str = ""
    """Failure code of a file that could not be indexed."""


class QueueModel(ItemListModel[QueueRow]):
    """Files in the order they were met; a file that comes again keeps its row."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[tuple[str, str], int] = {}
        self._active: set[int] = set()
        self._tones: Counter[Tone] = Counter()
        self._roots: tuple[str, ...] = ()

    @property
    def finished(self) -> int:
        """Rows of files that are through."""
        return len(self._items) - self._tones[Tone.RUN] - self._tones[Tone.WAIT]

    @property
    def through(self) -> list[QueueRow]:
        """The rows of files that are through."""
        return [row for row in self._items if row.tone not in (Tone.RUN, Tone.WAIT)]

    def describe(self, row: int, item: QueueRow) -> str:
        state = item.badge or f"{item.fraction:.0%}"
        return f"{item.name}, {state}, {item.detail}"

    def tip(self, item: QueueRow) -> str:
        return f"{item.path}\n{item.detail}" if item.tone is Tone.BAD else item.path

    def set_roots(self, paths: Sequence[Path]) -> None:
        """Names are shown relative to these folders."""
        self._roots = tuple(str(path) for path in paths)

    def apply(self, progress: IngestProgress, files: Iterable[FileProgress]) -> None:
        """Show files that moved on."""
        self._put([file_row(file, progress, shown_name(file.path, self._roots)) for file in files])

    def add_failures(self, kb_id: str, failures: Iterable[FileFailure]) -> None:
        """Make sure failures have their rows, also those that happened before the file was queued."""
        self._put([failure_row(kb_id, failed.path, failed.error, failed.reason, self._roots) for failed in failures])

    def reset(self, items: Sequence[QueueRow]) -> None:
        super().reset(items)
        self._active.clear()
        self._rows = {(item.kb_id, item.path): row for row, item in enumerate(items)}
        self._tones = Counter(item.tone for item in items)

    def keep_active(self) -> None:
        """Drop the rows of files that are through."""
        self.reset([row for row in self.items if row.tone in (Tone.RUN, Tone.WAIT)])

    def stop(self, kb_id: str, word: str, tone: Tone, first: int, end: int) -> None:
        """The job ended before those of these files were through that are not."""
        self._put(
            [
                replace(row, tone=tone, badge=word, fraction=0.0, detail="Not indexed")
                for row in self._items[first:end]
                if row.kb_id == kb_id and row.tone in (Tone.RUN, Tone.WAIT)
            ]
        )

    def active_fraction(self) -> float:
        """Sum of the fractions of the files being worked on."""
        return sum(self.items[row].fraction for row in self._active)

    def _put(self, rows: Sequence[QueueRow]) -> None:
        """Change the rows that are there, append the others. One notice for all of them: a folder may have 40,000."""
        first, last = len(self._items), -1
        new: dict[tuple[str, str], QueueRow] = {}
        for row in rows:
            place = self._rows.get((row.kb_id, row.path))
            if place is None:
                new[row.kb_id, row.path] = row
                continue
            self._tones[self._items[place].tone] -= 1
            self._tones[row.tone] += 1
            self._items[place] = row
            (self._active.add if row.tone is Tone.RUN else self._active.discard)(place)
            first, last = min(first, place), max(last, place)
        if last >= first:
            self.dataChanged.emit(self.index(first), self.index(last))
        begin = len(self._items)
        for place, (key, row) in enumerate(new.items(), begin):
            self._rows[key] = place
            self._tones[row.tone] += 1
            if row.tone is Tone.RUN:
                self._active.add(place)
        self.append(list(new.values()))


def shown_name(path: str, roots: Sequence[str]) -> str:
    """A path below one of the folders that were given, or the bare file name."""
    for folder in roots:
        root = folder.rstrip("".join(_SEPARATORS))
        if path.startswith(root) and path[len(root) : len(root) + 1] in _SEPARATORS:
            return path[len(root) + 1 :]
    return Path(path).name


def badge(error: str) -> str:
    """One word for a failure code."""
    try:
        return _BADGES.get(FailureCode(error), "Failed")
    except ValueError:
        return "Failed"


def failure_row(kb_id: str, path: str, error: str, reason: str, roots: Sequence[str] = ()) -> QueueRow:
    """The row of a file that could not be indexed; named with its folder where no other roots are given."""
    name = shown_name(path, roots or (str(Path(path).parent.parent),))
    return QueueRow(path, kb_id, name, clickable(reason), Tone.BAD, badge(error), error=error)


def file_row(file: FileProgress, progress: IngestProgress, name: str) -> QueueRow:
    """The row of a file of a job."""
    row = QueueRow(file.path, progress.kb_id, name, "", Tone.RUN)
    pages = [count(file.pages, "page")] if file.pages else []
    match file.state:
        case FileState.WAITING:
            return replace(row, tone=Tone.WAIT, detail=" · ".join(["Waiting", *pages]))
        case FileState.PARSING:
            if not file.pages_done or not file.pages:
                return replace(row, detail=" · ".join(["Reading", *pages]))
            reading = f"Reading · {file.pages_done:,} of {count(file.pages, 'page')}"
            return replace(row, detail=reading, fraction=min(1.0, file.pages_done / file.pages))
        case FileState.EMBEDDING:
            parts = [f"Embedding · {file.chunks_done:,} of {count(file.chunks_total, 'passage')}"]
            if progress.chunks_per_second >= 1:
                parts.append(f"{count(round(progress.chunks_per_second), 'passage')}/s")
            done = file.chunks_done / file.chunks_total if file.chunks_total else 0.0
            return replace(row, detail=" · ".join(parts), fraction=min(1.0, done))
        case FileState.INDEXED:
            passages = max(file.chunks_total, file.chunks_done)
            if not passages:
                return replace(
                    row, tone=Tone.CALM, badge="No text", fraction=1.0, detail=" · ".join([*pages, "No text"])
                )
            parts = [*pages, count(passages, "passage"), duration(file.seconds)]
            return replace(row, tone=Tone.OK, badge="Indexed", fraction=1.0, detail=" · ".join(parts))
        case FileState.UNCHANGED:
            return replace(row, tone=Tone.OK, badge="Unchanged", fraction=1.0, detail="Already indexed")
        case FileState.REMOVED:
            return replace(row, tone=Tone.CALM, badge="Removed", fraction=1.0, detail="No longer in the folder")
        case FileState.FAILED:
            return replace(row, tone=Tone.BAD, badge=badge(file.error), detail=clickable(file.reason), error=file.error)


def document_rows(kb_id: str, records: Sequence[DocumentRecord]) -> list[QueueRow]:
    """The files of a knowledge base as rows. Takes some 20 µs a document; call it from a thread."""
    by_path: dict[str, list[DocumentRecord]] = {}
    for record in records:
        by_path.setdefault(record.source_path, []).append(record)
    return [_document_row(kb_id, path, held) for path, held in by_path.items()]


def failed_documents(kb_id: str, records: Sequence[DocumentRecord]) -> list[QueueRow]:
    """A row for everything a generation lists as failed: files, and members of archives."""
    return [
        failure_row(kb_id, place_of(record.source_path, record.external_id), record.error, record.reason)
        for record in records
        if record.status is DocumentStatus.FAILED
    ]


def coverage(records: Sequence[DocumentRecord]) -> list[str]:
    """How much of a file could be read: `12 pages`, `3 need OCR`, `2 pages recognised`, `1 page unreadable`."""
    pages = [record.pages for record in records]
    total, empty = sum(held.total for held in pages), sum(held.empty for held in pages)
    failed, recognised = sum(held.failed for held in pages), sum(held.ocr for held in pages)
    parts = [count(total, "page")] if total else []
    if empty:
        parts.append(f"{empty:,} {'needs' if empty == 1 else 'need'} OCR")
    if recognised:
        parts.append(f"{count(recognised, 'page')} recognised")
    if failed:
        parts.append(f"{count(failed, 'page')} unreadable")
    return parts


def _document_row(kb_id: str, path: str, records: Sequence[DocumentRecord]) -> QueueRow:
    """A file of a knowledge base; a tabular one or an archive holds many documents."""
    file_name = Path(path).name
    first = records[0]
    title = first.title if len(records) == 1 else ""
    row = QueueRow(path, kb_id, title or file_name, "", Tone.OK, "Indexed", 1.0)
    failed = [record for record in records if record.status is DocumentStatus.FAILED]
    if len(failed) == len(records):
        why = clickable(first.reason)
        return replace(row, tone=Tone.BAD, badge=badge(first.error), detail=why, fraction=0.0, error=first.error)
    passages = sum(record.chunks for record in records)
    parts = [
        file_name if title else "",
        count(len(records) - len(failed), "document") if len(records) > 1 else "",
        *coverage(records),
        count(passages, "passage") if passages else "no text",
        f"{len(failed):,} could not be indexed" if failed else "",
        size(first.size_bytes),
    ]
    detail = " · ".join(part for part in parts if part)
    if not passages:
        return replace(row, tone=Tone.CALM, badge="No text", detail=detail)
    if failed or _has_gaps(records):
        return replace(row, tone=Tone.WARN, badge="In part", detail=detail)
    return replace(row, detail=detail)


def _has_gaps(records: Sequence[DocumentRecord]) -> bool:
    """Whether pages are broken, or most are without text; single empty pages are found in any book."""
    return any(held.pages.failed or held.pages.empty * 2 > held.pages.total for held in records)
