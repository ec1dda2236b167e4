"""A place to drop files on, and what a drag carries."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog, QFrame, QPushButton

from studio.ui.parts.plain_text import PlainLabel
from studio.ui.parts.theme import Theme
from studio.ui.parts.widgets import button, column, forbid, label, row, set_flag


def dropped_paths(event: QDropEvent) -> list[Path]:
    """Local files and folders of a drag."""
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def accept_files(event: QDropEvent) -> bool:
    """Accept a drag that carries local files, as a copy: a move would let the other side delete them."""
    if not dropped_paths(event):
        return False
    event.setDropAction(Qt.DropAction.CopyAction)
    event.accept()
    return True


_LOW = 92


class DropZone(QFrame):
    """A dashed frame that takes files; buttons do the same for the keyboard."""

    chosen = Signal(list)
    """Files or folders were dropped or picked, as a list of Path."""

    def __init__(self, theme: Theme, text: str, *, height: int = 150) -> None:
        super().__init__()
        self.setObjectName("drop")
        self.setAcceptDrops(True)
        self.setFixedHeight(height)
        self._height = height
        self.setAccessibleName(self.tr("Drop files to ingest"))
        self._theme = theme
        self._icon = PlainLabel()
        self._icon.setAlignment(Qt.AlignmentFlag.AlignCenter)
        title = label(text, "title")
        title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        files = button(self.tr("Choose files…"))
        folder = button(self.tr("Choose folder…"))
        files.clicked.connect(self.choose_files)
        folder.clicked.connect(self.choose_folder)
        buttons = row(None, files, folder, None)
        self.setLayout(column(None, self._icon, title, buttons, None, spacing=10))
        theme.changed.connect(self._retint)
        self._retint()

    def _retint(self) -> None:
        self._icon.setPixmap(self._theme.pixmap("upload", "accent", 26, self.devicePixelRatioF()))

    def set_low(self, low: bool) -> None:
        """Leave room for what is below, or take it back."""
        self._icon.setVisible(not low)
        self.setFixedHeight(min(_LOW, self._height) if low else self._height)

    def forbid(self, reason: str) -> None:
        """Take no files, and say why; "" takes them again."""
        self.setAcceptDrops(not reason)
        forbid(reason, *self.findChildren(QPushButton))

    def choose_files(self) -> None:
        """Pick files in a dialog."""
        self._ask(QFileDialog.FileMode.ExistingFiles, self.tr("Choose files to index"))

    def choose_folder(self) -> None:
        """Pick a folder in a dialog."""
        self._ask(QFileDialog.FileMode.Directory, self.tr("Choose a folder to index"))

    def _ask(self, mode: QFileDialog.FileMode, title: str) -> None:
        dialog = QFileDialog(self, title)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(mode)
        dialog.filesSelected.connect(lambda names: self.chosen.emit([Path(name) for name in names]))
        dialog.open()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if accept_files(event):
            set_flag(self, "hot", "true")

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        set_flag(self, "hot", "false")

    def dropEvent(self, event: QDropEvent) -> None:
        set_flag(self, "hot", "false")
        if accept_files(event):
            self.chosen.emit(dropped_paths(event))
