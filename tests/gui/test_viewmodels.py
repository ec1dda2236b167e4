"""What the view-models promise the widgets, with services that wait, fail and overtake on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeServices, generation, report, result
from qt_loop import on_qt_loop

from studio.domain import (
    FileFailure,
    FileProgress,
    FileState,
    GenerationState,
    IngestProgress,
    IngestReport,
    IngestStage,
    ProgressSink,
    SearchMode,
    Span,
    StoredText,
)
from studio.errors import Conflict, InvalidRequest, NotFound, StorageFault
from studio.ui.screenshots import until
from studio.viewmodels.preview import PdfContent, TextContent, text_sections
from studio.viewmodels.queue import Tone
from studio.viewmodels.search import Filters
from studio.viewmodels.text import context_markdown, memory, moment, remaining, short_count, utf16_range
from studio.viewmodels.workspace import Workspace


@asynccontextmanager
async def opened(services: FakeServices) -> AsyncIterator[tuple[Workspace, list[str]]]:
    """A workspace that has read its library, and what it complained about."""
    workspace = Workspace(services)
    complaints: list[str] = []
    workspace.failed.connect(lambda message, way_out: complaints.append(f"{message} {way_out}".strip()))
    workspace.start()
    try:
        await until(lambda: workspace.library.is_loaded, workspace.library.loaded)
        yield workspace, complaints
    finally:
        await workspace.close()


def with_kb() -> FakeServices:
    services = FakeServices()
    services.library.add("Compilers")
    services.maintenance.items = [generation(1, GenerationState.ACTIVE)]
    return services


async def searched(workspace: Workspace) -> None:
    search = workspace.search
    await until(lambda: bool(search.summary or search.message) and not search.busy, search.changed)


# ---------------------------------------------------------------- search


@on_qt_loop
async def test_typing_searches_once_it_pauses() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        for length in range(1, len("nested loops") + 1):
            workspace.search.set_query("nested loops"[:length])
        await searched(workspace)
        assert [request.query for request in services.search.asked] == ["nested loops"]
        assert workspace.search.summary == "2 passages · 31 ms"
        assert workspace.search.current == result(1)


@on_qt_loop
async def test_the_latest_query_wins_over_a_slow_one() -> None:
    services = with_kb()
    services.search.gates["slow"] = asyncio.Event()
    services.search.answers = lambda request: [result(7 if request.query == "slow" else 8)]
    async with opened(services) as (workspace, complaints):
        workspace.search.set_query("slow")
        workspace.search.run_now()
        await until(lambda: bool(services.search.asked), workspace.search.changed, workspace.status.memory_changed)
        workspace.search.set_query("fast")
        workspace.search.run_now()
        await searched(workspace)
        services.search.gates["slow"].set()
        await asyncio.sleep(0)
        assert [item.chunk_id for item in workspace.search.results.items] == ["chunk-8"]
        assert services.search.cancelled == ["slow"]
        assert not complaints


@on_qt_loop
async def test_an_error_of_the_search_is_said_in_place() -> None:
    services = with_kb()
    services.search.error = InvalidRequest("The query is too long.", way_out="Shorten it.")
    async with opened(services) as (workspace, complaints):
        workspace.search.set_query("x")
        await searched(workspace)
        assert workspace.search.message == "The query is too long. Shorten it."
        assert not workspace.search.results.items
        assert not complaints


@on_qt_loop
async def test_an_unforeseen_error_is_logged_and_said_plainly(caplog: pytest.LogCaptureFixture) -> None:
    services = with_kb()
    services.search.error = RuntimeError("secret detail")
    async with opened(services) as (workspace, complaints):
        workspace.search.set_query("x")
        await until(lambda: bool(complaints), workspace.failed)
        assert "secret" not in complaints[0]
        assert "log" in complaints[0]
        assert "secret detail" in caplog.text


@on_qt_loop
async def test_degradation_filters_and_mode_reach_the_request_and_the_person() -> None:
    services = with_kb()
    services.search.degraded = "The model is missing: keyword results only."
    async with opened(services) as (workspace, _):
        workspace.search.set_mode(SearchMode.KEYWORD)
        workspace.search.set_filters(Filters(kind="pdf", folder="/papers"))
        workspace.search.set_query("loops")
        await searched(workspace)
        request = services.search.asked[-1]
        assert request.mode is SearchMode.KEYWORD
        assert request.filters == (("type", "pdf"), ("folder", "/papers"))
        assert workspace.search.degraded == "The model is missing: keyword results only."


@on_qt_loop
async def test_a_promotion_asks_again_and_keeps_the_selected_passage() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        workspace.search.set_query("loops")
        await searched(workspace)
        workspace.search.current_row = 1
        services.search.answers = lambda request: [result(5), result(1), result(2)]
        workspace.ingest.finished.emit("kb1")
        await until(lambda: len(workspace.search.results.items) == 3, workspace.search.results_changed)
        assert workspace.search.current == result(2)


@on_qt_loop
async def test_scrolling_to_the_end_fetches_the_next_page() -> None:
    services = with_kb()
    services.search.total = 40
    services.search.answers = lambda request: [result(request.offset + n) for n in range(min(30, 40 - request.offset))]
    async with opened(services) as (workspace, _):
        workspace.search.set_query("loops")
        await searched(workspace)
        model = workspace.search.results
        root = model.index(-1)
        assert model.canFetchMore(root)
        model.fetchMore(root)
        assert not model.canFetchMore(root), "a second request for the same page"
        await until(lambda: len(model.items) == 40, model.rowsInserted)
        assert [item.chunk_id for item in model.items] == [f"chunk-{n}" for n in range(40)]
        assert not model.canFetchMore(root)


@on_qt_loop
async def test_nothing_indexed_yet_is_said_without_asking() -> None:
    services = FakeServices()
    services.library.add("Empty", active=None, chunks=0)
    async with opened(services) as (workspace, _):
        workspace.search.set_query("loops")
        await searched(workspace)
        assert "Nothing is indexed" in workspace.search.message
        assert not services.search.asked


# ---------------------------------------------------------------- library


@on_qt_loop
async def test_create_rename_delete_and_what_is_selected() -> None:
    services = FakeServices()
    async with opened(services) as (workspace, complaints):
        library = workspace.library
        library.create("Papers")
        await until(lambda: library.selected is not None, library.selection_changed)
        assert library.selected is not None
        library.rename(library.selected.id, "Articles")
        await until(lambda: [kb.name for kb in library.knowledge_bases] == ["Articles"], library.changed)
        library.create("Articles")
        await until(lambda: bool(complaints), workspace.failed)
        assert complaints == ["There is a knowledge base “Articles” already. Choose another name."]
        library.delete(library.selected.id)
        await until(lambda: not library.knowledge_bases, library.changed)
        assert library.selected is None
        assert library.selected_row == 0


@on_qt_loop
async def test_what_another_process_changed_is_noticed() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        services.library.add("From elsewhere")
        await until(lambda: len(workspace.library.knowledge_bases) == 2, workspace.library.changed, within_s=20)
        assert workspace.library.sources.items[0].chunks == 80


# ---------------------------------------------------------------- ingest


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

    services.ingest.script = script
    async with opened(services) as (workspace, _):
        ingest = workspace.ingest
        ingest.add([Path("/papers")])
        await seen.wait()
        rows = {row.name: row for row in ingest.queue.items}
        assert rows["a.pdf"].detail == "14 pages · 212 passages · 4.1 s"
        assert rows["a.pdf"].badge == "Indexed"
        assert rows["sub/b.pdf"].detail == "Embedding · 312 of 400 passages · 38 passages/s"
        assert rows["sub/b.pdf"].fraction == pytest.approx(0.78)
        assert (rows["c.pdf"].badge, rows["c.pdf"].detail) == ("Locked", "A password is needed.")
        assert rows["d.pdf"].tone is Tone.WAIT
        assert ingest.summary == "2 of 4 done · about 2 min left"
        assert ingest.status == "Ingesting 2 files, 70%"
        assert not ingest.has_failed, "retrying while the job runs"
        go_on.set()
        await until(lambda: not ingest.running, ingest.changed)
        assert ingest.summary == "3 added · 1 could not be indexed · 0.5 s"
        assert ingest.has_failed
        ingest.retry_failed()
        await until(lambda: len(services.ingest.asked) == 2 and not ingest.running, ingest.changed)
        assert services.ingest.asked[1] == ("kb1", (Path("/papers/c.pdf"),))


@on_qt_loop
async def test_cancel_stops_the_job_and_what_waits_and_work_goes_on_afterwards() -> None:
    services = with_kb()
    started = asyncio.Event()
    forever = asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        sink(progress(IngestStage.INDEXING, FileProgress(str(paths[0]), FileState.PARSING), total=1))
        started.set()
        await forever.wait()
        return report()

    services.ingest.script = script
    async with opened(services) as (workspace, complaints):
        ingest = workspace.ingest
        ingest.add([Path("/first.md")])
        ingest.add([Path("/second.md")])
        await started.wait()
        ingest.cancel_all()
        await until(lambda: not ingest.running, ingest.changed)
        assert [row.badge for row in ingest.queue.items] == ["Cancelled"]
        assert "still is" in ingest.summary
        assert [paths for _, paths in services.ingest.asked] == [(Path("/first.md"),)]
        services.ingest.script = None
        ingest.add([Path("/third.md")])
        await until(lambda: len(services.ingest.asked) == 2 and not ingest.running, ingest.changed)
        assert not complaints


@on_qt_loop
async def test_a_job_that_fails_says_so_and_the_next_one_runs() -> None:
    services = with_kb()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        if paths == (Path("/first.md"),):
            raise StorageFault("The disk is full.", way_out="Free some space.")
        return report()

    services.ingest.script = script
    async with opened(services) as (workspace, complaints):
        workspace.ingest.add([Path("/first.md")])
        workspace.ingest.add([Path("/second.md")])
        await until(lambda: len(services.ingest.asked) == 2, workspace.ingest.changed)
        await until(lambda: not workspace.ingest.running, workspace.ingest.changed)
        assert complaints == ["The disk is full. Free some space."]
        assert workspace.ingest.summary == "1 added · 0.5 s"


@on_qt_loop
async def test_files_without_a_knowledge_base_make_one_named_after_their_folder(tmp_path: Path) -> None:
    services = FakeServices()
    folder = tmp_path / "Papers"
    folder.mkdir()
    (folder / "one.md").write_text("one")
    async with opened(services) as (workspace, _):
        workspace.ingest.add([folder])
        await until(lambda: bool(services.ingest.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert [kb.name for kb in services.library.bases] == ["Papers"]
        assert workspace.library.selected == services.library.bases[0]
        assert services.ingest.asked == [("kb1", (folder,))]


# ---------------------------------------------------------------- generations


@on_qt_loop
async def test_roll_back_changes_the_active_generation_and_asks_the_search_again() -> None:
    services = with_kb()
    services.maintenance.items = [generation(2, GenerationState.ACTIVE), generation(1, GenerationState.ARCHIVED)]
    async with opened(services) as (workspace, complaints):
        model = workspace.generations
        await until(lambda: model.can_roll_back, model.changed)
        workspace.search.set_query("loops")
        await searched(workspace)
        asked = len(services.search.asked)
        model.roll_back()
        await until(lambda: len(services.search.asked) > asked, workspace.search.changed)
        assert services.maintenance.asked == [("rollback", None)]
        assert [row.chip for row in model.rows.items] == ["kept for rollback", "active"]
        services.maintenance.error = Conflict("Generation 2 is gone.")
        model.roll_back(2)
        await until(lambda: bool(complaints), workspace.failed)
        assert complaints == ["Generation 2 is gone."]


@on_qt_loop
async def test_rows_and_chip_describe_each_state() -> None:
    services = with_kb()
    services.library.bases[0] = replace(services.library.bases[0], active_generation=2)
    services.maintenance.items = [
        generation(4, GenerationState.FAILED, error="The disk is full.\nmore"),
        generation(3, GenerationState.BUILDING),
        generation(2, GenerationState.ACTIVE),
    ]
    async with opened(services) as (workspace, _):
        await until(lambda: bool(workspace.generations.rows.items), workspace.generations.changed)
        failed, building, active = workspace.generations.rows.items
        assert failed.detail == "The disk is full."
        assert building.detail.endswith("building")
        assert active.detail == "all-MiniLM-L6-v2 · 384 d · chunk 240/32 · 3 documents · 40 passages · 12 kB"
        assert workspace.status.generation == "Generation 2 · all-MiniLM-L6-v2 · 384 d"
        await until(lambda: bool(workspace.status.memory_text), workspace.status.memory_changed)
        assert workspace.status.memory_text == "1.24 of 4.0 GB"
        assert workspace.status.memory_fraction == pytest.approx(0.31)


# ---------------------------------------------------------------- preview


@on_qt_loop
async def test_a_source_that_is_gone_is_shown_from_the_stored_text(tmp_path: Path) -> None:
    services = with_kb()
    services.search.text = StoredText("First page. Second 🌳 page.", (Span(0, 12, 1), Span(12, 26, 2)))
    gone = result(1, citation=replace(result(1).citation, source_path=str(tmp_path / "gone.pdf"), page_number=2,
                                      char_start=19, char_end=26))  # fmt: skip
    async with opened(services) as (workspace, _):
        workspace.preview.show(gone)
        await until(lambda: workspace.preview.content is not None, workspace.preview.changed)
        content = workspace.preview.content
        assert isinstance(content, TextContent)
        assert "no longer there" in content.note
        assert [section.label for section in content.sections] == ["Page 1 of 2", "Page 2 of 2"]
        section = content.sections[content.current]
        marked = section.text.encode("utf-16-le")[2 * section.start : 2 * (section.start + section.length)]
        assert marked.decode("utf-16-le") == "🌳 page."
        assert not workspace.preview.source_exists


@on_qt_loop
async def test_a_pdf_that_changed_since_is_not_opened(tmp_path: Path) -> None:
    services = with_kb()
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF-1.4 another file than the one that was indexed")
    changed = result(1, citation=replace(result(1).citation, source_path=str(path), page_number=1, version="0" * 12))
    async with opened(services) as (workspace, _):
        workspace.preview.show(changed)
        await until(lambda: workspace.preview.content is not None, workspace.preview.changed)
        assert isinstance(workspace.preview.content, TextContent)
        assert "changed since" in workspace.preview.content.note
        unversioned = replace(changed, citation=replace(changed.citation, version=""))
        workspace.preview.show(unversioned)
        await until(lambda: isinstance(workspace.preview.content, PdfContent), workspace.preview.changed)


@on_qt_loop
async def test_without_stored_text_the_passage_itself_is_shown() -> None:
    services = with_kb()
    services.search.text = NotFound("The document is not in generation 1 any more.")
    async with opened(services) as (workspace, _):
        workspace.preview.show(result(1))
        await until(lambda: workspace.preview.content is not None, workspace.preview.changed)
        content = workspace.preview.content
        assert isinstance(content, TextContent)
        assert content.sections[0].text == result(1).content
        assert content.note == "The document is not in generation 1 any more."


def test_a_long_text_is_cut_at_line_ends_and_keeps_the_passage() -> None:
    text = "".join(f"line {number} of a long text\n" for number in range(10_000))
    start = text.index("line 7000 ")
    sections, current = text_sections(StoredText(text, (Span(0, len(text)),)), start, start + 9)
    assert "".join(section.text for section in sections) == text
    assert all(len(section.text) <= 60_000 and section.text.endswith("\n") for section in sections)
    marked = sections[current]
    assert marked.text[marked.start : marked.start + marked.length] == "line 7000"


# ---------------------------------------------------------------- words


def test_numbers_and_times_in_words() -> None:
    assert [short_count(number) for number in (264, 4112, 12_408, 3_400_000)] == ["264", "4,112", "12.4k", "3.4M"]
    assert memory(1_240_000_000, 4_000_000_000) == "1.24 of 4.0 GB"
    assert [remaining(seconds) for seconds in (0.2, 41, 130)] == [
        "about 1 s left",
        "about 41 s left",
        "about 2 min left",
    ]
    now = 1_764_000_000_000
    assert moment(now, now).startswith("today ")
    assert not moment(now - 400 * 86_400_000, now).startswith("today ")
    assert utf16_range("a🌳b🌳", 1, 3) == (1, 3)


def test_the_context_is_a_quotation_with_its_source() -> None:
    text = context_markdown(result(1, content="First line.\n\nSecond line."))
    assert text.startswith("> First line.\n>\n> Second line.\n>\n> — ")
    assert "/nowhere/file1.md" in text
    assert "Title 1" in text


@on_qt_loop
async def test_a_snapshot_of_a_large_folder_is_shown_in_turns() -> None:
    services = with_kb()
    finish = asyncio.Event()
    shown: list[int] = []
    files = tuple(FileProgress(f"/docs/{n}.txt", FileState.WAITING) for n in range(1000))

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        sink(IngestProgress("job", "kb1", IngestStage.INDEXING, files_total=1000, changed=files))
        shown.append(len(ingest.queue.items))
        await finish.wait()
        return report(added=1000)

    services.ingest.script = script
    async with opened(services) as (workspace, _):
        ingest = workspace.ingest
        ingest.add([Path("/docs")])
        await until(lambda: len(ingest.queue.items) == 1000, ingest.queue.rowsInserted, ingest.changed)
        assert 0 < shown[0] < 1000
        assert [item.path for item in ingest.queue.items] == [file.path for file in files]
        finish.set()
        await until(lambda: not ingest.running, ingest.changed)
