"""Spreadsheets: .xlsx, .xlsb, .xls, .ods (the only importer of python_calamine)."""

from __future__ import annotations

import contextlib
import datetime
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import olefile
import python_calamine as calamine

from studio.documents.parsers.base import (
    MAX_TEXT_CHARS,
    TextBuilder,
    choose_title,
    clean,
    corrupt,
    encrypted,
    make_document,
    no_text,
    read_all,
    too_large,
)
from studio.documents.parsers.odf import refuse_encrypted
from studio.documents.parsers.office_crypto import decrypted, is_protected
from studio.documents.parsers.ole import has_loop
from studio.documents.parsers.package import MAX_DIGITS, XmlHandler, open_package, whole_number
from studio.documents.parsers.properties import Properties, odf_properties, office_properties
from studio.documents.parsers.workbook import MAX_CELLS, Row, Workbook
from studio.domain import PageCounts, ParsedDocument
from studio.errors import DocumentFault

WHAT = "Excel"

_MAX_ROWS, _MAX_COLUMNS = 1 << 20, 1 << 14
"""Of a sheet; the library writes out no more."""
ROWS_CHARS = 900
"""Rows that share a location: about a passage of text."""


def parse_xlsx(path: Path, source: BinaryIO | None = None) -> Iterator[ParsedDocument]:
    """An Excel workbook: a line a row, spans of some rows, the comments on a sheet after its rows.

    `source` holds the plain file where the one at `path` is protected.
    """
    with open_package(path, WHAT, source) as package:
        package.check()
        properties = office_properties(package)
        workbook = Workbook(package)
        builder = TextBuilder()
        if workbook.sparse:
            sheets = _Sheets(builder)
            for name in workbook.sheets:
                sheets.add(name, workbook.rows(name), workbook.asides(name))
        else:
            sheets = _calamine(builder, path, source, workbook)
    yield _document(builder, sheets, "xlsx", path, properties)


def parse_ods(path: Path) -> Iterator[ParsedDocument]:
    """An OpenDocument spreadsheet."""
    with open_package(path, "OpenDocument") as package:
        package.check()
        refuse_encrypted(package)
        properties = odf_properties(package)
        package.parse("content.xml", _Repeats())
    builder = TextBuilder()
    yield _document(builder, _calamine(builder, path, what="OpenDocument"), "ods", path, properties)


def parse_xls(path: Path) -> Iterator[ParsedDocument]:
    """An old Excel workbook."""
    builder = TextBuilder()
    if has_loop(read_all(path)):  # the library would take all memory there is
        raise corrupt(WHAT, "the table of its sectors leads in circles")
    try:
        sheets = _calamine(builder, path)
    except DocumentFault:
        if not is_protected(path):  # the library says of these only that it does not know the format
            raise
        sheets = _calamine(builder, path, decrypted(path, WHAT))
    yield _document(builder, sheets, "xls", path, _old_properties(path))


def _document(builder: TextBuilder, sheets: _Sheets, kind: str, path: Path, properties: Properties) -> ParsedDocument:
    text, spans = builder.build()
    if not text:
        raise no_text("The sheets of this file are empty.")
    return make_document(
        text,
        spans,
        kind,
        title=choose_title(properties.title, "", path),
        author=properties.author,
        licence=properties.licence,
        created=properties.created,
        metadata=properties.metadata,
        pages=PageCounts(sheets.count, sheets.readable, sheets.count - sheets.readable),
    )


def _old_properties(path: Path) -> Properties:
    """Those of a container of the old formats."""
    with contextlib.suppress(Exception), olefile.OleFileIO(path) as container:  # whatever damage provokes
        found = container.get_metadata()
        encoding = f"cp{found.codepage}" if found.codepage not in (None, 65001) else "utf-8"
        title, author = (clean((value or b"").decode(encoding, "replace")) for value in (found.title, found.author))
        created = found.create_time.date().isoformat() if found.create_time else ""
        return Properties(title, author, "", created)
    return Properties()


def _calamine(
    builder: TextBuilder, path: Path, source: BinaryIO | None = None, workbook: Workbook | None = None, what: str = WHAT
) -> _Sheets:
    """Add every sheet as the library reads it. It finds out by itself which format it is."""
    sheets = _Sheets(builder)
    source = source or io.BytesIO(read_all(path))
    source.seek(0)
    try:
        with calamine.CalamineWorkbook.from_filelike(source) as book:
            for name in book.sheet_names:
                asides = workbook.asides(name) if workbook else ()
                try:
                    sheet = book.get_sheet_by_name(name)
                except calamine.WorksheetNotFound:  # a chart or macro sheet
                    sheets.add(name, (), asides)
                    continue
                # It gives the empty rows above the first cell too, but not the empty columns before it.
                rows = ((number, map(_cell, row)) for number, row in enumerate(sheet.iter_rows(), 1))
                sheets.add(name, rows, asides)
    except calamine.PasswordError as error:
        raise encrypted(what) from error
    except calamine.CalamineError as error:
        raise corrupt(what, _broken_by(str(error))) from error
    return sheets


class _Repeats(XmlHandler):
    """Adds up what the repeated rows and cells of a spreadsheet amount to, before the library writes them out.

    Raises DocumentFault TOO_LARGE.
    """

    def __init__(self) -> None:
        self._rows = self._columns = 1
        self._chars = self._row_chars = self._all_chars = 0
        self._row_cells = self._cells = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "table-row":
            self._rows = _repeated(attributes.get("number-rows-repeated", ""))
            self._row_chars = self._row_cells = 0
        elif name == "table-cell":
            self._columns = _repeated(attributes.get("number-columns-repeated", ""))
            self._chars = 0

    def text(self, data: str) -> None:
        self._chars += len(data)

    def end(self, name: str) -> None:
        if name == "table-cell" and self._chars:
            self._row_chars += min(self._columns, _MAX_COLUMNS) * self._chars
            self._row_cells += min(self._columns, _MAX_COLUMNS)
            self._chars = 0
        elif name == "table-row":
            self._all_chars += min(self._rows, _MAX_ROWS) * self._row_chars
            self._cells += min(self._rows, _MAX_ROWS) * self._row_cells
            self._row_chars = self._row_cells = 0
            if self._all_chars > MAX_TEXT_CHARS or self._cells > MAX_CELLS:
                raise too_large("The repeated cells of this spreadsheet amount to more text than a document may hold.")


def _repeated(value: str) -> int:
    return whole_number(value[:MAX_DIGITS]) or 1  # more digits are as good as these


def _broken_by(complaint: str) -> str:
    """What the library complains of, for people."""
    words = complaint.lower()
    if "cfb" in words or "sector" in words:
        return "its parts cannot be found in it"
    if "end of stream" in words or "eof" in words or "not enough" in words:
        return "its sheets break off"
    if "utf" in words:
        return "its text is in no valid encoding"
    return "its sheets or their list are malformed"


class _Sheets:
    """Adds sheets to a text, in parts of some rows where they are long."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self.count = self.readable = 0

    def add(self, name: str, rows: Iterable[Row], asides: Iterable[str]) -> None:
        """Add a sheet, and what stands beside its cells. No passage leaves it."""
        part: list[tuple[int, str]] = []
        chars, parts, anchor = 0, 0, f"Sheet {name}"
        self._builder.begin(anchor=anchor, hard=True)
        for number, cells in rows:
            line = " | ".join(cells).rstrip(" |").strip()
            if not line:
                continue
            if chars >= ROWS_CHARS:
                self._rows(f"{anchor} · rows {part[0][0]}–{part[-1][0]}", part)
                part, chars, parts = [], 0, parts + 1
            part.append((number, line))
            chars += len(line)
        if part:
            self._rows(f"{anchor} · rows {part[0][0]}–{part[-1][0]}" if parts else anchor, part)
        beside = False
        for line in asides:
            if not beside:
                self._builder.begin(anchor=f"{anchor} · comments")
            self._builder.block(line, "\n" if beside else "\n\n")
            beside = True
        self.count += 1
        self.readable += bool(part) or beside

    def _rows(self, anchor: str, rows: list[tuple[int, str]]) -> None:
        self._builder.begin(anchor=anchor)
        for place, (_, line) in enumerate(rows):
            self._builder.block(line, "\n" if place else "\n\n", whole=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    return str(value).replace("\n", " ").strip()
