"""Remembers how searches went, at no cost to them: in memory, and from there to the catalog in batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from studio.concurrency import TaskOwner
from studio.config import Config
from studio.errors import EnvironmentFault
from studio.index.catalog import KEPT, LoggedQuery, Outcome
from studio.index.clock import now_ms
from studio.index.generations import Stores

log = logging.getLogger(__name__)

FLUSH_AT = 50
FLUSH_AFTER_S = 30.0
"""A write to the catalog waits for the disk, which wakes it up; on battery that is not to happen for every search."""


class SearchLog:
    """What is known of past searches. Where nothing can be written they are known until the program ends."""

    def __init__(self, stores: Stores, config: Config) -> None:
        self._stores = stores
        self._config = config
        self._owner = TaskOwner("search log")
        self._timer: asyncio.Task[None] | None = None
        self._full = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._waiting: list[LoggedQuery] = []
        self._tried = 0
        self._searched: set[str] = set()

    @property
    def remembers(self) -> bool:
        """Whether what was searched for is kept."""
        return bool(self._config.get("remember_queries"))

    def record(
        self,
        kb_id: str,
        query: str,
        took_ms: float,
        outcome: Outcome,
        timings_ms: Mapping[str, float] | None = None,
    ) -> None:
        """Note a search of one knowledge base; `timings_ms` are its parts, as `SearchResponse` has them.

        Returns at once. A request that made no sense (InvalidRequest, NotFound) is not to be recorded.
        """
        text = query if self.remembers else ""
        first = kb_id not in self._searched
        self._searched.add(kb_id)
        self._waiting.append(LoggedQuery(kb_id, now_ms(), took_ms, text, outcome, dict(timings_ms or {}), first))
        if len(self._waiting) - self._tried >= FLUSH_AT:
            self._full.set()
        if self._timer is None or self._timer.done():
            self._timer = self._owner.start(self._flush_soon(), name="flush")

    async def recent(self, kb_id: str, limit: int) -> list[LoggedQuery]:
        """The last searches of one knowledge base, oldest first, with those not yet written. Raises StorageFault."""
        async with self._flushing:
            stored = await self._stores.catalog.queries.recent(kb_id, limit)
            return [*stored, *(entry for entry in self._waiting if entry.kb_id == kb_id)][-limit:]

    async def flush(self) -> None:
        """Write what waits; where that fails it stays in memory. Removes texts that are not to be remembered."""
        async with self._flushing:
            entries = list(self._waiting)
            self._full.clear()
            try:
                if not self.remembers:
                    # Also of searches that were recorded a moment before it was switched off.
                    entries = [replace(entry, query="") for entry in entries]
                    await self._stores.catalog.queries.forget_texts()
                if entries:
                    await self._stores.catalog.queries.append(entries)
            except EnvironmentFault as fault:
                log.info("searches are remembered until the program ends only: %s", fault)
                self._waiting = self._waiting[-KEPT:]
                self._tried = len(self._waiting)
            else:
                del self._waiting[: len(entries)]
                self._tried = 0

    async def close(self) -> None:
        """Write what waits. Idempotent."""
        # A write that was cut off here would be done once more.
        async with self._flushing:
            await self._owner.close()
        await self.flush()

    async def _flush_soon(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_AFTER_S):
                await self._full.wait()
        except TimeoutError:
            pass
        await self.flush()
