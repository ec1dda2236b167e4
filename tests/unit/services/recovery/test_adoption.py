"""A catalog that is gone, damaged or older than the data: every knowledge base comes back, and nothing is deleted."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from studio.cli import main as cli
from studio.documents.pool import ParserPool
from studio.domain import Check, KbSettings, Retention
from studio.errors import StorageFault
from studio.failpoints import DELETE_POINTS
from studio.index.catalog import backups
from studio.index.generations import Stores, stores
from studio.index.vectors import table_writer
from studio.paths import DataPaths
from studio.services.recovery import examine_catalog, restore_catalog
from studio.ways_out import AdoptFiles, RestoreCatalog, ways_in
from tests.helpers.ward import TEXTS, ToyEmbedder, Ward, wrong

DOCUMENTS = {*TEXTS, "copy of whale.txt", "rows.jsonl"}


@asynccontextmanager
async def opened(paths: DataPaths, folder: Path, *, adopting: bool = False) -> AsyncIterator[Ward]:
    opened_stores = await Stores.open(paths, adopting=adopting)
    parser = ParserPool(1)
    try:
        yield Ward(opened_stores, ToyEmbedder(), parser, folder)
    finally:
        await parser.close()
        await opened_stores.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the ward's base, and what only the catalog knows of it."""
    root = tmp_path_factory.mktemp("filled")
    (root / "documents").mkdir()

    async def fill() -> None:
        async with opened(DataPaths(root / "data"), root / "documents") as ward:
            await ward.fill()
            catalog, kb_id, whale = ward.stores.catalog, ward.kb_id, str(root / "documents" / "whale.txt")
            await catalog.set_retention(kb_id, Retention(7))
            await catalog.tags.change(kb_id, [whale], add=["sea"])
            await catalog.pins.add(kb_id, "whale", ["whale.txt"], 3)
            await catalog.saved.load(kb_id, [("one", "who sings", {whale: 2})])
            await catalog.watched.add(kb_id, str(root / "documents"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_writer, "GROWN", float("inf"))
        asyncio.run(fill())
    return root


class Patient:
    """A copy of the data directory, closed."""

    def __init__(self, root: Path, documents: Path) -> None:
        self.paths = DataPaths(root)
        self.documents = documents
        self.base = self.paths.kb(next((root / "kb").iterdir()).name)

    def files(self) -> set[Path]:
        """What a person's knowledge is in: tables, texts, keyword indexes of the last generation."""
        kept = [*self.base.vectors.rglob("*.lance"), *self.base.texts.iterdir(), *self.base.lexical.glob("g3/*")]
        return {file for file in kept if file.is_file() and file.suffix != ".lock"}

    async def repaired(self) -> list[Check]:
        restored = await asyncio.to_thread(restore_catalog, self.paths)
        async with opened(self.paths, self.documents, adopting=True) as ward:
            return [*restored, *await ward.doctor.repair()]

    async def knows(self) -> dict[str, object]:
        """What the catalog says, after a search found everything."""
        async with opened(self.paths, self.documents) as ward:
            catalog = ward.stores.catalog
            (base,) = await ward.library.list()
            ward.kb_id = base.id
            assert wrong(await ward.doctor.check()) == {}
            await ward.answers()
            names = {Path(record.source_path).name for record in await ward.library.documents(base.id)}
            return {
                "name": base.name,
                "tokens": base.settings.chunk_tokens,
                "retention": base.retention,
                "states": await ward.states(),
                "documents": names,
                "tags": list((await catalog.tags.by_path(base.id)).values()),
                "pins": [pin.query for pin in await catalog.pins.list(base.id)],
                "judged": [list(query.judgments.values()) for query in await catalog.saved.list(base.id)],
                "watched": [Path(item.path).name for item in await catalog.watched.list(base.id)],
                "jobs": len(await catalog.jobs.ended(base.id)),
            }


KNOWN = {
    "name": "Care",
    "tokens": 16,
    "retention": Retention(7),
    "states": {3: "active", 2: "archived", 1: "archived"},
    "documents": DOCUMENTS,
    "tags": [("sea",)],
    "pins": ["whale"],
    "judged": [[2]],
    "watched": ["documents"],
    "jobs": 3,
}


@pytest.fixture
def patient(filled: Path, tmp_path: Path) -> Patient:
    shutil.copytree(filled / "data", tmp_path / "data")
    return Patient(tmp_path / "data", filled / "documents")


# ------------------------------------------------------------ the catalog


def emptied(catalog: Path) -> None:
    catalog.write_bytes(b"")


def zeroed(catalog: Path) -> None:
    catalog.write_bytes(bytes(catalog.stat().st_size))


def truncated(catalog: Path) -> None:
    catalog.write_bytes(catalog.read_bytes()[: catalog.stat().st_size // 3])


def flipped(catalog: Path) -> None:
    """A bit in the middle of a text, which no structure of the file shows."""
    data = bytearray(catalog.read_bytes())
    at = data.index(b'"chunk_tokens"')
    data[at] ^= 1
    catalog.write_bytes(data)


def foreign(catalog: Path) -> None:
    catalog.unlink()
    with closing(sqlite3.connect(catalog)) as db:
        db.execute("CREATE TABLE bookmark (url TEXT)")
        db.execute("PRAGMA user_version = 77")
        db.commit()


def missing(catalog: Path) -> None:
    catalog.unlink()


def begun_anew(catalog: Path) -> None:
    """The right tables with nothing in them."""
    with closing(sqlite3.connect(catalog)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("DELETE FROM kb")
        db.commit()


FAULTS = [emptied, zeroed, truncated, flipped, foreign, missing, begun_anew]


@pytest.mark.parametrize("damage", FAULTS)
async def test_a_catalog_that_cannot_be_used_is_restored_and_nothing_is_lost(
    patient: Patient, damage: Callable[[Path], None]
) -> None:
    damage(patient.paths.catalog)
    was = patient.paths.catalog.read_bytes() if patient.paths.catalog.exists() else None
    before = patient.files()
    check = examine_catalog(patient.paths)
    assert check is not None
    assert not check.ok
    assert "its latest backup is of" in check.detail
    assert (patient.paths.catalog.read_bytes() if patient.paths.catalog.exists() else None) == was, "only looked at"
    checks = await patient.repaired()
    assert wrong(checks) == {}
    details = {check.name: check.detail for check in checks}
    assert "restored from its backup of" in details["catalog: restored"]
    assert "brought up to date: " in details["Care: restored"], "what was changed after the last promotion"
    assert {path for path in before if not path.exists()} == set()
    assert await patient.knows() == KNOWN
    aside = list(patient.paths.lost_found.glob("*/catalog.sqlite3"))
    assert [file.read_bytes() for file in aside] == ([was] if was is not None else [])


@pytest.mark.parametrize("damage", [emptied, foreign, missing, begun_anew])
async def test_no_command_but_doctor_begins_beside_a_lost_catalog(
    patient: Patient, damage: Callable[[Path], None]
) -> None:
    damage(patient.paths.catalog)
    with pytest.raises(StorageFault) as caught:
        await Stores.open(patient.paths)
    assert str(patient.paths.catalog) in str(caught.value)
    assert ways_in(caught.value.way_out) == [RestoreCatalog()]


async def test_a_new_data_directory_needs_no_repair(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path / "new")
    assert examine_catalog(paths) is None
    assert restore_catalog(paths) == []
    (tmp_path / "new" / "kb" / ".thumbnails").mkdir(parents=True)
    async with opened(paths, tmp_path) as ward:
        assert await ward.library.list() == []


@pytest.mark.parametrize("damage", [missing, flipped])
async def test_without_a_backup_each_base_is_known_from_its_own_file(
    patient: Patient, damage: Callable[[Path], None]
) -> None:
    shutil.rmtree(patient.paths.backups)
    damage(patient.paths.catalog)
    checks = await patient.repaired()
    assert wrong(checks) == {}
    assert "no backup is left" in {check.name: check.detail for check in checks}["catalog: restored"]
    assert await patient.knows() == KNOWN


async def test_a_damaged_backup_is_passed_over(patient: Patient) -> None:
    newest, *older = backups(patient.paths.backups)
    flipped(newest)
    missing(patient.paths.catalog)
    catalog = (await patient.repaired())[0]
    assert older[0].name[8:16] in catalog.detail.replace("-", "")
    assert await patient.knows() == KNOWN


# ------------------------------------------------------------ knowledge bases


async def test_beside_an_older_catalog_later_generations_are_adopted(patient: Patient) -> None:
    *_, oldest = backups(patient.paths.backups)
    shutil.copyfile(oldest, patient.paths.catalog)
    before = patient.files()
    async with opened(patient.paths, patient.documents) as ward:
        (base,) = await ward.library.list()
        assert base.active_generation == 1
        with pytest.raises(StorageFault, match="older than the files") as caught:
            await ward.ingest.ingest(base.id, [patient.documents])
        assert ways_in(caught.value.way_out) == [AdoptFiles()]
        ward.kb_id = base.id
        assert wrong(await ward.doctor.check())["folders of knowledge bases"] == f"newer than the catalog: {base.id}"
    assert {path for path in before if not path.exists()} == set()
    assert wrong(await patient.repaired()) == {}
    assert {path for path in before if not path.exists()} == set()
    assert await patient.knows() == KNOWN


async def test_a_catalog_of_the_moment_of_a_build_is_older_than_what_became_of_it(patient: Patient) -> None:
    """Its number is known, its state is not: the next writer would take it for a build that died."""
    with closing(sqlite3.connect(patient.paths.catalog)) as db:
        db.execute("UPDATE generation SET state = 'building', promoted_ms = NULL WHERE number = 3")
        db.execute("UPDATE generation SET state = 'active' WHERE number = 2")
        db.execute("UPDATE kb SET active = 2")
        db.commit()
    async with opened(patient.paths, patient.documents) as ward:
        with pytest.raises(StorageFault, match="older than the files"):
            await ward.ingest.ingest("Care", [patient.documents])
    assert wrong(await patient.repaired()) == {}
    assert await patient.knows() == KNOWN


async def test_an_import_that_was_finished_is_not_taken_for_a_dead_one(patient: Patient) -> None:
    with closing(sqlite3.connect(patient.paths.catalog)) as db:
        db.execute("UPDATE kb SET importing = 1, active = NULL")
        db.execute("UPDATE generation SET state = 'ready'")
        db.commit()
    assert wrong(await patient.repaired()) == {}
    assert await patient.knows() == KNOWN


@pytest.mark.parametrize("own_file", ["removed", "damaged"])
async def test_without_any_record_a_base_is_told_from_its_tables(patient: Patient, own_file: str) -> None:
    shutil.rmtree(patient.paths.backups)
    missing(patient.paths.catalog)
    if own_file == "removed":
        patient.base.description.unlink()
    else:
        data = bytearray(patient.base.description.read_bytes())
        data[len(data) // 2] ^= 1
        patient.base.description.write_bytes(data)
    before = patient.files()
    checks = await patient.repaired()
    assert {path for path in before if not path.exists()} == set()
    (told,) = [check for check in checks if check.name.endswith(": adopted")]
    assert not told.ok
    assert "Lost are its name, settings, tags" in told.detail
    known = await patient.knows()
    assert known["name"] == "documents (recovered)"
    assert known["states"] == KNOWN["states"]
    assert known["documents"] == DOCUMENTS


@pytest.mark.parametrize("gone", ["leases/*", "vectors/documents.lance/_refs/tags/g3.json", "vectors/*/_refs/tags/*"])
async def test_without_any_record_part_of_what_is_left_is_enough(patient: Patient, gone: str) -> None:
    shutil.rmtree(patient.paths.backups)
    missing(patient.paths.catalog)
    patient.base.description.unlink()
    for file in patient.base.root.glob(gone):
        file.unlink()
    before = patient.files()
    await patient.repaired()
    assert {path for path in before if not path.exists()} == set()
    assert (await patient.knows())["documents"] == DOCUMENTS


async def test_texts_without_tables_are_not_swept(patient: Patient) -> None:
    shutil.rmtree(patient.paths.backups)
    missing(patient.paths.catalog)
    patient.base.description.unlink()
    shutil.rmtree(patient.base.vectors)
    texts = set(patient.base.texts.iterdir())
    assert wrong(await patient.repaired()) != {}
    assert {text for text in texts if not text.exists()} == set()


# ------------------------------------------------------------ deleting


async def test_a_deleted_base_stays_deleted_with_a_catalog_that_knows_it(patient: Patient) -> None:
    kept = patient.paths.catalog.read_bytes()
    shutil.copytree(patient.base.root, patient.paths.root / "copy")
    async with opened(patient.paths, patient.documents) as ward:
        await ward.library.delete("Care")
    assert not patient.base.root.exists()
    patient.paths.catalog.write_bytes(kept)
    shutil.move(patient.paths.root / "copy", patient.base.root)
    async with opened(patient.paths, patient.documents) as ward:
        with pytest.raises(StorageFault, match="was deleted, and the deletion did not come to its end"):
            await ward.ingest.ingest("Care", [patient.documents])
    assert wrong(await patient.repaired()) == {}
    async with opened(patient.paths, patient.documents) as ward:
        assert await ward.library.list() == []
    assert not patient.base.root.exists()


async def test_a_deletion_that_fails_can_be_gone_back_on(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(patient.paths, patient.documents) as ward:

        async def full(kb_id: str) -> None:
            raise StorageFault("The disk is full.")

        with monkeypatch.context() as patch:
            patch.setattr(ward.stores.catalog, "delete_kb", full)
            with pytest.raises(StorageFault, match="full"):
                await ward.library.delete("Care")
        assert not patient.base.tombstone.exists()
    assert await patient.knows() == KNOWN


async def test_an_empty_base_keeps_its_name(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path / "data")
    async with opened(paths, tmp_path) as ward:
        await ward.library.create("Plans", KbSettings(chunk_tokens=99))
        lost = shutil.copytree(paths.root, tmp_path / "killed")
    paths = DataPaths(lost)
    missing(paths.catalog)
    assert wrong(restore_catalog(paths)) == {}
    async with opened(paths, tmp_path) as ward:
        (base,) = await ward.library.list()
        assert (base.name, base.settings.chunk_tokens) == ("Plans", 99)


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("point", DELETE_POINTS)
async def test_a_deletion_that_was_interrupted_is_finished(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def end(reached: str) -> None:
        if reached == point:
            raise Killed

    monkeypatch.setattr(stores, "reach", end)
    async with opened(patient.paths, patient.documents) as ward:
        with pytest.raises(Killed):
            await ward.library.delete("Care")
    assert patient.base.description.exists()
    monkeypatch.undo()
    assert wrong(await patient.repaired()) == {}
    assert not patient.base.root.exists()
    async with opened(patient.paths, patient.documents) as ward:
        assert await ward.library.list() == []


# ------------------------------------------------------------ the command


def test_doctor_begins_without_a_catalog_and_its_exit_code_tells_how_it_went(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code = cli.run(["--data-dir", str(data_dir), "--json", *arguments], window=None, screenshots=None)  # type: ignore[arg-type]
        return code, capsys.readouterr().out

    assert run("kb", "create", "Plans")[0] == 0
    missing(data_dir / "catalog.sqlite3")
    code, said = run("kb", "list")
    assert (code, "rag-studio doctor --repair" in said) == (1, True)
    assert run("doctor")[0] == 1
    code, said = run("doctor", "--repair")
    assert (code, "Plans: restored" in said) == (0, True)
    assert run("doctor")[0] == 0

    missing(data_dir / "catalog.sqlite3")
    (description,) = data_dir.glob("kb/*/base.json")
    (description.parent / "texts" / f"{'0' * 64}.text").write_bytes(b"x")
    description.unlink()
    code, said = run("doctor", "--repair")
    assert code == 3, "its name is lost"
    assert "Lost are its name, settings" in said
