"""A source is opened where that can only show it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.viewmodels.search import is_passive

RUN = (
    "bat cmd vbs js jse wsf hta url desktop lnk webloc inetloc scf ps1 sh py command jar msi reg exe com "
    "scr cpl dll docm xlsm pptm dotm doc xls ppt ps html htm xhtml mht svg xml chm appimage run bin workflow pif"
)
posix_only = pytest.mark.skipif(os.name == "nt", reason="links and marks of this kind are of POSIX")


def placed(folder: Path, name: str) -> str:
    path = folder / name
    path.write_text("text")
    return str(path)


@pytest.mark.parametrize(
    "name", ["a.pdf", "Ä b.TXT", "v1.2 notes.md", "run.exe.pdf", "Bild\u202f1.png", "song.mp3", "mail.eml", "x.docx"]
)
def test_what_is_read_is_opened(tmp_path: Path, name: str) -> None:
    assert is_passive(placed(tmp_path, name))


@pytest.mark.parametrize(
    "name",
    [
        *(f"a.{ending}" for ending in RUN.split()),
        "a", "a.pdf.exe", "a.bat.", "a.bat ", "a.pdf.", "a.pdf ", "a.pdf.bat", "pdf", ".pdf", "a\x1b.pdf",
        "a\u202etxt.exe", "a\u202efdp.txt",
    ],
)  # fmt: skip
def test_what_could_be_run_is_not(tmp_path: Path, name: str) -> None:
    assert not is_passive(placed(tmp_path, name))


@posix_only
def test_neither_is_a_folder_a_link_to_a_program_or_what_is_marked_as_one(tmp_path: Path) -> None:
    (tmp_path / "Bundle.app").mkdir()
    (tmp_path / "folder.pdf").mkdir()
    (tmp_path / "link.pdf").symlink_to(placed(tmp_path, "run.sh"))
    (tmp_path / "marked.txt").write_text("#!/bin/sh\n")
    (tmp_path / "marked.txt").chmod(0o744)
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nothing.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    assert not [path.name for path in tmp_path.iterdir() if is_passive(str(path))]


@posix_only
def test_a_link_to_a_document_is_one(tmp_path: Path) -> None:
    (tmp_path / "link.txt").symlink_to(placed(tmp_path, "notes.md"))
    assert is_passive(str(tmp_path / "link.txt"))


def test_a_name_without_its_folder_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed(tmp_path, "a.txt")
    monkeypatch.chdir(tmp_path)
    assert not is_passive("a.txt")


@pytest.mark.parametrize(
    "path",
    ["C:\\a.txt:b.vbs", "C:\\a.vbs:b.txt", "\\\\host\\share\\a.txt", "//host/share/a.txt", "\\\\?\\C:\\a.txt",
     "\\\\.\\pipe\\a.txt", "C:a.txt", "\\a.txt", "https://host/a.txt", "file:///C:/a.txt", "C:\\a.txt. ", "C:\\a.bat."],
)  # fmt: skip
def test_names_that_windows_reads_in_its_own_way_are_not(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda *_, **__: pytest.fail(f"{path!r} was looked up"))
    assert not is_passive(path, windows=True)
