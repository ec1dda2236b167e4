"""What Word and PowerPoint show beside plain paragraphs: numbers, equations, readings, charts, footers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from studio.documents.parsers.equations import MAX_OPEN, Equation
from studio.documents.parsers.package import parse_xml
from tests.unit.documents.making import R, W, archive, docx, fault, paragraph, places, read_one, relations
from tests.unit.documents.parsers.test_office_coverage import P, presentation

NUMBERING = f"""<w:numbering {W}><w:abstractNum w:abstractNumId="5">
<w:lvl w:ilvl="0"><w:start w:val="7"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>
<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1.%2"/></w:lvl>
<w:lvl w:ilvl="2"><w:start w:val="1"/><w:numFmt w:val="lowerRoman"/><w:lvlText w:val="(%3)"/></w:lvl></w:abstractNum>
<w:abstractNum w:abstractNumId="6"><w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="bullet"/>
<w:lvlText w:val="o"/></w:lvl></w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="5"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="6"/></w:num>
<w:num w:numId="3"><w:abstractNumId w:val="5"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride>
</w:num></w:numbering>"""
STYLES = f"""<w:styles {W}><w:style w:styleId="Clause"><w:name w:val="heading 2"/><w:pPr><w:numPr><w:ilvl w:val="1"/>
<w:numId w:val="1"/></w:numPr></w:pPr></w:style></w:styles>"""


def item(text: str, depth: int = 0, number: int = 1) -> str:
    return paragraph(text, "", f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="{number}"/></w:numPr>')


def test_automatic_numbers_stand_before_their_paragraphs(tmp_path: Path) -> None:
    body = item("Delivery") + paragraph("Place", "Clause") + paragraph("Time", "Clause") + item("early", 2)
    body += item("late", 2) + item("Payment") + paragraph("Cash", "Clause") + item("dot", 0, 2) + item("anew", 0, 3)
    parsed = read_one(docx(tmp_path / "a.docx", body, numbering=NUMBERING, styles=STYLES))
    assert [line for line in parsed.text.split("\n") if line] == [
        "7. Delivery", "7.1 Place", "7.2 Time", "(i) early", "(ii) late", "8. Payment", "8.1 Cash", "- dot", "1. anew",
    ]  # fmt: skip
    assert ("7.2 Time", "7.2 Time\n(i) early\n(ii) late\n8. Payment") in places(parsed)


M = "http://schemas.openxmlformats.org/officeDocument/2006/math"


def run(text: str) -> str:
    return f"<r><t>{text}</t></r>"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (f"<f><num>{run('3')}</num><den>{run('8')}</den></f>", "3/8"),
        (f"<f><num>{run('a+b')}</num><den>{run('2')}</den></f>", "(a+b)/2"),
        (f"{run('4·')}<sSup><e>{run('10')}</e><sup>{run('6')}</sup></sSup>", "4·10⁶"),
        (f"<sSup><e>{run('e')}</e><sup>{run('kt')}</sup></sSup>", "e^kt"),
        (f"<sSub><e>{run('x')}</e><sub>{run('1')}</sub></sSub>", "x_1"),
        (f"<rad><deg>{run('3')}</deg><e>{run('a+b')}</e></rad>", "³√(a+b)"),
        (f"<d><e>{run('a')}</e></d>", "(a)"),
        (
            f"<nary><chr val='∑'/><sub>{run('i=1')}</sub><sup>{run('n')}</sup><e>{run('i')}</e></nary>",
            "∑_(i=1)ⁿ i",
        ),
        (
            f"<m><mr><e>{run('1')}</e><e>{run('2')}</e></mr><mr><e>{run('3')}</e><e>{run('4')}</e></mr></m>",
            "1, 2; 3, 4",
        ),
    ],
)
def test_equations_keep_their_structure_on_a_line(source: str, line: str) -> None:
    equation = Equation()
    parse_xml([f"<q>{source}</q>".encode()], equation, "Word")
    assert equation.line() == line


def test_an_equation_nested_too_deeply_is_written_down_as_far_as_it_goes() -> None:
    equation = Equation()
    parse_xml([("<f><num>" * 300 + run("x") + "</num></f>" * 300).encode()], equation, "Word")
    assert equation.line().count("/") < MAX_OPEN


def test_an_equation_in_a_paragraph_and_on_a_slide(tmp_path: Path) -> None:
    math = f'<m:oMath xmlns:m="{M}"><m:f><m:num><m:r><m:t>3</m:t></m:r></m:num><m:den><m:r><m:t>8</m:t></m:r></m:den>'
    math += "</m:f></m:oMath>"
    body = f"<w:p><w:r><w:t>Ratio </w:t></w:r>{math}<w:r><w:t> inch</w:t></w:r></w:p>"
    assert read_one(docx(tmp_path / "a.docx", body)).text == "Ratio 3/8 inch"
    shape = f"<p:sld {P}><p:sp><a:p><a:r><a:t>Ratio </a:t></a:r>{math}</a:p></p:sp></p:sld>"
    assert read_one(presentation(tmp_path / "a.pptx", [shape])).text == "Ratio 3/8"


def test_readings_hidden_runs_and_raised_numbers(tmp_path: Path) -> None:
    def words(text: str, look: str = "") -> str:
        return f'<w:r><w:rPr>{look}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'

    up = '<w:vertAlign w:val="superscript"/>'
    ruby = f"<w:r><w:ruby><w:rt>{words('とうきょう')}</w:rt><w:rubyBase>{words('東京')}</w:rubyBase></w:ruby></w:r>"
    body = f"<w:p>{ruby}{words('駅')}</w:p>"
    body += f"<w:p><w:pPr><w:rPr><w:vanish/></w:rPr></w:pPr>{words('seen ')}{words('unseen', '<w:vanish/>')}</w:p>"
    body += f"<w:p>{words('the estuary')}{words('2', up)}{words(' of 5 km')}{words('2', up)}{words(', 10')}"
    body += f"{words('6', up)}</w:p>"
    text = read_one(docx(tmp_path / "a.docx", body)).text
    assert text == "東京(とうきょう)駅\n\nseen\n\nthe estuary 2 of 5 km², 10⁶"


def test_merged_cells_are_repeated_in_the_rows_they_span(tmp_path: Path) -> None:
    def box(text: str, look: str = "") -> str:
        return f"<w:tc><w:tcPr>{look}</w:tcPr>{paragraph(text) if text else '<w:p/>'}</w:tc>"

    rows = [
        box("Area", '<w:gridSpan w:val="2"/>') + box("Crates"),
        box("North") + box("Ostfold", '<w:vMerge w:val="restart"/>') + box("June"),
        box("South") + box("", "<w:vMerge/>") + box("July"),
    ]
    table = "<w:tbl>" + "".join(f"<w:tr>{cells}</w:tr>" for cells in rows) + "</w:tbl>"
    assert (
        read_one(docx(tmp_path / "a.docx", table)).text
        == "Area | Crates\nNorth | Ostfold | June\nSouth | Ostfold | July"
    )


CHART = (
    "<c><ser><tx><strCache><pt idx='0'><v>Tea</v></pt></strCache></tx><cat><strCache><pt idx='0'><v>May</v></pt>"
    "</strCache></cat><val><numCache><formatCode>0%</formatCode><pt idx='0'><v>0.5</v></pt></numCache></val></ser></c>"
)


def test_charts_and_documents_in_other_formats_belong_to_the_text(tmp_path: Path) -> None:
    path = docx(
        tmp_path / "a.docx", f'{paragraph("Before")}<w:altChunk r:id="x" {R}/>{paragraph("After")}', chart=CHART
    )
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    members["word/_rels/document.xml.rels"] = relations(
        [("x", "aFChunk", "part.html"), ("chart", "chart", "chart.xml")]
    ).encode()
    members["word/part.html"] = b"<html><body><p>Embedded <b>words</b></p></body></html>"
    parsed = read_one(archive(path, members))
    assert parsed.text == "Before\n\nEmbedded words\n\nAfter\n\nTea\nMay | 50% (0.5)"


def shape(kind: str, text: str) -> str:
    return f'<p:sp><p:nvPr><p:ph type="{kind}"/></p:nvPr><a:p>{text}</a:p></p:sp>'


def test_what_stands_after_a_footer_and_the_footer_itself(tmp_path: Path) -> None:
    table = "<p:graphicFrame><a:tbl><a:tr><a:tc><a:p><a:t>Region</a:t></a:p></a:tc><a:tc><a:p><a:t>4,711</a:t></a:p>"
    table += "</a:tc></a:tr></a:tbl></p:graphicFrame>"
    first = shape("title", "<a:t>Figures</a:t>") + shape("ftr", "<a:t>Confidential</a:t>")
    first += shape("sldNum", '<a:fld type="slidenum"><a:t>1</a:t></a:fld>') + table
    number = (
        f"<p:n {P}><p:sp><a:p><a:fld type='slidenum'><a:t>12</a:t></a:fld></a:p><a:p><a:t>12</a:t></a:p></p:sp></p:n>"
    )
    parsed = read_one(presentation(tmp_path / "a.pptx", [f"<p:sld {P}>{first}</p:sld>"], notesSlide=number))
    assert parsed.text == "Figures\nRegion | 4,711\nConfidential"


def test_a_deck_without_slides_is_not_called_damaged(tmp_path: Path) -> None:
    found = fault(presentation(tmp_path / "a.pptx", []))
    assert (found.code, "holds no slides" in str(found)) == ("no_text", True)
