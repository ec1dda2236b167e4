"""Tabular files: one document a row. JSON Lines, CSV and TSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio.documents.parsers.base import (
    MAX_METADATA_CHARS,
    clean,
    corrupt,
    make_document,
    no_text,
    one_line,
    scalar_text,
    too_large,
)
from studio.documents.parsers.encodings import SAMPLE_BYTES, STRAY_BYTES, guess_encoding
from studio.domain import ParsedDocument, Span
from studio.errors import DocumentFault, FailureCode

MAX_LINE_CHARS = 16 << 20
"""Longest line or cell; a file without line ends is no table."""
SHORT_CHARS = 40
"""A single cell of this length is the text of its row, if no other holds prose; else the row is told as `name: value`
lines, so that a question is found beside its answer."""
MAX_ID_CHARS = 200

_TEXT_NAMES = ("text", "content")
_ID_NAMES = ("_id", "id")
_ABOUT = ("author", "license", "licence", "date", "created")
_QUOTED = re.compile(r'(?:^|\t)"(?:[^"\n]|"")*"(?=\t|\r?$)', re.MULTILINE)


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """A text file in any encoding, to be read line by line."""
    with path.open("rb") as raw:
        sample = raw.read(SAMPLE_BYTES)
        raw.seek(0)
        encoding = guess_encoding(sample, complete=len(sample) < SAMPLE_BYTES)
        with io.TextIOWrapper(raw, encoding=encoding, errors=STRAY_BYTES, newline="") as stream:
            yield stream


def _lines(stream: io.TextIOWrapper) -> Iterator[str]:
    while line := stream.readline(MAX_LINE_CHARS):
        if len(line) == MAX_LINE_CHARS and not line.endswith("\n"):
            raise too_large(f"The file has a line of more than {MAX_LINE_CHARS >> 20} million characters.")
        yield line.replace("\0", "")


def row_document(values: Mapping[str, Any], kind: str, row: int, path: Path) -> ParsedDocument | None:
    """The document a row holds, or None if it holds no text. `row` counts from 0."""
    fields = {str(name).strip(): _as_text(value) for name, value in values.items() if not _is_missing(value)}
    by_name = {name.lower(): name for name in reversed(fields)}
    title_name = by_name.get("title")
    id_name = next((by_name[name] for name in _ID_NAMES if name in by_name), None)
    title = one_line(fields.get(title_name, "")) if title_name else ""
    external_id = one_line(fields[id_name]) if id_name else ""
    rest = {name: text for name, text in fields.items() if name not in (title_name, id_name) and text.strip()}
    text_name = next((by_name[name] for name in _TEXT_NAMES if by_name.get(name) in rest), None)
    if text_name is None and not any(name.strip().lower() in _TEXT_NAMES for name in map(str, values)):
        told = [name for name in rest if isinstance(values.get(name), str) and _is_prose(rest[name])]
        if len(rest) == 1 and all(isinstance(values.get(name), str) for name in rest):
            text_name = next(iter(rest))
        elif len(told) == 1 and len(rest[told[0]]) >= SHORT_CHARS:
            text_name = told[0]
        body = rest[text_name] if text_name else "\n".join(f"{name}: {text}" for name, text in rest.items())
    else:
        body = rest[text_name] if text_name else ""  # a named text column that is empty means what it says
    text = clean(f"{title}\n\n{body.strip()}" if title else body.strip()).strip()
    if not text:
        return None
    short = {
        name: shown
        for key, value in values.items()
        if (name := str(key).strip()) in rest
        and name != text_name
        and 0 < len(shown := scalar_text(value)) <= MAX_METADATA_CHARS
    }
    about = {name: one_line(fields.get(by_name.get(name, ""), "")[:300]) for name in _ABOUT}
    return make_document(
        text,
        (Span(0, len(text), None, f"Row {row + 1}"),),
        kind,
        title=title[:300] or f"{one_line(path.stem)}, row {row + 1}",
        author=about["author"],
        licence=about["license"] or about["licence"],
        created=about["date"] or about["created"],
        external_id=external_id[:MAX_ID_CHARS],
        row=row,
        metadata=short,
    )


def _is_missing(value: Any) -> bool:
    return value is None or isinstance(value, (bytes, bytearray)) or (isinstance(value, float) and value != value)


def _is_prose(value: str) -> bool:
    """Whether a cell is something to read and no code, name or address."""
    return len(value) >= SHORT_CHARS or value.count(" ") >= 2


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (dict, list)):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=lambda inner: "" if isinstance(inner, bytes) else str(inner))


def parse_jsonl(path: Path) -> Iterator[ParsedDocument]:
    """One document a line. Sound lines are yielded; damaged ones are reported at the end."""
    bad = first_bad = rows = found = 0
    with open_text(path) as stream:
        for number, line in enumerate(_lines(stream), 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, str):
                value = {"text": value}
            if not isinstance(value, dict):
                bad += 1
                first_bad = first_bad or number
                if not found and bad >= 100:
                    break
                continue
            parsed = row_document(value, "jsonl", rows, path)
            rows += 1
            if parsed is not None:
                found += 1
                yield parsed
    _report(bad, first_bad, rows, found)


def _report(bad: int, first_bad: int, rows: int, found: int) -> None:
    if bad:
        count = "1 line is" if bad == 1 else f"{bad:,} lines are"
        read = f"; the other {rows:,} were read" if rows else ""
        raise DocumentFault(
            FailureCode.CORRUPT,
            f"{count} not valid JSON (first: line {first_bad}){read}.",
            way_out="A .jsonl file holds one JSON object a line. Mend the line and add the file again.",
        )
    if not found:
        raise no_text("The table holds no text.")


def parse_csv(path: Path) -> Iterator[ParsedDocument]:
    """One document a row; the first row names the columns if it looks like names."""
    yield from _parse_delimited(path, "csv")


def parse_tsv(path: Path) -> Iterator[ParsedDocument]:
    """Like `parse_csv`, with tabs."""
    yield from _parse_delimited(path, "tsv")


def _parse_delimited(path: Path, kind: str) -> Iterator[ParsedDocument]:
    csv.field_size_limit(MAX_LINE_CHARS)
    found = rows = 0
    with open_text(path) as stream:
        head = stream.read(SAMPLE_BYTES)
        stream.seek(0)
        delimiter = "\t" if kind == "tsv" else _delimiter(head.split("\n", 1)[0])
        # Most programs write tabs between bare cells, in which a lone quotation mark is one.
        bare = kind == "tsv" and not _QUOTED.search(head)
        reader = csv.reader(_lines(stream), delimiter=delimiter, quoting=csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL)
        names: list[str] | None = None
        try:
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if names is None:
                    names = _column_names(cells)
                    if names is not None:
                        continue
                    names = []
                parsed = row_document(_record(names, cells), kind, rows, path)
                rows += 1
                if parsed is not None:
                    found += 1
                    yield parsed
        except csv.Error as error:
            raise corrupt("table", f"row {rows + 1} cannot be read ({error})") from error
    if not found:
        raise no_text("The table holds no rows with text.")


def _record(names: list[str], cells: list[str]) -> dict[str, str]:
    """Cells by column; surplus cells get numbers, a quarter of real tables have ragged rows."""
    record: dict[str, str] = {}
    for i, cell in enumerate(cells):
        name = names[i] if i < len(names) and names[i] else f"column {i + 1}"
        record[name if name not in record else f"{name} {i + 1}"] = cell
    return record


def _delimiter(head: str) -> str:
    counts = {mark: head.count(mark) for mark in ",;\t|"}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else ","


def _column_names(cells: list[str]) -> list[str] | None:
    """The cells as column names, or None when the first row is already data."""
    names = [one_line(cell) for cell in cells]
    known = {name.lower() for name in names} & {*_TEXT_NAMES, *_ID_NAMES, "title"}
    filled = [name for name in names if name]
    looks_like_names = (
        len(set(filled)) == len(filled)
        and all(len(name) <= 64 and any(c.isalpha() for c in name) for name in filled)
        and len(filled) >= max(1, len(names) - 1)
    )
    return names if known or looks_like_names else None
