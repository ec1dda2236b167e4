"""What the view-models promise the widgets, with services that wait, fail and overtake on demand."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from pytestqt.qtbot import QtBot

from studio.domain import (
    GenerationState,
    SearchMode,
    Span,
    StoredText,
)
from studio.errors import Conflict, InvalidRequest, NotFound
from studio.ui.window.screenshots import until
from studio.viewmodels.search import Filters, PdfContent, TextContent
from studio.viewmodels.search.preview import text_sections
from studio.viewmodels.text import context_markdown, memory, moment, remaining, short_count, utf16_range
from tests.gui.fakes import FakeServices, generation, result
from tests.gui.opening import opened, searched, with_kb
from tests.gui.qt_loop import on_qt_loop

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
        await until(lambda: bool(services.search.asked), workspace.search.changed, workspace.memory.changed)
        workspace.search.set_query("fast")
        workspace.search.run_now()
        await searched(workspace)
        services.search.gates["slow"].set()
        await asyncio.sleep(0)
        assert [item.chunk_id for item in workspace.search.results.items] == ["chunk-8"]
        assert services.search.cancelled == ["slow"]
        assert not complaints


@on_qt_loop
async def test_what_is_closed_begins_nothing_any_more() -> None:
    services = with_kb()
    async with opened(services) as (workspace, complaints):
        workspace.search.set_query("nested loops")
        await searched(workspace)
        asked = len(services.search.asked)
        await workspace.search.close()
        workspace.library.changed.emit()  # another view-model that closes later
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(services.search.asked) == asked
        assert not complaints


def test_a_query_typed_as_the_window_closes_asks_nothing_when_the_event_loop_is_gone(qtbot: QtBot) -> None:
    kept = []

    @on_qt_loop
    async def type_and_close() -> None:
        async with opened(with_kb()) as (workspace, _):
            workspace.search.set_query("nested loops")
            kept.append(workspace)

    type_and_close()
    timers = kept[0].search.findChildren(QTimer)
    assert timers
    assert not any(timer.isActive() for timer in timers)
    with qtbot.capture_exceptions() as errors:
        kept[0].search.run_now()  # what a timeout already on its way does
    assert not errors


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
        assert active.detail == "all-MiniLM-L6-v2 · 384 d · chunk 240/32 · 3 documents · 40 passages"
        assert active.origin == "own 2.0 kB, shared 10 kB"
        assert workspace.status.generation == "Generation 2 · all-MiniLM-L6-v2 · 384 d"
        await until(lambda: bool(workspace.memory.text), workspace.memory.changed)
        assert workspace.memory.text == "1.24 of 4.0 GB"
        assert workspace.memory.fraction == pytest.approx(0.31)


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
async def test_what_is_set_while_the_window_closes_is_saved() -> None:
    services = with_kb()
    save = services.config.save

    async def slow(key: str, value: str) -> None:
        for _ in range(1000):
            await asyncio.sleep(0)
        await save(key, value)

    services.config.save = slow  # type: ignore[method-assign]
    async with opened(services) as (workspace, complaints):
        workspace.settings.set("window_geometry", "AdnQ")
    assert services.config.values["window_geometry"] == "AdnQ"
    assert complaints == []
