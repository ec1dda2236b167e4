"""Pinned queries: what a new generation must find before it becomes active."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QRectF, QSize, QStringListModel, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QCompleter, QDialog, QDialogButtonBox, QLineEdit, QSpinBox, QWidget

from studio.ui.parts import (
    MEDIUM,
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
    number_field,
    panel,
    row,
)
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.generations import DEFAULT_TOP, GateViewModel, PinRow

_ICONS = {None: ("pin", "muted"), True: ("circle-check", "good"), False: ("circle-alert", "bad")}


class PinDelegate(RowDelegate):
    """A pinned query: what it must find, and how it fared."""

    height = 54

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: PinRow = index.data(ITEM_ROLE)
        self.ground(painter, rect.adjusted(4, 0, -4, 0), state)
        icon, token = _ICONS[item.passed]
        self.icon(painter, rect.left() + 16, rect.center().y() - 9, icon, token, 18)
        left, width = rect.left() + 48, rect.width() - 48 - 14
        self.text(painter, QRectF(left, rect.top() + 9, width, 18), item.query, self.theme.font(13, MEDIUM), "text")
        small = self.theme.font(12, tabular=True)
        below = QRectF(left, rect.top() + 28, width, 18)
        if item.verdict:
            taken = self.text(painter, below, item.verdict, small, "good" if item.passed else "bad")
            below.adjust(taken + 12, 0, 0, 0)
        self.text(painter, below, item.demand, small, "muted", elide=Qt.TextElideMode.ElideMiddle)


class GateDialog(QDialog):
    """Lists the pins of one knowledge base, adds and removes them, and tries them."""

    def __init__(self, model: GateViewModel, theme: Theme, parent: QWidget, read_only: str = "") -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Pinned queries"))
        self.setModal(True)
        self.resize(680, 540)
        self._model = model
        self._read_only = read_only
        name = model.kb.name if model.kb is not None else ""
        explanation = label(
            self.tr(
                "A new generation becomes active only if each of these queries finds its documents. "
                "One that fails stays ready, and says why."
            ),
            "body",
        )
        explanation.setWordWrap(True)
        self.list = ItemList(model.rows, PinDelegate(theme, self), self.tr("Pinned queries"))
        self.list.selectionModel().currentChanged.connect(self._show)
        self._empty = label(self.tr("Nothing is pinned yet: every new generation becomes active at once."), "body")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.query = QLineEdit()
        self.query.setPlaceholderText(self.tr("Query"))
        self.query.setAccessibleName(self.tr("Query"))
        self.document = QLineEdit()
        self.document.setPlaceholderText(self.tr("Document it must find"))
        self.document.setAccessibleName(self.tr("Document it must find"))
        self._documents: tuple[str, ...] | None = None
        self._names = QStringListModel(self)
        completer = QCompleter(self._names, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.popup().setObjectName("completions")
        completer.popup().setTextElideMode(Qt.TextElideMode.ElideLeft)  # a path's end is its file
        self.document.setCompleter(completer)
        self.top = QSpinBox()
        self.top.setRange(1, 100)
        self.top.setValue(DEFAULT_TOP)
        self.top.setPrefix(self.tr("in the first "))
        number_field(self.top, self.tr("Among how many documents"))
        self.add = button(self.tr("Pin"))
        self.remove = button(self.tr("Remove"))
        self.check = button(self.tr("Check now"))
        self._summary = label("")
        self._error = Banner(theme)
        for field in (self.query, self.document):
            field.textChanged.connect(self._show)
            field.returnPressed.connect(self._add)
        self.add.clicked.connect(self._add)
        self.remove.clicked.connect(self._remove)
        self.check.clicked.connect(partial(model.check, None))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        for each in (*buttons.buttons(), self.add, self.remove, self.check):
            each.setAutoDefault(False)
        entry = row(self.query, self.document, self.top, self.add)
        entry.setStretch(0, 3)
        entry.setStretch(1, 3)
        frame = panel("listframe", column(self._empty, self.list, margins=(0, 4, 2, 4), spacing=0))
        layout = column(
            label(self.tr("Pinned queries of “{0}”").format(name), "h2"),
            explanation,
            frame,
            row(self.remove, self.check, self._summary, None),
            self._error,
            entry,
            buttons,
            margins=(22, 20, 22, 18),
            spacing=12,
        )
        layout.setStretch(2, 1)
        self.setLayout(layout)
        model.changed.connect(self._show)
        model.rows.modelReset.connect(self._show)
        model.added.connect(self._clear)
        self._show()

    def sizeHint(self) -> QSize:
        return QSize(680, 540)

    def _selected(self) -> PinRow | None:
        item: PinRow | None = self.list.currentIndex().data(ITEM_ROLE)
        return item

    def _show(self) -> None:
        model = self._model
        if self._documents is not model.documents:
            self._documents = model.documents
            self._names.setStringList(list(model.documents))
        pinned = bool(model.rows.items)
        self._empty.setVisible(not pinned)
        self.list.setVisible(pinned)
        self._summary.setText(self.tr("Searching…") if model.checking else model.summary)
        self._error.show_text(model.error)
        self.check.setEnabled(pinned and not model.checking)
        self.remove.setEnabled(self._selected() is not None)
        self.add.setEnabled(bool(self.query.text().strip() and self.document.text().strip()))
        forbid(self._read_only, self.add, self.remove, self.query, self.document, self.top)

    def _add(self) -> None:
        if self.add.isEnabled():
            self._model.add(self.query.text(), self.document.text(), self.top.value())

    def _clear(self) -> None:
        for field in (self.query, self.document):
            field.clear()
        self.query.setFocus()

    def _remove(self) -> None:
        selected = self._selected()
        if selected is not None:
            confirm(
                self,
                self.tr("Remove this pinned query?"),
                self.tr("“{0}” {1}: no new generation is held back by it any more.").format(
                    selected.query, selected.demand
                ),
                self.tr("Unpin"),
                partial(self._model.remove, selected.id),
            )
