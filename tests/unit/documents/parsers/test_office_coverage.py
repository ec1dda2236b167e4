"""What stands beside the text of Word, PowerPoint and Excel files is found too; a damaged part costs only itself."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from studio.documents.parsers import workbook
from studio.domain import PageCounts, PartFailure
from studio.errors import FailureCode
from tests.unit.documents.making import R, W, archive, docx, fault, paragraph, places, read, read_one, relations

CUSTOM = '<p><property name="License"><v:lpwstr xmlns:v="v">CC BY 4.0</v:lpwstr></property></p>'


def story(name: str, *texts: str) -> str:
    return f"<w:{name} {W}>{''.join(map(paragraph, texts))}</w:{name}>"


# ------------------------------------------------------------------------------------------ Word


def test_headers_footers_comments_and_diagrams_come_after_the_text(tmp_path: Path) -> None:
    path = docx(
        tmp_path / "a.docx",
        paragraph("Body"),
        header=story("hdr", "Letterhead", "1"),
        footer=story("ftr", "Letterhead", "Page"),
        comments=story("comments", "Check this"),
        diagramData='<d xmlns:a="a"><pt><t><a:p><a:t>Box</a:t></a:p></t></pt></d>',
    )
    assert places(read_one(path)) == [
        ("", "Body"),
        ("Comments", "Check this"),
        ("Diagrams", "Box"),
        ("Headers and footers", "Letterhead\n\nPage"),
    ]


def test_a_table_made_for_looks_stays_in_paragraphs(tmp_path: Path) -> None:
    cell = "<w:tc>{}</w:tc>".format
    long = "Prose " * 60
    rows = f"<w:tr>{cell(paragraph('a'))}{cell(paragraph('b'))}</w:tr>"
    rows += f"<w:tr>{cell(paragraph(long) + paragraph('more'))}{cell(paragraph('side'))}</w:tr>"
    inner = f"<w:tbl><w:tr>{cell(paragraph('x'))}{cell(paragraph('y'))}</w:tr></w:tbl>"
    rows += f"<w:tr>{cell(paragraph('c') + inner)}{cell('<w:p/>')}</w:tr>"
    parsed = read_one(docx(tmp_path / "a.docx", f"<w:tbl>{rows}</w:tbl>{paragraph('end')}"))
    assert parsed.text == f"a | b\n\n{long.strip()}\n\nmore\n\nside\n\nc x | y\n\nend"
    assert [text for _, text in places(parsed)][::2] == ["a | b", "c x | y"]
    assert [span.whole for span in parsed.spans] == [True, False, True, False]


def test_a_damaged_part_beside_the_text_is_named(tmp_path: Path) -> None:
    path = docx(tmp_path / "a.docx", paragraph("Body"), comments="<w:comments><w:p>")
    failure, parsed = read(path)
    assert isinstance(failure, PartFailure)
    assert (failure.part, failure.error) == ("word/comments.xml", FailureCode.CORRUPT)
    assert parsed.text == "Body"


def test_properties_may_hold_a_licence_and_may_be_damaged(tmp_path: Path) -> None:
    path = docx(tmp_path / "a.docx", paragraph("Body"))
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name).decode() for name in source.namelist()}
    members["_rels/.rels"] = relations(
        [(kind, kind, f"docProps/{kind.partition('-')[0]}.xml") for kind in ("core-properties", "custom-properties")]
        + [("r", "officeDocument", "word/document.xml")]
    )
    members["docProps/custom.xml"] = CUSTOM
    parsed = read_one(archive(path, members))
    assert (parsed.title, parsed.author, parsed.created, parsed.licence) == (
        "A Title",
        "Ann",
        "2024-05-06",
        "CC BY 4.0",
    )
    members["docProps/core.xml"] = "<c xmlns:d='u'><d:rights>Mine</d:rights><broken"
    assert read_one(archive(path, members)).licence == "Mine"


# ------------------------------------------------------------------------------------ PowerPoint

P = f'xmlns:p="p" xmlns:a="a" xmlns:c="c" {R}'


def presentation(path: Path, slides: list[str], **beside: str) -> Path:
    """Slides by their content; `beside` are parts related to the first one, by the kind of their relation."""
    numbers = range(1, len(slides) + 1)
    shown = "".join(f'<p:sldId r:id="s{n}"/>' for n in numbers)
    members = {
        "_rels/.rels": relations([("r", "officeDocument", "ppt/presentation.xml")]),
        "ppt/presentation.xml": f"<p:p {P}>{shown}</p:p>",
        "ppt/_rels/presentation.xml.rels": relations([(f"s{n}", "slide", f"slides/s{n}.xml") for n in numbers]),
        "ppt/slides/_rels/s1.xml.rels": relations([(kind, kind, f"../{kind}.xml") for kind in beside]),
        **{f"ppt/slides/s{n}.xml": slide for n, slide in zip(numbers, slides, strict=True)},
        **{f"ppt/{kind}.xml": content for kind, content in beside.items()},
    }
    return archive(path, members)


def slide(*texts: str) -> str:
    return f"<p:sld {P}>{''.join(f'<p:sp><a:p><a:t>{text}</a:t></a:p></p:sp>' for text in texts)}</p:sld>"


def test_charts_and_comments_belong_to_their_slide(tmp_path: Path) -> None:
    def points(kind: str, *values: str) -> str:
        listed = "".join(f'<c:pt idx="{at}"><c:v>{value}</c:v></c:pt>' for at, value in enumerate(values))
        return f"<c:{kind}Cache>{listed}</c:{kind}Cache>"

    chart = f"<c:c {P}><c:title><c:tx><a:p><a:t>Sales</a:t></a:p></c:tx></c:title>"
    chart += f"<c:ser><c:tx>{points('str', 'Tea')}</c:tx><c:cat>{points('str', 'May', 'June')}</c:cat>"
    chart += f"<c:val>{points('num', '3', '4.5')}</c:val>"
    parsed = read_one(
        presentation(
            tmp_path / "a.pptx",
            [slide("First"), slide("Second")],
            comments=f"<p:cmLst {P}><p:cm><p:text>Check this</p:text></p:cm></p:cmLst>",
            chart=f"{chart}</c:ser></c:c>",
        )
    )
    assert parsed.text == "First\nSales\nTea\nMay | 3\nJune | 4.5\nComments:\nCheck this\n\nSecond"
    assert [anchor for anchor, _ in places(parsed)] == ["Slide 1", "Slide 1", "Slide 1", "Slide 2"]


def test_slides_are_counted_as_they_could_be_read(tmp_path: Path) -> None:
    parsed = read_one(presentation(tmp_path / "a.pptx", [slide("One"), slide(), "<p:sld>", slide("Four")]))
    assert parsed.pages == PageCounts(total=4, readable=2, empty=1, failed=1)
    assert [span.page for span in parsed.spans] == [1, 4]
    assert fault(presentation(tmp_path / "b.pptx", ["<p:sld>"])).code is FailureCode.CORRUPT
    assert fault(presentation(tmp_path / "c.pptx", [slide()])).code is FailureCode.NO_TEXT


# ---------------------------------------------------------------------------------------- sheets


def workbook_of(path: Path, sheets: dict[str, str], **parts: str) -> Path:
    """Sheets by name and rows; `parts` are related to the first sheet, but for the strings and styles."""
    names = list(sheets)
    shared = {"sharedStrings", "styles"}
    listed = "".join(f'<sheet name="{name}" sheetId="{i}" r:id="s{i}"/>' for i, name in enumerate(names))
    ns = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    members = {
        "_rels/.rels": relations([("r", "officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f"<workbook {ns} {R}><sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(
            [(f"s{i}", "worksheet", f"worksheets/s{i}.xml") for i in range(len(names))]
            + [(kind, kind, f"{kind}.xml") for kind in shared & parts.keys()]
        ),
        "xl/worksheets/_rels/s0.xml.rels": relations([(k, k, f"../{k}.xml") for k in parts.keys() - shared]),
        **{f"xl/{kind}.xml": content for kind, content in parts.items()},
    }
    for i, rows in enumerate(sheets.values()):
        members[f"xl/worksheets/s{i}.xml"] = f"<worksheet {ns}><sheetData>{rows}</sheetData></worksheet>"
    return archive(path, members)


def cell(place: str, value: str, kind: str = "str", style: str = "") -> str:
    return f'<c r="{place}" t="{kind}" s="{style or 0}"><v>{value}</v></c>'


def row(number: int, *cells: str) -> str:
    return f'<row r="{number}">{"".join(cells)}</row>'


def test_rows_of_a_long_sheet_have_their_numbers(tmp_path: Path) -> None:
    rows = "".join(row(n, cell(f"B{n}", f"{n} {'word ' * 50}")) for n in range(3, 13))
    parsed = read_one(workbook_of(tmp_path / "a.xlsx", {"Long": rows, "None": "", "Short": row(1, cell("A1", "end"))}))
    anchors = [span.anchor for span in parsed.spans]
    assert anchors == ["Sheet Long · rows 3–6", "Sheet Long · rows 7–10", "Sheet Long · rows 11–12", "Sheet Short"]
    assert [text.partition(" ")[0] for _, text in places(parsed)] == ["3", "7", "11", "end"]
    assert all(span.whole for span in parsed.spans)
    assert parsed.pages == PageCounts(total=3, readable=2, empty=1)


def test_comments_and_text_boxes_follow_their_sheet(tmp_path: Path) -> None:
    comments = '<c><comment ref="B2"><text><r><t>Ask </t></r><r><t>Ann</t></r></text></comment></c>'
    drawing = '<d xmlns:a="a"><a:p><a:t>In a box</a:t></a:p></d>'
    path = workbook_of(
        tmp_path / "a.xlsx",
        {"One": row(1, cell("A1", "x")), "Two": row(1, cell("A1", "y"))},
        comments=comments,
        drawing=drawing,
    )
    first, beside, second = places(read_one(path))
    assert (first, second) == (("Sheet One", "x"), ("Sheet Two", "y"))
    assert beside[0] == "Sheet One · comments"
    assert sorted(beside[1].split("\n")) == ["B2: Ask Ann", "In a box"]


SPARSE = "".join(
    (
        row(
            1,
            cell("A1", "0", "s"),
            cell("B1", "45413", "n", "1"),
            cell("C1", "45413.5", "n", "2"),
            cell("D1", "1", "b"),
        ),
        row(2, '<c r="A2" t="inlineStr"><is><t>in place</t></is></c>', cell("C2", "2.5", "n"), cell("D2", "7", "n")),
        row(1_048_576, cell("XFD1048576", "far")),
    )
)
STRINGS = '<sst><si><r><t xml:space="preserve">shared </t></r><r><t>text</t></r><rPh><t>hint</t></rPh></si></sst>'
STYLES = (
    '<styleSheet><numFmts><numFmt numFmtId="170" formatCode="d/m hh:mm"/></numFmts><cellStyleXfs><xf numFmtId="14"/>'
    '</cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="170"/></cellXfs></styleSheet>'
)


def test_a_sheet_whose_cells_lie_far_apart_is_read(tmp_path: Path) -> None:
    sheets = {"Far": SPARSE, "Near": row(1, cell("A1", "end"))}
    parsed = read_one(workbook_of(tmp_path / "a.xlsx", sheets, sharedStrings=STRINGS, styles=STYLES))
    first, second, far = parsed.text.split("\n\n")[0].split("\n")
    assert first == "shared text | 2024-05-01 | 1/5 12:00 (2024-05-01) | TRUE"
    assert second == "in place |  | 2.5 | 7"
    assert far.endswith("far")
    assert len(far) < 4 * workbook.MAX_GAP
    assert [span.anchor for span in parsed.spans] == ["Sheet Far", "Sheet Near"]


def test_a_cell_at_the_edge_of_a_block_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook_of(tmp_path / "a.xlsx", {"Far": SPARSE}, sharedStrings=STRINGS, styles=STYLES)
    for size in range(50, 400, 7):
        monkeypatch.setattr("studio.documents.parsers.package.BLOCK_BYTES", size)
        assert read_one(path).text.endswith("far")
