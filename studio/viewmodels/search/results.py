"""The results of a search as a list, with what a person said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QModelIndex, QObject, Qt, Signal

from studio.domain import SearchResult
from studio.viewmodels.base import ITEM_ROLE, Index, ItemListModel
from studio.viewmodels.text import count, document_title, where

GRADE_ROLE = ITEM_ROLE + 1
"""The grade a person gave a result for this query: None for none, 0 for not relevant, more for relevant."""

Grades = Mapping[tuple[str, str], int]
"""What documents were judged for a query. A document is named by its knowledge base's id, and its id, external id or
path there: the same file may lie in several."""


class ResultModel(ItemListModel[SearchResult]):
    """The results; asks for the next page when a view comes to the end of it."""

    more_wanted = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.has_more = False
        self._grades: Grades = {}

    def describe(self, row: int, item: SearchResult) -> str:
        place = where(item)
        grade = self._grade(item)
        said = "" if grade is None else " Marked relevant." if grade > 0 else " Marked not relevant."
        behind = "".join(f" {part}." for part in (more_in_document(item), near_duplicates(item)) if part)
        title = f"Result {row + 1}: {document_title(item)}{', ' + place if place else ''}."
        return f"{title} {item.snippet[:160]}{said}{behind}"

    def tip(self, item: SearchResult) -> str:
        return item.citation.source_path

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == GRADE_ROLE:
            item = super().data(index, ITEM_ROLE)
            return self._grade(item) if item is not None else None
        return super().data(index, role)

    def show_grades(self, grades: Grades) -> None:
        """Show what documents were judged."""
        self._grades = dict(grades)
        if self._items:
            self.dataChanged.emit(self.index(0), self.index(len(self._items) - 1))

    def _grade(self, item: SearchResult) -> int | None:
        names = (item.document_id, str(item.metadata.get("external_id", "")), item.citation.source_path)
        known = ((item.kb_id, name) for name in names)
        return next((self._grades[name] for name in known if name in self._grades), None)

    def rearrange(self, items: Sequence[SearchResult]) -> None:
        """Show another list in the same place: rows change, the end grows or shrinks, views do not scroll."""
        for row, item in enumerate(items[: len(self._items)]):
            self.set_row(row, item)
        if len(items) < len(self._items):
            self.beginRemoveRows(QModelIndex(), len(items), len(self._items) - 1)
            del self._items[len(items) :]
            self.endRemoveRows()
        else:
            self.append(items[len(self._items) :])

    def canFetchMore(self, parent: Index) -> bool:
        return self.has_more and not parent.isValid()

    def fetchMore(self, parent: Index) -> None:
        self.has_more = False  # until the page is here; a view asks several times a second
        self.more_wanted.emit()


def passage_of(item: SearchResult) -> tuple[str, str]:
    """Which passage a result is: the same text may be indexed in several knowledge bases."""
    return item.kb_id, item.chunk_id


def more_in_document(item: SearchResult) -> str:
    """`3 more in this document`, "" for none."""
    return f"{item.more_in_document:,} more in this document" if item.more_in_document else ""


def near_duplicates(item: SearchResult) -> str:
    """`+2 near-identical`, "" for none."""
    return f"+{len(item.duplicates)} near-identical" if item.duplicates else ""


def page_summary(shown: Sequence[SearchResult], passages: int, took_ms: float, *, grouped: bool, more: bool) -> str:
    """`100 passages · 8 ms`, or `12 documents · 100 passages · 8 ms` where each document has one place."""
    parts = [count(passages, "passage"), f"{took_ms:.0f} ms"]
    if grouped:
        parts.insert(0, f"{len(shown):,}+ documents" if more else count(len(shown), "document"))
        parts[1] = count(max(passages, sum(1 + item.more_in_document for item in shown)), "passage")
    return " · ".join(parts)
