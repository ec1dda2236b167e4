"""Files go where they are dropped, it is said where, and it can be taken back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QComboBox, QDialog

from studio.domain import DocumentRecord, DocumentStatus, GenerationState, JobKind, JobState, PageCounts
from studio.services.jobs.queue import JobChanged
from studio.ui.parts import Theme
from studio.ui.window import MainWindow
from studio.ui.window.drops import SourceList
from studio.ui.window.main_window import INGEST
from studio.ui.window.screenshots import until
from studio.viewmodels.workspace import NEW, Workspace
from tests.gui.fakes import FakeServices, generation
from tests.gui.gestures import click, window_over
from tests.gui.ingest.fake_queue import job, report
from tests.gui.opening import opened, with_kb
from tests.gui.qt_loop import on_qt_loop
from tests.helpers import ROOT

LEFT, NONE, COPY = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, Qt.DropAction.CopyAction


def two_bases() -> FakeServices:
    services = with_kb()
    services.library.add("Parsers")
    return services


def files(*names: str) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(name) for name in names])
    return data


def place(sources: SourceList, row: int) -> QPoint:
    return sources.visualRect(sources.model().index(row, 0)).center()


def drag_over(sources: SourceList, row: int, data: QMimeData) -> None:
    sources.dragMoveEvent(QDragMoveEvent(place(sources, row), COPY, data, LEFT, NONE))


def drop_on(sources: SourceList, row: int, data: QMimeData) -> None:
    sources.dropEvent(QDropEvent(QPointF(place(sources, row)), COPY, data, LEFT, NONE))


def record(path: str) -> DocumentRecord:
    return DocumentRecord(
        document_id=path, source_path=path, sha256="0", size_bytes=1, mtime_ns=0, kind="md", title="", author="",
        licence="", external_id="", row=0, pages=PageCounts(), chunks=1, status=DocumentStatus.INDEXED, error="",
        reason="",
    )  # fmt: skip


async def queued(workspace: Workspace, services: FakeServices, number: int = 1) -> None:
    await until(lambda: len(services.queue.asked) >= number, workspace.jobs.changed, workspace.ingest.changed)


def dialog_over(window: MainWindow) -> QDialog:
    found = [dialog for dialog in window.findChildren(QDialog) if dialog.isVisible()]
    assert len(found) == 1
    return found[0]


@on_qt_loop
async def test_a_drop_on_a_row_goes_there_and_not_into_the_selected_base(theme: Theme) -> None:
    services = two_bases()
    async with window_over(services, theme) as (window, workspace):
        workspace.library.select("kb1")
        sources, data = window.sidebar.list, files("/papers/a.pdf")
        drag_over(sources, 2, data)
        assert sources.hint == "Add to Parsers"
        assert sources.accessibleDescription() == "Add to Parsers"
        drop_on(sources, 2, data)
        assert sources.hint == ""
        await queued(workspace, services)
        assert services.queue.asked == [("kb2", (Path("/papers/a.pdf"),))]
        assert window.pane == INGEST
        assert window.toast.message == "3 files added to “Parsers”"


@on_qt_loop
async def test_what_can_be_undone_is_not_covered_by_the_next_message(theme: Theme) -> None:
    async with window_over(two_bases(), theme) as (window, _):
        window.toast.inform("3 files added", "Undo", lambda: None)
        window.toast.inform("Citation copied")
        assert window.toast.message == "3 files added"
        window.toast.hide()
        async with asyncio.timeout(5):
            while window.toast.message != "Citation copied":  # noqa: ASYNC110 - no signal tells of it
                await asyncio.sleep(0)


@on_qt_loop
async def test_over_all_sources_the_window_asks_which(theme: Theme) -> None:
    services = two_bases()
    async with window_over(services, theme) as (window, workspace):
        workspace.library.select("kb1")
        drop_on(window.sidebar.list, 0, files("/papers/a.pdf"))
        dialog = dialog_over(window)
        choice = dialog.findChild(QComboBox)
        assert isinstance(choice, QComboBox)
        assert [choice.itemText(row) for row in range(choice.count())] == [
            "Compilers", "Parsers", "A new knowledge base",
        ]  # fmt: skip
        assert services.preflight.asked == []
        choice.setCurrentIndex(1)
        dialog.accept()
        await queued(workspace, services)
        assert services.queue.asked[0][0] == "kb2"


@on_qt_loop
async def test_a_bundle_is_imported_wherever_it_is_dropped(theme: Theme) -> None:
    services = two_bases()
    async with window_over(services, theme) as (window, workspace):
        given: list[Path] = []
        workspace.bundle_given.disconnect()
        workspace.bundle_given.connect(given.append)
        bundle = "/papers/Old.ragstudio"
        data = files(bundle)  # an event does not keep it
        drop_on(window.sidebar.list, 1, data)
        for place_of_drop in (window.ingest.drop, window.welcome.drop, window):
            place_of_drop.dropEvent(QDropEvent(QPointF(5, 5), COPY, data, LEFT, NONE))
        await asyncio.sleep(0)
        assert given == [Path(bundle)] * 4
        assert services.preflight.asked == []


def test_nothing_but_the_one_door_looks_at_files_or_offers_a_dropped_bundle() -> None:
    studio = ROOT / "studio"
    places = [*(studio / "ui").rglob("*.py"), *(studio / "viewmodels").rglob("*.py"), studio / "app.py"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in places}
    assert [name for name, text in texts.items() if ".look_at(" in text] == ["workspace.py"]
    assert [name for name, text in texts.items() if "bundle_given.emit(" in text] == ["workspace.py"]


@on_qt_loop
async def test_what_is_dropped_on_a_base_that_is_gone_goes_nowhere() -> None:
    services = two_bases()
    async with opened(services) as (workspace, complaints):
        workspace.library.select("kb1")
        workspace.take([Path("/papers")], "kb9")
        assert services.preflight.asked == []
        assert complaints


@on_qt_loop
async def test_a_drop_that_still_waits_is_taken_back_by_ending_its_job() -> None:
    services = two_bases()
    started = asyncio.Event()

    async def script(kb_id, paths, sink):
        started.set()
        await asyncio.Event().wait()

    services.queue.script = script
    async with opened(services) as (workspace, _):
        undos = []
        workspace.drops.added.connect(lambda said, undo: undos.append(undo))
        workspace.take([Path("/papers")], "kb2")
        await started.wait()
        await until(lambda: bool(undos), workspace.jobs.changed)
        undos[0]()
        await until(lambda: bool(services.queue.past), workspace.jobs.changed)
        assert services.queue.past[0].state is JobState.CANCELLED
        assert [kb.id for kb in services.library.bases] == ["kb1", "kb2"]


@on_qt_loop
async def test_a_drop_that_is_through_is_taken_back_by_removing_what_it_added_and_nothing_else() -> None:
    services = two_bases()
    services.maintenance.items = [generation(2, GenerationState.ACTIVE, parent=1)]

    async def documents(kb: str, number: int | None = None) -> list[DocumentRecord]:
        return [record("/old.md"), *([record("/new.md")] if number == 2 else [])]

    services.library.documents = documents  # type: ignore[method-assign]

    async def script(kb_id, paths, sink):
        return report(kb_id, generation=2)

    services.queue.script = script
    async with opened(services) as (workspace, _):
        undos = []
        workspace.drops.added.connect(lambda said, undo: undos.append(undo))
        workspace.take([Path("/new.md")], "kb1")
        await until(lambda: bool(services.queue.past) and bool(undos), workspace.jobs.changed, workspace.drops.added)
        undos[0]()
        await queued(workspace, services, 2)
        assert services.queue.asked[1] == ("kb1", (Path("/new.md"),))
        await until(lambda: len(services.queue.past) == 2, workspace.jobs.changed)
        assert services.queue.past[0].kind is JobKind.REMOVE


@on_qt_loop
async def test_a_base_that_a_drop_made_goes_with_it() -> None:
    services = two_bases()
    async with opened(services) as (workspace, _):
        undos = []
        workspace.drops.added.connect(lambda said, undo: undos.append(undo))
        workspace.take([Path("/nowhere/papers")], NEW)
        await until(lambda: bool(undos) and bool(services.queue.past), workspace.jobs.changed, workspace.drops.added)
        assert len(services.library.bases) == 3
        undos[0]()
        await until(lambda: len(services.library.bases) == 2, workspace.drops.done, workspace.library.changed)


@on_qt_loop
async def test_cancelling_offers_to_keep_what_is_finished_and_can_be_undone_where_nothing_is(theme: Theme) -> None:
    services = two_bases()
    async with window_over(services, theme) as (window, workspace):
        half = job(7, JobState.PAUSED, "/papers", files_total=9, files_done=4)
        services.queue.open.append(half)
        services.queue.tell(JobChanged(half))
        window.show_pane(INGEST)
        click(window.ingest.jobs, "Cancel the job")
        dialog = dialog_over(window)
        assert services.queue.kept == []
        assert "4 files" in dialog.accessibleDescription()
        click(dialog, "Keep finished files")
        await until(lambda: bool(services.queue.kept), workspace.jobs.changed)
        assert services.queue.kept == [("job7", True)]
        none = replace(half, id="job8", files_done=0)
        services.queue.open.append(none)
        services.queue.tell(JobChanged(none))
        click(window.ingest.jobs, "Cancel the job")
        await until(lambda: window.toast.message.startswith("Cancelled"), workspace.jobs.cancelled)
        click(window.toast, "Undo")
        await until(lambda: bool(services.queue.asked), workspace.jobs.changed)
        assert QApplication.activeModalWidget() is None
