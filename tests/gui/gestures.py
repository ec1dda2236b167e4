"""The window over fake services with some generations, and the gestures of a person in it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QAction, QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QListView, QMenu, QWidget

from studio.domain import GenerationState
from studio.ui.parts import Theme
from studio.ui.window import MainWindow
from studio.ui.window.main_window import GENERATIONS
from studio.ui.window.screenshots import until
from studio.viewmodels.ports import StudioServices
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices, generation

LEFT = Qt.MouseButton.LeftButton
HELD = "Held back: “loops” does not find a.pdf among its first 10 documents (it is number 14)."
Widget = TypeVar("Widget", bound=QWidget)


def with_generations() -> FakeServices:
    """One held back, one archived after a rollback, the active one, and one to roll back to."""
    services = FakeServices()
    services.library.add("Compilers", active=2)
    services.maintenance.items = [
        generation(4, GenerationState.READY, held=HELD),
        generation(3, GenerationState.ARCHIVED),
        generation(2, GenerationState.ACTIVE),
        generation(1, GenerationState.ARCHIVED),
    ]
    return services


@asynccontextmanager
async def opened_window(services: StudioServices, theme: Theme) -> AsyncIterator[tuple[MainWindow, Workspace]]:
    """The window as the program opens it, once it knows the knowledge bases; closed as the program closes it."""
    workspace = Workspace(services)
    window = MainWindow(workspace, theme)
    window.show()
    workspace.start()
    try:
        await until(lambda: workspace.library.is_loaded, workspace.library.loaded)
        yield window, workspace
    finally:
        window.hide()
        await workspace.close()
        window.deleteLater()
        await asyncio.sleep(0)


@asynccontextmanager
async def window_over(services: FakeServices, theme: Theme) -> AsyncIterator[tuple[MainWindow, Workspace]]:
    """The window over fake services."""
    try:
        async with opened_window(services, theme) as opened:
            yield opened
    finally:
        await services.queue.close()


@asynccontextmanager
async def shown(services: FakeServices, theme: Theme) -> AsyncIterator[tuple[MainWindow, Workspace]]:
    """The window over fake services, with the generations in view."""
    async with window_over(services, theme) as (window, workspace):
        window.show_pane(GENERATIONS)
        await until(lambda: bool(workspace.generations.rows.items), workspace.generations.changed)
        yield window, workspace


def click(root: QWidget, text: str) -> None:
    """Click the visible button of this text or name."""
    found = [
        button
        for button in root.findChildren(QAbstractButton)
        if text in (button.text().strip(), button.accessibleName()) and button.isVisible()
    ]
    assert len(found) == 1, (text, found)
    QTest.mouseClick(found[0], LEFT)


def buttons(root: QWidget) -> dict[str, QAbstractButton]:
    """Visible buttons by text or name."""
    return {
        button.text().strip() or button.accessibleName(): button
        for button in root.findChildren(QAbstractButton)
        if button.isVisible()
    }


def menu_of(view: QListView, row: int) -> QMenu:
    """The context menu of a row, opened with the right mouse button."""
    where = view.visualRect(view.model().index(row, 0)).center()
    view.customContextMenuRequested.emit(where)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    return menu


def choose(menu: QMenu, text: str) -> None:
    """Click an entry."""
    action = next(action for action in menu.actions() if action.text() == text)
    QTest.mouseClick(menu, LEFT, pos=menu.actionGeometry(action).center())


def texts(actions: Sequence[QAction]) -> list[str]:
    return [action.text() for action in actions if not action.isSeparator()]


def dialog_of(kind: type[Widget]) -> Widget:
    dialog = QApplication.activeModalWidget()
    assert isinstance(dialog, kind), dialog
    return dialog


def drop(window: QWidget, *paths: Path) -> None:
    """Drop files on the window, as a file manager does."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    where = QPointF(400, 400)
    actions = Qt.DropAction.CopyAction | Qt.DropAction.MoveAction
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    with warnings.catch_warnings():  # Qt 6.12 calls this constructor deprecated, 6.11 has no other
        warnings.simplefilter("ignore", DeprecationWarning)
        enter = QDragEnterEvent(where.toPoint(), actions, data, left, none)
    QApplication.sendEvent(window, enter)
    assert enter.isAccepted()
    event = QDropEvent(where, actions, data, left, none)
    QApplication.sendEvent(window, event)
    assert event.dropAction() == Qt.DropAction.CopyAction
