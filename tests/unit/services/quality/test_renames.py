"""What people say of documents follows them when their files move, and comes back with a rollback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from studio.services.library import TagService
from studio.services.quality import GateService, QualityService
from studio.services.quality.judging import JudgingService
from studio.services.search.filters import DocumentFilters
from tests.helpers.catalog_sql import catalog_sql
from tests.helpers.ward import TEXTS, Ward


@dataclass(frozen=True)
class Said:
    """What was said of whale.txt: a tag, a judgment, a pin by its name and one by its path."""

    ward: Ward

    def __post_init__(self) -> None:
        (self.ward.folder / "copy of whale.txt").unlink(missing_ok=True)

    async def ingest(self) -> None:
        report = await self.ward.ingest.ingest(self.ward.kb_id, [self.ward.folder])
        assert report.promoted, report.held

    async def say(self) -> None:
        ward = self.ward
        await self.ingest()
        await TagService(ward.stores, ward.library).change(ward.kb_id, ["whale.txt"], add=["sea"])
        await JudgingService(ward.stores).judge(ward.kb_id, TEXTS["whale.txt"], "whale.txt", 2)
        for name in ("whale.txt", str(ward.folder / "whale.txt")):
            await GateService(ward.stores, ward.search).add(ward.kb_id, TEXTS["whale.txt"], [name], top=9)

    async def is_of(self, name: str) -> None:
        """Everything belongs to the file of this name, and to no other."""
        ward, path = self.ward, str(self.ward.folder / name)
        assert await TagService(ward.stores, ward.library).given(ward.kb_id) == {path: ("sea",)}
        async with ward.store.reading() as snapshot:
            records = await snapshot.tables.documents()
            found = await DocumentFilters(ward.stores).matching(snapshot, "tag", "sea")
        expected = {record.document_id for record in records if record.source_path == path}
        assert found == expected != set()
        judging = JudgingService(ward.stores)
        (saved,) = await judging.queries(ward.kb_id)
        assert saved.judgments == {path: 2}
        grades = await judging.grades(ward.kb_id, saved.query, [record.document_id for record in records])
        assert grades == dict.fromkeys(expected, 2)
        gate = GateService(ward.stores, ward.search)
        assert [pin.must_find for pin in await gate.pins(ward.kb_id)] == [("whale.txt",), (path,)]
        assert (await gate.check(ward.kb_id)).passed


@pytest.fixture
async def said(ward: Ward) -> Said:
    found = Said(ward)
    await found.say()
    return found


def rename(folder: Path) -> str:
    (folder / "whale.txt").rename(folder / "cetacea.txt")
    return "cetacea.txt"


def move_folder(folder: Path) -> str:
    (folder / "deep").mkdir()
    for file in [item for item in folder.iterdir() if item.is_file()]:
        file.rename(folder / "deep" / file.name)
    return "deep/whale.txt"


def swap(folder: Path) -> str:
    (folder / "whale.txt").rename(folder / "aside")
    (folder / "piano.txt").rename(folder / "whale.txt")
    (folder / "aside").rename(folder / "piano.txt")
    return "piano.txt"


def rename_and_replace(folder: Path) -> str:
    moved = rename(folder)
    (folder / "other.txt").write_text("Something else entirely, about bread and salt.")
    return moved


@pytest.mark.parametrize("change", [rename, move_folder, swap, rename_and_replace])
async def test_what_was_said_of_a_file_follows_it_and_comes_back_with_a_rollback(
    said: Said, change: Callable[[Path], str]
) -> None:
    before = (await said.ward.generations())[0].number
    await said.is_of("whale.txt")
    moved = change(said.ward.folder)
    await said.ingest()  # the gate names the old path, and lets it through
    await said.is_of(moved)
    (said.ward.folder / moved).write_text(TEXTS["whale.txt"] + " It was seen again.")
    await said.ingest()
    await said.is_of(moved)
    stores = said.ward.stores
    await stores.catalog.promote(said.ward.kb_id, before)
    await said.is_of("whale.txt")


async def test_recall_is_the_same_before_and_after_a_rename_in_every_generation(said: Said) -> None:
    quality = QualityService(said.ward.stores, said.ward.search)
    measure: Callable[[int], Awaitable[tuple[float, int]]] = lambda number: quality.mean_ndcg(  # noqa: E731
        said.ward.kb_id, number, 1
    )
    before = (await said.ward.generations())[0].number
    expected = await measure(before)
    assert expected[0] > 0
    rename(said.ward.folder)
    await said.ingest()
    after = (await said.ward.generations())[0].number
    assert after > before
    assert await measure(after) == await measure(before) == expected


async def test_a_new_file_at_the_old_place_inherits_nothing(said: Said) -> None:
    moved = rename(said.ward.folder)
    await said.ingest()
    (said.ward.folder / "whale.txt").write_text("This is about whale watching from a small boat.")
    await said.ingest()
    await said.is_of(moved)
    tags = TagService(said.ward.stores, said.ward.library)
    await tags.change(said.ward.kb_id, [str(said.ward.folder / "whale.txt")], add=["boats"])
    given = await tags.given(said.ward.kb_id)
    assert {Path(path).name: own for path, own in given.items()} == {"cetacea.txt": ("sea",), "whale.txt": ("boats",)}


async def test_what_is_said_after_a_rename_is_there_after_the_rollback_and_can_be_taken_back(said: Said) -> None:
    before = (await said.ward.generations())[0].number
    moved = rename(said.ward.folder)
    await said.ingest()
    tags = TagService(said.ward.stores, said.ward.library)
    await tags.change(said.ward.kb_id, [moved], add=["blue"], remove=["sea"])
    judging = JudgingService(said.ward.stores)
    await judging.judge(said.ward.kb_id, TEXTS["whale.txt"], moved, 1)
    stores = said.ward.stores
    await stores.catalog.promote(said.ward.kb_id, before)
    old = str(said.ward.folder / "whale.txt")
    assert await tags.given(said.ward.kb_id) == {old: ("blue",)}
    assert (await judging.unjudge(said.ward.kb_id, TEXTS["whale.txt"], "whale.txt")).judgments == {}


async def test_names_that_no_generation_has_are_forgotten(said: Said) -> None:
    rename(said.ward.folder)
    await said.ingest()
    (said.ward.folder / "cetacea.txt").rename(said.ward.folder / "whale.txt")
    await said.ingest()
    stores, kb_id = said.ward.stores, said.ward.kb_id
    catalog = stores.catalog
    between = (await said.ward.generations())[1].number
    assert (await catalog.names.of(kb_id, between)).moved
    await catalog.forget_generation(kb_id, between)
    assert catalog_sql(stores.paths, "SELECT 1 FROM document_origin WHERE generation = ?", (between,)) == []
