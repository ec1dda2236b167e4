"""The catalog's file where it cannot be written, was written by a crashed process, or was taken away."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from studio.domain import KbSettings
from studio.errors import StorageFault
from studio.index.catalog import Catalog
from studio.index.catalog.image import log_path, read_image
from studio.ways_out import AnotherDataFolder, ways_in
from tests.helpers.filesystems import read_only, without_permission


def names(catalog: Catalog) -> list[str]:
    return [kb.name for kb in catalog.knowledge_bases()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    return root / "catalog.sqlite3"


def rows_of(image: bytes) -> list[str]:
    database = sqlite3.connect(":memory:")
    database.deserialize(image)
    found = [row[0] for row in database.execute("SELECT name FROM kb ORDER BY name")]
    database.close()
    return found


def test_an_image_holds_the_last_commit_and_nothing_later(path: Path) -> None:
    catalog = Catalog(path)
    for name in ("a", "b"):
        catalog.create_kb(name, KbSettings())
    with catalog.transaction() as db:
        db.execute("UPDATE kb SET name = name || '!'")
        assert rows_of(read_image(path)[0]) == ["a", "b"]
    assert rows_of(read_image(path)[0]) == ["a!", "b!"]
    catalog.close()
    assert not log_path(path).exists()
    assert rows_of(read_image(path)[0]) == ["a!", "b!"]


def test_an_image_leaves_out_what_a_long_transaction_has_not_committed(path: Path) -> None:
    catalog = Catalog(path)
    with catalog.transaction() as db:
        for n in range(200):
            db.execute("INSERT INTO kb (id, name, settings, created_ms) VALUES (?, ?, ?, 0)", (n, f"b{n}", "x" * 4000))
    before, image = log_path(path).stat().st_size, read_image(path)[0]
    catalog.rows("PRAGMA cache_size = 5")
    with catalog.transaction() as db:
        db.execute("UPDATE kb SET created_ms = 1")
        assert log_path(path).stat().st_size > before + 100 * 4096, "nothing was spilled to the log"
        assert read_image(path)[0] == image
    assert read_image(path)[0] != image
    catalog.close()


def test_an_image_leaves_a_torn_commit_out(path: Path) -> None:
    catalog = Catalog(path)
    catalog.create_kb("a", KbSettings())
    whole = log_path(path).stat().st_size
    catalog.create_kb("b", KbSettings())
    torn = path.with_name("torn.sqlite3")
    shutil.copy(path, torn)
    log = bytearray(log_path(path).read_bytes())
    for cut in (log[:-1], log[: whole + 10], [*log[:-1], log[-1] ^ 1]):
        log_path(torn).write_bytes(bytes(cut))
        assert rows_of(read_image(torn)[0]) == ["a"]
    log_path(torn).write_bytes(log)
    assert rows_of(read_image(torn)[0]) == ["a", "b"]
    catalog.close()


def test_an_image_agrees_with_sqlite_after_the_log_began_anew(path: Path) -> None:
    catalog = Catalog(path)
    for n in range(40):
        catalog.create_kb(f"kb{n:02}", KbSettings())
    catalog.rows("PRAGMA wal_checkpoint(RESTART)")
    catalog.create_kb("newest", KbSettings())  # overwrites the first frames; the old ones behind them do not count
    assert log_path(path).stat().st_size > 40 * 4096
    assert rows_of(read_image(path)[0]) == sorted(names(catalog))
    catalog.close()


def test_an_image_leaves_no_copy_behind(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    monkeypatch.setattr("studio.index.files.temporary._OTHER_PLACES", (str(elsewhere),))
    with closing(Catalog(path)) as catalog:
        catalog.create_kb("a", KbSettings())
        assert rows_of(read_image(path)[0]) == ["a"]
        damaged = path.with_name("damaged.sqlite3")
        damaged.write_bytes(b"no database " * 1000)
        log_path(damaged).write_bytes(b"no log")
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            read_image(damaged)
        assert not list(elsewhere.iterdir())
        monkeypatch.setattr("studio.index.files.temporary._OTHER_PLACES", ())
        with pytest.raises(FileNotFoundError):
            read_image(path)


def test_a_catalog_on_a_read_only_file_system_is_read(path: Path) -> None:
    first = Catalog(path)
    first.create_kb("Notes", KbSettings())
    first.close()
    before = path.read_bytes()
    with read_only(path.parent):
        catalog = Catalog(path)
        assert names(catalog) == ["Notes"]
        assert catalog.integrity() == "ok"
        assert catalog.read_only is not None
        assert "nothing can be changed" in catalog.read_only
        with pytest.raises(StorageFault, match="cannot be opened for writing"):
            catalog.create_kb("More", KbSettings())
        assert names(catalog) == ["Notes"]
    assert path.read_bytes() == before
    catalog.create_kb("More", KbSettings())
    assert catalog.read_only is None
    catalog.close()


def test_a_copy_follows_what_others_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Catalog(path)
    writer.create_kb("a", KbSettings())
    with monkeypatch.context() as patch:
        patch.setattr("studio.index.catalog.database.sqlite3.connect", partial(_refused, path))
        reader = Catalog(path)
        assert reader.read_only is not None
        stamp = reader.stamp()
        assert names(reader) == ["a"]
        writer.create_kb("b", KbSettings())
        assert reader.stamp() != stamp
        assert names(reader) == ["a", "b"]
    writer.close()
    reader.close()


def _refused(refused: Path, path: Path | str, **options: object) -> sqlite3.Connection:
    """What SQLite does in a folder that is not the reader's."""
    if path == refused:
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorname = "SQLITE_READONLY_DIRECTORY"
        raise error
    return sqlite3.Connection(path, **options)  # type: ignore[arg-type]


def test_a_missing_catalog_that_cannot_be_made_is_explained(path: Path) -> None:
    with read_only(path.parent), pytest.raises(StorageFault, match="There is no catalog yet") as caught:
        Catalog(path)
    assert ways_in(caught.value.way_out) == [AnotherDataFolder("Check the folder's permissions")]


def test_a_file_that_may_not_be_written_is_known_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Catalog(path).close()
    monkeypatch.setattr(
        "studio.index.catalog.database.os.access", lambda *_, **__: False
    )  # root may write what nobody may
    with without_permission(path):
        catalog = Catalog(path)
        assert catalog.read_only is not None
        with pytest.raises(StorageFault, match="cannot be opened for writing"):
            catalog.create_kb("More", KbSettings())
        catalog.close()


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_nothing_is_written_to_a_file_that_was_removed(path: Path, tmp_path: Path, suffix: str) -> None:
    catalog = Catalog(path)
    catalog.create_kb("Notes", KbSettings())
    removed = path.with_name(path.name + suffix)
    shutil.move(removed, tmp_path / "away")
    assert names(catalog) == ["Notes"]
    with pytest.raises(StorageFault, match="was removed while the program was using it"):
        catalog.create_kb("Lost", KbSettings())
    shutil.move(tmp_path / "away", removed)
    catalog.create_kb("Kept", KbSettings())
    catalog.close()
    again = Catalog(path)
    assert names(again) == ["Kept", "Notes"]
    again.close()


def test_a_backup_that_was_put_in_its_place_is_used(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.sqlite3"
    first = Catalog(backup)
    first.create_kb("Restored", KbSettings())
    first.close()
    catalog = Catalog(path)
    path.unlink()
    log_path(path).unlink()
    path.with_name(path.name + "-shm").unlink()
    shutil.copy(backup, path)
    catalog.create_kb("More", KbSettings())
    assert names(catalog) == ["More", "Restored"]
    catalog.close()
    again = Catalog(path)
    assert names(again) == ["More", "Restored"]
    again.close()
