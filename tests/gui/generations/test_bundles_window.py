"""Bundles in and out of the window, an ingest that was held back, and a data directory that cannot be written."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QFileDialog, QLineEdit

from studio.ui.parts import Theme
from studio.ui.window.main_window import GENERATIONS, INGEST
from studio.ui.window.screenshots import until
from tests.gui.gestures import HELD, buttons, choose, click, dialog_of, drop, menu_of, shown, with_generations
from tests.gui.ingest.fake_queue import report
from tests.gui.qt_loop import on_qt_loop

# ---------------------------------------------------------------- bundles


@on_qt_loop
async def test_an_export_asks_for_a_file_and_shows_how_far_it_is(theme: Theme, tmp_path: Path) -> None:
    services = with_generations()
    services.bundles.gate = asyncio.Event()
    async with shown(services, theme) as (window, workspace):
        choose(menu_of(window.generations.list, 3), "Export…")
        dialog = dialog_of(QFileDialog)
        assert Path(dialog.selectedFiles()[0]).name == "Compilers.ragstudio"
        dialog.fileSelected.emit(str(tmp_path / "x.ragstudio"))
        dialog.close()
        await until(lambda: workspace.transfers.fraction == 0.5, workspace.transfers.changed)
        click(window.status, "Cancel the export or import")
        await until(lambda: not workspace.transfers.running, workspace.transfers.changed)
        assert services.bundles.cancelled == ["export"]
        services.bundles.gate.set()
        choose(menu_of(window.sidebar.list, 1), "Export…")
        dialog = dialog_of(QFileDialog)
        dialog.fileSelected.emit(str(tmp_path / "x.ragstudio"))
        dialog.close()
        await until(lambda: "is in x.ragstudio" in window.toast.message, workspace.transfers.exported)
        assert [number for _, _, number in services.bundles.exported] == [1, None]


@on_qt_loop
async def test_a_dropped_bundle_is_offered_for_import_and_other_files_are_indexed(theme: Theme) -> None:
    services = with_generations()
    services.bundles.note = "Its model is not installed: keyword search only."
    async with shown(services, theme) as (window, workspace):
        said: list[tuple[str, str]] = []
        workspace.transfers.imported.connect(lambda *words: said.append(words))
        drop(window, Path("/in/Compilers.ragstudio"), Path("/in/paper.pdf"))
        dialog = dialog_of(QDialog)
        assert dialog.findChild(QLineEdit).text() == "Compilers 2"
        click(dialog, "Import")
        await until(lambda: len(workspace.library.knowledge_bases) == 2, workspace.library.changed)
        assert services.bundles.loaded == [(Path("/in/Compilers.ragstudio"), "Compilers 2")]
        await until(lambda: bool(services.queue.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert [paths for _, paths in services.queue.asked] == [(Path("/in/paper.pdf"),)]
        await until(lambda: not workspace.transfers.running, workspace.transfers.changed)
        assert workspace.library.selected is not None
        assert workspace.library.selected.name == "Compilers 2"
        assert "“Compilers 2” is imported" in said[0][0]
        assert "keyword search only" in said[0][1]


@on_qt_loop
async def test_import_by_button(theme: Theme) -> None:
    services = with_generations()
    async with shown(services, theme) as (window, workspace):
        click(window.sidebar, "Import a knowledge base")
        files = dialog_of(QFileDialog)
        files.fileSelected.emit("/in/Reading.ragstudio")
        files.close()
        click(dialog_of(QDialog), "Import")
        await until(lambda: bool(services.bundles.loaded), workspace.transfers.changed)
        assert services.bundles.loaded == [(Path("/in/Reading.ragstudio"), "Reading")]
        await until(lambda: not workspace.transfers.running, workspace.transfers.changed)


# ---------------------------------------------------------------- held back by an ingest


@on_qt_loop
async def test_an_ingest_that_was_held_back_leads_to_the_generations(theme: Theme) -> None:
    services = with_generations()

    async def script(kb: str, paths: object, sink: object) -> object:
        return report(kb, generation=4, promoted=False, held=HELD)

    services.queue.script = script
    async with shown(services, theme) as (window, workspace):
        window.take_files([Path("/papers")])
        assert window.pane == INGEST
        await until(lambda: bool(services.queue.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert window.toast.message == HELD
        assert window.ingest.held.isVisible()
        assert window.ingest.held.accessibleName() == HELD
        click(window.toast, "Show generations")
        assert window.pane == GENERATIONS
        assert window.toast.message == ""
        window.show_pane(INGEST)
        click(window.ingest.held, "Show generations")
        assert window.pane == GENERATIONS


# ---------------------------------------------------------------- read-only


@on_qt_loop
async def test_nothing_that_changes_anything_is_offered_while_read_only(theme: Theme) -> None:
    services = with_generations()
    why = services.library.read_only = "The file system is read-only."
    async with shown(services, theme) as (window, workspace):
        assert window.read_only.isVisible()
        assert window.read_only.accessibleName() == why
        pane = buttons(window.generations)
        for name in ("Roll back", "Go forward", "New generation", "Clean up…"):
            assert not pane[name].isEnabled(), name
            assert pane[name].toolTip() == why
        assert pane["Pinned queries…"].isEnabled(), "looking is free"
        side = buttons(window.sidebar)
        assert not side["New knowledge base"].isEnabled()
        assert not side["Import a knowledge base"].isEnabled()
        menu = menu_of(window.generations.list, 3)
        allowed = {action.text() for action in menu.actions() if action.isEnabled() and not action.isSeparator()}
        assert allowed == {"Compare with the active one…", "Export…"}
        menu.close()
        QTest.keyClick(window, Qt.Key.Key_N, Qt.KeyboardModifier.ControlModifier)
        assert QApplication.activeModalWidget() is None
        assert window.toast.message == why
        window.show_pane(INGEST)
        assert not buttons(window.ingest)["Choose files…"].isEnabled()
        assert not window.ingest.drop.acceptDrops()
        # The disk has room again: everything comes back, with its own tool tip.
        services.library.still_read_only = "Still read-only."
        click(window.read_only, "Try again")
        await until(lambda: window.toast.message == "Still read-only.", workspace.failed)
        services.library.still_read_only = ""
        click(window.read_only, "Try again")
        await until(lambda: not workspace.library.read_only, workspace.library.writability_changed)
        window.show_pane(GENERATIONS)
        assert buttons(window.generations)["Roll back to 1"].isEnabled()
        assert buttons(window.sidebar)["New knowledge base"].toolTip() == "New knowledge base"
        assert not window.read_only.isVisible()
