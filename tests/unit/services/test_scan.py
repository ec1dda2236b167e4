from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.domain import IngestOptions
from studio.errors import NotFound, StorageFault
from studio.services import scan as scanning
from studio.services.scan import scan, sha256_of

Write = Callable[[str, str], Path]


def names(folder: Path, options: IngestOptions = IngestOptions()) -> list[str]:  # noqa: B008
    return [file.path.relative_to(folder).as_posix() for file in scan([folder], options).files]


def test_hidden_and_system_files_are_left_out_unless_named(folder: Path, write: Write) -> None:
    hidden = write(".secret.txt", "x")
    for name in ("a.txt", ".git/config", "~$a.docx", "Thumbs.db", "node_modules/m.js", "sub/b.txt"):
        write(name, "x")
    assert names(folder) == ["a.txt", "sub/b.txt"]
    assert [file.path for file in scan([hidden], IngestOptions()).files] == [hidden]


def test_a_file_named_twice_is_found_once(folder: Path, write: Write) -> None:
    file = write("a.txt", "x")
    found = scan([folder, file, folder / "." / "a.txt"], IngestOptions())
    assert [item.path for item in found.files] == [file]


def test_links_cannot_loop(folder: Path, write: Write) -> None:
    write("a.txt", "x")
    (folder / "loop").symlink_to(folder)
    (folder / "alias.txt").symlink_to(folder / "a.txt")
    (folder / "dangling.txt").symlink_to(folder / "nowhere")
    found = scan([folder], IngestOptions())
    assert [item.path.name for item in found.files] == ["a.txt", "alias.txt"]
    assert [Path(item.path).name for item in found.failures] == ["dangling.txt"]


def test_a_pipe_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    found = scan([folder], IngestOptions())
    assert found.files == []
    assert [(Path(item.path).name, item.error) for item in found.failures] == [("pipe", "unsupported")]


def test_globs_match_names_and_paths_below_the_folder(folder: Path, write: Write) -> None:
    for name in ("a.txt", "b.md", "drafts/c.md", "drafts/old/d.md"):
        write(name, "x")
    assert names(folder, IngestOptions(include=("*.md",))) == ["b.md", "drafts/c.md", "drafts/old/d.md"]
    assert names(folder, IngestOptions(exclude=("drafts",))) == ["a.txt", "b.md"]
    assert names(folder, IngestOptions(exclude=("drafts/old/*",))) == ["a.txt", "b.md", "drafts/c.md"]
    assert names(folder, IngestOptions(recursive=False)) == ["a.txt", "b.md"]


def test_what_is_missing_or_unreadable_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        scan([folder / "nowhere"], IngestOptions())
    write("sub/a.txt", "x")
    listing = os.scandir

    def refuse(path: Path):
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(scanning.os, "scandir", refuse)
    found = scan([folder], IngestOptions())
    assert [item.error for item in found.failures] == ["no_permission"]
    assert not found.covers(folder / "sub" / "a.txt", IngestOptions()), "unknown is not gone"
    assert found.covers(folder / "other.txt", IngestOptions())
    with pytest.raises(StorageFault, match="cannot be read"):
        scan([folder / "sub"], IngestOptions())


def test_covering_follows_recursion(folder: Path) -> None:
    found = scan([folder], IngestOptions())
    deep = folder / "sub" / "a.txt"
    assert found.covers(deep, IngestOptions())
    assert not found.covers(deep, IngestOptions(recursive=False))
    assert not found.covers(folder.parent / "elsewhere.txt", IngestOptions())


def test_hashes_are_sha256(folder: Path, write: Write) -> None:
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(write("abc.txt", "abc")) == expected
