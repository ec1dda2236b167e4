"""Wherever the window shows a text of the services, its way out names what can be clicked."""

from __future__ import annotations

from pathlib import Path

from studio.domain import FileFailure, GenerationState, JobState, PinnedQuery
from studio.errors import FailureCode, StorageFault
from studio.services.jobs.queue import JobChanged
from studio.services.watch import FolderStatus, WatchState
from studio.ui.window.screenshots import until
from studio.viewmodels.ways_out import clickable
from studio.ways_out import PutFileBack, RunRepair
from tests.gui.fakes import FakeServices, generation
from tests.gui.ingest.fake_queue import job, report
from tests.gui.opening import opened, searched, with_kb
from tests.gui.qt_loop import on_qt_loop

WAY = RunRepair()
WORDS = clickable(str(WAY))
TOLD = f"The tables are damaged. {WAY}"
SHOWN = f"The tables are damaged. {WORDS}"


def told() -> FakeServices:
    services = with_kb()
    services.search.degraded = f"Keyword results only: {TOLD}"
    services.search.notes = (f"Not reranked: {TOLD}", "Another note.")
    services.library.read_only = TOLD
    services.watch.items = [FolderStatus("kb1", "/a", True, WatchState.WAITING, TOLD)]
    services.gate.items = [PinnedQuery(1, "loops", ("/a.md",), 10)]
    services.gate.degraded = TOLD
    services.maintenance.items = [
        generation(3, GenerationState.READY, held=f"Held back: “loops” cannot be judged. {TOLD}"),
        generation(2, GenerationState.FAILED, error=TOLD),
        generation(1, GenerationState.ACTIVE),
    ]
    return services


@on_qt_loop
async def test_what_a_search_says_is_worded() -> None:
    services = told()
    async with opened(services) as (workspace, _):
        workspace.search.set_query("loops")
        await searched(workspace)
        assert workspace.search.degraded == f"Keyword results only: {SHOWN}"
        assert workspace.search.notes == f"Not reranked: {SHOWN} Another note."
        services.search.error = StorageFault("The tables are damaged.", way_out=WAY)
        workspace.search.set_query("trees")
        await until(lambda: bool(workspace.search.message), workspace.search.changed)
        assert workspace.search.message == SHOWN


@on_qt_loop
async def test_what_lists_say_is_worded() -> None:
    async with opened(told()) as (workspace, _):
        kb = workspace.library.knowledge_bases[0]
        assert workspace.library.read_only == SHOWN
        workspace.watched.open(kb)
        await until(lambda: workspace.watched.is_loaded, workspace.watched.changed)
        assert [row.detail for row in workspace.watched.rows.items] == [SHOWN]
        workspace.gate.open(kb, 1)
        await until(lambda: any(row.verdict for row in workspace.gate.rows.items), workspace.gate.changed)
        assert [row.verdict for row in workspace.gate.rows.items] == [f"cannot be judged: {SHOWN}"]
        workspace.library.select("kb1")
        await until(lambda: len(workspace.generations.rows.items) == 3, workspace.generations.changed)
        held, failed, _ = workspace.generations.rows.items
        assert (held.held, failed.detail) == (f"“loops” cannot be judged. {SHOWN}", SHOWN)


@on_qt_loop
async def test_what_jobs_say_is_worded_when_it_is_shown() -> None:
    services = with_kb()

    async def script(kb: str, paths: object, sink: object) -> object:
        gone = FileFailure("/papers/c.pdf", FailureCode.VANISHED, f"It is gone. {PutFileBack()}")
        return report(kb, generation=2, promoted=False, held=f"Held back: {TOLD}", failed=(gone,))

    services.queue.script = script
    async with opened(services) as (workspace, complaints):
        reasons: list[str] = []
        workspace.ingest.held_back.connect(lambda kb, reason: reasons.append(reason))
        workspace.ingest.add([Path("/papers")], "kb1")
        await until(lambda: bool(reasons) and not workspace.ingest.running, workspace.ingest.changed)
        assert reasons == [workspace.ingest.held] == [f"Held back: {SHOWN}"]
        details = {row.path: row.detail for row in workspace.ingest.queue.items}
        assert details["/papers/c.pdf"] == f"It is gone. {clickable(str(PutFileBack()))}"
        stopped = job(7, JobState.PAUSED, "/more", error=TOLD)
        services.queue.tell(JobChanged(stopped))
        assert any(SHOWN in complaint for complaint in complaints)
        (row,) = [row for row in workspace.jobs.rows.items if row.job.id == stopped.id]
        assert (row.detail, row.fault) == (SHOWN, SHOWN)


@on_qt_loop
async def test_what_an_import_says_is_worded() -> None:
    services = with_kb()
    services.bundles.note = TOLD
    async with opened(services) as (workspace, _):
        said: list[str] = []
        workspace.transfers.imported.connect(lambda words, note: said.append(note))
        workspace.transfers.load(Path("/in/Old.ragstudio"), "Old")
        await until(lambda: bool(said), workspace.transfers.imported)
        assert said == [SHOWN]
