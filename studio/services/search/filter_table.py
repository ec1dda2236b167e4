"""What filters look at in one generation, in columns.

Each field is held as its distinct values and a number per document, so that a filter is tried once on every distinct
value. 40,000 documents take some megabytes. pyarrow is imported where it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from studio.documents.kinds import ARCHIVE
from studio.domain import place_of
from studio.index.catalog import declared_tags
from studio.services.library import Holds, path_like
from studio.services.search.dates import period
from studio.services.search.values import contains, ends_in, field_is, is_tag, lies_in

COLUMNS = (
    "document_id", "source_path", "kind", "title", "author", "external_id", "mtime_ns", "created", "metadata",
)  # fmt: skip
"""The columns of the documents table that a `FilterTable` is made of."""
META = "meta."
"""Before a key it means the field of that name, whatever filters there are."""
NAMED_FIELDS = 20

_VALUES_PER_TURN = 4096
"""Arrow makes Python values without letting go of the interpreter."""

Rows = NDArray[np.int64]


class Listed(NamedTuple):
    """A document, as far as names of documents look at it."""

    document_id: str
    external_id: str
    source_path: str
    kind: str


class _Column:
    """A field: its distinct values, and a code for each of `rows` (None: for every row of the table)."""

    def __init__(self, values: Any, codes: NDArray[np.int32], rows: Rows | None = None) -> None:
        self.values = values
        self._codes = codes
        self._rows = rows

    @classmethod
    def of(cls, values: Sequence[str] | Any, rows: Sequence[int] | Rows | None = None) -> _Column:
        """Of values in Python or Arrow, none of them null."""
        import pyarrow as pa

        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, pa.utf8())
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        coded = array.dictionary_encode()
        return cls(coded.dictionary, coded.indices.to_numpy(), None if rows is None else np.asarray(rows, np.int64))

    def where(self, holds: Holds) -> Rows:
        """The rows whose value passes."""
        hits = np.fromiter(map(holds, _texts(self.values)), np.bool_, len(self.values))
        found = np.flatnonzero(hits[self._codes])
        return found if self._rows is None else self._rows[found]

    def each(self) -> Iterator[str]:
        """The value of every row, for a column of the whole table."""
        values = list(_texts(self.values))
        return (values[code] for code in self._codes.tolist())

    def part(self, start: int, end: int) -> _Column:
        """The column of some of its entries."""
        used, codes = np.unique(self._codes[start:end], return_inverse=True)
        rows = None if self._rows is None else self._rows[start:end]
        return _Column(self.values.take(used), codes.astype(np.int32), rows)


class _Fields:
    """Fields of metadata in one long column, sorted by name: tables may have thousands of them."""

    def __init__(self, rows: Sequence[int], names: Sequence[str], values: Sequence[str]) -> None:
        import pyarrow as pa

        coded = pa.array(names, pa.utf8()).dictionary_encode()
        codes = coded.indices.to_numpy()
        order = np.argsort(codes, kind="stable")
        self.names = coded.dictionary
        self._starts = np.searchsorted(codes[order], np.arange(len(self.names) + 1))
        self._column = _Column.of(pa.array(values, pa.utf8()).take(pa.array(order)), np.array(rows, np.int64)[order])

    def number(self, name: str) -> int:
        """The number of the field of that name, in lower case; -1 when there is none."""
        import pyarrow.compute as pc

        return int(pc.index(self.names, name).as_py())

    def where(self, name: str, holds: Holds) -> Rows:
        """The rows whose field of that name passes."""
        at = self.number(name)
        return self._column.part(self._starts[at], self._starts[at + 1]).where(holds)


class FilterTable:
    """The indexed documents of a generation, to be filtered. Made of an Arrow table; takes some µs a document."""

    def __init__(self, table: Any) -> None:
        import pyarrow.compute as pc

        def column(name: str) -> _Column:
            return _Column.of(table.column(name))

        self._ids = table.column("document_id").combine_chunks()
        self.documents = int(pc.count_distinct(self._ids).as_py())
        self._external, self._kind = column("external_id"), column("kind")
        self._path, self._title, self._author = column("source_path"), column("title"), column("author")
        self._members = self._members_of_archives()
        self._fields, self._tags = self._metadata(column("metadata"))
        self._when = table.column("mtime_ns").to_numpy() / 1e9
        self._date(column("created"))

    def every_id(self) -> frozenset[str]:
        """The ids of all documents."""
        return frozenset(_texts(self._ids))

    def _members_of_archives(self) -> _Column:
        """Paths of what lies in an archive, as if that were a folder."""
        rows = self._kind.where(ARCHIVE.__eq__).tolist()
        if not rows:
            return _Column.of([], [])
        paths, members = list(self._path.each()), list(self._external.each())
        return _Column.of([place_of(paths[row], members[row]) for row in rows], rows)

    def _metadata(self, column: _Column) -> tuple[_Fields, _Column]:
        rows: list[int] = []
        names: list[str] = []
        values: list[str] = []
        tagged: list[int] = []
        tags: list[str] = []
        for row, (said, kind) in enumerate(zip(column.each(), self._kind.each(), strict=True)):
            if said:
                fields: Mapping[str, str] = json.loads(said)
                rows += [row] * len(fields)
                names += map(str.casefold, fields)
                values += fields.values()
                own = declared_tags(kind, fields)
                tagged += [row] * len(own)
                tags += own
        return _Fields(rows, names, values), _Column.of(tags, tagged)

    def _date(self, created: _Column) -> None:
        """A document is as old as it says, and else as its file."""
        stated = {date: found[0] for date in _texts(created.values) if date and (found := period(date))}
        dates = np.array([stated.get(date, np.nan) for date in created.each()], np.float64)
        self._when = np.where(np.isnan(dates), self._when, dates)

    def field(self, key: str) -> str | None:
        """The field of metadata that a key means, with or without `META`; None when no document has it."""
        return next((name for name in (key, key.removeprefix(META)) if self._fields.number(name) >= 0), None)

    def names(self) -> list[str]:
        """Names of fields, some if there are many."""
        return sorted(self._fields.names.slice(0, NAMED_FIELDS).to_pylist())

    def ids_at(self, paths: set[str]) -> frozenset[str]:
        """Ids of the documents at these paths."""
        return self._ids_of(self._path.where(paths.__contains__))

    def matching(self, key: str, value: str, day: float = 0.0) -> frozenset[str]:
        """Ids of the documents that pass; `day` is the moment that the value of "after" and "before" means."""
        return self._ids_of(np.concatenate(self._rows(key, value, day)))

    def _ids_of(self, rows: Rows) -> frozenset[str]:
        return frozenset(self._ids.take(np.unique(rows)).to_pylist())

    def has(self, document_id: str) -> bool:
        """Whether a document with this id is among them."""
        import pyarrow.compute as pc

        return bool(pc.any(pc.equal(self._ids, document_id)).as_py())

    def listed(self) -> Iterator[Listed]:
        """What is needed of each document to find it by a name."""
        columns = (self._external.each(), self._path.each(), self._kind.each())
        return map(Listed, _texts(self._ids), *columns)

    def _rows(self, key: str, value: str, day: float) -> list[Rows]:
        paths = (self._path, self._members)
        match key:
            case "folder":
                return [column.where(lies_in(value)) for column in paths]
            case "path":
                return [column.where(path_like(value)) for column in paths]
            case "type":
                kind = value.strip().lower().lstrip(".")
                return [self._kind.where(kind.__eq__), *(column.where(ends_in(kind)) for column in paths)]
            case "title":
                return [self._title.where(contains(value))]
            case "author":
                return [self._author.where(contains(value))]
            case "tag":
                return [self._tags.where(is_tag(value))]
            case "after":
                return [np.flatnonzero(self._when >= day)]
            case "before":
                return [np.flatnonzero(self._when < day)]
        name = self.field(key)
        return [self._fields.where(name, field_is(value)) if name else np.empty(0, np.int64)]


def _texts(array: Any) -> Iterator[str]:
    """The values of an Arrow array of strings."""
    for start in range(0, len(array), _VALUES_PER_TURN):
        yield from array.slice(start, _VALUES_PER_TURN).to_pylist()
