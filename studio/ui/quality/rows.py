"""How the rows of the Quality pane are painted: saved queries, measured settings, queries that gained or lost."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from studio.ui.parts import DEMI_BOLD, MEDIUM, Index, ItemList, RowDelegate, RowState, Theme
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.quality import MEASURES, MeasuredModel, MeasuredRow, MoveRow, QueryRow

RIGHT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
_NAME_SHARE = 0.24
_LATENCY_SHARE = 0.2


class SavedQueryDelegate(RowDelegate):
    """A saved query and how many documents are judged."""

    height = 40

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: QueryRow = index.data(ITEM_ROLE)
        self.ground(painter, rect.adjusted(4, 0, -4, 0), state)
        self.icon(painter, rect.left() + 16, rect.center().y() - 8, "search", "muted")
        room = rect.adjusted(44, 0, -16, 0)
        token = "muted" if item.relevant else "warn"
        taken = self.text(painter, room, item.judged, self.theme.font(12, tabular=True), token, RIGHT)
        self.text(painter, room.adjusted(0, 0, -taken - 16, 0), item.title, self.theme.font(13, MEDIUM), "text")


def _columns(rect: QRectF) -> tuple[QRectF, list[QRectF], QRectF]:
    """(name, measures, latency) of a row."""
    inner = rect.adjusted(16, 0, -16, 0)
    name = QRectF(inner.left(), inner.top(), inner.width() * _NAME_SHARE, inner.height())
    latency = inner.adjusted(inner.width() * (1 - _LATENCY_SHARE), 0, 0, 0)
    width = (latency.left() - name.right()) / len(MEASURES)
    cells = [
        QRectF(name.right() + number * width, inner.top(), width, inner.height()) for number in range(len(MEASURES))
    ]
    return name, cells, latency


class MeasuredHeader(QWidget):
    """The names of the columns above the measured settings."""

    def __init__(self, theme: Theme, model: MeasuredModel, rows: ItemList) -> None:
        super().__init__()
        self._theme = theme
        self._rows = rows
        self._model = model
        self.setFixedHeight(26)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(600, 26)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self._theme.font(11, DEMI_BOLD))
        painter.setPen(self._theme.color("muted"))
        name, cells, latency = _columns(QRectF(0, 0, self._rows.viewport().width(), self.height()))
        painter.drawText(name, Qt.AlignmentFlag.AlignVCenter, "SETTING")
        for (_, measure), cell in zip(MEASURES, cells, strict=True):
            title = f"{measure}@{self._model.k}" if measure in ("nDCG", "Recall") else measure
            painter.drawText(cell, RIGHT, title)
        painter.drawText(latency, RIGHT, "p50 / p95 / p99 ms")


class MeasuredDelegate(RowDelegate):
    """A setting with its means, intervals beneath, and latencies. A and B are marked."""

    height = 42

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: MeasuredRow = index.data(ITEM_ROLE)
        chosen = state._replace(selected=bool(item.side))
        self.ground(painter, rect.adjusted(4, -1, -2, 1), chosen)
        name, cells, latency = _columns(rect)
        if item.side:
            taken = self.chip(painter, name.left(), rect.center().y(), item.side, "softtext", ground="soft")
            name.adjust(taken + 8, 0, 0, 0)
        self.text(painter, name, item.name, self.theme.font(13, MEDIUM), "text", elide=Qt.TextElideMode.ElideMiddle)
        small = self.theme.font(11, tabular=True)
        for number, ((mean, interval), cell) in enumerate(zip(item.values, cells, strict=True)):
            first = number == 0
            font = self.theme.font(13, DEMI_BOLD if first and item.best else MEDIUM, tabular=True)
            above = cell.adjusted(0, 4, 0, -19) if interval else cell
            self.text(painter, above, mean, font, "good" if first and item.best else "text", RIGHT)
            self.text(painter, cell.adjusted(0, 21, 0, -4), interval, small, "muted", RIGHT)
        times = " / ".join(item.latency)
        self.text(painter, latency, times, self.theme.font(12, tabular=True), "text2", RIGHT)


class MoveDelegate(RowDelegate):
    """A query that one setting answers better than the other."""

    height = 32

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: MoveRow = index.data(ITEM_ROLE)
        self.ground(painter, rect.adjusted(0, 0, -2, 0), state)
        ink, ground = ("good", "goodsoft") if item.gained else ("bad", "badsoft")
        taken = self.chip(painter, rect.left() + 8, rect.center().y(), item.change, ink, ground=ground)
        room = rect.adjusted(taken + 18, 0, -12, 0)
        used = self.text(painter, room, item.values, self.theme.font(12, tabular=True), "muted", RIGHT)
        self.text(painter, room.adjusted(0, 0, -used - 12, 0), item.query, self.theme.font(13), "text")
