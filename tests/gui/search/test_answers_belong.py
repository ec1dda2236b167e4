"""Every answer belongs to a scope, a query, options and a generation; what is late for them is never shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from studio.domain import SearchRequest, SearchResponse, SearchResult, StoredText
from studio.errors import InvalidRequest
from studio.ui.window.screenshots import until
from studio.viewmodels.search import Filters
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices, result
from tests.gui.opening import opened, searched, with_kb
from tests.gui.qt_loop import on_qt_loop


class Stubborn:
    """A search that answers when the test says so, and that no cancellation stops."""

    def __init__(self, services: FakeServices) -> None:
        self._answer = services.search.search
        self.waiting: list[tuple[SearchRequest, asyncio.Event]] = []
        self.late = False
        services.search.search = self.search  # type: ignore[method-assign]

    async def search(self, request: SearchRequest) -> SearchResponse:
        if self.late:
            gate = asyncio.Event()
            self.waiting.append((request, gate))
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    pass
        return await self._answer(request)

    async def let_go(self) -> None:
        """The answers that wait arrive, however late they are, and whoever asked has had a turn."""
        for _, gate in self.waiting:
            gate.set()
        self.waiting.clear()
        for _ in range(8):
            await asyncio.sleep(0)

    async def asked(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.waiting) < number:  # noqa: ASYNC110 - no event tells of a call
                await asyncio.sleep(0)


@asynccontextmanager
async def stubbornly(services: FakeServices) -> AsyncIterator[tuple[Workspace, Stubborn]]:
    """A workspace over a search that is late when the test wants it; it ends with the test."""
    stubborn = Stubborn(services)
    async with opened(services) as (workspace, _):
        try:
            yield workspace, stubborn
        finally:
            stubborn.late = False
            await stubborn.let_go()


def shown(workspace: Workspace) -> list[str]:
    return [item.chunk_id for item in workspace.search.results.items]


def of_base(request: SearchRequest) -> list[SearchResult]:
    kb_id = request.knowledge_bases[0]
    return [result(1, kb_id=kb_id, chunk_id=f"{kb_id} {request.query}")]


def two_bases() -> FakeServices:
    services = with_kb()
    services.library.add("Parsers")
    services.search.answers = of_base
    return services


async def ask(workspace: Workspace, query: str) -> None:
    workspace.search.set_query(query)
    workspace.search.run_now()
    await asyncio.sleep(0)


@on_qt_loop
async def test_results_of_another_base_leave_the_screen_at_once_and_late_ones_never_reach_it() -> None:
    services = two_bases()
    async with stubbornly(services) as (workspace, stubborn):
        workspace.library.select("kb1")
        await ask(workspace, "loops")
        await searched(workspace)
        assert shown(workspace) == ["kb1 loops"]
        stubborn.late = True
        workspace.search.refresh()
        await stubborn.asked(1)
        workspace.library.select("kb2")
        assert shown(workspace) == []
        assert (workspace.search.summary, workspace.search.degraded, workspace.search.notes) == ("", "", "")
        assert workspace.search.current is None
        stubborn.waiting[0][1].set()
        for _ in range(8):
            await asyncio.sleep(0)
        assert shown(workspace) == []
        await stubborn.asked(2)
        await stubborn.let_go()
        assert shown(workspace) == ["kb2 loops"]


@on_qt_loop
async def test_a_new_empty_base_shows_nothing_of_the_base_before() -> None:
    services = two_bases()
    async with stubbornly(services) as (workspace, stubborn):
        stubborn.late = True
        workspace.library.select("kb1")
        await ask(workspace, "loops")
        await stubborn.asked(1)
        workspace.library.create("Empty")
        await until(lambda: workspace.library.selected is not None and workspace.library.selected.name == "Empty",
                    workspace.library.selection_changed)  # fmt: skip
        await stubborn.let_go()
        assert shown(workspace) == []
        assert "Nothing is indexed here yet" in workspace.search.message


@on_qt_loop
async def test_the_answer_to_a_deleted_query_and_to_an_older_keystroke_is_dropped() -> None:
    services = two_bases()
    async with stubbornly(services) as (workspace, stubborn):
        stubborn.late = True
        await ask(workspace, "loop")
        await stubborn.asked(1)
        workspace.search.set_query("loops")  # its own search has not begun
        await stubborn.let_go()
        assert shown(workspace) == []
        workspace.search.run_now()
        await stubborn.asked(1)
        workspace.search.set_query("")
        await stubborn.let_go()
        assert shown(workspace) == []
        assert workspace.search.summary == workspace.search.message == ""
        assert not workspace.search.busy


@on_qt_loop
async def test_answers_with_other_filters_or_of_an_older_generation_are_dropped() -> None:
    services = two_bases()
    services.search.answers = lambda request: [result(len(request.filters))]
    async with stubbornly(services) as (workspace, stubborn):
        workspace.library.select("kb1")
        stubborn.late = True
        await ask(workspace, "loops")
        await stubborn.asked(1)
        workspace.search.set_filters(Filters(kind="pdf"))
        stubborn.waiting[0][1].set()
        for _ in range(8):
            await asyncio.sleep(0)
        assert shown(workspace) == []
        await stubborn.asked(2)
        first = stubborn.waiting[1][1]
        services.library.bases[0] = replace(services.library.bases[0], active_generation=2)
        await workspace.library.refresh()
        first.set()
        for _ in range(8):
            await asyncio.sleep(0)
        assert shown(workspace) == []
        await stubborn.asked(3)
        await stubborn.let_go()
        assert shown(workspace) == ["chunk-1"]


@on_qt_loop
async def test_what_a_deleted_base_had_leaves_the_list_of_all_sources_before_the_next_answer() -> None:
    services = two_bases()
    services.search.answers = lambda request: [result(1, kb_id=kb_id) for kb_id in request.knowledge_bases]
    async with stubbornly(services) as (workspace, stubborn):
        await ask(workspace, "loops")
        await searched(workspace)
        assert [item.kb_id for item in workspace.search.results.items] == ["kb1", "kb2"]
        stubborn.late = True
        await services.library.delete("kb2")
        await workspace.library.refresh()
        assert "kb2" not in [item.kb_id for item in workspace.search.results.items]
        await stubborn.asked(1)
        await stubborn.let_go()
        assert [item.kb_id for item in workspace.search.results.items] == ["kb1"]


@on_qt_loop
async def test_a_page_of_another_question_or_generation_is_not_put_below_the_first() -> None:
    services = with_kb()
    services.search.total = 100
    services.search.answers = lambda request: [result(request.offset + n) for n in range(1, request.limit + 1)]
    async with stubbornly(services) as (workspace, stubborn):
        await ask(workspace, "loops")
        await searched(workspace)
        stubborn.late = True
        workspace.search.results.more_wanted.emit()
        await stubborn.asked(1)
        workspace.search.set_query("branches")
        await stubborn.let_go()
        assert len(shown(workspace)) == 30
        workspace.search.set_query("")
        stubborn.late = False
        await ask(workspace, "loops")
        await searched(workspace)
        answer = services.search.search

        async def promoted_meanwhile(request: SearchRequest) -> SearchResponse:
            return replace(await answer(request), generations={"kb1": 2})

        services.search.search = promoted_meanwhile  # type: ignore[method-assign]
        before = len(services.search.asked)
        workspace.search.results.more_wanted.emit()
        for _ in range(12):
            await asyncio.sleep(0)
        assert [request.offset for request in services.search.asked[before:]] == [30, 0]
        assert len(shown(workspace)) == 30


@on_qt_loop
async def test_rows_that_are_no_longer_found_do_not_stay_below_those_that_are() -> None:
    services = with_kb()
    services.search.answers = lambda request: [result(1), result(2), result(3)]
    async with opened(services) as (workspace, _):
        await ask(workspace, "loops")
        await searched(workspace)
        services.search.answers = lambda request: [result(1), result(2)]
        workspace.search.refresh()
        await until(lambda: not workspace.search.busy, workspace.search.changed)
        assert shown(workspace) == ["chunk-1", "chunk-2"]


@on_qt_loop
async def test_an_older_list_goes_when_its_successor_is_long_in_coming() -> None:
    services = two_bases()
    async with stubbornly(services) as (workspace, stubborn):
        await ask(workspace, "loops")
        await searched(workspace)
        stubborn.late = True
        await ask(workspace, "branches")
        assert shown(workspace) != []
        workspace.search._stale.timeout.emit()
        assert shown(workspace) == []
        assert workspace.search.message == "Searching…"
        await stubborn.asked(1)
        await stubborn.let_go()
        assert shown(workspace) == ["kb1 branches"]


@on_qt_loop
async def test_the_error_of_an_older_query_is_not_said_of_the_newer() -> None:
    services = with_kb()
    async with stubbornly(services) as (workspace, stubborn):
        stubborn.late = True
        await ask(workspace, "(")
        await stubborn.asked(1)
        services.search.error = InvalidRequest("A bracket is open.")
        workspace.search.set_query("(a)")
        await stubborn.let_go()
        assert workspace.search.message == ""


@on_qt_loop
async def test_a_mark_of_one_base_is_not_shown_in_another() -> None:
    services = two_bases()
    services.search.answers = lambda request: [result(1, kb_id=request.knowledge_bases[0])]
    async with opened(services) as (workspace, _):
        model = workspace.search
        workspace.library.select("kb1")
        await ask(workspace, "loops")
        await searched(workspace)
        model.show_grades("loops", {("kb1", "document-1"): 1})
        assert "Marked relevant" in model.results.describe(0, model.results.items[0])
        workspace.library.select("kb2")
        await searched(workspace)
        model.show_grades("loops", {("kb1", "document-1"): 1})
        assert "Marked relevant" not in model.results.describe(0, model.results.items[0])


@on_qt_loop
async def test_the_preview_never_keeps_the_source_of_another_result() -> None:
    services = with_kb()
    gates = {"document-1": asyncio.Event(), "document-2": asyncio.Event()}

    async def text(kb: str, generation: int, document_id: str) -> StoredText:
        while not gates[document_id].is_set():
            try:
                await gates[document_id].wait()
            except asyncio.CancelledError:
                pass
        return StoredText(document_id, ())

    services.search.document_text = text  # type: ignore[method-assign]
    async with opened(services) as (workspace, _):
        preview = workspace.preview
        gates["document-1"].set()
        preview.show(result(1))
        await until(lambda: preview.content is not None, preview.changed)
        preview.show(result(2))
        preview._stale.timeout.emit()
        assert preview.content is None
        preview.show(None)
        gates["document-2"].set()
        for _ in range(8):
            await asyncio.sleep(0)
        assert preview.content is None
