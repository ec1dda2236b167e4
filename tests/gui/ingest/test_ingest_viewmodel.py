"""What the ingest queue promises the window, with services that wait, fail and are cancelled on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from studio.domain import (
    DocumentRecord,
    FileFailure,
    FileProgress,
    FileState,
    IngestProgress,
    IngestReport,
    IngestStage,
    ProgressSink,
)
from studio.errors import StorageFault
from studio.ui.window.screenshots import until
from studio.viewmodels.ingest import Tone
from tests.gui.fakes import FakeServices
from tests.gui.ingest.fake_queue import report
from tests.gui.opening import opened, with_kb
from tests.gui.qt_loop import on_qt_loop


def progress(stage: IngestStage, *files: FileProgress, done: int = 0, total: int = 0) -> IngestProgress:
    return IngestProgress("job", "kb1", stage, total, done, 0, 0, 38.0, 120.0, tuple(files))


@on_qt_loop
async def test_files_show_how_far_they_are_and_why_they_failed() -> None:
    services = with_kb()
    seen = asyncio.Event()
    go_on = asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        sink(
            progress(
                IngestStage.INDEXING,
                FileProgress("/papers/a.pdf", FileState.INDEXED, 212, 212, 14, 4.1),
                FileProgress("/papers/sub/b.pdf", FileState.EMBEDDING, 312, 400),
                FileProgress("/papers/c.pdf", FileState.FAILED, error="encrypted", reason="A password is needed."),
                FileProgress("/papers/d.pdf", FileState.WAITING),
                done=2,
                total=4,
            )
        )
        seen.set()
        await go_on.wait()
        last = FileProgress("/papers/sub/b.pdf", FileState.INDEXED, 400, 400)
        sink(progress(IngestStage.DONE, last, done=4, total=4))
        return report(failed=(FileFailure("/papers/c.pdf", "encrypted", "A password is needed."),), added=3)

    services.queue.script = script
    async with opened(services) as (workspace, _):
        ingest = workspace.ingest
        ingest.add([Path("/papers")], "kb1")
        await seen.wait()
        rows = {row.name: row for row in ingest.queue.items}
        assert rows["a.pdf"].detail == "14 pages · 212 passages · 4.1 s"
        assert rows["a.pdf"].badge == "Indexed"
        assert rows["sub/b.pdf"].detail == "Embedding · 312 of 400 passages · 38 passages/s"
        assert rows["sub/b.pdf"].fraction == pytest.approx(0.78)
        assert (rows["c.pdf"].badge, rows["c.pdf"].detail) == ("Locked", "A password is needed.")
        assert rows["d.pdf"].tone is Tone.WAIT
        assert ingest.summary == "Indexing · 2 of 4 files · 38 passages/s · about 2 min left"
        assert ingest.status == "Ingesting 2 files, 70%"
        assert [row.detail for row in workspace.jobs.rows.items] == [ingest.summary]
        go_on.set()
        await until(lambda: not ingest.running, ingest.changed)
        assert ingest.summary == "3 added · 1 could not be indexed · 0.5 s"
        await until(lambda: bool(workspace.failures.rows.items), workspace.failures.changed)
        workspace.failures.retry(workspace.failures.rows.items)
        await until(lambda: len(services.queue.asked) == 2 and not ingest.running, ingest.changed)
        assert services.queue.asked[1] == ("kb1", (Path("/papers/c.pdf"),))


@on_qt_loop
async def test_cancel_stops_the_job_and_what_waits_goes_on() -> None:
    services = with_kb()
    started = asyncio.Event()
    forever = asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        sink(progress(IngestStage.INDEXING, FileProgress(str(paths[0]), FileState.PARSING), total=1))
        started.set()
        await forever.wait()
        return report()

    services.queue.script = script
    async with opened(services) as (workspace, complaints):
        ingest = workspace.ingest
        ingest.add([Path("/first.md")], "kb1")
        await started.wait()
        assert [row.subject for row in workspace.jobs.rows.items] == ["first.md"]
        current = workspace.jobs.current
        assert current is not None
        workspace.jobs.cancel_job(current)
        await until(lambda: not ingest.running, ingest.changed)
        assert [row.badge for row in ingest.queue.items] == ["Cancelled"]
        assert "still is" in ingest.summary
        services.queue.script = None
        ingest.add([Path("/second.md")], "kb1")
        await until(lambda: len(services.queue.asked) == 2 and not ingest.running, ingest.changed)
        assert not complaints
        assert not workspace.jobs.rows.items


@on_qt_loop
async def test_a_job_that_fails_says_so_and_the_next_one_runs() -> None:
    services = with_kb()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        if paths == (Path("/first.md"),):
            raise StorageFault("The disk is full.", way_out="Free some space.")
        return report()

    services.queue.script = script
    async with opened(services) as (workspace, complaints):
        workspace.ingest.add([Path("/first.md")], "kb1")
        workspace.ingest.add([Path("/second.md")], "kb1")
        await until(lambda: len(services.queue.asked) == 2, workspace.ingest.changed)
        await until(lambda: not workspace.ingest.running, workspace.ingest.changed)
        assert complaints == ["The disk is full. Free some space."]
        assert workspace.ingest.summary == "1 added · 0.5 s"
        failed = workspace.jobs.rows.items[0]
        assert (failed.badge, failed.detail) == ("Failed", "The disk is full. Free some space.")
        services.queue.script = None
        workspace.jobs.retry(failed.job)
        await until(lambda: len(services.queue.asked) == 3 and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.asked[2][1] == (Path("/first.md"),)
        assert not workspace.jobs.rows.items


@on_qt_loop
async def test_files_without_a_knowledge_base_make_one_named_after_their_folder(tmp_path: Path) -> None:
    services = FakeServices()
    folder = tmp_path / "Papers"
    folder.mkdir()
    (folder / "one.md").write_text("one")
    async with opened(services) as (workspace, _):
        workspace.ingest.add([folder])
        await until(lambda: bool(services.queue.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert [kb.name for kb in services.library.bases] == ["Papers"]
        assert workspace.library.selected == services.library.bases[0]
        assert services.queue.asked == [("kb1", (folder,))]


@on_qt_loop
async def test_a_snapshot_of_a_large_folder_is_shown_in_turns() -> None:
    services = with_kb()
    finish = asyncio.Event()
    shown: list[int] = []
    files = tuple(FileProgress(f"/docs/{n}.txt", FileState.WAITING) for n in range(2500))

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        sink(IngestProgress("job", "kb1", IngestStage.INDEXING, files_total=2500, changed=files))
        shown.append(len(ingest.queue.items))
        await finish.wait()
        return report(added=2500)

    services.queue.script = script
    async with opened(services) as (workspace, _):
        ingest = workspace.ingest
        ingest.add([Path("/docs")], "kb1")
        await until(lambda: len(ingest.queue.items) == 2500, ingest.queue.rowsInserted, ingest.changed)
        assert 0 < shown[0] < 2500
        assert [item.path for item in ingest.queue.items] == [file.path for file in files]
        finish.set()
        await until(lambda: not ingest.running, ingest.changed)


@on_qt_loop
async def test_a_late_list_of_documents_does_not_replace_the_queue() -> None:
    """The list was asked for before the job began, and comes when the job has ended."""
    services = with_kb()
    asked, answer = asyncio.Event(), asyncio.Event()
    read = services.library.documents

    async def slow(name: str, generation: int | None = None) -> Sequence[DocumentRecord]:
        asked.set()
        await answer.wait()
        return await read(name, generation)

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        sink(progress(IngestStage.DONE, FileProgress("/papers/a.pdf", FileState.INDEXED, 3, 3), done=1, total=1))
        return report(added=1)

    services.library.documents = slow
    services.queue.script = script
    async with opened(services) as (workspace, _):
        await asked.wait()
        ingest = workspace.ingest
        ingest.add([Path("/papers")], "kb1")
        await until(lambda: not ingest.running and bool(ingest.queue.items), ingest.changed)
        answer.set()
        for _ in range(20):
            await asyncio.sleep(0.005)  # turns of the loop, and of the thread that makes rows
        assert [row.name for row in ingest.queue.items] == ["a.pdf"]
        assert not ingest.shows_documents
