"""Mending a knowledge base: what `doctor --repair` does, under the writer lock and without losing what works.

First the catalog learns of what it does not know (`adoption`). Then, in this order: tables open again, tags are set
again, keyword indexes are rebuilt from the tables; documents of the active generation whose rows or texts are damaged
are read again, or, where its tables cannot be read at all, the newest whole generation takes its place and is brought
up to date; generations proven damaged are given up; what belongs to no generation is swept away, and what nothing
accounts for goes to `lost+found`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from studio.domain import (
    Check,
    DocumentRecord,
    DocumentStatus,
    Generation,
    GenerationState,
    IngestOptions,
    IngestReport,
    JobKind,
    JobState,
    KnowledgeBase,
    LostDocument,
)
from studio.embedding.models import ModelCatalog
from studio.errors import FailureCode, ModelFault, StorageFault, StudioError, storage_fault
from studio.index.audit import Audit
from studio.index.gc import GcReport, sweep
from studio.index.generations import GenerationStore
from studio.index.leftovers import leftovers, listing
from studio.index.lost_found import set_aside
from studio.index.mending import drop_unreadable_versions, mend_table, mend_tags, rebuild_keywords
from studio.index.reading import READABLE
from studio.index.rows import text_key
from studio.index.stores import Stores
from studio.index.vectors import DOCUMENTS_TABLE
from studio.services.adoption import settle
from studio.services.bundles import discard_dead_imports
from studio.services.examine import Examination, examine
from studio.services.ingest import RESTORE, IngestService
from studio.services.promotion import way_past
from studio.services.salvage import salvage

log = logging.getLogger(__name__)


class Repair:
    """Mends every knowledge base, one after the other."""

    def __init__(self, stores: Stores, models: ModelCatalog, ingest: IngestService) -> None:
        self._stores = stores
        self._models = models
        self._aside = partial(set_aside, stores.paths)
        self._ingest = ingest

    async def run(self) -> list[Check]:
        """Returns a failing check for everything that could not be done, and why. Never raises StudioError."""
        notes: list[Check] = []
        try:
            await self._stores.thread.run(self._stores.catalog.require_writable)
            await discard_dead_imports(self._stores)
            notes += await settle(self._stores, await asyncio.to_thread(self._models.list))
            bases = await self._stores.thread.run(self._stores.catalog.knowledge_bases)
        except StudioError as error:
            return [Check("repair", False, str(error), error.way_out)]
        for base in bases:
            try:
                with self._ingest.without_collecting():
                    notes += await self._mend(base)
            except ModelFault as error:
                job = await self._stores.thread.run(self._stores.catalog.jobs.unfinished, base.id)
                again = "ingest KB --resume" if job is not None else "doctor --repair"
                notes.append(
                    Check(f"{base.name}: repair", False, str(error), f"{error.way_out} Then run: rag-studio {again}")
                )
            except StudioError as error:
                notes.append(Check(f"{base.name}: repair", False, str(error), error.way_out))
        return notes

    async def _mend(self, base: KnowledgeBase) -> list[Check]:
        store = self._stores.store(base.id)
        with await store.lock_for_writing(base.name):
            found = await self._mend_indexes(base, store)
        report, lost = None, []
        for step in (self._revive, self._bring_back, self._read_again):
            if (done := await step(base, found)) is not None:
                report, found = done, await examine(self._stores, base)
                if step != self._read_again:  # what that cannot read stays as it is
                    lost += _lost(base, report)
        with await store.lock_for_writing(base.name):
            gave_up = await self._give_up(base, store, found)
            await self._set_strays_aside(store)
        swept = GcReport()
        if not lost and not gave_up:  # what is left of them may help somebody who knows more
            await sweep(store, self._stores.catalog, self._stores.thread, swept)
        _forget_caches(store)
        notes: list[Check] = [*lost]
        notes += [Check(f"{base.name}: repair", False, error, "") for error in swept.errors]
        if report is not None and report.held:
            notes.append(Check(f"{base.name}: repair", False, report.held, way_past(report.generation or 0)))
        return notes

    # ------------------------------------------------------------ indexes

    async def _mend_indexes(self, base: KnowledgeBase, store: GenerationStore) -> Examination:
        """Tables, tags, keyword indexes; under the writer lock. Returns what is left to do."""
        for folder, needed in await self._versions(base, store):
            await mend_table(store.paths.vectors, folder.stem, needed, self._aside)
        _forget_caches(store)
        await store.recover()
        found = await examine(self._stores, base)
        changed = False
        for item in found.audits:
            generation = item.generation
            if item.tables_fault:
                continue  # nothing to mend it from
            if found.tagged(generation) < 2:
                await mend_tags(store.vectors, generation)
                changed = True
            if not item.same_chunks and not item.repeated:
                log.warning("rebuilding the keyword index of generation %d of %s", generation.number, base.id)
                directory = store.paths.lexical_generation(generation.number)
                await rebuild_keywords(store.vectors, directory, generation, self._aside)
                changed = True
        _forget_caches(store)
        return await examine(self._stores, base) if changed else found

    # ------------------------------------------------------------ the active generation

    async def _read_again(self, base: KnowledgeBase, found: Examination) -> IngestReport | None:
        """Have documents of the active generation read again whose rows or texts are damaged."""
        active, store = found.active, self._stores.store(base.id)
        if active is None or active.tables_fault:
            return None
        damaged = active.damaged | found.misplaced[active.generation.number]
        if active.texts & found.bad_texts:
            for record in await store.vectors.records(active.generation.documents_version):
                if record.status is DocumentStatus.INDEXED and text_key(record.sha256, record.kind) in found.bad_texts:
                    damaged.add(record.document_id)
        if not damaged:
            return None
        log.warning("reading %d damaged documents of %s again", len(damaged), base.id)
        return await self._ingest.reindex(base.id, sorted(damaged))

    async def _bring_back(self, base: KnowledgeBase, found: Examination) -> IngestReport | None:
        """Do what an earlier repair could not: give the active generation the documents of a lost one."""
        jobs = self._stores.catalog.jobs
        job = await self._stores.thread.run(jobs.unfinished, base.id, JobKind.RESTORE)
        if job is None:
            return None
        number = job.options[RESTORE]
        if any(item.generation.number == number for item in found.audits):
            return await self._ingest.restore(base.id, number)
        await self._stores.thread.run(jobs.finish, job.id, JobState.FAILED, error=f"Generation {number} was collected.")
        return None

    async def _revive(self, base: KnowledgeBase, found: Examination) -> IngestReport | None:
        """Let searches be answered again where the active generation cannot be read any more."""
        if found.active is None or not found.active.tables_fault:
            return None
        broken, store = found.active.generation, self._stores.store(base.id)
        await asyncio.to_thread(_refuse_unreadable, store.paths.vectors)
        whole = [item.generation for item in found.audits if _stands_in(item)]
        whole.sort(key=lambda item: (item.settings.same_content(base.settings), item.number))
        others = [item.generation for item in found.audits if item.generation.number != broken.number]
        listed = {item.number: await _listed(store, item) for item in (broken, *others)}
        if whole:
            number = whole[-1].number
            log.warning("generation %d of %s cannot be read; going back to %d", broken.number, base.id, number)
            await self._stores.thread.run(self._stores.catalog.promote, base.id, number)
            return await self._ingest.restore(base.id, broken.number)
        if (records := listed[broken.number]) is not None:
            return await self._ingest.rebuild(base.id, lost=records)
        return await self._salvaged(base, store, broken, readable=any(item is not None for item in listed.values()))

    async def _salvaged(
        self, base: KnowledgeBase, store: GenerationStore, broken: Generation, *, readable: bool
    ) -> IngestReport:
        """Make a generation of every document of a broken one that anything still holds. `readable`: the table of
        documents is, in some version.
        """
        found = await salvage(self._stores, base, broken)
        if not found.records and not found.unread:
            raise StorageFault(
                f"No generation of “{base.name}” can be read, and nothing that it was made from is there.",
                way_out="Put the files back, or restore the data directory from a backup.",
            )
        await self._ingest.require_model(base.id)  # before anything is moved: without it the next repair goes on here
        table = store.paths.vectors / f"{DOCUMENTS_TABLE}.lance"
        if not readable and table.exists():
            with await store.lock_for_writing(base.name):
                await self._take_away(store, DOCUMENTS_TABLE)
        report = await self._ingest.rebuild(base.id, lost=found.records)
        if found.unread:
            read = await self._ingest.ingest(base.id, found.unread, IngestOptions())
            report = replace(read, failed=(*report.failed, *read.failed))
        return replace(report, failed=(*report.failed, *found.lost))

    # ------------------------------------------------------------ what is lost

    async def _give_up(self, base: KnowledgeBase, store: GenerationStore, found: Examination) -> bool:
        """Mark other generations that are proven damaged as failed, for the collector; only next to a whole one."""
        gave_up = False
        active = found.active
        if active is None or not active.whole or found.tagged(active.generation) < 2:
            return False
        await asyncio.to_thread(_refuse_unreadable, store.paths.vectors)
        for item in found.audits:
            number = item.generation.number
            if item is active or not (item.tables_fault or item.damaged):
                continue
            why = item.tables_fault or f"{len(item.damaged)} documents are damaged."
            log.warning("giving generation %d of %s up: %s", number, base.id, why)
            gave_up = True
            await self._stores.thread.run(
                self._stores.catalog.set_state, base.id, number, GenerationState.FAILED, f"Damaged on the disk: {why}"
            )
        for folder, versions in await self._versions(base, store):
            await drop_unreadable_versions(folder, versions, self._aside)
        generations = await self._stores.thread.run(self._stores.catalog.generations, base.id)
        kept = {item.chunks_table for item in generations if item.state is not GenerationState.FAILED}
        for table in set(await store.vectors.table_names()) - kept - {DOCUMENTS_TABLE}:
            try:
                await store.vectors.tags_of(table)
            except StorageFault:  # would stand in the way of every collection
                await self._take_away(store, table)
        return gave_up

    async def _take_away(self, store: GenerationStore, table: str) -> None:
        """Move a table that cannot be used any more to `lost+found`."""
        _forget_caches(store)
        await asyncio.to_thread(self._aside, store.paths.vectors / f"{table}.lance")

    async def _set_strays_aside(self, store: GenerationStore) -> None:
        """Move what no build and no collection leaves behind to `lost+found`: the sweep would delete it."""
        _forget_caches(store)
        found = await listing(store, store.vectors)
        generations = await self._stores.thread.run(self._stores.catalog.generations, store.kb_id)
        for name in leftovers(found, generations, texts=()).strays:
            kind, _, table = name.partition(" ")
            place = store.paths.vectors / f"{table}.lance" if kind == "table" else store.paths.root / name
            if await asyncio.to_thread(place.exists):  # a tag has no file of that name
                await asyncio.to_thread(self._aside, place)
        _forget_caches(store)

    async def _versions(self, base: KnowledgeBase, store: GenerationStore) -> list[tuple[Path, set[int]]]:
        """The directories of all tables, each with the versions that generations need."""
        needed: dict[str, set[int]] = {}
        for item in await self._stores.thread.run(self._stores.catalog.generations, base.id):
            if item.state in READABLE:
                needed.setdefault(item.chunks_table, set()).add(item.chunks_version)
                needed.setdefault(DOCUMENTS_TABLE, set()).add(item.documents_version)
        folders = await asyncio.to_thread(lambda: sorted(store.paths.vectors.glob("*.lance")))
        return [(folder, needed.get(folder.stem, set())) for folder in folders]


def _lost(base: KnowledgeBase, report: IngestReport) -> list[LostDocument]:
    """Documents that a report says could not be read from anything."""
    gone = (FailureCode.VANISHED, FailureCode.CORRUPT)
    return [
        LostDocument(f"{base.name}: lost", False, item.reason, "", base.name, item.path)
        for item in report.failed
        if item.error in gone and not Path(item.path).exists()
    ]


def _stands_in(item: Audit) -> bool:
    return item.generation.state is GenerationState.ARCHIVED and item.whole


async def _listed(store: GenerationStore, generation: Generation) -> list[DocumentRecord] | None:
    try:
        return await store.vectors.records(generation.documents_version)
    except StorageFault:
        return None


def _refuse_unreadable(folder: Path) -> None:
    """Raise StorageFault when a file may not be read: that is no damage, and nothing must be given up for it."""
    for directory, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(directory, name)
            if path.exists() and not os.access(path, os.R_OK):
                raise storage_fault(PermissionError(13, "Permission denied"), "reading the vector tables", path)


def _forget_caches(store: GenerationStore) -> None:
    store.release()
    store.vectors.forget_caches()
