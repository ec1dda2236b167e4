"""The list of jobs with mouse and keyboard: steered, moved, and what a fault made wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialog

from studio.domain import (
    HeldRemovals,
    IngestReport,
    JobState,
    ProgressSink,
)
from studio.errors import StorageFault
from studio.services.jobs.queue import JobChanged
from studio.ui.parts import Banner, Theme
from studio.ui.window.main_window import SEARCH
from studio.ui.window.screenshots import until
from studio.viewmodels.ingest import Tone
from tests.gui.gestures import buttons, choose, click, dialog_of, menu_of, texts
from tests.gui.ingest.fake_queue import job, report
from tests.gui.ingest.ingesting import shown, with_jobs
from tests.gui.qt_loop import on_qt_loop


@on_qt_loop
async def test_jobs_are_moved_and_cancelled_with_keys(theme: Theme) -> None:
    services = with_jobs(JobState.PAUSED, JobState.PAUSED, JobState.PAUSED)
    async with shown(services, theme) as (window, workspace):
        view, jobs = window.ingest.jobs.list, workspace.jobs
        await until(lambda: len(jobs.rows.items) == 3, jobs.changed)
        assert view.isVisible()
        view.setFocus()
        view.set_current_row(2)
        QTest.keyClick(view, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
        await until(lambda: [row.subject for row in jobs.rows.items] == ["1", "3", "2"], jobs.changed)
        assert view.current_row() == 1, "the selection goes with the job"
        QTest.keyClick(view, Qt.Key.Key_Delete)
        await until(lambda: [row.subject for row in jobs.rows.items] == ["1", "2"], jobs.changed)
        view.set_current_row(0)
        QTest.keyClick(view, Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
        await until(lambda: [row.subject for row in jobs.rows.items] == ["2", "1"], jobs.changed)
        index = jobs.rows.index(0)
        assert index.data(Qt.ItemDataRole.AccessibleTextRole) == "Compilers, 2, Paused, Paused"


FULL = "The disk is full while writing passages (/data). Free some space and try again."


@on_qt_loop
async def test_a_job_that_a_fault_stopped_says_why_and_goes_on(theme: Theme) -> None:
    services = with_jobs(JobState.PAUSED, JobState.PAUSED)
    services.library.add("Databases")
    stopped = job(1, JobState.PAUSED, "/1", error=FULL, files_total=90, files_done=41, kb_id="kb2")
    services.queue.open[0] = stopped
    async with shown(services, theme) as (window, workspace):
        jobs, pane = workspace.jobs, window.ingest.jobs
        await until(lambda: len(jobs.rows.items) == 2, jobs.changed)
        first, second = jobs.rows.items
        assert (first.badge, first.tone, first.detail) == ("Paused", Tone.WARN, f"41 of 90 files · {FULL}")
        assert (second.tone, second.detail) == (Tone.CALM, "Paused")
        banner = pane.findChild(Banner)
        pane.list.set_current_row(1)
        assert (banner.isVisible(), banner.accessibleName()) == (True, f"Databases: {FULL}"), "whichever row is current"
        begun = asyncio.Event()

        async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
            begun.set()
            await asyncio.Event().wait()
            return report(kb)

        services.queue.script = script
        click(banner, "Resume")
        await begun.wait()
        assert services.queue.asked == [("kb2", (Path("/1"),))]


@on_qt_loop
async def test_a_fault_that_stops_a_running_job_is_said_at_once(theme: Theme) -> None:
    services = with_jobs(JobState.PAUSED)
    async with shown(services, theme) as (window, workspace):
        await until(lambda: bool(workspace.jobs.rows.items), workspace.jobs.changed)
        window.show_pane(SEARCH)
        services.queue.tell(JobChanged(job(1, JobState.PAUSED, "/1", error=FULL)))
        assert window.toast.message == FULL
        window.toast.hide()
        services.queue.tell(JobChanged(job(1, JobState.PAUSED, "/1", error=FULL, files_done=2)))
        assert not window.toast.isVisible(), "once is enough"


@on_qt_loop
async def test_a_failed_job_says_why_and_is_retried(theme: Theme) -> None:
    services = with_jobs(JobState.PAUSED, JobState.QUEUED)
    attempts = 0

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise StorageFault("The model is broken.", way_out="Install it again.")
        return report(kb)

    services.queue.script = script
    async with shown(services, theme) as (window, workspace):
        jobs, pane = workspace.jobs, window.ingest.jobs
        await until(lambda: jobs.has_failed, jobs.changed)
        moves = ("Move the job up", "Move the job down")
        pane.list.set_current_row(0)
        assert not any(buttons(pane)[name].isEnabled() for name in moves), "below it is only what failed"
        pane.list.set_current_row(1)
        assert not any(buttons(pane)[name].isEnabled() for name in (*moves, "Pause the job"))
        banner = pane.findChild(Banner)
        assert banner.accessibleName() == "Compilers: The model is broken. Install it again."
        click(banner, "Retry")
        await until(lambda: attempts == 2 and len(jobs.rows.items) == 1, jobs.changed)
        assert not banner.isVisible()


@on_qt_loop
async def test_the_selected_job_stays_selected_wherever_it_goes(theme: Theme) -> None:
    services = with_jobs(JobState.PAUSED, JobState.PAUSED, JobState.PAUSED)
    async with shown(services, theme) as (window, workspace):
        jobs, pane = workspace.jobs, window.ingest.jobs
        await until(lambda: len(jobs.rows.items) == 3, jobs.changed)
        pane.list.set_current_row(2)
        await services.queue.move("job3", "job1")  # by another program
        for item in services.queue.open:
            services.queue.tell(JobChanged(item))
        assert [row.subject for row in jobs.rows.items] == ["3", "1", "2"]
        assert pane.list.current_row() == 0
        click(pane, "Move the job down")
        await until(lambda: [row.subject for row in jobs.rows.items] == ["1", "3", "2"], jobs.changed)
        assert pane.list.current_row() == 1
        jobs.cancel_job(jobs.rows.items[0].job)
        await until(lambda: len(jobs.rows.items) == 2, jobs.changed)
        assert pane.list.current_row() == 0


@on_qt_loop
async def test_one_key_does_not_throw_away_a_running_job_but_the_button_does(theme: Theme) -> None:
    services = with_jobs(JobState.QUEUED)
    begun = asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        begun.set()
        await asyncio.Event().wait()
        return report(kb)

    services.queue.script = script
    async with shown(services, theme) as (window, workspace):
        await begun.wait()
        view = window.ingest.jobs.list
        QTest.keyClick(view, Qt.Key.Key_Delete)
        for _ in range(5):
            await asyncio.sleep(0)
        assert [item.state for item in services.queue.open] == [JobState.RUNNING]
        click(window.ingest.jobs, "Pause the job")
        await until(lambda: workspace.jobs.can_resume, workspace.jobs.changed)
        assert "Resume the job" in buttons(window.ingest.jobs)
        assert "Resume all" in buttons(window.ingest)
        assert "Pause all" not in buttons(window.ingest)
        menu = menu_of(view, 0)
        assert texts(menu.actions()) == ["Resume the job", "Cancel"]
        choose(menu, "Cancel")
        await until(lambda: not workspace.jobs.rows.items, workspace.jobs.changed)
        assert not window.ingest.jobs.isVisible()
        assert [item.state for item in services.queue.past] == [JobState.CANCELLED]


@on_qt_loop
async def test_pause_all_and_resume_all(theme: Theme) -> None:
    services = with_jobs(JobState.QUEUED, JobState.QUEUED)
    begun = asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        begun.set()
        await asyncio.Event().wait()
        return report(kb)

    services.queue.script = script
    async with shown(services, theme) as (window, workspace):
        await begun.wait()
        click(window.ingest, "Pause all")
        jobs = workspace.jobs
        await until(lambda: [row.badge for row in jobs.rows.items] == ["Paused", "Paused"], jobs.changed)
        services.queue.script = None
        click(window.ingest, "Resume all")
        await until(lambda: not jobs.rows.items, jobs.changed)
        assert [item.state for item in services.queue.past] == [JobState.DONE, JobState.DONE]


@on_qt_loop
async def test_documents_that_a_job_kept_are_removed_with_a_button_or_stay(theme: Theme) -> None:
    services = with_jobs()
    held = HeldRemovals("/docs/box", 35, "It is not there."), HeldRemovals("/docs/top", 1, "There is nothing in it.")

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        allowed = services.queue.open[0].ingest_options.allow_removals
        return replace(report(kb), held_removals=() if allowed >= 36 else held)

    services.queue.script = script
    async with shown(services, theme) as (window, workspace):
        jobs, pane = workspace.jobs, window.ingest.jobs
        banner = pane.findChild(Banner)
        for turn in range(3):
            jobs.add("kb1", [Path("/docs")])
            await until(lambda: len(services.queue.past) == turn + 1, jobs.changed)  # noqa: B023
            assert [row.held for row in jobs.rows.items] == [36]
            assert jobs.rows.items[0].badge == "Kept"
            assert "35 documents of /docs/box are kept. It is not there." in banner.accessibleName()
            assert "1 document of /docs/top is kept." in banner.accessibleName()
            await until(lambda: "36 no longer there, kept" in workspace.ingest.summary, workspace.ingest.changed)
            if turn == 0:  # once more: the row takes the place of the first
                continue
            if turn == 1:
                pane.list.setFocus()
                QTest.keyClick(pane.list, Qt.Key.Key_Delete)
                await until(lambda: not jobs.rows.items, jobs.changed)
        click(banner, "Remove 36 documents")
        click(dialog_of(QDialog), "Remove")
        await until(lambda: len(services.queue.past) == 4, jobs.changed)
        assert not jobs.rows.items
        assert services.queue.past[0].ingest_options.allow_removals == 36
        assert services.queue.asked[-1] == ("kb1", (Path("/docs"),))
        assert not banner.isVisible()
