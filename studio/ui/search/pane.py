"""The search: the query, what steers it, and the results as cards."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import partial

from PySide6.QtCore import QPoint, QRect, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QAction, QHideEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QMenu, QPushButton, QWidget

from studio.domain import CitationStyle, SearchMode, SearchResult
from studio.ui.parts import (
    Banner,
    ElidedLabel,
    PlainLabel,
    Theme,
    button,
    column,
    forbid,
    panel,
    popup_menu,
    row,
    segmented,
    set_flag,
    set_tip,
)
from studio.ui.search.box import SearchBox
from studio.ui.search.controls import ChipRow, WeightSlider
from studio.ui.search.explanation import ExplanationPopover
from studio.ui.search.filter_menu import filter_menu, view_menu
from studio.ui.search.query_help import QueryHelp
from studio.ui.search.result_card import ResultDelegate, Zone
from studio.ui.search.result_list import ResultList
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.search import Arrangement, PreviewViewModel, SearchViewModel, more_in_document, passage_of
from studio.viewmodels.text import count, document_title

_MODES = (
    (SearchMode.HYBRID, "Hybrid", "By meaning and by words"),
    (SearchMode.VECTOR, "Vector", "By meaning only"),
    (SearchMode.KEYWORD, "Keyword", "By words only"),
)

_STYLES = {"plain": "Plain text", "markdown": "Markdown", "bibtex": "BibTeX"}


class SearchPane(QWidget):
    """Shows what the search view-model found and passes the selected result to the preview."""

    open_wanted = Signal()
    copy_wanted = Signal()
    copy_as_wanted = Signal(object)
    """Copy the citation of the selected result in a `CitationStyle`."""
    copy_context_wanted = Signal()
    verify_wanted = Signal(object)
    """Say whether what a result cites is still there."""
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
            set_tip(segment, tip)
            segment.setAccessibleName(f"{name} search")
            self.modes.addButton(segment, number)
            segments.append(segment)
        self.filters = button(self.tr(" Filters"), "chip")
        self.filters.setAccessibleName(self.tr("Filters"))
        self.view = button(self.tr(" View"), "chip")
        self.view.setAccessibleName(self.tr("View"))
        self.weight = WeightSlider()
        self.summary = ElidedLabel("muted")
        self.summary.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.chips = ChipRow(theme)
        self.banner = Banner(theme)
        self.notes = Banner(theme)
        set_flag(self.notes, "kind", "calm")
        self.results = ResultList(model.results, ResultDelegate(theme, self), self.tr("Search results"))
        self.message = PlainLabel()
        self.message.setObjectName("body")
        self.message.setWordWrap(True)
        self.message.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        controls = row(segmented(self.tr("Search mode"), *segments), self.filters, self.view, self.summary, spacing=10)
        controls.setStretch(3, 1)
        items = (self.box, controls, self.weight, self.chips, self.banner, self.notes, self.message, self.results)
        layout = column(*items, margins=(24, 20, 14, 0), spacing=12)
        layout.setStretch(len(items) - 1, 1)
        self.setLayout(column(panel("page", layout), spacing=0))
        self.why = ExplanationPopover(theme, self)
        self.help = QueryHelp(theme, self)
        self._connect()
        self._add_shortcuts()
        self._retint()
        self._show()

    def _connect(self) -> None:
        model = self._model
        self.box.edit.textChanged.connect(model.set_query)
        self.box.moved.connect(self.move)
        self.box.opened.connect(self.open_wanted)
        self.box.similar_left.connect(lambda: model.find_similar(None))
        self.box.help_wanted.connect(self._toggle_help)
        self.modes.idClicked.connect(lambda number: model.set_mode(_MODES[number][0]))
        self.filters.clicked.connect(lambda: self._pop_up(filter_menu(self, model), self.filters))
        self.view.clicked.connect(lambda: self._pop_up(view_menu(self, model), self.view))
        self.weight.weight_chosen.connect(model.set_weight)
        self.chips.removed.connect(self._remove_filter)
        self.results.activated.connect(self.open_wanted)
        self.results.customContextMenuRequested.connect(self._open_menu)
        self.results.selectionModel().currentChanged.connect(self._current_changed)
        self.results.why_wanted.connect(self._explain_row)
        self.results.more_wanted.connect(self._look_in_row)
        self.results.verticalScrollBar().valueChanged.connect(lambda: self.why.leave())
        model.results_changed.connect(self._show_current)
        model.changed.connect(self._show)
        self._library.changed.connect(self._show)
        self._library.selection_changed.connect(self._show)
        self._theme.changed.connect(self._retint)

    def _add_shortcuts(self) -> None:
        # Of this pane: Qt leaves them alone while it is hidden.
        for key, call in (
            ("Ctrl+E", self.explain),
            ("Ctrl+D", lambda: self.judge(1)),
            ("Ctrl+Shift+D", lambda: self.judge(0)),
            ("Ctrl+Shift+F", self.find_similar),
        ):
            action = QAction(self)
            action.setShortcut(QKeySequence(key))
            action.triggered.connect(call)
            self.addAction(action)

    def _retint(self) -> None:
        filtered, arranged = bool(self._model.filters.chips(date.today())), self._model.arrangement != Arrangement()
        self.filters.setIcon(self._theme.icon("sliders-horizontal", "softtext" if filtered else "text2"))
        self.view.setIcon(self._theme.icon("settings-2", "softtext" if arranged else "text2"))
        set_flag(self.filters, "active", "true" if filtered else "false")
        set_flag(self.view, "active", "true" if arranged else "false")

    # ------------------------------------------------------------ what is shown

    def _show(self) -> None:
        model = self._model
        self._show_query()
        self.summary.setText(model.summary)
        self.banner.show_text(model.degraded)
        self.notes.show_text(model.notes)
        self.message.setText(model.message)
        self.message.setVisible(bool(model.message))
        self.weight.setVisible(model.mode is SearchMode.HYBRID and model.similar is None)
        self.weight.show_weight(model.weight, model.used_weight)
        self.chips.show_chips(model.filters.chips(date.today()))
        self._retint()

    def _show_query(self) -> None:
        """The box holds the query, or, while likes of a passage are shown, what is typed next."""
        model, passages = self._model, self._library.passages
        similar = model.similar
        shown, wanted = bool(self.box.similar.property("shown")), similar is not None
        if shown != wanted:
            with QSignalBlocker(self.box.edit):
                self.box.edit.setText("" if wanted else model.query)
            self.box.similar.setProperty("shown", wanted)
        self.box.show_similar(similar.label if similar is not None else "")
        hint = self.tr("Ask or search across {0}").format(count(passages, "passage")) if passages else self.tr("Search")
        self.box.edit.setPlaceholderText("" if wanted else hint)

    def _show_current(self) -> None:
        model = self._model
        if model.current is None or passage_of(model.current) != self.why.passage:
            self.why.leave()
        if model.kept_place:
            self.results.show_row(model.current_row)
        else:
            self.results.set_current_row(model.current_row)
        self._preview.show(model.current)
        self._follow()

    def _current_changed(self) -> None:
        if self.results.current_row() >= 0:
            self._model.current_row = self.results.current_row()
            self._preview.show(self._model.current)
            self._follow()

    def _follow(self) -> None:
        """An explanation that is open speaks of the selected result."""
        result, place = self._model.current, self._model.current_row
        if self.why.isVisible() and result is not None:
            same = passage_of(result) == self.why.passage
            anchor = self.why.anchor if same else self._anchor(place)
            self.why.explain(result, place + 1, anchor, keyboard=False)

    def _anchor(self, place: int) -> QRect:
        rect = self.results.zone_rect(place, Zone.WHY)
        return QRect(self.results.viewport().mapTo(self, rect.topLeft()), rect.size())

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

    def escape(self) -> None:
        """Leave what was entered last: a card that floats, likes of a passage, one document, the query."""
        if self.why.leave() or self.help.leave():
            return
        if self._model.similar is not None:
            self._model.find_similar(None)
        elif self._model.filters.document:
            self._remove_filter("document")
        else:
            self.box.edit.clear()
        self.focus_query()

    def explain(self) -> None:
        """Say why the selected result is there, or put the explanation away."""
        if not self.why.leave() and self._model.current is not None:
            self.results.scrollTo(self.results.currentIndex())
            self._explain(keyboard=True)

    def find_similar(self) -> None:
        """Show what is like the selected passage."""
        if self._model.current is not None:
            self._model.find_similar(self._model.current)

    def look_in_document(self) -> None:
        """Show every passage of the selected result's document that answers the query."""
        result = self._model.current
        if result is not None:
            found = {"document": result.document_id, "document_title": document_title(result)}
            self._model.set_filters(replace(self._model.filters, **found))

    def judge(self, grade: int) -> None:
        """Say whether the selected result answers the query."""
        if not self._library.read_only:
            self._model.judge(grade)

    def _explain_row(self, place: int) -> None:
        again = self.why.isVisible() and self._model.current_row == place
        self.results.set_current_row(place)
        if again:
            self.why.leave()
        else:
            self._explain(keyboard=True)

    def _explain(self, *, keyboard: bool) -> None:
        result, place = self._model.current, self._model.current_row
        if result is not None:
            self.help.leave()
            self.why.explain(result, place + 1, self._anchor(place), keyboard=keyboard)

    def _look_in_row(self, place: int) -> None:
        self.results.set_current_row(place)
        self.look_in_document()

    def _remove_filter(self, field: str) -> None:
        self._model.set_filters(self._model.filters.without(field))

    def _toggle_help(self) -> None:
        if not self.help.leave():
            self.why.leave()
            anchor = QRect(self.box.mapTo(self, QPoint(0, 0)), self.box.size())
            self.help.show_beside(anchor, title=self.tr("What can be typed here"), keyboard=True)

    def _open_menu(self, where: QPoint) -> None:
        index = self.results.indexAt(where)
        if not index.isValid():
            return
        self.results.setCurrentIndex(index)
        model, result = self._model, self._model.current
        if result is not None:
            read_only = self._library.read_only
            menu = _result_menu(self, model.answered_query, result, can_judge=model.can_judge, read_only=read_only)
            menu.popup(self.results.viewport().mapToGlobal(where))

    def _pop_up(self, menu: QMenu, beside: QWidget) -> None:
        menu.popup(beside.mapToGlobal(QPoint(0, beside.height() + 4)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.why.isVisible():
            self.why.move_to(self._anchor(self._model.current_row))
        self.help.leave()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.why.leave()
        self.help.leave()


def _result_menu(pane: SearchPane, query: str, result: SearchResult, *, can_judge: bool, read_only: str) -> QMenu:
    """The menu of the selected result."""
    menu = popup_menu(pane)
    menu.addAction("Open source\tEnter", pane.open_wanted.emit)
    menu.addAction("Why is this here?\tCtrl+E", pane.explain)
    menu.addAction("Find similar\tCtrl+Shift+F", pane.find_similar)
    more = more_in_document(result)
    if more:
        menu.addAction(f"Show {more}", pane.look_in_document)
    menu.addSeparator()
    menu.addAction("Copy citation\tCtrl+C", pane.copy_wanted.emit)
    styles = menu.addMenu("Copy citation as")
    for style in CitationStyle:
        styles.addAction(_STYLES[style], partial(pane.copy_as_wanted.emit, style))
    menu.addAction("Copy as context\tCtrl+Shift+C", pane.copy_context_wanted.emit)
    menu.addAction("Verify citation", partial(pane.verify_wanted.emit, result))
    menu.addSeparator()
    relevant = menu.addAction("Mark relevant\tCtrl+D", partial(pane.judge, 1))
    irrelevant = menu.addAction("Mark not relevant\tCtrl+Shift+D", partial(pane.judge, 0))
    set_tip(relevant, "This document answers the query; such judgments measure how well settings find")
    set_tip(irrelevant, "This document does not answer the query")
    for action in (relevant, irrelevant):
        action.setEnabled(can_judge)
    pin = menu.addAction("Pin: this query must find this document")
    set_tip(pin, "No new generation becomes active unless it finds it too")
    pin.triggered.connect(lambda: pane.pin_wanted.emit(query, result))
    pin.setEnabled(bool(query))
    forbid(read_only, relevant, irrelevant, pin)
    return menu
