"""Ingest: make a knowledge base match files and folders, as one new generation."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.documents.chunker import segment
from studio.documents.texts import has_texts, read_text
from studio.domain import (
    DocumentParser,
    DocumentRecord,
    DocumentStatus,
    Embedder,
    EmbedderProvider,
    FileState,
    Generation,
    IngestOptions,
    IngestReport,
    IngestStage,
    KnowledgeBase,
    ModelIdentity,
    ParsedDocument,
    ProgressSink,
    Vectors,
)
from studio.errors import DocumentFault, FailureCode, InvalidRequest, NotFound, StudioError
from studio.index.generations import Build, GenerationStore
from studio.index.rows import text_key
from studio.index.stores import Stores
from studio.services.pipeline import Pipeline
from studio.services.plan import Plan, basis_of, hash_or_none, plan_ingest, rows_by_path
from studio.services.progress import ProgressTracker
from studio.services.scan import Scan, scan
from studio.services.sources import Outcome, Source

log = logging.getLogger(__name__)

DEFAULT_OPTIONS = IngestOptions()

AfterPromotion = Callable[[str], Awaitable[None]]
"""Called with a knowledge base's id once a job has promoted a generation and let go of the writer lock."""


class IngestService:
    """Builds generations from files. One job per knowledge base at a time, enforced across processes."""

    def __init__(
        self, stores: Stores, embedders: EmbedderProvider, parser: DocumentParser, after_promotion: AfterPromotion
    ) -> None:
        self._stores = stores
        self._embedders = embedders
        self._parser = parser
        self._after_promotion = after_promotion

    async def ingest(
        self,
        kb: str,
        paths: Sequence[Path],
        options: IngestOptions = DEFAULT_OPTIONS,
        progress: ProgressSink | None = None,
    ) -> IngestReport:
        """Make the knowledge base match `paths`: add what is new, update what changed, drop what is gone.

        A named file is read even when it failed before. Raises NotFound, Busy, ModelFault, StorageFault; then the
        active generation is as it was. Cancelling the task cancels the job.
        """
        if not paths:
            raise InvalidRequest("Nothing to ingest: name at least one file or folder.")
        base = await self._stores.knowledge_base(kb)
        found = await asyncio.to_thread(scan, paths, options)
        with await self._stores.store(base.id).lock_for_writing(base.name):
            await self._match_settings(base, progress)
            base = await self._stores.knowledge_base(base.id)
            arguments = [str(path) for path in paths]
            job = await self._stores.thread.run(
                self._stores.catalog.jobs.create, base.id, arguments, {**asdict(options)}
            )
            tracker = ProgressTracker(job, base.id, progress)
            report = await self._job(job, tracker, self._ingest(job, base, found, options, tracker))
        return await self._collected(report)

    async def resume(self, kb: str, progress: ProgressSink | None = None) -> IngestReport:
        """Run the latest job again that was accepted and never ended. Raises NotFound when there is none."""
        base = await self._stores.knowledge_base(kb)
        job = await self._stores.thread.run(self._stores.catalog.jobs.unfinished, base.id)
        if job is None:
            raise NotFound(f"“{base.name}” has no unfinished job.")
        raw = {**job.options, "include": tuple(job.options["include"]), "exclude": tuple(job.options["exclude"])}
        report = await self.ingest(base.id, [Path(path) for path in job.paths], IngestOptions(**raw), progress)
        await self._stores.thread.run(self._stores.catalog.jobs.finish, job.id, "resumed", generation=report.generation)
        return report

    async def remove(self, kb: str, documents: Sequence[str]) -> IngestReport:
        """Remove documents by id or source path (a folder removes all below). Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        with await self._stores.store(base.id).lock_for_writing(base.name):
            plan = Plan(await self._records(base))
            for name in documents:
                absolute = str(Path(name).absolute())
                matches = [
                    record
                    for record in plan.existing
                    if name == record.document_id
                    or absolute == record.source_path
                    or (Path(record.source_path).is_relative_to(absolute) and absolute != "/")
                    or (record.external_id and name == record.external_id)
                ]
                if not matches:
                    raise NotFound(f"“{base.name}” has no document “{name}”.", way_out="See: rag-studio documents KB.")
                plan.removed.extend(record for record in matches if record not in plan.removed)
            job = await self._stores.thread.run(self._stores.catalog.jobs.create, base.id, list(documents), {})
            tracker = ProgressTracker(job, base.id, None)
            report = await self._job(job, tracker, self._run(job, base, plan, DEFAULT_OPTIONS, tracker, "removal"))
        return await self._collected(report)

    async def rebuild(self, kb: str, progress: ProgressSink | None = None) -> IngestReport:
        """Chunk and embed every document anew with the present settings, from the stored texts."""
        base = await self._stores.knowledge_base(kb)
        with await self._stores.store(base.id).lock_for_writing(base.name):
            report = await self._rebuild(base, progress)
        return await self._collected(report)

    async def _collected(self, report: IngestReport) -> IngestReport:
        if report.promoted:
            await self._after_promotion(report.kb_id)
        return report

    # ------------------------------------------------------------ jobs

    async def _job(self, job: str, tracker: ProgressTracker, work: Coroutine[Any, Any, IngestReport]) -> IngestReport:
        finish = self._stores.catalog.jobs.finish
        try:
            report = await work
        except asyncio.CancelledError:
            tracker.stage(IngestStage.CANCELLED)
            await self._stores.thread.run(finish, job, "cancelled")
            raise
        except StudioError as error:
            tracker.stage(IngestStage.FAILED)
            await self._stores.thread.run(finish, job, "failed", error=error.full_message)
            raise
        await self._stores.thread.run(finish, job, "done", generation=report.generation)
        tracker.stage(IngestStage.DONE)
        return report

    async def _ingest(
        self, job: str, kb: KnowledgeBase, found: Scan, options: IngestOptions, tracker: ProgressTracker
    ) -> IngestReport:
        tracker.stage(IngestStage.SCANNING)
        plan = await plan_ingest(await self._records(kb), found, options, self._parser, tracker)
        return await self._run(job, kb, plan, options, tracker, "ingest")

    async def _records(self, kb: KnowledgeBase) -> list[DocumentRecord]:
        if kb.active_generation is None:
            return []
        async with self._stores.store(kb.id).reading() as snapshot:
            return await snapshot.tables.documents()

    # ------------------------------------------------------------ building

    async def _run(
        self, job: str, kb: KnowledgeBase, plan: Plan, options: IngestOptions, tracker: ProgressTracker, note: str
    ) -> IngestReport:
        if not plan.sources and not plan.removed:
            outcome = Outcome(unchanged=plan.unchanged, failures=plan.failures)
            return _report(job, kb, None, False, outcome, tracker)
        store = self._stores.store(kb.id)
        tracker.stage(IngestStage.INDEXING)
        embedder, identity = await self._model(kb, needed=bool(plan.sources))
        build = await store.begin(kb, identity, note=note)
        try:
            outcome = await self._fill(build, embedder, kb, store, plan, options, tracker)
            outcome.unchanged += plan.unchanged
            outcome.failures = plan.failures + outcome.failures
            if not outcome.changed and kb.active_generation is not None:
                await build.abandon("nothing changed")
                await self._stores.thread.run(self._stores.catalog.forget_generation, kb.id, build.generation.number)
                return _report(job, kb, None, False, outcome, tracker)
            tracker.stage(IngestStage.SEALING)
            generation = await store.seal(build)
        except BaseException as error:
            await build.abandon(str(error) or type(error).__name__)
            raise
        if options.promote:
            await self._promote(kb, generation, tracker)
        for record in plan.removed:
            tracker.file(record.source_path, FileState.REMOVED)
        return _report(job, kb, generation.number, options.promote, outcome, tracker)

    async def _fill(
        self, build: Build, embedder: Embedder | None, kb: KnowledgeBase, store: GenerationStore, plan: Plan,
        options: IngestOptions, tracker: ProgressTracker,
    ) -> Outcome:  # fmt: skip
        basis = await asyncio.to_thread(basis_of, plan)
        await build.tables.delete_paths(basis.rewritten_paths)
        for record in basis.carried_over:
            await build.add_record(record)

        async def embeddings_of(document_ids: Sequence[str]) -> Mapping[str, Vectors]:
            async with store.reading() as snapshot:
                same_model = snapshot.generation.model == build.generation.model
                return await snapshot.tables.embeddings_of(document_ids) if same_model else {}

        pipeline = Pipeline(
            build, embedder, kb.settings, store.paths.texts, tracker,
            known=basis.known, copies=basis.copies, untouched=basis.untouched, embeddings_of=embeddings_of,
        )  # fmt: skip
        return await pipeline.run(plan.sources, plan.removed, options.jobs)

    async def _model(self, kb: KnowledgeBase, *, needed: bool) -> tuple[Embedder | None, ModelIdentity]:
        """The embedder and its identity; for a mere removal the identity alone, so that it works without the model."""
        if not needed and kb.active_generation is not None:
            active = await self._stores.thread.run(self._stores.catalog.generation, kb.id, kb.active_generation)
            if active.model is not None:
                return None, active.model
        embedder = await self._embedders.embedder(kb.settings.model)
        return embedder, embedder.model.identity

    async def _promote(self, kb: KnowledgeBase, generation: Generation, tracker: ProgressTracker) -> None:
        # Never inside the block that abandons a build: a cancellation can arrive when the transaction has committed.
        tracker.stage(IngestStage.PROMOTING)
        await self._stores.thread.run(self._stores.catalog.promote, kb.id, generation.number)

    # ------------------------------------------------------------ rebuilding

    async def _match_settings(self, kb: KnowledgeBase, progress: ProgressSink | None) -> None:
        """A changed model or chunk size means every vector is stale: rebuild before adding to them."""
        if kb.active_generation is None:
            return
        active = await self._stores.thread.run(self._stores.catalog.generation, kb.id, kb.active_generation)
        if active.settings != kb.settings:
            await self._rebuild(kb, progress)

    async def _rebuild(self, kb: KnowledgeBase, progress: ProgressSink | None) -> IngestReport:
        if kb.active_generation is None:
            raise NotFound(
                f"“{kb.name}” is empty: there is nothing to rebuild.", way_out="Ingest some documents first."
            )
        job = await self._stores.thread.run(self._stores.catalog.jobs.create, kb.id, [], {"rebuild": True})
        tracker = ProgressTracker(job, kb.id, progress)
        return await self._job(job, tracker, self._rebuilt(job, kb, tracker))

    async def _rebuilt(self, job: str, kb: KnowledgeBase, tracker: ProgressTracker) -> IngestReport:
        store = self._stores.store(kb.id)
        records = await self._records(kb)
        by_path = rows_by_path(records)
        tracker.expect(by_path)
        tracker.stage(IngestStage.INDEXING)
        embedder = await self._embedders.embedder(kb.settings.model)
        build = await store.begin(kb, embedder.model.identity, note="rebuild", from_scratch=True)
        try:
            sources = []
            for path, items in by_path.items():
                for item in items:
                    if item.status is DocumentStatus.FAILED:
                        await build.add_record(item)
                        tracker.file(path, FileState.FAILED, error=item.error, reason=item.reason)
                if any(item.status is DocumentStatus.INDEXED for item in items):
                    indexed = [item for item in items if item.status is DocumentStatus.INDEXED]
                    sources.append(self._stored_source(store, Path(path), indexed))

            async def nothing(_: Sequence[str]) -> Mapping[str, Vectors]:
                return {}

            pipeline = Pipeline(
                build, embedder, kb.settings, store.paths.texts, tracker,
                known={}, copies={}, untouched=Counter(), embeddings_of=nothing,
            )  # fmt: skip
            outcome = await pipeline.run(sources, (), 1)
            tracker.stage(IngestStage.SEALING)
            generation = await store.seal(build)
        except BaseException as error:
            await build.abandon(str(error) or type(error).__name__)
            raise
        await self._promote(kb, generation, tracker)
        return _report(job, kb, generation.number, True, outcome, tracker)

    def _stored_source(self, store: GenerationStore, path: Path, records: list[DocumentRecord]) -> Source:
        """A source whose documents come from the stored texts; from the file itself where those are gone."""
        first = records[0]
        key = text_key(first.sha256, first.kind)

        async def sha256() -> str:
            return first.sha256

        async def documents() -> AsyncIterator[ParsedDocument]:
            if not await asyncio.to_thread(has_texts, store.paths.texts, key):
                if await hash_or_none(path) != first.sha256:
                    raise DocumentFault(
                        FailureCode.VANISHED,
                        "The stored text of this document is gone, and its file is gone or was changed.",
                        way_out="Ingest it again.",
                    )
                async for parsed in self._parser.parse(path):
                    yield parsed
                return
            for record in records:
                stored = await asyncio.to_thread(read_text, store.paths.texts, key, record.row)
                segments = await asyncio.to_thread(segment, stored.text, stored.spans)
                yield ParsedDocument(
                    text=stored.text, spans=stored.spans, segments=segments, kind=record.kind,
                    title=record.title, author=record.author, licence=record.licence,
                    external_id=record.external_id, row=record.row, pages=record.pages,
                )  # fmt: skip

        return Source(
            path, first.kind, first.size_bytes, first.mtime_ns, records, sha256=sha256, documents=documents,
            store_texts=False,
        )  # fmt: skip


def _report(
    job: str, kb: KnowledgeBase, generation: int | None, promoted: bool, outcome: Outcome, tracker: ProgressTracker
) -> IngestReport:
    seconds = tracker.elapsed_s
    return IngestReport(
        job_id=job, kb_id=kb.id, generation=generation, promoted=promoted and generation is not None,
        added=outcome.added, updated=outcome.updated, unchanged=outcome.unchanged, removed=outcome.removed,
        failed=tuple(sorted(outcome.failures, key=lambda item: item.path)), chunks_added=outcome.chunks_added,
        embedded=outcome.embedded, reused=outcome.reused, seconds=seconds,
        chunks_per_second=outcome.chunks_added / seconds if seconds else 0.0,
    )  # fmt: skip
