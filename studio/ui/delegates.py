"""How rows are painted: knowledge bases, results, queued files, generations."""

from __future__ import annotations

from typing import NamedTuple

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from studio.domain import GenerationState
from studio.ui.theme import Theme
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.generations import GenerationRow
from studio.viewmodels.library import SourceRow
from studio.viewmodels.queue import QueueRow, Tone

Index = QModelIndex | QPersistentModelIndex
_MIDDLE = Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
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
_TONE_BADGES = {
    Tone.OK: ("good", "goodsoft"),
    Tone.BAD: ("bad", "badsoft"),
    Tone.CALM: ("muted", "panel"),
    Tone.WARN: ("warn", "warnsoft"),
}
_STATE_CHIPS = {
    GenerationState.ACTIVE: ("good", "goodsoft"),
    GenerationState.READY: ("softtext", "soft"),
    GenerationState.FAILED: ("bad", "badsoft"),
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


class SourceDelegate(RowDelegate):
    """A knowledge base in the sidebar."""

    height = 34

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: SourceRow = index.data(ITEM_ROLE)
        rect = rect.adjusted(8, 1, -8, -1)
        if state.selected or state.hovered:
            ring = state.focused and state.selected
            painter.setPen(QPen(self.theme.color("accent")) if ring else Qt.PenStyle.NoPen)
            painter.setBrush(self.theme.color("soft" if state.selected else "hover"))
            painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 7, 7)
        ink = "softtext" if state.selected else "text"
        icon = "library" if item.kb is None else "database"
        self.icon(painter, rect.left() + 9, rect.center().y() - 8, icon, "softtext" if state.selected else "text2")
        counted = self.theme.font(12, tabular=True)
        self.text(painter, rect.adjusted(0, 0, -10, 0), item.count, counted, "muted", _RIGHT)
        room = rect.adjusted(34, 0, -20 - QFontMetricsF(counted).horizontalAdvance(item.count), 0)
        self.text(painter, room, item.name, self.theme.font(13, MEDIUM), ink)


class QueueDelegate(RowDelegate):
    """A file of the ingest queue: what it is, how far it has come, how it ended."""

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: QueueRow = index.data(ITEM_ROLE)
        self.ground(painter, rect, state)
        self.mark(painter, rect, item.tone)
        left, width = rect.left() + 46, rect.width() - 46 - self.ending_width(item.tone)
        self.text(
            painter,
            QRectF(left, rect.top() + 10, width, 18),
            item.name,
            self.theme.font(13, MEDIUM),
            "text",
            elide=Qt.TextElideMode.ElideMiddle,
        )
        ink = "bad" if item.tone is Tone.BAD else "muted"
        detail = QRectF(left, rect.top() + 31, width, 18)
        self.text(painter, detail, item.detail, self.theme.font(12, tabular=True), ink)
        self.ending(painter, rect, item.tone, item.badge, item.fraction)
        self.rule(painter, rect)

    def mark(self, painter: QPainter, rect: QRectF, tone: Tone) -> None:
        """The icon at the left."""
        icon, ink = TONE_ICONS[tone]
        self.icon(painter, rect.left() + 14, rect.center().y() - 9, icon, ink, 18)

    def ending_width(self, tone: Tone) -> int:
        """Room kept at the right for `ending`, in pixels."""
        return 136 if tone in _TONE_BADGES else 190

    def ending(self, painter: QPainter, rect: QRectF, tone: Tone, badge: str, fraction: float) -> None:
        """The badge at the right, or how far it is."""
        if tone in _TONE_BADGES:
            ink, ground = _TONE_BADGES[tone]
            middle = rect.center().y()
            self.chip(painter, rect.right() - 12, middle, badge, ink, ground=ground, height=22, from_right=True)
        else:
            self._bar(painter, rect, fraction)

    def _bar(self, painter: QPainter, rect: QRectF, fraction: float) -> None:
        bar = QRectF(rect.right() - 176, rect.center().y() - 3, 110, 6)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("border"))
        painter.drawRoundedRect(bar, 3, 3)
        if fraction > 0:
            painter.setBrush(self.theme.color("accent"))
            painter.drawRoundedRect(QRectF(bar.left(), bar.top(), max(6.0, bar.width() * fraction), 6), 3, 3)
        room = QRectF(bar.right() + 8, rect.top(), 46, rect.height())
        self.text(painter, room, f"{fraction:.0%}", self.theme.font(12, tabular=True), "text2", _RIGHT)


class GenerationDelegate(RowDelegate):
    """A generation: number, state, what it holds, where it comes from, when it was made; why it is held back."""

    height = 82
    held_height = 104
    _moments_width = 190

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        item: GenerationRow = index.data(ITEM_ROLE)
        return QSize(200, self.held_height if item.held else self.height)

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: GenerationRow = index.data(ITEM_ROLE)
        self.ground(painter, rect, state)
        ink, ground = ("warn", "warnsoft") if item.held else _STATE_CHIPS.get(item.state, ("muted", "panel"))
        left, top = rect.left() + 46, rect.top() + 11
        self.icon(painter, rect.left() + 14, top + 17, "layers", ink, 18)
        width = rect.width() - 46 - self._moments_width
        small = self.theme.font(12, tabular=True)
        taken = self.text(painter, QRectF(left, top, width, 18), item.name, self.theme.font(13, MEDIUM), "text")
        self.chip(painter, left + taken + 10, top + 9.5, item.chip, ink, ground=ground)
        failed = item.state is GenerationState.FAILED
        lines = [(item.held, "warn"), (item.detail, "bad" if failed else "muted"), (item.origin, "muted")]
        top += 21
        room = width if item.before else rect.width() - 46 - 16
        for text, token in lines:
            if text:
                self.text(painter, QRectF(left, top, room, 18), text, small, token)
                top, room = top + 20, rect.width() - 46 - 16
        moments = QRectF(rect.right() - self._moments_width, rect.top() + 11, self._moments_width - 16, 18)
        self.text(painter, moments, item.when, small, "text2", _RIGHT)
        self.text(painter, moments.translated(0, 21), item.before, small, "muted", _RIGHT)
        self.rule(painter, rect)
