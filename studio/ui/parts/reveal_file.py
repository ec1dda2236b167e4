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
    show_directory(next((place for place in path.parents if _is_plain(place)), path.parent))


def show_directory(folder: Path) -> None:
    """Open a folder, and nothing that is not one."""
    if folder.is_dir():
        # Without the separator Windows may take “x” for “x.exe” beside it.
        QDesktopServices.openUrl(QUrl.fromLocalFile(f"{folder}/"))


def _is_plain(place: Path) -> bool:
    """Whether this is a folder that opening shows; on macOS one with an ending may be a program."""
    return place.is_dir() and not (sys.platform == "darwin" and place.suffix)


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
