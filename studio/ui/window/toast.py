"""A message that comes up over the window and goes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QAccessible, QAccessibleEvent, QHideEvent
from PySide6.QtWidgets import QFrame, QGraphicsDropShadowEffect, QSizePolicy, QWidget

from studio.ui.parts import PlainLabel, Theme, button, column, label, row, tool_button

_INFO_MS = 2500
_SHORT = 60
"""Characters that fit two lines of the narrow message."""
_READING_MS = 50
"""A person reads some twenty characters in a second."""
_ERROR_MS = 12_000


@dataclass(frozen=True, slots=True)
class _Aside:
    """Something that can be undone, covered by another message; so long it stays when it comes back."""

    text: str
    action: str
    call: Callable[[], object]
    left_ms: int


class Toast(QFrame):
    """One message at a time, above the status bar; an error stays longer and can be put away.

    What can be undone is covered by what comes after it, and is back when that is answered or put away, until its time
    is over. An error stops its clock.
    """

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("toast")
        self._theme = theme
        self._is_error = False
        self._mark = ("circle-check", "good")
        self._icon = PlainLabel()
        self._text = label("", "toasttext")
        self._text.setWordWrap(True)
        self._way_out = label("")
        self._way_out.setWordWrap(True)
        self._action = button(self.tr("Show"), "link")
        self._action.clicked.connect(self._act)
        self._call: Callable[[], object] | None = None
        self._waiting = ""
        self._aside: list[_Aside] = []
        self._since = time.monotonic()
        self._dismiss = tool_button(self.tr("Dismiss"))
        self._dismiss.clicked.connect(self.hide)
        content = row(
            self._icon,
            column(self._text, self._way_out, spacing=2),
            self._action,
            self._dismiss,
            margins=(14, 10, 8, 10),
            spacing=10,
        )
        content.setStretch(1, 1)
        content.setAlignment(self._icon, Qt.AlignmentFlag.AlignTop)
        content.setAlignment(self._action, Qt.AlignmentFlag.AlignVCenter)
        content.setAlignment(self._dismiss, Qt.AlignmentFlag.AlignTop)
        self.setLayout(content)
        shadow = QGraphicsDropShadowEffect(self, blurRadius=28, offset=4)
        self.setGraphicsEffect(shadow)
        for text in (self._text, self._way_out):
            text.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self.hide)
        theme.changed.connect(self._retint)
        parent.installEventFilter(self)
        self.hide()

    @property
    def message(self) -> str:
        """What is said now, "" when nothing is."""
        return self._text.text() if self.isVisible() else ""

    def inform(self, text: str, action: str = "", call: Callable[[], object] | None = None) -> None:
        """Say that something was done; `call` is made when the button `action` is pressed."""
        if not action and self._call is not None and self.isVisible():
            self._waiting = text  # what can be undone stays until its time is over
            return
        self._put_aside()
        self._offer(action, call)
        self._say(text, "", is_error=False)

    def warn(self, text: str, way_out: str = "") -> None:
        """Say what went wrong and what can be done."""
        self._put_aside()
        self._offer("", None)
        self._say(text, way_out, is_error=True)

    def alert(self, text: str, action: str, call: Callable[[], object]) -> None:
        """Say what needs a decision, with a button that leads to it."""
        self._put_aside()
        self._offer(action, call)
        self._say(text, "", is_error=True)

    def _offer(self, action: str, call: Callable[[], object] | None) -> None:
        self._call = call
        self._action.setText(action)
        self._action.setVisible(bool(action))

    def _act(self) -> None:
        call = self._call
        self.hide()
        if call is not None:
            call()

    def _put_aside(self) -> None:
        if not self.isVisible():
            return
        self._pass_time()
        if self._call is not None and not self._is_error:
            left_ms = max(0, self._timer.remainingTime())
            self._aside.append(_Aside(self._text.text(), self._action.text(), self._call, left_ms))

    def _pass_time(self) -> None:
        """The time of what is covered went on, unless an error covered it."""
        now = time.monotonic()
        spent_ms = 0 if self._is_error else round((now - self._since) * 1000)
        self._since = now
        self._aside = [
            replace(item, left_ms=item.left_ms - spent_ms) for item in self._aside if item.left_ms > spent_ms
        ]

    def _say(self, text: str, way_out: str, *, is_error: bool) -> None:
        self._is_error = is_error
        self._mark = ("circle-check", "good")
        if is_error:
            self._mark = ("circle-alert", "bad") if self._call is None else ("triangle-alert", "warn")
        self._text.setText(text)
        self._way_out.setText(way_out)
        self._way_out.setVisible(bool(way_out))
        self._dismiss.setVisible(is_error or self._call is not None)
        self.setAccessibleName(f"{text} {way_out}".strip())
        self._retint()
        self.show()
        self._place()
        self.raise_()
        long = is_error or self._call is not None
        self._since = time.monotonic()
        self._timer.start(_ERROR_MS if long else max(_INFO_MS, len(text) * _READING_MS))
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.Alert))

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._pass_time()
        if self.parentWidget().isVisible():
            QTimer.singleShot(0, self, self._go_on)
        else:
            self._waiting = ""

    def _go_on(self) -> None:
        """Say what was covered, then what waited."""
        if self.isVisible():
            return
        if self._aside:
            item = self._aside.pop()
            self._offer(item.action, item.call)
            self._say(item.text, "", is_error=False)
            self._timer.start(max(item.left_ms, _INFO_MS))
        elif self._waiting:
            waiting, self._waiting = self._waiting, ""
            self.inform(waiting)

    def _retint(self) -> None:
        self._icon.setPixmap(self._theme.pixmap(*self._mark, 18, self.devicePixelRatioF()))
        self._dismiss.setIcon(self._theme.icon("x"))

    def _place(self) -> None:
        parent = self.parentWidget()
        wide = self._is_error or self._call is not None or len(self._text.text()) > _SHORT
        width = min(560 if wide else 320, parent.width() - 40)
        self.setFixedWidth(width)
        height = self.layout().totalHeightForWidth(width)
        self.resize(width, height)
        self.move((parent.width() - width) // 2, parent.height() - height - 50)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self._place()
        return False
