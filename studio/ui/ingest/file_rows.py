"""Rows of files in a job."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter

from studio.ui.parts import MEDIUM, RIGHT, TONE_ICONS, Index, RowDelegate, RowState
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.ingest import QueueRow, Tone

_TONE_BADGES = {
    Tone.OK: ("good", "goodsoft"),
    Tone.BAD: ("bad", "badsoft"),
    Tone.CALM: ("muted", "panel"),
    Tone.WARN: ("warn", "warnsoft"),
}


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
        self.text(painter, room, f"{fraction:.0%}", self.theme.font(12, tabular=True), "text2", RIGHT)
