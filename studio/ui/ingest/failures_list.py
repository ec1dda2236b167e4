"""The list of what could not be indexed, with the ways out."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPoint, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QAbstractItemView, QWidget

from studio.ui.ingest.file_rows import QueueDelegate
from studio.ui.ingest.password_dialog import ask_password, protected
from studio.ui.parts import ItemList, Theme, button, column, forbid, label, popup_menu, reveal, row
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.ingest import FailuresViewModel, QueueRow, container, is_locked


class FailuresList(QWidget):
    """Shows the failures view-model. The buttons act on the selected files, or on all when none is selected."""

    copied = Signal(str)

    def __init__(self, model: FailuresViewModel, theme: Theme) -> None:
        super().__init__()
        self._model = model
        self._theme = theme
        self._read_only = ""
        self.list = ItemList(model.rows, QueueDelegate(theme, self), self.tr("Could not be indexed"))
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self._retry = button("")
        self._unlock = button(self.tr("Enter password…"))
        self._folder = button(self.tr(" Open folder"))
        self._copy = button(self.tr(" Copy list"))
        self._retry.clicked.connect(self.retry)
        self._unlock.clicked.connect(self.unlock)
        self._folder.clicked.connect(self._reveal)
        self._copy.clicked.connect(self._copy_list)
        self.list.customContextMenuRequested.connect(self._open_menu)
        self.list.selectionModel().selectionChanged.connect(self._show)
        self._empty = label(self.tr("Everything that was given could be indexed."))
        self.actions = QWidget()
        self.actions.setLayout(row(self._retry, self._unlock, self._folder, self._copy, None))
        self.setLayout(column(self.actions, self._empty, self.list, spacing=8))
        model.changed.connect(self._show)
        theme.changed.connect(self._retint)
        self._retint()
        self._show()

    def forbid(self, reason: str) -> None:
        """Let nothing be changed, and say why; "" allows it again."""
        self._read_only = reason
        self._show()

    @property
    def chosen(self) -> list[QueueRow]:
        """The selected files, all when none is selected."""
        chosen = [index.data(ITEM_ROLE) for index in self.list.selectionModel().selectedIndexes()]
        return chosen or list(self._model.rows.items)

    def retry(self) -> None:
        """Read the chosen files again."""
        self._model.retry(self.chosen)

    def unlock(self) -> None:
        """Ask for the password of the chosen files that need one, and read them again."""
        locked = [item for item in self.chosen if is_locked(item)]
        if locked:
            what = protected([item.name for item in locked])
            ask_password(self.window(), what, lambda password: self._model.retry(locked, password))

    def _retint(self) -> None:
        self._retry.setIcon(self._theme.icon("rotate-ccw"))
        self._folder.setIcon(self._theme.icon("folder-open"))
        self._copy.setIcon(self._theme.icon("copy"))

    def _show(self) -> None:
        rows, selected = self._model.rows.items, len(self.list.selectionModel().selectedIndexes())
        self.actions.setVisible(bool(rows))
        self._empty.setVisible(not rows)
        self._retry.setText(self.tr(" Retry {0}").format(selected) if selected > 1 else self.tr(" Retry"))
        if not selected:
            self._retry.setText(self.tr(" Retry all"))
        self._unlock.setVisible(self._model.has_locked)
        self._unlock.setEnabled(not selected or any(is_locked(item) for item in self.chosen))
        self._folder.setEnabled(selected == 1 or len(rows) == 1)
        forbid(self._read_only, self._retry, self._unlock)

    def _reveal(self) -> None:
        reveal(container(Path(self.chosen[0].path)), self)

    def _copy_list(self) -> None:
        QGuiApplication.clipboard().setText(self._model.text(self.chosen))
        self.copied.emit(self.tr("List copied"))

    def _copy_path(self) -> None:
        QGuiApplication.clipboard().setText("\n".join(item.path for item in self.chosen))
        self.copied.emit(self.tr("Path copied"))

    def _open_menu(self, where: QPoint) -> None:
        index = self.list.indexAt(where)
        if not index.isValid():
            return
        if not self.list.selectionModel().isSelected(index):
            self.list.setCurrentIndex(index)
        menu = popup_menu(self)
        changes = [menu.addAction(self.tr("Retry"), self.retry)]
        if any(is_locked(item) for item in self.chosen):
            changes.append(menu.addAction(self.tr("Enter password…"), self.unlock))
        menu.addSeparator()
        if len(self.chosen) == 1:
            menu.addAction(self.tr("Open folder"), self._reveal)
        menu.addAction(self.tr("Copy path"), self._copy_path)
        menu.addAction(self.tr("Copy reason"), self._copy_list)
        forbid(self._read_only, *changes)
        menu.popup(self.list.viewport().mapToGlobal(where))
