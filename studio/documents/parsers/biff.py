"""Old Excel workbooks (.xls of Excel 5 to 2003): an own reader of [MS-XLS], which knows how cells are shown.

It holds the cells that there are, not the rectangle that they span.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from studio.documents.parsers.base import MAX_TEXT_CHARS, one_line, too_large
from studio.documents.parsers.number_formats import Shown, code_of, formatter, general
from studio.documents.parsers.workbook import HIDDEN_ROW, MAX_GAP, Row, margin_text

MAX_CELLS = 8_000_000
_BIFF8, _BIFF5 = 0x600, 0x500
_BOF, _EOF, _CONTINUE, _PROTECTED = 0x809, 0x0A, 0x3C, 0x2F
_CODE_PAGE, _DATE_MODE, _FORMAT, _STYLE, _SHEET, _STRINGS = 0x42, 0x22, 0x41E, 0xE0, 0x85, 0xFC
_ROW, _SHARED, _LABEL, _RICH, _RK, _RKS, _NUMBER = 0x208, 0xFD, 0x204, 0xD6, 0x27E, 0xBD, 0x203
_FORMULA, _RESULT, _BOOL, _BOX, _HEADER, _FOOTER = 0x06, 0x207, 0x205, 0x1B6, 0x14, 0x15
_ERRORS = {
    0: "#NULL!",
    7: "#DIV/0!",
    15: "#VALUE!",
    23: "#REF!",
    29: "#NAME?",
    36: "#NUM!",
    42: "#N/A",
}
_WORKSHEET_TYPES = frozenset({0, 1})  # and macro sheets

Record = tuple[int, bytes]


class Unreadable(Exception):
    """The stream is none that this reader knows, or is protected or damaged."""


@dataclass(frozen=True, slots=True)
class OldSheet:
    """A sheet: its name, where its records begin, whether it is hidden."""

    name: str
    position: int
    hidden: bool


@dataclass(slots=True)
class _Cells:
    rows: dict[int, dict[int, str]] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    count: int = 0

    def add(self, row: int, column: int, text: str) -> None:
        if text:
            self.count += 1
            if self.count > MAX_CELLS:
                raise too_large(f"A sheet of this file has more than {MAX_CELLS:,} cells.")
            self.rows.setdefault(row, {})[column] = text


class OldWorkbook:
    """The workbook stream of an old container. Raises Unreadable; while reading a sheet too."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._page = "cp1252"
        self._wide = True
        self._strings: list[str] = []
        self._shown: list[Shown | None] = []
        self.sheets: list[OldSheet] = []
        try:
            self._globals()
        except (struct.error, IndexError, LookupError, ValueError) as error:
            raise Unreadable from error

    def _globals(self) -> None:
        is_1904 = False
        own: dict[int, str] = {}
        used: list[int] = []
        for number, (kind, content) in enumerate(self._records(0)):
            if number == 0:
                version = struct.unpack_from("<H", content)[0] if kind == _BOF else 0
                if version not in (_BIFF8, _BIFF5):
                    raise Unreadable
                self._wide = version == _BIFF8
            elif kind == _PROTECTED:
                raise Unreadable
            elif kind == _CODE_PAGE:
                self._page = _encoding(struct.unpack_from("<H", content)[0])
            elif kind == _DATE_MODE:
                is_1904 = content[:1] == b"\1"
            elif kind == _FORMAT:
                own[struct.unpack_from("<H", content)[0]] = self._string(content, 2, 2 if self._wide else 1)
            elif kind == _STYLE:
                used.append(struct.unpack_from("<H", content, 2)[0])
            elif kind == _SHEET:
                position, hidden, sort = struct.unpack_from("<IBB", content)
                if sort in _WORKSHEET_TYPES:
                    self.sheets.append(OldSheet(self._string(content, 6, 1), position, bool(hidden & 3)))
            elif kind == _STRINGS:
                self._strings = self._shared(content)
        if not self.sheets:
            raise Unreadable
        self._shown = [formatter(code_of(number, own), is_1904) for number in used]

    def _records(self, position: int) -> Iterator[Record]:
        """The records of a part, up to its end. Contents that go on in further records come as `_CONTINUE`."""
        depth = 0
        while position + 4 <= len(self._data):
            kind, size = struct.unpack_from("<HH", self._data, position)
            self._next = position = position + 4 + size
            depth += (kind == _BOF) - (kind == _EOF)
            if depth <= 0:
                return
            if depth == 1:
                yield kind, self._data[position - size : position]

    def _shared(self, first: bytes) -> list[str]:
        """The shared strings, which go on over records."""
        pieces = [first]
        position = self._next
        while position + 4 <= len(self._data):
            kind, size = struct.unpack_from("<HH", self._data, position)
            if kind != _CONTINUE:
                break
            pieces.append(self._data[position + 4 : position + 4 + size])
            position += 4 + size
        stream = _Pieces(pieces)
        count = struct.unpack("<I", stream.read(8)[4:])[0]
        found: list[str] = []
        chars = 0
        try:
            for _ in range(count):
                text = one_line(stream.string())
                chars += len(text)
                if chars > 8 * MAX_TEXT_CHARS:
                    raise too_large("The strings of this file are more text than a document may hold.")
                found.append(text)
        except (struct.error, IndexError):
            pass  # cells that refer to what is missing are empty
        return found

    def _string(self, content: bytes, at: int, width: int) -> str:
        """A string whose length takes `width` bytes."""
        length = int.from_bytes(content[at : at + width], "little")
        at += width
        if not self._wide:
            return content[at : at + length].decode(self._page, "replace")
        flags = content[at] if at < len(content) else 0
        at += 1 + (2 if flags & 8 else 0) + (4 if flags & 4 else 0)
        if flags & 1:
            return content[at : at + 2 * length].decode("utf-16-le", "replace")
        return content[at : at + length].decode("latin-1")

    def read(self, sheet: OldSheet) -> tuple[Iterator[Row], list[str]]:
        """The rows of a sheet, and what stands beside its cells: text boxes and comments, header and footer."""
        cells, boxes, margins = _Cells(), list[str](), list[str]()
        waiting: tuple[int, int] | None = None  # a formula whose text is in a record of its own
        box = 0
        try:
            for kind, content in self._records(sheet.position):
                if kind == _RESULT and waiting is not None:
                    cells.add(*waiting, one_line(self._string(content, 0, 2)))
                elif kind == _FORMULA:
                    waiting = self._formula(cells, content)
                elif kind == _ROW:
                    if struct.unpack_from("<H", content, 12)[0] & 0x20:
                        cells.hidden.add(struct.unpack_from("<H", content)[0])
                elif kind == _BOX and len(content) >= 12:
                    box = struct.unpack_from("<H", content, 10)[0]
                elif kind == _CONTINUE and box:
                    text = content[1 : 1 + box * (1 + (content[0] & 1))] if content else b""
                    boxes.append(one_line(text.decode("utf-16-le" if content[:1] == b"\1" else "latin-1", "replace")))
                    box = 0
                elif kind in (_HEADER, _FOOTER) and content:
                    margins.append(margin_text(self._string(content, 0, 2 if self._wide else 1)))
                else:
                    self._cell(cells, kind, content)
        except (struct.error, IndexError, ValueError) as error:
            raise Unreadable from error
        return _rows(cells), [text for text in dict.fromkeys([*boxes, *margins]) if text]

    def _cell(self, cells: _Cells, kind: int, content: bytes) -> None:
        if kind not in (_SHARED, _LABEL, _RICH, _RK, _RKS, _NUMBER, _BOOL):
            return
        row, column, style = struct.unpack_from("<HHH", content)
        if kind == _SHARED:
            number = struct.unpack_from("<I", content, 6)[0]
            cells.add(row, column, self._strings[number] if number < len(self._strings) else "")
        elif kind in (_LABEL, _RICH):
            cells.add(row, column, one_line(self._string(content, 6, 2)))
        elif kind == _NUMBER:
            cells.add(row, column, self._number(struct.unpack_from("<d", content, 6)[0], style))
        elif kind == _RK:
            cells.add(row, column, self._number(_packed(struct.unpack_from("<I", content, 6)[0]), style))
        elif kind == _BOOL:
            said = _ERRORS.get(content[6], "#N/A") if content[7] else ("TRUE" if content[6] else "FALSE")
            cells.add(row, column, said)
        else:
            for place, at in enumerate(range(4, len(content) - 7, 6)):
                style, value = struct.unpack_from("<HI", content, at)
                cells.add(row, column + place, self._number(_packed(value), style))

    def _formula(self, cells: _Cells, content: bytes) -> tuple[int, int] | None:
        row, column, style = struct.unpack_from("<HHH", content)
        result = content[6:14]
        if result[6:8] != b"\xff\xff":
            cells.add(row, column, self._number(struct.unpack("<d", result)[0], style))
        elif result[0] == 0:
            return row, column
        elif result[0] in (1, 2):
            said = ("TRUE" if result[2] else "FALSE") if result[0] == 1 else _ERRORS.get(result[2], "#N/A")
            cells.add(row, column, said)
        return None

    def _number(self, number: float, style: int) -> str:
        if number != number or number in (float("inf"), float("-inf")):
            return ""
        show = self._shown[style] if style < len(self._shown) else None
        return show(number) if show else general(number)


def _rows(cells: _Cells) -> Iterator[Row]:
    """Rows in their order, from the first column that holds anything; a wide gap is a narrow one."""
    first = min((min(row) for row in cells.rows.values()), default=0)
    for number in sorted(cells.rows):
        line: list[str] = []
        last = first - 1
        for column, text in sorted(cells.rows[number].items()):
            line += [""] * min(column - last - 1, MAX_GAP)
            line.append(text)
            last = column
        if number in cells.hidden:
            line.append(HIDDEN_ROW)
        yield number + 1, line


def _packed(value: int) -> float:
    """A number in the short form: 30 bits of a whole number or of a float, perhaps hundredths."""
    if value & 2:
        number = float((value >> 2) - ((value >> 31) << 30))
    else:
        (number,) = struct.unpack("<d", struct.pack("<II", 0, value & 0xFFFFFFFC))
    return float(number / 100 if value & 1 else number)


def _encoding(page: int) -> str:
    name = {1200: "utf-16-le", 32768: "mac-roman", 10000: "mac-roman", 32769: "cp1252"}.get(page, f"cp{page}")
    try:
        b"".decode(name)
    except LookupError:
        return "cp1252"
    return name


class _Pieces:
    """Strings that are cut into records; where one is cut within its characters, their width is said anew."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._piece = 0
        self._at = 0

    def read(self, size: int) -> bytes:
        found = b""
        while size > 0:
            piece = self._pieces[self._piece]
            if self._at >= len(piece):
                self._piece, self._at = self._piece + 1, 0
                continue
            taken = piece[self._at : self._at + size]
            self._at += len(taken)
            size -= len(taken)
            found += taken
        return found

    def string(self) -> str:
        length, flags = struct.unpack("<HB", self.read(3))
        runs = struct.unpack("<H", self.read(2))[0] if flags & 8 else 0
        extra = struct.unpack("<I", self.read(4))[0] if flags & 4 else 0
        found: list[str] = []
        while length > 0:
            piece = self._pieces[self._piece]
            if self._at >= len(piece):
                self._piece, self._at = self._piece + 1, 1
                flags = self._pieces[self._piece][0]
                continue
            width = 2 if flags & 1 else 1
            taken = piece[self._at : self._at + length * width]
            self._at += len(taken)
            length -= max(1, len(taken) // width)
            found.append(taken.decode("utf-16-le" if width == 2 else "latin-1", "replace"))
        self.read(4 * runs + extra)
        return "".join(found)
