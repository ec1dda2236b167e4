"""Processes that search while another promotes and collects see whole generations and no error."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from studio.domain import KnowledgeBase
from studio.index.generations import Stores
from studio.paths import DataPaths
from tests.faults.readers import promote_next, run
from tests.helpers.toy import Bench

READERS = 3
GENERATIONS = 12


async def test_readers_in_other_processes_see_whole_generations_only(tmp_path: Path) -> None:
    results = await run(tmp_path, generations=GENERATIONS, readers=READERS)
    assert [seen.faults for seen in results] == [[]] * READERS
    for seen in results:
        assert seen.errors == seen.mixed == 0
        assert len(seen.generations) >= 3, "the reader did not search while generations changed"


async def test_a_reader_too_late_for_a_generation_opens_the_one_that_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between asking for the active generation and pinning it, another one is promoted and the old one collected."""
    writer, reader = [await Stores.open(DataPaths(tmp_path)) for _ in range(2)]
    bench = await Bench.create(writer)
    await promote_next(bench, 1)
    look_up, asked, overtaken = reader.catalog.knowledge_base, asyncio.Event(), asyncio.Event()

    async def slowly(name: str) -> KnowledgeBase:
        found = await look_up(name)
        asked.set()
        async with asyncio.timeout(60):
            await overtaken.wait()
        return found

    async def read() -> int:
        async with reader.store(bench.kb.id).reading() as snapshot:
            return snapshot.generation.number

    monkeypatch.setattr(reader.catalog, "knowledge_base", slowly)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        async with asyncio.timeout(60):
            await asked.wait()
        await promote_next(bench, 2)
        assert (await bench.collect(0)).deleted == ["Bench/1"]
        overtaken.set()
    assert reading.result() == 2
    for stores in (reader, writer):
        await stores.close()
