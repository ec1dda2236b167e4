"""What a person steers a search with: syntax, likes, similarity, groups, duplicates, variety, places, weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.domain import NOT_RERANKED, SearchMode, SearchRequest, SearchResponse
from studio.errors import InvalidRequest, NotFound
from tests.helpers import tiny_reranker

Write = Callable[[str, str], Path]

NOTICE = (
    "The licence may be ended by either side with thirty days of notice, which is given in writing and sent to the "
    "address that stands at the head of this agreement. What was paid before is not paid back."
)
REPORT = "\n\n".join(
    f"# Part {n}\n\nThe survey of whales in area {n} counted {n * 7} animals. " + f"Waves were {n} metres high. " * 30
    for n in range(1, 6)
)


async def filled(services: Services, folder: Path) -> None:
    base = await services.library.create("Mixed")
    for name, text in {
        "report.md": REPORT,
        "whales.txt": "Blue whales sing songs that travel hundreds of miles under water.",
        "contracts/first.txt": NOTICE,
        "contracts/second.txt": NOTICE + " Signed in May.",
        "piano.txt": "A grand piano has more than two hundred strings stretched over an iron frame.",
        "notes/lava.md": (
            "---\ntags: [geology, fire]\n---\n\nVolcanoes erupt when magma rises; lava cools to basalt.\n"
        ),
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    await services.ingest.ingest(base.id, [folder])


def names(response: SearchResponse) -> list[str]:
    return [Path(result.citation.source_path).name for result in response.results]


@pytest.mark.parametrize("mode", list(SearchMode))
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('"iron frame" whales', {"piano.txt"}),
        ('lava OR "grand piano"', {"piano.txt", "lava.md"}),
        ("whales type:txt -path:*piano* -folder:contracts", {"whales.txt"}),
        ("whales tag:fire", {"lava.md"}),
        ('whales type:txt -"thirty days" -piano', {"whales.txt"}),
    ],
)
async def test_syntax_holds_on_every_side(
    services: Services, kb: str, query: str, found: set[str], mode: SearchMode
) -> None:
    response = await services.search.search(SearchRequest((kb,), query, mode, limit=50))
    if query.startswith("whales") and mode is SearchMode.KEYWORD:
        found = found & {"whales.txt"}  # the others do not hold the word
    assert set(names(response)) == found


async def test_exclusions_leave_the_rest_on_the_vector_side(services: Services, kb: str) -> None:
    request = SearchRequest((kb,), "animals of the sea -songs", SearchMode.VECTOR, limit=50)
    found = names(await services.search.search(request))
    assert "whales.txt" not in found
    assert {"report.md", "piano.txt", "lava.md", "first.txt", "second.txt"} <= set(found)


async def test_conditions_alone_list_what_fulfils_them(services: Services, kb: str) -> None:
    response = await services.search.search(SearchRequest((kb,), "folder:contracts", limit=50))
    assert sorted(names(response)) == ["first.txt", "second.txt"]
    assert response.understood["filters"] == ["folder:contracts"]
    assert response.results[0].explanation.filters == ("folder:contracts",)
    assert response.degraded is None


async def test_filters_alone_list_what_passes_them(services: Services, kb: str) -> None:
    response = await services.search.search(SearchRequest((kb,), "", limit=50, filters=(("type", "txt"),)))
    assert sorted(names(response)) == ["first.txt", "piano.txt", "second.txt", "whales.txt"]


async def test_what_is_like_a_passage_is_found_without_itself(services: Services, kb: str) -> None:
    first = (await services.search.search(SearchRequest((kb,), "either side", SearchMode.KEYWORD))).results[0]
    response = await services.search.search(SearchRequest((kb,), "", similar_to=first.chunk_id))
    assert response.results[0].chunk_id != first.chunk_id
    assert set(names(response)[:1]) | {Path(first.citation.source_path).name} == {"first.txt", "second.txt"}
    assert first.chunk_id not in {result.chunk_id for result in response.results}
    narrowed = await services.search.search(SearchRequest((kb,), "type:md", similar_to=first.chunk_id))
    assert set(names(narrowed)) == {"report.md", "lava.md"}
    with pytest.raises(NotFound, match="not there any more"):
        await services.search.search(SearchRequest((kb,), "", similar_to="0" * 32))


@pytest.mark.parametrize("mode", [SearchMode.HYBRID, SearchMode.VECTOR])
async def test_only_what_is_similar_enough_is_found(services: Services, kb: str, mode: SearchMode) -> None:
    request = SearchRequest((kb,), "whales singing under water", mode, limit=50)
    everything = await services.search.search(request)
    assert len({*names(everything)}) == 6
    near = await services.search.search(replace(request, minimum_similarity=0.5))
    assert names(near) == ["whales.txt"]
    by_words = await services.search.search(replace(request, query="thirty water", minimum_similarity=0.999))
    assert by_words.results == ()


async def test_each_document_has_one_place_when_grouped(services: Services, kb: str) -> None:
    request = SearchRequest((kb,), "survey of whales", limit=50)
    apart = await services.search.search(request)
    together = await services.search.search(replace(request, group=True))
    assert names(apart).count("report.md") > 3
    assert sorted(names(together)) == sorted(set(names(apart)))
    (report,) = [result for result in together.results if result.citation.source_path.endswith("report.md")]
    assert report.more_in_document == names(apart).count("report.md") - 1
    assert together.total_candidates == len(together.results)


async def test_near_duplicates_are_folded_and_named(services: Services, kb: str) -> None:
    request = SearchRequest((kb,), "licence notice", limit=50)
    apart = await services.search.search(request)
    folded = await services.search.search(replace(request, fold=True))
    assert {"first.txt", "second.txt"} <= set(names(apart))
    (kept,) = [result for result in folded.results if "contracts" in result.citation.source_path]
    assert len(kept.duplicates) == 1
    assert kept.duplicates[0] in {result.chunk_id for result in apart.results}
    assert len(folded.results) == len(apart.results) - 1


async def test_diversity_brings_other_documents_forward(services: Services, kb: str) -> None:
    request = SearchRequest((kb,), "whales survey area", limit=4)
    plain = names(await services.search.search(request))
    varied = names(await services.search.search(replace(request, diversity=0.8)))
    assert plain[0] == varied[0]
    assert len(set(varied)) > len(set(plain))


@pytest.mark.parametrize("mode", list(SearchMode))
async def test_every_side_says_which_document_a_passage_is_of(services: Services, kb: str, mode: SearchMode) -> None:
    request = SearchRequest((kb,), "whales strings", mode)
    named = {result.chunk_id: result.document_id for result in (await services.search.search(request)).results}
    async with services.search.ranking(request) as ranking:
        known = {chunk.chunk_id: document for chunk, document in ranking.documents.items()}
    assert named and known == {**known, **named}
    assert len(known) == len(ranking.fused)


async def test_another_weight_asks_neither_side_again(
    services: Services, kb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SearchRequest((kb,), "whales strings")
    first = await services.search.search(request)
    assert {"embed", "vector", "keyword"} <= first.timings_ms.keys()
    words, meaning = [
        await services.search.search(replace(request, weight=weight, group=weight == 1.0)) for weight in (0.0, 1.0)
    ]
    for response in (words, meaning):
        assert not {"embed", "vector", "keyword"} & response.timings_ms.keys()
    assert (words.weight, meaning.weight) == (0.0, 1.0)
    best = words.results[0].explanation
    assert words.results[0].score == pytest.approx(best.keyword_normalised)
    assert meaning.results[0].score == pytest.approx(meaning.results[0].explanation.vector_normalised)


async def test_a_new_generation_forgets_what_was_found(services: Services, kb: str, folder: Path, write: Write) -> None:
    request = SearchRequest((kb,), "narwhals", SearchMode.KEYWORD)
    assert (await services.search.search(request)).results == ()
    write("narwhal.txt", "Narwhals have one long tooth.")
    await services.ingest.ingest(kb, [folder])
    assert names(await services.search.search(request)) == ["narwhal.txt"]


async def test_a_word_weighs_the_same_in_every_knowledge_base(services: Services, tmp_path: Path) -> None:
    """Where nearly every passage has a word it says little, elsewhere much: together it says one and the same."""
    for name, words in (("Sea", ["whales"] * 9 + ["stones"]), ("Shore", ["stones"] * 9 + ["whales"])):
        base = await services.library.create(name)
        files = []
        for n, word in enumerate(words):
            files.append(tmp_path / f"{name}{n}.txt")
            files[-1].write_text(f"Some {word} of kind {n} are here.")
        await services.ingest.ingest(base.id, files)
    request = SearchRequest(("Sea", "Shore"), "whales", SearchMode.KEYWORD, limit=50)

    async def best(*places: str) -> dict[str, float]:
        response = await services.search.search(replace(request, knowledge_bases=places))
        return {result.kb_name: result.score for result in reversed(response.results)}

    sea, shore = await best("Sea"), await best("Shore")
    assert shore["Shore"] > 5 * sea["Sea"]
    together = await best("Sea", "Shore")
    assert together["Sea"] == pytest.approx(together["Shore"], rel=0.01)


async def test_a_field_that_only_one_place_has_finds_nothing_in_the_other(
    services: Services, kb: str, tmp_path: Path
) -> None:
    other = await services.library.create("Rows")
    (tmp_path / "rows.jsonl").write_text('{"_id": "a", "text": "Whales swim.", "ocean": "north"}\n')
    await services.ingest.ingest(other.id, [tmp_path / "rows.jsonl"])
    request = SearchRequest((kb, other.id), "whales", filters=(("ocean", "north"),))
    assert names(await services.search.search(request)) == ["rows.jsonl"]
    with pytest.raises(InvalidRequest, match="no filter “ocean”"):
        await services.search.search(replace(request, knowledge_bases=(kb,)))


async def test_a_reranker_that_nobody_knows_is_refused(services: Services, kb: str) -> None:
    with pytest.raises(InvalidRequest, match="nothing-like-it"):
        await services.search.search(SearchRequest((kb,), "whales", reranker="nothing-like-it"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diversity": 1.5}, "diversity"),
        ({"minimum_similarity": 2.0}, "similarity"),
        ({"candidates": 0}, "depth"),
        ({"filters": (("after", "yesterday-ish"),)}, "date"),
        ({"filters": (("no-such-field", "x"),)}, "no filter"),
    ],
)
async def test_requests_that_cannot_be_meant(
    services: Services, kb: str, change: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await services.search.search(replace(SearchRequest((kb,), "whales"), **change))


async def test_what_was_marked_before_is_shown_the_same_and_only_for_the_same_words(
    services: Services, kb: str
) -> None:
    request = SearchRequest((kb,), "blue whales", SearchMode.KEYWORD)
    first = (await services.search.search(request)).results
    again = (await services.search.search(replace(request, mode=SearchMode.HYBRID))).results
    by_id = {result.chunk_id: result for result in again}
    assert all(by_id[result.chunk_id].snippet == result.snippet for result in first)
    assert all(by_id[result.chunk_id].highlights == result.highlights for result in first)
    other = (await services.search.search(replace(request, query="songs of whales"))).results[0]
    marked = [other.snippet[start:end] for start, end in other.highlights]
    assert marked == ["whales", "songs"]
    assert other.explanation.matched_terms == ("songs", "whales")


async def test_what_is_set_orders_the_first_results_anew(services: Services, kb: str, tmp_path: Path) -> None:
    plain = await services.search.search(SearchRequest((kb,), "whales under water"))
    assert await services.search.rerankers() == ("", [])
    services.config.set("reranker", "gone")
    left = await services.search.search(SearchRequest((kb,), "whales under water"))
    assert [result.chunk_id for result in left.results] == [result.chunk_id for result in plain.results]
    assert any("“gone”" in note for note in left.notes)
    with pytest.raises(InvalidRequest, match="gone"):
        await services.search.search(SearchRequest((kb,), "whales under water", reranker="gone"))

    await services.models.install(str(tiny_reranker.make_reranker(tmp_path)))
    services.config.set("reranker", "tiny-reranker")
    assert await services.search.rerankers() == ("tiny-reranker", ["tiny-reranker"])
    ordered = await services.search.search(SearchRequest((kb,), "whales under water"))
    assert all(result.explanation.rerank_score is not None for result in ordered.results)
    off = await services.search.search(SearchRequest((kb,), "whales under water", reranker=NOT_RERANKED))
    assert [result.chunk_id for result in off.results] == [result.chunk_id for result in plain.results]
    assert all(result.explanation.rerank_score is None for result in off.results)
    assert not off.notes
