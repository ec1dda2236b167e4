"""The one way to show text that is not the program's own: titles, names, paths and queries are never taken for markup.

Qt guesses whether a tool tip, a label or a message is HTML, and loads the pictures such a text names: a file of the
computer, or on Windows one of another computer, with the person's credentials. Here nothing is guessed. A test keeps
other modules from going past these functions.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QMessageBox, QWidget

from studio.viewmodels.text import literal_tip


class PlainLabel(QLabel):
    """A label that shows its text letter by letter, and no text but that."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)  # before there is a text that could be guessed at
        self.setText(text)


def set_tip(target: QWidget | QAction, text: str) -> None:
    """Give a widget or an action a tool tip that shows `text` letter by letter."""
    target.setToolTip(literal_tip(text))


def restore_tip(target: QWidget | QAction, tip: str) -> None:
    """Give back a tool tip that was taken from this widget or action, as `toolTip()` answered it."""
    target.setToolTip(tip)


def message_box(title: str, text: str) -> QMessageBox:
    """A box that says what went wrong, letter by letter."""
    box = QMessageBox()
    box.setIcon(QMessageBox.Icon.Critical)
    box.setWindowTitle(title)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(text)
    return box
