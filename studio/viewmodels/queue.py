"""The rows of the ingest queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from PySide6.QtCore import QObject

from studio.domain import DocumentRecord, DocumentStatus, FileFailure, FileProgress, FileState, IngestProgress
from studio.errors import FailureCode
from studio.viewmodels.base import ItemListModel
from studio.viewmodels.text import count, duration, size

_BADGES = {
    FailureCode.ENCRYPTED: "Locked",
    FailureCode.CORRUPT: "Unreadable",
    FailureCode.EMPTY: "Empty",
    FailureCode.NO_TEXT: "No text",
    FailureCode.UNSUPPORTED: "Not supported",
    FailureCode.TOO_LARGE: "Too large",
    FailureCode.TIMED_OUT: "Timed out",
    FailureCode.OUT_OF_MEMORY: "Too large",
    FailureCode.CRASHED: "Unreadable",
    FailureCode.NO_PERMISSION: "No permission",
    FailureCode.VANISHED: "Vanished",
}


class Tone(StrEnum):
    """How a row looks."""

    RUN = "run"
    OK = "ok"
    BAD = "bad"
    WAIT = "wait"
    CALM = "calm"


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


class QueueModel(ItemListModel[QueueRow]):
    """Files in the order they were met; a file that comes again keeps its row."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[str, int] = {}
        self._active: set[str] = set()
        self._roots: tuple[Path, ...] = ()

    def describe(self, row: int, item: QueueRow) -> str:
        state = item.badge or f"{item.fraction:.0%}"
        return f"{item.name}, {state}, {item.detail}"

    def tip(self, item: QueueRow) -> str:
        return f"{item.path}\n{item.detail}" if item.tone is Tone.BAD else item.path

    def set_roots(self, paths: Sequence[Path]) -> None:
        """Names are shown relative to these folders."""
        self._roots = tuple(paths)

    def apply(self, progress: IngestProgress, files: Iterable[FileProgress]) -> None:
        """Show files that moved on."""
        new: dict[str, QueueRow] = {}
        for file in files:
            row = _file_row(file, progress, self._name(file.path))
            (self._active.add if row.tone is Tone.RUN else self._active.discard)(file.path)
            if file.path in self._rows:
                self.set_row(self._rows[file.path], row)
            else:
                new[file.path] = row
        self._add(new)

    def add_failure(self, kb_id: str, failure: FileFailure) -> None:
        """Make sure a failure has its row, also one that happened before the file was queued."""
        row = QueueRow(failure.path, kb_id, self._name(failure.path), failure.reason, Tone.BAD, badge(failure.error))
        if failure.path in self._rows:
            self.set_row(self._rows[failure.path], row)
        else:
            self._add({failure.path: row})

    def show_documents(self, rows: Sequence[QueueRow]) -> None:
        """Show the documents of a knowledge base (see `document_rows`) instead of a queue."""
        self._active.clear()
        self.reset(rows)

    def reset(self, items: Sequence[QueueRow]) -> None:
        super().reset(items)
        self._rows = {item.path: row for row, item in enumerate(items)}

    def keep_active(self) -> None:
        """Drop the rows of files that are through."""
        self.reset([row for row in self.items if row.tone in (Tone.RUN, Tone.WAIT)])

    def stop_active(self, word: str, tone: Tone) -> None:
        """The job ended before these files were through."""
        self._active.clear()
        for index, row in enumerate(self.items):
            if row.tone in (Tone.RUN, Tone.WAIT):
                self.set_row(index, replace(row, tone=tone, badge=word, fraction=0.0, detail="Not indexed"))

    def failed_paths(self) -> list[tuple[str, str]]:
        """(knowledge base id, path) of what failed."""
        return [(row.kb_id, row.path) for row in self.items if row.tone is Tone.BAD]

    def active_fraction(self) -> float:
        """Sum of the fractions of the files being worked on."""
        return sum(self.items[self._rows[path]].fraction for path in self._active if path in self._rows)

    def _add(self, new: dict[str, QueueRow]) -> None:
        first = len(self.items)
        self._rows.update({path: first + offset for offset, path in enumerate(new)})
        self.append(list(new.values()))

    def _name(self, path: str) -> str:
        for root in self._roots:
            try:
                relative = Path(path).relative_to(root)
            except ValueError:
                continue
            return str(relative) if relative.parts else Path(path).name
        return Path(path).name


def badge(error: str) -> str:
    """One word for a failure code."""
    try:
        return _BADGES.get(FailureCode(error), "Failed")
    except ValueError:
        return "Failed"


def _file_row(file: FileProgress, progress: IngestProgress, name: str) -> QueueRow:
    row = QueueRow(file.path, progress.kb_id, name, "", Tone.RUN)
    pages = [count(file.pages, "page")] if file.pages else []
    match file.state:
        case FileState.WAITING:
            return replace(row, tone=Tone.WAIT, detail=" · ".join(["Waiting", *pages]))
        case FileState.PARSING:
            return replace(row, detail=" · ".join(["Reading", *pages]))
        case FileState.EMBEDDING:
            parts = [f"Embedding · {file.chunks_done:,} of {count(file.chunks_total, 'passage')}"]
            if progress.chunks_per_second >= 1:
                parts.append(f"{progress.chunks_per_second:.0f} passages/s")
            done = file.chunks_done / file.chunks_total if file.chunks_total else 0.0
            return replace(row, detail=" · ".join(parts), fraction=min(1.0, done))
        case FileState.INDEXED:
            parts = [*pages, count(max(file.chunks_total, file.chunks_done), "passage"), duration(file.seconds)]
            return replace(row, tone=Tone.OK, badge="Indexed", fraction=1.0, detail=" · ".join(parts))
        case FileState.UNCHANGED:
            return replace(row, tone=Tone.OK, badge="Unchanged", fraction=1.0, detail="Already indexed")
        case FileState.REMOVED:
            return replace(row, tone=Tone.CALM, badge="Removed", fraction=1.0, detail="No longer in the folder")
        case FileState.FAILED:
            return replace(row, tone=Tone.BAD, badge=badge(file.error), detail=file.reason)


def document_rows(kb_id: str, records: Sequence[DocumentRecord]) -> list[QueueRow]:
    """The files of a knowledge base as rows. Takes some 20 µs a document; call it from a thread."""
    by_path: dict[str, list[DocumentRecord]] = {}
    for record in records:
        by_path.setdefault(record.source_path, []).append(record)
    return [_document_row(kb_id, path, held) for path, held in by_path.items()]


def _document_row(kb_id: str, path: str, records: Sequence[DocumentRecord]) -> QueueRow:
    """A file of a knowledge base; a tabular one holds many documents."""
    file_name = Path(path).name
    first = records[0]
    title = first.title if len(records) == 1 else ""
    row = QueueRow(path, kb_id, title or file_name, "", Tone.OK, "Indexed", 1.0)
    failed = [record for record in records if record.status is DocumentStatus.FAILED]
    if len(failed) == len(records):
        return replace(row, tone=Tone.BAD, badge=badge(first.error), detail=first.reason, fraction=0.0)
    parts = [
        file_name if title else "",
        count(first.pages.total, "page") if first.pages.total else "",
        count(len(records) - len(failed), "document") if len(records) > 1 else "",
        count(sum(record.chunks for record in records), "passage"),
        f"{len(failed)} could not be indexed" if failed else "",
        size(first.size_bytes),
    ]
    return replace(row, detail=" · ".join(part for part in parts if part))
