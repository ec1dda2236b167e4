"""What Word shows and does not store as text: numbers, equations, merged cells, raised and hidden text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.documents.making import archive, read_one

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
W += ' xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def word(path: Path, body: str, numbering: str = "") -> Path:
    target = f'<Relationship Id="r1" Type="{R}/numbering" Target="numbering.xml"/>' if numbering else ""
    root = f'<Relationship Id="r0" Type="{R}/officeDocument" Target="word/document.xml"/>'
    archive(
        path,
        {
            "_rels/.rels": f"<Relationships>{root}</Relationships>",
            "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
            "word/_rels/document.xml.rels": f"<Relationships>{target}</Relationships>",
            **({"word/numbering.xml": f"<w:numbering {W}>{numbering}</w:numbering>"} if numbering else {}),
        },
    )
    return path


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*runs: str, level: int | None = None, style: str = "") -> str:
    listed = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="1"/></w:numPr>' if level is not None else ""
    styled = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{styled}{listed}</w:pPr>{''.join(runs)}</w:p>"


KINDS = [("decimal", "%1."), ("decimal", "%1.%2"), ("lowerLetter", "(%3)"), ("bullet", "o")]
LEVELS = "".join(
    f'<w:lvl w:ilvl="{at}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/></w:lvl>'
    for at, (kind, text) in enumerate(
        [("decimal", "%1."), ("decimal", "%1.%2"), ("lowerLetter", "(%3)"), ("bullet", "o")]
    )
)
LIST = (
    f'<w:abstractNum w:abstractNumId="5">{LEVELS}</w:abstractNum>'
    '<w:num w:numId="1"><w:abstractNumId w:val="5"/></w:num>'
)


def test_paragraphs_have_the_numbers_that_word_shows(tmp_path: Path) -> None:
    levels = [
        (0, "Terms"),
        (1, "Price"),
        (1, "Delivery"),
        (2, "by ship"),
        (2, "by rail"),
        (0, "End"),
        (1, "Notice"),
        (3, "x"),
    ]
    body = "".join(paragraph(run(text), level=level) for level, text in levels)
    assert read_one(word(tmp_path / "a.docx", body, LIST)).text.split("\n") == [
        "1. Terms", "1.1 Price", "1.2 Delivery", "(a) by ship", "(b) by rail", "2. End", "2.1 Notice", "- x",
    ]  # fmt: skip


def m(name: str, *inside: str) -> str:
    return f"<m:{name}>{''.join(inside)}</m:{name}>"


def mt(text: str) -> str:
    return m("r", m("t", text))


@pytest.mark.parametrize(
    ("equation", "line"),
    [
        (m("f", m("num", mt("3")), m("den", mt("8"))), "3/8"),
        (m("f", m("num", mt("a+b")), m("den", mt("2"))), "(a+b)/2"),
        (mt("4·") + m("sSup", m("e", mt("10")), m("sup", mt("6"))), "4·10⁶"),
        (m("sSup", m("e", mt("x")), m("sup", mt("a+b"))), "x^(a+b)"),
        (m("rad", m("deg"), m("e", mt("x+1"))), "√(x+1)"),
        (m("d", m("e", mt("x"))) + m("sSub", m("e", mt("k")), m("sub", mt("i"))), "(x)k_i"),
    ],
)
def test_equations_keep_their_structure(tmp_path: Path, equation: str, line: str) -> None:
    body = paragraph(run("Ratio "), m("oMath", equation), run(" of it"))
    assert read_one(word(tmp_path / "a.docx", body)).text == f"Ratio {line} of it"


def test_hidden_and_raised_text_and_readings(tmp_path: Path) -> None:
    ruby = f"<w:r><w:ruby><w:rt>{run('とう')}</w:rt><w:rubyBase>{run('東')}</w:rubyBase></w:ruby></w:r>"
    body = paragraph(
        run("The estuary"), run("12", '<w:vertAlign w:val="superscript"/>'), run(" of 5 m"),
        run("2", '<w:vertAlign w:val="superscript"/>'), run(" SECRET", "<w:vanish/>"), run(" estuary"),
        run("b", '<w:vertAlign w:val="superscript"/>'),
        run(" shown", '<w:vanish w:val="0"/>'),
    ) + paragraph(ruby, run("京へ"))  # fmt: skip
    assert read_one(word(tmp_path / "a.docx", body)).text == "The estuary 12 of 5 m² estuary b shown\n\n東(とう)京へ"


def test_merged_cells_stand_in_each_of_their_rows(tmp_path: Path) -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(run(text))}</w:tc>"

    rows = [
        cell("Region") + cell("Month"),
        cell("Ostfold", '<w:vMerge w:val="restart"/>') + cell("May"),
        cell("", "<w:vMerge/>") + cell("June"),
        cell("All", '<w:gridSpan w:val="2"/>'),
    ]
    body = f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"
    assert read_one(word(tmp_path / "a.docx", body)).text == "Region | Month\nOstfold | May\nOstfold | June\nAll"
