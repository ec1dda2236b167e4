"""Where dropped files go: the list of knowledge bases that takes them, and the question where that was not said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QRectF, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QComboBox, QDialog, QDialogButtonBox, QPushButton, QStyledItemDelegate, QWidget

from studio.domain import KnowledgeBase
from studio.ui.parts import ItemList, Theme, accept_files, column, dropped_paths, label, modal_dialog
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.library import SourceModel, SourceRow
from studio.viewmodels.text import count
from studio.viewmodels.workspace import NEW


def _tr(text: str) -> str:
    return QCoreApplication.translate("drops", text)


class SourceList(ItemList):
    """The knowledge bases; files dropped on a row go there. The row under the drag has a ring and says so."""

    dropped = Signal(list, object)
    """(paths, the `SourceRow`)."""

    def __init__(self, sources: SourceModel, delegate: QStyledItemDelegate, name: str, theme: Theme) -> None:
        super().__init__(sources, delegate, name)
        self._theme = theme
        self._hot = -1
        self.setAcceptDrops(True)

    @property
    def hint(self) -> str:
        """What a drop would do now: `Add to Compilers`, "" while nothing is dragged over a row."""
        row = self._row(self._hot)
        if row is None:
            return ""
        return _tr("Add to {0}").format(row.name) if row.kb is not None else _tr("Add to…")

    def _row(self, number: int) -> SourceRow | None:
        row: SourceRow | None = self.model().index(number, 0).data(ITEM_ROLE)
        return row

    def _heat(self, number: int) -> None:
        if number != self._hot:
            self._hot = number
            self.setAccessibleDescription(self.hint)
            self.viewport().update()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        accept_files(event)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        if accept_files(event):
            self._heat(self.indexAt(event.position().toPoint()).row())

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._heat(-1)

    def dropEvent(self, event: QDropEvent) -> None:
        row = self._row(self.indexAt(event.position().toPoint()).row())
        self._heat(-1)
        if accept_files(event):
            self.dropped.emit(dropped_paths(event), row)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.hint:
            return
        rect = QRectF(self.visualRect(self.model().index(self._hot, 0))).adjusted(9, 2, -9, -2)
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self._theme.color("accent"), 2))
        painter.setBrush(self._theme.color("soft"))
        painter.drawRoundedRect(rect, 7, 7)
        painter.setPen(self._theme.color("softtext"))
        painter.setFont(self._theme.font(13))
        room = rect.adjusted(12, 0, -12, 0)
        text = painter.fontMetrics().elidedText(self.hint, Qt.TextElideMode.ElideRight, int(room.width()))
        painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter), text)
        painter.end()


def ask_target(
    parent: QWidget, bases: Sequence[KnowledgeBase], paths: Sequence[Path], accepted: Callable[[str], object]
) -> QDialog:
    """Ask where files shall go; `accepted` is called with the id of a knowledge base or with `NEW`."""
    title = _tr("Add {0} to which knowledge base?").format(count(len(paths), "item"))
    dialog = modal_dialog(parent, title)
    choice = QComboBox()
    choice.setAccessibleName(_tr("Knowledge base"))
    for kb in bases:
        choice.addItem(kb.name, kb.id)
    choice.addItem(_tr("A new knowledge base"), NEW)
    names = ", ".join(path.name or str(path) for path in paths[:3]) + (", …" if len(paths) > 3 else "")
    text = label(names, "body")
    text.setWordWrap(True)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
    add = QPushButton(_tr("Add"))
    add.setObjectName("primary")
    add.setDefault(True)
    buttons.addButton(add, QDialogButtonBox.ButtonRole.AcceptRole)
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)
    dialog.accepted.connect(lambda: accepted(str(choice.currentData())))
    dialog.setLayout(column(label(title, "h2"), text, choice, 6, buttons, margins=(22, 20, 22, 18), spacing=12))
    dialog.setMinimumWidth(420)
    dialog.open()
    choice.setFocus()
    return dialog
