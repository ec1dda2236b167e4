"""The first stages of the pipeline: a source file is hashed, parsed, stored as text, and cut into chunks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

from studio.concurrency import run_to_end
from studio.documents.chunking import cut, make_chunks
from studio.documents.identity import identity_of, key_of, text_hash
from studio.documents.kinds import TABULAR_KINDS, document_id
from studio.documents.texts import TextStoreWriter
from studio.domain import (
    Chunk,
    DocumentRecord,
    DocumentStatus,
    Embedder,
    FileState,
    KbSettings,
    ParsedDocument,
    ParseProgress,
    ParserEvent,
    PartFailure,
    Vectors,
)
from studio.errors import DocumentFault, FailureCode, InvariantViolated
from studio.index.vectors import text_key
from studio.services.ingest.pieces import Piece
from studio.services.ingest.progress import ProgressTracker
from studio.services.ingest.sources import Source, indexed_record, moved_record, says
from studio.services.ingest.stages import Stages

CHUNKS_PER_PIECE = 64
HASHED_LATER_BYTES = 256 << 20
"""Files above this are begun to be parsed first: that a file is too large is told at once, not after it was hashed."""
REUSED_CHUNKS = 32_768
"""Most chunks of a changed file whose embeddings are held to be used again: 50 MB at 384 dimensions."""

_HALFWAY = frozenset(
    {
        FailureCode.CORRUPT,
        FailureCode.TOO_LARGE,
        FailureCode.TIMED_OUT,
        FailureCode.OUT_OF_MEMORY,
        FailureCode.CRASHED,
    }
)
"""What may end the reading of an archive after some of its files were read; those are indexed."""

Emit = Callable[[Piece], Awaitable[None]]
Archived = Callable[[Source, str], Awaitable[Mapping[str, Vectors]]]
"""Embeddings, by key, that archived generations have of a source whose content has that SHA-256."""


class SourceReader:
    """Reads one source after the other; several calls of `read` may run side by side.

    `known` maps the ids of documents whose chunks the build holds to their chunk counts, `copies` maps (sha256, kind)
    to the records of a file with that content.
    """

    def __init__(
        self,
        embedder: Embedder | None,
        settings: KbSettings,
        texts: Path,
        tracker: ProgressTracker,
        stages: Stages,
        emit: Emit,
        *,
        known: dict[str, int],
        copies: Mapping[tuple[str, str], Sequence[DocumentRecord]],
        embeddings_of: Callable[[Sequence[str]], Awaitable[Mapping[str, Vectors]]],
        archived: Archived | None = None,
    ) -> None:
        self._embedder = embedder
        self._settings = settings
        self._texts = texts
        self._tracker = tracker
        self._stages = stages
        self._put = emit
        self._known = known
        self._copies = copies
        self._embeddings_of = embeddings_of
        self._archived = archived
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def read(self, source: Source) -> None:
        """Emit the pieces of one source. Raises DocumentFault, or OSError, for the file as a whole."""
        self._tracker.file(source.path, FileState.PARSING)
        async with aclosing(source.documents()) as events:  # type: ignore[type-var]
            first = [await self._next(events)] if source.size_bytes > HASHED_LATER_BYTES else []
            with self._stages.busy("hash"):
                sha256 = await source.sha256()
            await self._read(source, sha256, first, events)

    async def _read(
        self, source: Source, sha256: str, first: Sequence[ParserEvent | None], events: AsyncIterator[ParserEvent]
    ) -> None:
        if copies := self._copies.get((sha256, source.kind)):
            for record in copies:
                await self._emit(source, moved_record(record, source), (), {}, key_of(record))
            return
        writer = TextStoreWriter(self._texts, text_key(sha256, source.kind)) if source.store_texts else None
        try:
            try:
                await self._documents(source, sha256, first, events, writer)
            except DocumentFault as fault:
                halfway = _HALFWAY if source.kind == "archive" else (FailureCode.CORRUPT,)
                if fault.code not in halfway or source.kind not in TABULAR_KINDS or not source.emitted:
                    raise
                source.partial = fault
            if await source.changed():
                raise DocumentFault(FailureCode.CHANGED, "The file changed while it was being read.")
            if not source.emitted:
                raise _nothing_in(source)
            if writer is not None:
                await run_to_end(writer.commit)
                writer = None
        finally:
            if writer is not None:
                await run_to_end(writer.abandon)

    async def _next(self, events: AsyncIterator[ParserEvent]) -> ParserEvent | None:
        with self._stages.busy("parse"):
            return await anext(events, None)

    async def _documents(
        self,
        source: Source,
        sha256: str,
        first: Sequence[ParserEvent | None],
        events: AsyncIterator[ParserEvent],
        writer: TextStoreWriter | None,
    ) -> None:
        reuse: Mapping[str, Vectors] | None = None
        old = {key_of(record): record for record in source.old if record.status is DocumentStatus.INDEXED}
        waiting = list(first)
        while (event := waiting.pop() if waiting else await self._next(events)) is not None:
            if isinstance(event, ParseProgress):
                self._tracker.pages(source.path, event.done, event.total)
                continue
            if isinstance(event, PartFailure):
                source.failed_parts.append(event)
                continue
            parsed = event
            identity, row_key = identity_of(parsed, sha256, source.kind)
            if row_key in source.emitted and source.kind in TABULAR_KINDS:
                row_key = f"{row_key}#{parsed.row}"  # an id used twice
                identity = document_id(text_hash(parsed.text), source.kind, row_key)
            if writer is not None:
                await run_to_end(writer.add, parsed.row, parsed)
            record = indexed_record(source, parsed, identity, sha256)
            if row_key in old and says(old[row_key]) != says(record):
                source.restated.add(row_key)
            # Two readers may come upon the same content at once: the second waits and finds it known.
            async with self._turns.setdefault(identity, asyncio.Lock()):
                if identity in self._known:
                    await self._emit(source, replace(record, chunks=self._known[identity]), (), {}, row_key)
                    continue
                if reuse is None:
                    reuse = await self._reusable(source, sha256)
                chunks = await self._cut(identity, parsed)
                if chunks:
                    self._known[identity] = len(chunks)
                    await self._emit(source, replace(record, chunks=len(chunks)), chunks, reuse, row_key)

    async def _cut(self, identity: str, parsed: ParsedDocument) -> list[Chunk]:
        if self._embedder is None:
            raise InvariantViolated("A job that only removes documents came upon one to index.")
        with self._stages.busy("chunk"):
            ranges = await cut(parsed, self._embedder, self._settings)
            return await asyncio.to_thread(make_chunks, identity, parsed, ranges, contextual=self._settings.contextual)

    async def _reusable(self, source: Source, sha256: str) -> Mapping[str, Vectors]:
        """Embeddings of what the file held before or ever, unless that is too much to hold."""
        archived = await self._archived(source, sha256) if self._archived is not None else {}
        old = [record for record in source.old if record.status is DocumentStatus.INDEXED]
        if not old or sum(record.chunks for record in old) > REUSED_CHUNKS:
            return archived
        return {**archived, **await self._embeddings_of([record.document_id for record in old])}

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
            await self._put(Piece(source, record.document_id, row_key, part, reuse, record if last else None))


def _nothing_in(source: Source) -> DocumentFault:
    """Why nothing of a file was indexed: what is wrong with its only part, or that there is no text."""
    if len(source.failed_parts) == 1:
        part = source.failed_parts[0]
        return DocumentFault(FailureCode(part.error), f"{part.part}: {part.reason}")
    if source.failed_parts:
        (code, reason), times = Counter((part.error, part.reason) for part in source.failed_parts).most_common(1)[0]
        whom = "each" if times == len(source.failed_parts) else f"{times:,}"
        told = f"None of the {len(source.failed_parts):,} files in it can be read. Of {whom} is said: {reason}"
        return DocumentFault(FailureCode(code) if whom == "each" else FailureCode.NO_TEXT, told)
    return DocumentFault(FailureCode.NO_TEXT, "There is no text in this file.")
