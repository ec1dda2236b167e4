"""The durable queue as the window sees it: it goes on after a restart, waits, moves, and lists what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from studio.domain import (
    DocumentRecord,
    DocumentStatus,
    FileFailure,
    FileProgress,
    FileState,
    IngestProgress,
    IngestReport,
    IngestStage,
    JobState,
    PageCounts,
    ProgressSink,
)
from studio.services.jobs.queue import JobProgress
from studio.ui.window.screenshots import until
from studio.viewmodels.ingest import Tone
from studio.viewmodels.ingest.file_rows import document_rows, file_row
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices
from tests.gui.ingest.fake_queue import job, report
from tests.gui.opening import opened, with_kb
from tests.gui.qt_loop import on_qt_loop

LOCKED = FileFailure("/papers/locked.pdf", "encrypted", "The file is protected by a password.")
BROKEN = FileFailure("/papers/broken.pdf", "corrupt", "The file is damaged.")


def record(path: str, **changes: object) -> DocumentRecord:
    base = DocumentRecord(
        document_id=f"id of {path}", source_path=path, sha256="0", size_bytes=2_000, mtime_ns=0, kind="pdf", title="",
        author="", licence="", external_id="", row=0, pages=PageCounts(), chunks=3, status=DocumentStatus.INDEXED,
        error="", reason="",
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def failed(path: str, failure: FileFailure = BROKEN, **changes: object) -> DocumentRecord:
    return record(
        path, chunks=0, status=DocumentStatus.FAILED, error=failure.error, reason=failure.reason, **changes
    )  # fmt: skip


def standing(workspace: Workspace) -> list[tuple[str, str]]:
    return [(row.job.id, row.detail) for row in workspace.jobs.rows.items]


# ---------------------------------------------------------------- jobs


@on_qt_loop
async def test_what_was_interrupted_goes_on_at_the_next_start_and_says_so() -> None:
    services = with_kb()
    services.library.add("Databases")
    services.queue.open = [
        job(1, JobState.RUNNING, files_total=500, files_done=212),
        job(2, JobState.QUEUED, "/a", "/b", "/c", "/d", kb_id="kb2"),
        job(3, JobState.PAUSED, files_total=90, files_done=41),
    ]
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        sink(IngestProgress("", kb, IngestStage.SCANNING))
        begun.set()
        await go_on.wait()
        return report(kb)

    services.queue.script = script
    workspace = Workspace(services)
    told: list[str] = []
    workspace.jobs.continued.connect(told.append)
    workspace.start()
    try:
        await begun.wait()
        assert told == ["Going on with what was interrupted in “Compilers”."]
        assert standing(workspace) == [
            ("job1", "Looking through the files"),
            ("job2", "Waiting"),
            ("job3", "Paused · 41 of 90 files"),
        ]
        assert [row.name for row in workspace.jobs.rows.items] == ["Compilers", "Databases", "Compilers"]
        assert workspace.jobs.rows.items[1].subject == "a, b, c and 1 more"
        assert workspace.status.activity == "Looking through the files…"
        go_on.set()
        await until(lambda: not workspace.ingest.running, workspace.ingest.changed)
        assert standing(workspace) == [("job3", "Paused · 41 of 90 files")], "a paused job waits for its person"
    finally:
        await workspace.close()
        await services.queue.close()


@on_qt_loop
async def test_closing_the_window_leaves_jobs_for_the_next_start() -> None:
    services = with_kb()
    begun = asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        begun.set()
        await asyncio.Event().wait()
        return report(kb)

    services.queue.script = script
    async with opened(services) as (workspace, _):
        workspace.ingest.add([Path("/papers")], "kb1")
        await begun.wait()
    assert [item.state for item in services.queue.open] == [JobState.RUNNING]
    assert not services.queue.past


@on_qt_loop
async def test_jobs_pause_resume_and_move() -> None:
    services = with_kb()
    services.queue.open = [job(number, JobState.PAUSED, f"/{number}") for number in (1, 2, 3)]
    async with opened(services) as (workspace, _):
        jobs = workspace.jobs
        await until(lambda: len(jobs.rows.items) == 3, jobs.changed)
        assert workspace.status.activity == "Ingest paused, 0%"
        assert not workspace.ingest.running
        jobs.move(jobs.rows.items[2].job, -1)
        await until(lambda: [row.subject for row in jobs.rows.items] == ["1", "3", "2"], jobs.changed)
        jobs.move(jobs.rows.items[0].job, 1)
        await until(lambda: [row.subject for row in jobs.rows.items] == ["3", "1", "2"], jobs.changed)
        jobs.move(jobs.rows.items[0].job, -1)  # there is nowhere to go
        jobs.move(jobs.rows.items[2].job, -2)
        await until(lambda: [row.subject for row in jobs.rows.items] == ["2", "3", "1"], jobs.changed)
        jobs.cancel_job(jobs.rows.items[1].job)
        await until(lambda: [row.subject for row in jobs.rows.items] == ["2", "1"], jobs.changed)
        jobs.resume_all()
        await until(lambda: not jobs.rows.items and not workspace.ingest.running, workspace.ingest.changed)
        assert [paths for _, paths in services.queue.asked] == [(Path("/2"),), (Path("/1"),)]


@on_qt_loop
async def test_why_a_running_job_waits_is_shown() -> None:
    services = with_kb()
    services.queue.open = [job(1, JobState.RUNNING)]
    begun = asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        begun.set()
        await asyncio.Event().wait()
        return report(kb)

    services.queue.script = script
    async with opened(services) as (workspace, _):
        await begun.wait()
        why = "Waiting for mains power."
        progress = IngestProgress("job1", "kb1", IngestStage.INDEXING, 500, 212, paused=why)
        services.queue.tell(JobProgress(progress))
        assert standing(workspace) == [("job1", "Waiting for mains power. · 212 of 500 files")]
        assert workspace.status.activity == why
        services.queue.tell(JobProgress(replace(progress, paused="", chunks_per_second=38.4, seconds_left=120.0)))
        assert standing(workspace) == [("job1", "Indexing · 212 of 500 files · 38 passages/s · about 2 min left")]


# ---------------------------------------------------------------- failures


def with_failures() -> FakeServices:
    services = with_kb()
    services.library.records = [record("/papers/good.pdf"), failed("/papers/old.pdf")]

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        return report(kb, generation=None, failed=(LOCKED, BROKEN))

    services.queue.script = script
    return services


@on_qt_loop
async def test_failures_of_the_generation_and_of_the_last_job_are_listed() -> None:
    services = with_failures()
    async with opened(services) as (workspace, _):
        failures = workspace.failures
        await until(lambda: len(failures.rows.items) == 1, failures.changed)
        assert failures.rows.items[0].name == "papers/old.pdf"
        assert not failures.has_locked
        workspace.ingest.add([Path("/papers")], "kb1")
        await until(lambda: len(failures.rows.items) == 3, failures.changed)
        rows = {row.path: (row.badge, row.detail) for row in failures.rows.items}
        assert rows["/papers/locked.pdf"] == ("Locked", "The file is protected by a password.")
        assert failures.has_locked
        assert failures.text(failures.rows.items[:1]) == "/papers/broken.pdf\tThe file is damaged."

        # A later job made a generation: from now on that is what tells.
        services.queue.script = None
        workspace.ingest.add([Path("/papers")], "kb1")
        await until(lambda: len(failures.rows.items) == 1, failures.changed)


@on_qt_loop
async def test_a_failure_shows_at_once_while_the_job_runs() -> None:
    services = with_kb()
    services.queue.open = [job(1, JobState.RUNNING)]
    async with opened(services) as (workspace, _):
        file = FileProgress("/papers/x.pdf", FileState.FAILED, error="corrupt", reason="The file is damaged.")
        for _ in range(2):
            services.queue.tell(JobProgress(IngestProgress("job1", "kb1", IngestStage.INDEXING, changed=(file,))))
        assert [row.name for row in workspace.failures.rows.items] == ["papers/x.pdf"]


@on_qt_loop
async def test_a_password_is_tried_and_remembered_while_the_program_runs() -> None:
    services = with_failures()
    async with opened(services) as (workspace, _):
        failures = workspace.failures
        workspace.ingest.add([Path("/papers")], "kb1")
        await until(lambda: len(failures.rows.items) == 3, failures.changed)
        locked = [row for row in failures.rows.items if row.badge == "Locked"]
        failures.retry(locked, "swordfish")
        await until(lambda: len(services.queue.asked) == 2 and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.asked[1] == ("kb1", (Path("/papers/locked.pdf"),))
        workspace.ingest.add([Path("/more")], "kb1")
        await until(lambda: len(services.queue.asked) == 3 and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.passwords == [(), ("swordfish",), ("swordfish",)]
        assert not workspace.jobs.passwords.of("kb2")


@on_qt_loop
async def test_members_of_an_archive_are_tried_again_with_their_archive(tmp_path: Path) -> None:
    archive = tmp_path / "papers.zip"
    archive.write_bytes(b"")
    services = with_kb()
    services.library.records = [
        failed(str(archive), external_id="a/one.pdf"),
        failed(str(archive), external_id="two.pdf"),
        record(str(archive), external_id="three.pdf"),
    ]
    async with opened(services) as (workspace, _):
        failures = workspace.failures
        await until(lambda: len(failures.rows.items) == 2, failures.changed)
        assert [row.name for row in failures.rows.items] == ["a/one.pdf", "papers.zip/two.pdf"]
        failures.retry(failures.rows.items)
        await until(lambda: bool(services.queue.asked), workspace.ingest.changed)
        assert services.queue.asked == [("kb1", (archive,))]


# ---------------------------------------------------------------- honest rows


def row_of(*records: DocumentRecord) -> tuple[str, str, Tone]:
    (row,) = document_rows("kb1", records)
    return row.badge, row.detail, row.tone


def test_a_row_says_how_much_of_a_document_could_be_read() -> None:
    pages = PageCounts(total=12, readable=6, empty=3, failed=1, ocr=2)
    detail = "12 pages · 3 need OCR · 2 pages recognised · 1 page unreadable · 3 passages · 2.0 kB"
    assert row_of(record("/a.pdf", pages=pages)) == ("In part", detail, Tone.WARN)
    whole = PageCounts(total=12, readable=11, empty=1)
    assert row_of(record("/a.pdf", pages=whole)) == ("Indexed", "12 pages · 1 needs OCR · 3 passages · 2.0 kB", Tone.OK)


def test_a_document_without_text_is_never_indexed() -> None:
    scan = PageCounts(total=4, empty=4)
    assert row_of(record("/a.pdf", pages=scan, chunks=0)) == (
        "No text", "4 pages · 4 need OCR · no text · 2.0 kB", Tone.CALM
    )  # fmt: skip
    progress = IngestProgress("job", "kb1", IngestStage.INDEXING)
    row = file_row(FileProgress("/a.pdf", FileState.INDEXED, pages=4), progress, "a.pdf")
    assert (row.badge, row.tone) == ("No text", Tone.CALM)


def test_an_archive_says_what_is_in_it_and_what_could_not_be_read() -> None:
    members = [record("/a.zip", external_id=name) for name in ("one", "two")]
    members.append(failed("/a.zip", external_id="three"))
    assert row_of(*members) == (
        "In part", "2 documents · 6 passages · 1 could not be indexed · 2.0 kB", Tone.WARN
    )  # fmt: skip
