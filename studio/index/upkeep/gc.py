"""Collecting what no generation needs: old generations, their table versions, texts nothing refers to.

Only generations that were archived, failed or passed over, and that no lease holds, are collected. A deletion that
fails is reported and tried again next time; it stops neither the rest nor a promotion.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from studio.domain import Generation, GenerationState, Retention
from studio.errors import StorageFault, StudioError, storage_fault
from studio.failpoints import reach
from studio.index.catalog import AsyncCatalog
from studio.index.clock import now_ms
from studio.index.files import disk_usage, try_lock
from studio.index.generations import READABLE, Checkpoint, GenerationStore, files_of, tag_of
from studio.index.upkeep.mending import mend_tags
from studio.index.vectors import DOCUMENTS_TABLE, REFS, table_folders
from studio.paths import KbPaths

log = logging.getLogger(__name__)

_MS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A generation that stays, and why."""

    kb: str
    generation: int
    why: str


@dataclass(slots=True)
class GcReport:
    """What a collection did, or would do: generations as "kb name/number"."""

    deleted: list[str] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    freed_bytes: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, other: GcReport) -> None:
        """Add what happened in another knowledge base."""
        self.deleted += other.deleted
        self.kept += other.kept
        self.freed_bytes += other.freed_bytes
        self.errors += other.errors


@dataclass(frozen=True, slots=True)
class Plan:
    """Which generations may go under a policy, and why the others stay. Leases are looked at later."""

    doomed: list[Generation]
    kept: list[tuple[Generation, str]]


def plan(generations: Sequence[Generation], retention: Retention, at_ms: int) -> Plan:
    """Apply a policy at a time (ms since the epoch)."""
    active = max((item.number for item in generations if item.state is GenerationState.ACTIVE), default=0)
    result = Plan([], [])
    archived, archived_bytes, limit = 0, 0, retention.max_archived_mib << 20
    for item in sorted(generations, key=lambda generation: generation.number, reverse=True):
        if item.state in (GenerationState.FAILED, GenerationState.MARKED_FOR_DELETION):
            result.doomed.append(item)
            continue
        passed_over = item.state is GenerationState.READY and item.number < active
        if item.state is not GenerationState.ARCHIVED and not passed_over:
            result.kept.append((item, str(item.state)))
            continue
        archived += 1
        archived_bytes += item.own_bytes
        since_ms = item.archived_ms or item.ready_ms or item.created_ms
        if at_ms - since_ms < retention.min_age_hours * _MS_PER_HOUR:
            result.kept.append((item, f"younger than {retention.min_age_hours:g} hours"))
        elif archived > retention.keep_archived or 0 < limit < archived_bytes:
            result.doomed.append(item)
        else:
            result.kept.append((item, f"one of the last {retention.keep_archived} kept for rollback"))
    return result


async def collect(store: GenerationStore, catalog: AsyncCatalog, *, retention: Retention, dry_run: bool) -> GcReport:
    """Collect one knowledge base. The report names what was deleted, kept (with the reason) and failed."""
    report = GcReport()
    if store.repairing:
        return report
    kb = await catalog.knowledge_base(store.kb_id)
    if not dry_run:
        await catalog.require_writable()
        await store.refuse_doubtful()
    planned = plan(await catalog.generations(store.kb_id), retention, now_ms())
    report.kept += [Kept(kb.name, item.number, why) for item, why in planned.kept]
    before = await asyncio.to_thread(disk_usage, store.paths.root)
    remaining = [item for item, _ in planned.kept]
    for item in planned.doomed:
        name = f"{kb.name}/{item.number}"
        try:
            if await _collect_one(store, catalog, item.number, dry_run=dry_run):
                report.deleted.append(name)
                continue
            report.kept.append(Kept(kb.name, item.number, "a reader is using it"))
        except StudioError as error:
            log.warning("generation %s was not collected: %s", name, error)
            report.errors.append(str(error))
        remaining.append(item)
    if dry_run:
        report.freed_bytes = await _would_free(store, remaining, before)
        return report
    await sweep(store, catalog, report)
    after = await asyncio.to_thread(disk_usage, store.paths.root)
    report.freed_bytes = max(0, sum(before.values()) - sum(after.values()))
    return report


async def _would_free(store: GenerationStore, remaining: Sequence[Generation], disk: dict[int, int]) -> int:
    """Bytes of the table, keyword and text files that no remaining generation reads."""
    needed: set[int] = set()
    for item in remaining:
        if item.state in READABLE:
            needed.update(await files_of(store, item))
    candidates = await asyncio.to_thread(_collectable_files, store)
    return sum(size for inode, size in disk.items() if inode in candidates and inode not in needed)


def _collectable_files(store: GenerationStore) -> set[int]:
    tables = [part for table in table_folders(store.paths.vectors) for part in table.glob("*") if part.name != REFS]
    return set().union(*(disk_usage(root) for root in (*tables, store.paths.lexical, store.paths.texts)))


async def _collect_one(store: GenerationStore, catalog: AsyncCatalog, number: int, *, dry_run: bool) -> bool:
    """Delete a generation; False when a reader has it, or it became active meanwhile."""
    lock = try_lock(store.paths.lease(number), shared=False)
    if lock is None:
        return False
    with lock:
        if dry_run:
            return True
        if not await catalog.mark_for_deletion(store.kb_id, number):
            return False
        reach("collect.marked")
        await asyncio.to_thread(_remove_tree, store.paths.lexical_generation(number))
        reach("collect.directory")
        await store.vectors.drop_tag(tag_of(number))
        reach("collect.tag")
        await catalog.forget_generation(store.kb_id, number)
        reach("collect.forgotten")
    with suppress(OSError):
        store.paths.lease(number).unlink()
    return True


async def sweep(store: GenerationStore, catalog: AsyncCatalog, report: GcReport) -> None:
    """Remove table versions, texts, directories and lease files that no generation refers to.

    Needs the writer lock: a build in progress owns files that nothing refers to yet.
    """
    lock = try_lock(store.paths.writer_lock, shared=False)
    if lock is None:
        return
    with lock:
        try:
            await store.refuse_doubtful()
            await store.recover()
            generations = await catalog.generations(store.kb_id)
            known = {tag_of(item.number) for item in generations}
            tables = {item.chunks_table for item in generations} | {DOCUMENTS_TABLE}
            for tag in set().union(*(await store.vectors.tags()).values()) - known:
                await store.vectors.drop_tag(tag)
            suspended = await catalog.jobs.suspended(store.kb_id)
            checkpoints = [found for found in map(Checkpoint.decode, suspended.values()) if found is not None]
            await _hold(store, generations, checkpoints)
            await store.vectors.clean_up(tables, remove_orphans=True)
            reach("collect.swept")
            for folder in (store.paths.lexical, store.paths.leases):
                await asyncio.to_thread(remove_except, folder, known)
            readable = [item for item in generations if item.state in READABLE]
            texts = await referenced_texts(store, readable)
            for checkpoint in checkpoints:
                texts |= await store.vectors.text_keys(checkpoint.documents_version)
            await asyncio.to_thread(remove_except, store.paths.texts, texts)
            journals = {store.paths.journal(job.id).name for job in await catalog.jobs.open(store.kb_id)}
            await asyncio.to_thread(remove_except, store.paths.journal("").parent, journals)
            await asyncio.to_thread(_remove_dead_clones, store.paths)
        except StudioError as error:
            log.warning("the sweep of %s stopped: %s", store.kb_id, error)
            report.errors.append(str(error))


async def _hold(store: GenerationStore, generations: Sequence[Generation], checkpoints: Sequence[Checkpoint]) -> None:
    """Tag the versions that interrupted jobs go on from.

    A job that ended between tagging a checkpoint and telling the catalog has its tags at a later version than the
    catalog knows of; without a tag the earlier one, with which the job goes on, would be deleted.
    """
    by_number = {item.number: item for item in generations}
    for found in checkpoints:
        if (building := by_number.get(found.generation)) is None:
            continue
        versions = replace(building, chunks_version=found.chunks_version, documents_version=found.documents_version)
        with suppress(StorageFault):  # gone already: the job begins anew
            await mend_tags(store.vectors, versions)


async def referenced_texts(store: GenerationStore, generations: Iterable[Generation]) -> set[str]:
    """Names of the text files that the documents of these generations need."""
    names: set[str] = set()
    for item in generations:
        names |= await store.vectors.text_keys(item.documents_version)
    return names


def _remove_dead_clones(paths: KbPaths) -> None:
    """Remove what a tuning left that was killed; one that runs holds its lock."""
    if paths.tuning.is_dir() and (lock := try_lock(paths.tuning_lock, shared=False)) is not None:
        with lock:
            shutil.rmtree(paths.tuning, ignore_errors=True)


def _remove_tree(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_fault(error, "deleting an old generation", directory) from error


def remove_except(directory: Path, keep: set[str]) -> None:
    """Delete everything in a directory but these names; what cannot be deleted stays for the next time."""
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        if path.name in keep:
            continue
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                os.unlink(path)  # noqa: PTH108
