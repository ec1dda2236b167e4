"""Where files cannot be linked nothing can be indexed: that is found out before anything is made, and said once."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio import links
from studio.bootstrap import open_services
from studio.errors import StorageFault
from studio.index.generations import Stores
from studio.links import can_link
from studio.paths import DataPaths
from studio.services.scan import scanned, settled_stamp
from studio.ways_out import AnotherDataFolder, ways_in
from tests.helpers.filesystems import can_mount_exfat, exfat

SOURCES = Path(links.__file__).parent
REFUSAL = "cannot be linked"


def no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")  # what Linux says of exFAT


@pytest.fixture(params=["real", "told"])
def unlinkable(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which files cannot be linked: on a real exFAT where one can be mounted, else by what `os` says."""
    if request.param == "told":
        monkeypatch.setattr(os, "link", no_links)
        (tmp_path / "disk").mkdir()
        yield tmp_path / "disk"
    elif can_mount_exfat():
        with exfat(tmp_path / "disk") as disk:
            yield disk
    else:
        pytest.skip("no exFAT can be mounted here")


async def test_no_data_directory_is_made_where_files_cannot_be_linked(unlinkable: Path) -> None:
    paths = DataPaths(unlinkable / "data")
    with pytest.raises(StorageFault, match=REFUSAL) as fault:
        await Stores.open(paths)
    assert ways_in(fault.value.way_out) == [AnotherDataFolder()]
    assert not paths.catalog.exists()
    assert not list(unlinkable.rglob("*.tmp"))


@pytest.fixture
async def made(tmp_path: Path) -> Path:
    """A data directory with a knowledge base, made where files can be linked."""
    async with open_services(tmp_path / "made") as services:
        await services.library.create("Papers")
    return tmp_path / "made"


async def test_one_that_was_put_there_can_be_read_and_says_why_it_cannot_be_changed(
    made: Path, unlinkable: Path
) -> None:
    shutil.copytree(made, unlinkable / "data")
    async with open_services(unlinkable / "data") as services:
        assert [kb.name for kb in await services.library.list()] == ["Papers"]
        assert REFUSAL in (services.read_only or "")
        with pytest.raises(StorageFault, match=REFUSAL):
            await services.library.create("Notes")
        check = next(check for check in await services.doctor.check() if check.name == "links")
        assert (check.ok, check.repair) == (False, "Move the data directory to another disk.")


def test_links_are_tried_once_and_nothing_stays_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_link(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(os, "link", no_links)
    assert can_link(tmp_path)
    assert not can_link(tmp_path.parent)


def test_where_nothing_can_be_written_links_are_taken_to_be_there(tmp_path: Path) -> None:
    assert can_link(tmp_path / "nowhere")


def test_links_are_made_in_one_place() -> None:
    made = re.compile(r"os\.(?:sym)?link\(|\.symlink_to\(|\.hardlink_to\(|\.link_to\(")
    found = [path.name for path in SOURCES.rglob("*.py") if made.search(path.read_text("utf-8"))]
    assert found == ["links.py"]


# ---------------------------------------------------------------- times of two seconds


def test_a_file_of_this_very_tick_is_not_settled(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    now = time.time_ns() // 10**9 * 10**9
    os.utime(file, ns=(now, now))
    found = scanned(file)
    assert found is not None
    assert found.stamp
    assert settled_stamp(found) == 0
    os.utime(file, ns=(now - 4 * 10**9, now - 4 * 10**9))
    found = scanned(file)
    assert found is not None
    assert settled_stamp(found) == found.stamp, "it is an old one"
    os.utime(file, ns=(now + 1, now + 1))
    found = scanned(file)
    assert found is not None
    assert settled_stamp(found) == found.stamp, "such times tell every change"
