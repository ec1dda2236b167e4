"""From one version of the catalog to the next, tried with a version 2 that nobody ever wrote."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from studio.domain import JobKind, KbSettings
from studio.errors import StorageFault
from studio.index.catalog import Catalog, fault_of, migrations
from studio.index.catalog.backup_files import back_up_version
from studio.index.catalog.migrations import migrate
from studio.ways_out import AnotherDataFolder, ways_in
from tests.helpers.filesystems import read_only

MADE_UP = """
ALTER TABLE kb ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey';
CREATE TABLE shelf (name TEXT PRIMARY KEY, kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE) STRICT;
INSERT INTO shelf SELECT hex(randomblob(2000)), id FROM kb;
UPDATE kb SET colour = 'blue';
"""
COPY = "catalog-version-1.sqlite3"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A catalog of version 1 with 40 knowledge bases and a job."""
    root = tmp_path / "data"
    root.mkdir()
    with closing(Catalog(root / "catalog.sqlite3")) as catalog:
        for number in range(40):
            kb = catalog.create_kb(f"kb{number:02}", KbSettings())
        catalog.jobs.create(kb.id, JobKind.INGEST, ["/a"], {})
    return root / "catalog.sqlite3"


@pytest.fixture
def newer(path: Path) -> Iterator[pytest.MonkeyPatch]:
    """From here on the program knows a version 2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "STEPS", (*migrations.STEPS, MADE_UP))
        yield patch


def seen(path: Path) -> tuple[int, int, set[str]]:
    """(version, knowledge bases, colours) of a catalog's file; opening it recovers what a killed program left."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        version = db.execute("PRAGMA user_version").fetchone()[0]
        bases = db.execute("SELECT count(*) FROM kb").fetchone()[0]
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema")}
        assert ("shelf" in tables) == (version == 2)
        colours = {row[0] for row in db.execute("SELECT colour FROM kb")} if version == 2 else set()
        return version, bases, colours


def test_an_older_catalog_is_migrated_and_a_copy_of_it_kept(path: Path, newer: pytest.MonkeyPatch) -> None:
    with closing(Catalog(path)) as catalog:
        assert catalog.read_only is None
        assert len(catalog.knowledge_bases()) == 40
        assert len(catalog.jobs.open()) == 1
    assert seen(path) == (2, 40, {"blue"})
    copy = path.parent / "backups" / COPY
    assert copy.stat().st_mode & 0o077 == 0
    assert fault_of(copy) == "", "it can be put back"
    assert seen(copy) == (1, 40, set())
    copy.unlink()
    Catalog(path).close()
    assert not copy.exists(), "nothing was to be migrated any more"


def test_a_new_catalog_is_made_at_the_newest_version_without_a_copy(tmp_path: Path, newer: pytest.MonkeyPatch) -> None:
    Catalog(tmp_path / "catalog.sqlite3").close()
    assert seen(tmp_path / "catalog.sqlite3") == (2, 0, set())
    assert not (tmp_path / "backups").exists()


def test_a_newer_catalog_is_refused_by_its_version(path: Path, newer: pytest.MonkeyPatch) -> None:
    Catalog(path).close()
    newer.undo()
    with pytest.raises(StorageFault, match=r"newer version .*catalog version 2, this program knows 1") as caught:
        Catalog(path)
    assert ways_in(caught.value.way_out) == [AnotherDataFolder("Update RAG Studio")]
    assert seen(path) == (2, 40, {"blue"})


def test_a_program_that_dies_at_any_statement_leaves_the_old_catalog_or_the_new(
    path: Path, tmp_path: Path, newer: pytest.MonkeyPatch
) -> None:
    """What a killed process leaves are its files as they are at that moment."""
    states: list[tuple[str, Path]] = []

    def note(statement: str) -> None:
        at = tmp_path / f"killed{len(states)}"
        shutil.copytree(path.parent, at)
        states.append((statement, at / path.name))

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA cache_size = 2")  # so that pages go to the log before the commit
        db.set_trace_callback(note)
        migrate(db, partial(back_up_version, path, path.parent / "backups"))
        db.set_trace_callback(None)
    note("the end")
    begun = next(at for at, (statement, _) in enumerate(states) if statement == "BEGIN IMMEDIATE")
    (ended,) = (at for at, (statement, _) in enumerate(states) if statement == "COMMIT")
    assert ended - begun > 4, "every statement of the step was seen"
    logs = [path.with_name(path.name + "-wal").stat().st_size for _, path in states[begun:ended]]
    assert logs[-1] > logs[0], "a part of the migration was on the disk before the commit"
    for at, (statement, killed) in enumerate(states):
        assert seen(killed) == ((2, 40, {"blue"}) if at > ended else (1, 40, set())), statement
        with closing(Catalog(killed)) as catalog:
            assert len(catalog.knowledge_bases()) == 40
        assert seen(killed) == (2, 40, {"blue"})
        assert seen(killed.parent / "backups" / COPY) == (1, 40, set())


def test_a_migration_that_fails_changes_nothing(path: Path, newer: pytest.MonkeyPatch) -> None:
    newer.setattr(migrations, "STEPS", (*migrations.STEPS[:1], MADE_UP + "INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(StorageFault, match="no such table: nowhere"):
        Catalog(path)
    newer.undo()
    with closing(Catalog(path)) as catalog:
        assert len(catalog.knowledge_bases()) == 40
    assert seen(path) == (1, 40, set())


def test_without_a_copy_nothing_is_changed_and_everything_read(path: Path, newer: pytest.MonkeyPatch) -> None:
    (path.parent / "backups").write_text("in the way")
    with closing(Catalog(path)) as catalog:
        assert catalog.read_only is not None
        assert COPY in catalog.read_only
        assert len(catalog.knowledge_bases()) == 40
        with pytest.raises(StorageFault, match="no copy of it to fall back on"):
            catalog.create_kb("More", KbSettings())
        assert seen(path) == (1, 40, set())
        (path.parent / "backups").unlink()
        catalog.create_kb("More", KbSettings())
        assert catalog.read_only is None
    assert seen(path) == (2, 41, {"blue", "grey"})


def test_where_nothing_can_be_written_only_the_image_is_migrated(path: Path, newer: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    with read_only(path.parent), closing(Catalog(path)) as catalog:
        assert len(catalog.knowledge_bases()) == 40
        assert {row["colour"] for row in catalog.rows("SELECT colour FROM kb")} == {"blue"}
    assert path.read_bytes() == before


def test_of_two_programs_that_start_at_once_one_migrates(path: Path, newer: pytest.MonkeyPatch) -> None:
    waits = threading.Event()
    copies: list[int] = []

    def second() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as db:
            db.set_trace_callback(lambda statement: waits.set() if statement == "BEGIN IMMEDIATE" else None)
            migrate(db, copies.append)

    other = threading.Thread(target=second)

    def begun(version: int) -> None:
        copies.append(version)
        other.start()
        assert waits.wait(30)

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, begun)
    other.join(30)
    assert copies == [1]
    assert seen(path) == (2, 40, {"blue"})


def test_what_a_base_tells_of_itself_in_an_older_version_is_adopted(path: Path, newer: pytest.MonkeyPatch) -> None:
    newer.undo()
    with closing(Catalog(path)) as catalog:
        kb = catalog.knowledge_base("kb07")
        told = catalog.dump(kb.id)
        catalog.delete_kb(kb.id)
    assert told is not None and told["version"] == 1
    newer.setattr(migrations, "STEPS", (*migrations.STEPS, MADE_UP))
    with closing(Catalog(path)) as catalog:
        assert catalog.adopt(told) == kb
    assert seen(path) == (2, 40, {"blue", "grey"})


@pytest.mark.parametrize("version", [1, 5])
def test_a_catalog_from_before_the_first_release_is_refused_as_that(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 0")
        db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StorageFault, match="before the first release") as caught:
        Catalog(path)
    assert ways_in(caught.value.way_out) == [AnotherDataFolder("Move it away")]
    assert seen(path) == (version, 40, set())
