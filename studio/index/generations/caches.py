"""What the indexes of all knowledge bases keep in memory: how much, bounded by whom, and how it is given back.

Tantivy maps its files; pages of them leave memory when the index is opened anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from studio.errors import StorageFault
from studio.index.keywords import WRITER_HEAP_BYTES, LexicalReader
from studio.index.vectors import DEFAULT_BYTES, Cache, Sessions, TableReader
from studio.memory import give_back, mapped_files

_HARDLY_MORE = 1.25
"""Times the bound: up to it a higher one is not worth beginning with empty caches."""

log = logging.getLogger(__name__)


class OpenGeneration(Protocol):
    """A generation whose indexes are open. `kept` says whether it stays open between readers."""

    tables: TableReader
    lexical: LexicalReader
    kept: bool


class IndexCaches(Sessions):
    """Bounds, tells and drops what indexes below `root` keep in memory.

    What tells may be called from any thread, everything else on the event loop.
    """

    def __init__(self, root: Path, limit: int = DEFAULT_BYTES) -> None:
        super().__init__(limit)
        self.lexical_heap_bytes = WRITER_HEAP_BYTES
        """Heap of the writers of keyword indexes that begin later."""
        self.small_builds = False
        """Whether builds write to the disk what they have, early and in small parts."""
        self._root = root
        self._open: tuple[OpenGeneration, ...] = ()  # replaced, never changed, as threads look at it

    # ------------------------------------------------------------ what is held

    def maps(self) -> int:
        """Bytes of our own tables about the generations that are open."""
        return sum(snapshot.tables.nbytes for snapshot in self._open)

    def mapped(self) -> int:
        """Resident bytes of the mapped files of keyword indexes; where the system does not tell, their size."""
        pages = mapped_files(os.getpid())
        if pages is None:
            return sum(map(_size, self._files(tables=False)))
        root = self._root.resolve()
        return sum(size for name, size in pages.items() if _is_lexical(Path(name), root))

    def files(self) -> list[Path]:
        """Files that the generations which are open are read from, and those of other versions of their tables."""
        return list(self._files(tables=True))

    def room(self) -> int:
        """Bytes that can still be kept within the bound, our own tables included."""
        return max(0, super().room() - self.maps())

    def _files(self, *, tables: bool) -> Iterable[Path]:
        folders = {folder for snapshot in self._open for folder in (snapshot.lexical.path, *snapshot.tables.folders)}
        for folder in folders:
            if tables or folder.parent.name == "lexical":
                yield from (Path(place, name) for place, _, names in os.walk(folder) for name in names)

    # ------------------------------------------------------------ bounds

    async def resize(self, limit: int) -> None:
        """Bound LanceDB's caches to so many bytes in all; what they hold beyond is dropped.

        A build that runs keeps what it has, a fourth of the bound it began with. Takes some milliseconds for each
        generation that is open; searches go on meanwhile. A bound that is hardly higher changes nothing: caches begin
        empty.
        """
        if self._limit <= limit <= self._limit * _HARDLY_MORE:
            return
        self._limit = limit
        await self._renew(warm=True)

    async def drop(self) -> None:
        """Keep nothing: neither caches nor our own tables nor pages of files, as far as the system can be told.

        Searches that run are not disturbed, and those that follow read what they need, and keep what there is room for.
        """
        for snapshot in self._open:
            snapshot.tables.forget()
        await self._renew(warm=False)
        for snapshot in self._open:
            try:
                await asyncio.to_thread(snapshot.lexical.reopen)
            except StorageFault as fault:
                log.warning("a keyword index stays as it was opened: %s", fault)
        await asyncio.to_thread(_drop_pages, self._files(tables=True))
        await asyncio.to_thread(give_back)

    # ------------------------------------------------------------ for the stores

    def opened(self, snapshot: OpenGeneration) -> None:
        """Count what a snapshot holds, until it is `closed`."""
        self._open = (*self._open, snapshot)

    def closed(self, snapshot: OpenGeneration) -> None:
        """A snapshot holds nothing any more."""
        self._open = tuple(other for other in self._open if other is not snapshot)

    async def adopt(self, snapshot: OpenGeneration) -> None:
        """Let a snapshot that is kept open use the main cache, if it does not yet."""
        main = await self.main()
        if snapshot.tables.cache is not main:
            await self._move(snapshot, main, warm=True)

    async def _renew(self, *, warm: bool) -> None:
        async with self._opening:
            self.forget()
            if any(snapshot.kept for snapshot in self._open):
                await self._new_main(warm=warm)
        await asyncio.to_thread(give_back)

    async def _move_open(self, cache: Cache, *, warm: bool) -> None:
        kept = [snapshot for snapshot in self._open if snapshot.kept]
        for snapshot in kept:
            await self._move(snapshot, cache, warm=warm)
        if kept:
            await asyncio.to_thread(give_back)

    async def _move(self, snapshot: OpenGeneration, cache: Cache, *, warm: bool) -> None:
        try:
            await snapshot.tables.move_to(cache, warm=warm)
        except StorageFault as fault:  # it goes on with what it has open, and the reader that meets the damage tells
            log.warning("a generation stays in an old cache: %s", fault)


def _is_lexical(path: Path, root: Path) -> bool:
    return path.is_relative_to(root) and path.parent.parent.name == "lexical"


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _drop_pages(paths: Iterable[Path]) -> None:
    """Let the system forget these files where it can be told (Linux). Pages that are mapped or changed stay."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)
