"""Files are what their directory says, in whatever case; a format that is not read is named as what it is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from studio.documents.parsers import sheets
from studio.documents.parsers.base import corrupt
from studio.documents.parsers.detect import detect
from studio.documents.parsers.package import Package
from studio.errors import FailureCode
from tests.unit.documents.making import archive, container, fault, read_one
from tests.unit.documents.parsers.test_office_coverage import cell, row, workbook_of


@pytest.mark.parametrize(
    ("name", "member", "said"),
    [
        ("a.pages", "Index/Document.iwa", "Pages document"),
        ("a.key", "Index/Presentation.iwa", "Keynote presentation"),
        ("a.numbers", "Index/Tables/Tile.iwa", "Numbers spreadsheet"),
        ("old.pages", "index.xml", "Pages document"),
        ("a.vsdx", "visio/document.xml", "Visio drawing"),
        ("a.xps", "FixedDocSeq.fdseq", "XPS document"),
    ],
)
def test_packages_of_other_programs_are_named(tmp_path: Path, name: str, member: str, said: str) -> None:
    found = fault(archive(tmp_path / name, {member: "x"}))
    assert (found.code, said in str(found), "Export it" in found.way_out) == (FailureCode.UNSUPPORTED, True, True)


def test_a_sheet_of_excel_4_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.xls").write_bytes(b"\x09\x04\x06\x00\x00\x00\x10\x00\x00\x00" + bytes(200))
    found = fault(tmp_path / "a.xls")
    assert (found.code, "Excel 4" in str(found)) == (FailureCode.UNSUPPORTED, True)


def test_a_message_with_an_old_document_attached_is_a_message(tmp_path: Path) -> None:
    attached = {"WordDocument": b"x", "1Table": b"x"}
    message = {"__attach_version1.0_#00000000": {"__substg1.0_3701000D": attached}, "__properties_version1.0": b"x"}
    assert detect(container(tmp_path / "a.msg", message)) == "msg"
    embedded = {"ObjectPool": {"_1": {"Workbook": b"x"}}, "WordDocument": b"x"}
    assert detect(container(tmp_path / "a.doc", embedded)) == "doc"


@pytest.mark.parametrize(
    ("stream", "kind"), [("WORKBOOK", "xls"), ("worddocument", "doc"), ("PowerPoint document", "ppt")]
)
def test_names_in_a_directory_have_no_case(tmp_path: Path, stream: str, kind: str) -> None:
    assert detect(container(tmp_path / "a.bin", {stream: b"x"})) == kind


def test_a_second_reader_takes_over_where_the_list_of_sheets_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workbook_of(tmp_path / "a.xlsx", {"S": row(1, cell("A1", "seven"))})

    class Lost(sheets.Workbook):
        def __init__(self, package: Package) -> None:
            raise corrupt("Excel", "test")

    monkeypatch.setattr(sheets, "Workbook", Lost)
    assert read_one(path).text == "seven"
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    assert "test" in str(fault(archive(path, members | {"xl/workbook.xml": b"<broken"})))
