"""Rows of generations."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyleOptionViewItem

from studio.domain import GenerationState
from studio.ui.parts import MEDIUM, RIGHT, Index, RowDelegate, RowState
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.generations import GenerationRow

_STATE_CHIPS = {
    GenerationState.ACTIVE: ("good", "goodsoft"),
    GenerationState.READY: ("softtext", "soft"),
    GenerationState.FAILED: ("bad", "badsoft"),
}


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
        self.text(painter, moments, item.when, small, "text2", RIGHT)
        self.text(painter, moments.translated(0, 21), item.before, small, "muted", RIGHT)
        self.rule(painter, rect)
