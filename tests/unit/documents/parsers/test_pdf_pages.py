"""What stands on a page of a PDF beside running text, or in another order than it is drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from studio.documents.parsers.pdf import Hyphens
from studio.domain import PageCounts
from studio.errors import FailureCode
from tests.unit.documents.making import fault, pdf, read, read_one
from tests.unit.documents.parsers.scans import scanned_pdf


def page_of(
    path: Path, content: str, annotations: Sequence[str] = (), catalog: str = "", more: Sequence[str] = ()
) -> Path:
    """A PDF of one page of 600 by 800 points; objects 5 and on are `annotations`, then `more`."""
    first = 5
    listed = " ".join(f"{first + at} 0 R" for at in range(len(annotations)))
    objects = [
        f"<</Type/Catalog/Pages 2 0 R{catalog}>>",
        "<</Type/Pages/Count 1/Kids[3 0 R]>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 99 0 R>>>>"
        f"/Annots[{listed}]>>".replace("99 0 R", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"),
        f"<</Length {len(content)}>>\nstream\n{content}\nendstream",
        *annotations,
        *more,
    ]
    data, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body.encode("latin-1"))
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(data))
    path.write_bytes(data + head + b"".join(places) + trailer)
    return path


def line(text: str, x: int = 50, y: int = 700, size: int = 12) -> str:
    return f"BT /F {size} Tf {x} {y} Td ({text}) Tj ET"


WIDGET = "<</Type/Annot/Subtype/Widget/Rect[50 600 300 620]/P 3 0 R"


def test_fields_of_a_form_are_read_with_their_labels(tmp_path: Path) -> None:
    fields = [
        f"{WIDGET}/FT/Tx/T(boat)/TU(Name of the boat)/V(Nordstern Kestrel)>>",
        f"{WIDGET}/FT/Tx/T(remark)/V(Keel depth two metres)>>",
        f"{WIDGET}/FT/Tx/T(empty)>>",
        f"{WIDGET}/FT/Btn/T(insured)/V/Yes/AS/Yes>>",
        f"{WIDGET}/FT/Btn/T(rented)/V/Off/AS/Off>>",
    ]
    form = f"/AcroForm<</Fields[{' '.join(f'{5 + at} 0 R' for at in range(len(fields)))}]>>"
    parsed = read_one(page_of(tmp_path / "a.pdf", line("Mooring"), fields, form))
    assert parsed.text == "Mooring\n\nName of the boat: Nordstern Kestrel\nremark: Keel depth two metres\ninsured"


def test_remarks_are_read_and_what_is_drawn_for_them(tmp_path: Path) -> None:
    stream = line("Signed by Ann Lee", 2, 5)
    drawn = (
        "<</Type/XObject/Subtype/Form/BBox[0 0 250 20]/Resources<</Font<</F"
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
        f">>>>/Length {len(stream)}>>\nstream\n{stream}\nendstream"
    )
    annotations = [
        "<</Type/Annot/Subtype/Text/Rect[0 0 20 20]/Contents(Quorum should be eleven)>>",
        "<</Type/Annot/Subtype/Popup/Rect[0 0 20 20]/Contents(Quorum should be eleven)>>",
        "<</Type/Annot/Subtype/Stamp/Rect[50 600 300 620]/AP<</N 8 0 R>>>>",
    ]
    parsed = read_one(page_of(tmp_path / "a.pdf", line("Bylaws"), annotations, more=[drawn]))
    assert parsed.text == "Bylaws\n\nQuorum should be eleven\nSigned by Ann Lee"
    assert parsed.title == "a"


def test_files_in_a_pdf_are_documents_of_their_own(tmp_path: Path) -> None:
    held = "Forty rolls of tarpaulin"
    more = [
        f"<</Type/EmbeddedFile/Length {len(held)}>>\nstream\n{held}\nendstream",
        "<</Type/Filespec/F(offer.txt)/UF(offer.txt)/EF<</F 5 0 R>>>>",
    ]
    catalog = "/Names<</EmbeddedFiles<</Names[(offer.txt) 6 0 R]>>>>"
    parsed, attached = read(page_of(tmp_path / "a.pdf", line("The cover"), catalog=catalog, more=more))
    assert (parsed.text, attached.text, attached.external_id) == ("The cover", held, "offer.txt")


def test_text_beside_the_page_is_not_read(tmp_path: Path) -> None:
    content = line("Seen") + " " + line("Not seen", 50, 900) + " " + line("Nor this", -300, 100)
    assert read_one(page_of(tmp_path / "a.pdf", content)).text == "Seen"


def test_columns_that_are_drawn_line_by_line_are_read_one_after_the_other(tmp_path: Path) -> None:
    left = ["The heron nests in the", "tall willow trees near", "the old lock and feeds", "at dawn on small fish."]
    right = ["Kingfishers prefer the", "steep clay banks where", "they dig a tunnel that", "is a metre or so long."]
    rows = [
        line(a, 50, 700 - 14 * at) + " " + line(b, 330, 700 - 14 * at)
        for at, (a, b) in enumerate(zip(left, right, strict=True))
    ]
    parsed = read_one(page_of(tmp_path / "a.pdf", " ".join([line("Birds of the river and its banks", 50, 730), *rows])))
    assert " ".join(parsed.text.split()) == " ".join(["Birds of the river and its banks", *left, *right])


def test_a_table_is_read_row_by_row(tmp_path: Path) -> None:
    rows = [("Article", "Price"), ("Hinge of steel, galvanised", "Twelve"), ("Bracket of brass, polished", "Nine")] * 2
    drawn = [line(a, 50, 700 - 14 * at) + " " + line(b, 330, 700 - 14 * at) for at, (a, b) in enumerate(rows)]
    parsed = read_one(page_of(tmp_path / "a.pdf", " ".join(drawn)))
    assert " ".join(parsed.text.split()).startswith("Article Price Hinge of steel, galvanised Twelve Bracket")


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("infor\ufffe\r\nmation", "information"),
        ("infor\x02mation", "information"),
        ("the e\ufffe\r\nmail", "the e-mail"),
        ("part AX\ufffe\r\n4711", "part AX-4711"),
        ("Meier\ufffe\r\nSchmidt", "Meier-Schmidt"),
        ("well\ufffe\r\nknown and well-known", "well-known and well-known"),
        ("co\ufffe\r\noperate, co-operate, cooperate", "cooperate, co-operate, cooperate"),
        ("QuAL\ufffe\r\nITY", "QuALITY"),
        ("hyphen\u00ad\n ated", "hyphenated"),
    ],
)
def test_a_hyphen_at_the_end_of_a_line_stays_where_the_word_has_one(text: str, joined: str) -> None:
    assert Hyphens([text]).joined(text) == joined


def test_the_largest_line_of_the_first_page_is_the_title_of_a_pdf_without_one(tmp_path: Path) -> None:
    content = " ".join([line("Journal 7", 50, 780, 9), line("The song", 50, 740, 24), line("of whales", 50, 712, 24)])
    body = " ".join(line("They sing for hours in the deep sea.", 50, 600 - 14 * at, 11) for at in range(5))
    assert read_one(page_of(tmp_path / "a.pdf", f"{content} {body}")).title == "The song of whales"
    assert read_one(page_of(tmp_path / "b.pdf", body)).title == "b"


def test_only_pictures_want_text_recognition(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf([[], []]))
    blank = fault(path)
    assert (blank.code, str(blank)) == (
        FailureCode.NO_TEXT, "This PDF holds no text: its 2 pages are blank or drawn without letters.",
    )  # fmt: skip
    assert fault(page_of(path, "10 10 m 500 500 l S")).code is FailureCode.NO_TEXT
    scanned_pdf(path, [None, None])
    assert str(fault(path)) == "This PDF has no text layer (scanned, 2 pages); needs OCR."


def test_pictures_among_pages_of_text_are_counted_as_missing(tmp_path: Path) -> None:
    parsed = read_one(scanned_pdf(tmp_path / "a.pdf", ["Words of the first page", None, ""]))
    assert parsed.pages == PageCounts(total=3, readable=1, empty=2)
