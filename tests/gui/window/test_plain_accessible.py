"""A screen reader gets the letters of names, paths and jobs as they are, and nothing they name is loaded for it."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible, QAccessibleInterface
from PySide6.QtWidgets import QDialog

from studio.domain import JobState
from studio.services.jobs.queue import JobChanged
from studio.ui.parts import Theme
from tests.gui.fakes import FakeServices
from tests.gui.gestures import click, window_over
from tests.gui.ingest.fake_queue import job
from tests.gui.qt_loop import on_qt_loop
from tests.gui.window.test_plain_text import seen

MARKUP = '<img src="/tmp/secret.png"><b>bold</b> &amp; a'
FIELDS = (QAccessible.Text.Name, QAccessible.Text.Description, QAccessible.Text.Help, QAccessible.Text.Value)


def read_out(root: QAccessibleInterface) -> Iterator[str]:
    """Everything a screen reader could read below a widget."""
    yield from (text for field in FIELDS if (text := root.text(field)))
    for number in range(root.childCount()):
        child = root.child(number)
        if child is not None and child.isValid():
            yield from read_out(child)


def heard(root: object) -> str:
    interface = QAccessible.queryAccessibleInterface(root)
    assert interface is not None
    return "\n".join(read_out(interface))


@on_qt_loop
async def test_jobs_and_what_is_asked_and_said_of_them_are_read_out_letter_by_letter(theme: Theme) -> None:
    services = FakeServices()
    services.library.add(MARKUP)
    async with window_over(services, theme) as (window, workspace):
        half = job(7, JobState.PAUSED, f"/papers/{MARKUP}", files_total=9, files_done=4)
        services.queue.open.append(half)
        services.queue.tell(JobChanged(half))
        window.show_pane(1)
        jobs = heard(window.ingest.jobs.list)
        assert MARKUP in jobs
        assert "img src=" in jobs
        tip = workspace.jobs.rows.index(0).data(Qt.ItemDataRole.ToolTipRole)
        assert MARKUP in seen(tip)
        click(window.ingest.jobs, "Cancel the job")
        dialog = next(dialog for dialog in window.findChildren(QDialog) if dialog.isVisible())
        assert f"Cancel “{MARKUP}”?" in heard(dialog)
        dialog.close()
        window.toast.inform(f"Cancelled: {MARKUP}", "Undo", lambda: None)
        assert f"Cancelled: {MARKUP}" in heard(window.toast)
        window.toast.warn(MARKUP, MARKUP)
        assert heard(window.toast).count(MARKUP) >= 2
        assert MARKUP in heard(window.sidebar.list)
