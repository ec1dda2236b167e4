"""Excel workbooks in XML (.xlsx, .xlsm): an own reader, which knows how cells are shown and what is hidden."""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import isfinite

from studio.documents.parsers.base import one_line
from studio.documents.parsers.charts import KINDS as CHARTS
from studio.documents.parsers.charts import chart_lines
from studio.documents.parsers.number_formats import Shown, code_of, formatter, general
from studio.documents.parsers.package import Package, XmlHandler, whole_number
from studio.documents.parsers.slides import Slide
from studio.errors import DocumentFault, FailureCode

Row = tuple[int, Sequence[str]]
"""Number of a row, from 1, and the text of its cells."""

MAX_CELL_BYTES = 8 << 20
"""Longest cell; beyond it the rest of a damaged sheet would be searched for its end again and again."""
MAX_GAP = 64
"""Empty cells that are shown between two cells of a row."""
MAX_MERGES = 100_000
MERGED_CHARS = 200
"""A longer text stands only in the first of the rows that are merged into one cell."""
HIDDEN_ROW = "(hidden)"

_KINDS = ("worksheet", "xlMacrosheet", "xlIntlMacrosheet", "dialogsheet", "chartsheet")
_SHEET_PART = re.compile(r"xl/worksheets/[^/]+\.xml$", re.IGNORECASE)
_ITEM = re.compile(
    rb"<(?:\w+:)?(?:row\b([^>]*)|c\b([^>]*?)(?:/|>((?:[^<]++|<(?!/?(?:\w+:)?(?:c|row)\b))*+)</(?:\w+:)?c\s*))>"
)
"""A row begins, or a cell with its content; a cell that never ends costs itself."""
_USUAL = re.compile(rb'\sr="([A-Z]{1,3})\d{1,7}"(?:\ss="(\d+)")?(?:\st="(\w+)")?\s*$')
_ATTRIBUTE = re.compile(rb"(?<![\w:])([\w:]+)\s*=\s*[\"']([^\"']*)")
_VALUE = re.compile(rb"<(?:\w+:)?(v|f)\b[^>]*?(?:/>|>([^<]*))")
_RUN = re.compile(rb"<(?:\w+:)?t\b[^>]*?(?:/>|>([^<]*))")
_HINT = re.compile(rb"<(?:\w+:)?rPh\b.*?</(?:\w+:)?rPh>", re.DOTALL)
_STRING = re.compile(rb"<(?:\w+:)?si\b[^>]*?(?:/>|>(.*?)</(?:\w+:)?si>)", re.DOTALL)
_MERGE = re.compile(rb"<(?:\w+:)?mergeCell\b[^>]*?\bref=[\"']\$?([A-Z]{1,3})\$?(\d{1,7}):\$?([A-Z]{1,3})\$?(\d{1,7})")
_MARGIN = re.compile(rb"<(?:\w+:)?(?:odd|even|first)(?:Header|Footer)\b[^>]*>([^<]*)")
_MARGIN_CODE = re.compile(r"&(?:\"[^\"]*\"|K[\dA-F+-]{6}|[\d]+|[A-Za-z&])")
_LAST_CELL = re.compile(rb"</(?:\w+:)?(?:c|row)>")
_CDATA = re.compile(rb"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_DECLARED = re.compile(rb"<!DOCTYPE|<!ENTITY")
_ENCODING = re.compile(rb"<\?xml[^>]*?\bencoding\s*=\s*[\"']([\w.-]+)")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_TAIL_BYTES = 1 << 12


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet of a workbook: its name, the member that holds it, and whether it is hidden."""

    name: str
    part: str
    hidden: bool


class Workbook:
    """The parts of an .xlsx package. Raises DocumentFault CORRUPT for XML that is none, or declares entities."""

    def __init__(self, package: Package) -> None:
        self._package = package
        main = next((target for kind, target in package.relations("").values() if kind == "officeDocument"), "")
        main = main if main in package else "xl/workbook.xml"
        book = _Book()
        relations: dict[str, tuple[str, str]] = {}
        if main in package and main.endswith(".xml"):
            package.parse(main, book)
            relations = package.relations(main)
        self._related = {kind: target for kind, target in relations.values() if target in package}
        self._is_1904 = book.is_1904
        self._strings: list[str] | None = None
        self._shown: list[Shown | None] = []
        self.sheets = [
            Sheet(name, relations[key][1], hidden)
            for name, key, hidden in book.sheets
            if key in relations and relations[key][0] in _KINDS and relations[key][1] in package
        ] or [
            Sheet(part.rpartition("/")[2].removesuffix(".xml"), part, hidden=False)  # their list is damaged
            for part in sorted(package.names)
            if _SHEET_PART.match(part)
        ]

    def rows(self, sheet: Sheet) -> Iterator[Row]:
        """The rows of a sheet with the text of their cells as they are shown.

        A wide gap between two cells is a narrow one. What cells in several rows are merged into stands in each of them.
        """
        if self._strings is None:
            self._strings = self._read_strings()
            self._shown = self._read_formats()
        cells = _Cells(self._strings, self._shown, self._merges(sheet))
        rest = b""
        with closing(self._utf8(sheet.part)) as blocks:
            for block in blocks:
                block = rest + block
                end = next((found.end() for found in _last(block)), 0)
                rest = block[end:]
                yield from cells.rows(block[:end])
                if len(rest) > MAX_CELL_BYTES:
                    rest = rest[-_TAIL_BYTES:]
        yield from cells.rows(rest)
        yield from cells.end()

    def asides(self, sheet: Sheet) -> Iterator[str]:
        """Comments on cells, what stands in text boxes, charts and diagrams, and headers and footers."""
        yield from self.beside(sheet.part)
        margins: dict[str, None] = {}
        for (said,) in self._scan(sheet.part, b"Header", b"Footer", pattern=_MARGIN):
            if text := margin_text(_text(said)):
                margins[text] = None
        yield from margins

    def beside(self, part: str) -> Iterator[str]:
        """What is drawn on a sheet and noted beside it."""
        for kind, target in dict.fromkeys(self._package.relations(part).values()):
            if target not in self._package or not target.endswith(".xml"):
                continue
            try:
                if kind in ("comments", "threadedComment"):
                    comments = _Comments()
                    self._package.parse(target, comments)
                    yield from comments.found
                elif kind == "drawing":
                    yield from self._drawing(target)
                elif kind in CHARTS:
                    yield from (text for text, _ in chart_lines(self._package, target))
                elif kind == "diagramData":
                    yield from self._texts(target)
            except DocumentFault as fault:
                if fault.code is not FailureCode.CORRUPT:
                    raise

    def _drawing(self, part: str) -> Iterator[str]:
        yield from self._texts(part)
        yield from self.beside(part)

    def _texts(self, part: str) -> Iterator[str]:
        drawing = Slide()
        self._package.parse(part, drawing)
        yield from (text for text, _ in drawing.paragraphs)

    def _merges(self, sheet: Sheet) -> dict[int, list[tuple[int, int]]]:
        """Ranges of cells merged over several rows: by column, their first and last rows."""
        found: dict[int, list[tuple[int, int]]] = {}
        count = 0
        for left, top, _, bottom in self._scan(sheet.part, b"mergeCell", pattern=_MERGE):
            if int(bottom) > int(top) and count < MAX_MERGES:
                found.setdefault(_column(left), []).append((int(top), int(bottom)))
                count += 1
        for ranges in found.values():
            ranges.sort(reverse=True)
        return found

    def _scan(self, part: str, *signs: bytes, pattern: re.Pattern[bytes]) -> Iterator[tuple[bytes, ...]]:
        """What a pattern finds in a part, whose text is looked through only where one of `signs` is."""
        tail = b""
        with closing(self._utf8(part)) as blocks:
            for block in blocks:
                joined = tail + block
                end = 0
                if any(sign in joined for sign in signs):
                    for found in pattern.finditer(joined):
                        yield found.groups()
                        end = found.end()
                tail = joined[max(end, len(joined) - _TAIL_BYTES) :]

    def _utf8(self, part: str) -> Generator[bytes]:
        """A part in UTF-8, without comments. Raises DocumentFault for one that declares entities."""
        with closing(self._package.blocks(part)) as blocks:
            head = next(blocks, b"")
            if _DECLARED.search(head[:4096]):
                self._package.parse(part, XmlHandler())  # refuses it
            declared = _ENCODING.search(head[:200])
            encoding = "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else ""
            if declared and declared[1].lower() not in (b"utf-8", b"us-ascii", b"ascii"):
                encoding = encoding or declared[1].decode("ascii")
            decoder = _decoder(encoding) if encoding else None
            for block in chain((head,), blocks):
                if decoder is not None:
                    block = decoder.decode(block).encode("utf-8", "replace")
                if b"<![CDATA[" in block:
                    block = _CDATA.sub(lambda data: html.escape(data[1].decode("utf-8", "replace")).encode(), block)
                yield _COMMENT.sub(b"", block) if b"<!--" in block else block

    def _read_strings(self) -> list[str]:
        """The strings that cells refer to by their number, without phonetic hints."""
        part = self._related.get("sharedStrings", "")
        found: list[str] = []
        rest = b""
        for block in self._utf8(part) if part else ():
            block = rest + block
            end = 0
            for string in _STRING.finditer(block):
                found.append(one_line(_runs(string[1] or b"")))
                end = string.end()
            rest = block[end:]
        return found

    def _read_formats(self) -> list[Shown | None]:
        """How the cells of each style are shown."""
        formats = _Formats()
        part = self._related.get("styles", "")
        if part:
            try:
                self._package.parse(part, formats)
            except DocumentFault as fault:
                if fault.code is not FailureCode.CORRUPT:
                    raise
        return [formatter(code_of(number, formats.own), self._is_1904) for number in formats.used]


class _Cells:
    """Turns the XML of rows into rows of texts; a row is given out when the next one begins."""

    def __init__(self, strings: list[str], shown: list[Shown | None], merges: dict[int, list[tuple[int, int]]]) -> None:
        self._strings = strings
        self._shown = shown
        self._merges = merges
        self._above: dict[int, tuple[int, str]] = {}  # by column: last row of a merged cell, and its text
        self._number = 0
        self._first: int | None = None  # the first column that holds anything, as far as is known
        self._column = 0
        self._row: list[str] = []
        self._places: list[int] = []
        self._hidden = False
        self._last = 0

    def rows(self, source: bytes) -> Iterator[Row]:
        """The rows that are complete once `source` has been read."""
        for found in _ITEM.finditer(source):
            row, attributes, content = found.groups()
            if row is not None:
                yield from self.end()
                said = dict(_ATTRIBUTE.findall(row)) if row else {}
                self._number = int(said.get(b"r", b"")[:8] or 0) if said.get(b"r", b"0").isdigit() else 0
                self._number = self._number or self._last + 1
                self._hidden = said.get(b"hidden") in (b"1", b"true")
                continue
            usual = _USUAL.match(attributes)
            if usual:
                place, style, kind = usual.groups()
            else:
                said = dict(_ATTRIBUTE.findall(attributes))
                place, style, kind = said.get(b"r", b"").rstrip(b"0123456789"), said.get(b"s"), said.get(b"t")
            column = _column(place) if place else self._column + 1
            if self._first is None or column <= self._first:
                self._first, self._column = column, max(self._column, column - 1)
            text = self._text(content, style, kind) if content else ""
            gap = column - self._column - 1
            if gap > 0:
                self._row += [""] * min(gap, MAX_GAP)
                self._places += range(column - min(gap, MAX_GAP), column)
            self._row.append(text)
            self._places.append(column)
            self._column = column

    def end(self) -> Iterator[Row]:
        """The row that is being collected, if there is anything in it."""
        if self._number and self._merges:
            self._fill()
        if any(self._row):
            yield self._number, ([*self._row, HIDDEN_ROW] if self._hidden else self._row)
        self._last = max(self._last, self._number)
        self._row, self._places, self._column = [], [], (self._first or 1) - 1

    def _fill(self) -> None:
        """Repeat what a merged cell shows in the rows below its first."""
        for column, ranges in self._merges.items():
            at = self._places.index(column) if column in self._places else -1
            while ranges and ranges[-1][0] <= self._number:
                top, bottom = ranges.pop()
                if top == self._number and at >= 0 and len(self._row[at]) <= MERGED_CHARS:
                    self._above[column] = (bottom, self._row[at])
            bottom, text = self._above.get(column, (0, ""))
            if bottom < self._number or not any(self._row):
                continue
            if at >= 0:
                self._row[at] = self._row[at] or text
            elif column < (self._places[0] if self._places else 0):
                self._row[:0] = [text]
                self._places[:0] = [column]

    def _text(self, content: bytes, style: bytes | None, kind: bytes | None) -> str:
        if kind == b"inlineStr":
            return one_line(_runs(content))
        formula = b""
        if content.startswith(b"<v>") and content.endswith(b"</v>"):
            value = content[3:-4]
        else:
            parts = dict(_VALUE.findall(content))
            value, formula = parts.get(b"v", b"").strip(), parts.get(b"f", b"")
        if not value:
            return f"={one_line(_text(formula))}" if formula and kind != b"str" else ""
        if kind == b"s":
            number = int(value) if value.isdigit() and len(value) < 10 else len(self._strings)
            return self._strings[number] if number < len(self._strings) else ""
        if kind == b"b":
            return "TRUE" if value == b"1" else "FALSE"
        if kind is not None and kind != b"n":
            return one_line(_text(value))
        try:
            quantity = float(value)
        except ValueError:
            return one_line(_text(value))
        if not isfinite(quantity):
            return one_line(_text(value))
        at = int(style) if style and len(style) < 9 else 0
        show = self._shown[at] if at < len(self._shown) else None
        return show(quantity) if show else general(quantity)


def margin_text(source: str) -> str:
    """What a header or footer of a sheet says, without its codes; "" without a letter."""
    text = one_line(_MARGIN_CODE.sub(" ", source))
    return text if any(map(str.isalpha, text)) else ""


def _last(block: bytes) -> Iterator[re.Match[bytes]]:
    """The last end of a cell or row in a block."""
    at = len(block)
    while (at := block.rfind(b"</", 0, at)) >= 0:
        if found := _LAST_CELL.match(block, at):
            yield found
            return


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        return codecs.getincrementaldecoder(encoding)("replace")
    except LookupError:
        return codecs.getincrementaldecoder("utf-8")("replace")


def _runs(source: bytes) -> str:
    """The text of a string in pieces, without phonetic hints."""
    if b"rPh" in source:
        source = _HINT.sub(b"", source)
    return _text(b"".join(_RUN.findall(source)))


def _text(source: bytes) -> str:
    text = source.decode("utf-8", "replace")
    if "&" in text:
        text = html.unescape(text)
    return _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text) if "_x" in text else text


@lru_cache(maxsize=1 << 14)
def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


class _Book(XmlHandler):
    """The sheets (name, relation, hidden), and whether days count from 1904."""

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str, bool]] = []
        self.is_1904 = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append((attributes.get("name", ""), attributes.get("id", ""), hidden))
        elif name == "workbookPr":
            self.is_1904 = attributes.get("date1904", "0").lower() in ("1", "true", "on")


class _Comments(XmlHandler):
    """Comments on cells, each behind the name of its cell, without phonetic hints."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._parts: list[str] = []
        self._in_text = self._hint = False
        self._cell = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("comment", "threadedComment"):
            self._cell = attributes.get("ref", "")
            self._parts.clear()
        elif name == "rPh":
            self._hint = True
        elif name in ("t", "text") and not self._hint:
            self._in_text = True

    def text(self, data: str) -> None:
        if self._in_text:
            self._parts.append(data)

    def end(self, name: str) -> None:
        if name in ("t", "text"):
            self._in_text = False
        elif name == "rPh":
            self._hint = False
        elif name in ("comment", "threadedComment") and (text := one_line("".join(self._parts))):
            self.found.append(f"{self._cell}: {text}")


class _Formats(XmlHandler):
    """Codes of the workbook's own formats, and the number of the format of each style of cells."""

    def __init__(self) -> None:
        self.own: dict[int, str] = {}
        self.used: list[int] = []
        self._in_cells = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        number = whole_number(attributes.get("numFmtId", ""))
        if name == "numFmt" and number is not None:
            self.own[number] = attributes.get("formatCode", "")
        elif name == "cellXfs":
            self._in_cells = True
        elif name == "xf" and self._in_cells:
            self.used.append(number or 0)

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cells = False
