"""Rows of a table with the names of their columns in every passage."""

from __future__ import annotations

from studio.documents.parsers.base import TextBuilder

ROWS_CHARS = 700
"""Rows below the names of their columns: with them about a passage of text."""
MAX_NAMES_CHARS = 200
"""A longer line of names would leave no room for the rows."""


class TableRows:
    """Adds the rows of one table after the other, a line each. A long table tells its columns again and again."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._names = ""
        self._chars = self._rows = 0
        self._gap = "\n\n"

    def begin(self) -> None:
        """A table begins."""
        self._names, self._gap, self._rows = "", "\n\n", 0

    def add(self, line: str, *, names: bool = False) -> None:
        """Add a row. `names`: it names the columns of those below, if it is the first."""
        if names and not self._rows and len(line) <= MAX_NAMES_CHARS:
            self._names = line
            self._chars = 0
        elif self._names and self._chars and self._chars + len(line) > ROWS_CHARS:
            self._builder.block(self._names, whole=True)
            self._gap, self._chars = "\n", 0
        self._builder.block(line, self._gap, whole=True)
        self._rows += 1
        self._chars += 0 if line is self._names else len(line)
        self._gap = "\n"
