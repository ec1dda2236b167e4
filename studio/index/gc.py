"""Collecting what no generation needs: old generations, their table versions, texts nothing refers to.

Only archived and failed generations that nobody leases are collected. A deletion that fails is reported
and tried again next time; it stops neither the rest nor a promotion.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from studio.concurrency import Executor
from studio.domain import Generation, GenerationState
from studio.errors import StudioError
from studio.failpoints import reach
from studio.index.catalog import Catalog
from studio.index.generations import GenerationStore, tag_of
from studio.index.locks import try_lock

log = logging.getLogger(__name__)

_NEEDS_TEXTS = (GenerationState.ACTIVE, GenerationState.ARCHIVED, GenerationState.READY)


@dataclass(frozen=True, slots=True)
class Kept:
    """A generation that stays, and why."""

    generation: int
    why: str


@dataclass(slots=True)
class GcReport:
    """What a collection did, or would do: generations as "kb name/number"."""

    deleted: list[str] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    freed_bytes: int = 0
    errors: list[str] = field(default_factory=list)


def plan(generations: Sequence[Generation], keep_archived: int) -> tuple[list[Generation], list[Kept]]:
    """Which generations may go under the policy, and which stay. Leases are looked at later."""
    doomed, kept, archived = [], [], 0
    for item in sorted(generations, key=lambda generation: generation.number, reverse=True):
        if item.state in (GenerationState.FAILED, GenerationState.MARKED_FOR_DELETION):
            doomed.append(item)
        elif item.state is GenerationState.ARCHIVED:
            archived += 1
            if archived > keep_archived:
                doomed.append(item)
            else:
                kept.append(Kept(item.number, f"one of the last {keep_archived} kept for rollback"))
        else:
            kept.append(Kept(item.number, str(item.state)))
    return doomed, kept


async def collect(
    store: GenerationStore, catalog: Catalog, thread: Executor, *, keep_archived: int, dry_run: bool
) -> GcReport:
    """Collect one knowledge base. The report names what was deleted, kept (with the reason) and failed."""
    report = GcReport()
    kb = await thread.run(catalog.knowledge_base, store.kb_id)
    generations = await thread.run(catalog.generations, store.kb_id)
    doomed, report.kept = plan(generations, keep_archived)
    for item in doomed:
        try:
            if await _collect_one(store, catalog, thread, item.number, report, dry_run=dry_run):
                report.deleted.append(f"{kb.name}/{item.number}")
        except StudioError as error:
            log.warning("generation %s/%d was not collected: %s", kb.name, item.number, error)
            report.errors.append(str(error))
    if not dry_run:
        await _sweep(store, catalog, thread, report)
    return report


async def _collect_one(
    store: GenerationStore, catalog: Catalog, thread: Executor, number: int, report: GcReport, *, dry_run: bool
) -> bool:
    lock = try_lock(store.paths.lease(number), shared=False)
    if lock is None:
        report.kept.append(Kept(number, "a reader is using it"))
        return False
    with lock:
        directory = store.paths.lexical_generation(number)
        if dry_run:
            report.freed_bytes += await asyncio.to_thread(_own_bytes, directory)
            return True
        if not await thread.run(catalog.mark_for_deletion, store.kb_id, number):
            return False
        reach("collect.marked")
        report.freed_bytes += await asyncio.to_thread(_own_bytes, directory)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        reach("collect.directory")
        await store.vectors.drop_tag(tag_of(number))
        reach("collect.tag")
        await thread.run(catalog.forget_generation, store.kb_id, number)
        reach("collect.forgotten")
    with suppress(OSError):
        store.paths.lease(number).unlink()
    return True


async def _sweep(store: GenerationStore, catalog: Catalog, thread: Executor, report: GcReport) -> None:
    """Remove table versions, texts and directories that no generation refers to.

    Needs the writer lock: a build in progress owns files that nothing refers to yet.
    """
    lock = try_lock(store.paths.writer_lock, shared=False)
    if lock is None:
        return
    with lock:
        try:
            await store.recover()
            generations = await thread.run(catalog.generations, store.kb_id)
            known = {item.number for item in generations}
            tables = {item.chunks_table for item in generations} | {"documents"}
            for tag in set().union(*(await store.vectors.tags()).values()) - {tag_of(number) for number in known}:
                await store.vectors.drop_tag(tag)
            report.freed_bytes += await store.vectors.clean_up(tables, remove_orphans=True)
            reach("collect.swept")
            report.freed_bytes += await asyncio.to_thread(
                _remove_except, store.paths.lexical, {tag_of(number) for number in known}
            )
            readable = [item for item in generations if item.state in _NEEDS_TEXTS]
            report.freed_bytes += await asyncio.to_thread(
                _remove_except, store.paths.texts, await referenced_texts(store, readable)
            )
        except StudioError as error:
            log.warning("the sweep of %s stopped: %s", store.kb_id, error)
            report.errors.append(str(error))


async def referenced_texts(store: GenerationStore, generations: Iterable[Generation]) -> set[str]:
    """Names of the text files that the documents of these generations need."""
    names: set[str] = set()
    for item in generations:
        reader = await store.vectors.reader(item.chunks_table, item.chunks_version, item.documents_version)
        try:
            names |= {text_key(record.sha256, record.kind) for record in await reader.documents() if record.sha256}
        finally:
            reader.close()
    return names


def text_key(sha256: str, kind: str) -> str:
    """Name of the file that holds a source file's extracted texts."""
    return f"{sha256}.{kind}"


def _own_bytes(directory: Path) -> int:
    """Bytes that deleting `directory` frees: files with other hard links stay on disk."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(OSError):
            status = path.stat()
            if path.is_file() and status.st_nlink == 1:
                total += status.st_size
    return total


def _remove_except(directory: Path, keep: set[str]) -> int:
    freed = 0
    if not directory.is_dir():
        return 0
    for path in directory.iterdir():
        if path.name in keep:
            continue
        with suppress(OSError):
            if path.is_dir():
                freed += _own_bytes(path)
                shutil.rmtree(path)
            else:
                freed += path.stat().st_size
                os.unlink(path)  # noqa: PTH108
    return freed
