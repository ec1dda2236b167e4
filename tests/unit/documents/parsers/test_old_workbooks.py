"""Old Excel workbooks are read cell by cell, and shown by their formats."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from studio.documents.parsers import biff
from studio.documents.parsers.biff import OldWorkbook, Unreadable
from tests.unit.documents.making import container, fault, read_one


def record(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def string(text: str, width: str = "<H") -> bytes:
    return struct.pack(width, len(text)) + b"\1" + text.encode("utf-16-le")


def stream(*cells: bytes, cut: int = 0, hidden: bool = False) -> bytes:
    """A workbook of a sheet "S", and of a hidden one "T"; the shared strings are cut after `cut` bytes."""
    begin = record(0x809, struct.pack("<HH", 0x600, 5) + bytes(12))
    shared = struct.pack("<II", 2, 2) + string("Celesio AG") + string("Größe")
    tail = record(0x3C, b"\1" + shared[cut:]) if cut else b""
    shared = record(0xFC, shared[:cut] if cut else shared) + tail
    formats = record(0x41E, struct.pack("<H", 170) + string("[h]:mm"))
    formats += b"".join(record(0xE0, struct.pack("<HH", 0, code) + bytes(16)) for code in (0, 9, 170, 14))
    names = [string(name, "<B") for name in ("S", "T")]
    size = len(begin) + len(formats) + len(shared) + sum(4 + 6 + len(name) for name in names) + 4
    part = begin + b"".join(cells) + record(0x0A, b"")
    listed = record(0x85, struct.pack("<IBB", size, int(hidden), 0) + names[0])
    listed += record(0x85, struct.pack("<IBB", size + len(part), 1, 0) + names[1])
    return begin + formats + listed + shared + record(0x0A, b"") + part + part


def number(row: int, column: int, value: float, style: int = 0) -> bytes:
    return record(0x203, struct.pack("<HHHd", row, column, style, value))


def shared(row: int, column: int, at: int) -> bytes:
    return record(0xFD, struct.pack("<HHHI", row, column, 0, at))


CELLS = (
    record(0x208, struct.pack("<HHHHHHHHH", 1, 0, 9, 0, 0, 0, 0x20, 0, 0)),
    shared(0, 1, 0),
    number(0, 2, 0.15, 1),
    number(0, 3, 1.5625, 2),
    record(0x27E, struct.pack("<HHHI", 0, 4, 0, (1250 << 2) | 3)),
    record(0xBD, struct.pack("<HHHIHIH", 0, 5, 0, (7 << 2) | 2, 3, (45356 << 2) | 2, 6)),
    shared(1, 1, 1),
    record(0x06, struct.pack("<HHH", 1, 2, 0) + b"\0\0\0\0\0\0\xff\xff" + bytes(8)),
    record(0x207, string("said")),
    record(0x205, struct.pack("<HHHBB", 1, 3, 0, 1, 0)),
    record(0x1B6, bytes(10) + struct.pack("<H", 3) + bytes(6)),
    record(0x3C, b"\0box"),
    record(0x14, string("&CLetterhead &P")),
)


@pytest.mark.parametrize("cut", [0, 13, 36])
def test_cells_are_shown_as_the_sheet_does(cut: int) -> None:
    book = OldWorkbook(stream(*CELLS, cut=cut))
    assert [(sheet.name, sheet.hidden) for sheet in book.sheets] == [("S", False), ("T", True)]
    rows, beside = book.read(book.sheets[0])
    assert list(rows) == [
        (1, ["Celesio AG", "15% (0.15)", "37:30", "12.5", "7", "2024-03-05"]),
        (2, ["Größe", "said", "TRUE", "(hidden)"]),
    ]
    assert beside == ["box", "Letterhead"]


def test_cells_that_lie_far_apart_cost_no_more_than_themselves() -> None:
    book = OldWorkbook(stream(number(0, 0, 1), number(65_535, 255, 2)))
    (first, far) = book.read(book.sheets[0])[0]
    assert (first, far[0], far[1][-1], len(far[1]) < 100) == ((1, ["1"]), 65_536, "2", True)


def test_what_is_no_such_stream_is_left_to_the_next_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stream(*CELLS)
    for damaged in (b"", whole[:10], whole.replace(b"\0\6\5\0", b"\0\2\5\0", 1), b"\xff" * 100):
        with pytest.raises(Unreadable):
            OldWorkbook(damaged)
    with pytest.raises(Unreadable):
        book = OldWorkbook(stream(record(0xFD, b"\0")))
        book.read(book.sheets[0])
    monkeypatch.setattr(biff, "MAX_CELLS", 3)
    container(tmp_path / "a.xls", {"WORKBOOK": whole})
    assert "more than 3 cells" in str(fault(tmp_path / "a.xls"))
    monkeypatch.setattr(biff, "MAX_CELLS", 100)
    parsed = read_one(tmp_path / "a.xls")
    assert [span.anchor for span in parsed.spans] == ["Sheet S", "Sheet S · comments"]
    assert parsed.metadata["hidden sheets"] == "T"
