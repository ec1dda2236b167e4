"""Nothing of generations that were replaced stays in memory, not even until Python looks for cycles."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from studio.index.catalog import Catalog
from studio.index.generations import Build, Snapshot
from studio.index.keywords import Analyzer, LexicalReader, LexicalWriter
from studio.index.vectors import TableReader, VectorDatabase
from studio.index.vectors.document_table import DocumentTable
from studio.index.vectors.passage_file import PassageWriter
from studio.index.vectors.row_map import RowMap
from tests.helpers.ward import TEXTS, Ward

LARGE = (
    Analyzer, Build, Catalog, DocumentTable, LexicalReader, LexicalWriter, PassageWriter, RowMap, Snapshot, TableReader,
    VectorDatabase,
)  # fmt: skip


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def next_generation(ward: Ward, at: int) -> None:
    (ward.folder / "glacier.txt").write_text(f"{TEXTS['glacier.txt']} It was seen {at} times.")
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    for _ in range(3):  # the second search has the tables of rows read
        await ward.found()
    async with ward.store.reading() as snapshot:
        await asyncio.gather(*snapshot.tables._tasks._tasks)


def large() -> list[object]:
    return [item for item in gc.get_objects() if type(item) in LARGE]


@pytest.mark.usefixtures("without_collector")
async def test_replaced_generations_leave_nothing_behind(ward: Ward) -> None:
    ward.stores._stores.clear()  # what was closed keeps nothing open
    others = large()  # of tests before this one in the same process

    def held() -> Counter[str]:
        known = set(map(id, others))
        return Counter(type(item).__name__ for item in large() if id(item) not in known)

    await next_generation(ward, 0)
    before = held()
    print(before)
    assert before["Snapshot"] == before["LexicalReader"] == before["TableReader"] == 1
    for at in range(1, 5):  # of which one joins small fragments
        await next_generation(ward, at)
    print(held())
    assert held() == before
