"""Showing a file in the file manager."""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QUrl
from PySide6.QtGui import QDesktopServices

_DBUS = (
    "--session", "--print-reply", "--dest=org.freedesktop.FileManager1", "/org/freedesktop/FileManager1",
    "org.freedesktop.FileManager1.ShowItems",
)  # fmt: skip


def reveal(path: Path, parent: QObject) -> None:
    """Open the folder of a file with the file selected; the folder alone where that is not possible."""
    command = _command(path)
    if command is None:
        open_folder(path)
        return
    process = QProcess(parent)
    process.errorOccurred.connect(lambda _: open_folder(path))  # there is no such program
    # Explorer ends with 1 when all went well.
    process.finished.connect(lambda code: None if code == 0 or sys.platform == "win32" else open_folder(path))
    process.finished.connect(process.deleteLater)
    process.start(*command)


def open_folder(path: Path) -> None:
    """Open the folder a file lies in, or the nearest one that is there."""
    folder = next((place for place in path.parents if place.is_dir()), path)
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))


def _command(path: Path) -> tuple[str, list[str]] | None:
    """The program that selects a file, and its arguments; None where there is none or no file."""
    if not path.exists():
        return None
    if sys.platform == "win32":
        return "explorer", [f"/select,{path}"]
    if sys.platform == "darwin":
        return "open", ["-R", str(path)]
    url = bytes(QUrl.fromLocalFile(str(path)).toEncoded().data()).decode("ascii")
    return "dbus-send", [*_DBUS, f"array:string:{url.replace(',', '%2C')}", "string:"]
