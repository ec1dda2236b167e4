"""The watched folders of a knowledge base: how each stands, on or off, added and removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from studio.domain import KnowledgeBase
from studio.errors import NotFound, StudioError
from studio.services.watch import FolderStatus, WatchState
from studio.viewmodels.base import Index, ItemListModel, ViewModel
from studio.viewmodels.ingest.file_rows import Tone
from studio.viewmodels.ports import Watch
from studio.viewmodels.ways_out import clickable, sentences

_STANDING = {
    WatchState.OFF: (Tone.CALM, "Off"),
    WatchState.ON: (Tone.WAIT, "On: looked through in a moment"),
    WatchState.WATCHING: (Tone.OK, "Changes are indexed as they happen"),
    WatchState.CHANGED: (Tone.RUN, "Something changed: indexed in a moment"),
    WatchState.WAITING: (Tone.WAIT, "Something changed, and waits"),
    WatchState.MISSING: (Tone.WARN, "The folder is not there"),
    WatchState.FAILED: (Tone.BAD, "The folder cannot be watched"),
}


@dataclass(frozen=True, slots=True)
class FolderRow:
    """A watched folder: its path, whether it is on, and how it stands in words."""

    path: str
    enabled: bool
    tone: Tone
    detail: str


class FoldersModel(ItemListModel[FolderRow]):
    """Folders by path; the check state of a row is its switch."""

    switched = Signal(str, bool)
    """(path, on): a person wants it so. The row changes once it is."""

    def describe(self, row: int, item: FolderRow) -> str:
        return f"{item.path}, {'on' if item.enabled else 'off'}, {item.detail}"

    def tip(self, item: FolderRow) -> str:
        return f"{item.path}\n{item.detail}"

    def flags(self, index: Index) -> Qt.ItemFlag:
        return super().flags(index) | Qt.ItemFlag.ItemIsUserCheckable

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.CheckStateRole and index.isValid() and index.row() < len(self._items):
            return Qt.CheckState.Checked if self._items[index.row()].enabled else Qt.CheckState.Unchecked
        return super().data(index, role)

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole or not index.isValid():
            return False
        self.switched.emit(self._items[index.row()].path, Qt.CheckState(value) is Qt.CheckState.Checked)
        return True


class WatchedViewModel(ViewModel):
    """Mirrors the watched folders of one knowledge base while they are looked at."""

    changed = Signal()
    """Rows or error changed."""

    def __init__(self, watch: Watch, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows = FoldersModel(self)
        self._watch = watch
        self._kb: KnowledgeBase | None = None
        self.error = ""
        self.is_loaded = False
        self._unsubscribe = watch.subscribe(self._read_again)
        self.rows.switched.connect(self.switch)

    @property
    def kb(self) -> KnowledgeBase | None:
        """The knowledge base whose folders are shown."""
        return self._kb

    def open(self, kb: KnowledgeBase) -> None:
        """Show the folders of a knowledge base, and follow how they stand."""
        self._kb, self.error, self.is_loaded = kb, "", False
        self.rows.reset([])
        self._read_again()

    def leave(self) -> None:
        """The dialog was closed."""
        self._kb = None

    def add(self, folder: Path) -> None:
        """Watch a folder from now on."""
        if self._kb is not None:
            self._do(f"add {folder}", partial(self._watch.add, self._kb.id, [folder]))

    def remove(self, path: str) -> None:
        """Watch a folder no longer; its documents stay."""
        if self._kb is not None:
            self._do(f"remove {path}", partial(self._watch.remove, self._kb.id, [Path(path)]))

    def switch(self, path: str, enabled: bool) -> None:
        """Switch a folder on or off."""
        if self._kb is not None:
            self._do(f"switch {path}", partial(self._watch.enable, self._kb.id, enabled, Path(path)))

    async def close(self) -> None:
        self._unsubscribe()
        await super().close()

    # ------------------------------------------------------------ work

    def _do(self, key: str, change: Callable[[], Awaitable[None]]) -> None:
        self.launch(f"{key} {id(change)}", self._apply(change))  # gestures do not replace one another

    async def _apply(self, change: Callable[[], Awaitable[None]]) -> None:
        error = ""
        try:
            await change()
        except NotFound as fault:  # a folder that is not there, or another program took it off the list
            error = str(fault)
        except StudioError as fault:
            error = sentences(fault)
        self.error = error
        await self._read()

    def _read_again(self) -> None:
        if self._kb is not None:
            self.launch("read", self._read())

    async def _read(self) -> None:
        kb = self._kb
        if kb is None:
            return
        folders = await self._watch.folders(kb.id)
        if self._kb is kb:
            self.rows.replace([_row(folder) for folder in folders])
            self.is_loaded = True
            self.changed.emit()


def _row(folder: FolderStatus) -> FolderRow:
    tone, words = _STANDING[folder.state]
    if folder.note:
        words = clickable(folder.note)
        if words.startswith(folder.path):  # the row says it already
            words = f"The folder{words.removeprefix(folder.path)}"
    elif folder.polling and folder.state is WatchState.WATCHING:
        words = f"{words}, found by looking at it every few seconds"
    return FolderRow(folder.path, folder.enabled, tone, words)
