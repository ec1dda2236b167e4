"""The bench every test of the index works on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from toy import Bench

from studio.index.stores import Stores
from studio.paths import DataPaths


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    stores = await Stores.open(DataPaths(tmp_path / "data"))
    yield await Bench.create(stores)
    await stores.close()
