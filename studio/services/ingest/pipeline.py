"""From source files to rows of a build: read → chunk → embed → write, each stage ahead of the next.

Readers run side by side and feed a bounded queue; one embedding stage forms batches over file boundaries, sorted by
length, and keeps two of them under way, so that the worker never waits for a reader or for a write; one writer
adds what came back to the build, in order. A full queue stops the readers: memory does not grow with the
number or the size of files.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from studio.concurrency import first_error, run_to_end
from studio.domain import Chunk, DocumentRecord, Embedder, FileProgress, KbSettings, Vectors
from studio.errors import DocumentFault, FailureCode, InvariantViolated, ModelFault, StudioError, WorkerDied
from studio.index.files import VectorJournal
from studio.index.generations import Build
from studio.index.vectors import embedding_key
from studio.services.ingest.control import JobControl
from studio.services.ingest.pieces import Piece
from studio.services.ingest.plan import Basis
from studio.services.ingest.progress import ProgressTracker
from studio.services.ingest.source_reader import Archived, SourceReader
from studio.services.ingest.sources import Outcome, Source, file_fault
from studio.services.ingest.stages import EMBED, Stages
from studio.services.ingest.writer import BuildWriter, Save

CHUNKS_PER_BATCH = 128
PIECES_QUEUED = 256
PIECES_BEFORE_A_FILE = PIECES_QUEUED * 3 // 4
"""No file is begun while more are queued, so that most files are read to their end even when nothing is taken from the
queue: a process that waits in the middle of a file cannot be ended."""
FAILURES_BEFORE_GIVING_UP = 3

_NOTHING: Vectors = np.empty((0, 0), np.float32)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PipelineResources:
    """What a run works with. Without an embedder documents can only be removed.

    `unwritten` gets the embeddings by key that have come back and that the build does not hold yet. `save` may have it,
    and nothing of the pipeline: that would keep both, and the build, until Python looks for cycles.
    """

    embedder: Embedder | None
    settings: KbSettings
    texts: Path
    tracker: ProgressTracker
    control: JobControl = field(default_factory=JobControl)
    stages: Stages = field(default_factory=Stages)
    journal: VectorJournal | None = None
    save: Save | None = None
    unwritten: dict[str, Vectors] = field(default_factory=dict)


Embeddings = Callable[[Sequence[str]], Awaitable[Mapping[str, Vectors]]]


class Pipeline:
    """One run over the files of a job, into one build. `embeddings_of` gives those of documents by embedding key."""

    def __init__(
        self,
        build: Build,
        resources: PipelineResources,
        basis: Basis,
        embeddings_of: Embeddings,
        archived: Archived | None = None,
    ) -> None:
        self._resources = resources
        self._salvaged = basis.salvaged
        self.outcome = Outcome.of(basis.counts)
        self._writer = BuildWriter(build, resources.tracker, Counter(basis.references), resources.save, self.outcome)
        self._writer.doubt(basis.doubtful)
        self._pieces: asyncio.Queue[Piece | None] = asyncio.Queue(PIECES_QUEUED)
        self._batches: asyncio.Queue[tuple[list[Piece], asyncio.Task[tuple[Vectors, int]]] | None] = asyncio.Queue(1)
        self._room = asyncio.Event()
        self._room.set()
        # No method: the reader would have the pipeline, which has the reader, and all of it would stay for long.
        self._put = partial(_put, self._pieces, self._room)
        self._reader = SourceReader(
            resources.embedder, resources.settings, resources.texts, resources.tracker, resources.stages, self._put,
            known=basis.known, copies=basis.copies, embeddings_of=embeddings_of, archived=archived,
        )  # fmt: skip
        self._unwritten = resources.unwritten
        self._unwritten.update(basis.salvaged)
        self._failures_in_a_row = 0
        self._left: list[Source] = []

    async def run(
        self,
        sources: Sequence[Source],
        removed: Sequence[DocumentRecord],
        readers: int,
        removed_before: Sequence[DocumentRecord] = (),
    ) -> list[FileProgress]:
        """Index `sources`; the rows of `removed` are gone already. Returns the files since the last checkpoint.

        `removed_before` are rows that an earlier run of the job removed; a job that finishes early puts them back.

        Raises ModelFault, WorkerDied, StorageFault; files fail one by one.
        """
        waiting = iter(sources)
        self._writer.doubt(record.document_id for record in removed)
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
        if self._left:
            await self._writer.leave(self._left, [*removed, *removed_before])
        return await self._writer.finish()

    # ------------------------------------------------------------ reading

    async def _read_all(self, waiting: Iterator[Source]) -> None:
        for source in waiting:
            await self._room.wait()
            await self._resources.control.proceed()
            if self._resources.control.finishing:
                self._left.append(source)
                continue
            await self._read(source)
            if source.read_again and source.copied is not None:
                try:
                    async with source.copied() as copy:
                        await self._read(copy)
                except OSError as error:
                    lost = Source(
                        source.path, source.kind, source.size_bytes, source.mtime_ns, source.change_stamp, source.old,
                        source.sha256, source.documents, keep_old=source.keep_old, fault=file_fault(error),
                    )  # fmt: skip
                    await self._put(Piece(lost, end=True))

    async def _read(self, source: Source) -> None:
        try:
            await self._reader.read(source)
        except DocumentFault as fault:
            source.fault = fault
            source.read_again = fault.code is FailureCode.CHANGED and source.copied is not None
        except OSError as error:
            source.fault = file_fault(error)
        except StudioError:
            raise
        except Exception as error:  # a bug that one file brings to light is no reason to leave out the others
            log.error("%s could not be read because of a bug", source.path, exc_info=error)
            what = f"An internal error stopped the reading of this file: {type(error).__name__}: {error}."
            source.fault = DocumentFault(FailureCode.CRASHED, what)
        await self._put(Piece(source, end=True))

    # ------------------------------------------------------------ embedding

    async def _embed(self, group: asyncio.TaskGroup) -> None:
        """Form batches and start them; the bounded queue keeps two under way."""
        ended = False
        while not ended:
            batch: list[Piece] = []
            size = 0
            while size < CHUNKS_PER_BATCH and (not batch or not self._pieces.empty()):
                piece = await self._pieces.get()
                if self._pieces.qsize() <= PIECES_BEFORE_A_FILE:
                    self._room.set()
                if piece is None:
                    ended = True
                    break
                batch.append(piece)
                size += len(piece.chunks)
            if batch:
                await self._resources.control.proceed()
                await self._batches.put((batch, group.create_task(self._vectors_or_fault(batch))))
        await self._batches.put(None)

    async def _vectors_or_fault(self, batch: list[Piece]) -> tuple[Vectors, int]:
        try:
            return await self._vectors(batch)
        except (ModelFault, WorkerDied, InvariantViolated) as error:
            log.warning("a batch of %d documents' chunks could not be embedded: %s", len(batch), error)
            return _NOTHING, -1

    async def _vectors(self, batch: Sequence[Piece]) -> tuple[Vectors, int]:
        """Vectors of all chunks of a batch in order, and how many texts were embedded for them."""
        wanted: dict[str, str] = {}
        held: dict[str, Vectors] = {}
        for piece in batch:
            for chunk in piece.chunks:
                key = _key(chunk)
                vector = piece.reuse.get(key)
                if vector is None:
                    vector = self._salvaged.get(key)
                if vector is None:
                    wanted.setdefault(key, chunk.indexed_text)
                else:
                    held[key] = vector
        if not any(piece.chunks for piece in batch):
            return _NOTHING, 0
        held.update(await self._fresh(wanted))
        return np.stack([held[_key(chunk)] for piece in batch for chunk in piece.chunks]), len(wanted)

    async def _fresh(self, wanted: Mapping[str, str]) -> Mapping[str, Vectors]:
        """Embeddings of texts by key. Texts of like length travel together: none waits for a longer one."""
        if not wanted:
            return {}
        if self._resources.embedder is None:
            raise InvariantViolated("A job that only removes documents came upon one to embed.")
        keys = sorted(wanted, key=lambda key: len(wanted[key]))
        with self._resources.stages.busy(EMBED):
            vectors = await self._resources.embedder.embed([wanted[key] for key in keys])
        fresh = dict(zip(keys, vectors, strict=True))
        if self._resources.journal is not None:
            self._unwritten.update(fresh)
            await run_to_end(self._resources.journal.append, fresh.items())
        return fresh

    # ------------------------------------------------------------ writing

    async def _write(self) -> None:
        while (item := await self._batches.get()) is not None:
            batch, task = item
            vectors, embedded = await task
            if embedded >= 0:
                await self._write_batch(batch, vectors, embedded)
                continue
            for piece in batch:  # one text may be to blame: each document on its own
                try:
                    vectors, embedded = await self._vectors([piece])
                except (ModelFault, WorkerDied, InvariantViolated) as error:
                    self._failures_in_a_row += 1
                    if self._failures_in_a_row >= FAILURES_BEFORE_GIVING_UP:
                        raise
                    code = FailureCode.CRASHED if isinstance(error, WorkerDied) else FailureCode.BAD_VECTOR
                    self._writer.broken[piece.identity] = DocumentFault(code, error.full_message)
                    vectors, embedded = _NOTHING, 0
                    piece.chunks = ()
                await self._write_batch([piece], vectors, embedded)

    async def _write_batch(self, batch: Sequence[Piece], vectors: Vectors, embedded: int) -> None:
        if embedded:
            self._failures_in_a_row = 0
        self.outcome.embedded += embedded
        keys = [(_key(chunk), piece) for piece in batch for chunk in piece.chunks]
        self.outcome.reused += sum(key in piece.reuse for key, piece in keys)
        with self._resources.stages.busy("write"):
            for key, _ in keys:
                self._unwritten.pop(key, None)
            await self._writer.write(batch, vectors)


async def _put(pieces: asyncio.Queue[Piece | None], room: asyncio.Event, piece: Piece) -> None:
    await pieces.put(piece)
    if pieces.qsize() > PIECES_BEFORE_A_FILE:
        room.clear()


def _key(chunk: Chunk) -> str:
    return embedding_key(chunk.content_hash, chunk.context)
