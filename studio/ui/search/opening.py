"""Opening the source of a passage: a file that can only be looked at in its program, everything else in its folder."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices

from studio.ui.parts import reveal
from studio.viewmodels.search import is_passive


def open_source(path: str, parent: QObject) -> bool:
    """Open a file that is there; False where the desktop has no program for it.

    What could be run is shown in its folder, and so is what is not on this computer.
    """
    if is_passive(path):
        return QDesktopServices.openUrl(QUrl.fromLocalFile(path))
    reveal(Path(path), parent)
    return True
