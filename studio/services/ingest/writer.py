"""The last stage of the pipeline: what came back from the model goes into the build, file by file, with checkpoints."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from studio.documents.identity import key_of
from studio.documents.kinds import TABULAR_KINDS
from studio.domain import DocumentRecord, DocumentStatus, FileFailure, FileProgress, FileState, Vectors, place_of
from studio.errors import DocumentFault, FailureCode
from studio.index.generations import Build
from studio.services.ingest.pieces import Piece
from studio.services.ingest.progress import ProgressTracker
from studio.services.ingest.sources import Outcome, Source, failed_part, failed_record

RECORDS_HELD_PER_FILE = 2048
CHUNKS_PER_CHECKPOINT = 4096
FIRST_CHECKPOINT_S = 5.0
CHECKPOINT_SHARE = 0.1
"""A checkpoint comes after `CHUNKS_PER_CHECKPOINT`, or after 5 s or a tenth of the time so far, whichever is longer: it
takes a tenth of a second, a long job has some dozens of them, and a killed one never loses more than a tenth."""

_KEEP_OLD_ON = frozenset(
    {
        FailureCode.NO_PERMISSION, FailureCode.VANISHED, FailureCode.TIMED_OUT, FailureCode.CRASHED,
        FailureCode.OUT_OF_MEMORY, FailureCode.CHANGED, FailureCode.UNREADABLE,
    }
)  # fmt: skip
"""Failures that say nothing about the file's content: what was indexed of it before stays."""


def is_indexed(record: DocumentRecord) -> bool:
    """Whether a row is of a document, not of something that could not be read."""
    return record.status is DocumentStatus.INDEXED


@dataclass(frozen=True, slots=True)
class Position:
    """What a checkpoint has to know beyond the tables: see `index.checkpoints.Checkpoint`."""

    open_documents: Sequence[str]
    open_paths: Sequence[str]
    open_chunks: int
    """How many chunks of open documents are written: they are written again."""
    files: Sequence[FileProgress]
    """Files that came to their end since the last checkpoint."""


Save = Callable[[Position, Outcome], Awaitable[None]]


class BuildWriter:
    """Writes pieces in order. `references` counts the records that stay as they are, per document id.

    `dead` are document ids whose chunks the build holds and that may be without a record at the end.
    """

    def __init__(
        self, build: Build, tracker: ProgressTracker, references: Counter[str], save: Save | None, outcome: Outcome
    ) -> None:
        self.outcome = outcome
        self.broken: dict[str, DocumentFault] = {}
        """Documents that could not be embedded, by id."""
        self._build = build
        self._tracker = tracker
        self._references = references
        self._save = save
        self._maybe_dead: set[str] = set()
        self._open: Counter[str] = Counter()
        self._open_paths: dict[str, None] = {}
        self._finished: list[FileProgress] = []
        self._begun = self._saved = time.monotonic()
        self._unsaved = 0

    def doubt(self, document_ids: Iterable[str]) -> None:
        """These documents lose their chunks at the end unless a record refers to them then."""
        self._maybe_dead.update(document_ids)

    async def write(self, batch: Sequence[Piece], vectors: Vectors) -> None:
        """Write pieces; `vectors` holds the embeddings of all their chunks, shape (chunks, dimension)."""
        at = 0
        for piece in batch:
            count = len(piece.chunks)
            if piece.identity in self.broken:
                at += count
                self._drop(piece)
            elif count:
                self._open[piece.identity] += count
                await self._build.add_chunks(piece.chunks, vectors[at : at + count])
                at += count
                self._tracker.file(piece.source.path, FileState.EMBEDDING, chunks_done=count)
                self.outcome.chunks_added += count
                self._unsaved += count
            if piece.record is not None and piece.identity not in self.broken:
                await self._hold(piece.source, piece.record)
            if piece.end:
                await self._end(piece.source)
        await self._save_if_due()

    def _drop(self, piece: Piece) -> None:
        """A document without vectors: a row fails alone, anything else is the whole file."""
        source, fault = piece.source, self.broken[piece.identity]
        self._maybe_dead.add(piece.identity)
        if source.kind in TABULAR_KINDS:
            source.partial = fault
            source.emitted.pop(piece.row_key, None)
        else:
            source.fault = fault

    async def _hold(self, source: Source, record: DocumentRecord) -> None:
        """Keep a file's records until it is complete; a very long file's go to the table on the way."""
        self._references[record.document_id] += 1
        source.counted.append(record.document_id)
        source.records.append(record)
        if len(source.records) >= RECORDS_HELD_PER_FILE:
            await self._add_records(source)
            self._open_paths[str(source.path)] = None

    async def _add_records(self, source: Source) -> None:
        records, source.records = source.records, []
        if not source.records_written:
            source.records_written = True
            if source.old:
                self._build.replace_path(str(source.path))
        for record in records:
            await self._build.add_record(record)
            self._open.pop(record.document_id, None)
        self._unsaved += len(records)

    async def _end(self, source: Source) -> None:
        old = {key_of(record): record for record in source.old if record.status is DocumentStatus.INDEXED}
        self._maybe_dead.update(record.document_id for record in old.values())
        if source.fault is not None:
            await self._fail(source, source.fault, list(old.values()))
        else:
            await self._add_records(source)
            await self._settle(source, old)
        self._open_paths.pop(str(source.path), None)
        if (final := self._tracker.final(source.path)) is not None:
            self._finished.append(final)

    async def _settle(self, source: Source, old: dict[str, DocumentRecord]) -> None:
        """Count what became of the documents of a file that was read, and report parts of it that were not."""
        for key, identity in source.emitted.items():
            before = old.pop(key, None)
            if before is None:
                self.outcome.added += 1
            elif before.document_id == identity and key not in source.restated:
                self.outcome.unchanged += 1
            else:
                self.outcome.updated += 1
        self.outcome.removed += len(old)
        for part in source.failed_parts:
            known = any(item.external_id == part.part and item.error == part.error for item in source.old)
            self.outcome.failures.append(FileFailure(place_of(str(source.path), part.part), part.error, part.reason))
            self.outcome.new_failures += not known
            await self._build.add_record(failed_part(source, part))
        if source.partial is None:
            self._tracker.file(source.path, FileState.INDEXED)
        else:
            self._report(source, source.partial)
            await self._build.add_record(failed_record(source, source.partial))

    async def _fail(self, source: Source, fault: DocumentFault, old: Sequence[DocumentRecord]) -> None:
        self._references.subtract(source.counted)
        source.records = []
        self._maybe_dead.update(source.emitted.values())
        path = str(source.path)
        if source.read_again:
            if source.records_written:
                self._build.replace_path(path)
            self._references.update(record.document_id for record in old)
            return
        self._report(source, fault)
        if old and fault.code in _KEEP_OLD_ON and source.keep_old:
            self._references.update(record.document_id for record in old)
            self.outcome.unchanged += len(old)
            if source.records_written:
                self._build.replace_path(path)
                for record in source.old:
                    await self._build.add_record(record)
            return
        self.outcome.removed += len(old)
        if source.old or source.records_written:
            self._build.replace_path(path)
        await self._build.add_record(failed_record(source, fault))

    def _report(self, source: Source, fault: DocumentFault) -> None:
        self.outcome.failures.append(FileFailure(str(source.path), fault.code, fault.full_message))
        self._tracker.file(source.path, FileState.FAILED, error=fault.code, reason=fault.full_message)
        same = any(item.status is DocumentStatus.FAILED and item.error == fault.code for item in source.old)
        self.outcome.new_failures += not same

    # ------------------------------------------------------------ checkpoints and the end

    async def _save_if_due(self) -> None:
        if self._save is None:
            return
        now = time.monotonic()
        waited = now - self._saved
        long_ago = waited >= max(FIRST_CHECKPOINT_S, CHECKPOINT_SHARE * (now - self._begun))
        if self._unsaved < CHUNKS_PER_CHECKPOINT and not (long_ago and (self._unsaved or self._finished)):
            return
        files, self._finished = self._finished, []
        position = Position(tuple(self._open), tuple(self._open_paths), self._open.total(), files)
        await self._save(position, self.outcome)
        self._saved, self._unsaved = time.monotonic(), 0

    async def leave(self, sources: Sequence[Source], removed: Sequence[DocumentRecord]) -> None:
        """A job that finishes early takes nothing away: files it did not begin stay as they were, and so do those that
        are not found any more, which may have moved to where it did not look.
        """
        self.outcome.left = len(sources)
        self.outcome.removed = max(0, self.outcome.removed - sum(is_indexed(record) for record in removed))
        for record in removed:
            await self._build.add_record(record)
        kept = [*removed, *(record for source in sources for record in source.old)]
        self._references.update(record.document_id for record in kept if is_indexed(record))

    async def finish(self) -> list[FileProgress]:
        """Write what is left, and delete the chunks no record refers to. Returns files as `Position`."""
        await self._build.flush()
        dead = [identity for identity in self._maybe_dead if self._references[identity] <= 0]
        await self._build.delete_documents(dead)
        return self._finished
