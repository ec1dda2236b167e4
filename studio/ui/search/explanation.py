"""Why a result is there: both sides with their ranks and scores, how they were fused, which words matched."""

from __future__ import annotations

from PySide6.QtCore import QRect, Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QProgressBar, QSizePolicy, QWidget

from studio.domain import SearchResult
from studio.ui.parts import ElidedLabel, FlowLayout, Popover, Theme, label
from studio.viewmodels.search import ExplanationText, SideLine, explain, passage_of
from studio.viewmodels.text import document_title

_WIDTH = 408
_HEADS = ("", "Rank", "Score", "Normalised", "Share")


class ExplanationPopover(Popover):
    """Explains one result; the same result explained anew keeps its place."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(theme, parent, _WIDTH)
        self.passage: tuple[str, str] | None = None
        self._document = ElidedLabel("muted")
        self._summary = label("", "body")
        self._summary.setWordWrap(True)
        self._details: QWidget | None = None
        self.content.addWidget(self._document)
        self.content.addWidget(self._summary)
        self.closed.connect(self._forget)

    def explain(self, result: SearchResult, place: int, anchor: QRect, *, keyboard: bool) -> None:
        """Show why `result` is the one at `place` (from 1), beside `anchor`."""
        text = explain(result, place)
        self.passage = passage_of(result)
        self._document.setText(document_title(result))
        self._summary.setText(text.summary)
        if self._details is not None:
            self.content.removeWidget(self._details)
            self._details.setParent(None)
            self._details.deleteLater()
        self._details = _details(text)
        self.content.addWidget(self._details)
        self._details.show()  # what is hidden takes no room
        self.setAccessibleName(text.title)
        self.setAccessibleDescription(text.spoken)
        self.show_beside(anchor, title=text.title, keyboard=keyboard)

    def _forget(self) -> None:
        self.passage = None


def _details(text: ExplanationText) -> QWidget:
    widget = QWidget()
    grid = QGridLayout(widget)
    grid.setContentsMargins(0, 6, 6, 0)
    grid.setHorizontalSpacing(12)
    grid.setVerticalSpacing(7)
    grid.setColumnStretch(3, 1)
    for column, head in enumerate(_HEADS):
        grid.addWidget(label(head), 0, column)
    for line, side in enumerate(text.sides, start=1):
        _add_side(grid, line, side)
    line = len(text.sides) + 1
    for name, value in text.facts:
        shown = label(value, "body")
        shown.setWordWrap(True)
        _add_fact(grid, line, name, shown)
        line += 1
    if text.terms:
        terms = QWidget()
        flow = FlowLayout(terms)
        for term in text.terms:
            chip = label(term, "term")
            flow.addWidget(chip)
        terms.setAccessibleName(", ".join(text.terms))
        _add_fact(grid, line, "Matched words", terms)
    return widget


def _add_side(grid: QGridLayout, line: int, side: SideLine) -> None:
    name = label(side.name, "fact")
    grid.addWidget(name, line, 0)
    if not side.found:
        grid.addWidget(label("Not among its candidates"), line, 1, 1, 3)
    else:
        grid.addWidget(label(side.rank, "body"), line, 1)
        grid.addWidget(label(side.score, "body"), line, 2)
        bar = QProgressBar()
        bar.setRange(0, 1000)
        bar.setValue(round(side.fill * 1000))
        bar.setTextVisible(False)
        bar.setFixedHeight(6)
        bar.setAccessibleName(f"{side.name}, normalised score {side.normalised}")
        cell = QWidget()
        inner = QGridLayout(cell)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setHorizontalSpacing(8)
        inner.addWidget(bar, 0, 0, Qt.AlignmentFlag.AlignVCenter)
        value = label(side.normalised, "body")
        widest = "0" * len(side.normalised)  # so that the bars of both sides are equally long
        value.setMinimumWidth(value.fontMetrics().horizontalAdvance(widest))
        inner.addWidget(value, 0, 1)
        grid.addWidget(cell, line, 3)
    grid.addWidget(label(f"{side.share:.0%}", "body"), line, 4)


def _add_fact(grid: QGridLayout, line: int, name: str, value: QWidget) -> None:
    title = label(name)
    top = Qt.AlignmentFlag.AlignTop
    grid.addWidget(title, line, 0, top)
    if isinstance(value, QLabel):
        value.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    grid.addWidget(value, line, 1, 1, 4)
