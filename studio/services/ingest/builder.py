"""From a plan to a generation: begin or go on, fill, seal, promote."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from studio.concurrency import run_to_end
from studio.domain import (
    DocumentRecord,
    DocumentStatus,
    Embedder,
    EmbedderProvider,
    Generation,
    GenerationState,
    IngestOptions,
    IngestReport,
    IngestStage,
    KnowledgeBase,
    ModelIdentity,
    Vectors,
)
from studio.errors import ModelFault, StorageFault, StudioError, WorkerDied
from studio.index.files import VectorJournal
from studio.index.generations import Build, Checkpoint, GenerationStore, Stores
from studio.services.generations import Promotion
from studio.services.ingest.archived import archived_embeddings
from studio.services.ingest.pipeline import Embeddings, Pipeline, PipelineResources
from studio.services.ingest.plan import Basis, Plan, basis_of
from studio.services.ingest.report import note_of, report_of
from studio.services.ingest.runner import Run
from studio.services.ingest.source_reader import REUSED_CHUNKS
from studio.services.ingest.sources import Outcome
from studio.services.ingest.writer import Position

FILES_PER_TRANSACTION = 5_000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class EarlierAttempt:
    """What an earlier run of a job left: the build it can go on with, and the embeddings it had made.

    `records` are the document rows of that build, `base` those of the generation it stands on, and `written` those of
    the checkpoint, also of files of which only some rows were written.
    """

    build: Build | None = None
    checkpoint: Checkpoint | None = None
    records: Sequence[DocumentRecord] = ()
    base: Sequence[DocumentRecord] = ()
    written: Sequence[DocumentRecord] = ()
    salvaged: dict[str, Vectors] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What a build stands on: the active generation, unless it is made `from_scratch`, with tables of its own or not.

    `carried` are rows an empty build begins with; `embeddings` gives those of documents, unless the active generation
    has them.
    """

    from_scratch: bool = False
    new_table: bool = False
    carried: Sequence[DocumentRecord] = ()
    embeddings: Embeddings | None = None


ACTIVE = StartingPoint()


class Builder:
    """Builds generations for jobs. The caller holds the writer lock."""

    def __init__(self, stores: Stores, embedders: EmbedderProvider, promotion: Promotion) -> None:
        self._stores = stores
        self._embedders = embedders
        self._promotion = promotion

    async def records(self, kb: KnowledgeBase) -> list[DocumentRecord]:
        """The document rows of the active generation."""
        if kb.active_generation is None:
            return []
        async with self._stores.store(kb.id).reading(kb.active_generation) as snapshot:
            return await snapshot.tables.documents()

    async def active(self, kb: KnowledgeBase) -> Generation | None:
        """The active generation."""
        if kb.active_generation is None:
            return None
        return await self._stores.catalog.generation(kb.id, kb.active_generation)

    async def model(self, kb: KnowledgeBase, *, needed: bool) -> tuple[Embedder | None, ModelIdentity]:
        """The embedder and its identity; for a mere removal the identity alone, so that it works without the model."""
        active = await self.active(kb)
        if not needed and active is not None and active.model is not None:
            return None, active.model
        embedder = await self._embedders.embedder(kb.settings.model)
        return embedder, embedder.model.identity

    # ------------------------------------------------------------ going on

    async def earlier_attempt(self, run: Run, start: StartingPoint = ACTIVE) -> EarlierAttempt:
        """What an earlier run of the job left, ready to go on with."""
        jobs = self._stores.catalog.jobs
        store = self._stores.store(run.kb.id)
        checkpoint = Checkpoint.decode(await jobs.checkpoint_of(run.job.id))
        exists = await asyncio.to_thread(store.paths.journal(run.job.id).exists)
        if checkpoint is None and not exists:
            return EarlierAttempt()
        _, identity = await self.model(run.kb, needed=True)
        left = EarlierAttempt(
            salvaged=await asyncio.to_thread(VectorJournal(store.paths.journal(run.job.id), identity).read)
        )
        if checkpoint is None:
            return left
        try:
            left.records = left.written = await store.vectors.records(checkpoint.documents_version)
            left.salvaged |= await self._open_embeddings(store, run, checkpoint)
            left.build = await store.reopen(run.kb, identity, checkpoint)
        except StorageFault as error:
            log.warning("job %s begins anew: %s", run.job.id, error)
        if left.build is None:
            await store.recover(checkpoint.generation)
            return EarlierAttempt(salvaged=left.salvaged)
        left.checkpoint = checkpoint
        left.base = [] if start.from_scratch else await self.records(run.kb)
        await self._close_open_paths(left, left.build, checkpoint)
        return left

    async def _open_embeddings(self, store: GenerationStore, run: Run, found: Checkpoint) -> Mapping[str, Vectors]:
        """Embeddings of documents that were written in part; their rows are written again."""
        if not found.open_documents:
            return {}
        generation = await self._stores.catalog.generation(run.kb.id, found.generation)
        tables = await store.vectors.reader(generation.chunks_table, found.chunks_version, found.documents_version)
        try:
            return await tables.embeddings_of(found.open_documents)
        finally:
            tables.close()

    async def _close_open_paths(self, left: EarlierAttempt, build: Build, found: Checkpoint) -> None:
        """Give files of which some rows are written the rows back that the base has of them."""
        if not found.open_paths:
            return
        paths = set(found.open_paths)
        before = [record for record in left.base if record.source_path in paths]
        for path in found.open_paths:
            build.replace_path(path)
        for record in before:
            await build.add_record(record)
        left.records = [*(record for record in left.records if record.source_path not in paths), *before]

    async def finished(self, run: Run) -> Generation | None:
        """The generation an earlier run of the job had built, when only its promotion is missing."""
        number = run.job.generation
        if number is None:
            return None
        for item in await self._generations(run.kb):
            if item.number == number and item.state is GenerationState.READY:
                same = item.parent == run.kb.active_generation and item.settings.same_content(run.kb.settings)
                return item if same else None
        return None

    async def _generations(self, kb: KnowledgeBase) -> Sequence[Generation]:
        return await self._stores.catalog.generations(kb.id)

    # ------------------------------------------------------------ building

    async def build(
        self,
        run: Run,
        plan: Plan,
        options: IngestOptions,
        note: str,
        left: EarlierAttempt | None = None,
        start: StartingPoint = ACTIVE,
    ) -> IngestReport:
        """Do what a plan says and promote the result. Raises ModelFault, WorkerDied, StorageFault, Conflict.

        After a fault of the machine the job keeps its last checkpoint, if it came so far, and waits.
        """
        left = left or EarlierAttempt()
        restamps = plan.restamps and options.promote
        nothing_new = not plan.sources and not plan.removed and not restamps
        if nothing_new and left.build is None and not start.from_scratch:
            return report_of(run, None, Outcome(unchanged=plan.unchanged, failures=plan.failures))
        run.tracker.stage(IngestStage.INDEXING)
        embedder, identity = await self.model(run.kb, needed=bool(plan.sources) or start.from_scratch)
        await self._list_files(run, plan)
        build = left.build or await self._stores.store(run.kb.id).begin(
            run.kb, identity, note=note, from_scratch=start.from_scratch, new_table=start.new_table
        )
        try:
            outcome = await self._fill(run, build, embedder, plan, options, left, start)
            first = run.kb.active_generation is None and not outcome.left
            if not (outcome.changed or restamps or first or start.from_scratch):
                await build.abandon("nothing changed")
                await self._stores.catalog.forget_generation(run.kb.id, build.generation.number)
                return report_of(run, None, outcome)
            await run.control.proceed()
            run.tracker.stage(IngestStage.SEALING)
            with run.stages.busy("seal"):
                generation = await self._stores.store(run.kb.id).seal(build)
        except asyncio.CancelledError:
            if run.control.cancelled:
                await build.abandon("cancelled")
            else:
                await build.suspend()
            raise
        except (StorageFault, ModelFault, WorkerDied) as error:
            if await self._keeps(run):
                await build.suspend()
            else:
                await build.abandon(str(error))
            raise
        except BaseException as error:
            await build.abandon(str(error) or type(error).__name__)
            raise
        report = await self.promote(run, generation, outcome, note, options)
        for record in plan.removed:
            run.tracker.removed(record.source_path)
        return report

    async def build_index(self, run: Run) -> IngestReport:
        """A generation with the rows of the active one and the vector index that the settings ask for."""
        active = await self.active(run.kb)
        if active is None or active.settings.index is run.kb.settings.index:
            return report_of(run, None, Outcome())
        kb = replace(run.kb, settings=replace(active.settings, index=run.kb.settings.index))
        _, identity = await self.model(kb, needed=False)
        store = self._stores.store(kb.id)
        build = await store.begin(kb, identity, note="index")
        try:
            run.tracker.stage(IngestStage.SEALING)
            with run.stages.busy("seal"):
                generation = await store.seal(build)
        except BaseException as error:
            await build.abandon(str(error) or type(error).__name__)
            raise
        return await self.promote(run, generation, Outcome(unchanged=generation.documents), "index", IngestOptions())

    async def promote(
        self, run: Run, generation: Generation, outcome: Outcome, note: str, options: IngestOptions
    ) -> IngestReport:
        """Annotate a generation that is ready, and make it active if that is wanted and the gate allows it."""
        note = note_of(note, outcome, generation)
        await self._stores.catalog.annotate(generation.kb_id, generation.number, note=note)
        held = ""
        if options.promote:
            # Not where a failure abandons the build: a cancellation may arrive when the transaction has committed.
            run.tracker.stage(IngestStage.PROMOTING)
            with run.stages.busy("promote"):
                held = await self._promotion.promote(generation, built=True)
        return report_of(run, generation.number, outcome, promoted=options.promote, held=held)

    async def _keeps(self, run: Run) -> bool:
        """Whether the job has a checkpoint to go on from; then it is to wait."""
        with suppress(StudioError):
            jobs = self._stores.catalog.jobs
            run.waits = bool(await jobs.checkpoint_of(run.job.id))
        return run.waits

    async def _list_files(self, run: Run, plan: Plan) -> None:
        names = [str(source.path) for source in plan.sources]
        for first in range(0, len(names), FILES_PER_TRANSACTION):
            await self._stores.catalog.jobs.add_files(run.job.id, names[first : first + FILES_PER_TRANSACTION])

    async def _fill(
        self,
        run: Run,
        build: Build,
        embedder: Embedder | None,
        plan: Plan,
        options: IngestOptions,
        left: EarlierAttempt,
        start: StartingPoint,
    ) -> Outcome:
        store, jobs = self._stores.store(run.kb.id), self._stores.catalog.jobs
        basis = await asyncio.to_thread(_joined, basis_of(plan), left)
        await build.tables.delete_paths(basis.rewritten_paths)
        for record in (*basis.carried_over, *(() if left.build else start.carried)):
            await build.add_record(record)
        removed = 0 if left.checkpoint else sum(record.status is DocumentStatus.INDEXED for record in plan.removed)
        lost = 0 if left.checkpoint else len(plan.removed) - removed
        journal = VectorJournal(store.paths.journal(run.job.id), build.generation.model or _no_model(build))

        async def embeddings_of(document_ids: Sequence[str]) -> Mapping[str, Vectors]:
            async with store.reading() as snapshot:
                same_model = snapshot.generation.model == build.generation.model
                return await snapshot.tables.embeddings_of(document_ids) if same_model else {}

        unwritten: dict[str, Vectors] = {}

        async def save(position: Position, outcome: Outcome) -> None:
            with run.stages.busy("checkpoint"):
                counts = {**outcome.counts, "chunks_added": outcome.chunks_added - position.open_chunks}
                found = await store.checkpoint(build, position.open_documents, position.open_paths, counts)
                await jobs.record(run.job.id, found.generation, found.encode(), position.files)
                await run_to_end(journal.restart, dict(unwritten))

        resources = PipelineResources(
            embedder, build.generation.settings, store.paths.texts, run.tracker, run.control, run.stages, journal, save,
            unwritten,
        )  # fmt: skip
        archive = [] if start.from_scratch or not plan.sources else await self._generations(run.kb)
        pins = archived_embeddings(store, build.generation, archive, basis.known, REUSED_CHUNKS)
        try:
            async with pins as archived:
                pipeline = Pipeline(build, resources, basis, start.embeddings or embeddings_of, archived.of)
                pipeline.outcome.removed += removed
                pipeline.outcome.new_failures += lost
                with run.place.using(embedder):
                    files = await pipeline.run(
                        plan.sources, plan.removed, run.place.readers(options.jobs), _removed_before(left)
                    )
        finally:
            journal.close()
        await jobs.update_files(run.job.id, files)
        outcome = pipeline.outcome
        done_before = basis.counts.get("added", 0) + basis.counts.get("updated", 0) + basis.counts.get("unchanged", 0)
        outcome.unchanged += max(0, plan.unchanged - done_before)
        outcome.failures = plan.failures + outcome.failures
        return outcome


def _removed_before(left: EarlierAttempt) -> list[DocumentRecord]:
    """Rows of files that the earlier run of a job found no more."""
    there = {record.source_path for record in left.records}
    return [record for record in left.base if record.source_path not in there] if left.checkpoint else []


def _joined(basis: Basis, left: EarlierAttempt) -> Basis:
    """What a build begins with when an earlier run of its job has done a part of it."""
    if left.checkpoint is None:
        return replace(basis, salvaged=left.salvaged)
    rows = [record for record in (*left.base, *left.written) if record.status is DocumentStatus.INDEXED]
    return replace(
        basis,
        known={record.document_id: record.chunks for record in rows},
        doubtful=[record.document_id for record in rows],
        salvaged=left.salvaged,
        counts=left.checkpoint.counts,
    )


def _no_model(build: Build) -> ModelIdentity:
    raise StorageFault(f"Generation {build.generation.number} does not say which model made it.")
