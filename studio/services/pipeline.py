"""From source files to rows of a build: read → chunk → embed → write, each stage ahead of the next.

Readers run side by side and feed a bounded queue; one embedding stage forms batches over file boundaries
and keeps two of them under way, so that the worker never waits for a reader or for a write; one writer
adds what came back to the build, in order. A full queue stops the readers: memory does not grow with the
number or the size of files.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from studio.concurrency import first_error, run_to_end
from studio.documents.chunker import make_chunks
from studio.documents.kinds import TABULAR_KINDS, document_id
from studio.documents.texts import TextStoreWriter
from studio.domain import (
    Chunk,
    DocumentRecord,
    DocumentStatus,
    Embedder,
    FileFailure,
    FileState,
    KbSettings,
    ParsedDocument,
    Vectors,
)
from studio.errors import (
    DocumentFault,
    FailureCode,
    InvariantViolated,
    ModelFault,
    StudioError,
    WorkerDied,
)
from studio.index.generations import Build
from studio.index.rows import text_key
from studio.services.chunking import cut
from studio.services.progress import ProgressTracker
from studio.services.sources import (
    Outcome,
    Source,
    failed_record,
    file_fault,
    identity_of,
    indexed_record,
    key_of,
    moved_record,
    text_hash,
)

CHUNKS_PER_BATCH = 128
CHUNKS_PER_PIECE = 64
PIECES_QUEUED = 256
RECORDS_HELD_PER_FILE = 2048
FAILURES_BEFORE_GIVING_UP = 3

_KEEP_OLD_ON = frozenset(
    {
        FailureCode.NO_PERMISSION, FailureCode.VANISHED, FailureCode.TIMED_OUT, FailureCode.CRASHED,
        FailureCode.OUT_OF_MEMORY,
    }
)  # fmt: skip
"""Failures that say nothing about the file's content: what was indexed of it before stays."""

_NOTHING: Vectors = np.empty((0, 0), np.float32)

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Piece:
    """Chunks on their way. `record` comes with the last piece of a document, `end` with a file's last."""

    source: Source
    identity: str = ""
    row_key: str = ""
    chunks: Sequence[Chunk] = ()
    reuse: Mapping[str, Vectors] = field(default_factory=dict)
    record: DocumentRecord | None = None
    end: bool = False


class Pipeline:
    """One run over the files of a job, into one build.

    `known` maps the ids of documents whose chunks the build's base holds to their chunk counts, `copies` maps
    (sha256, kind) to the records of a file with that content, `untouched` counts the records that stay as
    they are per document id. Without an embedder documents can only be removed.
    """

    def __init__(
        self,
        build: Build,
        embedder: Embedder | None,
        settings: KbSettings,
        texts: Path,
        tracker: ProgressTracker,
        *,
        known: dict[str, int],
        copies: Mapping[tuple[str, str], Sequence[DocumentRecord]],
        untouched: Counter[str],
        embeddings_of: Callable[[Sequence[str]], Awaitable[Mapping[str, Vectors]]],
    ) -> None:
        self._build = build
        self._embedder = embedder
        self._settings = settings
        self._texts = texts
        self._tracker = tracker
        self._known = known
        self._copies = copies
        self._references = untouched
        self._embeddings_of = embeddings_of
        self._pieces: asyncio.Queue[_Piece | None] = asyncio.Queue(PIECES_QUEUED)
        self._batches: asyncio.Queue[tuple[list[_Piece], asyncio.Task[tuple[Vectors, int]]] | None] = asyncio.Queue(1)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._maybe_dead: set[str] = set()
        self._broken: dict[str, DocumentFault] = {}
        self._failures_in_a_row = 0
        self.outcome = Outcome()

    async def run(self, sources: Sequence[Source], removed: Sequence[DocumentRecord], readers: int) -> Outcome:
        """Index `sources`, drop `removed`. Raises ModelFault, WorkerDied, StorageFault; files fail one by one."""
        waiting = iter(sources)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                group.create_task(self._embed(group))
                async with asyncio.TaskGroup() as reading:
                    for _ in range(max(1, readers)):
                        reading.create_task(self._read_all(waiting))
                await self._pieces.put(None)
        except BaseExceptionGroup as errors:
            raise first_error(errors, prefer=StudioError) from None
        await self._finish(sources, removed)
        return self.outcome

    # ------------------------------------------------------------ reading

    async def _read_all(self, waiting: Iterator[Source]) -> None:
        for source in waiting:
            try:
                await self._read(source)
            except DocumentFault as fault:
                source.fault = fault
            except OSError as error:
                source.fault = file_fault(error)
            await self._pieces.put(_Piece(source, end=True))

    async def _read(self, source: Source) -> None:
        self._tracker.file(source.path, FileState.PARSING)
        sha256 = await source.sha256()
        if copies := self._copies.get((sha256, source.kind)):
            for record in copies:
                await self._emit(source, moved_record(record, source), (), {}, key_of(record))
            return
        old_ids = [record.document_id for record in source.old if record.status is DocumentStatus.INDEXED]
        writer = TextStoreWriter(self._texts, text_key(sha256, source.kind)) if source.store_texts else None
        try:
            try:
                await self._documents(source, sha256, writer, old_ids)
            except DocumentFault as fault:
                if fault.code is not FailureCode.CORRUPT or source.kind not in TABULAR_KINDS or not source.emitted:
                    raise
                source.partial = fault
            if not source.emitted:
                raise DocumentFault(FailureCode.NO_TEXT, "There is no text in this file.")
            if writer is not None:
                await run_to_end(writer.commit)
                writer = None
        finally:
            if writer is not None:
                await run_to_end(writer.abandon)

    async def _documents(
        self, source: Source, sha256: str, writer: TextStoreWriter | None, old_ids: Sequence[str]
    ) -> None:
        reuse: Mapping[str, Vectors] | None = None
        async with aclosing(source.documents()) as documents:  # type: ignore[type-var]
            async for parsed in documents:
                if not isinstance(parsed, ParsedDocument):
                    continue
                identity, row_key = identity_of(parsed, sha256, source.kind)
                if row_key in source.emitted and source.kind in TABULAR_KINDS:
                    row_key = f"{row_key}#{parsed.row}"  # an id used twice
                    identity = document_id(text_hash(parsed.text), source.kind, row_key)
                if writer is not None:
                    await run_to_end(writer.add, parsed.row, parsed)
                record = indexed_record(source, parsed, identity, sha256)
                # Two readers may come upon the same content at once: the second waits and finds it known.
                async with self._turns.setdefault(identity, asyncio.Lock()):
                    if identity in self._known:
                        await self._emit(source, replace(record, chunks=self._known[identity]), (), {}, row_key)
                        continue
                    if reuse is None:
                        reuse = await self._embeddings_of(old_ids) if old_ids else {}
                    ranges = await cut(parsed, self._needed_embedder(), self._settings)
                    chunks = await asyncio.to_thread(make_chunks, identity, parsed, ranges)
                    if chunks:
                        self._known[identity] = len(chunks)
                        await self._emit(source, replace(record, chunks=len(chunks)), chunks, reuse, row_key)

    async def _emit(
        self,
        source: Source,
        record: DocumentRecord,
        chunks: Sequence[Chunk],
        reuse: Mapping[str, Vectors],
        row_key: str,
    ) -> None:
        source.emitted[row_key] = record.document_id
        self._tracker.file(
            source.path, FileState.EMBEDDING, chunks_total=record.chunks, pages=record.pages.total,
            chunks_done=0 if chunks else record.chunks,
        )  # fmt: skip
        starts = range(0, len(chunks), CHUNKS_PER_PIECE) if chunks else range(1)
        for start in starts:
            last = start + CHUNKS_PER_PIECE >= len(chunks)
            part = chunks[start : start + CHUNKS_PER_PIECE]
            await self._pieces.put(_Piece(source, record.document_id, row_key, part, reuse, record if last else None))

    # ------------------------------------------------------------ embedding

    async def _embed(self, group: asyncio.TaskGroup) -> None:
        """Form batches and start them; the bounded queue keeps two under way."""
        ended = False
        while not ended:
            batch: list[_Piece] = []
            size = 0
            while size < CHUNKS_PER_BATCH and (not batch or not self._pieces.empty()):
                piece = await self._pieces.get()
                if piece is None:
                    ended = True
                    break
                batch.append(piece)
                size += len(piece.chunks)
            if batch:
                await self._batches.put((batch, group.create_task(self._vectors_or_fault(batch))))
        await self._batches.put(None)

    async def _vectors_or_fault(self, batch: list[_Piece]) -> tuple[Vectors, int]:
        try:
            return await self._vectors(batch)
        except (ModelFault, WorkerDied, InvariantViolated) as error:
            log.warning("a batch of %d documents' chunks could not be embedded: %s", len(batch), error)
            return _NOTHING, -1

    async def _vectors(self, batch: Sequence[_Piece]) -> tuple[Vectors, int]:
        """Vectors of all chunks of a batch in order, and how many texts were embedded for them."""
        wanted: dict[str, str] = {}
        for piece in batch:
            for chunk in piece.chunks:
                if chunk.content_hash not in piece.reuse:
                    wanted.setdefault(chunk.content_hash, chunk.content)
        if not any(piece.chunks for piece in batch):
            return _NOTHING, 0
        fresh = await self._needed_embedder().embed(list(wanted.values())) if wanted else _NOTHING
        place = {content_hash: row for row, content_hash in enumerate(wanted)}
        rows = [
            piece.reuse[chunk.content_hash] if chunk.content_hash in piece.reuse else fresh[place[chunk.content_hash]]
            for piece in batch
            for chunk in piece.chunks
        ]
        return np.stack(rows), len(wanted)

    def _needed_embedder(self) -> Embedder:
        if self._embedder is None:
            raise InvariantViolated("A job that only removes documents came upon one to index.")
        return self._embedder

    # ------------------------------------------------------------ writing

    async def _write(self) -> None:
        while (item := await self._batches.get()) is not None:
            batch, task = item
            vectors, embedded = await task
            if embedded >= 0:
                await self._write_pieces(batch, vectors, embedded)
                continue
            for piece in batch:  # one text may be to blame: each document on its own
                try:
                    vectors, embedded = await self._vectors([piece])
                except (ModelFault, WorkerDied, InvariantViolated) as error:
                    self._failures_in_a_row += 1
                    if self._failures_in_a_row >= FAILURES_BEFORE_GIVING_UP:
                        raise
                    code = FailureCode.CRASHED if isinstance(error, WorkerDied) else FailureCode.BAD_VECTOR
                    self._broken[piece.identity] = DocumentFault(code, error.full_message)
                    vectors, embedded = _NOTHING, 0
                    piece.chunks = ()
                await self._write_pieces([piece], vectors, embedded)

    async def _write_pieces(self, batch: Sequence[_Piece], vectors: Vectors, embedded: int) -> None:
        if embedded:
            self._failures_in_a_row = 0
        self.outcome.embedded += embedded
        at = 0
        for piece in batch:
            count = len(piece.chunks)
            if piece.identity in self._broken:
                at += count
                self._drop(piece)
            elif count:
                await self._build.add_chunks(piece.chunks, vectors[at : at + count])
                at += count
                self._tracker.file(piece.source.path, FileState.EMBEDDING, chunks_done=count)
                self.outcome.chunks_added += count
                self.outcome.reused += sum(chunk.content_hash in piece.reuse for chunk in piece.chunks)
            if piece.record is not None and piece.identity not in self._broken:
                await self._hold(piece.source, piece.record)
            if piece.end:
                await self._end(piece.source)

    def _drop(self, piece: _Piece) -> None:
        """A document without vectors: a row fails alone, anything else is the whole file."""
        source, fault = piece.source, self._broken[piece.identity]
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
            source.records_written = True
            await self._add_records(source)

    async def _add_records(self, source: Source) -> None:
        records, source.records = source.records, []
        for record in records:
            await self._build.add_record(record)

    async def _end(self, source: Source) -> None:
        old = {key_of(record): record for record in source.old if record.status is DocumentStatus.INDEXED}
        self._maybe_dead.update(record.document_id for record in old.values())
        if source.fault is not None:
            self._fail(source, source.fault, list(old.values()))
            return
        await self._add_records(source)
        for key, identity in source.emitted.items():
            before = old.pop(key, None)
            if before is None:
                self.outcome.added += 1
            elif before.document_id == identity:
                self.outcome.unchanged += 1
            else:
                self.outcome.updated += 1
        self.outcome.removed += len(old)
        if source.partial is None:
            self._tracker.file(source.path, FileState.INDEXED)
        else:
            self._report(source, source.partial)
            await self._build.add_record(failed_record(source, source.partial))

    def _fail(self, source: Source, fault: DocumentFault, old: Sequence[DocumentRecord]) -> None:
        self._references.subtract(source.counted)
        source.records = []
        self._maybe_dead.update(source.emitted.values())
        self._report(source, fault)
        if old and fault.code in _KEEP_OLD_ON and source.keep_old:
            source.kept = old
            self._references.update(record.document_id for record in old)
            self.outcome.unchanged += len(old)
        else:
            self.outcome.removed += len(old)

    def _report(self, source: Source, fault: DocumentFault) -> None:
        self.outcome.failures.append(FileFailure(str(source.path), fault.code, fault.full_message))
        self._tracker.file(source.path, FileState.FAILED, error=fault.code, reason=fault.full_message)
        same = any(item.status is DocumentStatus.FAILED and item.error == fault.code for item in source.old)
        self.outcome.new_failures += not same

    async def _finish(self, sources: Sequence[Source], removed: Sequence[DocumentRecord]) -> None:
        await self._build.flush()
        failed = [source for source in sources if source.fault is not None]
        await self._build.tables.delete_paths(str(source.path) for source in failed if source.records_written)
        for source in failed:
            assert source.fault is not None
            for record in source.kept or [failed_record(source, source.fault)]:
                await self._build.add_record(record)
        self._maybe_dead.update(record.document_id for record in removed)
        self.outcome.removed += sum(record.status is DocumentStatus.INDEXED for record in removed)
        self.outcome.new_failures += sum(record.status is DocumentStatus.FAILED for record in removed)
        dead = [identity for identity in self._maybe_dead if self._references[identity] <= 0]
        await self._build.delete_documents(dead)
