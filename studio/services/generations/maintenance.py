"""Generations after they were built: list, promote, roll back, collect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from studio.config import Config
from studio.domain import Generation, GenerationState, KnowledgeBase
from studio.errors import Conflict, StudioError
from studio.index.clock import now_ms
from studio.index.generations import Stores
from studio.index.upkeep import GcReport, Kept, collect, plan
from studio.services.generations.promotion import Promotion
from studio.services.library import retention_of
from studio.ways_out import PromoteAnyway

log = logging.getLogger(__name__)

COLLECT_FIRST_AFTER_S = 60.0
"""Start-up is over by then."""

COLLECT_EVERY_S = 15 * 60.0

__all__ = ["GcReport", "Kept", "MaintenanceService"]


class MaintenanceService:
    """Promote, roll back, and collect."""

    def __init__(
        self,
        stores: Stores,
        config: Config,
        promotion: Promotion,
        switched: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """`switched` hears of every knowledge base, by id, whose active generation is another one now."""
        self._stores = stores
        self._config = config
        self._promotion = promotion
        self._switched = switched

    async def generations(self, kb: str) -> list[Generation]:
        """Newest first. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        return await self._stores.catalog.generations(base.id)

    async def promote(self, kb: str, number: int, *, force: bool = False) -> Generation:
        """Make a ready or archived generation active. Raises NotFound, Conflict.

        A ready one must pass its pinned queries first, unless `force`.
        """
        base = await self._stores.knowledge_base(kb)
        item = await self._stores.catalog.generation(base.id, number)
        if force or item.state is not GenerationState.READY:
            await self._stores.catalog.promote(base.id, number)
        elif held := await self._promotion.promote(item):
            raise Conflict(held, way_out=PromoteAnyway(number))
        await self.promoted(base.id)
        return await self._stores.catalog.generation(base.id, number)

    async def rollback(self, kb: str, number: int | None = None) -> Generation:
        """Go back to `number`, or to the newest archived generation before the active one. Raises Conflict."""
        base = await self._stores.knowledge_base(kb)
        if number is None:
            older = [item for item in await self._archived(base) if item < (base.active_generation or 0)]
            if not older:
                raise Conflict(f"“{base.name}” has no older generation to roll back to.")
            number = max(older)
        elif number not in await self._archived(base):
            return await self.promote(base.id, number)  # one that was never active is no way back: it has to pass first
        return await self._go_to(base.id, number)

    async def roll_forward(self, kb: str) -> Generation:
        """Undo one rollback: go to the oldest archived generation after the active one. Raises Conflict."""
        base = await self._stores.knowledge_base(kb)
        newer = [item for item in await self._archived(base) if item > (base.active_generation or 0)]
        if not newer:
            raise Conflict(f"“{base.name}” has no newer generation to go forward to.")
        return await self._go_to(base.id, min(newer))

    async def _go_to(self, kb_id: str, number: int) -> Generation:
        generation = await self._stores.catalog.promote(kb_id, number)
        if self._switched is not None:
            await self._switched(kb_id)
        return generation

    async def promoted(self, kb_id: str) -> None:
        """To be called when a generation was promoted. Never raises StudioError."""
        if self._switched is not None:
            await self._switched(kb_id)  # before the generation that was active may be collected
        await self.collect_if_due(kb_id)

    async def annotate(self, kb: str, number: int, note: str) -> Generation:
        """Replace a generation's note. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        return await self._stores.catalog.annotate(base.id, number, note=note)

    async def collect(self, kb: str | None = None, *, dry_run: bool = False) -> GcReport:
        """Delete what the policy no longer keeps and no reader holds, in one knowledge base or in all."""
        total = GcReport()
        for base in await self._bases(kb):
            store = self._stores.store(base.id)
            store.release()
            total.add(
                await collect(
                    store,
                    self._stores.catalog,
                    retention=retention_of(base, self._config),
                    dry_run=dry_run,
                )
            )
        return total

    async def collect_if_due(self, kb: str | None = None) -> None:
        """Collect where the policy lets something go, in one knowledge base or in all. Never raises StudioError."""
        try:
            for base in await self._bases(kb):
                generations = await self._stores.catalog.generations(base.id)
                if plan(generations, retention_of(base, self._config), now_ms()).doomed:
                    await self.collect(base.id)
        except StudioError as error:
            log.warning("the collection of old generations failed: %s", error)

    async def collect_regularly(self, first_s: float = COLLECT_FIRST_AFTER_S, every_s: float = COLLECT_EVERY_S) -> None:
        """Collect what falls due with time (a minimum age, a reader that let go), until cancelled."""
        await asyncio.sleep(first_s)
        while True:
            await self.collect_if_due()
            await asyncio.sleep(every_s)

    async def _archived(self, base: KnowledgeBase) -> list[int]:
        items = await self.generations(base.id)
        return [item.number for item in items if item.state is GenerationState.ARCHIVED]

    async def _bases(self, kb: str | None) -> list[KnowledgeBase]:
        if kb is not None:
            return [await self._stores.knowledge_base(kb)]
        return await self._stores.catalog.knowledge_bases()
