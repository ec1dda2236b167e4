"""Old Word and PowerPoint files give their words, in their places."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from studio.documents.parsers.old_office import doc_stories, ppt_slides
from studio.errors import DocumentFault, FailureCode
from tests.unit.documents.making import container, fault, read_one

CONTAINER = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def doc(body: str, notes: str = "", flags: int = 0) -> dict[str, bytes]:
    """A text in a narrow and a wide piece, and footnotes after it."""
    half = len(body) // 2
    data = bytearray(0x200)
    struct.pack_into("<HH", data, 0, 0xA5EC, 0xC1)
    struct.pack_into("<H", data, 10, flags)
    struct.pack_into("<II", data, 0x4C, len(body), len(notes))
    narrow, wide = body[:half].encode("cp1252"), (body[half:] + notes).encode("utf-16-le")
    pieces = struct.pack("<III", 0, half, len(body) + len(notes))
    pieces += struct.pack("<HIH", 0, (len(data) * 2) | 0x40000000, 0) + struct.pack(
        "<HIH", 0, len(data) + len(narrow), 0
    )
    table = b"\1\2\0xx\2" + struct.pack("<I", len(pieces)) + pieces
    struct.pack_into("<II", data, 0x1A2, 0, len(table))
    return {"WordDocument": bytes(data) + narrow + wide, "0Table": table}


BODY = "Lease\rSee \x13 HYPERLINK x \x14the annex\x15.\rUnit\x07Price\x07\x07Flat\x07700 €\x07\x07Signed\r"


def test_the_text_of_an_old_word_file(tmp_path: Path) -> None:
    assert doc_stories(doc(BODY, "A note\r")) == [("", BODY), ("Footnotes", "A note\r")]
    parsed = read_one(container(tmp_path / "a.doc", doc(BODY, "A note\r")))
    assert parsed.text == "Lease\n\nSee the annex.\n\nUnit | Price\nFlat | 700 €\n\nSigned\n\nA note"
    assert (parsed.kind, parsed.title, parsed.spans[-1].anchor) == ("doc", "Lease", "Footnotes")


def test_a_word_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DocumentFault) as caught:
        doc_stories(doc(BODY, flags=0x100))
    assert caught.value.code is FailureCode.ENCRYPTED
    (tmp_path / "a.doc").write_bytes(CONTAINER + "WordDocument\0".encode("utf-16-le"))
    found = fault(tmp_path / "a.doc")
    assert (found.code, "Save it as .docx" in found.way_out) == (FailureCode.UNSUPPORTED, True)


def record(kind: int, content: bytes, head: int = 0) -> bytes:
    return struct.pack("<HHI", head, kind, len(content)) + content


def said(text: str, kind: int = -1) -> bytes:
    return (record(3999, struct.pack("<I", kind)) if kind >= 0 else b"") + record(4000, text.encode("utf-16-le"))


def deck() -> tuple[bytes, bytes]:
    """Two slides, shown in the other order than they lie in the file; the second one has notes."""
    box = record(0xF00D, said("In a box"), 15)
    parts = [
        record(1006, record(1036, record(0xF00D, record(3998, bytes(4)), 15) + box, 15), 15),
        record(1006, record(1036, record(0xF00D, record(4008, b"Plain"), 15), 15), 15),
        record(1008, record(1009, struct.pack("<II", 256, 0)) + record(0xF00D, said("Speak up\r12"), 15), 15),
    ]

    def listed(number: int, identity: int) -> bytes:
        return record(1011, struct.pack("<IIIII", number, 0, 0, identity, 0))

    slides = listed(3, 257) + listed(2, 256) + said("Welcome", 0) + said("First\rSecond", 1)
    parts.insert(0, record(1000, record(4080, slides, 15) + record(4080, listed(4, 0), 15 | 2 << 4), 15))
    data, places = b"", []
    for part in parts:
        places.append(len(data))
        data += part
    directory = len(data)
    data += record(6002, struct.pack(f"<I{len(places)}I", 1 | len(places) << 20, *places))
    edit = len(data)
    data += record(4085, struct.pack("<IIIIIII", 0, 0, 0, directory, 1, 0, 0))
    return data, bytes(12) + struct.pack("<II", 0xE391C05F, edit)


def test_the_slides_of_an_old_presentation(tmp_path: Path) -> None:
    first, second = ppt_slides(*deck())
    assert (first.title, first.paragraphs, first.notes) == ("", ["Plain"], [])
    assert (second.title, second.paragraphs, second.notes) == (
        "Welcome", ["Welcome", "In a box", "First", "Second"], ["Speak up"],
    )  # fmt: skip
    streams = dict(zip(("PowerPoint Document", "Current User"), deck(), strict=True))
    parsed = read_one(container(tmp_path / "a.ppt", streams))
    assert [(span.page, span.anchor) for span in parsed.spans] == [(1, "Slide 1"), (2, "Slide 2: Welcome")]
    assert parsed.text.endswith("Notes:\nSpeak up")


def test_a_damaged_or_guarded_presentation(tmp_path: Path) -> None:
    data, user = deck()
    with pytest.raises(DocumentFault) as caught:
        ppt_slides(data, user[:12] + struct.pack("<I", 0xF3D1C4DF) + user[16:])
    assert caught.value.code is FailureCode.ENCRYPTED
    (tmp_path / "a.ppt").write_bytes(CONTAINER + "PowerPoint Document\0".encode("utf-16-le"))
    found = fault(tmp_path / "a.ppt")
    assert (found.code, "Save it as .pptx" in found.way_out) == (FailureCode.UNSUPPORTED, True)
