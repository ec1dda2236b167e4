"""The vector index of a generation: which one it gets, that it finds what an exact search finds, and its upkeep."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from studio.domain import AnnIndex, AnnState, Metric
from studio.index.vectors import Within, ann, nearest, resolve
from studio.index.vectors import maintenance as upkeep
from studio.index.vectors.ann import (
    Upkeep,
    ladder,
    must_measure,
    must_train,
    partitions,
    refine_for,
    samples_per_partition,
)
from studio.index.vectors.flat_vectors import similarities
from tests.helpers.toy import Bench
from tests.unit.index.vectors.clusters import (
    ROWS_PER_DOCUMENT,
    chunk_id,
    document_id,
    generation_of,
    number_of,
    queries,
    recall,
    search,
    truth,
    vectors,
)

# ---------------------------------------------------------------- choosing


def test_the_index_is_chosen_by_size() -> None:
    assert resolve(AnnIndex.AUTO, 24_999, 384) is AnnIndex.FLAT
    assert resolve(AnnIndex.AUTO, 25_000, 384) is AnnIndex.IVF_RQ
    assert resolve(AnnIndex.AUTO, 13_000, 384, AnnIndex.IVF_RQ) is AnnIndex.IVF_RQ  # does not come and go
    assert resolve(AnnIndex.AUTO, 12_000, 384, AnnIndex.IVF_RQ) is AnnIndex.FLAT
    assert resolve(AnnIndex.HNSW_SQ, 5_000, 384) is AnnIndex.HNSW_SQ
    assert resolve(AnnIndex.HNSW_SQ, 300, 384) is AnnIndex.FLAT  # nothing to train with
    assert resolve(AnnIndex.IVF_RQ, 5_000, 20) is AnnIndex.IVF_SQ  # RaBitQ wants whole bytes
    assert resolve(AnnIndex.FLAT, 9_000_000, 384) is AnnIndex.FLAT


def test_partitions_grow_with_the_rows_and_graphs_stay_small_enough_for_memory() -> None:
    assert [partitions(AnnIndex.IVF_RQ, rows) for rows in (400, 100_000, 1_000_000, 90_000_000)] == [1, 100, 1000, 4096]
    assert [partitions(AnnIndex.HNSW_SQ, rows) for rows in (400, 250_000, 1_000_000)] == [1, 1, 4]


def test_large_tables_are_learnt_from_samples_that_fit_into_memory() -> None:
    assert samples_per_partition(100, 384) == 256  # all that k-means can use
    assert 1_000 * samples_per_partition(1_000, 384) * 384 * 4 <= ann.TRAINING_BYTES
    assert samples_per_partition(4_096, 1_024) == ann.FEWEST_SAMPLES_PER_PARTITION  # fewer teach nothing


@pytest.mark.parametrize("kind", [kind for kind in AnnIndex if kind not in (AnnIndex.AUTO, AnnIndex.FLAT)])
def test_each_step_of_the_ladder_is_more_thorough(kind: AnnIndex) -> None:
    steps = ladder(kind, 500_000)
    assert len(steps) >= 4
    for before, after in pairwise(steps):
        assert (before.nprobes, before.ef, before.refine_factor) != (after.nprobes, after.ef, after.refine_factor)
        assert before.nprobes <= after.nprobes
        assert before.ef <= after.ef
        assert before.refine_factor <= after.refine_factor
    if kind in (AnnIndex.IVF_FLAT, AnnIndex.HNSW_FLAT):
        assert all(refine_for(state, 10) == 0 for state in steps)  # distances are exact already
    else:
        assert all(refine_for(state, limit) >= 1 for state in steps for limit in (1, 10, 100, 1000))


def test_an_index_is_learnt_anew_when_the_table_doubled_or_another_is_wanted() -> None:
    base = AnnState(AnnIndex.IVF_RQ, trained_rows=1000, recall=0.97)
    known = Upkeep(AnnIndex.AUTO, base, 1000)
    assert not must_train(known, AnnIndex.IVF_RQ, 2000, present=True)
    assert must_train(known, AnnIndex.IVF_RQ, 2001, present=True)
    assert must_train(known, AnnIndex.IVF_SQ, 1000, present=True)
    assert must_train(known, AnnIndex.IVF_RQ, 1000, present=False)


def test_recall_is_measured_again_after_a_tenth_of_growth() -> None:
    base = AnnState(AnnIndex.IVF_RQ, trained_rows=1000, recall=0.97)
    assert not must_measure(Upkeep(AnnIndex.AUTO, base, 1000, appended=50), 1050)
    assert must_measure(Upkeep(AnnIndex.AUTO, base, 1050, appended=60), 1110)  # together a tenth
    assert must_measure(Upkeep(AnnIndex.AUTO, base, 1000, appended=200), 1000)  # replaced
    assert must_measure(Upkeep(AnnIndex.AUTO, replace(base, recall=None), 1000), 1000)


# ---------------------------------------------------------------- building and finding


@pytest.mark.parametrize("kind", [kind for kind in AnnIndex if kind not in (AnnIndex.AUTO, AnnIndex.FLAT)])
async def test_every_index_finds_what_an_exact_search_finds(bench: Bench, small: None, kind: AnnIndex) -> None:
    matrix = vectors(3_000)
    generation = await generation_of(bench, matrix, index=kind)
    assert generation.ann.index is kind
    assert generation.ann.trained_rows == 3_000
    assert generation.ann.sampled == ann.SAMPLES
    assert generation.ann.recall is not None
    assert generation.ann.recall >= 0.95
    async with bench.store.reading() as snapshot:
        assert await recall(snapshot, matrix) >= 0.95
        query = queries(matrix, 1)[0]
        scores = similarities(matrix, query[None], Metric.COSINE)[:, 0]
        for item in await search(snapshot, query, limit=20):  # scores are those of the real vectors
            assert item.score == pytest.approx(scores[number_of(item.chunk_id)], abs=1e-5)
        assert len(await search(snapshot, query, limit=3_500)) == 3_000
        assert len({item.chunk_id for item in await search(snapshot, query, limit=2_900)}) == 2_900


@pytest.mark.parametrize("metric", list(Metric))
async def test_the_index_follows_the_metric(bench: Bench, small: None, metric: Metric) -> None:
    kb = await bench.stores.knowledge_base(bench.kb.id)
    settings = replace(kb.settings, metric=metric)
    await bench.stores.catalog.update_settings(bench.kb.id, settings)
    lengths = np.random.default_rng(1).uniform(0.5, 1.5, size=(3_000, 1)).astype(np.float32)
    matrix = vectors(3_000) * lengths
    assert (await generation_of(bench, matrix)).ann.index is AnnIndex.IVF_RQ
    async with bench.store.reading() as snapshot:
        assert await recall(snapshot, matrix) >= 0.95
        query = queries(matrix, 1)[0]
        for within in (None, Within(chunk_ids=frozenset(map(chunk_id, range(40))))):
            for limit in (10, 30):
                indexed = await search(snapshot, query, limit=limit, within=within)
                exact = await search(snapshot, query, limit=limit, within=within, exact=True)
                assert indexed[0].chunk_id == exact[0].chunk_id
                assert indexed[0].score == pytest.approx(exact[0].score, abs=1e-5)


async def test_a_small_knowledge_base_has_no_index_and_gets_one_when_it_grows(bench: Bench, small: None) -> None:
    matrix = vectors(2_500)
    assert (await generation_of(bench, matrix[:1_500])).ann == AnnState()
    grown = await generation_of(bench, matrix[1_500:], first=1_500)
    assert (grown.ann.index, grown.ann.trained_rows) == (AnnIndex.IVF_RQ, 2_500)
    async with bench.store.reading(1) as snapshot:  # the older one is what it was
        assert snapshot.generation.ann == AnnState()
        assert len(await search(snapshot, matrix[0], limit=2_000)) == 1_500
    flat = await generation_of(bench, vectors(5, 9), first=2_500, index=AnnIndex.FLAT)
    assert flat.ann == AnnState()
    async with bench.store.reading() as snapshot:
        assert await snapshot.tables._chunks.index_stats(upkeep.VECTOR_INDEX) is None


# ---------------------------------------------------------------- filters


@pytest.mark.parametrize("kind", [AnnIndex.IVF_RQ, AnnIndex.HNSW_SQ, AnnIndex.FLAT])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.6])
async def test_recall_does_not_fall_under_a_filter(
    bench: Bench, small: None, monkeypatch: pytest.MonkeyPatch, kind: AnnIndex, share: float
) -> None:
    matrix = vectors(6_000 if kind is not AnnIndex.HNSW_SQ else 3_000)
    monkeypatch.setattr(nearest, "FEW_ROWS", 50)
    await generation_of(bench, matrix, index=kind)
    numbers = np.random.default_rng(3).random(len(matrix))
    passing = numbers < max(share, 12 / len(matrix))
    passing[:12] = True
    allowed = frozenset(chunk_id(int(n)) for n in np.flatnonzero(passing))
    filters = [
        Within(chunk_ids=allowed, share=share),
        Within(chunk_ids=allowed),  # nobody estimated the share
        Within(without_chunk_ids=frozenset(chunk_id(int(n)) for n in np.flatnonzero(~passing)), share=share),
    ]
    async with bench.store.reading() as snapshot:
        for named in (1_000_000, 10):  # all in the predicate, and sifted
            monkeypatch.setattr(nearest, "PREDICATE_IDS", named)
            monkeypatch.setattr(nearest, "SIFTED_ROWS", named if named > 10 else 4_000)
            for within in filters:
                assert await recall(snapshot, matrix, within, passing) >= 0.95
                for query in queries(matrix, 3):
                    found = await search(snapshot, query, limit=12, within=within)
                    assert {item.chunk_id for item in found} <= allowed
                    everything = await search(snapshot, query, limit=len(matrix), within=within)
                    assert {item.chunk_id for item in everything} == allowed


async def test_a_filter_against_the_query_still_finds_all_that_pass(bench: Bench, small: None) -> None:
    """What passes lies far from the query: no candidate of the index's own choice would be left."""
    near, far = vectors(2_000), -vectors(2_000, 5)
    await generation_of(bench, np.concatenate((near, far)))
    documents = frozenset(document_id(n) for n in range(2_000, 4_000))
    async with bench.store.reading() as snapshot:
        for within in (
            Within(document_ids=documents, share=0.5),
            Within(document_ids=documents),
            Within(document_ids=documents, chunk_ids=frozenset(map(chunk_id, range(1_990, 2_030)))),
        ):
            found = await search(snapshot, near[3], limit=30, within=within)
            assert len(found) == 30
            assert all(number_of(item.chunk_id) >= 2_000 for item in found)
        expected = truth(np.concatenate((near, far)), near[3], Metric.COSINE, np.arange(4_000) >= 2_000)
        found = await search(snapshot, near[3], within=Within(document_ids=documents, share=0.5))
        assert len({item.chunk_id for item in found} & set(expected)) >= 9


async def test_excluded_chunks_make_room_for_the_next(bench: Bench, small: None) -> None:
    matrix = vectors(2_500)
    await generation_of(bench, matrix)
    async with bench.store.reading() as snapshot:
        best = [item.chunk_id for item in await search(snapshot, matrix[5], limit=20)]
        rest = await search(snapshot, matrix[5], within=Within(without_chunk_ids=frozenset(best[:10])))
        assert [item.chunk_id for item in rest] == best[10:]
        assert await search(snapshot, matrix[5], within=Within(chunk_ids=frozenset())) == []
        hostile = Within(document_ids=frozenset(("x') OR ('1'='1", document_id(0))))
        assert len(await search(snapshot, matrix[5], limit=50, within=hostile)) == ROWS_PER_DOCUMENT


@pytest.mark.parametrize("metric", list(Metric))
async def test_only_what_is_similar_enough(bench: Bench, small: None, metric: Metric) -> None:
    kb = await bench.stores.knowledge_base(bench.kb.id)
    settings = replace(kb.settings, metric=metric)
    await bench.stores.catalog.update_settings(bench.kb.id, settings)
    matrix = vectors(2_500)
    await generation_of(bench, matrix)
    async with bench.store.reading() as snapshot:
        for state in (snapshot.generation.ann, AnnState()):
            every = await snapshot.tables.nearest(matrix[8], metric=metric, limit=50, ann=state)
            least = every[19].score
            for minimum, expected in ((least, every[:20]), (np.nextafter(least, 2.0), every[:19]), (1.5, [])):
                found = await snapshot.tables.nearest(
                    matrix[8], metric=metric, limit=50, ann=state, minimum=float(minimum)
                )
                assert found == expected
        assert every[0].score == pytest.approx(1.0, abs=1e-5)  # the row itself


# ---------------------------------------------------------------- upkeep


async def test_added_rows_are_found_through_a_delta(bench: Bench, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = vectors(2_640)
    first = await generation_of(bench, matrix[:2_500])

    async def refuse(*_: object) -> None:
        raise AssertionError("a small addition trains nothing")

    monkeypatch.setattr(upkeep, "train_vectors", refuse)
    second = await generation_of(bench, matrix[2_500:2_540], first=2_500)
    assert second.ann == first.ann  # not even measured
    async with bench.store.reading() as snapshot:
        stats = await snapshot.tables._chunks.index_stats(upkeep.VECTOR_INDEX)
        assert (stats.num_unindexed_rows, stats.num_indices) == (0, 2)
        for number in range(2_500, 2_540):
            assert (await search(snapshot, matrix[number], limit=1))[0].chunk_id == chunk_id(number)
        assert await recall(snapshot, matrix[:2_540]) >= 0.95
    await generation_of(bench, matrix[2_540:2_600], first=2_540)
    await generation_of(bench, matrix[2_600:], first=2_600)  # the fourth generation merges
    async with bench.store.reading() as snapshot:
        stats = await snapshot.tables._chunks.index_stats(upkeep.VECTOR_INDEX)
        assert (stats.num_unindexed_rows, stats.num_indices) == (0, 1)
        assert await recall(snapshot, matrix) >= 0.95


async def test_rows_that_the_index_does_not_know_are_found_too(bench: Bench, small: None) -> None:
    matrix = vectors(2_500)
    await generation_of(bench, matrix)
    async with bench.store.reading() as snapshot:
        table = snapshot.tables._chunks
        row = (await table.query().limit(1).to_arrow()).set_column(0, "chunk_id", [["new"]])
        head = await snapshot.tables._chunks.uri()
        assert head
        await table.checkout_latest()
        await table.add(row)
        vector = np.asarray(row["embedding"][0].as_py(), np.float32)
        assert "new" in {item.chunk_id for item in await search(snapshot, vector, limit=2)}


async def test_an_index_whose_recall_fell_is_learnt_anew(
    bench: Bench, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await generation_of(bench, vectors(2_500))
    poor = replace(first.ann, nprobes=1, refine_factor=2)
    await bench.stores.catalog.annotate(bench.kb.id, first.number, ann=poor)
    second = await generation_of(bench, vectors(1_000, 5), first=2_500)
    assert second.ann.trained_rows == 3_500
    assert second.ann.recall is not None
    assert second.ann.recall >= 0.95


async def test_an_index_is_learnt_anew_when_the_rows_doubled(bench: Bench, small: None) -> None:
    matrix = vectors(6_000)
    await generation_of(bench, matrix[:2_500])
    assert (await generation_of(bench, matrix[2_500:4_900], first=2_500)).ann.trained_rows == 2_500
    third = await generation_of(bench, matrix[4_900:], first=4_900)
    assert third.ann.trained_rows == 6_000
    async with bench.store.reading() as snapshot:
        assert await recall(snapshot, matrix) >= 0.95


async def test_another_index_costs_no_other_generation_its_own(bench: Bench, small: None) -> None:
    matrix = vectors(2_510)
    await generation_of(bench, matrix[:2_500], index=AnnIndex.IVF_SQ)
    second = await generation_of(bench, matrix[2_500:], first=2_500, index=AnnIndex.IVF_FLAT)
    assert second.ann.index is AnnIndex.IVF_FLAT
    async with bench.store.reading(1) as old, bench.store.reading() as new:
        assert old.generation.ann.index is AnnIndex.IVF_SQ
        for snapshot, rows in ((old, 2_500), (new, 2_510)):
            assert await recall(snapshot, matrix[:rows]) >= 0.95
    assert await bench.collect(keep_archived=0)
    async with bench.store.reading() as snapshot:
        assert await recall(snapshot, matrix) >= 0.95


async def test_index_files_belong_to_the_generation(bench: Bench, small: None) -> None:
    generation = await generation_of(bench, vectors(2_500))
    files = await bench.store.vectors.files(generation.chunks_table, generation.chunks_version)
    index = [path for path in files if "_indices" in path.parts]
    assert await asyncio.to_thread(lambda: all(path.is_file() for path in index))
    assert any(path.name == "auxiliary.idx" for path in index)  # the compressed vectors
    assert generation.own_bytes > sum(path.stat().st_size for path in index)


async def test_a_damaged_index_costs_no_results_and_is_learnt_anew(bench: Bench, small: None) -> None:
    matrix = vectors(2_700)
    first = await generation_of(bench, matrix[:2_500])
    async with bench.store.reading() as snapshot:
        best = [item.chunk_id for item in await search(snapshot, matrix[5], exact=True)]
    bench.store.release()
    for path in await bench.store.vectors.files(first.chunks_table, first.chunks_version):
        if path.name == "auxiliary.idx":
            path.unlink()
    bench.store.vectors.forget_caches()
    async with bench.store.reading() as snapshot:
        for _ in range(2):
            assert [item.chunk_id for item in await search(snapshot, matrix[5])] == best
    second = await generation_of(bench, matrix[2_500:], first=2_500)
    assert (second.ann.index, second.ann.trained_rows) == (AnnIndex.IVF_RQ, 2_700)
    async with bench.store.reading() as snapshot:
        assert await recall(snapshot, matrix) >= 0.95
        assert not snapshot.tables._index_is_damaged


async def test_vectors_by_chunk(bench: Bench) -> None:
    matrix = vectors(20)
    await generation_of(bench, matrix)
    async with bench.store.reading() as snapshot:
        found = await snapshot.tables.vectors_of([chunk_id(3), chunk_id(17), "gone"])
        assert set(found) == {chunk_id(3), chunk_id(17)}
        assert np.array_equal(found[chunk_id(17)], matrix[17])
        assert await snapshot.tables.vectors_of([]) == {}
