"""JSON documents, Jupyter notebooks and Parquet tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.documents.parsers.base import TextBuilder, choose_title, corrupt, make_document, no_text, read_all
from studio.documents.parsers.encodings import decode
from studio.documents.parsers.markdown import add_markdown
from studio.documents.parsers.tabular import row_document
from studio.domain import ParsedDocument

MAX_OUTPUT_CHARS = 20_000
PARQUET_BATCH_ROWS = 256


def _load(path: Path, what: str) -> Any:
    try:
        return json.loads(decode(read_all(path)).removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise corrupt(what, f"line {error.lineno} is not valid JSON ({error.msg})") from error


def parse_json(path: Path) -> Iterator[ParsedDocument]:
    """One document: every value on a line of its own, after its name."""
    value = _load(path, "JSON")
    builder = TextBuilder()
    for line in _lines(value):
        builder.line(line)
    text, spans = builder.build()
    title = value.get("title") if isinstance(value, dict) else None
    yield make_document(text, spans, "json", title=choose_title(title if isinstance(title, str) else "", "", path))


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
        raise corrupt("Jupyter notebook")
    builder = TextBuilder()
    for cell in _cells(notebook):
        source = _joined(cell.get("source", cell.get("input", "")))
        if cell.get("cell_type") == "markdown":
            add_markdown(builder, source)
        elif cell.get("cell_type") == "heading":
            builder.heading(int(cell.get("level", 1)), source)
        else:
            builder.block(source)
            for output in cell.get("outputs") or ():
                builder.block(_output(output)[:MAX_OUTPUT_CHARS])
    text, spans = builder.build()
    if not text:
        raise no_text("The notebook has no cells with text.")
    metadata = notebook.get("metadata")
    title = metadata.get("title") if isinstance(metadata, dict) else None
    yield make_document(
        text, spans, "ipynb", title=choose_title(title if isinstance(title, str) else "", builder.first_heading, path)
    )


def _cells(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cells of a notebook of format 4, or of 3 where worksheets hold them."""
    holders = [notebook, *(notebook.get("worksheets") or ())]
    for holder in holders:
        for cell in holder.get("cells") or () if isinstance(holder, dict) else ():
            if isinstance(cell, dict):
                yield cell


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _output(output: Any) -> str:
    if not isinstance(output, dict):
        return ""
    data = output.get("data")
    return _joined(output.get("text")) or (_joined(data.get("text/plain")) if isinstance(data, dict) else "")


def parse_parquet(path: Path) -> Iterator[ParsedDocument]:
    """One document a row (the only importer of pyarrow in this room)."""
    import pyarrow  # here, because it is large and few files need it
    import pyarrow.parquet

    found = False
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=PARQUET_BATCH_ROWS, use_threads=False):
                for values in batch.to_pylist():
                    parsed = row_document(values, "parquet", row, path)
                    row += 1
                    if parsed is not None:
                        found = True
                        yield parsed
    except pyarrow.ArrowInvalid as error:
        raise corrupt("Parquet") from error
    if not found:
        raise no_text("The table holds no text.")
