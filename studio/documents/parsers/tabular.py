"""Tabular files: one document a row. JSON Lines, CSV and TSV."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
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
MAX_ID_CHARS = 200

MAX_RECORD_CHARS = 4 << 20
"""Longest row; a quotation mark that is closed only beyond that was never meant to be open."""
_ROWS_LOOKED_AT = 50
_MOST_ABOVE = 20

_TEXT_NAMES = ("text", "content")
_ID_NAMES = ("_id", "id")
_ABOUT = ("author", "license", "licence", "date", "created")
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?[^\n\w]*\n', re.IGNORECASE)
"""How programs tell Excel which mark is between the cells."""
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


def row_document(values: Mapping[str, Any], kind: str, row: int, path: Path, place: str = "") -> ParsedDocument | None:
    """The document a row holds, or None if it holds no text. `row` counts from 0; `place` is what it is called.

    Every cell is part of the text, as `name: value` lines behind the title and what the row has to be read; a row that
    is nothing else is that alone. The id is told like the rest, but for that of a collection to be judged (`_id`).
    """
    fields = {str(name).strip(): _as_text(value) for name, value in values.items() if not _is_missing(value)}
    fields = {name: text for name, text in fields.items() if text.strip()}
    by_name = {name.lower(): name for name in reversed(fields)}
    title_name = by_name.get("title")
    id_name = next((by_name[name] for name in _ID_NAMES if name in by_name), None)
    title = one_line(fields.get(title_name, "")) if title_name else ""
    external_id = one_line(fields[id_name]) if id_name else ""
    rest = {name: text for name, text in fields.items() if name != title_name}
    text_name = next((by_name[name] for name in _TEXT_NAMES if by_name.get(name) in rest), None)
    told = {name: text for name, text in rest.items() if name not in (text_name, id_name)}
    if text_name is None and len(told) == 1 and all(isinstance(values.get(name), str) for name in told):
        text_name = next(iter(told))
        told = {}
    if id_name is not None and id_name != "_id":
        told = {name: text for name, text in rest.items() if name in told or name == id_name}
    if not (title or told or text_name):
        return None  # an id and no more
    lines = [f"{name}: {text.strip()}" for name, text in told.items()]
    body = "\n\n".join(filter(None, (fields[text_name].strip() if text_name else "", "\n".join(lines))))
    text = clean(f"{title}\n\n{body}" if title else body).strip()
    if not text:
        return None
    short = {
        name: shown
        for key, value in values.items()
        if (name := str(key).strip()) in rest
        and name not in (text_name, "_id")
        and 0 < len(shown := scalar_text(value)) <= MAX_METADATA_CHARS
    }
    about = {name: one_line(fields.get(by_name.get(name, ""), "")[:300]) for name in _ABOUT}
    return make_document(
        text,
        (Span(0, len(text), None, place or f"Row {row + 1}"),),
        kind,
        title=title[:300] or f"{one_line(path.stem)}, {place[:1].lower() + place[1:] if place else f'row {row + 1}'}",
        author=about["author"],
        licence=about["license"] or about["licence"],
        created=about["date"] or about["created"],
        external_id=external_id[:MAX_ID_CHARS],
        row=row,
        metadata=short,
    )


def _is_missing(value: Any) -> bool:
    return value is None or isinstance(value, (bytes, bytearray)) or (isinstance(value, float) and value != value)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (dict, list)):
        return str(value)
    if not value:
        return ""
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
        said = _SEPARATOR_LINE.match(head)
        if said:
            stream.readline()
            head = head[said.end() :]
        delimiter = said[1] if said else "\t" if kind == "tsv" else _delimiter(head)
        # Most programs write tabs between bare cells, in which a lone quotation mark is one.
        bare = kind == "tsv" and not _QUOTED.search(head)
        above, width = _above(head, delimiter, bare=bare)
        lines = _lines(stream)
        records = (csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE) if bare
                   else Records(lines, delimiter, width))  # fmt: skip
        if above:
            told = ["\n".join(filter(None, map(one_line, cells))) for cells in itertools.islice(records, above)]
            parsed = row_document({"text": "\n".join(filter(None, told))}, kind, 0, path, "Above the table")
            if parsed is not None:
                found += 1
                yield parsed
        names: list[str] | None = None
        try:
            for cells in records:
                if not any(cell.strip() for cell in cells):
                    continue
                if names is None:
                    names = _column_names(cells)
                    if names is not None:
                        continue
                    names = []
                number = rows + (1 if above else 0)
                parsed = row_document(_record(names, cells), kind, number, path, f"Row {rows + 1}")
                rows += 1
                if parsed is not None:
                    found += 1
                    yield parsed
        except csv.Error as error:
            raise corrupt("table", f"row {rows + 1} cannot be read ({error})") from error
    if not found:
        raise no_text("The table holds no rows with text.")


class Records:
    """The rows of a table with quoted cells. A quotation mark that is opened and never closed costs its own row.

    `width` is how many cells rows have, 0 where that is not known.
    """

    def __init__(self, lines: Iterator[str], delimiter: str, width: int) -> None:
        self._lines, self._delimiter, self._width = lines, delimiter, width
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._chars = 0
        self._reader = self._new_reader()

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        self._taken, self._chars = [], 0
        try:
            cells = next(self._reader)
        except _NeverClosedError:
            return self._line_by_line()
        if len(self._taken) == 1:
            return cells
        fault = self._fault()
        torn = bool(fault) or len(cells) != self._width != 0
        return self._line_by_line() if "unexpected end" in fault or (torn and self._is_a_row()) else cells

    def _new_reader(self) -> Iterator[list[str]]:
        return csv.reader(self._next_lines(), delimiter=self._delimiter)

    def _next_lines(self) -> Iterator[str]:
        while True:
            line = self._again.popleft() if self._again else next(self._lines, None)
            if line is None:
                return
            self._taken.append(line)
            self._chars += len(line)
            if self._chars > MAX_RECORD_CHARS and len(self._taken) > 1:
                raise _NeverClosedError
            yield line

    def _fault(self) -> str:
        """What is wrong with the quotation marks of the lines of a row: one stays open, or is closed within a cell."""
        try:
            list(csv.reader(self._taken, delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            return str(error)
        return ""

    def _is_a_row(self) -> bool:
        """Whether the first line alone has as many cells as rows have."""
        return len(self._bare()) == self._width

    def _bare(self) -> list[str]:
        return next(csv.reader(self._taken[:1], delimiter=self._delimiter, quoting=csv.QUOTE_NONE), [])

    def _line_by_line(self) -> list[str]:
        """The first line by itself, its quotation marks as they are; what follows is read anew."""
        cells = [cell.replace('"', "") for cell in self._bare()]
        self._again.extendleft(reversed(self._taken[1:]))
        self._reader = self._new_reader()
        return cells


class _NeverClosedError(Exception):
    """A quoted cell goes on for longer than any does."""


def _rows_of(head: str, delimiter: str, *, bare: bool = False) -> list[list[str]]:
    """The first rows of a table, without the one that the sample may cut."""
    lines = head.splitlines(keepends=True)[:_ROWS_LOOKED_AT]
    if len(lines) > 1 and not lines[-1].endswith(("\n", "\r")):
        lines.pop()
    if bare:
        return list(csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE))
    return list(Records(iter(lines), delimiter, 0))


def _filled(cells: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in cells)


def _above(head: str, delimiter: str, *, bare: bool) -> tuple[int, int]:
    """(lines above the names of the columns, cells of a row): titles and dates that reports begin with."""
    rows = _rows_of(head.replace("\0", ""), delimiter, bare=bare)
    counts = Counter(len(cells) for cells in rows if _filled(cells) > 1)
    width = max(counts, key=lambda count: (counts[count], count)) if counts else 0
    if width < 2:
        return 0, width
    for at, cells in enumerate(rows[:_MOST_ABOVE]):
        if len(cells) >= width and _filled(cells) > max(1, width // 2):
            above = rows[:at]
            return (at if any(map(_filled, above)) and all(_filled(row) <= width // 2 for row in above) else 0), width
    return 0, width


def _record(names: list[str], cells: list[str]) -> dict[str, str]:
    """Cells by column; surplus cells get numbers, a quarter of real tables have ragged rows."""
    record: dict[str, str] = {}
    for i, cell in enumerate(cells):
        name = names[i] if i < len(names) and names[i] else f"column {i + 1}"
        record[name if name not in record else f"{name} {i + 1}"] = cell
    return record


def _delimiter(head: str) -> str:
    """The mark that cuts the most of the first rows into the same number of cells, some of them quoted."""

    def regular(mark: str) -> tuple[int, int]:
        counts = Counter(len(cells) for cells in _rows_of(head, mark) if cells)
        counts.pop(1, None)
        return max(((rows, count) for count, rows in counts.items()), default=(0, 0))

    best = max(",;\t|", key=regular)
    return best if regular(best)[1] > 1 else ","


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
