"""What the search view-model makes of a person's steering: weight, filters, order, likes, judgments."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from typing import Any

from studio.domain import (
    DocumentRecord,
    DocumentStatus,
    Explanation,
    PageCounts,
    SearchRequest,
    SearchResult,
)
from studio.services.library import TagCount
from studio.ui.window.screenshots import until
from studio.viewmodels.search import GRADE_ROLE, Arrangement, Filters, explain
from studio.viewmodels.search.filters import FilterChoices
from studio.viewmodels.search.results import ResultModel
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices, result
from tests.gui.opening import opened, with_kb
from tests.gui.qt_loop import on_qt_loop


def record(name: str, **changes: Any) -> DocumentRecord:
    base = DocumentRecord(
        document_id=name, source_path=f"/papers/{name}", sha256="0" * 64, size_bytes=1, mtime_ns=0, kind="md",
        title="", author="", licence="", external_id="", row=0, pages=PageCounts(), chunks=1,
        status=DocumentStatus.INDEXED, error="", reason="",
    )  # fmt: skip
    return replace(base, **changes)


async def asked(workspace: Workspace, services: FakeServices, query: str = "loops") -> None:
    workspace.search.set_query(query)
    workspace.search.run_now()
    await until(lambda: not workspace.search.busy, workspace.search.changed)
    services.search.asked.clear()


def weighed(request: SearchRequest) -> list[SearchResult]:
    """Words put 1 first, meaning puts 3 first."""
    order = (3, 2, 1) if (request.weight or 0.0) > 0.5 else (1, 2, 3)
    return [result(number, score=1.0 - place / 10) for place, number in enumerate(order)]


# ---------------------------------------------------------------- weight


@on_qt_loop
async def test_the_weight_is_the_services_until_a_person_chooses_one_and_again_after() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        search = workspace.search
        await asked(workspace, services)
        assert (search.weight, search.used_weight) == (None, 0.62)
        search.set_weight(0.3)
        await until(lambda: not search.busy, search.changed)
        assert [request.weight for request in services.search.asked] == [0.3]
        assert search.used_weight == 0.3
        search.set_weight(None)
        await until(lambda: not search.busy, search.changed)
        assert services.search.asked[-1].weight is None
        assert search.used_weight == 0.62


@on_qt_loop
async def test_moving_the_weight_reorders_in_place_and_keeps_the_selected_passage() -> None:
    services = with_kb()
    services.search.answers = weighed
    async with opened(services) as (workspace, _):
        search = workspace.search
        await asked(workspace, services)
        search.current_row = 0
        resets: list[None] = []
        search.results.modelReset.connect(lambda: resets.append(None))
        search.set_weight(0.9)
        await until(lambda: not search.busy, search.changed)
        assert [item.chunk_id for item in search.results.items] == ["chunk-3", "chunk-2", "chunk-1"]
        assert search.current is not None
        assert search.current.chunk_id == "chunk-1"
        assert search.kept_place
        assert not resets, "a reset scrolls every view to its top"


@on_qt_loop
async def test_a_fast_slider_leaves_no_queue_behind() -> None:
    services = with_kb()
    services.search.answers = weighed
    async with opened(services) as (workspace, _):
        search = workspace.search
        await asked(workspace, services)
        gate = services.search.gates["loops"] = asyncio.Event()
        for step in range(1, 41):
            search.set_weight(step / 40)
            await asyncio.sleep(0)
        assert [request.weight for request in services.search.asked] == [1 / 40]
        gate.set()
        await until(lambda: not search.busy, search.changed)
        assert [request.weight for request in services.search.asked] == [1 / 40, 1.0]
        assert not services.search.cancelled
        assert search.results.items[0].chunk_id == "chunk-3"


@on_qt_loop
async def test_as_many_results_are_reordered_as_were_scrolled_to() -> None:
    services = with_kb()
    services.search.total = 70
    services.search.answers = lambda request: [
        result(request.offset + n) for n in range(min(request.limit, 70 - request.offset))
    ]
    async with opened(services) as (workspace, _):
        search = workspace.search
        await asked(workspace, services)
        search.results.fetchMore(search.results.index(-1))
        await until(lambda: len(search.results.items) == 60, search.results.rowsInserted)
        search.set_weight(0.1)
        await until(lambda: not search.busy, search.changed)
        assert services.search.asked[-1].limit == 60
        assert len(search.results.items) == 60
        search.results.fetchMore(search.results.index(-1))
        await until(lambda: len(search.results.items) == 70, search.results.rowsInserted)
        assert (services.search.asked[-1].offset, services.search.asked[-1].limit) == (60, 30)


# ---------------------------------------------------------------- filters and order


@on_qt_loop
async def test_filters_and_order_reach_the_request() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        search = workspace.search
        await asked(workspace, services)
        search.set_filters(Filters("pdf", "", "jit", "Ada", "2024-01-31", "2025-01-01", minimum_similarity=0.4))
        search.set_arrangement(Arrangement(group=True, fold=False, diverse=True))
        await until(lambda: not search.busy, search.changed)
        request = services.search.asked[-1]
        assert request.filters == (
            ("type", "pdf"), ("tag", "jit"), ("author", "Ada"), ("after", "2024-01-31"), ("before", "2025-01-01"),
        )  # fmt: skip
        assert (request.minimum_similarity, request.group, request.fold) == (0.4, True, False)
        assert request.diversity == 0.5
        assert search.summary == "2 documents · 2 passages · 31 ms"


@on_qt_loop
async def test_near_duplicates_are_folded_and_one_document_is_never_grouped() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        search = workspace.search
        search.set_arrangement(Arrangement(group=True))
        await asked(workspace, services)
        search.set_filters(Filters(document="document-1", document_title="Title 1"))
        await until(lambda: not search.busy, search.changed)
        request = services.search.asked[-1]
        assert request.filters == (("document", "document-1"),)
        assert request.fold
        assert not request.group


@on_qt_loop
async def test_what_can_be_chosen_comes_from_the_documents_and_their_tags() -> None:
    services = with_kb()
    services.library.records = [
        record("a.md", author="Ada"),
        record("b.pdf", kind="pdf", author="grace"),
        record("c.md", kind="txt", author="Nobody", status=DocumentStatus.FAILED),
    ]
    services.tags.items = [TagCount("jit", 2, 0), TagCount("Compilers", 5, 1)]
    async with opened(services) as (workspace, _):
        search = workspace.search
        await until(lambda: search.choices != FilterChoices(), search.choices_changed)
        assert search.choices == FilterChoices(
            kinds=("md", "pdf"), folders=("/papers",), authors=("Ada", "grace"), tags=(("Compilers", 5), ("jit", 2))
        )


def test_every_filter_has_a_chip_that_takes_it_away() -> None:
    today = date(2026, 3, 10)
    filters = Filters("pdf", "/papers/jit", "draft", "Ada", "2026-03-03", "2026-03-09", "d1", "A title", 0.6)
    chips = {chip.field: chip.text for chip in filters.chips(today)}
    assert chips == {
        "document": "In: A title", "kind": "type: pdf", "tag": "tag: draft", "author": "author: Ada",
        "folder": "folder: jit", "after": "Past week", "before": "before 2026-03-09",
        "minimum_similarity": "similarity ≥ 0.6",
    }  # fmt: skip
    for field in chips:
        filters = filters.without(field)
    assert not filters.pairs
    assert not filters.chips(today)
    assert Filters(after="2026-03-04").chips(today)[0].text == "after 2026-03-04"


# ---------------------------------------------------------------- likes, notes, judgments


@on_qt_loop
async def test_likes_of_a_passage_are_shown_until_the_query_comes_back() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        search = workspace.search
        await asked(workspace, services)
        cited = replace(result(2).citation, page_number=3)
        search.find_similar(result(2, citation=cited))
        await until(lambda: not search.busy, search.changed)
        request = services.search.asked[-1]
        assert (request.query, request.similar_to) == ("", "chunk-2")
        assert search.similar is not None
        assert search.similar.label == "Title 2, p. 3"
        assert not search.can_judge, "there is no query that a result could answer"
        search.find_similar(None)
        await until(lambda: not search.busy, search.changed)
        assert (services.search.asked[-1].query, services.search.asked[-1].similar_to) == ("loops", "")
        search.find_similar(result(2))
        search.set_query("loops")
        assert search.similar is None, "typing leaves the likes, also when the query is the old one"


@on_qt_loop
async def test_notes_are_passed_on() -> None:
    services = with_kb()
    services.search.notes = ("The reranker failed.", "The order is that of the fusion.")
    async with opened(services) as (workspace, _):
        await asked(workspace, services)
        assert workspace.search.notes == "The reranker failed. The order is that of the fusion."
        services.search.notes = ()
        workspace.search.run_now()
        await until(lambda: not workspace.search.busy, workspace.search.changed)
        assert not workspace.search.notes


@on_qt_loop
async def test_a_judgment_belongs_to_its_query() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        search = workspace.search
        heard: list[tuple[str, str, int]] = []
        search.judged.connect(lambda query, item, grade: heard.append((query, item.chunk_id, grade)))
        await asked(workspace, services)
        search.judge(1)
        search.current_row = 1
        search.judge(0)
        assert heard == [("loops", "chunk-1", 1), ("loops", "chunk-2", 0)]
        assert grades(search.results) == [1, 0]
        assert "Marked relevant." in search.results.describe(0, result(1))
        await asked(workspace, services, "branches")
        assert grades(search.results) == [None, None]
        search.show_grades("branches", {("kb1", "/nowhere/file2.md"): 1})  # as saved queries name documents
        assert grades(search.results) == [None, 1]
        await asked(workspace, services, "loops")
        assert grades(search.results) == [1, 0]


def grades(model: ResultModel) -> list[int | None]:
    return [model.index(row).data(GRADE_ROLE) for row in range(len(model.items))]


# ---------------------------------------------------------------- explanation


def test_an_explanation_says_how_the_score_came_about() -> None:
    why = Explanation(
        "minmax", 0.6, 1, 0.8812, 1.0, 4, 12.34, 0.5, ("nested", "loops"), ("type:pdf",), 2, 0.8, rerank_score=2.5
    )
    text = explain(result(1, explanation=why, more_in_document=3, duplicates=("x",)), 1)
    meaning, words = text.sides
    assert (meaning.rank, meaning.score, meaning.normalised, meaning.share) == ("#1", "0.881", "1.00", 0.6)
    assert (words.rank, words.score, words.normalised, words.fill) == ("#4", "12.3", "0.50", 0.5)
    facts = dict(text.facts)
    assert facts["Fused score"] == "0.60 × 1.00 + 0.40 × 0.50 = 0.800"
    assert facts["Fused rank"] == "#2, shown as #1"
    assert facts["Reranker score"] == "2.500"
    assert facts["Similarity"] == "0.881"
    assert facts["Passed"] == "type:pdf"
    assert text.terms == ("nested", "loops")
    for part in ("Meaning: rank #1", "Words: rank #4", "Reranker score: 2.500", "Matched words: nested, loops."):
        assert part in text.spoken


def test_an_explanation_of_one_side_speaks_of_that_side() -> None:
    missed = explain(result(1, explanation=Explanation("minmax", 0.5, None, None, None, 2, 9.0, 0.9)), 3)
    assert [side.found for side in missed.sides] == [False, True]
    assert "by meaning it is not among the candidates" in missed.summary
    assert "Meaning: not among its candidates." in missed.spoken
    alone = explain(result(1, explanation=Explanation("none", 1.0, 1, 0.7, 1.0)), 1)
    assert [side.name for side in alone.sides] == ["Meaning"]
    assert "Fused score" not in dict(alone.facts)


def test_a_reciprocal_rank_fills_its_bar_by_the_best_there_is() -> None:
    text = explain(result(1, explanation=Explanation("rrf", 0.5, 1, 0.7, 1 / 61, 61, 2.0, 1 / 121)), 1)
    assert [round(side.fill, 2) for side in text.sides] == [1.0, 0.5]
    assert [side.normalised for side in text.sides] == ["0.0164", "0.0083"]
