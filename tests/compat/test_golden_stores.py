"""Stores and bundles that earlier versions wrote are read, checked, searched and built upon."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.bootstrap import Services, open_services
from studio.domain import GenerationState, SearchMode, SearchRequest
from studio.index.bundle.values import BUNDLE_VERSION
from studio.index.migrations import SCHEMA_VERSION

STORES = Path(__file__).parent / "stores"
SONGS = "Blue whales sing low songs that travel hundreds of kilometres under water."
PIANO = "A piano has about {} strings. Hammers covered with felt strike them, and dampers silence them again."
ICE = "Glaciers are rivers of ice that carve valleys over thousands of years."


def test_every_version_has_its_golden_files() -> None:
    """Whoever raises a version adds the files that the new one writes (make_store.py), and keeps the old ones."""
    stores = {path.name for path in STORES.glob("catalog-*.tar.gz")}
    assert stores == {f"catalog-{number}.tar.gz" for number in range(1, SCHEMA_VERSION + 1)}
    bundles = {path.name for path in STORES.glob("bundle-*")}
    assert bundles == {f"bundle-{number}.ragstudio" for number in range(1, BUNDLE_VERSION + 1)}


async def search(services: Services, query: str, mode: SearchMode, generation: int | None = None) -> list[str]:
    found = await services.search.search(SearchRequest(("Golden",), query, mode, generation=generation))
    assert found.degraded is None
    return [result.content for result in found.results]


async def check_contents(services: Services) -> None:
    assert SONGS in (await search(services, "whale music", SearchMode.VECTOR))[0]
    assert await search(services, "glacier", SearchMode.KEYWORD) == [ICE]
    assert (await search(services, "piano strings", SearchMode.HYBRID))[0] == PIANO.format(220)
    (record,) = [item for item in await services.library.documents("Golden") if item.title == "Whales"]
    active = (await services.library.get("Golden")).active_generation
    assert active is not None
    assert SONGS in (await services.search.document_text("Golden", active, record.document_id)).text
    checks = await services.doctor.check()
    assert [check for check in checks if not check.ok] == []


@pytest.mark.parametrize("name", sorted(path.name for path in STORES.glob("catalog-*.tar.gz")))
async def test_a_store_of_an_earlier_version_goes_on_working(
    data_dir: Path, folder: Path, write: Callable[[str, str], Path], name: str
) -> None:
    with tarfile.open(STORES / name) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4; Debian 12 has 3.11.2
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(data_dir.parent / "golden")
    for path in (data_dir.parent / "golden" / "store").iterdir():
        path.rename(data_dir / path.name)
    async with open_services(data_dir) as services:
        states = [(item.number, item.state) for item in await services.maintenance.generations("Golden")]
        assert states == [(3, GenerationState.ACTIVE), (2, GenerationState.ARCHIVED), (1, GenerationState.ARCHIVED)]
        await check_contents(services)
        assert await search(services, "piano", SearchMode.KEYWORD, generation=1) == [PIANO.format(230)]
        write("new.txt", "Volcanoes are mountains of fire.")
        report = await services.ingest.ingest("Golden", [folder])
        assert (report.generation, report.promoted, report.added) == (4, True, 1)
        assert await search(services, "volcano", SearchMode.KEYWORD) == ["Volcanoes are mountains of fire."]
        assert (await services.maintenance.rollback("Golden")).number == 3
        await services.maintenance.collect("Golden")
        await check_contents(services)


@pytest.mark.parametrize("name", sorted(path.name for path in STORES.glob("bundle-*")))
async def test_a_bundle_of_an_earlier_version_is_imported(services: Services, name: str) -> None:
    assert (await services.bundles.verify(STORES / name)).documents == 3
    await services.bundles.load(STORES / name)
    await check_contents(services)
