from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from studio.domain import IngestOptions
from studio.errors import InvalidRequest, StorageFault
from studio.services.scan import Scan, filenames, scan, scanned, sha256_of
from studio.services.scan import walk as scanning
from studio.services.scan.filenames import has_hidden_flag, is_too_long
from studio.services.scan.walk import ENTRIES_PER_CHECK

Write = Callable[[str, str], Path]
DEFAULT = IngestOptions()


def names(folder: Path, options: IngestOptions = DEFAULT) -> list[str]:
    return [file.path.relative_to(folder).as_posix() for file in scan([folder], options).files]


def skipped(found: Scan) -> dict[str, int]:
    return {item.reason: item.count for item in found.skipped}


def failures(found: Scan) -> dict[str, str]:
    return {Path(item.path).name: item.error for item in found.failures}


def test_hidden_and_system_files_are_left_out_unless_named(folder: Path, write: Write) -> None:
    hidden = write(".secret.txt", "x")
    left_out = (".git/config", "~$a.docx", "Thumbs.db", "Desktop.ini", "node_modules/m.js", "$RECYCLE.BIN/x.txt")
    for name in ("a.txt", *left_out, "sub/System Volume Information/b.txt", "sub/b.txt"):
        write(name, "x")
    assert names(folder) == ["a.txt", "sub/b.txt"]
    assert [file.path for file in scan([hidden], DEFAULT).files] == [hidden]
    (item,) = scan([folder], DEFAULT).skipped
    assert (item.reason, item.count, len(item.examples)) == ("hidden or system files", 8, scanning.EXAMPLES)
    everything = scan([folder], IngestOptions(hidden=True))
    assert len(everything.files) == 10
    assert everything.skipped == []


@pytest.mark.parametrize(
    ("status", "hidden"),
    [
        ({"st_file_attributes": 0x20}, False),  # archive: any file on Windows
        ({"st_file_attributes": 0x22}, True),
        ({"st_file_attributes": 0x24}, True),
        ({"st_flags": 0x8000}, True),
        ({"st_flags": 0x20}, False),
        ({}, False),
    ],
)
def test_flags_hide_files_too(status: dict[str, int], hidden: bool) -> None:
    assert has_hidden_flag(SimpleNamespace(**status)) is hidden  # type: ignore[arg-type]


def test_a_file_with_a_hidden_flag_is_left_out(folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = {write("flagged.txt", "x").stat().st_ino, write("box/a.txt", "x").parent.stat().st_ino}
    write("plain.txt", "x")
    monkeypatch.setattr(scanning, "HIDDEN_BY_FLAG", True)
    monkeypatch.setattr(scanning, "has_hidden_flag", lambda status: status.st_ino in marked)
    assert names(folder) == ["plain.txt"]
    assert len(names(folder, IngestOptions(hidden=True))) == 3


def test_a_file_named_twice_is_found_once(folder: Path, write: Write) -> None:
    file, deep = write("a.txt", "x"), write("sub/b.txt", "x")
    os.link(file, folder / "c.txt")
    os.mkfifo(folder / "sub" / "pipe")
    found = scan([folder / "sub", folder, file, folder / "." / "a.txt"], DEFAULT)
    assert [item.path for item in found.files] == [file, folder / "c.txt", deep]
    assert len(found.failures) == 1


def test_links_cannot_loop(folder: Path, write: Write) -> None:
    write("a.txt", "x")
    (folder / "loop").symlink_to(folder)
    (folder / "alias.txt").symlink_to(folder / "a.txt")
    (folder / "dangling.txt").symlink_to(folder / "nowhere")
    (folder / "self.txt").symlink_to(folder / "self.txt")
    found = scan([folder], DEFAULT)
    assert [item.path.name for item in found.files] == ["a.txt", "alias.txt"]
    assert failures(found) == {"dangling.txt": "vanished", "self.txt": "vanished"}
    assert skipped(found) == {"links to folders": 1}
    assert found.covers(folder / "dangling.txt", DEFAULT), "what it pointed to is gone"


def test_junctions_are_links_to_folders(folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("junction/a.txt", "x")
    monkeypatch.setattr(scanning, "is_junction", lambda status: True)
    assert skipped(scan([folder], DEFAULT)) == {"links to folders": 1}
    assert filenames.is_junction(SimpleNamespace(st_reparse_tag=0xA0000003))  # type: ignore[arg-type]


def test_pipes_sockets_and_devices_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        (folder / "device").symlink_to("/dev/zero")
        found = scan([folder], DEFAULT)
    assert found.files == []
    assert failures(found) == {"pipe": "unsupported", "socket": "unsupported", "device": "unsupported"}
    assert failures(scan([Path("/dev/null")], DEFAULT)) == {"null": "unsupported"}


def test_globs_match_names_and_paths_below_the_folder(folder: Path, write: Write) -> None:
    for name in ("a.txt", "b.md", "drafts/c.md", "drafts/old/d.md"):
        write(name, "x")
    assert names(folder, IngestOptions(include=("*.md",))) == ["b.md", "drafts/c.md", "drafts/old/d.md"]
    assert names(folder, IngestOptions(include=("drafts/**",))) == ["drafts/c.md", "drafts/old/d.md"]
    assert names(folder, IngestOptions(include=("**/old/*.md",))) == ["drafts/old/d.md"]
    assert names(folder, IngestOptions(exclude=("drafts",))) == ["a.txt", "b.md"]
    assert names(folder, IngestOptions(exclude=("drafts/old/*",))) == ["a.txt", "b.md", "drafts/c.md"]
    assert names(folder, IngestOptions(exclude=("**/*.md",))) == ["a.txt"]
    assert names(folder, IngestOptions(recursive=False)) == ["a.txt", "b.md"]
    found = scan([folder], IngestOptions(include=("*.md",), exclude=("drafts",)))
    assert skipped(found) == {"excluded": 1, "not included": 1}
    assert next(item for item in found.skipped if item.reason == "excluded").examples == (f"{folder / 'drafts'}/",)


def test_ragignore_files_hold_from_their_folder_down(folder: Path, write: Write) -> None:
    write(".ragignore", "*.log\n/only-here.txt\nsecret/\n")
    write("sub/.ragignore", "!keep.log\n/x.txt\n")
    write("secret/.ragignore", "!*\n")
    for name in ("a.log", "only-here.txt", "secret/a.txt", "sub/keep.log", "sub/other.log", "sub/x.txt"):
        write(name, "x")
    for name in ("sub/only-here.txt", "sub/deep/x.txt", "x.txt"):
        write(name, "x")
    kept = ["sub/deep/x.txt", "sub/keep.log", "sub/only-here.txt", "x.txt"]
    assert names(folder) == kept
    assert names(folder, IngestOptions(hidden=True)) == kept, "the rules themselves are no documents"
    assert skipped(scan([folder], DEFAULT)) == {"ignored by .ragignore": 5}
    assert names(folder / "sub") == ["deep/x.txt", "keep.log", "only-here.txt", "other.log"], "rules above do not hold"
    assert [file.path.name for file in scan([folder / "a.log"], DEFAULT).files] == ["a.log"], "named itself"


def test_what_a_rule_leaves_out_counts_as_gone(folder: Path, write: Write) -> None:
    file = write("a.log", "x")
    write(".ragignore", "*.log")
    found = scan([folder], DEFAULT)
    assert found.files == []
    assert found.covers(file, DEFAULT)


def test_a_folder_whose_rules_cannot_be_read_stays_as_it_is(
    folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("sub/a.txt", "x")
    write("b.txt", "x")

    def refuse(path: str) -> None:
        if path.endswith("sub"):
            raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(scanning, "read_rules", refuse)
    found = scan([folder], DEFAULT)
    assert [file.path.name for file in found.files] == ["b.txt"]
    assert failures(found) == {".ragignore": "no_permission"}
    assert not found.covers(folder / "sub" / "a.txt", DEFAULT)


def test_what_is_missing_or_unreadable_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    assert scan([folder / "nowhere", folder / "nowhere" / "a.txt"], DEFAULT).missing == [
        folder / "nowhere", folder / "nowhere" / "a.txt",
    ]  # fmt: skip
    write("sub/a.txt", "x")
    listing = os.scandir

    def refuse(path: Path):
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(scanning.os, "scandir", refuse)
    found = scan([folder], DEFAULT)
    assert [item.error for item in found.failures] == ["no_permission"]
    assert "Check its permissions" in found.failures[0].reason
    assert not found.covers(folder / "sub" / "a.txt", DEFAULT), "unknown is not gone"
    assert found.covers(folder / "other.txt", DEFAULT)
    with pytest.raises(StorageFault, match="cannot be read"):
        scan([folder / "sub"], DEFAULT)


class Entry:
    """An entry of a folder that cannot be looked at."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.name, self.path, self._error = path.name, str(path), error

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return False

    def is_symlink(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        raise self._error


def listed(monkeypatch: pytest.MonkeyPatch, folder: Path, entries: list[Entry]) -> None:
    """Let the folder hold these entries."""

    class Listing(list[Entry]):
        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    listing = os.scandir
    monkeypatch.setattr(
        scanning.os, "scandir", lambda path: Listing(entries) if Path(path) == folder else listing(path)
    )


def test_errors_of_single_files_tell_what_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {
        "locked.txt": PermissionError(errno.EACCES, "Permission denied"),
        "broken.txt": OSError(errno.EIO, "Input/output error"),
        "long.txt": OSError(errno.ENAMETOOLONG, "File name too long"),
        "gone.txt": FileNotFoundError(errno.ENOENT, "No such file or directory"),
    }
    listed(monkeypatch, folder, [Entry(folder / name, error) for name, error in errors.items()])
    found = scan([folder], DEFAULT)
    assert failures(found) == {"locked.txt": "no_permission", "broken.txt": "corrupt", "long.txt": "unsupported"}
    assert [name for name in errors if found.covers(folder / name, DEFAULT)] == ["gone.txt"]


def test_a_drive_that_goes_away_takes_nothing_along(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of it is gone, and the folder that was given is another one now: nothing may be removed."""
    listed(monkeypatch, folder, [Entry(folder / "a.txt", FileNotFoundError(errno.ENOENT, "No such file"))])
    assert scan([folder], DEFAULT).files == []
    monkeypatch.setattr(scanning, "identity", lambda path: None)
    with pytest.raises(StorageFault, match="went away"):
        scan([folder], DEFAULT)


def test_paths_that_are_too_long_are_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for _ in range(18):
        name = "d" * 250
        Path(name).mkdir()
        os.chdir(name)
    found = scan([folder], DEFAULT)
    assert [item.error for item in found.failures] == ["unsupported"]
    assert "longer than the system allows" in found.failures[0].reason
    monkeypatch.setattr(filenames.os, "name", "nt")
    assert is_too_long("C:\\" + "d" * 260, FileNotFoundError(errno.ENOENT, "not found"))
    assert not is_too_long("C:\\d", FileNotFoundError(errno.ENOENT, "not found"))


def test_names_that_are_no_text_are_reported(folder: Path, write: Write) -> None:
    write("a.txt", "x")
    bad_file, bad_folder = (folder / os.fsdecode(name) for name in (b"caf\xe9.txt", b"d\xe9p\xf4t"))
    bad_file.touch()
    bad_folder.mkdir()
    found = scan([folder, bad_file], DEFAULT)
    assert [file.path.name for file in found.files] == ["a.txt"]
    assert failures(found) == {"caf\\xe9.txt": "unsupported", "d\\xe9p\\xf4t": "unsupported"}
    assert all("Rename the" in item.reason for item in found.failures)
    with pytest.raises(InvalidRequest, match="not valid text"):
        scan([bad_folder], DEFAULT)


def test_the_own_data_is_never_read(folder: Path, write: Write) -> None:
    write("a.txt", "x")
    write("data/kb/table.lance", "x")
    own = folder / "data"
    (folder / "catalog.txt").symlink_to(own / "kb" / "table.lance")
    found = scan([folder], IngestOptions(hidden=True), own=own)
    assert [file.path.name for file in found.files] == ["a.txt"]
    assert skipped(found) == {"this program’s own data": 2}
    for path in (own, own / "kb", own / "kb" / "table.lance"):
        found = scan([path], DEFAULT, own=own)
        assert (found.files, found.folders, skipped(found)) == ([], [], {"this program’s own data": 1})
    assert len(scan([folder], DEFAULT).files) == 3


def test_a_scan_can_be_stopped(folder: Path) -> None:
    for number in range(ENTRIES_PER_CHECK * 3):
        (folder / f"{number}.txt").touch()
    counts: list[int] = []
    found = scan([folder, folder], DEFAULT, stop=lambda: len(counts) == 1, progress=counts.append)
    assert not found.complete
    assert len(found.files) == counts[0] == counts[-1] == ENTRIES_PER_CHECK - 1
    assert not found.covers(folder / "elsewhere.txt", DEFAULT), "what was not looked at is not gone"


def test_covering_follows_recursion(folder: Path) -> None:
    found = scan([folder], DEFAULT)
    deep = folder / "sub" / "a.txt"
    assert found.covers(deep, DEFAULT)
    assert not found.covers(deep, IngestOptions(recursive=False))
    assert found.covers(folder / "a.txt", IngestOptions(recursive=False))
    assert not found.covers(folder.parent / "elsewhere.txt", DEFAULT)


def test_hashes_are_sha256(folder: Path, write: Write) -> None:
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    file = write("abc.txt", "abc")
    assert sha256_of(file) == expected
    now = scanned(file)
    assert now is not None
    assert (now.path, now.size_bytes, now.mtime_ns) == (file, 3, file.stat().st_mtime_ns)
    assert scanned(folder) is None
