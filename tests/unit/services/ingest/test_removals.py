"""Which documents stay although their files are gone."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from studio.documents.kinds import file_kind
from studio.domain import ALL_REMOVALS, DocumentRecord, DocumentStatus, IngestOptions
from studio.errors import NotFound
from studio.services.ingest import check_known, decide
from studio.services.ingest.removals import CUT_OFF, ELSEWHERE, EMPTY, NOT_THERE, TOO_MANY
from studio.services.scan import scan
from studio.services.scan.file_state import clamped, is_placeholder, stands_for
from tests.helpers.toy import record_of

DEFAULT = IngestOptions()


def fill(folder: Path, *names: str) -> list[DocumentRecord]:
    """Write files, and give the rows of a generation that has indexed them."""
    records = []
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Text number {number:04} of {name}.")
        os.utime(path, ns=(number, 1_000_000 + number))
        records.append(row_of(path))
    return records


def row_of(path: Path) -> DocumentRecord:
    status = path.stat()
    row = record_of(path.name, str(path))
    kind = file_kind(path)
    return replace(row, kind=kind, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)


def held(
    records: list[DocumentRecord], *paths: Path, options: IngestOptions = DEFAULT, **more: int
) -> dict[str, tuple[int, str]]:
    """Folder name → (count, why) of what is held back."""
    options = replace(options, **more) if more else options
    found = scan(paths, options)
    decided = decide(records, found, options)
    assert len(decided.kept) <= len(records)
    return {Path(item.folder).name: (item.count, item.why) for item in decided.held}


def numbered(count: int, ending: str = "md", folder: str = "") -> list[str]:
    return [f"{folder}{number:03}.{ending}" for number in range(count)]


def test_a_named_folder_that_is_empty_or_gone_keeps_its_documents(folder: Path) -> None:
    box = folder / "box"
    records = fill(box, "a.md", "b.md", "deep/c.md")
    assert held(records, box) == {}
    for path in (box / "a.md", box / "b.md"):
        path.unlink()
    shutil.rmtree(box / "deep")
    (box / ".DS_Store").write_text("what a system leaves")
    assert held(records, box) == {"box": (3, EMPTY)}
    assert held(records[:1], box) == {"box": (1, EMPTY)}, "however little it held"
    shutil.rmtree(box)
    assert held(records, box) == {"box": (3, NOT_THERE)}
    assert held(records, box, allow_removals=3) == {}
    assert held(records, box, allow_removals=2) == {"box": (3, NOT_THERE)}, "what was allowed was less"
    assert held(records, box, allow_removals=ALL_REMOVALS) == {}
    assert held([replace(row, status=DocumentStatus.FAILED) for row in records], box) == {}, "nothing is lost"


def test_a_folder_in_a_named_one_is_a_loss_as_a_whole(folder: Path) -> None:
    records = fill(folder, "top.md", "sub/x/a.md", "sub/y/b.md", "sub/y/c.md", "one/d.md")
    (folder / "one" / "d.md").unlink()
    assert held(records, folder) == {}, "one file of a folder of its own may have been deleted as any other"
    shutil.rmtree(folder / "sub" / "y")
    assert held(records, folder) == {"y": (2, EMPTY)}
    (folder / "sub" / "x" / "a.md").unlink()
    assert held(records, folder) == {"sub": (3, EMPTY)}
    assert held(records, folder, recursive=False) == {}, "nothing was looked for there"
    (folder / "sub" / "new.txt").write_text("Something is there again.")
    assert held(records, folder) == {"y": (2, EMPTY)}


def test_what_only_moved_is_no_loss(folder: Path) -> None:
    records = fill(folder, *numbered(30, folder="old/"))
    (folder / "old").rename(folder / "new")
    assert held(records, folder) == {}
    for path in list((folder / "new").iterdir())[:5]:
        path.write_text("Another text that was never here before, longer than the one of before.")
    assert held(records, folder) == {"old": (5, EMPTY)}


def test_more_than_a_fifth_and_more_than_twenty_do_not_go_at_once(folder: Path) -> None:
    records = fill(folder, *numbered(104))
    for number in range(20):
        (folder / f"{number:03}.md").unlink()
    assert held(records, folder) == {}
    (folder / "020.md").unlink()
    assert held(records, folder) == {folder.name: (21, TOO_MANY)}
    rest = fill(folder, "one more.txt")
    assert held([*records, *rest], folder) == {}, "21 of 105 are a fifth and not more"


def test_documents_of_other_folders_do_not_hide_a_loss(folder: Path) -> None:
    here, there = folder / "here", folder / "there"
    records = [*fill(here, *numbered(60)), *fill(there, *numbered(500))]
    for number in range(30):
        (here / f"{number:03}.md").unlink()
    assert held(records, here) == {"here": (30, TOO_MANY)}


def test_a_whole_kind_does_not_go(folder: Path) -> None:
    records = fill(folder, "a.pdf", "b.pdf", "c.pdf", *numbered(20))
    for name in ("a.pdf", "b.pdf"):
        (folder / name).unlink()
    assert held(records, folder) == {}
    (folder / "c.pdf").unlink()
    ((count, why),) = held(records, folder).values()
    assert count == 3
    assert "“pdf”" in why
    assert held(records, folder, options=IngestOptions(exclude=("*.pdf",))) != {}
    (folder / "new.pdf").write_text("Another one of that kind.")
    assert held(records, folder) == {}


def test_rules_may_leave_out_a_folder_but_not_most_of_what_there_is(folder: Path) -> None:
    records = fill(folder, *numbered(10, folder="drafts/"), *numbered(40))
    assert held(records, folder, options=IngestOptions(exclude=("drafts",))) == {}
    (folder / ".ragignore").write_text("drafts/\n")
    assert held(records, folder) == {}
    assert held(records, folder, options=IngestOptions(include=("*.txt",))) == {folder.name: (50, TOO_MANY)}


def test_files_that_a_cloud_keeps_elsewhere_keep_their_documents(folder: Path) -> None:
    records = fill(folder, "a.md", "b.md", "c.md", "d.md", "e.md", "deep/f.md")
    (folder / "a.md").rename(folder / ".a.md.icloud")
    (folder / "b.md").unlink()
    (folder / "b.md.nextcloud").write_text(" ")
    (folder / "c.md").unlink()
    with (folder / "c.md").open("wb") as hole:
        hole.truncate(1 << 16)
    found = scan([folder], DEFAULT)
    assert held(records, folder) == {folder.name: (3, ELSEWHERE)}
    assert [(item.reason, item.count) for item in found.skipped] == [
        ("placeholders of files that are not on this computer", 2)
    ]
    assert sorted(file.path.name for file in found.files) == ["c.md", "d.md", "e.md", "f.md"]
    assert held(records, folder / "c.md") == {}, "a file that is named is read"


def test_files_without_content_keep_their_documents_if_there_are_several(folder: Path) -> None:
    records = fill(folder, "a.md", "b.md", "c.md", *numbered(5, folder="deep/"), "alone/one.md")
    (folder / "a.md").write_text("")
    assert held(records, folder) == {}
    assert held(records[-1:], folder / "alone") == {}
    (folder / "alone" / "one.md").write_text("")
    assert held(records[-1:], folder / "alone") == {"alone": (1, EMPTY)}
    assert held(records, folder) == {folder.name: (2, CUT_OFF)}
    for path in (folder / "deep").iterdir():
        path.write_text("")
    assert held(records, folder) == {folder.name: (7, CUT_OFF)}


def test_what_cannot_be_read_or_was_not_looked_for_is_no_loss(folder: Path) -> None:
    records = fill(folder, "a.md", "b.md", "sub/c.md", "sub/d.md")
    shutil.rmtree(folder / "sub")
    for change in ({"complete": False}, {"unreadable": {str(folder / "sub")}}):
        found = replace(scan([folder], DEFAULT), **change)  # type: ignore[arg-type]
        assert decide(records, found, DEFAULT).held == ()


def test_only_what_is_known_may_be_missing(folder: Path) -> None:
    records = fill(folder / "box", "a.md")
    shutil.rmtree(folder / "box")
    for path in (folder / "box", folder / "box" / "a.md"):
        check_known(records, scan([path], DEFAULT))
    for path in (folder / "bo", folder / "box" / "b.md"):
        with pytest.raises(NotFound, match="no file or folder"):
            check_known(records, scan([folder, path], DEFAULT))


def test_systems_say_in_their_own_ways_that_only_a_name_is_here(folder: Path) -> None:
    file = folder / "a.md"
    file.write_text("Content.")

    class Status:
        st_size = 8
        st_blocks = 8

        def __init__(self, **values: int) -> None:
            self.__dict__ |= values

    assert not is_placeholder(str(file), file.stat())
    for values, expected in (
        ({}, False),
        ({"st_file_attributes": 0x20}, False),
        ({"st_file_attributes": 0x1020}, True),
        ({"st_file_attributes": 0x40_0020}, True),
        ({"st_flags": 0x4000_0000}, True),
        ({"st_flags": 0x20}, False),
        ({"st_blocks": 0}, False),  # a file system that counts none: its data is there
    ):
        assert is_placeholder(str(file), Status(**values)) is expected, values  # type: ignore[arg-type]
    names = (".report.pdf.icloud", "report.pdf.nextcloud", "a.b.owncloud", ".icloud", "report.icloud", "a.md")
    assert [stands_for(name) for name in names] == ["report.pdf", "report.pdf", "a.b", "", "", ""]
    assert [clamped(value) for value in (-(2**70), 5, 2**64)] == [-(2**63), 5, 2**63 - 1]
