"""The list of result cards: parts of a card that can be clicked, and the key that asks why."""

from __future__ import annotations

from PySide6.QtCore import QAbstractItemModel, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent

from studio.ui.parts import ItemList
from studio.ui.search.result_card import ResultDelegate, Zone
from studio.viewmodels.base import ITEM_ROLE


class ResultList(ItemList):
    """Cards with a “Why?” and a “more in this document”."""

    why_wanted = Signal(int)
    """The row whose place is to be explained."""
    more_wanted = Signal(int)
    """The row whose document is to be looked at in full."""

    def __init__(self, model: QAbstractItemModel, delegate: ResultDelegate, name: str) -> None:
        super().__init__(model, delegate, name)
        self._cards = delegate
        self._pressed: tuple[int, Zone] | None = None

    def zone_rect(self, row: int, zone: Zone) -> QRect:
        """Where a part of a card is, in the coordinates of the viewport; empty where the card has none."""
        index = self.model().index(row, 0)
        zones = self._cards.zones(QRectF(self.visualRect(index)), index.data(ITEM_ROLE))
        return zones[zone].toAlignedRect() if zone in zones else QRect()

    def show_row(self, row: int) -> None:
        """Make a row current where it is: the list does not scroll."""
        self.setAutoScroll(False)
        self.set_current_row(row)
        self.setAutoScroll(True)

    def _hit(self, event: QMouseEvent) -> tuple[int, Zone] | None:
        index = self.indexAt(event.position().toPoint())
        if not index.isValid():
            return None
        zone = self._cards.zone_at(QRectF(self.visualRect(index)), index.data(ITEM_ROLE), QPointF(event.position()))
        return (index.row(), zone) if zone is not None else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        hand = self._hit(event) is not None
        self.viewport().setCursor(Qt.CursorShape.PointingHandCursor if hand else Qt.CursorShape.ArrowCursor)
        super().mouseMoveEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._pressed = self._hit(event) if event.button() == Qt.MouseButton.LeftButton else None
        super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        hit, self._pressed = self._pressed, None
        if hit is None or hit != self._hit(event):
            return
        row, zone = hit
        (self.why_wanted if zone is Zone.WHY else self.more_wanted).emit(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.text() == "?" and self.currentIndex().isValid():
            self.why_wanted.emit(self.current_row())
            return
        super().keyPressEvent(event)
