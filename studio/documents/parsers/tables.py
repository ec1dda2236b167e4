"""Rows of tables in office documents: a line each, cells set apart by bars."""

from __future__ import annotations

from studio.documents.parsers.base import TextBuilder

LONG_CELL_CHARS = 300
"""A cell with more is prose in a table made for its looks; it stays in paragraphs."""
MERGED_CHARS = 200
"""A longer text stands only in the first of the rows that are merged into one cell."""


class Tables:
    """Collects the cells of the tables that are open and adds a line for each row of the outermost one."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._rows: list[list[list[str]]] = []  # per open table: cells of the current row
        self._gap = "\n\n"
        # Of the outermost table: the column each cell of the row begins at, where cells go on, what they go on with.
        self._columns: list[int] = []
        self._next = 0
        self._merges: dict[int, bool] = {}
        self._above: dict[int, list[str]] = {}

    def begin(self) -> None:
        """A table begins."""
        if not self._rows:
            self._gap = "\n\n"
            self._above = {}

    def begin_row(self) -> None:
        """A row begins."""
        if not self._rows:
            self._columns, self._merges, self._next = [], {}, 0
        self._rows.append([])

    def widen(self, columns: int) -> None:
        """The open cell is so many columns wide."""
        if len(self._rows) == 1 and self._columns:
            self._next = self._columns[-1] + columns

    def merge(self, first: bool) -> None:
        """The open cell goes over several rows: this is the `first` of them, or one below."""
        if len(self._rows) == 1 and self._columns:
            self._merges[len(self._columns) - 1] = first

    def begin_cell(self) -> None:
        """A cell begins; ignored outside a row."""
        if self._rows:
            self._rows[-1].append([])
            if len(self._rows) == 1:
                self._columns.append(self._next)
                self._next += 1

    @property
    def inside(self) -> bool:
        """Whether a paragraph now belongs to a cell."""
        return bool(self._rows) and bool(self._rows[-1])

    def add(self, paragraph: str) -> None:
        """Add a paragraph to the open cell."""
        self._rows[-1][-1].append(paragraph)

    def end_row(self) -> None:
        """A row ends; ignored when none is open."""
        if not self._rows:
            return
        cells = self._rows.pop()
        if not self._rows:
            self._fill(cells)
        paragraphs = [paragraph for cell in cells for paragraph in cell]
        if self.inside:  # a table in a cell
            if paragraphs:
                self.add(joined(cells))
        elif any(sum(map(len, cell)) > LONG_CELL_CHARS for cell in cells):
            for paragraph in paragraphs:
                self._builder.block(paragraph)
            self._gap = "\n\n"
        elif paragraphs:
            self._builder.block(joined(cells), self._gap, whole=True)
            self._gap = "\n"

    def _fill(self, cells: list[list[str]]) -> None:
        """Repeat what a merged cell says in the rows below its first."""
        for at, first in self._merges.items():
            column = self._columns[at]
            if first:
                short = sum(map(len, cells[at])) <= MERGED_CHARS
                self._above[column] = list(cells[at]) if short else []
            elif not cells[at] and any(cells):
                cells[at].extend(self._above.get(column, []))


def joined(cells: list[list[str]]) -> str:
    """A row as one line."""
    return " | ".join(" ".join(cell).replace("\n", " ") for cell in cells).rstrip(" |").strip()
