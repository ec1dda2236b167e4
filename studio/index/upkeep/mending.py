"""Mending what holds a generation together: its keyword index, its tags, the head of its tables.

The caller holds the writer lock. Whatever is put in the place of something damaged is complete and flushed before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from studio.concurrency import run_to_end
from studio.domain import Generation
from studio.errors import StorageFault, storage_fault
from studio.failpoints import reach
from studio.index.files import flush_tree
from studio.index.generations import tag_of
from studio.index.keywords import LexicalWriter
from studio.index.vectors import (
    CHUNK_TEXT,
    DOCUMENTS_TABLE,
    ROWS_PER_TURN,
    VectorDatabase,
    indexed_texts,
    manifests,
    table_folder,
    tag_files,
    tagged_version,
    version_of,
    version_opens,
)

Aside = Callable[[Path], Path]
"""Moves a file or folder out of the way without losing it and returns its new place. Raises StorageFault."""

_NEW = ".repair"
_ASIDE = "_damaged"


async def rebuild_keywords(vectors: VectorDatabase, directory: Path, generation: Generation, aside: Aside) -> None:
    """Make a keyword index anew from the chunks of its generation. Raises StorageFault; then the old one is there.

    A death between the two renames leaves no directory of that name, which the next repair makes again.
    """
    fresh = directory.with_name(directory.name + _NEW)
    writer = await run_to_end(LexicalWriter, fresh, generation.settings.language, None)
    try:
        reader = await vectors.reader(generation.chunks_table, generation.chunks_version, generation.documents_version)
        try:
            async for batch in reader.batches(CHUNK_TEXT, ROWS_PER_TURN):
                await run_to_end(_add, writer, batch)
        finally:
            reader.close()
        await run_to_end(writer.seal)
        await run_to_end(_swap, fresh, directory, aside)
    finally:
        await run_to_end(writer.abandon)


def _add(writer: LexicalWriter, batch: Any) -> None:
    writer.add_contents(indexed_texts(batch))


def _swap(fresh: Path, directory: Path, aside: Aside) -> None:
    old: Path | None = None
    try:
        flush_tree([fresh], 0.0)
        if directory.exists():
            old = aside(directory)
        reach("repair.keywords")
        fresh.rename(directory)
        flush_tree([directory.parent], directory.parent.stat().st_mtime)
    except OSError as error:  # Windows: a reader has a file of it open
        raise storage_fault(error, "replacing a damaged keyword index", directory) from error
    finally:
        if old is not None and not directory.exists():
            with suppress(OSError):
                old.rename(directory)


async def mend_tags(vectors: VectorDatabase, generation: Generation) -> None:
    """Let both tags of a generation hold the versions that the catalog names. Raises StorageFault when one is gone."""
    for table, version in (
        (generation.chunks_table, generation.chunks_version),
        (DOCUMENTS_TABLE, generation.documents_version),
    ):
        tags = await vectors.tags_of(table)
        if tags.get(tag_of(generation.number)) != version:
            await vectors.set_tag(table, tag_of(generation.number), version)


def _drop_unreadable_tags(table: Path, aside: Aside) -> None:
    for file in tag_files(table):
        try:
            tagged_version(file)
        except (ValueError, KeyError, TypeError):
            aside(file)


async def mend_table(folder: Path, table: str, needed: set[int], aside: Aside) -> None:
    """Make a table of the database in `folder` open again if it does not; it stays as it is where that fails.

    A tag file that cannot be read makes every use of tags fail: it is set aside, `mend_tags` makes it again. Lance
    reads the newest manifest whichever version it is asked for, so that one torn by a power cut hides all the others,
    and every manifest when it cleans up. Of the versions that no generation needs unreadable ones are set aside; of the
    others only a newest one without which the table opens. Raises StorageFault when files cannot be moved.
    """
    root = table_folder(folder, table)
    await asyncio.to_thread(_drop_unreadable_tags, root, aside)
    await drop_unreadable_versions(root, needed, aside)
    if await table_opens(folder, table):
        return
    hidden = root / _ASIDE
    moved: list[Path] = []
    try:
        for manifest in await asyncio.to_thread(manifests, root):
            await asyncio.to_thread(hidden.mkdir, exist_ok=True)
            await asyncio.to_thread(manifest.rename, hidden / manifest.name)
            moved.append(manifest)
            if await table_opens(folder, table):
                moved.clear()
                await asyncio.to_thread(aside, hidden)
                return
    except OSError as error:
        raise storage_fault(error, "mending a table", root) from error
    finally:
        for manifest in moved:
            (hidden / manifest.name).rename(manifest)
        with suppress(OSError):
            hidden.rmdir()


async def drop_unreadable_versions(table: Path, needed: set[int], aside: Aside) -> None:
    """Set the manifests of a table (its directory) aside that cannot be read and are not of a `needed` version."""
    for manifest in await asyncio.to_thread(manifests, table):
        if version_of(manifest) not in needed and not await version_opens(table, version_of(manifest)):
            await asyncio.to_thread(aside, manifest)


async def every_version_opens(table: Path) -> bool:
    """Whether every manifest of a table (its directory) can be read."""
    for manifest in await asyncio.to_thread(manifests, table):
        if not await version_opens(table, version_of(manifest)):
            return False
    return True


async def table_opens(folder: Path, table: str) -> bool:
    """Whether a table of the database in `folder` opens at its newest version."""
    vectors = VectorDatabase(folder)  # another one may remember what it read before
    try:
        await vectors.tags_of(table)
    except StorageFault:
        return False
    finally:
        vectors.close()
    return True
