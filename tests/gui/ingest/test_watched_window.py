"""Watched folders in the window: listed, switched, added, removed with mouse and keys; and over the real service."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialog, QFileDialog, QLabel

from studio.bootstrap import open_services
from studio.errors import NotFound, StorageFault
from studio.paths import DataPaths, resources_dir
from studio.services.watch import FolderStatus, WatchState
from studio.ui.ingest import WatchedDialog
from studio.ui.parts import Theme, ThemeChoice
from studio.ui.window import MainWindow
from studio.ui.window.screenshots import until
from studio.viewmodels.workspace import Workspace
from studio.ways_out import Listing, See
from tests.gui.fakes import FakeServices
from tests.gui.gestures import buttons, choose, click, dialog_of, menu_of, shown, texts
from tests.gui.opening import opened, with_kb
from tests.gui.qt_loop import on_qt_loop

LEFT = Qt.MouseButton.LeftButton
FULL = StorageFault("The disk is full.", way_out="Free some space.")
MISSING = FolderStatus("kb1", "/b", True, WatchState.MISSING, "/b is not there. What is indexed of it stays.")


def watching(path: str, state: WatchState = WatchState.WATCHING, note: str = "", **more: bool) -> FolderStatus:
    return FolderStatus("kb1", path, state is not WatchState.OFF, state, note, **more)


def with_folders(*items: FolderStatus) -> FakeServices:
    services = with_kb()
    services.watch.items = list(items)
    return services


def folders(workspace: Workspace) -> list[tuple[str, bool]]:
    return [(row.path, row.enabled) for row in workspace.watched.rows.items]


def details(workspace: Workspace) -> list[str]:
    return [row.detail for row in workspace.watched.rows.items]


async def shows(workspace: Workspace, *expected: tuple[str, bool]) -> None:
    await until(lambda: folders(workspace) == list(expected), workspace.watched.changed)


async def dialog_in(window: MainWindow, workspace: Workspace) -> WatchedDialog:
    """The dialog, opened from the menu of the only knowledge base."""
    choose(menu_of(window.sidebar.list, 1), "Watched folders…")
    await until(lambda: workspace.watched.is_loaded, workspace.watched.changed)
    return dialog_of(WatchedDialog)


def middle_of_switch(dialog: WatchedDialog, row: int) -> QPoint:
    rect = dialog.list.visualRect(dialog.list.model().index(row, 0))
    return QPoint(rect.right() - 32, rect.center().y())


# ---------------------------------------------------------------- the view-model


@on_qt_loop
async def test_every_state_has_its_words() -> None:
    services = with_folders(
        watching("/a", WatchState.OFF),
        MISSING,
        watching("/c", WatchState.WAITING, "The computer runs on its battery. The changes are indexed later."),
        watching("/d"),
        watching("/e", polling=True),
        FolderStatus("kb2", "/other", True, WatchState.ON),
    )
    async with opened(services) as (workspace, _):
        watched = workspace.watched
        assert not watched.rows.items, "nobody looks yet"
        watched.open(workspace.library.knowledge_bases[0])
        await shows(workspace, ("/a", False), ("/b", True), ("/c", True), ("/d", True), ("/e", True))
        assert details(workspace) == [
            "Off",
            "The folder is not there. What is indexed of it stays.",
            "The computer runs on its battery. The changes are indexed later.",
            "Changes are indexed as they happen",
            "Changes are indexed as they happen, found by looking at it every few seconds",
        ]
        described = watched.rows.index(1).data(Qt.ItemDataRole.AccessibleTextRole)
        assert described == "/b, on, The folder is not there. What is indexed of it stays."
        services.watch.tell(watching("/a", WatchState.CHANGED))
        await shows(workspace, ("/a", True))
        watched.leave()
        services.watch.tell()
        for _ in range(5):
            await asyncio.sleep(0)
        assert folders(workspace) == [("/a", True)], "nobody looks any more"


@on_qt_loop
async def test_what_cannot_be_done_is_said_until_something_can() -> None:
    services = with_folders(watching("/a"))
    async with opened(services) as (workspace, complaints):
        watched = workspace.watched
        watched.open(workspace.library.knowledge_bases[0])
        services.watch.error = FULL
        watched.add(Path("/b"))
        await until(lambda: bool(watched.error), watched.changed)
        assert watched.error == "The disk is full. Free some space."
        services.watch.error = NotFound("The folder /a is not watched.", way_out=See(Listing.WATCHED))
        watched.switch("/a", False)
        await until(lambda: watched.error == "The folder /a is not watched.", watched.changed)
        services.watch.error = None
        watched.add(Path("/b"))
        await shows(workspace, ("/a", True), ("/b", True))
        assert not watched.error
        assert not complaints, "the dialog is in front of the window"


# ---------------------------------------------------------------- the dialog


@on_qt_loop
async def test_a_folder_is_switched_with_the_mouse_and_with_space(theme: Theme) -> None:
    async with shown(with_folders(watching("/a"), MISSING), theme) as (window, workspace):
        menu = menu_of(window.sidebar.list, 1)
        assert texts(menu.actions())[3:5] == ["Export…", "Watched folders…"]
        menu.close()
        dialog = await dialog_in(window, workspace)
        view = dialog.list
        assert (view.accessibleName(), view.hasFocus()) == ("Watched folders", True)
        QTest.mouseClick(view.viewport(), LEFT, pos=middle_of_switch(dialog, 0))
        await shows(workspace, ("/a", False), ("/b", True))
        QTest.mouseClick(view.viewport(), LEFT, pos=middle_of_switch(dialog, 1) - QPoint(200, 0))
        for _ in range(5):
            await asyncio.sleep(0)
        assert view.current_row() == 1, "a click beside the switch selects"
        assert folders(workspace) == [("/a", False), ("/b", True)]
        QTest.keyClick(view, Qt.Key.Key_Space)
        await shows(workspace, ("/a", False), ("/b", False))
        QTest.keyClick(view, Qt.Key.Key_Up)
        QTest.keyClick(view, Qt.Key.Key_Space)
        await shows(workspace, ("/a", True), ("/b", False))
        checked = [view.model().index(row, 0).data(Qt.ItemDataRole.CheckStateRole) for row in (0, 1)]
        assert checked == [Qt.CheckState.Checked, Qt.CheckState.Unchecked]
        QTest.keyClick(dialog, Qt.Key.Key_Escape)
        assert not dialog.isVisible()
        assert workspace.watched.kb is None


@on_qt_loop
async def test_folders_are_added_and_removed(theme: Theme, tmp_path: Path) -> None:
    async with shown(with_folders(), theme) as (window, workspace):
        dialog = await dialog_in(window, workspace)
        assert not dialog.list.isVisible()
        assert "No folder is watched yet." in [child.text() for child in dialog.findChildren(QLabel)]
        assert not buttons(dialog)["Remove"].isEnabled()
        click(dialog, "Add folder…")
        chooser = dialog_of(QFileDialog)
        assert chooser.fileMode() is QFileDialog.FileMode.Directory
        chooser.filesSelected.emit([str(tmp_path)])
        chooser.close()
        await shows(workspace, (str(tmp_path), True))
        assert dialog.list.isVisible()
        click(dialog, "Remove")
        click(dialog_of(QDialog), "Cancel")
        click(dialog, "Remove")
        click(dialog_of(QDialog), "Take it off the list")
        await shows(workspace)
        workspace.watched.add(Path("/c"))
        await shows(workspace, ("/c", True))
        QTest.keyClick(dialog.list, Qt.Key.Key_Delete)
        assert folders(workspace) == [("/c", True)], "it is asked first"
        click(dialog_of(QDialog), "Take it off the list")
        await shows(workspace)


@on_qt_loop
async def test_a_read_only_list_can_be_looked_at(theme: Theme) -> None:
    services = with_folders(watching("/a"))
    services.library.read_only = "The disk is full."
    async with shown(services, theme) as (window, workspace):
        dialog = await dialog_in(window, workspace)
        assert folders(workspace) == [("/a", True)]
        QTest.mouseClick(dialog.list.viewport(), LEFT, pos=middle_of_switch(dialog, 0))
        QTest.keyClick(dialog.list, Qt.Key.Key_Space)
        QTest.keyClick(dialog.list, Qt.Key.Key_Delete)
        for _ in range(5):
            await asyncio.sleep(0)
        assert folders(workspace) == [("/a", True)]
        for name in ("Add folder…", "Remove"):
            assert (buttons(dialog)[name].isEnabled(), buttons(dialog)[name].toolTip()) == (False, "The disk is full.")


@on_qt_loop
async def test_the_rows_have_room_and_are_painted_in_both_themes(theme: Theme) -> None:
    note = "/b cannot be watched: " + "the system allows no more watches for this person, and says so at length. " * 2
    services = with_folders(watching("/a"), watching("/b", WatchState.FAILED, note))
    async with shown(services, theme) as (window, workspace):
        dialog = await dialog_in(window, workspace)
        heights = [dialog.list.visualRect(dialog.list.model().index(row, 0)).height() for row in (0, 1)]
        assert heights[0] < heights[1], "the reason takes two lines"
        for choice, token in ((ThemeChoice.LIGHT, "accent"), (ThemeChoice.DARK, "accent")):
            theme.apply(choice)
            picture = dialog.list.viewport().grab().toImage()
            place = (middle_of_switch(dialog, 0) - QPoint(8, 0)) * picture.devicePixelRatio()
            assert picture.pixelColor(place) == theme.color(token), choice


# ---------------------------------------------------------------- over the real service


@on_qt_loop
async def test_a_folder_added_in_the_window_is_indexed(theme: Theme, tmp_path: Path, model_paths: DataPaths) -> None:
    data_dir, folder = tmp_path / "data", tmp_path / "Reading"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(model_paths.models, target_is_directory=True)
    folder.mkdir()
    (folder / "loops.md").write_text((resources_dir() / "samples" / "inline-caches.md").read_text("utf-8"), "utf-8")
    async with open_services(data_dir) as services:
        kb = await services.library.create("Reading")
        workspace = Workspace(services)
        window = MainWindow(workspace, theme)
        window.show()
        workspace.start()
        await services.watch.start()
        try:
            await until(lambda: workspace.library.is_loaded, workspace.library.loaded)
            dialog = await dialog_in(window, workspace)
            workspace.watched.add(tmp_path / "nowhere")
            await until(lambda: "There is no folder" in workspace.watched.error, workspace.watched.changed)
            workspace.watched.add(folder)
            await until(lambda: workspace.library.knowledge_bases[0].chunks > 0, workspace.library.changed)
            following = ["Changes are indexed as they happen"]
            await until(lambda: details(workspace) == following, workspace.watched.changed)
            QTest.mouseClick(dialog.list.viewport(), LEFT, pos=middle_of_switch(dialog, 0))
            await shows(workspace, (str(folder), False))
            assert [item.state for item in await services.watch.folders(kb.id)] == [WatchState.OFF]
            folder.rename(tmp_path / "Elsewhere")
            QTest.keyClick(dialog.list, Qt.Key.Key_Space)
            missing = "The folder is not there."
            await until(lambda: details(workspace)[0].startswith(missing), workspace.watched.changed)
            click(dialog, "Remove")
            click(dialog_of(QDialog), "Take it off the list")
            await shows(workspace)
            assert workspace.library.knowledge_bases[0].chunks, "its documents stay"
            dialog.close()
        finally:
            window.hide()
            await services.watch.close()
            await workspace.close()
            window.deleteLater()
            await asyncio.sleep(0)
