"""Rows of tables in office documents: a line each, cells set apart by bars."""

from __future__ import annotations

from studio.documents.parsers.base import TextBuilder

LONG_CELL_CHARS = 300
"""A cell with more is prose in a table made for its looks; it stays in paragraphs."""


class Tables:
    """Collects the cells of the tables that are open and adds a line for each row of the outermost one."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._rows: list[list[list[str]]] = []  # per open table: cells of the current row
        self._gap = "\n\n"

    def begin(self) -> None:
        """A table begins."""
        if not self._rows:
            self._gap = "\n\n"

    def begin_row(self) -> None:
        """A row begins."""
        self._rows.append([])

    def begin_cell(self) -> None:
        """A cell begins; ignored outside a row."""
        if self._rows:
            self._rows[-1].append([])

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


def joined(cells: list[list[str]]) -> str:
    """A row as one line."""
    return " | ".join(" ".join(cell).replace("\n", " ") for cell in cells).rstrip(" |").strip()
