"""Spreadsheets: .xlsx, .xlsb, .xls, .ods (the only importer of python_calamine)."""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Iterator
from pathlib import Path

import python_calamine as calamine

from studio.documents.parsers.base import (
    TextBuilder,
    choose_title,
    corrupt,
    encrypted,
    make_document,
    no_text,
    read_all,
    too_large,
)
from studio.documents.parsers.package import Package, open_package
from studio.documents.parsers.word import core_properties
from studio.domain import ParsedDocument

MAX_CELLS = 8_000_000
"""The library allocates the whole rectangle that a sheet's cells span; beyond this it dies of it."""

_CELL = re.compile(rb'<(?:\w+:)?c\s[^>]*?\br="([A-Z]{1,3})(\d{1,7})"')


def parse_zipped(path: Path, kind: str) -> Iterator[ParsedDocument]:
    """A spreadsheet that is a ZIP archive, checked before the library unpacks it."""
    with open_package(path, "Excel" if kind == "xlsx" else "OpenDocument") as package:
        package.check()
        if kind == "xlsx":
            _refuse_sparse(package)
            properties = core_properties(package)
        else:
            properties = {}
    yield _read(path, kind, properties)


def parse_xlsx(path: Path) -> Iterator[ParsedDocument]:
    """An Excel workbook: one line a row, one span a sheet."""
    yield from parse_zipped(path, "xlsx")


def parse_ods(path: Path) -> Iterator[ParsedDocument]:
    """An OpenDocument spreadsheet."""
    yield from parse_zipped(path, "ods")


def parse_xls(path: Path) -> Iterator[ParsedDocument]:
    """An old Excel workbook."""
    yield _read(path, "xls", {})


def _refuse_sparse(package: Package) -> None:
    for name in package.names:
        if name.startswith("xl/worksheets/") and name.endswith(".xml"):
            data = package.read(name)
            if b"<!DOCTYPE" in data[:4096] or b"<!ENTITY" in data[:4096]:
                raise corrupt("Excel", "it declares XML entities, which documents do not need and attacks do")
            rows: list[int] = []
            columns: list[int] = []
            for match in _CELL.finditer(data):
                columns.append(_column(match.group(1)))
                rows.append(int(match.group(2)))
            if rows and (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1) > MAX_CELLS:
                raise too_large("A sheet of this Excel file is too large, or its cells lie extremely far apart.")


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _read(path: Path, kind: str, properties: dict[str, str]) -> ParsedDocument:
    what = "OpenDocument" if kind == "ods" else "Excel"
    builder = TextBuilder()
    try:
        with calamine.CalamineWorkbook.from_filelike(io.BytesIO(read_all(path))) as book:
            for name in book.sheet_names:
                builder.begin(anchor=f"Sheet {name}")
                _add_sheet(builder, name, book)
    except calamine.PasswordError as error:
        raise encrypted(what) from error
    except calamine.CalamineError as error:
        raise corrupt(what) from error
    text, spans = builder.build()
    if not text:
        raise no_text(f"The sheets of this {what} file are empty.")
    return make_document(
        text,
        spans,
        kind,
        title=choose_title(properties.get("title"), "", path),
        author=properties.get("creator", ""),
        created=properties.get("created", "")[:10],
    )


def _add_sheet(builder: TextBuilder, name: str, book: calamine.CalamineWorkbook) -> None:
    try:
        sheet = book.get_sheet_by_name(name)
    except calamine.WorksheetNotFound:
        return  # a chart or macro sheet
    gap = "\n\n"
    for row in sheet.iter_rows():
        line = " | ".join(_cell(value) for value in row).rstrip(" |")
        if line:
            builder.block(line, gap)
            gap = "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    return str(value).replace("\n", " ").strip()
