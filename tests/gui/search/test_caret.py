"""The text cursor stops blinking while nobody types."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLineEdit, QWidget

from studio.ui.parts import RestingCaret, caret


def test_the_cursor_rests_until_the_next_key(qtbot, monkeypatch) -> None:
    monkeypatch.setattr(caret, "REST_MS", 30)
    application = QApplication.instance()
    hints = application.styleHints()
    usual_ms = hints.cursorFlashTime()
    assert usual_ms > 0
    window = QWidget()
    qtbot.addWidget(window)
    RestingCaret(application, window)
    edit = QLineEdit(window)
    window.show()
    edit.setFocus()
    window.activateWindow()
    qtbot.waitUntil(lambda: hints.cursorFlashTime() == 0)
    qtbot.keyClick(edit, Qt.Key.Key_A)
    assert hints.cursorFlashTime() == usual_ms
    qtbot.waitUntil(lambda: hints.cursorFlashTime() == 0)
    hints.setCursorFlashTime(usual_ms)
