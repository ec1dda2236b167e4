"""Files made to harm: each ends soon, in a document or in a fault that names the cause."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from random import Random

import pyarrow
import pyarrow.parquet
import pytest

from studio.documents.parsers import data, ole, parse_file, rst, sheets
from studio.documents.parsers.containers import MAX_READ_BYTES, _Forward
from studio.documents.parsers.html import MAX_ATTRIBUTES, MAX_OPEN_TAGS
from studio.documents.parsers.package import XmlHandler, parse_xml, whole_number
from studio.domain import PartFailure
from studio.errors import DocumentFault, FailureCode
from tests.unit.documents.making import archive, docx, fault, paragraph, pdf, read, read_one, relations

SHEET = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATED = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
OFFICE = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
)


def xlsx(path: Path, rows: str, strings: str) -> Path:
    return archive(
        path,
        {
            "_rels/.rels": relations([("r1", "officeDocument", "xl/workbook.xml")]),
            "xl/workbook.xml": f'<workbook {SHEET} {RELATED}><sheets><sheet name="S" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations(
                [("r1", "worksheet", "worksheets/sheet1.xml"), ("r2", "sharedStrings", "sharedStrings.xml")]
            ),
            "xl/worksheets/sheet1.xml": f"<worksheet {SHEET}><sheetData>{rows}</sheetData></worksheet>",
            "xl/sharedStrings.xml": strings,
        },
    )


def test_sheets_that_announce_more_than_there_is(tmp_path: Path) -> None:
    cell = '<row r="1"><c r="{}" t="s"><v>0</v></c></row>'
    plain = f"<sst {SHEET}><si><t>words</t></si></sst>"
    announced = plain.replace("<sst ", '<sst count="4000000000" uniqueCount="4000000000" ')
    for name, place, strings in (("a", "ZZZZZZZ99999999999", plain), ("b", "A1", announced)):
        assert "words" in read_one(xlsx(tmp_path / f"{name}.xlsx", cell.format(place), strings)).text


def test_a_workbook_too_long_for_one_document_becomes_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "PART_CHARS", 2000)
    monkeypatch.setattr(sheets, "MAX_PARTS", 3)
    long = f"<sst {SHEET}><si><t>{'word ' * 100}</t></si></sst>"
    rows = [f'<row r="{i}"><c r="A{i}" t="s"><v>0</v></c></row>' for i in range(1, 30)]
    *parts, failure = read(xlsx(tmp_path / "a.xlsx", "".join(rows), long))
    assert [(part.row, part.external_id, part.title) for part in parts] == [
        (0, "part 1", "a (part 1)"),
        (1, "part 2", "a (part 2)"),
        (2, "part 3", "a (part 3)"),
    ]
    assert parts[1].spans[0].anchor == "Sheet S · rows 7–8"
    assert failure.error == FailureCode.TOO_LARGE
    first, last = read(xlsx(tmp_path / "b.xlsx", "".join(rows[:9]), long))
    assert [part.text.count("\n") for part in (first, last)] == [7, 3]


def test_a_cell_that_never_ends_costs_itself(tmp_path: Path) -> None:
    rows = '<row r="1">' + "<c r='A1'><v>" * 20_000 + '</row><row r="2"><c r="A2"><v>7</v></c></row>'
    assert read_one(xlsx(tmp_path / "a.xlsx", rows, f"<sst {SHEET}/>")).text == "7"


@pytest.mark.parametrize(("rows", "columns"), [(2000, 2000), (1_000_000_000, 100)])
def test_repeated_cells_are_added_up_before_they_are_written_out(tmp_path: Path, rows: int, columns: int) -> None:
    text = "<text:p>" + "many words of it " * 4 + "</text:p>"
    content = (
        f"<office:document-content {OFFICE}><office:body><office:spreadsheet><table:table table:name='T'>"
        f"<table:table-row table:number-rows-repeated='{rows}'><table:table-cell office:value-type='string' "
        f"table:number-columns-repeated='{columns}'>{text}</table:table-cell></table:table-row></table:table>"
        "</office:spreadsheet></office:body></office:document-content>"
    )
    members = {"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": content}
    found = fault(archive(tmp_path / "a.ods", members))
    assert (found.code, "repeated cells" in str(found)) == (FailureCode.TOO_LARGE, True)


def test_chains_of_sectors_that_lead_in_circles(tmp_path: Path) -> None:
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(22) + (9).to_bytes(2, "little") + bytes(44)
    header += (0).to_bytes(4, "little") + b"\xff" * 432  # one sector of the allocation table, the first
    sound = [0xFFFFFFFD, 2, 3, 0xFFFFFFFE] + [0xFFFFFFFF] * 124
    circle = [0xFFFFFFFD, 2, 3, 1] + [0xFFFFFFFF] * 124
    sound_data, circle_data = (header + b"".join(n.to_bytes(4, "little") for n in t) for t in (sound, circle))
    assert (ole.has_loop(sound_data), ole.has_loop(circle_data), ole.has_loop(b"")) == (False, True, False)
    (tmp_path / "a.xls").write_bytes(circle_data + "Workbook\0".encode("utf-16-le"))
    assert "in circles" in str(fault(tmp_path / "a.xls"))


def test_pages_that_take_quadratic_time_are_refused_and_sound_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<div>" * (MAX_OPEN_TAGS + 1) + "words")
    assert "nested too deeply" in str(fault(path))
    path.write_text("<p " + " ".join(f"a{i}=b" for i in range(MAX_ATTRIBUTES + 2)) + ">words")
    assert "attributes" in str(fault(path))
    path.write_text("<ul>" + "<li>item <br>" * (2 * MAX_OPEN_TAGS) + "</ul><img src='data:" + "x" * 100_000 + "'>words")
    assert read_one(path).text.endswith("words")


@pytest.mark.parametrize(
    "source",
    [
        "x\n" * (rst.MAX_SOURCE_LINES + 1),
        "name_ " * (rst.MAX_REFERENCES + 1),
        "+" + "-" * 900 + "+\n|words|\n",
        "".join(f".. |a{i}| replace:: |a{i + 1}| |a{i + 1}|\n" for i in range(40)) + "\n|a0| words\n",
    ],
)
def test_sources_that_docutils_would_choke_on_are_plain_text(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: str) -> None:
        pytest.fail("docutils was asked")  # no Exception: those it may raise

    monkeypatch.setattr(rst, "read_tree", never)
    (tmp_path / "a.rst").write_text(source)
    assert read_one(tmp_path / "a.rst").text.strip() == source.strip()


def test_attributes_of_asciidoc_do_not_multiply_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.adoc"
    path.write_text("= T\n:a: " + "word " * 50 + "\n\nSee {a} here.\n\n" + ("{a}" * 1000 + "\n\n") * 100)
    text = read_one(path).text
    assert "See word word" in text
    assert len(text) < 2_000_000
    path.write_text("= T\n\n== a" + " \t" * 100_000 + "b\n\n|===\n|a\n" + "more\n" * 50_000 + "|===\n" + "1" * 100_000)
    assert read_one(path).text.endswith("111")


def test_numbers_in_attributes() -> None:
    assert [whole_number(value) for value in ("7", "-1", "²", "x", "", "9" * 5000)] == [7, None, None, None, None, None]


def test_odd_outline_levels_and_repeated_parts_cost_nothing(tmp_path: Path) -> None:
    levels = ("999999999999", "-1", "²", "3")
    body = "".join(paragraph(f"H{i}", "", f'<w:outlineLvl w:val="{v}"/>') for i, v in enumerate(levels))
    assert read_one(docx(tmp_path / "a.docx", body)).text.split() == ["H0", "H1", "H2", "H3"]
    path = docx(tmp_path / "b.docx", paragraph("body"), header1="<w:hdr/>")
    many = relations((f"h{i}", "header", "header1.xml") for i in range(3))
    with zipfile.ZipFile(path, "a") as target, pytest.warns(UserWarning):
        target.writestr("word/_rels/document.xml.rels", many)
        target.writestr("word/header1.xml", "<broken")
    assert sum(isinstance(event, PartFailure) for event in parse_file(path)) == 1  # read once, not three times


def test_encodings_that_no_xml_reader_knows() -> None:
    for name in ("EBCDIC-X", "gb18030", "zlib_codec"):
        with pytest.raises(DocumentFault, match="encoding that is not known") as caught:
            parse_xml([f'<?xml version="1.0" encoding="{name}"?><a/>'.encode()], XmlHandler(), "Word")
        assert caught.value.code is FailureCode.CORRUPT
    for head in (b'<?xml version="1.0" encoding="Windows-1252"?><a>\xe9</a>', "\ufeff<a/>".encode("utf-16-le")):
        parse_xml([head], XmlHandler(), "Word")


def test_noise_is_no_text_and_marks_are_none_either(tmp_path: Path) -> None:
    random = Random(7)
    path = tmp_path / "a.log"
    path.write_bytes(bytes(random.choice(range(128, 256)) for _ in range(4000)))
    assert fault(path).code is FailureCode.UNSUPPORTED
    path.write_bytes("Съешь же ещё этих мягких французских булок. ".encode("cp1251") * 50)
    assert "французских" in read_one(path).text
    path.write_bytes(b"a line of a log\n" * 500 + b"\0" + b"and one more\n" * 500)
    assert "and one more" in read_one(path).text
    path.write_bytes(b"\0\1\2\3 words " * 500)
    assert fault(path).code is FailureCode.UNSUPPORTED
    path.write_text("!?-- ... ***\n" * 50)
    assert fault(path).code is FailureCode.NO_TEXT


def test_damage_is_named(tmp_path: Path) -> None:
    whole = pdf([["words"]])
    for content, why in ((whole[: len(whole) // 4], "breaks off"), (b"x endobj " * 200, "beginning is missing")):
        (tmp_path / "a.pdf").write_bytes(content)
        assert why in str(fault(tmp_path / "a.pdf"))
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(100))
    assert "breaks off" in str(fault(tmp_path / "a.parquet"))
    (tmp_path / "a.epub").write_bytes(bytes(100))
    assert "not that of an EPUB file" in str(fault(tmp_path / "a.epub"))
    (tmp_path / "a.rtf").write_text("{\\rtf1 \\u-99999? \\u99999999999? words}")
    assert "words" in read_one(tmp_path / "a.rtf").text


def test_a_tar_whose_name_is_said_to_take_gigabytes(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 512 * MAX_READ_BYTES
    (tmp_path / "a.tar").write_bytes(header.tobuf() + b"x" * 1024)
    assert fault(tmp_path / "a.tar").code is FailureCode.CORRUPT
    with pytest.raises(tarfile.ReadError):
        _Forward(io.BytesIO(), None).read(MAX_READ_BYTES + 1)


def test_a_table_that_repeats_one_long_text_from_its_dictionary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MAX_TEXT_CHARS", 1_000_000)
    table = pyarrow.table({"text": pyarrow.array(["word " * 1000] * 1000)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", compression="zstd")
    found = fault(tmp_path / "a.parquet")
    assert (found.code, "trap" in str(found)) == (FailureCode.TOO_LARGE, True)


def test_comments_that_never_end_are_looked_for_once(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("<!-- no --><b>yes</b>\n\nwords\n\n" + "<!--" * 100_000)  # a search for each would take a minute
    assert read_one(path).text.startswith("yes\n\nwords")
