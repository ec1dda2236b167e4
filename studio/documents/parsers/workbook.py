"""What the library for spreadsheets leaves undone in .xlsx files: comments, and sheets whose cells lie far apart."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from contextlib import closing

from studio.documents.parsers.base import MAX_TEXT_CHARS, one_line, text_too_large
from studio.documents.parsers.package import Package, XmlHandler, whole_number
from studio.documents.parsers.slides import Slide
from studio.errors import DocumentFault, FailureCode

Row = tuple[int, Iterable[str]]
"""Number of a row, from 1, and the text of its cells."""

MAX_CELLS = 8_000_000
"""The library allocates the whole rectangle that a sheet's cells span; beyond this it dies of it."""
MAX_STRING_BYTES = 1 << 13
"""The library copies a string for each cell that shows it; longer ones are left to our own reader."""
MAX_GAP = 64
"""Empty cells that are shown between two cells of a row."""

_CELL = re.compile(rb'<(?:\w+:)?c\s[^>]*?\br="([A-Z]{1,3})(\d{1,7})"')
_BEYOND = re.compile(rb'\br="(?:[A-Z]{4}|[A-Z]{0,3}\d{8})')
"""Cells and rows beyond any sheet; the library runs for minutes towards them."""
_ODD_STRINGS = re.compile(rb'\b(?:c|uniqueC)ount="\d{8}|[^<>]{%d}' % MAX_STRING_BYTES)
"""A table of strings that announces more than fit into memory, or a long string."""
_ENTITIES = re.compile(rb"<!DOCTYPE|<!ENTITY")
_TAIL_BYTES = 512
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})$")
_DATE_FORMATS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
"""Numbers of the built-in formats for dates and times: ECMA-376-1, 18.8.30."""
_NOT_DATE = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|general', re.IGNORECASE)
_EPOCH = datetime.datetime(1899, 12, 30)
"""Day 0 of Excel's calendar for every date after the 29 February 1900 it believes in."""
_MAX_DAY = 2_958_465


class Workbook:
    """The parts of an .xlsx package. Raises DocumentFault CORRUPT for XML that is none, or declares entities."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._shared: tuple[_Strings, _Formats] | None = None
        main = next((target for kind, target in package.relations("").values() if kind == "officeDocument"), "")
        main = main if main in package else "xl/workbook.xml"
        names = _Names()
        relations: dict[str, tuple[str, str]] = {}
        if main in package and main.endswith(".xml"):
            package.parse(main, names)
            relations = package.relations(main)
        self._related = {kind: target for kind, target in relations.values() if target in package}
        self._parts = {
            name: relations[key][1]
            for name, key in names.found
            if key in relations and relations[key][0] == "worksheet" and relations[key][1] in package
        }
        self.sparse = self._has_odd_strings() or any(self._is_sparse(part) for part in package.names if _is_sheet(part))
        """Whether a sheet's cells span more than the library can bear."""

    @property
    def sheets(self) -> list[str]:
        """Names of the sheets with cells."""
        return list(self._parts)

    def asides(self, sheet: str) -> Iterator[str]:
        """Comments on cells, and what stands in text boxes."""
        part = self._parts.get(sheet, "")
        for kind, target in self._package.relations(part).values() if part else ():
            if target not in self._package or not target.endswith(".xml"):
                continue
            try:
                if kind == "comments":
                    comments = _Comments()
                    self._package.parse(target, comments)
                    yield from comments.found
                elif kind == "drawing":
                    drawing = Slide()
                    self._package.parse(target, drawing)
                    yield from (text for text, _ in drawing.paragraphs)
            except DocumentFault as fault:
                if fault.code is not FailureCode.CORRUPT:
                    raise

    def rows(self, sheet: str) -> list[Row]:
        """The rows of a sheet with the text of their cells; a wide gap between two cells is shown as a narrow one."""
        if self._shared is None:
            strings, formats = self._shared = _Strings(), _Formats()
            for kind, handler in (("sharedStrings", strings), ("styles", formats)):
                if kind in self._related:
                    self._package.parse(self._related[kind], handler)
        strings, formats = self._shared
        cells = _Cells(strings.found, formats.dates)
        self._package.parse(self._parts[sheet], cells)
        return cells.rows

    def _has_odd_strings(self) -> bool:
        """Whether the table of strings announces a size, or holds strings, that the library would die of."""
        part = self._related.get("sharedStrings", "")
        tail = b""
        for block in self._package.blocks(part) if part else ():
            if _ODD_STRINGS.search(tail + block):
                return True
            tail = block[-MAX_STRING_BYTES:]
        return False

    def _is_sparse(self, part: str) -> bool:
        """Whether the cells of a sheet span too large a rectangle. Its XML is looked through, not parsed."""
        low_row = low_column = 1 << 30
        high_row = high_column = 0
        tail = b""
        with closing(self._package.blocks(part)) as blocks:
            if _ENTITIES.search(next(blocks, b"")[:4096]):
                self._package.parse(part, XmlHandler())  # our own reader refuses what the library would read
        for block in self._package.blocks(part):
            if _BEYOND.search(tail + block):
                return True
            places = set(_CELL.findall(tail + block))
            if places:
                rows = {int(row) for _, row in places}
                columns = {_column(letters) for letters in {letters for letters, _ in places}}
                low_row, high_row = min(low_row, *rows), max(high_row, *rows)
                low_column, high_column = min(low_column, *columns), max(high_column, *columns)
            tail = block[-_TAIL_BYTES:]  # a cell may be cut by the end of the block
        if not high_row:
            return False
        return (high_row - low_row + 1) * (high_column - low_column + 1) > MAX_CELLS


def _is_sheet(part: str) -> bool:
    return part.startswith("xl/worksheets/") and part.endswith(".xml")


def _column(letters: bytes | str) -> int:
    number = 0
    for letter in letters if isinstance(letters, bytes) else letters.encode("ascii"):
        number = number * 26 + letter - 64
    return number


class _Names(XmlHandler):
    """Names of the sheets and the relations that lead to them."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            self.found.append((attributes.get("name", ""), attributes.get("id", "")))


class _Strings(XmlHandler):
    """The strings that cells refer to by their number, without phonetic hints."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._parts: list[str] = []
        self._in_text = False
        self._hint = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "rPh":
            self._hint = True
        elif name == "t":
            self._in_text = not self._hint

    def text(self, data: str) -> None:
        if self._in_text:
            self._parts.append(data)

    def end(self, name: str) -> None:
        if name == "t":
            self._in_text = False
        elif name == "rPh":
            self._hint = False
        elif name == "si":
            self.found.append("".join(self._parts))
            self._parts.clear()


class _Comments(_Strings):
    """Comments on cells, each behind the name of its cell."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        super().start(name, attributes)
        if name == "comment":
            self._cell = attributes.get("ref", "")
            self._parts.clear()

    def end(self, name: str) -> None:
        super().end(name)
        if name == "comment" and (text := one_line("".join(self._parts))):
            self.found.append(f"{self._cell}: {text}")


class _Formats(XmlHandler):
    """Which styles of cells show a date."""

    def __init__(self) -> None:
        self._own: set[str] = set()
        self._in_cells = False
        self._styles = 0
        self.dates: set[str] = set()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        number = attributes.get("numFmtId", "")
        if name == "numFmt":
            if re.search("[ymdhs]", _NOT_DATE.sub("", attributes.get("formatCode", "")), re.IGNORECASE):
                self._own.add(number)
        elif name == "cellXfs":
            self._in_cells = True
        elif name == "xf" and self._in_cells:
            if number in self._own or whole_number(number) in _DATE_FORMATS:
                self.dates.add(str(self._styles))
            self._styles += 1

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cells = False


class _Cells(XmlHandler):
    """The rows of a sheet that hold anything."""

    def __init__(self, strings: list[str], dates: set[str]) -> None:
        self.rows: list[Row] = []
        self._strings = strings
        self._dates = dates
        self._row: list[str] = []
        self._number = self._column = self._chars = 0
        self._kind = self._style = ""
        self._value: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "row":
            self._number = whole_number(attributes.get("r", "")) or self._number + 1
            self._row, self._column = [], 0
        elif name == "c":
            self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "")
            place = _REFERENCE.match(attributes.get("r", ""))
            column = _column(place.group(1)) if place else self._column + 1
            self._row += [""] * min(max(0, column - self._column - 1), MAX_GAP)
            self._row.append("")
            self._column = column
        elif name == "v" or (name == "t" and self._kind == "inlineStr"):
            self._value = []

    def text(self, data: str) -> None:
        if self._value is not None:
            self._value.append(data)

    def end(self, name: str) -> None:
        if name in ("v", "t") and self._value is not None and self._row:
            value = one_line(self._shown("".join(self._value)))
            self._row[-1] += value
            self._chars += len(value)
            if self._chars > MAX_TEXT_CHARS:
                raise text_too_large()
            self._value = None
        elif name == "row" and any(self._row):
            self.rows.append((self._number, self._row))

    def _shown(self, value: str) -> str:
        if self._kind == "s":
            return self._strings[int(value)] if value.isdecimal() and int(value) < len(self._strings) else ""
        if self._kind == "b":
            return "True" if value.strip() == "1" else "False"
        if self._kind != "n":
            return value
        try:
            number = float(value)
        except ValueError:
            return value
        if self._style in self._dates and 0 <= number <= _MAX_DAY:
            moment = _EPOCH + datetime.timedelta(days=number)
            return moment.date().isoformat() if number.is_integer() else moment.isoformat(" ", "seconds")
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
