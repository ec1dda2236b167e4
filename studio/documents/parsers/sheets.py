"""Spreadsheets: .xlsx, .xlsb, .xls, .ods (the only importer of python_calamine)."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import olefile
import python_calamine as calamine

from studio.documents.parsers.base import (
    MAX_TEXT_CHARS,
    TextBuilder,
    choose_title,
    corrupt,
    encrypted,
    make_document,
    no_text,
    read_all,
    too_large,
)
from studio.documents.parsers.biff import OldWorkbook, Unreadable
from studio.documents.parsers.odf import refuse_encrypted
from studio.documents.parsers.office_crypto import decrypted, is_protected
from studio.documents.parsers.ole import has_loop
from studio.documents.parsers.package import MAX_DIGITS, Package, XmlHandler, open_package, whole_number
from studio.documents.parsers.properties import Properties, odf_properties, office_properties, old_properties
from studio.documents.parsers.workbook import Row, Workbook
from studio.domain import PageCounts, ParsedDocument, ParseProgress, ParserEvent, PartFailure
from studio.errors import DocumentFault, FailureCode

WHAT = "Excel"

MAX_CELLS = 8_000_000
"""The library allocates the whole rectangle that a sheet's cells span; beyond this it dies of it."""
_MAX_ROWS, _MAX_COLUMNS = 1 << 20, 1 << 14
"""Of a sheet; the library writes out no more."""
PART_CHARS = 16_000_000
"""A longer workbook becomes several documents."""
MAX_PARTS = 8
MAX_NAME_CHARS = 40
PARTS_PER_SIGN = 500
NAMED = 5
ROWS_CHARS = 900
"""Rows that share a location: about a passage of text."""


def parse_xlsx(path: Path, source: BinaryIO | None = None) -> Iterator[ParserEvent]:
    """An Excel workbook: a line a row, spans of some rows, what stands beside the cells after the rows of their sheet.

    A workbook too long for one document becomes several; a damaged sheet is named, the rest is read. `source` holds
    the plain file where the one at `path` is protected.
    """
    with open_package(path, WHAT, source) as package:
        package.check()
        sheets = _Sheets("xlsx", path, office_properties(package))
        binary = any(name.casefold().endswith("workbook.bin") for name in package.names)
        try:
            workbook = Workbook(package)
            lost = None if workbook.sheets or binary else corrupt(WHAT, "the list of its sheets is missing")
        except DocumentFault as fault:
            lost = fault
        if lost is not None:
            yield from _second(sheets, path, source, lost)
            yield sheets.last()
            return
        if binary:
            yield from _binary(sheets, path, source, package, workbook)
        for sheet in workbook.sheets:
            if sheet.hidden:
                sheets.hide(sheet.name)
                continue
            try:
                yield from sheets.add(sheet.name, workbook.rows(sheet))
                sheets.beside(sheet.name, workbook.asides(sheet))
            except DocumentFault as fault:
                if fault.code is not FailureCode.CORRUPT:
                    raise
                sheets.faults.append(fault)
                yield PartFailure(f"Sheet {sheet.name}", fault.code.value, fault.full_message)
            if sheets.is_full:
                reason = f"The rows after those of part {MAX_PARTS} were left out; split the file to have them indexed."
                yield PartFailure("…", FailureCode.TOO_LARGE.value, reason)
                return
    yield sheets.last()


def _second(sheets: _Sheets, path: Path, source: BinaryIO | None, fault: DocumentFault) -> Iterator[ParserEvent]:
    """What the library makes of a workbook whose list of sheets is damaged. Raises `fault` where it gives up too."""
    if fault.code is not FailureCode.CORRUPT:
        raise fault
    try:
        yield from _calamine(sheets, path, source)
    except DocumentFault:
        raise fault from None


def _binary(
    sheets: _Sheets, path: Path, source: BinaryIO | None, package: Package, workbook: Workbook
) -> Iterator[ParserEvent]:
    """A workbook in the binary form (.xlsb); what is drawn on its sheets is XML as in the others."""
    yield from _calamine(sheets, path, source)
    for part in package.names:
        if part.startswith("xl/worksheets/") and part.endswith(".bin"):
            sheets.beside("", workbook.beside(part))


def parse_ods(path: Path) -> Iterator[ParserEvent]:
    """An OpenDocument spreadsheet."""
    with open_package(path, "OpenDocument") as package:
        package.check()
        refuse_encrypted(package)
        properties = odf_properties(package)
        package.parse("content.xml", _Repeats())
    sheets = _Sheets("ods", path, properties)
    yield from _calamine(sheets, path, what="OpenDocument")
    yield sheets.last()


def parse_xls(path: Path) -> Iterator[ParserEvent]:
    """An old Excel workbook."""
    if has_loop(read_all(path)):  # the library would take all memory there is
        raise corrupt(WHAT, "the table of its sectors leads in circles")
    properties = old_properties(path)
    sheets = _Sheets("xls", path, properties)
    try:
        yield from _own(sheets, _stream(path))
    except Unreadable:
        sheets = _Sheets("xls", path, properties)
        try:
            yield from _calamine(sheets, path)
        except DocumentFault:
            if not is_protected(path):  # the library says of these only that it does not know the format
                raise
            yield from _calamine(sheets, path, decrypted(path, WHAT))
    yield sheets.last()


def _stream(path: Path) -> bytes:
    """The workbook in a container. Raises Unreadable."""
    try:
        with olefile.OleFileIO(path) as container:
            name = next(name for name in ("Workbook", "Book") if container.exists(name))
            return bytes(container.openstream(name).read())
    except Exception as error:  # whatever damage provokes
        raise Unreadable from error


def _own(sheets: _Sheets, stream: bytes) -> Iterator[ParserEvent]:
    """Add every sheet that is shown. Raises Unreadable, before anything was given out."""
    book = OldWorkbook(stream)
    read = [(sheet.name, *book.read(sheet)) for sheet in book.sheets if not sheet.hidden]
    for sheet in book.sheets:
        if sheet.hidden:
            sheets.hide(sheet.name)
    for name, rows, asides in read:
        yield from sheets.add(name, rows)
        sheets.beside(name, asides)
        if sheets.is_full:
            return


def _calamine(sheets: _Sheets, path: Path, source: BinaryIO | None = None, what: str = WHAT) -> Iterator[ParserEvent]:
    """Add every sheet as the library reads it. It finds out by itself which format it is."""
    source = source or io.BytesIO(read_all(path))
    source.seek(0)
    try:
        with calamine.CalamineWorkbook.from_filelike(source) as book:
            for known in book.sheets_metadata:
                if known.visible != calamine.SheetVisibleEnum.Visible:
                    sheets.hide(known.name)
                    continue
                try:
                    sheet = book.get_sheet_by_name(known.name)
                except calamine.WorksheetNotFound:  # a chart or macro sheet
                    yield from sheets.add(known.name, ())
                    continue
                # It gives the empty rows above the first cell too, but not the empty columns before it.
                rows = ((number, [*map(_cell, row)]) for number, row in enumerate(sheet.iter_rows(), 1))
                yield from sheets.add(known.name, rows)
    except calamine.PasswordError as error:
        raise encrypted(what) from error
    except calamine.CalamineError as error:
        raise corrupt(what, _broken_by(str(error))) from error


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


def _are_names(cells: Sequence[str]) -> bool:
    """Whether the first row of a sheet names its columns: short texts, all different, no numbers."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return (
        len(filled) > 1
        and len(set(filled)) == len(filled)
        and len(filled) >= len(cells) - 1
        and all(len(cell) <= MAX_NAME_CHARS and any(map(str.isalpha, cell)) for cell in filled)
        and sum(map(len, filled)) <= ROWS_CHARS // 3
    )


class _Sheets:
    """Makes documents of sheets, in spans of some rows where they are long."""

    def __init__(self, kind: str, path: Path, properties: Properties) -> None:
        self._kind, self._path, self._properties = kind, path, properties
        self._builder = TextBuilder()
        self._chars = self._parts = 0
        self._hidden: list[str] = []
        self._count = self._readable = 0
        self.faults: list[DocumentFault] = []

    def hide(self, name: str) -> None:
        """Leave out a sheet that whoever opens the file does not see; its name is kept."""
        self._hidden.append(name)

    def add(self, name: str, rows: Iterable[Row]) -> Iterator[ParserEvent]:
        """Add the cells of a sheet, and give out what is enough for a document. No passage leaves the sheet."""
        part: list[tuple[int, str]] = []
        chars, parts, anchor = 0, 0, f"Sheet {name}"
        names: str | None = None
        self._builder.begin(anchor=anchor, hard=True)
        self._count += 1
        for number, cells in rows:
            line = " | ".join(cells).rstrip(" |").strip()
            if not line:
                continue
            if names is None:
                names = line if _are_names(cells) else ""
            if chars >= ROWS_CHARS:
                self._rows(f"{anchor} · rows {part[0][0]}–{part[-1][0]}", part, names if parts else "")
                part, chars, parts = [], 0, parts + 1
                if self._chars >= PART_CHARS and self._parts < MAX_PARTS:
                    yield self._document(part=self._parts + 1)
                    if self.is_full:
                        return
                    self._builder.begin(anchor=anchor, hard=True)
                elif not parts % PARTS_PER_SIGN:
                    yield ParseProgress(self._count, self._count)
            part.append((number, line))
            chars += len(line)
        if part:
            self._rows(
                f"{anchor} · rows {part[0][0]}–{part[-1][0]}" if parts else anchor, part, names or "" if parts else ""
            )
        self._readable += bool(part)

    @property
    def is_full(self) -> bool:
        """Whether there are as many documents as one file may have."""
        return self._parts >= MAX_PARTS

    def beside(self, name: str, asides: Iterable[str]) -> None:
        """Add what stands beside the cells of the sheet that was added last."""
        begun = False
        for line in asides:
            if not begun:
                self._builder.begin(anchor=f"Sheet {name} · comments" if name else "Comments", hard=not name)
            self._builder.block(line, "\n" if begun else "\n\n")
            begun = True

    def _rows(self, anchor: str, rows: list[tuple[int, str]], names: str) -> None:
        """Add rows that share a location, below the `names` of their columns where those stand further up."""
        self._builder.begin(anchor=anchor)
        lines = [*([names] if names else []), *(line for _, line in rows)]
        for place, line in enumerate(lines):
            self._chars += len(line)
            self._builder.block(line, "\n" if place else "\n\n", whole=True)

    def last(self) -> ParsedDocument:
        """The document of what was added last. Raises DocumentFault NO_TEXT if there was nothing at all."""
        return self._document(part=self._parts + 1 if self._parts else 0)

    def _document(self, part: int) -> ParsedDocument:
        text, spans = self._builder.build()
        if not text and not self._parts:
            raise self._nothing()
        self._builder, self._chars, self._parts = TextBuilder(), 0, part
        failed = len(self.faults)
        about, title = self._properties, choose_title(self._properties.title, "", self._path)
        return make_document(
            text,
            spans,
            self._kind,
            title=f"{title} (part {part})" if part else title,
            author=about.author,
            licence=about.licence,
            created=about.created,
            external_id=f"part {part}" if part else "",
            row=max(0, part - 1),
            metadata={**about.metadata, "hidden sheets": ", ".join(self._hidden)},
            pages=PageCounts(self._count, self._readable, self._count - self._readable - failed, failed),
        )

    def _nothing(self) -> DocumentFault:
        if self.faults:
            return self.faults[0]
        if self._hidden:
            return no_text(
                "The sheets of this file that are shown are empty; "
                f"hidden ones are left out ({', '.join(self._hidden[:NAMED])}).",
                "Show them in the program it was made with, if they should be found.",
            )
        return no_text("The sheets of this file are empty.")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    return str(value).replace("\n", " ").strip()
