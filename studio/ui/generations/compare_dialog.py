"""Two generations side by side: documents that changed, and what queries find in each."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import (
    QButtonGroup,
    QDialog,
    QDialogButtonBox,
    QPlainTextEdit,
    QPushButton,
    QStackedWidget,
    QWidget,
)

from studio.ui.parts import (
    DEMI_BOLD,
    MEDIUM,
    Banner,
    Index,
    ItemList,
    RowDelegate,
    RowState,
    Theme,
    button,
    column,
    label,
    panel,
    row,
    segmented,
)
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.generations import DOCUMENT_CHANGES, Change, ChangeRow, CompareViewModel

_CHIPS = {
    Change.ADDED: ("good", "goodsoft"),
    Change.GAINED: ("good", "goodsoft"),
    Change.CHANGED: ("softtext", "soft"),
    Change.REMOVED: ("bad", "badsoft"),
    Change.LOST: ("bad", "badsoft"),
    Change.MOVED: ("text2", "sel"),
}
RIGHT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
_CHIP_COLUMN = 92
_ASIDE_COLUMN = 150


class ChangeDelegate(RowDelegate):
    """What became of a document or a hit; a query is the heading of its hits."""

    height = 54

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: ChangeRow = index.data(ITEM_ROLE)
        self.ground(painter, rect.adjusted(4, 0, -4, 0), state)
        small = self.theme.font(12, tabular=True)
        if item.change is Change.QUERY:
            self._query(painter, rect, item)
            return
        ink, ground = _CHIPS[item.change]
        self.chip(painter, rect.left() + 14, rect.center().y(), str(item.change), ink, ground=ground)
        left = rect.left() + _CHIP_COLUMN
        width = rect.width() - _CHIP_COLUMN - _ASIDE_COLUMN - 14
        self.text(painter, QRectF(left, rect.top() + 9, width, 18), item.name, self.theme.font(13, MEDIUM), "text")
        elide = Qt.TextElideMode.ElideMiddle if item.is_path else Qt.TextElideMode.ElideRight
        self.text(painter, QRectF(left, rect.top() + 28, width, 18), item.detail, small, "muted", elide=elide)
        self.text(painter, rect.adjusted(0, 0, -14, 0), item.aside, small, "text2", RIGHT)

    def _query(self, painter: QPainter, rect: QRectF, item: ChangeRow) -> None:
        self.icon(painter, rect.left() + 14, rect.center().y() - 8, "search", "muted")
        room = rect.adjusted(40, 0, -14, 0)
        small = self.theme.font(12, tabular=True)
        taken = self.text(painter, room, item.aside, small, "muted", RIGHT)
        name = room.adjusted(0, 0, -taken - 12, 0)
        if item.detail:
            self.text(painter, name.adjusted(0, 28, 0, -8), item.detail, small, "warn")
            name.adjust(0, 9, 0, -27)
        self.text(painter, name, item.name, self.theme.font(13, DEMI_BOLD), "text")


class CompareDialog(QDialog):
    """A window beside the main one: searching goes on while it is open."""

    def __init__(self, model: CompareViewModel, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Compare generations"))
        self.setModal(False)
        self.resize(820, 620)
        self._model = model
        self._title = label("", "h2")
        self._summary = label("")
        self._error = Banner(theme)
        self._pages = QStackedWidget()
        self._tabs = QButtonGroup(self)
        tabs = []
        for number, name in enumerate((self.tr("Documents"), self.tr("Queries"))):
            tab = QPushButton(name)
            tab.setCheckable(True)
            tab.setChecked(number == 0)
            tab.setAutoDefault(False)
            self._tabs.addButton(tab, number)
            tabs.append(tab)
        self._tabs.idClicked.connect(self._pages.setCurrentIndex)
        self._pages.addWidget(self._documents_page(theme))
        self._pages.addWidget(self._queries_page(theme))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.button(QDialogButtonBox.StandardButton.Close).setAutoDefault(False)
        buttons.rejected.connect(self.reject)
        head = row(self._title, None, self._summary)
        layout = column(
            head,
            row(segmented(self.tr("What to compare"), *tabs), None),
            self._error,
            self._pages,
            buttons,
            margins=(22, 20, 22, 18),
            spacing=12,
        )
        layout.setStretch(3, 1)
        self.setLayout(layout)
        model.changed.connect(self._show)
        self.finished.connect(model.stop)
        self._show()
        self._documents.setFocus()

    def _documents_page(self, theme: Theme) -> QWidget:
        self._kinds = QButtonGroup(self)
        self._kinds.setExclusive(False)
        for number, change in enumerate(DOCUMENT_CHANGES):
            kind = button("", "chip")
            kind.setCheckable(True)
            kind.setAutoDefault(False)
            kind.setFixedHeight(26)
            kind.clicked.connect(partial(self._kind_clicked, change))
            self._kinds.addButton(kind, number)
        self._documents = ItemList(self._model.documents, ChangeDelegate(theme, self), self.tr("Documents that differ"))
        page = QWidget()
        layout = column(row(*self._kinds.buttons(), None), _framed(self._documents), spacing=10)
        layout.setStretch(1, 1)
        page.setLayout(layout)
        return page

    def _queries_page(self, theme: Theme) -> QWidget:
        self.queries = QPlainTextEdit()
        self.queries.setObjectName("queries")
        self.queries.setAccessibleName(self.tr("Queries, one a line"))
        self.queries.setPlaceholderText(self.tr("Queries to try on both generations, one a line"))
        self.queries.setTabChangesFocus(True)
        self.queries.setFixedHeight(84)
        self.queries.textChanged.connect(self._show)
        self.ask = button(self.tr("Compare"), "primary")
        self.ask.setAutoDefault(False)
        self.ask.clicked.connect(lambda: self._model.ask(self.queries.toPlainText()))
        self._hits = ItemList(self._model.hits, ChangeDelegate(theme, self), self.tr("Hits that differ"))
        box = row(self.queries, self.ask, spacing=10)
        box.setStretch(0, 1)
        box.setAlignment(self.ask, Qt.AlignmentFlag.AlignTop)
        page = QWidget()
        layout = column(box, _framed(self._hits), spacing=10)
        layout.setStretch(1, 1)
        page.setLayout(layout)
        return page

    def _kind_clicked(self, change: Change) -> None:
        self._model.show(None if self._model.shown is change else change)

    def _show(self) -> None:
        model = self._model
        self._title.setText(model.title)
        self._summary.setText(model.summary)
        self._error.show_text(model.error)
        for number, change in enumerate(DOCUMENT_CHANGES):
            kind = self._kinds.button(number)
            kind.setText(f"{model.total(change):,} {change}")
            kind.setChecked(model.shown is change)
            kind.setEnabled(model.total(change) > 0)
        self.ask.setEnabled(not model.busy and bool(self.queries.toPlainText().strip()))


def _framed(view: ItemList) -> QWidget:
    return panel("listframe", column(view, margins=(0, 4, 2, 4)))
