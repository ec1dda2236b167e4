"""What each version of the program wrote is read, checked, searched, built upon and restored by this one."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from studio.bootstrap import Services, open_services
from studio.domain import DocumentStatus, GenerationState, SearchMode, SearchRequest
from studio.index.bundle import BUNDLE_VERSION
from studio.index.catalog import Catalog
from studio.index.catalog.migrations import schema_version
from studio.index.keywords import LEXICAL_VERSION
from studio.index.vectors import ROWS_VERSION
from studio.paths import DataPaths
from studio.services.recovery import restore_catalog

STORES = Path(__file__).parent / "stores"
SONGS = "Blue whales sing low songs that travel hundreds of kilometres under water."
PIANO = "A piano has about {} strings. Hammers covered with felt strike them, and dampers silence them again."
ICE = "Glaciers are rivers of ice that carve valleys over thousands of years."


def test_every_version_has_its_golden_files() -> None:
    """Whoever raises a version adds the files that the new one writes (make_store.py), and keeps the old ones."""
    stores = {path.name for path in STORES.glob("store-*.tar.gz")}
    assert stores == {f"store-{number}.tar.gz" for number in range(1, schema_version() + 1)}
    bundles = {path.name for path in STORES.glob("bundle-*")}
    assert bundles == {f"bundle-{number}.ragstudio" for number in range(1, BUNDLE_VERSION + 1)}


def unpack(name: str, data_dir: Path) -> None:
    """Make a data directory what a version of the program left."""
    with tarfile.open(STORES / name) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4; Debian 12 has 3.11.2
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(data_dir.parent / "golden")
    for path in (data_dir.parent / "golden" / "store").iterdir():
        path.rename(data_dir / path.name)


@pytest.fixture(params=sorted(path.name for path in STORES.glob("store-*.tar.gz")))
def golden(data_dir: Path, request: pytest.FixtureRequest) -> Path:
    """A data directory of each version."""
    unpack(request.param, data_dir)
    return data_dir


async def search(services: Services, query: str, mode: SearchMode, generation: int | None = None) -> list[str]:
    found = await services.search.search(SearchRequest(("Golden",), query, mode, generation=generation))
    assert found.degraded is None
    return [result.content for result in found.results]


async def check_contents(services: Services) -> None:
    assert SONGS in (await search(services, "whale music", SearchMode.VECTOR))[0]
    assert await search(services, "glacier", SearchMode.KEYWORD) == [ICE]
    assert len(await search(services, "song", SearchMode.KEYWORD)) == 1, "a part of an identifier is found"
    assert len(await search(services, "鲸", SearchMode.KEYWORD)) == 1, "a character inside a run is found"
    assert (await search(services, "piano strings", SearchMode.HYBRID))[0] == PIANO.format(220)
    records = {Path(item.source_path).name: item for item in await services.library.documents("Golden")}
    whales, torn = records["whales.md"], records["torn.pdf"]
    assert (whales.title, whales.created, whales.metadata["audience"]) == ("Whales", "2024-05-06", "all")
    assert torn.status is DocumentStatus.FAILED and torn.error
    active = (await services.library.get("Golden")).active_generation
    assert active is not None
    assert SONGS in (await services.search.document_text("Golden", active, whales.document_id)).text
    assert [(pin.query, pin.top) for pin in await services.gate.pins("Golden")] == [("songs of whales", 3)]
    checks = await services.doctor.check()
    assert [check for check in checks if not check.ok] == []


async def check_what_people_said(services: Services) -> None:
    assert await services.tags.counts("Golden", ["whales.md"]), "the tag moved along with the file"
    (judged,) = await services.quality.judging.queries("Golden")
    assert (judged.query, [Path(name).name for name in judged.judgments]) == ("rivers of ice", ["glaciers.txt"])
    assert (await services.library.get("Golden")).retention is not None


async def test_a_store_goes_on_working(golden: Path, folder: Path, write: Callable[[str, str], Path]) -> None:
    async with open_services(golden) as services:
        generations = await services.maintenance.generations("Golden")
        states = [(item.number, item.state) for item in generations]
        assert states == [(3, GenerationState.ACTIVE), (2, GenerationState.ARCHIVED), (1, GenerationState.ARCHIVED)]
        await check_contents(services)
        await check_what_people_said(services)
        assert await search(services, "piano", SearchMode.KEYWORD, generation=1) == [PIANO.format(230)]
        write("new.txt", "Volcanoes are mountains of fire.")
        report = await services.ingest.ingest("Golden", [folder])
        assert (report.generation, report.promoted, report.added) == (4, True, 1)
        assert await search(services, "volcano", SearchMode.KEYWORD) == ["Volcanoes are mountains of fire."]
        assert (await services.maintenance.rollback("Golden")).number == 3
        await services.maintenance.collect("Golden")
        await check_contents(services)


async def test_its_catalog_is_restored_from_its_backup(golden: Path) -> None:
    (golden / "catalog.sqlite3").unlink()
    assert restore_catalog(DataPaths.resolve(golden))
    async with open_services(golden) as services:
        await check_contents(services)
        await check_what_people_said(services)


def test_the_newest_store_is_of_the_versions_that_this_program_writes(data_dir: Path) -> None:
    unpack(f"store-{schema_version()}.tar.gz", data_dir)
    with closing(Catalog(data_dir / "catalog.sqlite3")) as catalog:
        found = catalog.generation(catalog.knowledge_base("Golden").id, 3)
    assert (found.rows_version, found.lexical_version) == (ROWS_VERSION, LEXICAL_VERSION)


@pytest.mark.parametrize("name", sorted(path.name for path in STORES.glob("bundle-*")))
async def test_a_bundle_is_imported(services: Services, name: str) -> None:
    assert (await services.bundles.verify(STORES / name)).documents == 3
    await services.bundles.load(STORES / name)
    await check_contents(services)
