"""The row of a knowledge base is not read again while nobody wrote, and never older than the call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from studio.domain import KbSettings, KnowledgeBase
from studio.errors import NotFound
from studio.index.catalog import Catalog
from studio.index.catalog.glance import Glance
from studio.index.generations import Stores
from studio.paths import DataPaths
from tests.helpers.filesystems import read_only


@pytest_asyncio.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = await Stores.open(DataPaths.resolve(tmp_path / "data"))
    yield opened
    await opened.close()


@pytest.fixture
def elsewhere(stores: Stores) -> Iterator[Catalog]:
    """The same catalog as another process has it open."""
    catalog = Catalog(stores.paths.catalog)
    yield catalog
    catalog.close()


@pytest.fixture
def read(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the catalog is asked for."""
    asked: list[str] = []
    real = stores.catalog.knowledge_base

    async def noted(name_or_id: str) -> KnowledgeBase:
        asked.append(name_or_id)
        return await real(name_or_id)

    monkeypatch.setattr(stores.catalog, "knowledge_base", noted)
    return asked


async def test_a_row_is_read_once_while_nothing_changes(stores: Stores, read: list[str]) -> None:
    kb = await stores.catalog.create_kb("Law", KbSettings())
    read.clear()
    first = await stores.knowledge_base("law")
    assert [await stores.knowledge_base("law"), await stores.knowledge_base(kb.id)] == [first, first]
    assert read == ["law", kb.id]


async def test_what_this_and_other_processes_write_is_seen_at_once(stores: Stores, elsewhere: Catalog) -> None:
    kb = await stores.catalog.create_kb("Law", KbSettings())
    assert (await stores.knowledge_base(kb.id)).name == "Law"
    await stores.catalog.rename_kb(kb.id, "Tax")
    assert (await stores.knowledge_base(kb.id)).name == "Tax"
    elsewhere.rename_kb(kb.id, "Art")
    assert (await stores.knowledge_base(kb.id)).name == "Art"
    with pytest.raises(NotFound):
        await stores.knowledge_base("Tax")
    elsewhere.delete_kb(kb.id)
    with pytest.raises(NotFound):
        await stores.knowledge_base(kb.id)


async def test_what_is_written_while_a_row_is_read_is_seen_by_the_next(
    stores: Stores, elsewhere: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    kb = await stores.catalog.create_kb("Law", KbSettings())
    real = stores.catalog.knowledge_base

    async def overtaken(name_or_id: str) -> KnowledgeBase:
        found = await real(name_or_id)
        if found.name == "Law":
            elsewhere.rename_kb(kb.id, "Art")
        return found

    monkeypatch.setattr(stores.catalog, "knowledge_base", overtaken)
    assert (await stores.knowledge_base(kb.id)).name == "Law"
    assert (await stores.knowledge_base(kb.id)).name == "Art"


async def test_a_copy_of_the_catalog_is_asked_each_time(tmp_path: Path) -> None:
    path = tmp_path / "data" / "catalog.sqlite3"
    path.parent.mkdir()
    first = Catalog(path)
    first.create_kb("Law", KbSettings())
    assert first.moment() == first.moment() is not None
    first.close()
    assert first.moment() is None
    with read_only(path.parent):
        copy = Catalog(path)
        assert copy.moment() is None
        copy.close()


def test_a_file_that_is_not_there_cannot_be_looked_at(tmp_path: Path) -> None:
    glance = Glance(tmp_path / "none.sqlite3")
    assert glance.moment() is None
    glance.close()
    assert not (tmp_path / "none.sqlite3").exists()
