"""Promotion of a new generation: the gate first, then the one atomic step."""

from __future__ import annotations

from studio.domain import Generation
from studio.index.catalog import Overtaken
from studio.index.generations import Stores
from studio.services.quality import GateService, held_sentence


class Promotion:
    """Makes a ready generation active unless its gate fails; one that fails stays ready and says why."""

    def __init__(self, stores: Stores, gate: GateService) -> None:
        self._stores = stores
        self._gate = gate

    async def promote(self, generation: Generation, *, built: bool = False) -> str:
        """Returns "" when the generation is active now, else the sentence that says why it is held back.

        `built`: it was just built, and takes over only from the generation it was built on; a rollback while it was
        being built stands. Raises NotFound, Conflict, StorageFault; then nothing has changed.
        """
        kb_id, number = generation.kb_id, generation.number
        report = await self._gate.check(kb_id, number)
        try:
            if report.passed:
                instead_of = generation.parent if built else None
                await self._stores.catalog.promote(kb_id, number, instead_of=instead_of)
                return ""
            held = held_sentence(report)
        except Overtaken as error:
            held = f"Held back: {error}"
        await self._stores.catalog.annotate(kb_id, number, held=held)
        return held
