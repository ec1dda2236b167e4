"""The search: query, mode, filters, and the results as cards."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QItemSelectionModel, QPoint, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QButtonGroup, QLabel, QMenu, QPushButton, QWidget

from studio.domain import SearchMode
from studio.ui.result_card import ResultDelegate
from studio.ui.theme import Theme
from studio.ui.widgets import (
    Banner,
    ItemList,
    SearchBox,
    button,
    column,
    forbid,
    label,
    panel,
    popup_menu,
    row,
    segmented,
    set_flag,
)
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.preview import PreviewViewModel
from studio.viewmodels.search import Filters, SearchViewModel
from studio.viewmodels.text import count

_MODES = (
    (SearchMode.HYBRID, "Hybrid", "By meaning and by words"),
    (SearchMode.VECTOR, "Vector", "By meaning only"),
    (SearchMode.KEYWORD, "Keyword", "By words only"),
)


class SearchPane(QWidget):
    """Shows what the search view-model found and passes the selected result to the preview."""

    open_wanted = Signal()
    copy_wanted = Signal()
    copy_context_wanted = Signal()
    pin_wanted = Signal(str, object)
    """(query, result) that shall always be found."""

    def __init__(
        self,
        model: SearchViewModel,
        library: LibraryViewModel,
        preview: PreviewViewModel,
        theme: Theme,
    ) -> None:
        super().__init__()
        self._model = model
        self._library = library
        self._preview = preview
        self._theme = theme
        self.box = SearchBox(theme)
        self.modes = QButtonGroup(self)
        segments: list[QPushButton] = []
        for number, (mode, name, tip) in enumerate(_MODES):
            segment = QPushButton(name)
            segment.setCheckable(True)
            segment.setChecked(mode is model.mode)
            segment.setToolTip(tip)
            segment.setAccessibleName(f"{name} search")
            self.modes.addButton(segment, number)
            segments.append(segment)
        self.filters = button(self.tr(" Filters"), "chip")
        self.filters.setAccessibleName(self.tr("Filters"))
        self.summary = label("")
        self.banner = Banner(theme)
        self.results = ItemList(model.results, ResultDelegate(theme, self), self.tr("Search results"))
        self.message = QLabel()
        self.message.setObjectName("body")
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        self.message.setWordWrap(True)
        self.message.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        modes = segmented(self.tr("Search mode"), *segments)
        controls = row(modes, self.filters, None, self.summary, spacing=10)
        layout = column(
            self.box, controls, self.banner, self.message, self.results, margins=(24, 20, 14, 0), spacing=12
        )
        layout.setStretch(4, 1)
        self.setLayout(column(panel("page", layout), spacing=0))
        self._connect()
        self._retint()
        self._show()

    def _connect(self) -> None:
        self.box.edit.textChanged.connect(self._model.set_query)
        self.box.moved.connect(self.move)
        self.box.opened.connect(self.open_wanted)
        self.modes.idClicked.connect(lambda number: self._model.set_mode(_MODES[number][0]))
        self.filters.clicked.connect(self._open_filters)
        self.results.activated.connect(self.open_wanted)
        self.results.customContextMenuRequested.connect(self._open_menu)
        self.results.selectionModel().currentChanged.connect(self._current_changed)
        self._model.results_changed.connect(self._show_current)
        self._model.changed.connect(self._show)
        self._library.changed.connect(self._show)
        self._library.selection_changed.connect(self._show)
        self._theme.changed.connect(self._retint)

    def _retint(self) -> None:
        token = "softtext" if self._model.filters.pairs else "text2"
        self.filters.setIcon(self._theme.icon("sliders-horizontal", token))

    def _show(self) -> None:
        passages = self._library.passages
        self.box.edit.setPlaceholderText(
            self.tr("Ask or search across {0}").format(count(passages, "passage")) if passages else self.tr("Search")
        )
        model = self._model
        self.summary.setText(model.summary)
        self.banner.show_text(model.degraded)
        self.message.setText(model.message)
        self.message.setVisible(bool(model.message))
        chosen = model.filters
        parts = [part for part in (chosen.kind, Path(chosen.folder).name if chosen.folder else "") if part]
        self.filters.setText(f" {', '.join(parts)}" if parts else self.tr(" Filters"))
        # All sources together offer nothing to choose from, so there is no button either.
        self.filters.setVisible(bool(parts or model.choices.kinds or model.choices.folders))
        set_flag(self.filters, "active", "true" if parts else "false")
        self._retint()

    def _show_current(self) -> None:
        current = self._model.results.index(self._model.current_row)
        self.results.selectionModel().setCurrentIndex(current, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        self._preview.show(self._model.current)

    def _current_changed(self) -> None:
        if self.results.current_row() >= 0:
            self._model.current_row = self.results.current_row()
            self._preview.show(self._model.current)

    # ------------------------------------------------------------ gestures

    def focus_query(self) -> None:
        """Put the cursor into the search box, its text selected."""
        self.box.edit.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.box.edit.selectAll()

    def move(self, steps: int) -> None:
        """Go through the results without leaving the search box."""
        rows = self._model.results.rowCount()
        if rows:
            self.results.set_current_row(max(0, min(rows - 1, self.results.current_row() + steps)))

    def clear(self) -> None:
        """Empty the search."""
        self.box.edit.clear()
        self.focus_query()

    def _open_menu(self, where: QPoint) -> None:
        index = self.results.indexAt(where)
        if not index.isValid():
            return
        self.results.setCurrentIndex(index)
        menu = popup_menu(self)
        menu.addAction(self.tr("Open source\tEnter"), self.open_wanted.emit)
        menu.addSeparator()
        menu.addAction(self.tr("Copy citation\tCtrl+C"), self.copy_wanted.emit)
        menu.addAction(self.tr("Copy as context\tCtrl+Shift+C"), self.copy_context_wanted.emit)
        menu.addSeparator()
        query, result = self._model.query.strip(), index.data(ITEM_ROLE)
        pin = menu.addAction(self.tr("Pin: this query must find this document"))
        pin.setToolTip(self.tr("No new generation becomes active unless it finds it too"))
        pin.triggered.connect(lambda: self.pin_wanted.emit(query, result))
        forbid(self._library.read_only, pin)
        menu.popup(self.results.viewport().mapToGlobal(where))

    def _open_filters(self) -> None:
        chosen, choices = self._model.filters, self._model.choices
        menu = popup_menu(self)
        menu.addSection(self.tr("File type"))
        self._offer(menu, self.tr("Any type"), not chosen.kind, Filters("", chosen.folder))
        for kind in choices.kinds:
            self._offer(menu, kind, chosen.kind == kind, Filters(kind, chosen.folder))
        if len(choices.folders) > 1 or chosen.folder:
            menu.addSection(self.tr("Folder"))
            self._offer(menu, self.tr("Any folder"), not chosen.folder, Filters(chosen.kind, ""))
            for folder in choices.folders:
                self._offer(menu, folder, chosen.folder == folder, Filters(chosen.kind, folder))
        menu.popup(self.filters.mapToGlobal(QPoint(0, self.filters.height() + 4)))

    def _offer(self, menu: QMenu, text: str, checked: bool, filters: Filters) -> None:
        action = QAction(text.replace("&", "&&"), menu)
        action.setCheckable(True)
        action.setChecked(checked)
        action.triggered.connect(partial(self._model.set_filters, filters))
        menu.addAction(action)
