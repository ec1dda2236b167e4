"""The query field: keys that act on the results, the passage whose likes are shown, help with the syntax."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QLineEdit, QPushButton

from studio.ui.parts import PlainLabel, Theme, WindowKeys, label, row, set_flag, set_tip, tool_button

_CHIP_TEXT_PX = 260


class RemovableChip(QPushButton):
    """A few words with a cross: pressing it takes away what they say."""

    def __init__(self, theme: Theme, text: str, tip: str) -> None:
        super().__init__()
        self.setObjectName("chip")
        self.setProperty("active", "true")
        self.setIconSize(QSize(12, 12))
        self.setMinimumHeight(26)  # a round end needs more than its radius
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # the cross stands at the right
        self._theme = theme
        theme.changed.connect(self._retint)
        self._retint()
        self.show_text(text, tip)

    def show_text(self, text: str, tip: str) -> None:
        """Say something else."""
        self.ensurePolished()
        shown = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, _CHIP_TEXT_PX)
        self.setText(shown.replace("&", "&&"))
        set_tip(self, tip)
        self.setAccessibleName(self.tr("Remove: {0}").format(text))

    def _retint(self) -> None:
        self.setIcon(self._theme.icon("x", "softtext", size=12))


class SearchBox(QFrame):
    """The query field. Up, Down, Enter and Escape act on the results while typing goes on."""

    moved = Signal(int)
    opened = Signal()
    similar_left = Signal()
    """The chip with the passage whose likes are shown was taken away."""
    help_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("searchbox")
        self.setFixedHeight(46)
        self._theme = theme
        self._icon = PlainLabel()
        self.similar = RemovableChip(theme, "", "")
        self.similar.clicked.connect(self.similar_left)
        self.similar.hide()
        self.edit = QLineEdit()
        self.edit.setAccessibleName(self.tr("Search query"))
        self.edit.setFrame(False)
        self.edit.installEventFilter(self)
        self.edit.installEventFilter(WindowKeys(self))
        self.help = tool_button(self.tr("What can be typed here"))
        self.help.clicked.connect(self.help_wanted)
        keys = label("Ctrl K", "kbd")
        self.setLayout(row(self._icon, self.similar, self.edit, self.help, keys, margins=(14, 0, 12, 0), spacing=10))
        self.setFocusProxy(self.edit)
        theme.changed.connect(self._retint)
        self._retint()

    def show_similar(self, text: str) -> None:
        """Show the chip with the passage whose likes are shown; "" for none."""
        self.similar.setVisible(bool(text))
        if text:
            self.similar.show_text(self.tr("Similar to: {0}").format(text), self.tr("Back to the query (Esc)"))

    def _retint(self) -> None:
        self._icon.setPixmap(self._theme.pixmap("search", "muted", 18, self.devicePixelRatioF()))
        self.help.setIcon(self._theme.icon("circle-question-mark", "muted"))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            set_flag(self, "focused", event.type() == QEvent.Type.FocusIn)
        elif isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_PageUp: -4, Qt.Key.Key_PageDown: 4}
            if event.key() in steps:
                self.moved.emit(steps[Qt.Key(event.key())])
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self.opened.emit()
                return True
            if event.key() == Qt.Key.Key_Backspace and self.similar.isVisibleTo(self) and not self.edit.text():
                self.similar_left.emit()
                return True
        return super().eventFilter(watched, event)
