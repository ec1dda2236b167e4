"""Files are what their directory says, in whatever case; a format that is not read is named as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import archive, fault

from studio.errors import FailureCode


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
