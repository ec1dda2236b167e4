"""Ingest: make a knowledge base match files and folders, as one new generation."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from studio.domain import (
    DocumentParser,
    DocumentRecord,
    EmbedderProvider,
    Generation,
    GenerationState,
    IngestOptions,
    IngestReport,
    IngestStage,
    Job,
    JobKind,
    KnowledgeBase,
    ProgressSink,
)
from studio.errors import Conflict, StorageFault
from studio.index.files import set_aside
from studio.index.generations import READABLE, Stores
from studio.index.upkeep import table_opens
from studio.index.vectors import DOCUMENTS_TABLE, records_left, table_folder
from studio.services.generations import Promotion
from studio.services.ingest.builder import Builder, StartingPoint
from studio.services.ingest.control import JobControl
from studio.services.ingest.plan import Plan, plan_ingest
from studio.services.ingest.rebuild import plan_rebuild, plan_restoring, reindex, rescued_embeddings
from studio.services.ingest.removals import check_known
from studio.services.ingest.report import report_of
from studio.services.ingest.room import BuildRoom
from studio.services.ingest.runner import JobRunner, Run
from studio.services.ingest.sources import Outcome
from studio.services.library import Found, Naming, Way, naming
from studio.services.recovery import Salvage, mend_texts, salvage
from studio.services.scan import Scan, scan
from studio.ways_out import PromoteAnyway

log = logging.getLogger(__name__)

DEFAULT_OPTIONS: IngestOptions = IngestOptions()
RESTORE = "restore"
"""Option of a job that brings the documents of a generation back: the generation's number."""

AfterPromotion = Callable[[str], Awaitable[None]]
"""Called with a knowledge base's id once a job has promoted a generation and let go of the writer lock."""


class RebuildFirst(Exception):
    """The settings of a knowledge base changed: a job of it comes after a rebuild of what is there already."""


class IngestService:
    """Does the work of jobs: builds generations. One job per knowledge base at a time, enforced across processes."""

    def __init__(
        self,
        stores: Stores,
        embedders: EmbedderProvider,
        parser: DocumentParser,
        promotion: Promotion,
        after_promotion: AfterPromotion,
        room: BuildRoom | None = None,
    ) -> None:
        """Without `room` there is always memory for a build."""
        self._stores = stores
        self._parser = parser
        self._promotion = promotion
        self._after_promotion = after_promotion
        self._builder = Builder(stores, embedders, promotion)
        self._runner = JobRunner(stores, room or BuildRoom())

    async def execute(
        self, seen: Job, progress: ProgressSink | None, control: JobControl, passwords: Sequence[str] = ()
    ) -> IngestReport:
        """Run an accepted job that waits or was left running by a program that ended, from its checkpoint.

        Called by the queue. The job ends in the catalog as done or failed, or cancelled when `control` was. When the
        calling task is cancelled otherwise, it stays running there and goes on with the next call.

        What looks mislaid and not deleted (`removals`) is kept and reported, unless the options allow its removal. A
        named file is read even when it failed before. A generation that fails its pinned queries is not promoted, and
        the next job starts from the active one again.

        Raises Busy, also when the job was steered since the caller has `seen` it, RebuildFirst, Conflict when it
        has ended or its knowledge base waits for a rebuild that is held back, and NotFound, ModelFault, StorageFault,
        MemoryRefused; then the active generation is as it was.
        """
        base = await self._stores.knowledge_base(seen.kb_id)
        with await self._stores.store(base.id).lock_for_writing(base.name):
            job = await self._stores.catalog.jobs.get(seen.id)
            if job.state.ended:  # another process had the lock until now
                raise Conflict(f"Job {job.id} has ended already: it is {job.state}.")
            base = await self._stores.knowledge_base(base.id)
            if job.kind in (JobKind.INGEST, JobKind.REINDEX):
                base = await self._match_settings(base)
            as_seen = replace(job, state=seen.state, wish=seen.wish)
            report = await self._runner.run(as_seen, base, self._work_of(job), progress, control, passwords)
        return await self._collected(report)

    # ------------------------------------------------------------ before a job is accepted

    async def check(self, kb: KnowledgeBase, paths: Sequence[Path]) -> None:
        """Raise NotFound where a path is not there, and no document comes from it either."""
        gone = await asyncio.to_thread(lambda: [path for path in paths if not os.path.lexists(path)])
        if gone:
            await self._check_missing(kb, await self._scan(gone, DEFAULT_OPTIONS))

    async def named(self, kb: KnowledgeBase, documents: Sequence[str]) -> list[str]:
        """Ids and paths of documents that are named as `naming` reads it; they mean the same when others have come.

        Raises NotFound for a name that means none, InvalidRequest for one that means too much.
        """
        existing = await self._builder.records(kb)
        named = await naming(self._stores, kb, existing)
        found = await asyncio.to_thread(lambda: [named.meant(name) for name in documents])
        return _lasting(named, found)

    async def lacks_index(self, kb: KnowledgeBase) -> bool:
        """Whether a vector index is all that the active generation lacks to be as the settings ask for.

        False where other settings changed as well: the next ingest rebuilds it anyway.
        """
        active = await self._builder.active(kb)
        return active is not None and active.settings != kb.settings and active.settings.same_content(kb.settings)

    async def _collected(self, report: IngestReport) -> IngestReport:
        if report.promoted:
            await self._after_promotion(report.kb_id)
        return report

    # ------------------------------------------------------------ jobs

    def _work_of(self, job: Job) -> Callable[[Run], Awaitable[IngestReport]]:
        async def work(run: Run) -> IngestReport:
            match job.kind:
                case JobKind.INGEST:
                    options = job.ingest_options
                    return await self._ingest(
                        run, await self._scan([Path(path) for path in job.paths], options), options
                    )
                case JobKind.REMOVE:
                    return await self._remove(run, await self._plan_removal(run.kb, job.paths))
                case JobKind.REBUILD:
                    return await self._rebuilt(run, None)
                case JobKind.REINDEX:
                    return await self._reindexed(run)
                case JobKind.RESTORE:
                    return await self._restored(run)

        return work

    async def _scan(self, paths: Sequence[Path], options: IngestOptions) -> Scan:
        return await asyncio.to_thread(scan, paths, options, own=self._stores.paths.root)

    async def _check_missing(self, kb: KnowledgeBase, found: Scan) -> None:
        """Raise NotFound where a path that was given is not there, and no document comes from it either."""
        if found.missing:
            check_known(await self._builder.records(kb), found)

    async def _ingest(self, run: Run, found: Scan, options: IngestOptions) -> IngestReport:
        run.tracker.stage(IngestStage.SCANNING)
        await self._check_missing(run.kb, found)
        ready = await self._builder.finished(run)
        skipped = tuple(found.skipped)
        if ready is not None:
            report = await self._builder.promote(run, ready, Outcome(added=ready.documents), "ingest", options)
            return replace(report, skipped=skipped)
        with run.stages.busy("scan"):
            left = await self._builder.earlier_attempt(run)
            existing = left.records if left.build is not None else await self._builder.records(run.kb)
            base = left.base if left.build is not None else None
            plan = await plan_ingest(existing, found, options, self._parser, run.tracker, run.passwords, base)
        report = await self._builder.build(run, plan, options, "ingest", left)
        return replace(report, skipped=skipped, held_removals=tuple(plan.held))

    async def _plan_removal(self, kb: KnowledgeBase, names: Sequence[str]) -> Plan:
        """What is left of the documents that were to go when the job was accepted."""
        existing = await self._builder.records(kb)
        named = await naming(self._stores, kb, existing)
        found = await asyncio.to_thread(lambda: [named.find(name) for name in names])
        return Plan(existing, removed=_each_once(found))

    async def _remove(self, run: Run, plan: Plan) -> IngestReport:
        if active := await self._builder.active(run.kb):
            run = replace(
                run, kb=replace(run.kb, settings=replace(active.settings, index=run.kb.settings.index))
            )  # those that made the chunks it carries over
        return await self._builder.build(run, plan, DEFAULT_OPTIONS, "removal")

    async def _restored(self, run: Run) -> IngestReport:
        """Give the active generation what another one held, or make it anew where it is that one itself."""
        store, number = self._stores.store(run.kb.id), run.job.options[RESTORE]
        lost = await self._stores.catalog.generation(run.kb.id, number)
        left = await salvage(self._stores, lost)
        await mend_texts(store.paths.texts, left.records, left.chunks)
        if not left.listed:
            await self._clear_list(run.kb.id, number)
        if number == run.kb.active_generation:
            if left.passages and not left.listed and (report := await self._relisted(run, lost, left)) is not None:
                return report
            return await self._rebuilt(run, left.records)
        existing = await self._builder.records(run.kb)
        plan = await plan_restoring(existing, left.records, self._parser, store.paths.texts, listed=left.listed)
        return await self._builder.build(run, plan, DEFAULT_OPTIONS, "repair")

    async def _clear_list(self, kb_id: str, number: int) -> None:
        """Move a table of documents away that cannot be written, or in which no generation has a whole list.

        Versions are counted anew then: generations that had theirs in it are no more.
        """
        store, catalog = self._stores.store(kb_id), self._stores.catalog
        table = table_folder(store.paths.vectors, DOCUMENTS_TABLE)
        items = await catalog.generations(kb_id)
        others = [item for item in items if item.state in READABLE and item.number != number]
        lists = [await records_left(table, item.documents_version) for item in others]
        if any(found.whole for found in lists) and await table_opens(store.paths.vectors, DOCUMENTS_TABLE):
            return
        store.release()
        if table.exists():
            await asyncio.to_thread(set_aside, self._stores.paths, table)
        store.vectors.forget_caches()
        for item in others:
            if item.state is not GenerationState.ACTIVE:
                why = "The list of its documents cannot be read."
                await catalog.set_state(kb_id, item.number, GenerationState.FAILED, why)

    async def _relisted(self, run: Run, active: Generation, left: Salvage) -> IngestReport | None:
        """A generation with the passages of the active one and a new list of its documents, which takes no model.

        None where the table of passages cannot be built on.
        """
        if active.model is None:
            return None
        kb = replace(run.kb, settings=replace(active.settings, index=run.kb.settings.index))
        store = self._stores.store(kb.id)
        try:
            build = await store.begin(kb, active.model, note="repair", relist=True)
            try:
                for record in left.records:
                    await build.add_record(record)
                run.tracker.stage(IngestStage.SEALING)
                generation = await store.seal(build)
            except BaseException as error:
                await build.abandon(str(error) or type(error).__name__)
                raise
        except StorageFault:
            log.warning("the passages of %s cannot be built on", kb.id, exc_info=True)
            return None
        outcome = Outcome(unchanged=generation.documents)
        return await self._builder.promote(run, generation, outcome, "repair", DEFAULT_OPTIONS)

    # ------------------------------------------------------------ rebuilding

    async def _match_settings(self, kb: KnowledgeBase) -> KnowledgeBase:
        """A changed model or chunk size means every vector is stale: raises RebuildFirst.

        A rebuild that was held back is tried again before another one is made. Raises Conflict while it is held: what
        has the new settings cannot be built on the active generation. Returns the knowledge base as it is then.
        """
        active = await self._builder.active(kb)
        if active is None or active.settings.same_content(kb.settings):
            return kb
        waiting = await self._waiting_rebuild(kb, active)
        if waiting is None:
            raise RebuildFirst
        held = await self._promotion.promote(waiting, built=True)
        if held:
            raise Conflict(
                f"Nothing was added: the settings of “{kb.name}” changed, and generation {waiting.number}, which was "
                f"rebuilt with them, is not active. {held}",
                way_out=PromoteAnyway(waiting.number),
            )
        return await self._stores.knowledge_base(kb.id)

    async def _waiting_rebuild(self, kb: KnowledgeBase, active: Generation) -> Generation | None:
        """A ready generation made of the active one with the present settings."""
        for item in await self._stores.catalog.generations(kb.id):
            if (
                item.state is GenerationState.READY
                and item.parent == active.number
                and item.settings.same_content(kb.settings)
            ):
                return item
        return None

    async def _reindexed(self, run: Run) -> IngestReport:
        if not run.job.paths:
            return await self._builder.build_index(run)
        store, existing = self._stores.store(run.kb.id), await self._builder.records(run.kb)
        embedder, _ = await self._builder.model(run.kb, needed=True)
        assert embedder is not None
        generation, outcome = await reindex(store, run.kb, embedder, self._parser, existing, run.job.paths, run)
        if generation is None:
            return report_of(run, None, outcome)
        return await self._builder.promote(run, generation, outcome, "repair", DEFAULT_OPTIONS)

    async def _rebuilt(self, run: Run, lost: Sequence[DocumentRecord] | None) -> IngestReport:
        store, kb = self._stores.store(run.kb.id), run.kb
        records = await self._builder.records(kb) if lost is None else lost
        embedder, _ = await self._builder.model(kb, needed=True)
        assert embedder is not None
        start = StartingPoint(from_scratch=True)
        left = await self._builder.earlier_attempt(run, start)
        done = {record.source_path for record in left.records}
        plan, failed = await plan_rebuild(store, self._parser, records, run.tracker, done)
        start = replace(start, carried=failed)
        if lost is not None and (broken := await self._builder.active(kb)) is not None:
            rescued = await rescued_embeddings(store, broken, embedder.model.identity)
            start = replace(start, new_table=True, embeddings=rescued)
        return await self._builder.build(run, plan, IngestOptions(jobs=1), "rebuild", left, start)


def _each_once(found: Iterable[Found[DocumentRecord]]) -> list[DocumentRecord]:
    records = (record for item in found for record in item.documents)
    return list({(record.document_id, record.source_path): record for record in records}.values())


def _lasting(documents: Naming[DocumentRecord], found: Iterable[Found[DocumentRecord]]) -> list[str]:
    """Names that mean the same documents when the job goes on elsewhere, or when others of that name have come."""
    exact = (Way.ID, Way.PATH)
    return [name for item in found for name in ([item.name] if item.way in exact else documents.places(item))]
