from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from studio.documents.parsers import package
from studio.errors import FailureCode
from tests.unit.documents.making import R, W, archive, docx, fault, paragraph, pdf, read_one, relations

# ------------------------------------------------------------------------------------------- PDF


def test_pdf_pages_are_hard_spans_with_numbers_from_one(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    info = {"Title": "PDF Title", "Author": "Ann", "CreationDate": "D:20240506070809Z"}
    path.write_bytes(pdf([["First page", "second line"], [], ["Third page"]], info=info))
    parsed = read_one(path)
    assert parsed.text == "First page\nsecond line\n\nThird page"
    assert [(s.page, s.hard) for s in parsed.spans] == [(1, True), (3, True)]
    assert parsed.text[parsed.spans[1].start :] == "Third page"
    assert (parsed.pages.total, parsed.pages.readable, parsed.pages.empty, parsed.pages.failed) == (3, 2, 1, 0)
    assert (parsed.title, parsed.author, parsed.created) == ("PDF Title", "Ann", "2024-05-06")


def test_pdf_bookmarks_become_anchors_where_their_title_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    pages = [["Cover"], ["end of intro", "Methods  part", "body"], ["more"], ["Results", "x"]]
    path.write_bytes(pdf(pages, bookmarks=[("Intro", 0), ("Methods Part", 1), ("Results", 3)]))
    parsed = read_one(path)
    assert [(s.page, s.anchor, s.hard) for s in parsed.spans] == [
        (1, "Intro", True),
        (2, "Intro", True),
        (2, "Methods Part", False),
        (3, "Methods Part", True),
        (4, "Results", True),
    ]
    assert parsed.text[parsed.spans[2].start :].startswith("Methods part")


def test_pdf_joins_words_cut_at_the_line_end(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf([["a hyphen-", "ated word"]]))
    assert "hyphenated word" in read_one(path).text


def test_pdf_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf([["text"]])[:200])
    assert fault(path).code is FailureCode.CORRUPT
    # After a file that failed: pdfium keeps its last error, which must not colour this one.
    path.write_bytes(pdf([]))
    assert fault(path).code is FailureCode.EMPTY
    path.write_bytes(b"\x01\x02\0\0binary")
    assert fault(path).code is FailureCode.CORRUPT


def test_encrypted_pdf(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    encrypt = "/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<" + "00" * 32 + ">/U<" + "11" * 32 + ">>>"
    path.write_bytes(pdf([["secret"]], trailer=encrypt + "/ID[<00><00>]"))
    assert fault(path).code is FailureCode.ENCRYPTED


def test_pdf_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(pdf([["Page text"]]))
    assert read_one(path).kind == "pdf"


def test_pdf_whose_page_tree_is_a_circle(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[2 0 R]/Count 1/Parent 2 0 R>>endobj\ntrailer<</Root 1 0 R>>"
    )
    assert fault(path).code in (FailureCode.CORRUPT, FailureCode.EMPTY)


# ------------------------------------------------------------------------------------------ Word

STYLES = f"""<w:styles {W}>
<w:style w:styleId="Titel"><w:name w:val="Title"/></w:style>
<w:style w:styleId="H1"><w:name w:val="heading 1"/></w:style>
<w:style w:styleId="Own"><w:name w:val="Own"/><w:basedOn w:val="H2x"/></w:style>
<w:style w:styleId="H2x"><w:name w:val="x"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style></w:styles>"""


def test_word_headings_tables_lists_and_notes(tmp_path: Path) -> None:
    cell = "<w:tc>{}</w:tc>"
    table = f"<w:tbl><w:tr>{cell.format(paragraph('a'))}{cell.format(paragraph('b') + paragraph('c'))}</w:tr></w:tbl>"
    body = (
        paragraph("Big Title", "Titel")
        + paragraph("Before")
        + paragraph("Methods", "H1")
        + paragraph("Sampling", "Own")
        + "<w:p><w:r><w:t>one</w:t><w:tab/><w:t>two</w:t><w:br/><w:t>three</w:t><w:noBreakHyphen/></w:r>"
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom>"
        "<w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
        + paragraph("item", extra="<w:numPr/>")
        + table
        + '<w:p><w:r><m:AlternateContent xmlns:m="x"><m:Choice><w:txbxContent>'
        + paragraph("box")
        + "</w:txbxContent></m:Choice><m:Fallback><w:t>box again</w:t></m:Fallback></m:AlternateContent></w:r></w:p>"
        + paragraph("Results", extra='<w:outlineLvl w:val="0"/>')
        + paragraph("end")
    )
    notes = f"<w:footnotes {W}><w:footnote>{paragraph('A note')}</w:footnote></w:footnotes>"
    parsed = read_one(docx(tmp_path / "a.docx", body, styles=STYLES, footnotes=notes))
    assert parsed.text == (
        "Big Title\n\nBefore\n\nMethods\n\nSampling\n\none\ttwo\nthree-\n- item\n\na | b c\n\nbox\n\n"
        "Results\n\nend\n\nA note"
    )
    places = ["", "Methods", *["Methods › Sampling"] * 3, "Results", "Footnotes"]
    assert [s.anchor for s in parsed.spans] == places
    assert [parsed.text[s.start : s.end].strip() for s in parsed.spans if s.whole] == ["a | b c"]
    assert (parsed.title, parsed.author, parsed.created) == ("A Title", "Ann", "2024-05-06")


def test_word_text_that_stands_only_in_the_header(tmp_path: Path) -> None:
    path = docx(tmp_path / "a.docx", "<w:p/>", header=f"<w:hdr {W}>{paragraph('Letterhead')}</w:hdr>")
    assert read_one(path).text == "Letterhead"
    assert fault(docx(tmp_path / "b.docx", "<w:p/>")).code is FailureCode.NO_TEXT


def test_word_under_another_name(tmp_path: Path) -> None:
    assert read_one(docx(tmp_path / "a.zip", paragraph("text"))).kind == "docx"
    assert read_one(docx(tmp_path / "a.pdf", paragraph("text"))).kind == "docx"


BOMB = '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
EXTERNAL = '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("doctype", [BOMB, EXTERNAL, "<!DOCTYPE w>", '<!DOCTYPE b SYSTEM "http://127.0.0.1/x.dtd">'])
def test_xml_that_declares_entities_is_refused(tmp_path: Path, doctype: str) -> None:
    members = {"word/document.xml": f"{doctype}<w:document {W}><w:body>{paragraph('x')}</w:body></w:document>"}
    refused = fault(archive(tmp_path / "a.docx", members))
    assert refused.code is FailureCode.CORRUPT
    assert "entities" in str(refused)


def test_zip_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = archive(tmp_path / "a.docx", {"word/document.xml": b" " * (40 << 20)})
    assert bomb.stat().st_size < 1 << 20
    assert fault(bomb).code is FailureCode.TOO_LARGE
    # A header that lies about the size does not help.
    data = bytearray(archive(tmp_path / "b.docx", {"word/document.xml": b" " * 100_000}).read_bytes())
    size = (100_000).to_bytes(4, "little")
    (tmp_path / "b.docx").write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    assert fault(tmp_path / "b.docx").code is FailureCode.CORRUPT
    monkeypatch.setattr(package, "MAX_UNPACKED_BYTES", 1000)
    assert fault(docx(tmp_path / "c.docx", paragraph("x" * 2000))).code is FailureCode.TOO_LARGE
    monkeypatch.setattr(package, "MAX_MEMBERS", 2)
    assert fault(docx(tmp_path / "d.docx", paragraph("x"))).code is FailureCode.TOO_LARGE


def test_damaged_packages(tmp_path: Path) -> None:
    good = docx(tmp_path / "a.docx", paragraph("text " * 500))
    path = tmp_path / "b.docx"
    path.write_bytes(good.read_bytes()[:-60])
    assert fault(path).code is FailureCode.CORRUPT
    data = bytearray(good.read_bytes())
    at = data.index(b"word/document.xml") + 40
    data[at : at + 20] = b"\xff" * 20
    path.write_bytes(data)
    assert fault(path).code is FailureCode.CORRUPT
    assert fault(docx(path, "<w:p><w:r>")).code is FailureCode.CORRUPT
    assert fault(archive(path, {"[Content_Types].xml": "<x/>"})).code is FailureCode.CORRUPT
    assert fault(archive(path, {"other": "x"})).code is FailureCode.CORRUPT
    path.write_bytes(b"\x01\0\x02" * 100)
    assert "not that of a Word file" in str(fault(path))
    nested = docx(path, "<w:p>" * 3000)
    assert fault(nested).code is FailureCode.TOO_LARGE


def test_other_archives_are_told_apart(tmp_path: Path) -> None:
    plain = fault(archive(tmp_path / "a.jar", {"readme.txt": "hi"}))
    assert plain.code is FailureCode.UNSUPPORTED
    assert "Unpack it" in plain.full_message


def test_an_encrypted_member_is_called_encrypted(tmp_path: Path) -> None:
    path = docx(tmp_path / "a.docx", paragraph("text"))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as source:
        info = source.getinfo("word/document.xml")
    data[info.header_offset + 6] |= 1
    central = data.index(b"PK\x01\x02")
    while True:
        data[central + 8] |= 1
        central = data.find(b"PK\x01\x02", central + 4)
        if central < 0:
            break
    path.write_bytes(data)
    assert fault(path).code is FailureCode.ENCRYPTED


@pytest.mark.parametrize(
    ("stream", "name", "code", "words"),
    [
        ("EncryptedPackage", "a.docx", FailureCode.ENCRYPTED, "password"),
        ("WordDocument", "a.doc", FailureCode.UNSUPPORTED, ".docx"),
        ("PowerPoint Document", "a.ppt", FailureCode.UNSUPPORTED, ".pptx"),
        ("__properties_version1.0", "a.msg", FailureCode.CORRUPT, "Outlook"),
        ("Workbook", "a.xls", FailureCode.CORRUPT, "damaged"),
        ("Nothing", "a.docx", FailureCode.CORRUPT, "not that of a Word file"),
        ("Nothing", "a.bin", FailureCode.UNSUPPORTED, "current format"),
    ],
)
def test_old_office_containers(tmp_path: Path, stream: str, name: str, code: FailureCode, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + (stream + "\0").encode("utf-16-le") + b"\0" * 600
    )
    refused = fault(path)
    assert refused.code is code
    assert words in refused.full_message


# --------------------------------------------------------------------- PowerPoint, spreadsheets


def shape(text: str, placeholder: str = "") -> str:
    ph = f'<p:nvPr><p:ph type="{placeholder}"/></p:nvPr>' if placeholder else ""
    return f"<p:sp>{ph}<a:p><a:r><a:t>{text}</a:t></a:r><a:br/><a:r><a:t>{text} 2</a:t></a:r></a:p></p:sp>"


P = f'xmlns:p="p" xmlns:a="a" {R}'


def test_slides_in_their_order_with_titles_and_notes(tmp_path: Path) -> None:
    table = "<a:tbl><a:tr><a:tc><a:p><a:t>x</a:t></a:p></a:tc><a:tc><a:p><a:t>y</a:t></a:p></a:tc></a:tr></a:tbl>"
    members = {
        "_rels/.rels": relations([("r1", "officeDocument", "ppt/presentation.xml")]),
        "ppt/presentation.xml": f'<p:p {P}><p:sldId id="1" r:id="rB"/><p:sldId id="2" r:id="rA"/></p:p>',
        "ppt/_rels/presentation.xml.rels": relations(
            [("rA", "slide", "slides/slide1.xml"), ("rB", "slide", "slides/slide2.xml")]
        ),
        "ppt/slides/slide1.xml": f"<p:s {P}>{shape('last')}{table}{shape('7', 'sldNum')}</p:s>",
        "ppt/slides/slide2.xml": f"<p:s {P}>{shape('Welcome', 'ctrTitle')}{shape('body')}</p:s>",
        "ppt/slides/_rels/slide2.xml.rels": relations([("n", "notesSlide", "../notesSlides/n.xml")]),
        "ppt/notesSlides/n.xml": f"<p:n {P}>{shape('say this', 'body')}</p:n>",
    }
    parsed = read_one(archive(tmp_path / "a.pptx", members))
    assert parsed.text == "Welcome\nWelcome 2\nbody\nbody 2\nNotes:\nsay this\nsay this 2\n\nlast\nlast 2\nx | y"
    places = [(1, "Slide 1: Welcome Welcome 2", False), (2, "Slide 2", False), (2, "Slide 2", True)]
    assert [(s.page, s.anchor, s.whole) for s in parsed.spans] == places
    assert (parsed.pages.total, parsed.pages.readable) == (2, 2)
    assert parsed.title == "Welcome Welcome 2"
    del members["ppt/_rels/presentation.xml.rels"]
    assert read_one(archive(tmp_path / "b.pptx", members)).text.startswith("last")
    assert fault(archive(tmp_path / "c.pptx", {"ppt/presentation.xml": "<p/>"})).code is FailureCode.NO_TEXT


def xlsx(path: Path, rows: str) -> Path:
    ns = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    return archive(
        path,
        {
            "[Content_Types].xml": "<Types/>",
            "_rels/.rels": relations([("r", "officeDocument", "xl/workbook.xml")]),
            "xl/workbook.xml": f'<workbook {ns} {R}><sheets><sheet name="Data" sheetId="1" r:id="s"/></sheets>'
            "</workbook>",
            "xl/_rels/workbook.xml.rels": relations([("s", "worksheet", "worksheets/sheet1.xml")]),
            "xl/worksheets/sheet1.xml": f"<worksheet {ns}><sheetData>{rows}</sheetData></worksheet>",
        },
    )


def test_sheets_give_a_line_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '<c r="A1" t="inlineStr"><is><t>Name</t></is></c>'
    path = xlsx(
        tmp_path / "a.xlsx", f'<row r="1">{text}<c r="B1"><v>3</v></c></row><row r="2"><c r="B2"><v>2.5</v></c></row>'
    )
    parsed = read_one(path)
    assert parsed.text == "Name | 3\n| 2.5"
    assert (parsed.spans[0].anchor, parsed.spans[0].whole) == ("Sheet Data", True)
    assert fault(xlsx(tmp_path / "b.xlsx", "")).code is FailureCode.NO_TEXT
    assert fault(xlsx(tmp_path / "d.xlsx", "<row><c></row>")).code in (FailureCode.CORRUPT, FailureCode.NO_TEXT)
    bomb = archive(tmp_path / "e.xlsx", {"xl/workbook.xml": "<x/>", "xl/worksheets/sheet1.xml": BOMB + "<x/>"})
    assert fault(bomb).code is FailureCode.CORRUPT
    monkeypatch.setattr(package, "MAX_UNPACKED_BYTES", 100)
    assert fault(path).code is FailureCode.TOO_LARGE


# -------------------------------------------------------------------- OpenDocument, EPUB, RTF

ODF = 'xmlns:text="t" xmlns:table="b" xmlns:draw="d" xmlns:presentation="p"'


def odf(path: Path, kind: str, body: str, **more: str) -> Path:
    return archive(
        path,
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f"<o {ODF}>{body}</o>",
            "meta.xml": "<m xmlns:d='d'><d:title>Odf Title</d:title><d:creator>Ann</d:creator></m>",
            **{f"META-INF/{name}.xml": content for name, content in more.items()},
        },
    )


def test_opendocument_text(tmp_path: Path) -> None:
    body = (
        '<text:h text:outline-level="1">One</text:h><text:p>a<text:s text:c="2"/>'
        "b<text:tab/>c<text:line-break/>d\ne</text:p>"
        "<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>"
        "<table:table-row><table:table-cell><text:p>x</text:p></table:table-cell>"
        "<table:table-cell><text:p>y</text:p></table:table-cell></table:table-row>"
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">Two</text:h><text:p>end</text:p>'
    )
    parsed = read_one(odf(tmp_path / "a.odt", "text", body))
    assert parsed.text == "One\n\na  b\tc\nd e\n- item\n\nx | y\n\nTwo\n\nend"
    assert [(s.anchor, s.whole) for s in parsed.spans] == [("One", False), ("One", True), ("One › Two", False)]
    assert (parsed.title, parsed.author) == ("Odf Title", "Ann")
    locked = fault(odf(tmp_path / "b.odt", "text", body, manifest="<m><encryption-data/></m>"))
    assert (locked.code, "without a password" in locked.way_out) == (FailureCode.ENCRYPTED, True)
    locked = odf(
        tmp_path / "c.ods", "spreadsheet", "\0 nothing that could be read", manifest="<m><encryption-data/></m>"
    )
    assert fault(locked).code is FailureCode.ENCRYPTED


def test_opendocument_slides(tmp_path: Path) -> None:
    frame = '<draw:frame presentation:class="{}"><text:p>{}</text:p></draw:frame>'
    body = f"<draw:page>{frame.format('title', 'Hello')}{frame.format('outline', 'point')}</draw:page><draw:page/>"
    parsed = read_one(odf(tmp_path / "a.odp", "presentation", body))
    assert parsed.text == "Hello\npoint"
    assert [(s.page, s.anchor) for s in parsed.spans] == [(1, "Slide 1: Hello")]
    assert (parsed.pages.total, parsed.pages.empty) == (2, 1)


def book(path: Path, **more: str) -> Path:
    return archive(
        path,
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<c><rootfile full-path="OPS/book.opf"/></c>',
            "OPS/book.opf": '<p xmlns:d="d"><d:title>The Book</d:title><d:creator>Ann</d:creator>'
            "<d:rights>PD</d:rights>"
            '<item id="c2" href="b%20c.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="c1" href="a.xhtml" media-type="application/xhtml+xml"/>'
            '<itemref idref="c1"/><itemref idref="c2"/></p>',
            "OPS/a.xhtml": "<html><body><h1>One</h1><p>first</p></body></html>",
            "OPS/b c.xhtml": "<html><body><h1>Two</h1><p>second</p></body></html>",
            **{f"META-INF/{name}.xml": content for name, content in more.items()},
        },
    )


def test_epub_chapters_in_reading_order(tmp_path: Path) -> None:
    parsed = read_one(book(tmp_path / "a.epub"))
    assert parsed.text == "One\n\nfirst\n\nTwo\n\nsecond"
    assert [s.anchor for s in parsed.spans] == ["One", "Two"]
    assert (parsed.title, parsed.author, parsed.licence) == ("The Book", "Ann", "PD")
    locked = book(tmp_path / "b.epub", encryption='<e><CipherReference URI="OPS/a.xhtml"/></e>')
    assert fault(locked).code is FailureCode.ENCRYPTED
    assert fault(archive(tmp_path / "c.epub", {"mimetype": "application/epub+zip"})).code is FailureCode.CORRUPT
    bare = archive(tmp_path / "d.epub", {"META-INF/container.xml": "<c/>", "x.opf": "<p/>"})
    assert fault(bare).code is FailureCode.NO_TEXT


def test_rtf(tmp_path: Path) -> None:
    path = tmp_path / "a.rtf"
    path.write_bytes(
        rb"{\rtf1\ansi\ansicpg1251{\info{\title A Title}{\author Ann}}\'cf\'f0\'e8\par\par Zwei \u228?\par}"
    )
    parsed = read_one(path)
    assert (parsed.text, parsed.title, parsed.author) == ("При\n\nZwei ä", "A Title", "Ann")
    path.write_bytes(rb"{\pard One\par}{\pard Two\par}")
    assert "Two" in read_one(path).text
