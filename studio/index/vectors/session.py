"""Sessions of LanceDB: what tables are read through, within a bound.

LanceDB reads tables through the two caches of a session, which keep within what they were made for and cannot be
resized: another size means another session, to which the generations that are open move while searches that have
begun finish on the old one. There is a main session, for the generations that stay open, and one aside for everything
else (builds, readers of other generations), which ends with the last of its users. Nothing can be taken out of a
session by itself, so that the main one is also replaced when a generation is let go.
"""

from __future__ import annotations

import asyncio
import weakref
from pathlib import Path
from typing import Any

from studio.index.vectors.faults import mapped
from studio.index.vectors.maintenance import connect, new_session

DEFAULT_BYTES = 1 << 30
"""Of both caches, until told otherwise. The library's own are 6 GB and 1 GB."""

_ASIDE = 4
"""The share of the session aside: a fourth."""
_METADATA = 4
"""The share of a session's bytes that its cache of metadata gets, ..."""
_MOST_METADATA_BYTES = 64 << 20
"""... and the most that it needs."""


class Cache:
    """A session of LanceDB and the databases opened through it. It ends when nothing holds it any more."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._connections: dict[Path, Any] = {}

    @property
    def nbytes(self) -> int:
        """Bytes it holds."""
        return int(self._session.size_bytes)

    async def connection(self, path: Path) -> Any:
        """The database in a folder, read through this cache. Raises StorageFault."""
        if path not in self._connections:
            with mapped(path):
                self._connections[path] = await connect(path, self._session)
        return self._connections[path]

    def disconnect(self, path: Path) -> None:
        """Close the database in a folder."""
        if (db := self._connections.pop(path, None)) is not None:
            db.close()


class Sessions:
    """The main session, the one aside, and those apart; on the event loop, but for `held` and `room`."""

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        self._limit = limit
        self._main: Cache | None = None
        self._aside: weakref.ref[Cache] | None = None
        self._caches: tuple[weakref.ref[Cache], ...] = ()  # replaced, never changed, as threads look at it
        self._opening = asyncio.Lock()

    def held(self) -> int:
        """Bytes in LanceDB's caches of indexes and of metadata."""
        return sum(cache.nbytes for cache in self._alive())

    def room(self) -> int:
        """Bytes that can still be kept within the bound."""
        return max(0, self._limit - self.held())

    async def main(self) -> Cache:
        """The cache for generations that stay open. Those that are move to it when it is a new one."""
        if self._main is not None:
            return self._main
        async with self._opening:
            return self._main or await self._new_main(warm=True)

    async def aside(self) -> Cache:
        """The cache for everything else; to be held as long as it is used."""
        async with self._opening:
            cache = self._aside() if self._aside is not None else None
            if cache is None:
                cache = await self._new(self._limit // _ASIDE)
                self._aside = weakref.ref(cache)
            return cache

    async def apart(self) -> Cache:
        """A cache of its own, as large as the main one, for measuring."""
        return await self._new(self._limit - self._limit // _ASIDE)

    def disconnect(self, path: Path) -> None:
        """Close the database in a folder for every reader."""
        for cache in self._alive():
            cache.disconnect(path)

    def forget(self) -> None:
        """Begin with empty caches the next time they are asked for."""
        self._main = self._aside = None

    async def _new_main(self, *, warm: bool) -> Cache:
        """Only under the lock."""
        cache = self._main = await self._new(self._limit - self._limit // _ASIDE)
        await self._move_open(cache, warm=warm)
        return cache

    async def _move_open(self, cache: Cache, *, warm: bool) -> None:
        """Let what is open and stays so read through a new main cache; here nothing is."""

    async def _new(self, limit: int) -> Cache:
        metadata = min(limit // _METADATA, _MOST_METADATA_BYTES)
        cache = Cache(await new_session(limit - metadata, metadata))
        self._caches = (*(known for known in self._caches if known() is not None), weakref.ref(cache))
        return cache

    def _alive(self) -> list[Cache]:
        return [cache for known in self._caches if (cache := known()) is not None]
