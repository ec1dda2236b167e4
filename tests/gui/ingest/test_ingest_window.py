"""The ingest pane with mouse and keyboard: the card, the jobs, and what could not be indexed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialog, QLineEdit

from studio.domain import (
    FileFailure,
    FileProgress,
    FileState,
    IngestProgress,
    IngestReport,
    IngestStage,
    JobState,
    ProgressSink,
    SkippedFiles,
)
from studio.services.jobs.queue import JobProgress
from studio.services.preflight import NEEDS_PASSWORD
from studio.ui.ingest import failures_list
from studio.ui.ingest.pane import FAILED
from studio.ui.parts import Theme, ThemeChoice
from studio.ui.window import MainWindow
from studio.ui.window.main_window import INGEST, SEARCH
from studio.ui.window.screenshots import until
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices
from tests.gui.gestures import buttons, choose, click, dialog_of, drop, menu_of, texts
from tests.gui.ingest.fake_queue import preflight, report
from tests.gui.ingest.ingesting import shown, with_jobs
from tests.gui.opening import with_kb
from tests.gui.qt_loop import on_qt_loop

BIG = preflight(files=512, new=512, chunks=14_100, seconds=360.0)
FAILURES = (
    FileFailure("/papers/broken.pdf", "corrupt", "The file is damaged. Get another copy."),
    FileFailure("/papers/locked.pdf", "encrypted", "The file is protected by a password."),
)


async def asked(workspace: Workspace) -> None:
    await until(lambda: workspace.preflight.asking, workspace.preflight.changed)


# ---------------------------------------------------------------- the card


@on_qt_loop
async def test_enter_starts_what_was_dropped_and_escape_leaves_it(theme: Theme) -> None:
    services = with_kb()
    services.preflight.found = BIG
    async with shown(services, theme) as (window, workspace):
        card = window.ingest.card
        assert not card.isVisible()
        drop(window, Path("/papers"))
        assert window.ingest.line.isVisible()
        assert window.ingest.line.accessibleName() == "Looking at papers…"
        await asked(workspace)
        assert card.isVisible()
        assert not window.ingest.line.isVisible()
        assert card.accessibleName() == "Add 512 files to “Compilers”?"
        assert "Time about 6 min" in card.accessibleDescription()
        assert window.focusWidget() is buttons(card)["Start"]
        assert card.height() < 160, "it takes no more room than it needs"
        QTest.keyClick(window.focusWidget(), Qt.Key.Key_Escape)
        assert not card.isVisible()
        assert window.focusWidget() is window.ingest.queue
        assert window.pane == INGEST
        assert not services.queue.asked

        drop(window, Path("/papers"))
        await asked(workspace)
        QTest.keyClick(window.focusWidget(), Qt.Key.Key_Return)
        await until(lambda: bool(services.queue.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.asked == [("kb1", (Path("/papers"),))]
        assert not card.isVisible()
        window.toast.hide()  # what could be undone
        QTest.keyClick(window, Qt.Key.Key_Escape)
        assert window.pane == SEARCH, "with nothing to leave, Escape leads to the search"


@on_qt_loop
async def test_the_card_takes_a_password(theme: Theme) -> None:
    services = with_kb()
    services.preflight.found = preflight(skipped=(SkippedFiles(NEEDS_PASSWORD, 1, ("/papers/locked.pdf",)),))
    async with shown(services, theme) as (window, workspace):
        drop(window, Path("/papers"))
        await asked(workspace)
        services.preflight.found = BIG
        click(window.ingest.card, "Enter password…")
        QTest.keyClicks(dialog_of(QDialog).findChild(QLineEdit), "swordfish")
        click(dialog_of(QDialog), "Unlock and retry")
        await until(lambda: workspace.preflight.result is BIG, workspace.preflight.changed)
        assert "Enter password…" not in buttons(window.ingest.card)
        assert services.preflight.passwords[-1] == ("swordfish",)


@on_qt_loop
async def test_nothing_begins_while_the_folder_is_read_only(theme: Theme) -> None:
    services = with_kb()
    services.preflight.found = BIG
    async with shown(services, theme) as (window, workspace):
        drop(window, Path("/papers"))
        await asked(workspace)
        services.library.read_only = "The disk is full."
        await until(lambda: bool(workspace.library.read_only), workspace.library.writability_changed)
        start = buttons(window.ingest.card)["Start"]
        assert not start.isEnabled()
        assert start.toolTip() == "The disk is full."
        QTest.keyClick(window.ingest.card, Qt.Key.Key_Return)
        assert not services.queue.asked


# ---------------------------------------------------------------- what could not be indexed


async def with_failures(services: FakeServices, window: MainWindow, workspace: Workspace) -> None:
    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        return report(kb, generation=None, failed=FAILURES)

    services.queue.script = script
    workspace.ingest.add([Path("/papers")], "kb1")
    await until(lambda: len(workspace.failures.rows.items) == 2, workspace.failures.changed)
    await until(lambda: not workspace.ingest.running, workspace.ingest.changed)
    window.ingest.show_list(FAILED)


@on_qt_loop
async def test_the_badge_counts_failures_and_retry_acts_on_the_selection_or_on_all(theme: Theme) -> None:
    services = with_kb()
    async with shown(services, theme) as (window, workspace):
        await with_failures(services, window, workspace)
        pane = window.ingest
        assert "Could not be indexed  2" in buttons(pane)
        view = pane.failures.list
        assert view.isVisible()
        click(pane.failures, "Retry all")
        await until(lambda: len(services.queue.asked) == 2 and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.asked[1] == ("kb1", (Path("/papers/broken.pdf"), Path("/papers/locked.pdf")))
        view.set_current_row(0)
        assert not buttons(pane.failures)["Enter password…"].isEnabled(), "the selected file is damaged"
        click(pane.failures, "Retry")
        await until(lambda: len(services.queue.asked) == 3 and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.asked[2] == ("kb1", (Path("/papers/broken.pdf"),))
        view.selectAll()
        window.toast.hide()  # what could be undone
        click(pane.failures, "Copy list")
        assert QGuiApplication.clipboard().text().splitlines() == [
            "/papers/broken.pdf\tThe file is damaged. Get another copy.",
            "/papers/locked.pdf\tThe file is protected by a password.",
        ]
        assert window.toast.message == "List copied"


@on_qt_loop
async def test_a_locked_file_asks_for_its_password(theme: Theme) -> None:
    services = with_kb()
    async with shown(services, theme) as (window, workspace):
        await with_failures(services, window, workspace)
        menu = menu_of(window.ingest.failures.list, 1)
        assert texts(menu.actions()) == ["Retry", "Enter password…", "Open folder", "Copy path", "Copy reason"]
        choose(menu, "Enter password…")
        dialog = dialog_of(QDialog)
        field = dialog.findChild(QLineEdit)
        assert field.echoMode() is QLineEdit.EchoMode.Password
        assert not buttons(dialog)["Unlock and retry"].isEnabled()
        QTest.keyClicks(field, "swordfish")
        click(dialog, "Show")
        assert field.echoMode() is QLineEdit.EchoMode.Normal
        QTest.keyClick(field, Qt.Key.Key_Return)
        await until(lambda: len(services.queue.asked) == 2 and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.asked[1] == ("kb1", (Path("/papers/locked.pdf"),))
        assert services.queue.passwords[1] == ("swordfish",)


@on_qt_loop
async def test_open_folder_reveals_the_file(theme: Theme, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    revealed: list[Path] = []
    monkeypatch.setattr(failures_list, "reveal", lambda path, parent: revealed.append(path))
    services = with_kb()
    async with shown(services, theme) as (window, workspace):
        await with_failures(services, window, workspace)
        assert not buttons(window.ingest.failures)["Open folder"].isEnabled(), "of which of them?"
        window.ingest.failures.list.set_current_row(1)
        click(window.ingest.failures, "Open folder")
        assert revealed == [Path("/papers/locked.pdf")]


# ---------------------------------------------------------------- large, and in the dark


@on_qt_loop
async def test_progress_of_a_large_folder_does_not_lay_out_every_row_again(theme: Theme) -> None:
    services = with_jobs(JobState.RUNNING)
    begun = asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        begun.set()
        await asyncio.Event().wait()
        return report(kb)

    services.queue.script = script
    files = tuple(FileProgress(f"/1/{number}.txt", FileState.WAITING) for number in range(40_000))
    async with shown(services, theme) as (window, workspace):
        await begun.wait()
        queue = workspace.ingest.queue
        services.queue.tell(JobProgress(IngestProgress("job1", "kb1", IngestStage.INDEXING, 40_000, changed=files)))
        await until(lambda: len(queue.items) == 40_000, queue.rowsInserted)
        window.ingest.queue.doItemsLayout()
        asked_for = 0
        count = queue.rowCount

        def counting(*parent: object) -> int:
            nonlocal asked_for
            asked_for += 1
            return count(*parent)  # type: ignore[arg-type]

        queue.rowCount = counting  # type: ignore[method-assign]
        done = tuple(FileProgress(file.path, FileState.INDEXED, 3, 3) for file in files[:100])
        services.queue.tell(JobProgress(IngestProgress("job1", "kb1", IngestStage.INDEXING, 40_000, 100, changed=done)))
        await until(lambda: queue.items[99].badge == "Indexed", queue.dataChanged)
        window.ingest.queue.grab()
        assert asked_for < 5_000, asked_for


@on_qt_loop
async def test_every_part_is_painted_in_both_themes(theme: Theme) -> None:
    services = with_jobs(JobState.PAUSED, JobState.PAUSED)
    services.preflight.found = BIG
    async with shown(services, theme) as (window, workspace):
        await until(lambda: len(workspace.jobs.rows.items) == 2, workspace.jobs.changed)
        drop(window, Path("/papers"))
        await asked(workspace)
        grounds = []
        for choice in (ThemeChoice.LIGHT, ThemeChoice.DARK):
            theme.apply(choice)
            for part in (window.ingest.card, window.ingest):
                image = part.grab().toImage()
                grounds.append(image.pixelColor(image.width() - 30, image.height() - 4).lightness())
        light, dark = grounds[:2], grounds[2:]
        assert min(light) > 200
        assert max(dark) < 60
