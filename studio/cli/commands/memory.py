"""The memory ledger on the command line."""

from __future__ import annotations

import asyncio

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE
from studio.cli.output import say, size, table
from studio.memory import MemorySnapshot
from studio.viewmodels.text import component


async def memory(services: Services, options: Options) -> int:
    """Read the memory once and say who holds what, how much may be held, and how short it is."""
    await services.memory.step()
    reading = await asyncio.to_thread(services.memory.snapshot)
    value = {
        "level": reading.level.name.lower(),
        "used_bytes": reading.used_bytes,
        "budget_bytes": reading.budget_bytes,
        "ceiling_bytes": services.memory.budget.ceiling,
        "sentence": reading.sentence,
        "reason": reading.reason,
        "parts": [
            {
                "name": held.name,
                "private_bytes": held.private,
                "mapped_bytes": held.mapped,
                "cached_bytes": held.cached,
            }
            for held in reading.holdings
        ],
    }
    say(options, value, _text(reading))
    return DONE


def _text(reading: MemorySnapshot) -> str:
    used = f"{size(reading.used_bytes)} of the budget of {size(reading.budget_bytes)} are in use."
    short = [f"Memory is {reading.level.name.lower()}. {reading.reason}"] if reading.reason else []
    rows = [
        [component(held.name), size(held.private), size(held.mapped), size(held.cached)]
        for held in reading.holdings
        if held.counted or held.cached
    ]
    return "\n".join([used, *short, "", table(rows, ("PART", "ITS OWN", "MAPPED", "CACHED, NOT COUNTED"))])
