"""Values of a sheet are found as the sheet shows them, and as they are; what is hidden is marked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from studio.documents.parsers.number_formats import code_of, formatter
from studio.documents.parsers.package import open_package
from tests.unit.documents.making import archive, places, read_one
from tests.unit.documents.parsers.test_office_coverage import cell, row, workbook_of


@pytest.mark.parametrize(
    ("code", "number", "shown"),
    [
        ("0%", 0.15, "15% (0.15)"),
        ("0.00%", -0.0725, "-7.25% (-0.0725)"),
        ("00000", 1069, "01069 (1069)"),
        ("#,##0.00", 1234.5, "1,234.50 (1234.5)"),
        ("0.0", 2.25, "2.3 (2.25)"),
        ("#,##0.00 [$€-407]", 1234.5, "1,234.50 € (1234.5)"),
        ("#,##0;(#,##0)", -1200, "(1,200) (-1200)"),
        ("0.00E+00", 12345, "1.23E+04 (12345)"),
        ("# ?/?", 1.375, "1 3/8 (1.375)"),
        ("000-00-0000", 123456789, "123-45-6789 (123456789)"),
        ("dd.mm.yyyy", 45356, "05.03.2024 (2024-03-05)"),
        ("[h]:mm", 1.5625, "37:30"),
        ("mmm yyyy", 45356, "Mar 2024 (2024-03-05)"),
        ("h:mm AM/PM", 0.75, "6:00 PM"),
        ('[<1]"low";0', 0.5, "low (0.5)"),
    ],
)
def test_a_number_is_shown_by_its_format_and_stays_findable(code: str, number: float, shown: str) -> None:
    show = formatter(code)
    assert show is not None
    assert show(number) == shown


def test_formats_that_show_a_number_as_it_is() -> None:
    assert (formatter("General"), formatter("@"), formatter("")) == (None, None, None)
    date, late = formatter(code_of(14, {})), formatter(code_of(14, {}), is_1904=True)
    assert (date and date(45356), late and late(45356 - 1462)) == ("2024-03-05", "2024-03-05")


FORMATS = (
    '<styleSheet><numFmts><numFmt numFmtId="170" formatCode="[h]:mm"/></numFmts><cellXfs><xf numFmtId="0"/>'
    '<xf numFmtId="9"/><xf numFmtId="170"/><xf numFmtId="14"/></cellXfs></styleSheet>'
)


def test_hidden_rows_and_sheets_are_marked(tmp_path: Path) -> None:
    rows = row(1, cell("A1", "0.15", "n", "1"), cell("B1", "1.5625", "n", "2"))
    rows += f'<row r="2" hidden="1">{cell("A2", "tucked away")}</row>'
    path = workbook_of(tmp_path / "a.xlsx", {"Rates": rows, "Draft": row(1, cell("A1", "secret"))}, styles=FORMATS)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name).decode() for name in source.namelist()}
    members["xl/workbook.xml"] = members["xl/workbook.xml"].replace('name="Draft"', 'name="Draft" state="hidden"')
    parsed = read_one(archive(path, members))
    assert parsed.text == "15% (0.15) | 37:30\ntucked away | (hidden)"
    assert parsed.metadata["hidden sheets"] == "Draft"


def test_days_of_a_workbook_that_counts_from_1904(tmp_path: Path) -> None:
    path = workbook_of(tmp_path / "a.xlsx", {"S": row(1, cell("A1", "42892", "n", "3"))}, styles=FORMATS)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name).decode() for name in source.namelist()}
    members["xl/workbook.xml"] = members["xl/workbook.xml"].replace("<sheets>", '<workbookPr date1904="1"/><sheets>')
    assert read_one(archive(path, members)).text == "2021-06-07"


def test_a_formula_without_a_value_shows_itself(tmp_path: Path) -> None:
    cells = '<c r="B1"><f>SUM(A1:A2)</f></c><c r="C1"><f>A1*2</f><v>14</v></c>'
    assert read_one(workbook_of(tmp_path / "a.xlsx", {"S": row(1, cell("A1", "7", "n"), cells)})).text == (
        "7 | =SUM(A1:A2) | 14"
    )


def test_a_chart_on_a_sheet_is_found(tmp_path: Path) -> None:
    chart = "<c><title><tx><p><t>Yearly yield</t></p></tx></title></c>"
    path = workbook_of(tmp_path / "a.xlsx", {"S": row(1, cell("A1", "x"))}, chart=chart)
    assert places(read_one(path)) == [("Sheet S", "x"), ("Sheet S · comments", "Yearly yield")]


def test_parts_are_found_in_another_case_and_with_backslashes(tmp_path: Path) -> None:
    path = workbook_of(tmp_path / "a.xlsx", {"S": row(1, cell("A1", "seven"))})
    with zipfile.ZipFile(path) as source:
        members = {name.replace("/", "\\").upper(): source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.filename = name
            target.writestr(info, content)
    with open_package(path, "Excel") as package:
        assert package.read("xl/worksheets/s0.xml").startswith(b"<worksheet")
    assert read_one(path).text == "seven"
