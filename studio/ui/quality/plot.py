"""Plots of measured settings: means as points, 95 % intervals as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.ui.parts import Theme, set_tip
from studio.viewmodels.quality import Point

RIGHT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
_CENTRE = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
_TITLE = 26
_AXIS = 24
_LINE_MAX = 40
_NAMES_MAX = 170
_DOT = 4.5
_CAP = 4.0


class QualityPlot(QWidget):
    """Points on lines of their own, or, where they have a place, over an axis from 0 to 1."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._title = ""
        self._axis = ""
        self._points: tuple[Point, ...] = ()
        self.setMinimumSize(240, 150)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(420, 210)

    def show_points(self, title: str, points: Sequence[Point], axis: str = "") -> None:
        """Plot these; `axis` says what the places of points are."""
        self._title, self._points, self._axis = title, tuple(points), axis
        self.setAccessibleName(title)
        self.setAccessibleDescription("; ".join(_described(point, axis) for point in self._points))
        set_tip(self, "\n".join(_described(point, axis) for point in self._points))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._theme.font(12))
        painter.setPen(self._theme.color("text2"))
        painter.drawText(QRectF(0, 0, self.width(), 18), Qt.AlignmentFlag.AlignLeft, self._title)
        if not self._points:
            return
        painter.setFont(self._theme.font(11, tabular=True))
        low, high, step = _scale(self._points)
        if all(point.at is not None for point in self._points):
            self._paint_over_axis(painter, low, high, step)
        else:
            self._paint_lines(painter, low, high, step)

    # ------------------------------------------------------------ a line for each

    def _paint_lines(self, painter: QPainter, low: float, high: float, step: float) -> None:
        metrics = QFontMetricsF(painter.font())
        names = min(_NAMES_MAX, max(metrics.horizontalAdvance(point.name) for point in self._points) + 30)
        room = QRectF(names, _TITLE, self.width() - names - 18, self.height() - _TITLE - _AXIS)
        height = min(_LINE_MAX, room.height() / len(self._points))
        room.setHeight(height * len(self._points))

        def across(value: float) -> float:
            return room.left() + (value - low) / (high - low) * room.width()

        for tick in _ticks(low, high, step):
            x = across(tick)
            painter.setPen(QPen(self._theme.color("border"), 1))
            painter.drawLine(QPointF(x, room.top()), QPointF(x, room.bottom()))
            painter.setPen(self._theme.color("muted"))
            painter.drawText(QRectF(x - 30, room.bottom() + 4, 60, 16), _CENTRE, f"{tick:.2f}")
        for number, point in enumerate(self._points):
            y = room.top() + (number + 0.5) * height
            self._paint_name(painter, QRectF(0, y - 9, names - 10, 18), point, metrics)
            start, end = QPointF(across(point.low), y), QPointF(across(point.high), y)
            self._paint_point(painter, point, QPointF(across(point.value), y), start, end)

    def _paint_name(self, painter: QPainter, rect: QRectF, point: Point, metrics: QFontMetricsF) -> None:
        painter.setPen(self._theme.color("text" if point.side else "text2"))
        text = f"{point.side}  {point.name}" if point.side else point.name
        painter.drawText(rect, RIGHT, metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, rect.width()))

    # ------------------------------------------------------------ over an axis

    def _paint_over_axis(self, painter: QPainter, low: float, high: float, step: float) -> None:
        room = QRectF(36, _TITLE, self.width() - 36 - 14, self.height() - _TITLE - _AXIS - 14)

        def place(at: float | None, value: float) -> QPointF:
            x = room.left() + (at or 0.0) * room.width()
            return QPointF(x, room.bottom() - (value - low) / (high - low) * room.height())

        for tick in _ticks(low, high, step):
            y = place(0, tick).y()
            painter.setPen(QPen(self._theme.color("border"), 1))
            painter.drawLine(QPointF(room.left(), y), QPointF(room.right(), y))
            painter.setPen(self._theme.color("muted"))
            painter.drawText(QRectF(0, y - 8, 30, 16), RIGHT, f"{tick:.2f}")
        for at in (0.0, 0.25, 0.5, 0.75, 1.0):
            painter.drawText(QRectF(place(at, low).x() - 20, room.bottom() + 4, 40, 16), _CENTRE, f"{at:g}")
        painter.drawText(QRectF(room.left(), room.bottom() + 19, room.width(), 16), _CENTRE, self._axis)
        painter.setPen(QPen(self._theme.color("border2"), 1.5))
        painter.drawPolyline([place(point.at, point.value) for point in self._points])
        for point in self._points:
            middle = place(point.at, point.value)
            self._paint_point(painter, point, middle, place(point.at, point.low), place(point.at, point.high))

    def _paint_point(self, painter: QPainter, point: Point, middle: QPointF, start: QPointF, end: QPointF) -> None:
        color = self._theme.color("accent" if point.side else "muted")
        painter.setPen(QPen(color, 1.6))
        painter.drawLine(start, end)
        cap = QPointF(0, _CAP) if start.y() == end.y() else QPointF(_CAP, 0)
        for tip in (start, end):
            painter.drawLine(tip - cap, tip + cap)
        painter.setBrush(color)
        painter.drawEllipse(middle, _DOT, _DOT)
        painter.setBrush(Qt.BrushStyle.NoBrush)


def _described(point: Point, axis: str) -> str:
    where = f"{axis} {point.at:g}" if axis and point.at is not None else point.name
    side = f" ({point.side})" if point.side else ""
    return f"{where}{side}: {point.value:.3f}, from {point.low:.3f} to {point.high:.3f}"


def _scale(points: Sequence[Point]) -> tuple[float, float, float]:
    """(low, high, step) of an axis that holds every interval and has about four round steps."""
    low, high = min(point.low for point in points), max(point.high for point in points)
    span = max(high - low, 0.04)
    step = next(size for size in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if span / size <= 5 or size == 0.25)
    low = max(0.0, math.floor(low / step + 1e-9) * step)
    high = min(1.0, math.ceil(high / step - 1e-9) * step)
    return (low, high, step) if high - low >= step else (max(0.0, high - step), max(high, step), step)


def _ticks(low: float, high: float, step: float) -> list[float]:
    return [low + number * step for number in range(round((high - low) / step) + 1)]
