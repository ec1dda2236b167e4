"""Asking for the password of protected files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLineEdit, QPushButton, QWidget

from studio.ui.parts import button, column, label, modal_dialog, row


def ask_password(parent: QWidget, what: str, accepted: Callable[[str], None]) -> QDialog:
    """Ask for a password, saying for `what`; `accepted` is called with it."""
    title = "Enter password"
    dialog = modal_dialog(parent, title)
    field = QLineEdit()
    field.setAccessibleName("Password")
    field.setPlaceholderText("Password")
    field.setEchoMode(QLineEdit.EchoMode.Password)
    shown = button("Show", "link")
    shown.setCheckable(True)
    shown.setAutoDefault(False)

    def show(on: bool) -> None:
        field.setEchoMode(QLineEdit.EchoMode.Normal if on else QLineEdit.EchoMode.Password)
        shown.setText("Hide" if on else "Show")

    shown.toggled.connect(show)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
    unlock = QPushButton("Unlock and retry")
    unlock.setObjectName("primary")
    unlock.setDefault(True)
    unlock.setEnabled(False)
    buttons.addButton(unlock, QDialogButtonBox.ButtonRole.AcceptRole)
    field.textChanged.connect(lambda text: unlock.setEnabled(bool(text)))
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)
    dialog.accepted.connect(lambda: accepted(field.text()))
    files = label(what, "body")
    files.setWordWrap(True)
    kept = label("It is kept in memory until the program is closed, and never written to disk.")
    kept.setWordWrap(True)
    items = [label(title, "h2"), files, row(field, shown), kept, 6, buttons]
    dialog.setLayout(column(*items, margins=(22, 20, 22, 18), spacing=12))
    dialog.setFixedWidth(440)
    dialog.open()
    field.setFocus()
    return dialog


def protected(names: Sequence[str]) -> str:
    """Which files a password is asked for, in words."""
    if len(names) == 1:
        return f"“{names[0]}” is protected by a password."
    return f"{len(names):,} files are protected by a password, the first is “{names[0]}”."
