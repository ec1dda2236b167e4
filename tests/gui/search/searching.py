"""The window with results in it, and the gestures of somebody who searches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMenu

from studio.domain import SearchRequest, SearchResult
from studio.ui.parts import Theme
from studio.ui.search.box import RemovableChip
from studio.ui.search.result_card import Zone
from studio.ui.window import MainWindow
from studio.ui.window.screenshots import until
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices, result
from tests.gui.gestures import LEFT, click, window_over

CONTROL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@asynccontextmanager
async def searching(services: FakeServices, theme: Theme) -> AsyncIterator[tuple[MainWindow, Workspace]]:
    """The window with the results of “loops”."""
    async with window_over(services, theme) as (window, workspace):
        window.activateWindow()
        QTest.keyClicks(window.search.box.edit, "loops")
        await answered(workspace)
        yield window, workspace


async def answered(workspace: Workspace) -> None:
    search = workspace.search
    await until(lambda: bool(search.summary) and not search.busy, search.changed)


def many(request: SearchRequest) -> list[SearchResult]:
    """Twenty passages; words put 1 first, meaning puts 20 first."""
    numbers = range(20, 0, -1) if (request.weight or 0.0) > 0.5 else range(1, 21)
    return [result(number, score=1 - place / 100) for place, number in enumerate(numbers)]


def press_zone(window: MainWindow, row: int, zone: Zone) -> None:
    rect = window.search.results.zone_rect(row, zone)
    assert not rect.isEmpty()
    QTest.mouseClick(window.search.results.viewport(), LEFT, pos=rect.center())


def open_submenu(button_name: str, window: MainWindow, title: str) -> QMenu:
    """A submenu of one of the two menus beside the modes."""
    click(window.search, button_name)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    action = next(action for action in menu.actions() if action.text() == title)
    menu.setActiveAction(action)
    QTest.keyClick(menu, Qt.Key.Key_Right)
    submenu = QApplication.activePopupWidget()
    assert isinstance(submenu, QMenu)
    assert submenu is action.menu()
    return submenu


def names(actions: Sequence[QAction]) -> list[str]:
    return [action.text() for action in actions if not action.isSeparator()]


def chips(window: MainWindow) -> list[str]:
    found = window.search.chips.findChildren(RemovableChip)
    return [chip.text() for chip in found if chip.isVisible()]
