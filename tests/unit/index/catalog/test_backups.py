"""Backups of the catalog, and what each knowledge base writes down of itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from studio.domain import KbSettings
from studio.index.catalog import Catalog, backups, base_file, fault_of, made_at
from studio.index.catalog.backup_files import back_up
from studio.index.catalog.base_file import Evidence, Horizon
from studio.paths import DataPaths


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(tmp_path / "catalog.sqlite3")
    yield opened
    opened.close()


def test_the_last_three_and_the_last_of_each_day_of_a_week_are_kept(tmp_path: Path) -> None:
    folder, now = tmp_path / "backups", datetime(2026, 3, 20, 12, tzinfo=UTC)
    with closing(sqlite3.connect(":memory:")) as db:
        for hours in range(10 * 24, -1, -6):
            back_up(db, folder, now - timedelta(hours=hours))
    made = [made_at(file) for file in backups(folder)]
    assert [at.strftime("%d %H") for at in made] == [
        "20 12", "20 06", "20 00", "19 18", "18 18", "17 18", "16 18", "15 18", "14 18",
    ]  # fmt: skip
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_backup_holds_what_was_promoted_and_is_one_file(catalog: Catalog, tmp_path: Path) -> None:
    kb = catalog.create_kb("Notes", KbSettings())
    generation = catalog.begin_generation(
        kb.id, parent=None, settings=kb.settings, model=None, table="chunks", note=""
    )  # fmt: skip
    catalog.mark_ready(
        kb.id, generation.number, chunks_version=1, documents_version=1, documents=1, chunks=1, size_bytes=1,
        own_bytes=1,
    )  # fmt: skip
    catalog.promote(kb.id, generation.number)
    (copy,) = (tmp_path / "backups").iterdir()
    assert fault_of(copy) == ""
    with closing(Catalog(copy)) as other:
        assert other.knowledge_base("Notes").active_generation == generation.number


def test_a_backup_that_fails_fails_no_promotion(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("in the way")
    kb = catalog.create_kb("Notes", KbSettings())
    catalog.begin_generation(kb.id, parent=None, settings=kb.settings, model=None, table="chunks", note="")
    catalog.mark_ready(
        kb.id, 1, chunks_version=1, documents_version=1, documents=1, chunks=1, size_bytes=1, own_bytes=1
    )
    catalog.promote(kb.id, 1)
    assert catalog.knowledge_base(kb.id).active_generation == 1


@pytest.mark.parametrize("text", ['{"chunk_tokens": 1', "\x00\x01"])
def test_values_that_make_no_sense_are_damage(catalog: Catalog, text: str) -> None:
    catalog.create_kb("Notes", KbSettings())
    assert fault_of(catalog.path) == ""
    with catalog.transaction() as db:
        db.execute("UPDATE kb SET settings = ?", (text,))
    assert "is damaged (settings of a kb" in fault_of(catalog.path)


def test_no_byte_of_a_description_can_change_unseen(catalog: Catalog, tmp_path: Path) -> None:
    kb = catalog.create_kb("Notizen – Übersicht", KbSettings())
    paths = DataPaths(tmp_path).kb(kb.id)
    paths.create()
    catalog.describe(kb.id)
    found = base_file.read(paths.description)
    assert found is not None
    assert found.rows == catalog.dump(kb.id)
    whole = paths.description.read_bytes()
    assert paths.description.stat().st_mode & 0o777 == 0o600
    catalog.describe(kb.id)
    assert paths.description.read_bytes() == whole, "written only where it says something else"
    start = whole.index(b'"base"')
    for at in range(start, len(whole)):
        paths.description.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        changed = base_file.read(paths.description)
        assert changed is None or changed.rows == found.rows, whole[at - 20 : at + 20]
    catalog.describe(kb.id)
    assert base_file.read(paths.description) is not None, "a damaged one is written anew"


def test_files_go_beyond_a_catalog_that_is_older_and_no_other() -> None:
    horizon = Horizon(next_generation=4, promoted_ms=100, building=frozenset({3}))

    def described(following: int, promoted_ms: int, third: str) -> Evidence:
        rows = [{"number": 2, "state": "active", "promoted_ms": promoted_ms}, {"number": 3, "state": third}]
        return Evidence(3, {"kb": {"next_generation": following}, "generation": rows})

    assert not Evidence(3, None).beyond(horizon)
    assert not described(4, 100, "building").beyond(horizon)
    assert not described(3, 90, "failed").beyond(horizon), "the file is older"
    assert Evidence(4, None).beyond(horizon), "a number the catalog has not given"
    assert described(5, 100, "building").beyond(horizon)
    assert described(4, 101, "building").beyond(horizon), "another promotion"
    assert described(4, 100, "ready").beyond(horizon), "a build that was sealed"
