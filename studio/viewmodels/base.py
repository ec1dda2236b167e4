"""What every view-model shares: owned tasks with latest-wins keys, failures as a signal, list models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, QTimer, Signal

from studio.concurrency import TaskOwner
from studio.errors import Cancelled, StudioError
from studio.viewmodels.text import literal_tip
from studio.viewmodels.ways_out import clickable

log = logging.getLogger(__name__)

T = TypeVar("T")
Index = QModelIndex | QPersistentModelIndex

ITEM_ROLE = Qt.ItemDataRole.UserRole
"""The role under which a list model hands out the whole item of a row."""


class ViewModel(QObject):
    """Starts coroutines, keeps them, and says what failed. Lives on the event-loop thread."""

    failed = Signal(str, str)
    """(message, way out) of something that went wrong, in words for a person."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._tasks = TaskOwner(type(self).__name__, self.report)
        self._closed = False

    def launch(self, key: str, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T] | None:
        """Latest wins: what still runs under `key` is cancelled, its result never applied.

        After `close` nothing begins and None is returned: while the window closes, view-models that are still open
        tell those that are not, and Qt may deliver a timeout when the event loop has ended.
        """
        if self._closed:
            coroutine.close()
            return None
        return self._tasks.launch(key, coroutine)

    def cancel(self, key: str) -> None:
        """Cancel what runs under `key`."""
        self._tasks.cancel(key)

    def report(self, error: BaseException) -> None:
        """Turn a failure into `failed`; an unexpected failure also goes to the log, in full."""
        if isinstance(error, Cancelled):
            return
        if isinstance(error, StudioError):
            self.failed.emit(clickable(str(error)), clickable(error.way_out))
            return
        log.error("unexpected failure in %s", type(self).__name__, exc_info=error)
        self.failed.emit("Something went wrong inside RAG Studio.", "The log in the data folder has the details.")

    async def close(self) -> None:
        """Cancel what runs and wait for it to end."""
        self._closed = True
        for timer in self.findChildren(QTimer):
            timer.stop()
        await self._tasks.close()


class ItemListModel(QAbstractListModel, Generic[T]):
    """A list of immutable items, each handed out whole under `ITEM_ROLE`."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._items: list[T] = []

    @property
    def items(self) -> Sequence[T]:
        """What is in the list now."""
        return self._items

    def describe(self, row: int, item: T) -> str:
        """The row in words, for assistive technology."""
        raise NotImplementedError

    def tip(self, item: T) -> str:
        """What a tool tip says about the row; "" for none."""
        return ""

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._items)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._items):
            return None
        item = self._items[index.row()]
        if role == ITEM_ROLE:
            return item
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return self.describe(index.row(), item)
        if role == Qt.ItemDataRole.ToolTipRole:
            return literal_tip(self.tip(item)) or None
        return None

    def replace(self, items: Sequence[T]) -> None:
        """Show another list. A list of the same length only changes its rows, so views keep their place."""
        if len(items) == len(self._items):
            for row, item in enumerate(items):
                self.set_row(row, item)
            return
        self.beginResetModel()
        self._items = list(items)
        self.endResetModel()

    def reset(self, items: Sequence[T]) -> None:
        """Show another list from its beginning."""
        self.beginResetModel()
        self._items = list(items)
        self.endResetModel()

    def append(self, items: Sequence[T]) -> None:
        """Add rows at the end."""
        if not items:
            return
        first = len(self._items)
        self.beginInsertRows(QModelIndex(), first, first + len(items) - 1)
        self._items.extend(items)
        self.endInsertRows()

    def set_row(self, row: int, item: T) -> None:
        """Change one row."""
        if self._items[row] != item:
            self._items[row] = item
            index = self.index(row)
            self.dataChanged.emit(index, index)
