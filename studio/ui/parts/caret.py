"""The text cursor: it blinks while a person types, and stands still after ten seconds without a key or a click.

Each blink wakes the program and draws a part of the window, twice a second for as long as a search box has the focus.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication, QWidget

REST_MS = 10_000
_ACTS = (QEvent.Type.KeyPress, QEvent.Type.MouseButtonPress)


class RestingCaret(QObject):
    """Watches the widget that has the focus, and no other."""

    def __init__(self, application: QApplication, parent: QObject) -> None:
        super().__init__(parent)
        self._hints = application.styleHints()
        self._flash_ms = self._hints.cursorFlashTime()
        self._timer = QTimer(self, singleShot=True, interval=REST_MS)
        self._timer.timeout.connect(self.rest)
        application.focusChanged.connect(self._follow)

    def rest(self) -> None:
        """Let the cursor stand still until the next key or click."""
        self._hints.setCursorFlashTime(0)

    def _follow(self, old: QWidget | None, new: QWidget | None) -> None:
        if old is not None:
            old.removeEventFilter(self)
        if new is not None:
            new.installEventFilter(self)
            self._blink()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in _ACTS:
            self._blink()
        return False

    def _blink(self) -> None:
        if self._hints.cursorFlashTime() != self._flash_ms:
            self._hints.setCursorFlashTime(self._flash_ms)
        self._timer.start()
