"""JSON documents, Jupyter notebooks and Parquet tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.documents.parsers.base import (
    MAX_TEXT_CHARS,
    TextBuilder,
    choose_title,
    corrupt,
    make_document,
    no_text,
    read_all,
    scalar_text,
    too_large,
    unsupported,
)
from studio.documents.parsers.encodings import decode
from studio.documents.parsers.html import html_text
from studio.documents.parsers.markdown import add_markdown
from studio.documents.parsers.package import MAX_RATIO
from studio.documents.parsers.tabular import row_document
from studio.domain import ParsedDocument
from studio.errors import DocumentFault

MAX_OUTPUT_CHARS = 20_000
MAX_OUTPUT_MARKUP = 400_000
_TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PARQUET_BATCH_ROWS = 256
_PARQUET_END = b"PAR1"

_SPACE = re.compile(r"\s*")


def _load(path: Path, what: str) -> Any:
    """The value of a JSON file; several values one after the other make a list."""
    source = decode(read_all(path)).removeprefix("\ufeff")
    try:
        return json.loads(source)
    except RecursionError as error:
        raise too_large(f"The content of this {what} file is nested too deeply to be read.") from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and (values := _values(source)):
            return values
        raise corrupt(what, f"line {error.lineno} is not valid JSON ({error.msg})") from error
    except ValueError as error:
        raise corrupt(what, "it holds a number with thousands of digits") from error


def _values(source: str) -> list[Any]:
    """JSON values one after the other, as programs log them; none if one of them is damaged."""
    decoder = json.JSONDecoder()
    values: list[Any] = []
    at = 0
    try:
        while at < len(source):
            value, at = decoder.raw_decode(source, at)
            values.append(value)
            at = _SPACE.match(source, at).end()  # type: ignore[union-attr]  # matches the empty text
    except (ValueError, RecursionError):
        return []
    return values


def parse_json(path: Path) -> Iterator[ParsedDocument]:
    """One document: every value on a line of its own, after its name."""
    value = _load(path, "JSON")
    builder = TextBuilder()
    for line in _lines(value):
        builder.line(line)
    text, spans = builder.build()
    about = value if isinstance(value, dict) else {}
    yield make_document(
        text,
        spans,
        "json",
        title=choose_title(_field(about, "title", "name"), "", path),
        author=_field(about, "author", "authors"),
        licence=_field(about, "license", "licence"),
        created=_field(about, "date", "created", "published"),
        metadata={name: scalar_text(about.get(name)) for name in ("tags", "keywords", "categories", "category")},
    )


def _field(about: Mapping[str, Any], *names: str) -> str:
    """The first of these values that is a text, or a list of texts."""
    for name in names:
        value = about.get(name)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return ", ".join(value)
        if isinstance(value, str) and value:
            return value
    return ""


def _lines(root: Any) -> Iterator[str]:
    """Values of nested JSON in their order, without recursion."""
    stack: list[tuple[str, Any]] = [("", root)]
    while stack:
        name, value = stack.pop()
        if isinstance(value, dict):
            if name and value:
                yield f"{name}:"
            stack.extend((str(key), value[key]) for key in reversed(value))
        elif isinstance(value, list):
            stack.extend((name, item) for item in reversed(value))
        elif value is not None and value != "":
            shown = value if isinstance(value, str) else json.dumps(value)
            yield f"{name}: {shown}" if name else shown


def parse_notebook(path: Path) -> Iterator[ParsedDocument]:
    """One document: Markdown cells with their headings, code cells with their text output."""
    notebook = _load(path, "Jupyter notebook")
    if not isinstance(notebook, dict):
        raise corrupt("Jupyter notebook", "it holds no list of cells")
    builder = TextBuilder()
    for cell in _cells(notebook):
        source = _joined(cell.get("source", cell.get("input", "")))
        if cell.get("cell_type") == "markdown":
            add_markdown(builder, source)
        elif cell.get("cell_type") == "heading":
            level = cell.get("level")
            builder.heading(level if isinstance(level, int) else 1, source)
        else:
            builder.block(source, whole=True)
            outputs = cell.get("outputs")
            for output in outputs if isinstance(outputs, list) else ():
                builder.block(_output(output)[:MAX_OUTPUT_CHARS])
    text, spans = builder.build()
    if not text:
        raise no_text("The notebook has no cells with text.")
    found = notebook.get("metadata")
    about = found if isinstance(found, dict) else {}
    yield make_document(
        text,
        spans,
        "ipynb",
        title=choose_title(_field(about, "title"), builder.first_heading, path),
        author=_field(about, "author", "authors") or _people(about.get("authors")),
        licence=_field(about, "license", "licence"),
        created=_field(about, "date"),
        metadata={**{str(name): scalar_text(value) for name, value in about.items()}, "language": _language(about)},
    )


def _language(about: Mapping[str, Any]) -> str:
    """The programming language of a notebook."""
    found = (about.get(part) for part in ("language_info", "kernelspec"))
    names = (part.get(name) for part in found if isinstance(part, dict) for name in ("name", "language"))
    return next((name for name in names if isinstance(name, str)), "")


def _people(value: Any) -> str:
    names = [item.get("name") for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return ", ".join(name for name in names if isinstance(name, str))


def _cells(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cells of a notebook of format 4, or of 3 where worksheets hold them."""
    sheets = notebook.get("worksheets")
    for holder in [notebook, *(sheets if isinstance(sheets, list) else ())]:
        cells = holder.get("cells") if isinstance(holder, dict) else None
        for cell in cells if isinstance(cells, list) else ():
            if isinstance(cell, dict):
                yield cell


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _output(output: Any) -> str:
    """What a cell has put out: text, a table or a page as it is shown, an error with what it says."""
    if not isinstance(output, dict):
        return ""
    if output.get("output_type") in ("error", "pyerr"):
        return f"{_joined(output.get('ename'))}: {_joined(output.get('evalue'))}".strip(": ")
    data = output.get("data")
    data = data if isinstance(data, dict) else output
    plain = _joined(output.get("text")) or _joined(data.get("text/plain"))
    marked = _joined(data.get("text/html")) or _joined(data.get("text/markdown"))
    if plain and not (marked and plain.startswith("<") and plain.endswith(">")):  # the name of what is shown
        return _TERMINAL.sub("", plain)
    return html_text(marked[:MAX_OUTPUT_MARKUP]) if "<" in marked else marked


def _broken_by(path: Path, rows: int) -> str:
    """Why a table cannot be read, or not beyond some rows."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - len(_PARQUET_END)))
        if stream.read() != _PARQUET_END:
            return "it breaks off before its end, where its contents are listed"
    return (
        f"what follows row {rows:,} is unreadable"
        if rows
        else "the list of its contents or its first rows are unreadable"
    )


def _rows(batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch by column name, which read as text what is no date of Python's."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except (ValueError, OverflowError):
        columns = map(_column_values, batch.columns)
        return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]
    return rows


def _column_values(column: Any) -> list[Any]:
    """Times before the year 1, after 9999, or finer than a microsecond are text, or missing where Arrow writes none."""
    import pyarrow

    if not pyarrow.types.is_temporal(column.type):
        return list(column.to_pylist())
    texts = column.cast(pyarrow.string()).to_pylist()
    return [None if text is None or text.startswith("<") else text for text in texts]


def parse_parquet(path: Path) -> Iterator[ParsedDocument]:
    """One document a row (the only importer of pyarrow in this room)."""
    import pyarrow  # here, because it is large and few files need it
    import pyarrow.parquet

    found = False
    row = chars = 0
    most = max(MAX_TEXT_CHARS, MAX_RATIO * path.stat().st_size)
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=PARQUET_BATCH_ROWS, use_threads=False):
                for values in _rows(batch):
                    parsed = row_document(values, "parquet", row, path)
                    row += 1
                    if parsed is not None:
                        found = True
                        chars += len(parsed.text)
                        if chars > most:
                            raise too_large("This table unpacks to far more than it should; it looks like a trap.")
                        yield parsed
    except (FileNotFoundError, PermissionError, MemoryError, DocumentFault):
        raise
    except pyarrow.ArrowNotImplementedError as error:
        raise unsupported("This Parquet file uses a compression or column type that cannot be read.") from error
    except (pyarrow.ArrowException, OSError, ValueError, LookupError, OverflowError) as error:
        raise corrupt("Parquet", _broken_by(path, row)) from error
    if not found:
        raise no_text("The table holds no text.")
