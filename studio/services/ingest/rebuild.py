"""Builds that take documents anew although no file changed: all of them, or some whose rows or texts are damaged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.documents.chunking import segment
from studio.documents.texts import read_text, texts_are_sound
from studio.domain import (
    DocumentParser,
    DocumentRecord,
    DocumentStatus,
    Embedder,
    FileFailure,
    FileState,
    Generation,
    IngestStage,
    KnowledgeBase,
    ModelIdentity,
    ParsedDocument,
    Vectors,
)
from studio.errors import DocumentFault, FailureCode, NotFound, StorageFault
from studio.index.generations import Build, GenerationStore
from studio.index.vectors import readable_embeddings, table_folder, text_key
from studio.services.ingest.pipeline import Embeddings, Pipeline, PipelineResources
from studio.services.ingest.plan import Basis, Plan, file_source, folders_of, rows_by_path
from studio.services.ingest.progress import ProgressTracker
from studio.services.ingest.runner import Run
from studio.services.ingest.sources import Outcome, Source
from studio.services.scan import scanned
from studio.ways_out import PutFileBack

UNREADABLE = "Neither the file nor its stored text can be read."


async def plan_rebuild(
    store: GenerationStore,
    parser: DocumentParser,
    records: Sequence[DocumentRecord],
    tracker: ProgressTracker,
    done: Collection[str] = (),
) -> tuple[Plan, list[DocumentRecord]]:
    """How to chunk and embed all of these documents from their stored texts, into an empty generation.

    The paths in `done` are in it already. Also returns the rows of files that could not be indexed: they stay.
    """
    by_path, plan, failed = rows_by_path(records), Plan([]), []
    tracker.expect((path, items[0].size_bytes) for path, items in by_path.items())
    for path, items in by_path.items():
        if path in done:
            tracker.file(path, FileState.INDEXED)
            continue
        for item in items:
            if item.status is DocumentStatus.FAILED:
                failed.append(item)
                tracker.file(path, FileState.FAILED, error=item.error, reason=item.reason)
        if indexed := [item for item in items if item.status is DocumentStatus.INDEXED]:
            plan.sources.append(await _kept_source(parser, store.paths.texts, Path(path), indexed))
    return plan, failed


async def rescued_embeddings(store: GenerationStore, broken: Generation, model: ModelIdentity) -> Embeddings:
    """Embeddings, by key, out of those files of a generation that can still be read, for whatever is asked for."""
    saved: Mapping[str, Vectors] = {}
    if broken.model == model:
        table = table_folder(store.paths.vectors, broken.chunks_table)
        saved = await readable_embeddings(table, broken.chunks_version)

    async def embeddings_of(_: Sequence[str]) -> Mapping[str, Vectors]:
        return saved

    return embeddings_of


# ------------------------------------------------------------ some documents


@dataclass(slots=True)
class Reindexing:
    """Which files are read again, and which document ids lose their chunks before."""

    sources: list[Source] = field(default_factory=list)
    left: list[DocumentRecord] = field(default_factory=list)
    """Rows that stay as they are, because nothing is there to read again."""
    kept: list[DocumentRecord] = field(default_factory=list)
    """Every indexed row that is not rewritten."""
    stale: list[str] = field(default_factory=list)


async def plan_reindexing(
    existing: Sequence[DocumentRecord],
    documents: Sequence[str],
    parser: DocumentParser,
    texts: Path,
    skipped: Mapping[str, FileFailure],
) -> Reindexing:
    """Find what to read for some documents: whole files, and every file that shares a document with one of them.

    A file that is there is read as it is now; of one that is gone the stored text is taken. `skipped` are paths that
    could not be read. Ids that no row has stand for chunks without a document, which only go.
    """
    result = Reindexing()
    by_path = rows_by_path(existing)
    paths, ids = await asyncio.to_thread(_closure, by_path, documents)
    roots = folders_of(paths)
    for path in sorted(paths):
        old = by_path[path]
        indexed = [record for record in old if record.status is DocumentStatus.INDEXED]
        file = await asyncio.to_thread(scanned, Path(path))
        stored = bool(indexed) and await asyncio.to_thread(texts_are_sound, texts, _key(indexed[0]))
        if path in skipped:
            result.left.extend(indexed)
        elif file is not None:
            result.sources.append(file_source(file, old, parser, roots=roots))
        elif stored:
            result.sources.append(_stored_source(texts, Path(path), indexed))
        else:
            result.left.extend(indexed)
    read = {str(source.path) for source in result.sources}
    result.kept = [
        record for record in existing if record.status is DocumentStatus.INDEXED and record.source_path not in read
    ]
    result.stale = sorted(ids - {record.document_id for record in result.kept})
    return result


def _closure(by_path: Mapping[str, Sequence[DocumentRecord]], documents: Sequence[str]) -> tuple[set[str], set[str]]:
    """(paths that hold one of the documents, or share one with such a path; ids of all their documents)."""
    paths_of: dict[str, set[str]] = {}
    for path, records in by_path.items():
        for record in records:
            paths_of.setdefault(record.document_id, set()).add(path)
    paths: set[str] = set()
    ids: set[str] = set()
    pending = list(documents)
    while pending:
        identity = pending.pop()
        if identity in ids:
            continue
        ids.add(identity)
        for path in paths_of.get(identity, set()) - paths:
            paths.add(path)
            pending.extend(row.document_id for row in by_path[path] if row.status is DocumentStatus.INDEXED)
    return paths, ids


async def reindex(
    store: GenerationStore,
    kb: KnowledgeBase,
    embedder: Embedder,
    parser: DocumentParser,
    existing: Sequence[DocumentRecord],
    documents: Sequence[str],
    run: Run,
) -> tuple[Generation | None, Outcome]:
    """Replace the rows, chunks and texts of some documents on top of the active generation, and seal the result.

    A file that turns out not to be readable keeps what the active generation has of it: the build starts again
    without it. Returns no generation where nothing could be read.
    """
    skipped: dict[str, FileFailure] = {}
    while True:
        plan = await plan_reindexing(existing, documents, parser, store.paths.texts, skipped)
        failures = [*skipped.values(), *_failures(plan.left, skipped)]
        if not plan.sources and not plan.stale:
            return None, Outcome(unchanged=len(plan.kept), failures=failures)
        run.tracker.stage(IngestStage.INDEXING)
        build = await store.begin(kb, embedder.model.identity, note="repair")
        try:
            outcome = await _replace(build, kb, embedder, store.paths.texts, run, plan)
            broken = {item.path: item for item in outcome.failures if _is_broken(item.path, plan.sources)}
            if not broken:
                outcome.failures += failures
                outcome.unchanged += len(plan.kept)
                run.tracker.stage(IngestStage.SEALING)
                return await store.seal(build), outcome
        except BaseException as error:
            await build.abandon(str(error) or type(error).__name__)
            raise
        await build.abandon("some files could not be read again")
        skipped |= broken


async def _replace(
    build: Build,
    kb: KnowledgeBase,
    embedder: Embedder,
    texts: Path,
    run: Run,
    plan: Reindexing,
) -> Outcome:
    await build.tables.delete_paths(str(source.path) for source in plan.sources)
    await build.delete_documents(plan.stale)
    basis = Basis(
        known={record.document_id: record.chunks for record in plan.kept},
        copies={},
        references=Counter(record.document_id for record in plan.kept),
    )
    pipeline = Pipeline(
        build, PipelineResources(embedder, kb.settings, texts, run.tracker, run.control, run.stages), basis, _nothing
    )
    with run.place.using(embedder):
        await pipeline.run(plan.sources, (), 1)
    return pipeline.outcome


async def plan_restoring(
    existing: Sequence[DocumentRecord],
    wanted: Sequence[DocumentRecord],
    parser: DocumentParser,
    texts: Path,
    *,
    listed: bool,
) -> Plan:
    """What makes the documents of the active generation (`existing`) those of another one (`wanted`).

    Nothing is removed unless those are all that it had: it was `listed` wholly.
    """
    plan = Plan(list(existing))
    before = rows_by_path([record for record in existing if record.status is DocumentStatus.INDEXED])
    rows = rows_by_path([record for record in wanted if record.status is DocumentStatus.INDEXED])
    roots = folders_of(rows)
    for path, records in rows.items():
        old = before.pop(path, [])
        if {record.document_id for record in old} == {record.document_id for record in records}:
            plan.unchanged += len(old)
        elif (file := await asyncio.to_thread(scanned, Path(path))) is not None:
            plan.sources.append(file_source(file, old, parser, roots=roots))
        else:
            plan.sources.append(_stored_source(texts, Path(path), records, old, keep_old=bool(old)))
    if listed:
        plan.removed = [record for gone in before.values() for record in gone]
    return plan


def _is_broken(path: str, sources: Sequence[Source]) -> bool:
    return any(str(source.path) == path and source.fault is not None for source in sources)


def _failures(left: Sequence[DocumentRecord], reported: Mapping[str, FileFailure]) -> list[FileFailure]:
    paths = dict.fromkeys(record.source_path for record in left if record.source_path not in reported)
    return [FileFailure(path, FailureCode.VANISHED, f"{UNREADABLE} {PutFileBack()}") for path in paths]


async def _nothing(_: Sequence[str]) -> Mapping[str, Vectors]:
    return {}


# ------------------------------------------------------------ sources


def _key(record: DocumentRecord) -> str:
    return text_key(record.sha256, record.kind)


async def _kept_source(parser: DocumentParser, texts: Path, path: Path, records: list[DocumentRecord]) -> Source:
    """The stored texts of a file; the file itself, as it is now, where those are gone or damaged."""
    if not await asyncio.to_thread(texts_are_sound, texts, _key(records[0])):
        file = await asyncio.to_thread(scanned, path)
        if file is not None:
            return file_source(file, records, parser, keep_old=False)
    return _stored_source(texts, path, records)


def _stored_source(
    texts: Path,
    path: Path,
    records: Sequence[DocumentRecord],
    old: Sequence[DocumentRecord] | None = None,
    *,
    keep_old: bool = False,
) -> Source:
    """A source whose documents come from the stored texts. `old` is what the base of the build has of the file."""
    first = records[0]

    async def sha256() -> str:
        return first.sha256

    async def documents() -> AsyncIterator[ParsedDocument]:
        for record in records:
            try:
                parsed = await asyncio.to_thread(_stored, texts, record)
            except (NotFound, StorageFault) as error:
                raise DocumentFault(FailureCode.VANISHED, UNREADABLE, way_out=PutFileBack()) from error
            yield parsed

    return Source(
        path, first.kind, first.size_bytes, first.mtime_ns, first.change_stamp, records if old is None else old,
        sha256=sha256, documents=documents, store_texts=False, keep_old=keep_old,
    )  # fmt: skip


def _stored(texts: Path, record: DocumentRecord) -> ParsedDocument:
    stored = read_text(texts, _key(record), record.row)
    return ParsedDocument(
        text=stored.text, spans=stored.spans, segments=segment(stored.text, stored.spans), kind=record.kind,
        title=record.title, author=record.author, licence=record.licence, external_id=record.external_id,
        row=record.row, pages=record.pages, created=record.created, metadata=record.metadata,
    )  # fmt: skip
