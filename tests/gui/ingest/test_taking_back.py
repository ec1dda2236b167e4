"""Whatever takes something away asks first, or can be taken back for ten seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import SignalInstance
from PySide6.QtWidgets import QDialog

from studio.domain import (
    DocumentRecord,
    FileProgress,
    FileState,
    GenerationState,
    HeldRemovals,
    IngestProgress,
    IngestStage,
    JobState,
    SavedQuery,
)
from studio.errors import StorageFault
from studio.services.jobs.queue import JobEnded
from studio.ui.parts import Theme
from studio.ui.window.screenshots import until
from studio.viewmodels.ingest import Tone
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices, generation
from tests.gui.gestures import click, dialog_of, window_over
from tests.gui.ingest.fake_queue import job, report
from tests.gui.opening import opened, with_kb
from tests.gui.qt_loop import on_qt_loop
from tests.gui.window.test_drops import record

Undos = list[Callable[[], None]]


def undos_of(signal: SignalInstance) -> Undos:
    found: Undos = []
    signal.connect(lambda said, undo: found.append(undo))
    return found


def subjects(workspace: Workspace) -> list[str]:
    return [row.job.id for row in workspace.jobs.rows.items]


def fail(services: FakeServices, number: int = 1) -> None:
    failed = job(number, JobState.FAILED, error="The disk is full.")
    services.queue.past.insert(0, failed)
    services.queue.tell(JobEnded(failed, error=StorageFault("The disk is full.")))


def hold(services: FakeServices, number: int = 2) -> None:
    done = job(number, JobState.DONE, "/notes")
    services.queue.tell(JobEnded(done, report(held_removals=(HeldRemovals("/notes", 40, "is empty"),))))


@on_qt_loop
async def test_a_job_that_is_taken_off_the_list_can_be_put_back() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        undos = undos_of(workspace.jobs.cancelled)
        fail(services)
        hold(services)
        rows = list(workspace.jobs.rows.items)
        for row in rows:
            workspace.jobs.cancel_job(row.job)
        assert subjects(workspace) == []
        for undo in undos:
            undo()
        assert list(workspace.jobs.rows.items) == rows


@on_qt_loop
async def test_a_cleared_list_can_be_put_back_beside_what_came_meanwhile() -> None:
    services = with_kb()

    async def script(kb_id, paths, sink):
        path = str(paths[0])
        states = (FileState.INDEXED, FileState.FAILED)
        files = tuple(FileProgress(f"{path}/{state}", state, error="damaged") for state in states)
        sink(IngestProgress("job", "kb1", IngestStage.INDEXING, files_total=2, files_done=2, changed=files))
        return report(kb_id, held="Held back: “loops” finds nothing.")

    services.queue.script = script
    async with opened(services) as (workspace, _):
        ingest, undos = workspace.ingest, undos_of(workspace.ingest.cleared)
        ingest.add([Path("/papers")], "kb1")
        await until(lambda: bool(ingest.held) and not ingest.running, ingest.changed, ingest.finished)
        fail(services, 7)
        hold(services, 8)
        await until(lambda: not ingest.running, ingest.changed, ingest.finished)
        rows = list(ingest.queue.items)
        assert len(rows) == 2
        ingest.clear_finished()
        assert not ingest.has_finished
        assert ingest.held == ""
        ingest.add([Path("/notes")], "kb1")
        await until(lambda: len(ingest.queue.items) == 2 and not ingest.running, ingest.changed, ingest.finished)
        undos[0]()
        shown = [row.path for row in ingest.queue.items]
        assert shown == [*(row.path for row in rows), "/notes/indexed", "/notes/failed"]
        assert subjects(workspace) == ["job7", "job8"]
        outcome, held = ingest.summary, ingest.held
        ingest.clear_finished()
        undos[1]()
        assert (ingest.summary, ingest.held, len(ingest.queue.items)) == (outcome, held, 4)


@on_qt_loop
async def test_cancelled_exports_begin_again() -> None:
    services = with_kb()
    services.bundles.gate = asyncio.Event()
    async with opened(services) as (workspace, _):
        transfers, undos = workspace.transfers, undos_of(workspace.transfers.cancelled)
        said: list[str] = []
        transfers.cancelled.connect(lambda words, undo: said.append(words))
        kb = workspace.library.knowledge_bases[0]
        transfers.export(kb, Path("/a.ragstudio"))
        transfers.export(kb, Path("/b.ragstudio"))
        await until(lambda: transfers.fraction == 0.5, transfers.changed)
        transfers.cancel_all()
        await until(lambda: not transfers.running, transfers.changed)
        assert said == ["Cancelled: Exporting “Compilers” and 1 more"]
        services.bundles.gate.set()
        undos[0]()
        await until(lambda: not transfers.running, transfers.changed)
        assert [file.name for _, file, _ in services.bundles.exported] == ["a.ragstudio", "a.ragstudio", "b.ragstudio"]
        transfers.cancel_all()
        assert len(undos) == 1, "there was nothing to cancel"


@on_qt_loop
async def test_a_run_that_is_given_up_begins_again_also_when_another_base_was_selected() -> None:
    services = with_kb()
    services.library.add("Parsers")
    services.quality.judging.items = [SavedQuery(1, "q", "nested loops", {"a": 1}, 0)]
    services.quality.gate = asyncio.Event()
    async with opened(services) as (workspace, _):
        quality, undos = workspace.quality, undos_of(workspace.quality.stopped)
        workspace.library.select("kb1")
        await until(lambda: bool(quality.queries.items), quality.changed)
        quality.run()
        await until(lambda: quality.progress == (5, 36), quality.progressed)
        workspace.library.select("kb2")
        await until(lambda: bool(undos), quality.changed, quality.stopped)
        assert services.quality.cancelled == 1 or not quality.running
        services.quality.gate.set()
        undos[0]()
        await until(lambda: quality.evaluation is not None, quality.changed)
        assert workspace.library.selected is not None
        assert workspace.library.selected.id == "kb1"


@on_qt_loop
async def test_an_export_of_queries_asks_before_it_replaces_files(tmp_path: Path) -> None:
    (tmp_path / "qrels.tsv").write_text("my own")
    services = with_kb()
    async with opened(services) as (workspace, _):
        workspace.library.select("kb1")
        asked: list[list[str]] = []
        workspace.quality.replacing.connect(lambda folder, form, names: asked.append(names))
        workspace.quality.export(tmp_path, "beir")
        await until(lambda: bool(asked), workspace.quality.replacing)
        assert asked == [["qrels.tsv"]]
        assert services.quality.judging.asked == []
        workspace.quality.export(tmp_path, "beir", replace=True)
        await until(lambda: bool(services.quality.judging.asked), workspace.quality.done)
        workspace.quality.export(tmp_path, "trec")
        await until(lambda: len(services.quality.judging.asked) == 2, workspace.quality.done)


# ---------------------------------------------------------------- a drop that changed documents


def changing(services: FakeServices) -> None:
    """A drop that edits one of two documents and adds a third."""
    services.maintenance.items = [
        generation(2, GenerationState.ACTIVE, parent=1), generation(1, GenerationState.ARCHIVED),
    ]  # fmt: skip

    async def documents(kb: str, number: int | None = None) -> list[DocumentRecord]:
        edited = replace(record("/edited.md"), sha256="2" if number == 2 else "1")
        return [record("/old.md"), edited, *([record("/new.md")] if number == 2 else [])]

    async def script(kb_id, paths, sink):
        kb = services.library.bases[0]
        services.library.bases[0] = replace(kb, active_generation=2)
        return report(kb_id, generation=2)

    services.library.documents = documents  # type: ignore[method-assign]
    services.queue.script = script


async def dropped(workspace: Workspace, services: FakeServices) -> Undos:
    undos = undos_of(workspace.drops.added)
    workspace.take([Path("/edited.md")], "kb1")
    await until(lambda: bool(services.queue.past) and bool(undos), workspace.jobs.changed, workspace.drops.added)
    return undos


@on_qt_loop
async def test_a_drop_that_changed_documents_is_taken_back_whole() -> None:
    services = with_kb()
    changing(services)
    async with opened(services) as (workspace, _):
        undos = await dropped(workspace, services)
        said: list[str] = []
        workspace.drops.done.connect(said.append)
        undos[0]()
        await until(lambda: bool(said), workspace.drops.done)
        assert services.maintenance.asked == [("rollback", 1)]
        assert said == ["Taken back: generation 1 answers searches again."]
        assert len(services.queue.asked) == 1, "nothing has to be removed"


@on_qt_loop
async def test_what_was_built_on_since_is_not_taken_back_silently() -> None:
    services = with_kb()
    changing(services)
    async with opened(services) as (workspace, _):
        undos = await dropped(workspace, services)
        services.library.bases[0] = replace(services.library.bases[0], active_generation=3)
        said: list[str] = []
        workspace.drops.done.connect(said.append)
        undos[0]()
        await until(lambda: bool(said), workspace.drops.done)
        assert services.maintenance.asked == []
        assert said == [
            "1 file will be removed again. 1 changed file cannot be taken back: the index was built on since."
        ]
        await until(lambda: len(services.queue.asked) == 2, workspace.jobs.changed)
        assert services.queue.asked[1][1] == (Path("/new.md"),)


# ---------------------------------------------------------------- in the window


@on_qt_loop
async def test_what_can_be_undone_comes_back_when_what_covered_it_is_gone(theme: Theme) -> None:
    async with window_over(with_kb(), theme) as (window, _):
        toast, undone = window.toast, []
        toast.inform("1 file added", "Undo", lambda: undone.append("added"))
        toast.inform("Cancelled", "Undo", lambda: undone.append("cancelled"))
        toast.warn("The disk is full.")
        for expected in ("The disk is full.", "Cancelled", "1 file added"):
            async with asyncio.timeout(5):
                while toast.message != expected:  # noqa: ASYNC110 - no signal tells of it
                    await asyncio.sleep(0)
            click(toast, "Dismiss" if expected.endswith(".") else "Undo")
        assert undone == ["cancelled", "added"]
        await asyncio.sleep(0)
        assert toast.message == ""


@on_qt_loop
async def test_documents_whose_files_are_gone_are_removed_after_a_yes(theme: Theme) -> None:
    services = with_kb()
    async with window_over(services, theme) as (window, workspace):
        hold(services)
        window.show_pane(1)
        assert workspace.jobs.rows.items[0].tone is Tone.WARN
        click(window.ingest.jobs, "Remove 40 documents")
        dialog = dialog_of(QDialog)
        assert services.queue.open == []
        click(dialog, "Remove")
        await until(lambda: bool(services.queue.past), workspace.jobs.changed)


@on_qt_loop
async def test_remembered_searches_are_forgotten_after_a_yes(theme: Theme) -> None:
    services = with_kb()
    async with window_over(services, theme) as (window, _):
        settings = window.open_settings()
        settings.remember.setChecked(True)
        settings.remember.click()
        click(dialog_of(QDialog), "Cancel")
        assert settings.remember.isChecked()
        assert services.config.values["remember_queries"] is True
        settings.remember.click()
        click(dialog_of(QDialog), "Forget them")
        async with asyncio.timeout(5):
            while services.config.values["remember_queries"] != "false":  # noqa: ASYNC110 - no signal tells of it
                await asyncio.sleep(0)
        assert not settings.remember.isChecked()
        settings.close()
