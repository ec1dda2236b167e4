"""Watched folders: which a knowledge base follows, each with a switch, and how they stand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QAbstractItemModel, QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QKeyEvent, QKeySequence, QMouseEvent, QPainter
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QListView, QStyleOptionViewItem, QWidget

from studio.ui.parts import (
    MEDIUM,
    TONE_ICONS,
    Banner,
    Index,
    ItemList,
    RowDelegate,
    RowState,
    Theme,
    button,
    column,
    confirm,
    forbid,
    label,
    panel,
    row,
    set_tip,
)
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.ingest import FolderRow, Tone, WatchedViewModel

_SWITCH = QSize(34, 20)
_LEFT, RIGHT = 48, 72
_LINE = 18
_INKS = {Tone.BAD: "bad", Tone.WARN: "warn"}
_CHECK = Qt.ItemDataRole.CheckStateRole


class FolderDelegate(RowDelegate):
    """A folder: where it is, how it stands in one or two lines, and its switch. Space or a click on that moves it."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(theme, parent)
        self.fixed = False

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        width = option.widget.viewport().width() - _LEFT - RIGHT
        return QSize(200, 40 + _LINE * self._lines(index.data(ITEM_ROLE), width))

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: FolderRow = index.data(ITEM_ROLE)
        self.ground(painter, rect.adjusted(4, 0, -4, 0), state)
        self.icon(painter, rect.left() + 16, rect.center().y() - 9, *TONE_ICONS[item.tone], 18)
        left, width = rect.left() + _LEFT, rect.width() - _LEFT - RIGHT
        place = QRectF(left, rect.top() + 9, width, _LINE)
        ink = "text" if item.enabled else "text2"
        self.text(painter, place, item.path, self.theme.font(13, MEDIUM), ink, elide=Qt.TextElideMode.ElideMiddle)
        painter.setFont(self.theme.font(12))
        painter.setPen(self.theme.color(_INKS.get(item.tone, "muted")))
        below = QRectF(left, rect.top() + 30, width, _LINE * self._lines(item, width))
        painter.drawText(below, Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap, item.detail)
        self._switch(painter, self._switch_rect(rect), on=item.enabled)

    def editorEvent(self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem, index: Index) -> bool:
        if isinstance(event, QMouseEvent):
            target = self._switch_rect(QRectF(option.rect)).adjusted(-8, -8, 8, 8)
            left_up = event.type() == QEvent.Type.MouseButtonRelease and event.button() == Qt.MouseButton.LeftButton
            wanted = left_up and target.contains(event.position())
        else:
            wanted = isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Space
        if not wanted or self.fixed:
            return False
        on = index.data(_CHECK) is Qt.CheckState.Checked
        return model.setData(index, Qt.CheckState.Unchecked if on else Qt.CheckState.Checked, _CHECK)

    def _lines(self, item: FolderRow, width: float) -> int:
        """One line, or two where the words need them."""
        return 2 if QFontMetricsF(self.theme.font(12)).horizontalAdvance(item.detail) > width else 1

    def _switch_rect(self, rect: QRectF) -> QRectF:
        middle = rect.center().y()
        return QRectF(rect.right() - 16 - _SWITCH.width(), middle - _SWITCH.height() / 2, *_SWITCH.toTuple())

    def _switch(self, painter: QPainter, rect: QRectF, *, on: bool) -> None:
        radius = rect.height() / 2
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setOpacity(0.5 if self.fixed else 1.0)
        painter.setBrush(self.theme.color("accent" if on else "border2"))
        painter.drawRoundedRect(rect, radius, radius)
        painter.setBrush(self.theme.color("onaccent"))
        painter.drawEllipse(QPointF((rect.right() - radius) if on else (rect.left() + radius), rect.center().y()), 7, 7)


class _Folders(ItemList):
    """Delete takes the current folder off the list."""

    delete_wanted = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Delete):
            self.delete_wanted.emit()
        else:
            super().keyPressEvent(event)


class WatchedDialog(QDialog):
    """Lists the watched folders of one knowledge base, adds and removes them, and switches them on and off."""

    def __init__(self, model: WatchedViewModel, theme: Theme, parent: QWidget, read_only: str = "") -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Watched folders"))
        self.setModal(True)
        self.resize(680, 480)
        self._model = model
        self._read_only = read_only
        name = model.kb.name if model.kb is not None else ""
        explanation = label(
            self.tr(
                "While RAG Studio runs, what is added, changed or deleted in these folders is indexed by itself. "
                "A folder taken off the list keeps its documents."
            ),
            "body",
        )
        explanation.setWordWrap(True)
        self._delegate = FolderDelegate(theme, self)
        self._delegate.fixed = bool(read_only)
        self.list = _Folders(model.rows, self._delegate, self.tr("Watched folders"))
        self.list.setUniformItemSizes(False)
        self.list.setResizeMode(QListView.ResizeMode.Adjust)
        self.list.setAccessibleDescription(self.tr("Space switches a folder on or off, Delete takes it off the list."))
        set_tip(self.list, read_only)
        self._empty = label(self.tr("No folder is watched yet."), "body")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.add = button(self.tr(" Add folder…"))
        self.remove = button(self.tr("Remove"))
        self._error = Banner(theme)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        for each in (*buttons.buttons(), self.add, self.remove):
            each.setAutoDefault(False)
        frame = panel("listframe", column(self._empty, self.list, margins=(0, 4, 2, 4), spacing=0))
        layout = column(
            label(self.tr("Watched folders of “{0}”").format(name), "h2"),
            explanation,
            frame,
            self._error,
            row(self.add, self.remove, None, buttons),
            margins=(22, 20, 22, 18),
            spacing=12,
        )
        layout.setStretch(2, 1)
        self.setLayout(layout)
        self.add.clicked.connect(self._choose)
        self.remove.clicked.connect(self._remove)
        self.list.delete_wanted.connect(self._remove)
        self.list.selectionModel().currentChanged.connect(self._show)
        self.finished.connect(model.leave)
        model.changed.connect(self._show)
        theme.changed.connect(self._retint)
        self._theme = theme
        self._retint()
        self._show()

    def sizeHint(self) -> QSize:
        return QSize(680, 480)

    def _retint(self) -> None:
        self.add.setIcon(self._theme.icon("plus"))

    def _show(self) -> None:
        rows = self._model.rows.items
        if rows and self._selected() is None:
            self.list.set_current_row(0)
        self._empty.setVisible(self._model.is_loaded and not rows)
        self.list.setVisible(bool(rows) or not self._model.is_loaded)
        self._error.show_text(self._model.error)
        self.remove.setEnabled(self._selected() is not None)
        forbid(self._read_only, self.add, self.remove)

    def _selected(self) -> FolderRow | None:
        item: FolderRow | None = self.list.currentIndex().data(ITEM_ROLE)
        return item

    def _choose(self) -> None:
        dialog = QFileDialog(self, self.tr("Choose a folder to watch"))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.filesSelected.connect(lambda names: [self._model.add(Path(name)) for name in names])
        dialog.open()

    def _remove(self) -> None:
        selected = self._selected()
        if selected is not None and self.remove.isEnabled():
            confirm(
                self,
                self.tr("Watch this folder no longer?"),
                self.tr("{0}\nIts documents stay. What changes in it is not indexed any more.").format(selected.path),
                self.tr("Take it off the list"),
                partial(self._model.remove, selected.path),
            )
