"""The ingest: a place to drop files on, and the queue."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPoint, Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QFrame, QLabel, QPushButton, QWidget

from studio.ui.delegates import QueueDelegate
from studio.ui.theme import Theme
from studio.ui.widgets import Banner, ItemList, button, column, forbid, label, panel, popup_menu, row, set_flag
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.ingest import IngestViewModel
from studio.viewmodels.queue import Tone


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


class DropZone(QFrame):
    """A dashed frame that takes files; buttons do the same for the keyboard."""

    chosen = Signal(list)
    """Files or folders were dropped or picked, as a list of Path."""

    def __init__(self, theme: Theme, text: str, *, height: int = 150) -> None:
        super().__init__()
        self.setObjectName("drop")
        self.setAcceptDrops(True)
        self.setFixedHeight(height)
        self.setAccessibleName(self.tr("Drop files to ingest"))
        self._theme = theme
        self._icon = QLabel()
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


class IngestPane(QWidget):
    """Shows the queue of the ingest view-model."""

    copied = Signal(str)
    generations_wanted = Signal(str)
    """Show the generations of the knowledge base of this id."""

    def __init__(self, model: IngestViewModel, theme: Theme) -> None:
        super().__init__()
        self._model = model
        self._theme = theme
        self._target = label("")
        self._retry = button(self.tr(" Retry failed"))
        self._clear = button(self.tr("Clear finished"))
        self._cancel = button(self.tr(" Cancel"))
        self._retry.clicked.connect(model.retry_failed)
        self._clear.clicked.connect(model.clear_finished)
        self._cancel.clicked.connect(model.cancel_all)
        self.drop = DropZone(theme, self.tr("Drop PDFs, Markdown or folders here"))
        self.drop.chosen.connect(model.add)
        self.held = Banner(theme, self.tr("Show generations"))
        self.held.acted.connect(lambda: self.generations_wanted.emit(model.held_kb))
        self._heading = label(self.tr("QUEUE"), "section")
        self._summary = label("")
        self.queue = ItemList(model.queue, QueueDelegate(theme, self), self.tr("Ingest queue"))
        self.queue.customContextMenuRequested.connect(self._open_menu)
        head = row(label(self.tr("Ingest"), "h1"), self._target, None, self._retry, self._clear, self._cancel)
        between = row(self._heading, self._summary, None)
        head_frame = QWidget()
        head_frame.setLayout(head)
        head_frame.setFixedHeight(32)  # the same with and without buttons in it
        layout = column(head_frame, self.drop, self.held, between, self.queue, margins=(24, 20, 24, 0), spacing=14)
        self.setLayout(column(panel("page", layout), spacing=0))
        model.changed.connect(self._show)
        theme.changed.connect(self._retint)
        self._retint()
        self._show()

    def _retint(self) -> None:
        self._retry.setIcon(self._theme.icon("rotate-ccw"))
        self._cancel.setIcon(self._theme.icon("x"))

    def _show(self) -> None:
        model = self._model
        self._target.setText(model.target)
        self._summary.setText(model.summary)
        self.held.show_text(model.held)
        self.drop.forbid(model.read_only)
        forbid(model.read_only, self._retry)
        self._heading.setText(self.tr("DOCUMENTS") if model.shows_documents else self.tr("QUEUE"))
        self._heading.setVisible(bool(model.queue.items) or model.running)
        self._retry.setVisible(model.has_failed)
        self._clear.setVisible(model.has_finished)
        self._cancel.setVisible(model.running)

    def _open_menu(self, where: QPoint) -> None:
        index = self.queue.indexAt(where)
        if not index.isValid():
            return
        item = index.data(ITEM_ROLE)
        menu = popup_menu(self)
        folder = QUrl.fromLocalFile(str(Path(item.path).parent))
        menu.addAction(self.tr("Open folder"), lambda: QDesktopServices.openUrl(folder))
        menu.addAction(self.tr("Copy path"), lambda: self._copy(item.path, self.tr("Path copied")))
        if item.tone is Tone.BAD:
            reason = f"{item.path}: {item.detail}"
            menu.addAction(self.tr("Copy reason"), lambda: self._copy(reason, self.tr("Reason copied")))
        menu.popup(self.queue.viewport().mapToGlobal(where))

    def _copy(self, text: str, said: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self.copied.emit(said)
