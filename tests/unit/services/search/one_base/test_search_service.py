from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from studio.bootstrap import Services, open_services
from studio.domain import Fusion, SearchMode, SearchRequest
from studio.errors import InvalidRequest, NotFound
from tests.helpers.catalog_sql import catalog_sql

Write = Callable[[str, str], Path]

ANIMALS = "# Oceans\n\nBlue whales sing songs that travel hundreds of miles under water.\n\n"
MUSIC = "# Instruments\n\nA grand piano has more than two hundred strings stretched over an iron frame.\n"


async def filled(services: Services, folder: Path) -> None:
    base = await services.library.create("Mixed")
    (folder / "music").mkdir()
    (folder / "animals.md").write_text(ANIMALS)
    (folder / "music/instruments.md").write_text(MUSIC)
    (folder / "earth.txt").write_text("Volcanoes erupt when magma rises. Lava cools to basalt.")
    await services.ingest.ingest(base.id, [folder])


async def test_meaning_is_found_without_the_words(services: Services, kb: str) -> None:
    response = await services.search.search(SearchRequest((kb,), "marine mammals vocalising", SearchMode.VECTOR))
    assert response.results[0].citation.title == "Oceans"
    assert response.results[0].explanation.matched_terms == ()
    assert response.results[0].explanation.keyword_rank is None


async def test_words_are_found_and_highlighted(services: Services, kb: str) -> None:
    response = await services.search.search(SearchRequest((kb,), "piano string", SearchMode.KEYWORD))
    (result,) = response.results
    assert [result.snippet[a:b] for a, b in result.highlights] == ["piano", "strings"]
    assert result.explanation.matched_terms == ("piano", "string")
    assert result.explanation.keyword_rank == 1
    assert result.score == result.explanation.keyword_score


async def test_a_search_does_not_queue_behind_other_blocking_work(services: Services, kb: str) -> None:
    for query in ("whales", "songs"):  # opens what is opened once
        await services.search.search(SearchRequest((kb,), query))
    async with services.search._stores.store(kb).reading() as snapshot:
        await snapshot.tables.prewarm()
    loop = asyncio.get_running_loop()
    busy, done = ThreadPoolExecutor(1), threading.Event()
    loop.set_default_executor(busy)
    blocking = loop.run_in_executor(None, done.wait)
    try:
        response = await asyncio.wait_for(services.search.search(SearchRequest((kb,), "piano strings")), 60)
    finally:
        done.set()
        await blocking
    assert response.results[0].citation.title == "Instruments"


async def test_copies_are_one_result_that_names_every_place(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    paths = [write(name, MUSIC) for name in ("z/copy.md", "again.md")]
    await services.ingest.ingest(kb, [folder])
    (result,) = (await services.search.search(SearchRequest((kb,), "piano", SearchMode.KEYWORD))).results
    assert result.citation.source_path == str(paths[1])
    assert result.citation.also_at == (str(folder / "music" / "instruments.md"), str(paths[0]))
    (other,) = (await services.search.search(SearchRequest((kb,), "basalt", SearchMode.KEYWORD))).results
    assert other.citation.also_at == ()
    write("table.jsonl", '{"_id": "a", "text": "Xylophones chime."}\n' * 2)
    await services.ingest.ingest(kb, [folder])
    (row, *_) = (await services.search.search(SearchRequest((kb,), "xylophones", SearchMode.KEYWORD))).results
    assert row.citation.also_at == ()


async def test_hybrid_explains_both_sides(services: Services, kb: str) -> None:
    response = await services.search.search(SearchRequest((kb,), "whales songs"))
    best = response.results[0]
    told = best.explanation
    assert best.citation.title == "Oceans"
    assert best.score == pytest.approx(0.5 * told.vector_normalised + 0.5 * told.keyword_normalised)
    assert (told.vector_rank, told.keyword_rank, told.fusion) == (1, 1, "minmax")
    assert set(response.timings_ms) == {"open", "embed", "vector", "keyword", "fuse", "arrange", "fetch", "mark"}
    assert response.generations == {"Mixed": 1}
    assert response.total_candidates == 3
    assert response.degraded is None


async def test_pages_follow_each_other(services: Services, kb: str) -> None:
    request = SearchRequest((kb,), "whales piano lava", limit=1)
    pages = [(await services.search.search(replace(request, offset=n))).results for n in range(4)]
    ids = [page[0].chunk_id for page in pages[:3]]
    assert len(set(ids)) == 3
    assert pages[3] == ()


async def test_rrf_and_weight_change_the_score(services: Services, kb: str) -> None:
    request = SearchRequest((kb,), "whales songs")
    rrf = await services.search.search(replace(request, fusion=Fusion.RRF))
    assert rrf.results[0].score < 0.05
    keyword_only = await services.search.search(replace(request, weight=0.0))
    assert keyword_only.results[0].score == pytest.approx(keyword_only.results[0].explanation.keyword_normalised)


@pytest.mark.parametrize(
    ("key", "value", "titles"),
    [
        ("type", "markdown", {"Oceans", "Instruments"}),
        ("type", "txt", {"earth"}),
        ("folder", "music", {"Instruments"}),
        ("path", "*.txt", {"earth"}),
        ("title", "ocean", {"Oceans"}),
        ("document", "nothing like this", set()),
    ],
)
@pytest.mark.parametrize("mode", list(SearchMode))
async def test_filters_hold_on_every_side(
    services: Services, kb: str, key: str, value: str, titles: set[str], mode: SearchMode
) -> None:
    request = SearchRequest((kb,), "whales piano lava", mode, filters=((key, value),))
    response = await services.search.search(request)
    assert {result.citation.title for result in response.results} == titles


async def test_several_knowledge_bases_are_searched_together(services: Services, kb: str, tmp_path: Path) -> None:
    other = await services.library.create("Other")
    file = tmp_path / "whaling.txt"
    file.write_text("Whales were hunted for oil.")
    await services.ingest.ingest(other.id, [file])
    empty = await services.library.create("Empty")
    response = await services.search.search(SearchRequest((kb, other.id, empty.id), "whales"))
    assert {result.kb_name for result in response.results[:2]} == {"Mixed", "Other"}
    assert response.generations == {"Mixed": 1, "Other": 1}


async def test_an_older_generation_can_be_searched(services: Services, kb: str, folder: Path, write: Write) -> None:
    (folder / "earth.txt").unlink()
    await services.ingest.ingest(kb, [folder])
    request = SearchRequest((kb,), "lava basalt", SearchMode.KEYWORD)
    assert (await services.search.search(request)).results == ()
    old = await services.search.search(replace(request, generation=1))
    assert old.results[0].generation == 1


async def test_a_missing_model_degrades_to_keywords(data_dir: Path, services: Services, kb: str) -> None:
    async with open_services(data_dir) as fresh:
        for file in (data_dir / "models").iterdir():
            file.unlink()
        base = await fresh.library.get(kb)
        gone = "UPDATE generation SET settings = replace(settings, 'all-MiniLM-L6-v2', 'gone')"
        catalog_sql(fresh.library._stores.paths, gone)
        for mode in (SearchMode.HYBRID, SearchMode.VECTOR):
            response = await fresh.search.search(SearchRequest((base.id,), "piano", mode))
            assert response.degraded is not None
            assert "gone" in response.degraded
            assert response.results[0].citation.title == "Instruments"


async def test_a_killed_model_process_is_replaced(services: Services, kb: str) -> None:
    request = SearchRequest((kb,), "whales")
    before = await services.search.search(request)
    (model,) = services.memory_care._embedders.loaded()
    os.kill(model.pid, signal.SIGKILL)
    after = await services.search.search(replace(request, query="whales again"))
    assert after.degraded is None
    assert after.results[0].chunk_id == before.results[0].chunk_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "  \n"}, "empty"),
        ({"query": "x" * 30_000}, "longer"),
        ({"limit": 0}, "limit"),
        ({"limit": 100_000}, "limit"),
        ({"offset": -1}, "offset"),
        ({"weight": 1.5}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"filters": (("colour", "red"),)}, "filter"),
        ({"knowledge_bases": ()}, "knowledge base"),
    ],
)
async def test_requests_that_make_no_sense(services: Services, kb: str, change: dict, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await services.search.search(replace(SearchRequest((kb,), "whales"), **change))


async def test_unknown_places_are_not_found(services: Services, kb: str) -> None:
    with pytest.raises(NotFound):
        await services.search.search(SearchRequest(("nobody",), "x"))
    with pytest.raises(NotFound):
        await services.search.search(SearchRequest((kb,), "x", generation=99))
    with pytest.raises(NotFound):
        await services.search.document_text(kb, 1, "no such document")


@pytest.mark.parametrize(
    "query", ["\x00", "\ud800 lone", "'; DROP TABLE kb; --", '"""', "😀", "(a AND", "ﬁ", "\u202eabc"]
)
async def test_odd_queries_are_just_queries(services: Services, kb: str, query: str) -> None:
    response = await services.search.search(SearchRequest((kb,), query))
    assert response.query == query


async def test_warming_up_starts_the_model(services: Services, kb: str) -> None:
    await services.search.warm_up()
    assert services.memory_care._embedders.loaded()
