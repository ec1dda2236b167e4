"""Generations of one knowledge base: begin, build, seal, discard.

How the guarantees come about:
  - `begin` registers the generation in the catalog before its first file exists, then puts the heads of the
    Lance tables back on the active version and links the parent's Tantivy directory.
  - `seal` commits both sides, compares their row counts, tags the Lance versions and flushes every file
    touched since `begin`; only then the catalog says `ready`.
  - `promote` is one catalog transaction.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from studio.concurrency import run_to_end
from studio.domain import (
    Chunk,
    DocumentRecord,
    Generation,
    GenerationState,
    KbSettings,
    KnowledgeBase,
    ModelIdentity,
    Vectors,
)
from studio.errors import Busy, Conflict, InvariantViolated, NotFound, StorageFault, StudioError
from studio.failpoints import reach
from studio.index.catalog import Names, evidence, names_after
from studio.index.files import FileLock, create_lock_file, flush_tree, try_lock
from studio.index.generations.checkpoints import Checkpoint
from studio.index.generations.footprint import files_of
from studio.index.generations.generation_reader import GenerationReader, refuse_newer
from studio.index.keywords import LEXICAL_VERSION, LexicalReader, LexicalWriter, has_every_field
from studio.index.vectors import ROWS_VERSION, TableWriter, fresh_table_for, table_for
from studio.ways_out import AdoptFiles, FinishDeletion

MERGE_EVERY = 4
"""Delta indexes are merged and fragments joined in every fourth build: query time stays flat at a
hundredth of the writing that merging every time costs (16 generations: p50 3.1 ms, unmerged 9 ms)."""

CHUNKS_PER_WRITE = 4096
SMALL_WRITE = 512
"""Chunks written at once where memory is short: some 2 MB instead of 15."""
CHUNKS_PER_COMMIT = 4096
"""Where memory is short the keywords of so many are written as a segment of their own; it takes 30 ms."""
DOCUMENTS_PER_WRITE = 2048

log = logging.getLogger(__name__)


def tag_of(number: int) -> str:
    """Name of a generation's tag, directory and lease file."""
    return f"g{number}"


class Doubtful(StorageFault):
    """A knowledge base may not be changed before a person has said what is to become of its files."""


class GenerationStore(GenerationReader):
    """All generations of one knowledge base: what `GenerationReader` reads, and building new ones."""

    async def lock_for_writing(self, name: str, *, to_delete: bool = False) -> FileLock:
        """The one writer's lock. Raises Busy when another process or job holds it, StorageFault when read-only, or,
        unless it is `to_delete` the base, when it may not be built on.
        """
        await self._catalog.require_writable()
        if not to_delete:
            await self.refuse_doubtful()
        lock = try_lock(self.paths.writer_lock, shared=False)
        if lock is None:
            raise Busy(
                f"“{name}” is being changed by another job or program.", way_out="Wait for it to finish and try again."
            )
        return lock

    async def refuse_doubtful(self) -> None:
        """Raise Doubtful where the files go beyond what the catalog knows: a build would write over them, a
        collection delete them. Also where a tombstone is up: what is added would go with the base. Raises NotFound.
        """
        found = await asyncio.to_thread(evidence, self.paths)
        horizon = await self._catalog.horizon(self.kb_id)
        if found.beyond(horizon):
            raise Doubtful(
                f"The catalog is older than the files of the knowledge base in {self.paths.root}, as one from a backup"
                " is.",
                way_out=AdoptFiles(),
            )
        if await asyncio.to_thread(self.paths.tombstone.exists):
            raise Doubtful(
                f"The knowledge base in {self.paths.root} was deleted, and the deletion did not come to its end.",
                way_out=FinishDeletion(),
            )

    async def begin(
        self,
        kb: KnowledgeBase,
        model: ModelIdentity,
        *,
        note: str,
        from_scratch: bool = False,
        new_table: bool = False,
        relist: bool = False,
    ) -> Build:
        """Start a build on top of `kb.active_generation`, or an empty one with `from_scratch`.

        With `new_table` its chunks get a table of their own: the one that its model has is damaged. With `relist` it
        has the chunks of the active one and no document rows, and its keyword index is made of the chunks.
        The caller holds the writer lock. Raises Conflict when another generation has become active since `kb` was
        read: what the caller compared its files with is not what it would build on.
        """
        await self.recover()
        generations = await self._catalog.generations(self.kb_id)
        parent = next((item for item in generations if item.state is GenerationState.ACTIVE), None)
        if kb.active_generation != (parent.number if parent else None):
            raise Conflict(f"Another generation of “{kb.name}” was made active just now.", way_out="Start again.")
        base = None if from_scratch else parent
        lease: FileLock | None = None
        if base is not None:
            refuse_newer(base)
            # A rollback and a collection by another process may come while the base is being linked.
            _, lease = await self._lease(base.number, follow_active=False)
        try:
            table = fresh_table_for(model, generations) if new_table else table_for(model, generations, base)
            return await self._begin(kb, model, table, parent, base, note, relist=relist)
        finally:
            if lease is not None:
                lease.release()

    async def _begin(
        self,
        kb: KnowledgeBase,
        model: ModelIdentity,
        table: str,
        parent: Generation | None,
        base: Generation | None,
        note: str,
        *,
        relist: bool,
    ) -> Build:
        generation = await self._catalog.begin_generation(
            self.kb_id,
            parent=parent.number if parent else None,
            settings=kb.settings,
            model=model,
            table=table,
            note=note,
            rows_version=ROWS_VERSION,
            lexical_version=LEXICAL_VERSION,
        )
        reach("begin.registered")
        started = time.time()
        lexical: LexicalWriter | None = None
        linked = None if relist else self._linkable(base, kb.settings)
        try:
            lexical = await self._lexical_writer(generation, kb.settings, linked)
            reach("begin.linked")
            tables = await self.vectors.writer(
                generation.chunks_table,
                model.dimension,
                base.chunks_version if base else None,
                base.documents_version if base and not relist else None,
            )
            if base is not None and linked is None:
                async for rows in tables.added_since(None):
                    await run_to_end(lexical.add_contents, rows)
        except BaseException:
            await self.discard(generation.number, "The build could not be started.", lexical)
            raise
        reach("begin.restored")
        return Build(self, generation, tables, lexical, started, base.number if base else None)

    def _linkable(self, base: Generation | None, settings: KbSettings) -> Path | None:
        """The keyword index that a build on `base` can start from, None where it is made anew from the rows: its terms
        are those of another analysis or language.
        """
        if base is None or base.lexical_version != LEXICAL_VERSION or base.settings.language != settings.language:
            return None
        path = self.paths.lexical_generation(base.number)
        return path if has_every_field(path) else None

    async def _lexical_writer(self, generation: Generation, settings: KbSettings, linked: Path | None) -> LexicalWriter:
        path, heap = self.paths.lexical_generation(generation.number), self.caches.lexical_heap_bytes
        return await asyncio.to_thread(LexicalWriter, path, settings.language, linked, heap_bytes=heap)

    async def seal(self, build: Build) -> Generation:
        """Make a finished build durable and `ready`. Raises InvariantViolated when its halves differ."""
        number = build.generation.number
        merge = number % MERGE_EVERY == 0
        await build.flush()
        await run_to_end(build.lexical.seal)
        reach("seal.keywords")
        settings = build.generation.settings
        base = await self._generation_or_none(build.base)
        sealed = await build.tables.seal(
            tag_of(number), metric=settings.metric, index=settings.index, base=base, merge=merge
        )
        reach("seal.tables")
        build.tables.close()
        directory = self.paths.lexical_generation(number)
        reader = await asyncio.to_thread(LexicalReader, directory, settings.language)
        if reader.chunks != sealed.chunks:
            raise InvariantViolated(
                f"Generation {number} has {sealed.chunks} vectors but {reader.chunks} keyword entries "
                "and was not promoted."
            )
        del reader
        await asyncio.to_thread(create_lock_file, self.paths.lease(number))
        await asyncio.to_thread(flush_tree, (self.paths.vectors, self.paths.lexical, self.paths.texts), build.started_s)
        reach("seal.flushed")
        complete = replace(
            build.generation, chunks_version=sealed.chunks_version, documents_version=sealed.documents_version
        )
        size, own = await self._sizes(complete)
        names = await self._names(complete)
        ready = await self._catalog.mark_ready(
            self.kb_id,
            number,
            chunks_version=sealed.chunks_version,
            documents_version=sealed.documents_version,
            documents=sealed.documents,
            chunks=sealed.chunks,
            size_bytes=size,
            own_bytes=own,
            ann=sealed.ann,
            names=names,
        )
        reach("seal.ready")
        return ready

    async def _generation_or_none(self, number: int | None) -> Generation | None:
        with suppress(NotFound):  # archived and collected while this was built on it
            return await self._catalog.generation(self.kb_id, number) if number is not None else None
        return None

    async def _names(self, generation: Generation) -> Names:
        """What tags and judgments call the files of a generation by: those that moved since its parent as before."""
        parent = await self._generation_or_none(generation.parent)
        if parent is None:
            return Names()
        names = await self._catalog.names.of(self.kb_id, parent.number)
        try:
            before, after = await self._contents(parent), await self._contents(generation)
        except StorageFault as fault:  # it is replaced because it is damaged, perhaps
            log.warning("which files moved since generation %d is not known: %s", parent.number, fault)
            return names
        return await asyncio.to_thread(names_after, names, before, after, generation.number)

    async def _contents(self, generation: Generation) -> dict[str, str]:
        """Path → SHA-256 of each file of a generation."""
        tables = await self.vectors.reader(
            generation.chunks_table, generation.chunks_version, generation.documents_version
        )
        try:
            rows = await tables.document_columns(("source_path", "sha256"))
        finally:
            tables.close()
        return await asyncio.to_thread(
            lambda: dict(zip(rows["source_path"].to_pylist(), rows["sha256"].to_pylist(), strict=True))
        )

    async def _sizes(self, generation: Generation) -> tuple[int, int]:
        """(bytes a generation reads, those of them that its parent does not)."""
        files = await files_of(self, generation)
        before: Mapping[int, int] = {}
        if generation.parent is not None:
            with suppress(StudioError):  # a parent that is damaged, or was collected meanwhile, shares nothing
                parent = await self._catalog.generation(self.kb_id, generation.parent)
                before = await files_of(self, parent)
        return sum(files.values()), sum(size for name, size in files.items() if name not in before)

    async def discard(self, number: int, error: str, lexical: LexicalWriter | None = None) -> None:
        """Mark a build as failed and remove what it left; its table rows go with the next `begin`.

        Files are removed only where the catalog says that it never became ready: a build that was promoted a moment
        ago, while its job was being cancelled, stays whole.
        """

        async def mark_failed() -> None:
            await self._catalog.set_state(self.kb_id, number, GenerationState.FAILED, error)

        with suppress(StorageFault):  # on a full disk the files of the build have to go first
            await mark_failed()
        found = await self._catalog.generation(self.kb_id, number)
        if found.state not in (GenerationState.BUILDING, GenerationState.FAILED):
            return
        if lexical is not None:
            await run_to_end(lexical.abandon)
        else:
            await asyncio.to_thread(shutil.rmtree, self.paths.lexical_generation(number), ignore_errors=True)
        with suppress(StudioError):  # the tag is also dropped when the failed generation is collected
            await self.vectors.drop_tag(tag_of(number))
        if found.state is GenerationState.BUILDING:
            await mark_failed()

    async def checkpoint(
        self, build: Build, open_documents: Iterable[str], open_paths: Iterable[str], counts: Mapping[str, int]
    ) -> Checkpoint:
        """Write what a build has buffered and hold its tables as they are; the caller tells the catalog."""
        await build.flush()
        generation = build.generation
        reach("checkpoint.written")
        chunks, documents = await build.tables.mark(tag_of(generation.number))
        reach("checkpoint.tagged")
        return Checkpoint(
            generation.number, build.base, chunks, documents, build.started_s, tuple(open_documents), tuple(open_paths),
            counts,
        )  # fmt: skip

    async def reopen(self, kb: KnowledgeBase, model: ModelIdentity, found: Checkpoint) -> Build | None:
        """The build of a checkpoint, to go on with; None where it would not become what a new build becomes.

        That is so after another promotion or a change of settings or model, and where files of it are gone. The keyword
        side is made again from the rows: some two seconds per 100,000 of them. The caller holds the writer lock.
        """
        generations = {item.number: item for item in await self._catalog.generations(self.kb_id)}
        generation = generations.get(found.generation)
        if generation is None or generation.state is not GenerationState.BUILDING or generation.model != model:
            return None
        if generation.lexical_version != LEXICAL_VERSION:  # begun by an older program
            return None
        if generation.parent != kb.active_generation or not generation.settings.same_content(kb.settings):
            return None
        base = generations[found.base] if found.base is not None else None
        linked = self._linkable(base, kb.settings)
        lexical: LexicalWriter | None = None
        try:
            tables = await self.vectors.writer(
                generation.chunks_table, model.dimension, found.chunks_version, found.documents_version
            )
            await tables.delete_chunks(found.open_documents)
            lexical = await self._lexical_writer(generation, kb.settings, linked)
            async for rows in tables.added_since(base.chunks_version if base and linked else None):
                await run_to_end(lexical.add_contents, rows)
        except StorageFault as error:
            log.warning("the build of generation %d cannot go on: %s", generation.number, error)
            if lexical is not None:
                await run_to_end(lexical.abandon)
            return None
        reach("reopen.done")
        return Build(self, generation, tables, lexical, found.started_s, found.base)

    async def recover(self, mine: int | None = None) -> list[int]:
        """Discard builds that a crash left behind; under the writer lock no other program is building.

        Those that an unfinished job can go on with stay, but for the one that is `mine` to discard.
        """
        generations = await self._catalog.generations(self.kb_id)
        kept = (await self._catalog.jobs.suspended(self.kb_id)).keys() - {mine}
        dead = [
            item.number for item in generations if item.state is GenerationState.BUILDING and item.number not in kept
        ]
        for number in dead:
            log.info("discarding generation %d of %s, whose build was interrupted", number, self.kb_id)
            await self.discard(number, "The program ended while this generation was being built.")
        return dead


class Build:
    """A generation being written. Calls are serialised by the caller."""

    def __init__(
        self,
        store: GenerationStore,
        generation: Generation,
        tables: TableWriter,
        lexical: LexicalWriter,
        started_s: float,
        base: int | None,
    ) -> None:
        self.generation = generation
        self.tables = tables
        self.lexical = lexical
        self.started_s = started_s
        self.base = base
        self._store = store
        self._chunks: list[Chunk] = []
        self._vectors: list[Vectors] = []
        self._records: list[DocumentRecord] = []
        self._replaced: list[str] = []
        self._uncommitted = 0

    async def delete_documents(self, document_ids: Sequence[str]) -> None:
        """Delete the chunks of documents that no path refers to any more."""
        if document_ids:
            await self.tables.delete_chunks(document_ids)
            await run_to_end(self.lexical.delete, document_ids)
            reach("delete.documents")

    async def add_chunks(self, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Add chunks with their embeddings, shape (len(chunks), dimension); written some thousand at a time."""
        self._chunks.extend(chunks)
        self._vectors.extend(vectors)
        if len(self._chunks) >= (SMALL_WRITE if self._store.caches.small_builds else CHUNKS_PER_WRITE):
            await self._flush_chunks()

    async def add_record(self, record: DocumentRecord) -> None:
        """Add a document row."""
        self._records.append(record)
        if len(self._records) >= DOCUMENTS_PER_WRITE:
            await self._flush_records()

    def replace_path(self, path: str) -> None:
        """Drop the document rows of a source path; records added for it afterwards take their place."""
        self._records = [record for record in self._records if record.source_path != path]
        self._replaced.append(path)

    async def flush(self) -> None:
        """Write what is buffered."""
        await self._flush_chunks()
        await self._flush_records()

    async def abandon(self, error: str) -> None:
        """Give the build up; the active generation is untouched."""
        self.tables.close()
        await self._store.discard(self.generation.number, error, self.lexical)

    async def _flush_chunks(self) -> None:
        if self._chunks:
            chunks, vectors = self._chunks, np.stack(self._vectors)
            self._chunks, self._vectors = [], []
            await self.tables.append_chunks(self._store.kb_id, chunks, vectors)
            reach("write.chunks")
            await run_to_end(self.lexical.add, chunks)
            reach("write.keywords")
            self._uncommitted += len(chunks)
            if self._store.caches.small_builds and self._uncommitted >= CHUNKS_PER_COMMIT:
                self._uncommitted = 0
                await run_to_end(self.lexical.flush)

    async def suspend(self) -> None:
        """Let go of the files, as a killed process would: a checkpoint says how to go on."""
        self.tables.close()
        await run_to_end(self.lexical.abandon)

    async def _flush_records(self) -> None:
        replaced, self._replaced = self._replaced, []
        await self.tables.delete_paths(replaced)
        if self._records:
            records, self._records = self._records, []
            await self.tables.append_documents(records)
            reach("write.documents")
