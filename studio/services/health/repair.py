"""Mending a knowledge base: what `doctor --repair` does, under the writer lock and without losing what works.

First the catalog learns of what it does not know (`adoption`). Then, in this order: the files of a damaged base are
kept in `lost+found`; tables open again, tags are set again, keyword indexes are rebuilt from the tables; documents of
the active generation whose rows or texts are damaged are read again, or, where its tables cannot be read at all, it is
made anew from what is left of it; generations proven damaged are given up; what belongs to no generation is swept away,
unless a document is lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from studio.domain import (
    Check,
    GenerationState,
    IngestOptions,
    IngestReport,
    JobKind,
    JobState,
    KnowledgeBase,
)
from studio.embedding.models import ModelCatalog
from studio.errors import ModelFault, StorageFault, StudioError, storage_fault
from studio.index.files import drop_unchanged, keep_files, set_aside
from studio.index.generations import READABLE, GenerationStore, Stores
from studio.index.upkeep import (
    Audit,
    GcReport,
    drop_unreadable_versions,
    every_version_opens,
    leftovers,
    listing,
    mend_table,
    mend_tags,
    rebuild_keywords,
    sweep,
)
from studio.index.vectors import DOCUMENTS_TABLE, table_folder, table_folders, text_key
from studio.services.generations import discard_dead_imports
from studio.services.ingest import RESTORE
from studio.services.jobs import Requests
from studio.services.recovery import Examination, Losses, examine, mend_texts, salvage, settle
from studio.ways_out import GoOn, PromoteAnyway, ThenRepair

log = logging.getLogger(__name__)


class Repair:
    """Mends every knowledge base, one after the other."""

    def __init__(self, stores: Stores, models: ModelCatalog, ingest: Requests) -> None:
        self._stores = stores
        self._models = models
        self._aside = partial(set_aside, stores.paths)
        self._ingest = ingest

    async def run(self) -> list[Check]:
        """Returns a failing check for everything that could not be done, and why. Never raises StudioError."""
        notes: list[Check] = []
        try:
            await self._stores.catalog.require_writable()
            await discard_dead_imports(self._stores)
            notes += await settle(self._stores, await asyncio.to_thread(self._models.list))
            bases = await self._stores.catalog.knowledge_bases()
        except StudioError as error:
            return [Check("repair", False, str(error), error.way_out)]
        for base in bases:
            try:
                notes += await self._mend(base)
            except ModelFault as error:
                job = await self._stores.catalog.jobs.unfinished(base.id)
                again = GoOn(then=True) if job is not None else ThenRepair()
                notes.append(Check(f"{base.name}: repair", False, str(error), f"{error.way_out} {again}"))
            except StudioError as error:
                notes.append(Check(f"{base.name}: repair", False, str(error), error.way_out))
        return notes

    async def _mend(self, base: KnowledgeBase) -> list[Check]:
        store = self._stores.store(base.id)
        losses = Losses(self._stores, base)
        store.repairing = True
        try:
            with await store.lock_for_writing(base.name):
                kept = await self._keep(base, store)
                found = await self._mend_indexes(base, store)
            report = None
            await losses.before(found)
            for step in (self._revive, self._bring_back, self._read_again):
                if (done := await step(base, found)) is not None:
                    report, found = done, await examine(self._stores, base)
            with await store.lock_for_writing(base.name):
                given_up = await self._give_up(base, store, found, losses)
        finally:
            store.repairing = False
        lost = await losses.after(await examine(self._stores, base) if kept is not None else found)
        swept = GcReport()
        if kept is not None and not lost and not given_up:  # else it waits for a collection
            await sweep(store, self._stores.catalog, swept)
        if kept is not None and not given_up:
            await asyncio.to_thread(drop_unchanged, store.paths.root, kept)
        _forget_caches(store)
        notes = [Check(f"{base.name}: repair", False, error, "") for error in swept.errors]
        if report is not None and report.held:
            notes.append(Check(f"{base.name}: repair", False, report.held, str(PromoteAnyway(report.generation or 0))))
        if lost:
            notes.append(losses.check(lost))
        return notes

    async def _keep(self, base: KnowledgeBase, store: GenerationStore) -> Path | None:
        """Keep every file of a knowledge base that is damaged in `lost+found`, and move what belongs to nothing there.

        Under the writer lock. None where nothing is wrong.
        """
        found = await examine(self._stores, base)
        listed = await listing(store, store.vectors)
        strays = leftovers(listed, found.generations, texts=()).strays
        torn = [folder for folder, _ in await self._versions(base, store) if not await every_version_opens(folder)]
        if not torn and not strays and all(_sound(found, item) for item in found.audits):
            return None
        kept = await asyncio.to_thread(keep_files, self._stores.paths, store.paths.root)
        for name in strays:
            kind, _, table = name.partition(" ")
            path = table_folder(store.paths.vectors, table) if kind == "table" else store.paths.root / name
            if path.exists():  # a tag has no file of that name
                await asyncio.to_thread(self._aside, path)
        _forget_caches(store)
        return kept

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
            left = await salvage(self._stores, active.generation)
            sound = {key: chunks for key, chunks in left.chunks.items() if key not in active.altered}
            mended = await mend_texts(store.paths.texts, left.records, sound)
            for record in left.indexed:
                if text_key(record.sha256, record.kind) in found.bad_texts - mended:
                    damaged.add(record.document_id)
        if not damaged:
            return None
        log.warning("reading %d damaged documents of %s again", len(damaged), base.id)
        return await self._ingest.reindex(base.id, sorted(damaged))

    async def _bring_back(self, base: KnowledgeBase, found: Examination) -> IngestReport | None:
        """Do what an earlier repair could not: give the active generation the documents of a lost one."""
        jobs = self._stores.catalog.jobs
        job = await jobs.unfinished(base.id, JobKind.RESTORE)
        if job is None:
            return None
        number = job.options[RESTORE]
        if any(item.generation.number == number for item in found.audits):
            return await self._ingest.restore(base.id, number)
        await jobs.finish(job.id, JobState.FAILED, error=f"Generation {number} was collected.")
        return None

    async def _revive(self, base: KnowledgeBase, found: Examination) -> IngestReport | None:
        """Let searches be answered again where the active generation cannot be read any more."""
        if found.active is None or not found.active.tables_fault:
            return None
        broken, store = found.active.generation, self._stores.store(base.id)
        await asyncio.to_thread(_refuse_unreadable, store.paths.vectors)
        left = await salvage(self._stores, broken)
        whole = [item.generation for item in found.audits if _stands_in(item)]
        whole.sort(key=lambda item: (item.settings.same_content(base.settings), item.number))
        if whole and (left.listed or not left.passages):
            number = whole[-1].number
            log.warning("generation %d of %s cannot be read; going back to %d", broken.number, base.id, number)
            await self._stores.catalog.promote(base.id, number)
        report = await self._ingest.restore(base.id, broken.number)
        return await self._ingest_missing(base, left.missing) or report

    async def _ingest_missing(self, base: KnowledgeBase, missing: Sequence[str]) -> IngestReport | None:
        """Read files again that past jobs read and nothing names any more; without the model they wait."""
        active = await self._stores.knowledge_base(base.id)
        store = self._stores.store(base.id)
        if active.active_generation is None:
            return None
        generation = await self._stores.catalog.generation(base.id, active.active_generation)
        named = {record.source_path for record in await store.vectors.records(generation.documents_version)}
        paths = await asyncio.to_thread(
            lambda: [Path(path) for path in missing if path not in named and Path(path).is_file()]
        )
        if not paths:
            return None
        options = IngestOptions()
        try:
            return await self._ingest.ingest(base.id, paths, options)
        except ModelFault:
            names = [str(path) for path in paths]
            await self._stores.catalog.jobs.create(base.id, JobKind.INGEST, names, asdict(options))
            raise

    # ------------------------------------------------------------ what is lost

    async def _give_up(
        self, base: KnowledgeBase, store: GenerationStore, found: Examination, losses: Losses
    ) -> list[int]:
        """Mark other generations that are proven damaged as failed, for the collector; only next to a whole one.

        Returns their numbers. Their files stay in `lost+found`.
        """
        active, given_up = found.active, list[int]()
        if active is None or not active.whole or found.tagged(active.generation) < 2:
            return given_up
        await asyncio.to_thread(_refuse_unreadable, store.paths.vectors)
        for item in found.audits:
            number = item.generation.number
            if item is active or not (item.tables_fault or item.damaged):
                continue
            why = item.tables_fault or f"{len(item.damaged)} documents are damaged."
            log.warning("giving generation %d of %s up: %s", number, base.id, why)
            await self._stores.catalog.set_state(base.id, number, GenerationState.FAILED, f"Damaged on the disk: {why}")
            given_up.append(number)
            await losses.give_up(item.generation)
        for folder, versions in await self._versions(base, store):
            await drop_unreadable_versions(folder, versions, self._aside)
        generations = await self._stores.catalog.generations(base.id)
        kept = {item.chunks_table for item in generations if item.state is not GenerationState.FAILED}
        for table in set(await store.vectors.table_names()) - kept - {DOCUMENTS_TABLE}:
            try:
                await store.vectors.tags_of(table)
            except StorageFault:  # would stand in the way of every collection
                await asyncio.to_thread(self._aside, table_folder(store.paths.vectors, table))
        return given_up

    async def _versions(self, base: KnowledgeBase, store: GenerationStore) -> list[tuple[Path, set[int]]]:
        """The directories of all tables, each with the versions that generations need."""
        needed: dict[str, set[int]] = {}
        for item in await self._stores.catalog.generations(base.id):
            if item.state in READABLE:
                needed.setdefault(item.chunks_table, set()).add(item.chunks_version)
                needed.setdefault(DOCUMENTS_TABLE, set()).add(item.documents_version)
        folders = await asyncio.to_thread(table_folders, store.paths.vectors)
        return [(folder, needed.get(folder.stem, set())) for folder in folders]


def _stands_in(item: Audit) -> bool:
    return item.generation.state is GenerationState.ARCHIVED and item.whole


def _sound(found: Examination, item: Audit) -> bool:
    misplaced = found.misplaced.get(item.generation.number)
    return item.whole and found.tagged(item.generation) == 2 and not misplaced and not item.texts & found.bad_texts


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
