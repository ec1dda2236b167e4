"""Dialogs that ask one thing. They open without blocking: the answer comes as a call."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLineEdit, QPushButton, QWidget

from studio.ui.parts.widgets import column, label

SHORTCUTS = (
    ("Ctrl+K, Ctrl+L", "Go to the search box"),
    ("Up, Down", "Move through the results"),
    ("Enter", "Open the source of the result"),
    ("Ctrl+C", "Copy the citation"),
    ("Ctrl+Shift+C", "Copy passage and citation as Markdown"),
    ("Ctrl+E, ? on a result", "Why the result is there"),
    ("Ctrl+Shift+F", "Find passages like this one"),
    ("Ctrl+D, Ctrl+Shift+D", "Mark the result relevant, not relevant"),
    ("Alt+Left, Alt+Right", "Previous, next page of the preview"),
    ("Ctrl++, Ctrl+-", "Zoom the preview"),
    ("Ctrl+O", "Open the source in its own program"),
    ("Ctrl+1, 2, 3, 4", "Search, Ingest, Generations, Quality"),
    ("Enter", "Quality: compare the setting, search the query"),
    ("Enter, Esc", "Ingest: start or leave what was looked at"),
    ("Alt+Up, Alt+Down", "Ingest: move the job in the queue"),
    ("Del", "Ingest: cancel the waiting job"),
    ("Ctrl+N", "New knowledge base"),
    ("Ctrl+I", "Import a knowledge base"),
    ("F2", "Rename the knowledge base"),
    ("Ctrl+,", "Settings"),
    ("Esc", "Leave a card, likes of a passage, a document; clear the search"),
    ("F1", "This list"),
    ("Ctrl+Q", "Quit"),
)


def modal_dialog(parent: QWidget, title: str) -> QDialog:
    """An empty dialog that blocks its window, not the program, and goes when it is closed."""
    dialog = QDialog(parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle(title)
    dialog.setModal(True)
    return dialog


def ask_name(
    parent: QWidget,
    title: str,
    explanation: str,
    name: str,
    action: str,
    accepted: Callable[[str], None],
    *,
    field_name: str = "Name",
    may_be_empty: bool = False,
) -> QDialog:
    """Ask for a name or another short text; `accepted` is called with it, unless the person thinks better of it."""
    dialog = modal_dialog(parent, title)
    field = QLineEdit(name)
    field.setAccessibleName(field_name)
    field.setPlaceholderText(field_name)
    field.setMaxLength(120)
    field.selectAll()
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
    confirm_button = QPushButton(action)
    confirm_button.setObjectName("primary")
    confirm_button.setDefault(True)
    buttons.addButton(confirm_button, QDialogButtonBox.ButtonRole.AcceptRole)
    confirm_button.setEnabled(may_be_empty or bool(name.strip()))
    field.textChanged.connect(lambda text: confirm_button.setEnabled(may_be_empty or bool(text.strip())))
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)
    dialog.accepted.connect(lambda: accepted(field.text().strip()))
    text = label(explanation, "body")
    text.setWordWrap(True)
    items = [label(title, "h2"), *([text] if explanation else []), field, 6, buttons]
    dialog.setLayout(column(*items, margins=(22, 20, 22, 18), spacing=12))
    dialog.setMinimumWidth(420)
    dialog.open()
    field.setFocus()
    return dialog


def confirm(parent: QWidget, question: str, cost: str, action: str, accepted: Callable[[], None]) -> QDialog:
    """Ask before something costly or final, saying what it costs; Cancel is the default."""
    dialog = modal_dialog(parent, "RAG Studio")
    text = label(cost, "body")
    text.setWordWrap(True)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
    buttons.addButton(action, QDialogButtonBox.ButtonRole.AcceptRole).setAutoDefault(False)
    cancel = buttons.button(QDialogButtonBox.StandardButton.Cancel)
    cancel.setDefault(True)
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)
    dialog.accepted.connect(accepted)
    dialog.setAccessibleDescription(cost)
    dialog.setLayout(column(label(question, "h2"), text, 6, buttons, margins=(22, 20, 22, 18), spacing=12))
    dialog.setFixedWidth(460)
    dialog.open()
    cancel.setFocus()
    return dialog


def ask_keep(parent: QWidget, question: str, cost: str, keep: Callable[[], None], drop: Callable[[], None]) -> QDialog:
    """Ask what becomes of what a job has finished before it is cancelled; to keep it is the default."""
    dialog = modal_dialog(parent, question)
    text = label(cost, "body")
    text.setWordWrap(True)
    buttons = QDialogButtonBox()
    for words, role, call in (
        ("Keep finished files", QDialogButtonBox.ButtonRole.AcceptRole, keep),
        ("Discard them", QDialogButtonBox.ButtonRole.DestructiveRole, drop),
        ("Go on", QDialogButtonBox.ButtonRole.RejectRole, lambda: None),
    ):
        choice = buttons.addButton(words, role)
        choice.setAutoDefault(False)
        choice.clicked.connect(dialog.close)
        choice.clicked.connect(call)
        if role is QDialogButtonBox.ButtonRole.AcceptRole:
            choice.setDefault(True)
            choice.setFocus()
    dialog.setAccessibleDescription(cost)
    dialog.setLayout(column(label(question, "h2"), text, 6, buttons, margins=(22, 20, 22, 18), spacing=12))
    dialog.setFixedWidth(460)
    dialog.open()
    return dialog


def show_shortcuts(parent: QWidget) -> QDialog:
    """The keys the window knows."""
    dialog = modal_dialog(parent, "Keyboard shortcuts")
    grid = QGridLayout()
    grid.setHorizontalSpacing(24)
    grid.setVerticalSpacing(8)
    for line, (keys, meaning) in enumerate(SHORTCUTS):
        grid.addWidget(label(keys, "kbd"), line, 0, Qt.AlignmentFlag.AlignLeft)
        grid.addWidget(label(meaning, "body"), line, 1)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(dialog.reject)
    dialog.setLayout(column(label("Keyboard shortcuts", "h2"), grid, 6, buttons, margins=(22, 20, 22, 18), spacing=12))
    dialog.open()
    return dialog
