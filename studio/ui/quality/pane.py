"""The Quality pane: which setting finds more, measured with the person's own judgments."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QPoint, Signal
from PySide6.QtWidgets import QButtonGroup, QPushButton, QStackedWidget, QWidget

from studio.ui.parts import (
    Banner,
    ItemList,
    Theme,
    button,
    column,
    confirm,
    label,
    panel,
    popup_menu,
    row,
    segmented,
    set_tip,
)
from studio.ui.quality.plot import QualityPlot
from studio.ui.quality.queries import SavedQueriesPage
from studio.ui.quality.rows import MeasuredDelegate, MeasuredHeader, MoveDelegate
from studio.ui.quality.run import RunBar
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.quality import MeasuredRow, MoveRow, asides, points, verdict, weight_points
from studio.viewmodels.text import moment
from studio.viewmodels.workspace import Workspace

MEASUREMENTS, QUERIES = range(2)
_EMPTY = 2
_ROWS_SHOWN = 7
_LOWER_HEIGHT = 340


class QualityPane(QWidget):
    """Measurements and saved queries of the selected knowledge base."""

    query_wanted = Signal(str)
    """A query is to be searched."""
    search_wanted = Signal()

    def __init__(self, workspace: Workspace, theme: Theme) -> None:
        super().__init__()
        self._model = model = workspace.quality
        self._of = label("")
        self._hint = label("")
        self._hint.setWordWrap(True)
        self._tabs = QButtonGroup(self)
        tabs = []
        for number, name in enumerate((self.tr("Measurements"), self.tr("Saved queries"))):
            tab = QPushButton(name)
            tab.setCheckable(True)
            self._tabs.addButton(tab, number)
            tabs.append(tab)
        self._tabs.idClicked.connect(self.show_page)
        self._segments = segmented(self.tr("What is shown"), *tabs)
        self.saved = SavedQueriesPage(model, theme)
        self.measurements = MeasurementsPage(workspace, theme)
        self._pages = QStackedWidget()
        for page in (self.measurements, self.saved, self._empty_page()):
            self._pages.addWidget(page)
        self._page = MEASUREMENTS
        head = row(label(self.tr("Quality"), "h1"), self._of, None, self._segments)
        layout = column(head, self._hint, self._pages, margins=(24, 20, 24, 16), spacing=14)
        layout.setStretch(2, 1)
        self.setLayout(column(panel("page", layout), spacing=0))
        self.saved.query_wanted.connect(self.query_wanted)
        self.measurements.query_wanted.connect(self.query_wanted)
        model.changed.connect(self._show)
        model.queries.modelReset.connect(self._show)
        self.show_page(MEASUREMENTS)

    def _empty_page(self) -> QWidget:
        self._search = button(self.tr("Go to search"), "primary")
        self._import = button(self.tr("Import queries and judgments…"))
        self._search.clicked.connect(self.search_wanted)
        self._import.clicked.connect(self.saved.ask_load)
        said = label(
            self.tr(
                "Mark results as relevant while you search: Ctrl+D in the search pane, or the menu of a result. "
                "Or import a collection with judgments, in BEIR or TREC form.\n\n"
                "The judged queries can then be run over different settings, to see which of them finds more."
            ),
            "body",
        )
        said.setWordWrap(True)
        said.setFixedWidth(520)
        page = QWidget()
        text = column(label(self.tr("Nothing is judged yet"), "h2"), said, 4, row(self._search, self._import, None))
        page.setLayout(column(None, row(None, text, None), None, None))
        return page

    def show_page(self, page: int) -> None:
        """Show MEASUREMENTS or QUERIES."""
        self._page = page
        self._tabs.button(page).setChecked(True)
        self._show()

    def focus(self) -> QWidget:
        """What gets the keyboard when the pane is shown."""
        return self.saved.list if self._page == QUERIES else self.measurements.list

    def _show(self) -> None:
        model = self._model
        empty = not model.queries.items and model.evaluation is None
        self._of.setText(self.tr("of {0}").format(model.kb.name) if model.kb is not None else "")
        self._segments.setVisible(model.kb is not None and not empty)
        self._pages.setVisible(model.kb is not None)
        self._pages.setCurrentIndex(_EMPTY if empty else self._page)
        saved = len(model.queries.items)
        self._tabs.button(QUERIES).setText(self.tr("Saved queries  {0}").format(f"{saved:,}" if saved else "").strip())
        self._import.setEnabled(not model.read_only)
        set_tip(self._import, model.read_only)
        if model.kb is None:
            hint = self.tr("Select a knowledge base in the sidebar to see how well it answers.")
        elif self._page == QUERIES:
            hint = self.tr("What a run asks: queries with at least one relevant document.")
        else:
            hint = self.tr("Which setting finds more of what you marked as relevant, and how sure that is.")
        self._hint.setText(hint)
        self._hint.setVisible(model.kb is None or not empty)


class MeasurementsPage(QWidget):
    """One run: its table, its plots, and two of its settings side by side."""

    query_wanted = Signal(str)

    def __init__(self, workspace: Workspace, theme: Theme) -> None:
        super().__init__()
        self._model = model = workspace.quality
        self.bar = RunBar(model, workspace.generations, theme)
        self.bar.deletion_wanted.connect(self._ask_forget)
        self._error = Banner(theme)
        self._when = label("")
        self.list = ItemList(model.measured, MeasuredDelegate(theme, self), self.tr("Measured settings"))
        self.list.clicked.connect(lambda index: self._toggle(index.data(ITEM_ROLE)))
        self.list.activated.connect(lambda index: self._toggle(index.data(ITEM_ROLE)))
        self.list.customContextMenuRequested.connect(self._open_menu)
        self.plot = QualityPlot(theme)
        self.curve = QualityPlot(theme)
        self.verdict = label("", "title")
        self.verdict.setWordWrap(True)
        self._asides = label("")
        self._asides.setWordWrap(True)
        self.moves = ItemList(model.moves, MoveDelegate(theme, self), self.tr("Queries that gained or lost most"))
        self.moves.activated.connect(self._open_move)
        table = column(MeasuredHeader(theme, model.measured, self.list), self.list, margins=(0, 4, 2, 4), spacing=0)
        self._table = panel("listframe", table)
        sides = column(self.verdict, self._asides, self.moves, margins=(14, 12, 6, 6), spacing=6)
        sides.setStretch(2, 1)
        self._sides = panel("listframe", sides)
        lower = row(self.plot, self.curve, self._sides, spacing=18)
        for number, share in enumerate((3, 3, 4)):
            lower.setStretch(number, share)
        self._lower = QWidget()
        self._lower.setLayout(lower)
        self._lower.setMaximumHeight(_LOWER_HEIGHT)
        self._waiting = label(self.tr("Choose what is to be compared, then run it."), "body")
        parts = (self.bar, self._error, self._when, self._table, self._lower, self._waiting, None)
        layout = column(*parts, spacing=12)
        layout.setStretch(4, 1)
        self.setLayout(layout)
        model.changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        model, found = self._model, self._model.evaluation
        self._error.show_text(model.error)
        self._table.setVisible(found is not None)
        self._lower.setVisible(found is not None)
        self._when.setVisible(found is not None)
        self._waiting.setVisible(found is None and not model.running and not model.error)
        if found is None:
            return
        when = moment(found.created_ms) if found.created_ms else self.tr("just now, not kept")
        asked = self.tr("{0} judged queries").format(f"{found.queries:,}")
        self._when.setText(
            self.tr("Run of {0} · {1} · 95 % intervals · click two settings to compare them").format(when, asked)
        )
        rows = len(model.measured.items)
        self.list.setFixedHeight(min(_ROWS_SHOWN, rows) * MeasuredDelegate.height + 2)
        self.plot.show_points(self.tr("nDCG@{0} by setting").format(found.k), points(found, model.sides))
        curve = weight_points(found, model.sides)
        self.curve.setVisible(bool(curve))
        if curve:
            self.curve.show_points(
                self.tr("nDCG@{0} over weight").format(found.k), curve, self.tr("share of the vector side")
            )
        self._show_sides()

    def _show_sides(self) -> None:
        report = self._model.report_ab
        self._sides.setVisible(len(self._model.measured.items) > 1)
        if report is not None:
            self.verdict.setText(verdict(report))
            self._asides.setText(asides(report))
        else:
            comparing = len(self._model.sides) == 2
            self.verdict.setText(self.tr("Comparing…") if comparing else self.tr("Click two settings to compare them."))
            self._asides.setText("")

    def _toggle(self, item: MeasuredRow) -> None:
        """Take a setting out of the comparison, or into it, in place of B where there are two."""
        sides = list(self._model.sides)
        if item.name in sides:
            sides.remove(item.name)
        else:
            sides = [*sides[:1], item.name]
        self._model.compare(sides)

    def _open_menu(self, where: QPoint) -> None:
        index = self.list.indexAt(where)
        if not index.isValid():
            return
        item: MeasuredRow = index.data(ITEM_ROLE)
        others = [name for name in self._model.sides if name != item.name]
        menu = popup_menu(self)
        menu.addAction(self.tr("Compare as A"), partial(self._model.compare, [item.name, *others[-1:]]))
        menu.addAction(self.tr("Compare as B"), partial(self._model.compare, [*others[:1], item.name]))
        menu.popup(self.list.viewport().mapToGlobal(where))

    def _open_move(self) -> None:
        item: MoveRow | None = self.moves.currentIndex().data(ITEM_ROLE)
        if item is not None:
            self.query_wanted.emit(item.query)

    def _ask_forget(self, run_id: int) -> None:
        confirm(
            self,
            self.tr("Forget this run?"),
            self.tr("Its numbers are lost; the saved queries and judgments stay."),
            self.tr("Forget"),
            partial(self._model.delete_run, run_id),
        )
