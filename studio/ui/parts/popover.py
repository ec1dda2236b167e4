"""A card that floats over a pane beside what it speaks of, and does not hold the rest up."""

from __future__ import annotations

from PySide6.QtCore import QRect, Qt, Signal
from PySide6.QtGui import QHideEvent, QKeyEvent
from PySide6.QtWidgets import QApplication, QFrame, QGraphicsDropShadowEffect, QLayout, QWidget

from studio.ui.parts.theme import Theme
from studio.ui.parts.widgets import column, label, row, tool_button

_MARGIN = 10
_GAP = 12


class Popover(QFrame):
    """Goes with Escape or its cross, and gives the keyboard back to who had it."""

    closed = Signal()

    def __init__(self, theme: Theme, parent: QWidget, width: int) -> None:
        super().__init__(parent)
        self.setObjectName("popover")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedWidth(width)
        self._theme = theme
        self.anchor = QRect()
        self._before: QWidget | None = None
        self._title = label("", "title")
        self._dismiss = tool_button(self.tr("Close"), "Esc")
        self._dismiss.clicked.connect(self.leave)
        head = row(self._title, None, self._dismiss)
        self.content = column(head, margins=(16, 10, 10, 14), spacing=6)
        self.setLayout(self.content)
        self.setGraphicsEffect(QGraphicsDropShadowEffect(self, blurRadius=28, offset=4))
        theme.changed.connect(self._retint)
        self._retint()
        self.hide()

    def show_beside(self, anchor: QRect, *, title: str, keyboard: bool) -> None:
        """Show it below `anchor`, in the parent's coordinates, or above where there is more room.

        `keyboard`: it takes the keyboard until it goes.
        """
        self._title.setText(title)
        if not self.isVisible():
            self._before = QApplication.focusWidget()
        self.show()
        self.move_to(anchor)
        self.raise_()
        if keyboard:
            self.setFocus(Qt.FocusReason.PopupFocusReason)

    def move_to(self, anchor: QRect) -> None:
        """Stand beside another place."""
        self.anchor = anchor
        self._place(anchor)

    def leave(self) -> bool:
        """Put it away; whether it was there."""
        shown = self.isVisible()
        self.hide()
        return shown

    def _place(self, anchor: QRect) -> None:
        layout = self.layout()
        assert isinstance(layout, QLayout)
        height = layout.totalHeightForWidth(self.width()) if layout.hasHeightForWidth() else self.sizeHint().height()
        self.resize(self.width(), height)
        room = self.parentWidget().rect().adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        left = min(max(anchor.right() - self.width(), room.left()), room.right() - self.width())
        below = anchor.bottom() + _GAP
        above = anchor.top() - _GAP - height
        top = below if below + height <= room.bottom() or above < room.top() else above
        self.move(left, max(room.top(), min(top, room.bottom() - height)))

    def _retint(self) -> None:
        self._dismiss.setIcon(self._theme.icon("x"))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.leave()
        else:
            super().keyPressEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        focused = QApplication.focusWidget()
        if self._before is not None and (focused is None or self is focused or self.isAncestorOf(focused)):
            self._before.setFocus()
        self._before = None
        self.closed.emit()
