"""How rows are painted: knowledge bases, results, queued files, generations."""

from __future__ import annotations

from typing import NamedTuple

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from studio.ui.parts.theme import Theme
from studio.viewmodels.ingest import Tone

Index = QModelIndex | QPersistentModelIndex
_MIDDLE = Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
MEDIUM = QFont.Weight.Medium
DEMI_BOLD = QFont.Weight.DemiBold
TONE_ICONS = {
    Tone.RUN: ("loader-circle", "accent"),
    Tone.OK: ("circle-check", "good"),
    Tone.BAD: ("circle-alert", "bad"),
    Tone.WAIT: ("clock", "muted"),
    Tone.CALM: ("circle-minus", "muted"),
    Tone.WARN: ("triangle-alert", "warn"),
}


class RowState(NamedTuple):
    """How a row is to be painted."""

    selected: bool
    hovered: bool
    focused: bool


class RowDelegate(QStyledItemDelegate):
    """Rows of one height, painted with the theme."""

    height = 62

    def __init__(self, theme: Theme, parent: QObject) -> None:
        super().__init__(parent)
        self.theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(200, self.height)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        flags = option.state
        state = RowState(
            bool(flags & QStyle.StateFlag.State_Selected),
            bool(flags & QStyle.StateFlag.State_MouseOver),
            bool(flags & QStyle.StateFlag.State_HasFocus),
        )
        self.paint_row(painter, QRectF(option.rect), state, index)
        painter.restore()

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        """Paint one row into `rect`."""
        raise NotImplementedError

    # ------------------------------------------------------------ pieces

    def icon(self, painter: QPainter, left: float, top: float, name: str, token: str, size: int = 16) -> None:
        """A tinted icon."""
        ratio = painter.device().devicePixelRatioF()
        painter.drawPixmap(QPointF(left, top), self.theme.pixmap(name, token, size, ratio))

    def text(
        self,
        painter: QPainter,
        rect: QRectF,
        text: str,
        font: QFont,
        token: str,
        align: Qt.AlignmentFlag = _MIDDLE,
        elide: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
    ) -> float:
        """One line of text, elided; the width it takes."""
        metrics = QFontMetricsF(font)
        shown = metrics.elidedText(text, elide, rect.width())
        painter.setFont(font)
        painter.setPen(self.theme.color(token))
        painter.drawText(rect, align | Qt.TextFlag.TextSingleLine, shown)
        return metrics.horizontalAdvance(shown)

    def chip(
        self,
        painter: QPainter,
        left: float,
        middle: float,
        text: str,
        ink: str,
        *,
        ground: str | None = None,
        border: str | None = None,
        height: float = 20,
        from_right: bool = False,
    ) -> float:
        """A rounded label; the width it takes. `left` is its right end with `from_right`."""
        font = self.theme.font(11, MEDIUM, tabular=True)
        width = QFontMetricsF(font).horizontalAdvance(text) + 16
        rect = QRectF(left - width if from_right else left, middle - height / 2, width, height)
        painter.setPen(QPen(self.theme.color(border), 1) if border else Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color(ground) if ground else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(rect, height / 2, height / 2)
        painter.setFont(font)
        painter.setPen(self.theme.color(ink))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)
        return width

    def ground(self, painter: QPainter, rect: QRectF, state: RowState) -> None:
        """The background of a hovered or selected row, with a ring when it has the keyboard."""
        if state.hovered or state.selected:
            ring = state.focused and state.selected
            painter.setPen(QPen(self.theme.color("accent")) if ring else Qt.PenStyle.NoPen)
            painter.setBrush(self.theme.color("hover"))
            painter.drawRoundedRect(rect.adjusted(0.5, 2.5, -0.5, -2.5), 8, 8)

    def rule(self, painter: QPainter, rect: QRectF) -> None:
        """The line below a row."""
        painter.setPen(self.theme.color("border"))
        painter.drawLine(QPointF(rect.left() + 46, rect.bottom() - 0.5), QPointF(rect.right() - 8, rect.bottom() - 0.5))
