"""Rows of tables in office documents: a line each, cells set apart by bars."""

from __future__ import annotations

from studio.documents.parsers.base import TextBuilder

MAX_COLUMNS = 10_000
LONG_CELL_CHARS = 300
"""A cell with more is prose in a table made for its looks; it stays in paragraphs."""


class Tables:
    """Collects the cells of the tables that are open and adds a line for each row of the outermost one."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._rows: list[list[list[str]]] = []  # per open table: cells of the current row
        self._widths: list[list[int]] = []  # the same: how many columns each cell takes, below 0 where it goes on
        self._above: dict[int, dict[int, list[str]]] = {}  # how deep a table lies → column → cell above
        self._gap = "\n\n"

    def begin(self) -> None:
        """A table begins."""
        self._above.pop(len(self._rows), None)
        if not self._rows:
            self._gap = "\n\n"

    def begin_row(self) -> None:
        """A row begins."""
        self._rows.append([])
        self._widths.append([])

    def begin_cell(self) -> None:
        """A cell begins; ignored outside a row."""
        if self._rows:
            self._rows[-1].append([])
            self._widths[-1].append(1)

    def widen(self, columns: int) -> None:
        """The open cell takes so many columns."""
        if self.inside and 0 < columns <= MAX_COLUMNS:
            self._widths[-1][-1] = columns if self._widths[-1][-1] > 0 else -columns

    def go_on(self) -> None:
        """The open cell is one with that above it, whose text stands for both."""
        if self.inside:
            self._widths[-1][-1] = -abs(self._widths[-1][-1])

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
        cells = self._with_merged(self._rows.pop(), self._widths.pop())
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

    def _with_merged(self, cells: list[list[str]], widths: list[int]) -> list[list[str]]:
        above = self._above.setdefault(len(self._rows), {})
        row: dict[int, list[str]] = {}
        at = 0
        for number, width in enumerate(widths):
            if width < 0 and not cells[number]:
                cells[number] = above.get(at, [])
            row[at] = cells[number]
            at += abs(width)
        self._above[len(self._rows)] = row
        return cells


def joined(cells: list[list[str]]) -> str:
    """A row as one line."""
    return " | ".join(" ".join(cell).replace("\n", " ") for cell in cells).rstrip(" |").strip()
