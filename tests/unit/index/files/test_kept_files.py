"""What a repair may replace is kept, by links or copies; what it left alone is not kept twice."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from studio.index.files import drop_unchanged, keep_files
from studio.index.keywords.lexical_writer import link_directory
from studio.paths import DataPaths


def no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EINVAL, "Invalid argument")  # what Windows says of exFAT


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "kb" / "base"
    (folder / "texts").mkdir(parents=True)
    (folder / "texts" / "a").write_text("text a")
    (folder / "texts" / "b").write_text("text b")
    (folder / "writer.lock").touch()
    return folder


@pytest.mark.parametrize("links", [True, False])
def test_only_what_was_replaced_stays(base: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    kept = keep_files(DataPaths(base.parents[1]), base)
    assert (kept / "texts" / "a").samefile(base / "texts" / "a") is links
    (base / "texts" / "a").unlink()
    drop_unchanged(base, kept)
    assert {path.name: path.read_text() for path in kept.rglob("*") if path.is_file()} == {"a": "text a"}


def test_nothing_stays_of_a_folder_that_is_as_it_was(base: Path) -> None:
    drop_unchanged(base, keep_files(DataPaths(base.parents[1]), base))
    assert not (base.parents[1] / "lost+found").exists()


def test_two_repairs_in_a_second_keep_their_files_apart(base: Path) -> None:
    paths = DataPaths(base.parents[1])
    assert keep_files(paths, base) != keep_files(paths, base)


def test_keyword_indexes_are_copied_where_nothing_can_be_linked(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_links)
    link_directory(base / "texts", base / "copy")
    assert (base / "copy" / "a").read_text() == "text a"
    assert not (base / "copy" / "a").samefile(base / "texts" / "a")


def test_a_disk_that_is_full_is_no_file_system_without_links(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space"):
        link_directory(base / "texts", base / "copy")
