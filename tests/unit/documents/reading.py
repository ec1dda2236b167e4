"""Reading files through a pool of parser processes, in which some may misbehave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.documents.pool import ParserPool
from studio.domain import ParsedDocument, ParseProgress, ParserEvent
from studio.errors import DocumentFault
from tests.helpers import ROOT


async def read(pool: ParserPool, path: Path) -> list[ParsedDocument]:
    return [parsed async for parsed in pool.parse(path) if isinstance(parsed, ParsedDocument)]


def odd_pool(workers: int = 1, time_limit_s: float = 60.0, memory_mib: int = 256, **options: Any) -> ParserPool:
    """A pool whose plain-text files are programs: see odd_worker.py. They do what no confined worker could."""
    environment = {"PYTHONPATH": str(ROOT), **options.pop("environment", {})}
    options = {"confined": False, **options}
    return ParserPool(
        workers,
        time_limit_s,
        memory_mib << 20,
        worker_module="tests.unit.documents.pool.odd_worker",
        environment=environment,
        **options,
    )


def program(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines))
    return path


def told(events: list[ParserEvent]) -> list[str]:
    """Documents by text, failures by part and code; no signs of life."""
    return [
        event.text if isinstance(event, ParsedDocument) else f"{event.part}: {event.error}"
        for event in events
        if not isinstance(event, ParseProgress)
    ]


async def events(pool: ParserPool, path: Path, passwords: tuple[str, ...] = ()) -> list[ParserEvent]:
    return [event async for event in pool.parse(path, passwords=passwords)]


async def fault(pool: ParserPool, path: Path) -> DocumentFault:
    with pytest.raises(DocumentFault) as caught:
        await read(pool, path)
    return caught.value


def rows(path: Path, count: int, size: int = 100) -> Path:
    with path.open("w", encoding="utf-8") as stream:
        for i in range(count):
            stream.write(json.dumps({"_id": f"d{i}", "text": f"row {i} " + "x" * size}) + "\n")
    return path
