"""The catalog as coroutines: every method of it, whole calls, in order, on one thread."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from studio.domain import KbSettings
from studio.errors import Conflict, StorageFault
from studio.index.catalog import AsyncCatalog, Catalog
from studio.index.catalog.database import Database

ON_THE_THREAD = {"close", "mapped", "moment", "row", "rows", "transaction"}
"""What only code behind the coroutines calls, or what the asynchronous catalog has a method of its own for."""


@pytest_asyncio.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[AsyncCatalog]:
    opened = await AsyncCatalog.open(tmp_path / "catalog.sqlite3")
    yield opened
    await opened.close()


async def test_every_method_of_every_concern_is_a_coroutine_of_the_same_name(catalog: AsyncCatalog) -> None:
    concerns = ("jobs", "names", "pins", "queries", "saved", "runs", "watched", "tags")
    with_sql = Catalog(Path(":memory:"))
    pairs = [(catalog, with_sql), *((getattr(catalog, name), getattr(with_sql, name)) for name in concerns)]
    for face, blocking in pairs:
        public = dict(inspect.getmembers(type(blocking), inspect.isfunction))
        for name, method in public.items():
            if not name.startswith("_") and not (isinstance(blocking, Database) and name in ON_THE_THREAD):
                assert inspect.unwrap(getattr(type(face), name)) is method, name
    with_sql.close()


async def test_results_and_errors_come_through(catalog: AsyncCatalog) -> None:
    kb = await catalog.create_kb("Law", KbSettings())
    assert (await catalog.knowledge_bases(), catalog.read_only) == ([kb], None)
    with pytest.raises(Conflict, match="Law"):
        await catalog.create_kb("Law", KbSettings())


async def test_a_cancelled_caller_leaves_no_half_transaction(
    catalog: AsyncCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that has begun is done whole; one that waits for its turn is not made."""
    begun, go_on = asyncio.Event(), threading.Event()
    loop, write = asyncio.get_running_loop(), Catalog.require_writable

    def slowly(database: Catalog) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(60)
        write(database)

    monkeypatch.setattr(Catalog, "require_writable", slowly)
    first = loop.create_task(catalog.create_kb("Begun", KbSettings()))
    second = loop.create_task(catalog.create_kb("Waiting", KbSettings()))
    await begun.wait()
    for task in (first, second):
        task.cancel()
    assert [type(error) for error in await asyncio.gather(first, second, return_exceptions=True)] == [
        asyncio.CancelledError, asyncio.CancelledError
    ]  # fmt: skip
    go_on.set()
    assert [kb.name for kb in await catalog.knowledge_bases()] == ["Begun"]


async def test_calls_take_effect_in_the_order_they_are_made(catalog: AsyncCatalog) -> None:
    kb = await catalog.create_kb("0", KbSettings())
    await asyncio.gather(*(catalog.rename_kb(kb.id, str(number)) for number in range(1, 20)))
    assert (await catalog.knowledge_base(kb.id)).name == "19"


async def test_a_catalog_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageFault, match="damaged"):
        await AsyncCatalog.open(tmp_path / "catalog.sqlite3")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("catalog")]
