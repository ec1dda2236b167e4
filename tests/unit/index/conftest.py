"""The bench every test of the index works on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from studio.index.generations import Stores
from studio.index.vectors import ann
from studio.paths import DataPaths
from tests.helpers.toy import Bench


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    stores = await Stores.open(DataPaths(tmp_path / "data"))
    yield await Bench.create(stores)
    await stores.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes from 2,000 rows on, with partitions of 100: the proportions of large tables in seconds."""
    monkeypatch.setattr(ann, "AUTO_ROWS", 2_000)
    monkeypatch.setattr(ann, "ROWS_PER_PARTITION", 100)
