"""Ingest: make a knowledge base match files and folders, as one new generation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from studio.domain import (
    DocumentParser,
    DocumentRecord,
    Embedder,
    EmbedderProvider,
    FileState,
    Generation,
    GenerationState,
    IngestOptions,
    IngestReport,
    IngestStage,
    JobKind,
    JobState,
    KnowledgeBase,
    ModelIdentity,
    ProgressSink,
    Vectors,
)
from studio.errors import Conflict, InvalidRequest, NotFound, StudioError
from studio.index.generations import Build, GenerationStore
from studio.index.stores import Stores
from studio.services.pipeline import Pipeline
from studio.services.plan import Plan, basis_of, plan_ingest
from studio.services.progress import ProgressTracker
from studio.services.promotion import Promotion, way_past
from studio.services.rebuild import plan_restoring, rebuild, reindex
from studio.services.scan import Scan, scan
from studio.services.sources import Outcome

log = logging.getLogger(__name__)

DEFAULT_OPTIONS = IngestOptions()
RESTORE = "restore"
"""Option of a job that brings the documents of a generation back: the generation's number."""

AfterPromotion = Callable[[str], Awaitable[None]]
"""Called with a knowledge base's id once a job has promoted a generation and let go of the writer lock."""


class IngestService:
    """Builds generations from files. One job per knowledge base at a time, enforced across processes."""

    def __init__(
        self,
        stores: Stores,
        embedders: EmbedderProvider,
        parser: DocumentParser,
        promotion: Promotion,
        after_promotion: AfterPromotion,
    ) -> None:
        self._stores = stores
        self._embedders = embedders
        self._parser = parser
        self._promotion = promotion
        self._after_promotion = after_promotion

    async def ingest(
        self,
        kb: str,
        paths: Sequence[Path],
        options: IngestOptions = DEFAULT_OPTIONS,
        progress: ProgressSink | None = None,
    ) -> IngestReport:
        """Make the knowledge base match `paths`: add what is new, update what changed, drop what is gone.

        A named file is read even when it failed before. A generation that fails its pinned queries is not promoted,
        and the next job starts from the active one again. Raises NotFound, Busy, Conflict, ModelFault, StorageFault;
        then the active generation is as it was. Cancelling the task cancels the job.
        """
        if not paths:
            raise InvalidRequest("Nothing to ingest: name at least one file or folder.")
        base = await self._stores.knowledge_base(kb)
        found = await asyncio.to_thread(scan, paths, options)
        with await self._stores.store(base.id).lock_for_writing(base.name):
            await self._match_settings(base, progress)
            base = await self._stores.knowledge_base(base.id)
            job = await self._accept(base, JobKind.INGEST, [str(path) for path in paths], asdict(options))
            tracker = ProgressTracker(job, base.id, progress)
            report = await self._job(job, tracker, self._ingest(job, base, found, options, tracker))
        return await self._collected(report)

    async def resume(self, kb: str, progress: ProgressSink | None = None) -> IngestReport:
        """Run the latest job again that was accepted and never ended. Raises NotFound when there is none."""
        base = await self._stores.knowledge_base(kb)
        job = await self._stores.thread.run(self._stores.catalog.jobs.unfinished, base.id)
        if job is None:
            raise NotFound(f"“{base.name}” has no unfinished job.")
        match job.kind:
            case JobKind.REINDEX:
                report = await self.reindex(base.id, job.paths, progress)
            case JobKind.RESTORE:
                report = await self.restore(base.id, job.options[RESTORE], progress)
            case JobKind.REBUILD:
                report = await self.rebuild(base.id, progress)
            case JobKind.REMOVE:
                report = await self.remove(base.id, job.paths)
            case JobKind.INGEST:
                report = await self.ingest(base.id, [Path(path) for path in job.paths], job.ingest_options, progress)
        finish = self._stores.catalog.jobs.finish
        await self._stores.thread.run(finish, job.id, JobState.RESUMED, generation=report.generation)
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
            if active := await self._active(base):
                base = replace(base, settings=active.settings)  # those that made the chunks it carries over
            job = await self._accept(base, JobKind.REMOVE, documents)
            tracker = ProgressTracker(job, base.id, None)
            report = await self._job(job, tracker, self._run(job, base, plan, DEFAULT_OPTIONS, tracker, "removal"))
        return await self._collected(report)

    async def rebuild(
        self, kb: str, progress: ProgressSink | None = None, *, lost: Sequence[DocumentRecord] | None = None
    ) -> IngestReport:
        """Chunk and embed every document anew with the present settings, from the stored texts.

        `lost` are the documents of an active generation that cannot be read; the new one shares no chunk with it.
        """
        base = await self._stores.knowledge_base(kb)
        with await self._stores.store(base.id).lock_for_writing(base.name):
            report = await self._rebuild(base, progress, lost)
        return await self._collected(report)

    async def reindex(self, kb: str, documents: Sequence[str], progress: ProgressSink | None = None) -> IngestReport:
        """Read documents again whose rows or stored texts are damaged, although their files did not change.

        Of a file that is gone the stored text is taken. What cannot be read again stays as it is and is reported
        among the failed. Raises NotFound, Busy, StorageFault, and ModelFault, after which the job waits for `resume`.
        """
        base = await self._stores.knowledge_base(kb)
        with await self._stores.store(base.id).lock_for_writing(base.name):
            await self._match_settings(base, progress)
            base = await self._stores.knowledge_base(base.id)
            waiting = await self._stores.thread.run(self._stores.catalog.jobs.unfinished, base.id, JobKind.REINDEX)
            if waiting is not None:
                documents = [*dict.fromkeys((*waiting.paths, *documents))]
            job = await self._accept(base, JobKind.REINDEX, documents)
            embedder = await self._embedders.embedder(base.settings.model)
            tracker = ProgressTracker(job, base.id, progress)
            report = await self._job(job, tracker, self._reindexed(job, base, embedder, documents, tracker))
        return await self._collected(report)

    async def restore(self, kb: str, number: int, progress: ProgressSink | None = None) -> IngestReport:
        """Give the active generation the documents of another one, whose chunks cannot be read any more.

        What both have in common stays; the rest is read from the files as they are now, or from stored texts.
        Raises NotFound, Busy, StorageFault, and ModelFault, after which the job waits for `resume`.
        """
        base = await self._stores.knowledge_base(kb)
        store = self._stores.store(base.id)
        with await store.lock_for_writing(base.name):
            lost = await self._stores.thread.run(self._stores.catalog.generation, base.id, number)
            wanted = await store.vectors.records(lost.documents_version)
            plan = await plan_restoring(await self._records(base), wanted, self._parser, store.paths.texts)
            job = await self._accept(base, JobKind.RESTORE, [], {RESTORE: number})
            await self._model(base, needed=bool(plan.sources))
            tracker = ProgressTracker(job, base.id, progress)
            report = await self._job(job, tracker, self._run(job, base, plan, DEFAULT_OPTIONS, tracker, "repair"))
        return await self._collected(report)

    async def _collected(self, report: IngestReport) -> IngestReport:
        if report.promoted:
            await self._after_promotion(report.kb_id)
        return report

    # ------------------------------------------------------------ jobs

    async def _accept(
        self, kb: KnowledgeBase, kind: JobKind, paths: Sequence[str], options: Mapping[str, Any] | None = None
    ) -> str:
        """Write a job down, which then survives a crash, in the place of a repair that waits. Returns its id."""
        jobs, waiting = self._stores.catalog.jobs, None
        if kind in (JobKind.REINDEX, JobKind.RESTORE):
            waiting = await self._stores.thread.run(jobs.unfinished, kb.id, kind)
        return await self._stores.thread.run(
            jobs.create, kb.id, kind, paths, options or {}, replaces=waiting.id if waiting else ""
        )

    async def _job(self, job: str, tracker: ProgressTracker, work: Coroutine[Any, Any, IngestReport]) -> IngestReport:
        finish = self._stores.catalog.jobs.finish
        try:
            report = await work
        except asyncio.CancelledError:
            tracker.stage(IngestStage.CANCELLED)
            await self._stores.thread.run(finish, job, JobState.CANCELLED)
            raise
        except StudioError as error:
            tracker.stage(IngestStage.FAILED)
            await self._stores.thread.run(finish, job, JobState.FAILED, error=error.full_message)
            raise
        await self._stores.thread.run(finish, job, JobState.DONE, generation=report.generation)
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
        async with self._stores.store(kb.id).reading(kb.active_generation) as snapshot:
            return await snapshot.tables.documents()

    # ------------------------------------------------------------ building

    async def _run(
        self, job: str, kb: KnowledgeBase, plan: Plan, options: IngestOptions, tracker: ProgressTracker, note: str
    ) -> IngestReport:
        if not plan.sources and not plan.removed:
            outcome = Outcome(unchanged=plan.unchanged, failures=plan.failures)
            return _report(job, kb, None, outcome, tracker)
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
                return _report(job, kb, None, outcome, tracker)
            tracker.stage(IngestStage.SEALING)
            generation = await store.seal(build)
        except BaseException as error:
            await build.abandon(str(error) or type(error).__name__)
            raise
        await self._annotate(generation, note, _summary(outcome))
        held = await self._promote(kb, generation, tracker) if options.promote else ""
        for record in plan.removed:
            tracker.file(record.source_path, FileState.REMOVED)
        return _report(job, kb, generation.number, outcome, tracker, promoted=options.promote, held=held)

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
        active = await self._active(kb)
        if not needed and active is not None and active.model is not None:
            return None, active.model
        embedder = await self._embedders.embedder(kb.settings.model)
        return embedder, embedder.model.identity

    async def _active(self, kb: KnowledgeBase) -> Generation | None:
        if kb.active_generation is None:
            return None
        return await self._stores.thread.run(self._stores.catalog.generation, kb.id, kb.active_generation)

    async def _annotate(self, generation: Generation, doing: str, summary: str) -> None:
        note = f"{doing}: {summary}" if summary else doing
        await self._stores.thread.run(self._stores.catalog.annotate, generation.kb_id, generation.number, note=note)

    async def _promote(self, kb: KnowledgeBase, generation: Generation, tracker: ProgressTracker) -> str:
        """Returns why the generation is held back, "" when it is active."""
        # Never inside the block that abandons a build: a cancellation can arrive when the transaction has committed.
        tracker.stage(IngestStage.PROMOTING)
        return await self._promotion.promote(generation, built=True)

    # ------------------------------------------------------------ rebuilding

    async def _match_settings(self, kb: KnowledgeBase, progress: ProgressSink | None) -> None:
        """A changed model or chunk size means every vector is stale: rebuild before adding to them.

        A rebuild that was held back is tried again before another one is made. Raises Conflict while it is held: what
        has the new settings cannot be built on the active generation.
        """
        active = await self._active(kb)
        if active is None or active.settings == kb.settings:
            return
        waiting = await self._waiting_rebuild(kb, active)
        if waiting is None:
            report = await self._rebuild(kb, progress)
            number, held = report.generation, report.held
        else:
            number, held = waiting.number, await self._promotion.promote(waiting, built=True)
        if number is not None and held:
            raise Conflict(
                f"Nothing was added: the settings of “{kb.name}” changed, and generation {number}, which was rebuilt "
                f"with them, is not active. {held}",
                way_out=way_past(number),
            )

    async def _waiting_rebuild(self, kb: KnowledgeBase, active: Generation) -> Generation | None:
        """A ready generation made of the active one with the present settings."""
        for item in await self._stores.thread.run(self._stores.catalog.generations, kb.id):
            if item.state is GenerationState.READY and item.parent == active.number and item.settings == kb.settings:
                return item
        return None

    async def _rebuild(
        self,
        kb: KnowledgeBase,
        progress: ProgressSink | None,
        lost: Sequence[DocumentRecord] | None = None,
    ) -> IngestReport:
        if kb.active_generation is None:
            raise NotFound(
                f"“{kb.name}” is empty: there is nothing to rebuild.", way_out="Ingest some documents first."
            )
        job = await self._accept(kb, JobKind.REBUILD, [])
        tracker = ProgressTracker(job, kb.id, progress)
        return await self._job(job, tracker, self._rebuilt(job, kb, tracker, lost))

    async def _reindexed(
        self,
        job: str,
        kb: KnowledgeBase,
        embedder: Embedder,
        documents: Sequence[str],
        tracker: ProgressTracker,
    ) -> IngestReport:
        store, existing = self._stores.store(kb.id), await self._records(kb)
        generation, outcome = await reindex(store, kb, embedder, self._parser, existing, documents, tracker)
        if generation is None:
            return _report(job, kb, None, outcome, tracker)
        await self._annotate(generation, "repair", _summary(outcome))
        held = await self._promote(kb, generation, tracker)
        return _report(job, kb, generation.number, outcome, tracker, promoted=True, held=held)

    async def _rebuilt(
        self, job: str, kb: KnowledgeBase, tracker: ProgressTracker, lost: Sequence[DocumentRecord] | None
    ) -> IngestReport:
        store = self._stores.store(kb.id)
        records = await self._records(kb) if lost is None else lost
        embedder = await self._embedders.embedder(kb.settings.model)
        broken = await self._active(kb) if lost is not None else None
        generation, outcome = await rebuild(store, kb, embedder, self._parser, records, tracker, broken=broken)
        await self._annotate(generation, "rebuild", f"{generation.documents} documents with {kb.settings.model}")
        held = await self._promote(kb, generation, tracker)
        return _report(job, kb, generation.number, outcome, tracker, promoted=True, held=held)


def _summary(outcome: Outcome) -> str:
    """“3 added, 1 removed”: what a job did to documents."""
    counts = {
        "added": outcome.added, "updated": outcome.updated, "removed": outcome.removed,
        "failed": len(outcome.failures),
    }  # fmt: skip
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _report(
    job: str, kb: KnowledgeBase, generation: int | None, outcome: Outcome, tracker: ProgressTracker, *,
    promoted: bool = False, held: str = "",
) -> IngestReport:  # fmt: skip
    """`promoted`: it was meant to be, and is unless `held` says why not."""
    seconds = tracker.elapsed_s
    return IngestReport(
        job_id=job, kb_id=kb.id, generation=generation, promoted=promoted and not held,
        added=outcome.added, updated=outcome.updated, unchanged=outcome.unchanged, removed=outcome.removed,
        failed=tuple(sorted(outcome.failures, key=lambda item: item.path)), chunks_added=outcome.chunks_added,
        embedded=outcome.embedded, reused=outcome.reused, seconds=seconds,
        chunks_per_second=outcome.chunks_added / seconds if seconds else 0.0, held=held,
    )  # fmt: skip
