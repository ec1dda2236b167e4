"""The real window over the real services: a folder dropped on it ends as a marked passage."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QPushButton

from studio.bootstrap import Services, open_services
from studio.domain import GenerationState
from studio.errors import NotFound
from studio.paths import DataPaths, resources_dir
from studio.ui.generations.compare_dialog import CompareDialog
from studio.ui.parts import Theme, ThemeChoice
from studio.ui.window import MainWindow, render_screenshots
from studio.ui.window.main_window import GENERATIONS, INGEST, SEARCH
from studio.ui.window.screenshots import SIZE, until
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.generations import Change
from studio.viewmodels.search import PdfContent, TextContent
from studio.viewmodels.workspace import Workspace
from tests.gui.gestures import choose, click, dialog_of, drop, menu_of, opened_window
from tests.gui.qt_loop import on_qt_loop

PDF = "nested-trace-trees.pdf"
MARKDOWN = "inline-caches.md"


@pytest.fixture
def data_dir(tmp_path: Path, model_paths: DataPaths) -> Path:
    """A fresh data directory that has the default model."""
    root = tmp_path / "data"
    root.mkdir()
    (root / "models").symlink_to(model_paths.models, target_is_directory=True)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a PDF, a Markdown file and a broken file."""
    folder = tmp_path / "Reading"
    folder.mkdir()
    for name in (PDF, MARKDOWN):
        shutil.copy(resources_dir() / "samples" / name, folder / name)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is not a PDF")
    return folder


@asynccontextmanager
async def running(data_dir: Path, theme: Theme) -> AsyncIterator[tuple[MainWindow, Workspace, Services]]:
    """The window as the program opens it."""
    async with open_services(data_dir) as services, opened_window(services, theme) as (window, workspace):
        window.resize(*SIZE)
        yield window, workspace, services


def marked(window: MainWindow) -> str:
    """The text under the mark in the preview."""
    (selection,) = window.preview.text.extraSelections()
    return str(selection.cursor.selectedText()).replace("\u2029", "\n")


async def ingested(workspace: Workspace) -> None:
    """Wait until what was dropped is looked at and indexed."""
    look, ingest = workspace.preflight, workspace.ingest
    await until(lambda: not look.looking and not ingest.running, look.changed, ingest.changed)


async def searched(window: MainWindow, workspace: Workspace, query: str) -> None:
    """Type a query and wait for its answer."""
    window.search.focus_query()
    QTest.keyClicks(window.search.box.edit, query)
    search = workspace.search
    await until(lambda: bool(search.summary or search.message) and not search.busy, search.changed)


async def page_settled(window: MainWindow) -> None:
    await until(lambda: window.preview.pdf.is_settled, window.preview.settled)


def marked_pixels(image: QImage) -> int:
    """Pixels in the colour a white page has under the mark."""
    image = image.convertToFormat(QImage.Format.Format_RGB32)
    found = 0
    for y in range(0, image.height(), 2):
        for x in range(0, image.width(), 2):
            colour = image.pixelColor(x, y)
            found += colour.red() > 245 and 220 < colour.green() < 240 and 130 < colour.blue() < 175
    return found


@on_qt_loop
async def test_a_dropped_folder_ends_as_a_marked_passage(data_dir: Path, folder: Path, theme: Theme) -> None:
    async with running(data_dir, theme) as (window, workspace, _):
        assert window.welcome.isVisible(), "an empty program shows where to drop a folder"
        drop(window, folder)
        assert window.pane == INGEST
        await ingested(workspace)
        assert [kb.name for kb in workspace.library.knowledge_bases] == ["Reading"]
        rows = {row.name: row for row in workspace.ingest.queue.items}
        assert rows[PDF].badge == rows[MARKDOWN].badge == "Indexed"
        assert "5 pages" in rows[PDF].detail
        assert rows["broken.pdf"].badge == "Unreadable"
        await until(lambda: len(workspace.failures.rows.items) == 1, workspace.failures.changed)

        QTest.keyClick(window, Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
        assert window.pane == SEARCH
        await searched(window, workspace, "how are nested loops traced")
        assert not workspace.search.degraded
        first = workspace.search.current
        assert first is not None
        assert Path(first.citation.source_path).name == PDF
        await page_settled(window)
        assert window.preview.pdf.marks
        assert marked_pixels(window.preview.pdf.grab().toImage()) > 500

        # The second card, with the mouse.
        view = window.search.results
        second = workspace.search.results.index(1)
        QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=view.visualRect(second).center())
        assert workspace.preview.result == second.data(ITEM_ROLE)
        await until(lambda: workspace.preview.content is not None, workspace.preview.changed)

        # Down the list from the search box, then the citation to the clipboard.
        QTest.keyClick(window.search.box.edit, Qt.Key.Key_Down)
        current = workspace.search.current
        assert current == workspace.search.results.items[2]
        window.toast.hide()  # what could be undone
        window.search.box.edit.deselect()
        QTest.keyClick(window.search.box.edit, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
        assert current.citation.source_path in QGuiApplication.clipboard().text()
        assert window.toast.message == "Citation copied"

        QTest.keyClick(window.search.box.edit, Qt.Key.Key_Escape)
        QTest.keyClick(window.search.box.edit, Qt.Key.Key_Escape)
        assert not window.search.box.edit.text()
        assert workspace.preview.content is None


@on_qt_loop
async def test_a_large_drop_asks_first_and_goes_on_after_the_window_was_closed(
    data_dir: Path, tmp_path: Path, theme: Theme
) -> None:
    notes = tmp_path / "Notes"
    notes.mkdir()
    for number in range(30):
        (notes / f"note{number}.md").write_text(f"# Note {number}\n\nLoop number {number} is traced by the compiler.\n")
    (notes / ".hidden.md").write_text("not for the index")
    async with running(data_dir, theme) as (window, workspace, _):
        drop(window, notes)
        look = workspace.preflight
        await until(lambda: look.asking, look.changed)
        assert look.title == "Add 30 files to a new knowledge base?"
        assert look.skipped == "Skipped: 1 hidden or system files"
        assert look.warnings == []
        begun = asyncio.Event()
        workspace.jobs.progressed.connect(lambda _: begun.set())
        QTest.keyClick(window.ingest.card, Qt.Key.Key_Return)
        await begun.wait()
    told: list[str] = []
    async with running(data_dir, theme) as (_, workspace, services):
        workspace.jobs.continued.connect(told.append)
        assert [job.kb_id for job in await services.queue.jobs()], "closing the window does not end the job"
        await until(lambda: bool(told), workspace.jobs.continued)
        await ingested(workspace)
        assert told == ["Going on with what was interrupted in “Notes”."]
        assert workspace.ingest.summary.startswith("30 added")
        assert not workspace.jobs.rows.items
        assert len(await services.library.documents("Notes")) == 30


@on_qt_loop
async def test_text_is_marked_where_the_citation_says(data_dir: Path, folder: Path, theme: Theme) -> None:
    async with running(data_dir, theme) as (window, workspace, services):
        kb = await services.library.create("Reading")
        await services.ingest.ingest(kb.id, [folder])
        await workspace.library.refresh()
        workspace.library.select(kb.id)
        await searched(window, workspace, "hidden classes and inline caches")
        rows = workspace.search.results.items
        row = next(row for row, item in enumerate(rows) if item.citation.source_path.endswith(MARKDOWN))
        window.search.results.set_current_row(row)
        await until(
            lambda: isinstance(workspace.preview.content, TextContent) and workspace.preview.result == rows[row],
            workspace.preview.changed,
        )
        assert marked(window) == rows[row].content

        # The PDF vanishes while the program runs: its stored text takes over.
        (folder / PDF).unlink()
        row = next(row for row, item in enumerate(rows) if item.citation.source_path.endswith(PDF))
        window.search.results.set_current_row(row)
        await until(lambda: workspace.preview.result == rows[row], workspace.preview.changed)
        note = workspace.preview.changed
        await until(lambda: "no longer" in getattr(workspace.preview.content, "note", ""), note)
        assert "".join(marked(window).split()) == "".join(rows[row].content.split())


@on_qt_loop
async def test_pages_and_zoom_keep_the_mark_on_its_page(data_dir: Path, folder: Path, theme: Theme) -> None:
    async with running(data_dir, theme) as (window, workspace, services):
        kb = await services.library.create("Reading")
        await services.ingest.ingest(kb.id, [folder])
        await workspace.library.refresh()
        workspace.library.select(kb.id)
        await searched(window, workspace, "how are nested loops traced")
        await page_settled(window)
        content = workspace.preview.content
        assert isinstance(content, PdfContent)
        marks = list(window.preview.pdf.marks)
        assert marks
        window.preview.magnify(1)
        await page_settled(window)
        assert window.preview.pdf.marks == marks
        window.preview.step(1)
        await page_settled(window)
        assert not window.preview.pdf.marks
        window.preview.step(-1)
        await page_settled(window)
        assert window.preview.pdf.marks == marks


@on_qt_loop
async def test_generations_are_built_and_rolled_back_in_the_window(data_dir: Path, folder: Path, theme: Theme) -> None:
    async with running(data_dir, theme) as (window, workspace, services):
        kb = await services.library.create("Reading")
        await services.ingest.ingest(kb.id, [folder])
        await workspace.library.refresh()
        workspace.library.select(kb.id)
        model = workspace.generations
        await until(lambda: model.can_build, model.changed)
        QTest.keyClick(window, Qt.Key.Key_3, Qt.KeyboardModifier.ControlModifier)
        assert window.pane == GENERATIONS
        model.build()
        await ingested(workspace)
        await until(lambda: [row.chip for row in model.rows.items] == ["active", "kept for rollback"], model.changed)
        button = next(
            button for button in window.generations.findChildren(QPushButton) if button.text().strip() == "Roll back"
        )
        await until(lambda: button.isVisible(), model.changed)
        button.click()
        await until(lambda: [row.state for row in model.rows.items] == [
            GenerationState.ARCHIVED, GenerationState.ACTIVE], model.changed)  # fmt: skip
        assert "Generation 1" in workspace.status.generation


@on_qt_loop
async def test_a_pinned_query_holds_a_generation_until_it_is_forced_and_a_bundle_brings_it_back(
    data_dir: Path, folder: Path, tmp_path: Path, theme: Theme
) -> None:
    async with running(data_dir, theme) as (window, workspace, services):
        kb = await services.library.create("Reading")
        await services.ingest.ingest(kb.id, [folder])
        await workspace.library.refresh()
        workspace.library.select(kb.id)
        await searched(window, workspace, "hidden classes and inline caches")
        window.search.results.set_current_row(0)
        found = workspace.search.current
        assert found is not None
        assert found.citation.source_path.endswith(MARKDOWN)
        choose(menu_of(window.search.results, 0), "Pin: this query must find this document")
        await until(lambda: window.toast.message.startswith("Pinned"), workspace.gate.done)

        # The file goes, the folder is indexed again: the generation without it is not let through.
        (folder / MARKDOWN).unlink()
        drop(window, folder)
        await ingested(workspace)
        assert MARKDOWN in workspace.ingest.held
        click(window.toast, "Show generations")
        model = workspace.generations
        await until(lambda: bool(model.rows.items) and bool(model.rows.items[0].held), model.changed)
        assert [row.chip for row in model.rows.items] == ["held back", "active"]

        choose(menu_of(window.generations.list, 0), "Compare with the active one…")
        await until(lambda: not workspace.compare.busy, workspace.compare.changed)
        assert [row.name for row in workspace.compare.documents.items] == ["Inline Caches and Hidden Classes"]
        workspace.compare.ask("hidden classes and inline caches")
        await until(lambda: bool(workspace.compare.hits.items), workspace.compare.changed)
        assert Change.LOST in [row.change for row in workspace.compare.hits.items]
        click(window.findChild(CompareDialog), "Close")

        choose(menu_of(window.generations.list, 0), "Promote")
        click(dialog_of(QDialog), "Promote anyway")
        await until(lambda: [row.chip for row in model.rows.items] == ["active", "kept for rollback"], model.changed)
        assert not workspace.ingest.held

        # The older generation goes to a file and comes back as a knowledge base of its own.
        file = tmp_path / "Older.ragstudio"
        transfers = workspace.transfers
        transfers.export(kb, file, 1)
        await until(lambda: not transfers.running, transfers.changed)
        drop(window, file)
        click(dialog_of(QDialog), "Import")
        await until(lambda: transfers.running, transfers.changed)
        await until(lambda: not transfers.running, transfers.changed)
        selected = workspace.library.selected
        assert selected is not None
        assert (selected.name, selected.documents) == ("Older", 2)
        await searched(window, workspace, " of objects")
        assert any(row.citation.source_path.endswith(MARKDOWN) for row in workspace.search.results.items)


@on_qt_loop
async def test_deleting_says_what_it_costs_and_needs_a_yes(data_dir: Path, folder: Path, theme: Theme) -> None:
    async with running(data_dir, theme) as (window, workspace, services):
        kb = await services.library.create("Reading")
        await services.ingest.ingest(kb.id, [folder])
        await workspace.library.refresh()
        workspace.library.select(kb.id)
        window.sidebar.delete()
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, QDialog)
        assert "cannot be undone" in dialog.accessibleDescription()
        assert "passages" in dialog.accessibleDescription()
        cancel = next(button for button in dialog.findChildren(QPushButton) if "Cancel" in button.text())
        assert cancel.isDefault()
        cancel.click()
        await asyncio.sleep(0)
        assert len(await services.library.list()) == 1
        window.sidebar.delete()
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, QDialog)
        next(button for button in dialog.findChildren(QPushButton) if button.text() == "Delete").click()
        await until(lambda: not workspace.library.knowledge_bases, workspace.library.changed)
        assert await services.library.list() == []


@on_qt_loop
async def test_dialogs_open_without_blocking_and_close_with_escape(data_dir: Path, theme: Theme) -> None:
    async with running(data_dir, theme) as (window, workspace, _):
        for key, modifier in (
            (Qt.Key.Key_F1, Qt.KeyboardModifier.NoModifier),
            (Qt.Key.Key_Comma, Qt.KeyboardModifier.ControlModifier),
            (Qt.Key.Key_N, Qt.KeyboardModifier.ControlModifier),
        ):
            window.activateWindow()
            await until(lambda: QApplication.activeWindow() is window, QApplication.instance().focusWindowChanged)
            QTest.keyClick(window, key, modifier)
            dialog = QApplication.activeModalWidget()
            assert isinstance(dialog, QDialog), key
            QTest.keyClick(dialog, Qt.Key.Key_Escape)
            assert not dialog.isVisible()
            await asyncio.sleep(0)
        assert not workspace.library.knowledge_bases


@on_qt_loop
async def test_every_control_has_a_name_for_assistive_technology(data_dir: Path, theme: Theme) -> None:
    async with running(data_dir, theme) as (window, _, _services):
        nameless = [
            button
            for button in window.findChildren(QPushButton)
            if not button.accessibleName() and not button.text().strip()
        ]
        assert not nameless
        for widget in (window.search.results, window.sidebar.list, window.ingest.queue, window.generations.list):
            assert widget.accessibleName()


@on_qt_loop
async def test_the_theme_choice_is_kept(data_dir: Path, theme: Theme) -> None:
    async with running(data_dir, theme) as (window, _, services):
        window.sidebar.theme_toggled.emit()
        assert theme.dark
        async with asyncio.timeout(10):
            while services.config.get("theme") != ThemeChoice.DARK:  # noqa: ASYNC110 - no signal tells of it
                await asyncio.sleep(0.01)
        window.sidebar.theme_toggled.emit()
        assert not theme.dark


@on_qt_loop
async def test_screenshots_show_the_marked_page_in_both_themes(
    data_dir: Path, folder: Path, tmp_path: Path, theme: Theme
) -> None:
    output = tmp_path / "shots"
    async with open_services(data_dir) as services:
        kb = await services.library.create("Reading")
        await services.ingest.ingest(kb.id, [folder])
        saved = await render_screenshots(services, theme, "Reading", "how are nested loops traced", output)
        assert [path.stem for path in saved] == [
            f"{pane}_{choice}" for choice in ("light", "dark") for pane in ("search", "ingest", "generations")
        ]
        for path in saved:
            image = QImage(str(path))
            assert (image.width(), image.height()) == SIZE
            assert (marked_pixels(image) > 500) == (path.stem.startswith("search")), path
        with pytest.raises(NotFound):
            await render_screenshots(services, theme, "No such thing", "loops", output)
