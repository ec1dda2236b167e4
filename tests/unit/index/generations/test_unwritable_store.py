"""Reading a store that cannot be written: locks, leases and the keyword index find another way."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import portalocker
import pytest

from studio.errors import StorageFault
from studio.index.files import create_lock_file, try_lock
from studio.index.generations import Stores
from studio.index.keywords import LexicalReader
from studio.paths import DataPaths
from tests.helpers.filesystems import read_only
from tests.helpers.toy import Bench


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of its own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("leased", [True, False])
async def test_a_generation_is_read_where_nothing_can_be_written(
    bench: Bench, tmp_path: Path, temporary: Path, leased: bool
) -> None:
    generation = await bench.promote(await bench.built({"d1": ["one"], "d2": ["two"]}))
    lease = bench.store.paths.lease(generation.number)
    if not leased:
        lease.unlink()
    with read_only(tmp_path / "data"):
        stores = await Stores.open(DataPaths(tmp_path / "data"))
        reader = Bench(stores, bench.kb)
        assert await reader.contents() == {"one", "two"}
        async with reader.store.reading() as snapshot:
            assert len(snapshot.lexical.search("two", limit=5)) == 1
        exclusive = try_lock(lease, shared=False) if leased else None
        assert exclusive is None, "the lease is held although its file cannot be written"
        with pytest.raises(StorageFault, match="cannot be opened for writing"):
            await reader.store.lock_for_writing("Bench")
        assert len(list(temporary.iterdir())) == 1
        await stores.close()
    assert not list(temporary.iterdir()), "the stand-in for the index's folder stayed behind"


async def test_a_dropped_reader_removes_its_stand_in_too(bench: Bench, tmp_path: Path, temporary: Path) -> None:
    await bench.built({"d1": ["one"]})
    with read_only(tmp_path / "data"):
        reader = LexicalReader(bench.store.paths.lexical_generation(1), "en")
        assert reader.chunks == 1
        assert list(temporary.iterdir())
        del reader
        gc.collect()
    assert not list(temporary.iterdir())


async def test_the_stand_in_goes_where_there_is_room_and_copies_where_there_are_no_links(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(link: Path, target: Path) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    await bench.built({"d1": ["one"]})
    directory = bench.store.paths.lexical_generation(1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    monkeypatch.setattr("studio.index.files.temporary._OTHER_PLACES", (str(elsewhere),))
    monkeypatch.setattr(Path, "symlink_to", no_links)
    with read_only(tmp_path / "data"):
        reader = LexicalReader(directory, "en")
        (copy,) = elsewhere.iterdir()
        assert {file.name for file in copy.iterdir()} >= {file.name for file in directory.glob("*[!k]")}
        assert len(reader.search("one", limit=5)) == 1
        reader.close()
        assert not list(elsewhere.iterdir())
        monkeypatch.setattr("studio.index.files.temporary._OTHER_PLACES", ())
        with pytest.raises(StorageFault):
            LexicalReader(directory, "en")


def test_a_shared_lock_makes_its_file_only_when_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "g1"
    first, second = try_lock(path, shared=True), try_lock(path, shared=True)
    assert first is not None
    assert second is not None
    assert try_lock(path, shared=False) is None
    first.release()
    assert try_lock(path, shared=False) is None
    second.release()
    with try_lock(path, shared=False) as alone:  # type: ignore[union-attr]
        assert alone is not None
        assert try_lock(path, shared=True) is None


def test_where_nothing_can_be_written_only_reading_needs_no_lock(tmp_path: Path) -> None:
    create_lock_file(tmp_path / "there")
    with read_only(tmp_path):
        with try_lock(tmp_path / "missing", shared=True) as lock:  # type: ignore[union-attr]
            assert lock is not None
        with pytest.raises(StorageFault, match="locking"):
            try_lock(tmp_path / "missing", shared=False)
        with try_lock(tmp_path / "there", shared=True) as lock:  # type: ignore[union-attr]
            assert try_lock(tmp_path / "there", shared=False) is None


def test_a_file_system_without_locks_is_a_fault_and_not_a_lock_that_somebody_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise portalocker.LockException("[Errno 37] No locks available")

    monkeypatch.setattr(portalocker, "lock", no_locks)
    with pytest.raises(StorageFault, match="cannot be locked"):
        try_lock(tmp_path / "g1", shared=True)


def test_a_data_directory_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path / "data")
    paths.create()
    assert paths.root.stat().st_mode & 0o777 == 0o700
    paths.logs.rmdir()
    paths.root.chmod(0o555)
    with read_only(paths.root), pytest.raises(OSError):
        paths.create()
    paths.root.chmod(0o755)
    paths.catalog.touch()
    paths.root.chmod(0o555)
    with read_only(paths.root):
        paths.create()
    paths.create()
    assert paths.root.stat().st_mode & 0o777 == 0o500
    paths.root.chmod(0o700)


async def test_an_empty_catalog_is_not_made_beside_knowledge_bases(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path / "data")
    paths.create()
    paths.kb("0123456789ab").create()
    (paths.kb("0123456789ab").texts / f"{'0' * 64}.text").touch()
    with pytest.raises(StorageFault, match="is gone, but the files of knowledge bases are there"):
        await Stores.open(paths)
    assert not paths.catalog.exists()
