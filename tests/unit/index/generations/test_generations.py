"""Building, reading and promoting generations: both halves together, or not at all."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studio.domain import (
    CONTEXT,
    GenerationState,
    Metric,
    ModelIdentity,
)
from studio.errors import Busy, Conflict, InvariantViolated, NotFound, StorageFault
from studio.index.files import try_lock
from studio.index.vectors import Within, readable_embeddings, rows
from studio.index.vectors.predicates import sql_text
from tests.helpers.catalog_sql import catalog_sql
from tests.helpers.toy import DIMENSION, MODEL, Bench, chunk_of, contents_of, record_of, states, vector_of


async def test_a_generation_is_searchable_on_both_sides_after_promotion(bench: Bench) -> None:
    generation = await bench.built({"d1": ["alpha beta", "gamma"], "d2": ["delta's quote"]})
    assert (generation.state, generation.chunks, generation.documents) == (GenerationState.READY, 3, 2)
    with pytest.raises(NotFound, match="empty"):
        async with bench.store.reading():
            pass
    await bench.promote(generation)
    async with bench.store.reading() as snapshot:
        hits = await snapshot.tables.nearest(vector_of("gamma"), metric=Metric.COSINE, limit=3)
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        found = await snapshot.tables.chunks([hits[0].chunk_id])
        assert found[hits[0].chunk_id] == chunk_of("d1", "gamma", 1000)
        (hit,) = snapshot.lexical.search("quote", limit=3)
        assert hit.chunk_id == chunk_of("d2", "delta's quote").chunk_id
        assert [record.document_id for record in await snapshot.tables.documents()] == ["d1", "d2"]


async def test_metrics_agree_on_unit_vectors(bench: Bench) -> None:
    await bench.promote(await bench.built({"d": [f"text {n}" for n in range(20)]}))
    async with bench.store.reading() as snapshot:
        query = vector_of("text 7")
        results = [await snapshot.tables.nearest(query, metric=metric, limit=5) for metric in Metric]
    first, *others = [[(hit.chunk_id, pytest.approx(hit.score, abs=1e-4)) for hit in hits] for hits in results]
    assert all([hit[0] for hit in other] == [hit[0] for hit in first] for other in others)
    assert all(other == first for other in others)


async def test_vector_search_can_be_limited_to_documents(bench: Bench) -> None:
    await bench.promote(await bench.built({"d1": ["one", "two"], "d'2": ["three"]}))
    async with bench.store.reading() as snapshot:
        hits = await snapshot.tables.nearest(
            vector_of("one"), metric=Metric.COSINE, limit=5, within=Within(frozenset(("d'2",)))
        )
        assert [hit.chunk_id for hit in hits] == [chunk_of("d'2", "three").chunk_id]
        assert (
            await snapshot.tables.nearest(vector_of("one"), metric=Metric.COSINE, limit=5, within=Within(frozenset()))
            == []
        )


async def test_a_reader_stays_on_its_generation_while_others_are_promoted(bench: Bench) -> None:
    await bench.promote(await bench.built({"d1": ["old"]}))
    async with bench.store.reading() as snapshot:
        await bench.promote(await bench.built({"d2": ["new"]}, delete=["d1"]))
        assert {content for _, _, content in await contents_of(snapshot.tables)} == {"old"}
        assert [hit.chunk_id for hit in snapshot.lexical.search("old", limit=1)]
        assert await bench.contents() == {"new"}


async def test_an_abandoned_build_leaves_no_trace(bench: Bench) -> None:
    await bench.promote(await bench.built({"d1": ["kept"]}))
    build = await bench.begin()
    await bench.add(build, "d2", ["half done"])
    await build.flush()
    await build.delete_documents(["d1"])
    await build.abandon("stopped by the test")
    assert await bench.contents() == {"kept"}
    generation = await bench.built({"d3": ["third"]})
    assert generation.parent == 1
    await bench.promote(generation)
    assert await bench.contents() == {"kept", "third"}
    assert await states(bench) == {1: "archived", 2: "failed", 3: "active"}


async def test_a_build_after_a_rollback_continues_from_the_active_generation(bench: Bench) -> None:
    first = await bench.promote(await bench.built({"d1": ["one"]}))
    await bench.promote(await bench.built({"d2": ["two"]}))
    await bench.promote(first)
    assert await bench.contents() == {"one"}
    await bench.promote(await bench.built({"d3": ["three"]}))
    assert await bench.contents() == {"one", "three"}
    assert await bench.contents(2) == {"one", "two"}


async def test_an_interrupted_build_is_discarded_by_the_next_one(bench: Bench) -> None:
    await bench.promote(await bench.built({"d1": ["kept"]}))
    build = await bench.begin()
    await bench.add(build, "d2", ["lost"])
    await build.flush()
    build.lexical.abandon()  # as if the process had died: the catalog still says "building"
    await bench.promote(await bench.built({"d3": ["next"]}))
    assert await states(bench) == {1: "archived", 2: "failed", 3: "active"}
    assert await bench.contents() == {"kept", "next"}


async def test_halves_that_differ_are_never_made_ready(bench: Bench) -> None:
    build = await bench.begin()
    await bench.add(build, "d1", ["one", "two"])
    await build.flush()
    build.lexical.add([chunk_of("d9", "stray")])
    with pytest.raises(InvariantViolated, match="2 vectors but 3 keyword"):
        await bench.store.seal(build)
    assert await states(bench) == {1: "building"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
async def test_bad_vectors_are_refused_before_they_are_written(bench: Bench, bad: float) -> None:
    build = await bench.begin()
    await build.add_chunks([chunk_of("d", "text")], np.full((1, DIMENSION), bad, np.float32))
    with pytest.raises(InvariantViolated, match="not finite or has no length"):
        await build.flush()
    await build.abandon("bad vector")


async def test_wrong_dimension_is_refused(bench: Bench) -> None:
    build = await bench.begin()
    await build.add_chunks([chunk_of("d", "text")], np.ones((1, DIMENSION + 1), np.float32))
    with pytest.raises(InvariantViolated, match="shape"):
        await build.flush()
    await build.abandon("bad shape")


async def test_models_never_share_a_table(bench: Bench) -> None:
    first = await bench.promote(await bench.built({"d1": ["one"]}))
    other = ModelIdentity("other", "b" * 64, 4, "cls")
    build = await bench.begin(other, from_scratch=True)
    await build.add_chunks([chunk_of("d1", "one")], np.ones((1, 4), np.float32))
    await build.add_record(record_of("d1", "/docs/d1.txt"))
    second = await bench.promote(await bench.store.seal(build))
    assert (first.chunks_table, second.chunks_table) == ("chunks", "chunks_bbbbbbbb")
    assert await bench.contents() == {"one"}
    await bench.promote(first)
    async with bench.store.reading() as snapshot:
        assert snapshot.generation.model == MODEL
        assert await snapshot.tables.nearest(vector_of("one"), metric=Metric.COSINE, limit=1)


async def test_one_writer_at_a_time_also_across_processes(bench: Bench) -> None:
    with await bench.store.lock_for_writing("Bench"):
        with pytest.raises(Busy, match="Bench"):
            await bench.store.lock_for_writing("Bench")
        code = (
            "import sys, pathlib; from studio.index.files import try_lock;"
            "sys.exit(0 if try_lock(pathlib.Path(sys.argv[1]), shared=False) is None else 1)"
        )
        path = str(bench.store.paths.writer_lock)
        assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 0
    (await bench.store.lock_for_writing("Bench")).release()


async def test_a_missing_lexical_directory_is_a_clear_fault(bench: Bench) -> None:
    generation = await bench.promote(await bench.built({"d1": ["one"]}))
    shutil.rmtree(bench.store.paths.lexical_generation(generation.number))
    with pytest.raises(StorageFault, match="keyword index"):
        async with bench.store.reading() as snapshot:
            snapshot.lexical.search("one", limit=1)
    with try_lock(bench.store.paths.lease(generation.number), shared=False) as free:
        assert free is not None


async def test_concurrent_readers_share_one_open_generation(bench: Bench) -> None:
    await bench.promote(await bench.built({"d1": ["one"]}))

    async def read() -> int:
        async with bench.store.reading() as snapshot:
            await asyncio.sleep(0)
            return id(snapshot)

    await read()
    assert len({*await asyncio.gather(*(read() for _ in range(8)))}) == 1


def test_sql_literals_cannot_be_broken_out_of() -> None:
    assert sql_text("a' OR '1'='1") == "'a'' OR ''1''=''1'"


async def test_hostile_ids_stay_data(bench: Bench, tmp_path: Path) -> None:
    name = "x' OR 1=1 --"
    await bench.promote(await bench.built({name: ["one"], "d2": ["two"]}))
    async with bench.store.reading() as snapshot:
        assert [record.document_id for record in await snapshot.tables.documents([name])] == [name]
    await bench.promote(await bench.built({}, delete=[name]))
    assert await bench.contents() == {"two"}


async def test_embeddings_are_known_by_what_was_embedded(bench: Bench) -> None:
    plain = chunk_of("d", "the same words")
    titled = replace(plain, chunk_id="titled", char_start=900, metadata={CONTEXT: "A title"})
    build = await bench.begin()
    await build.add_chunks([plain, titled], np.stack([vector_of(item.indexed_text) for item in (plain, titled)]))
    await build.add_record(record_of("d", "/docs/d.txt", 2))
    done = await bench.promote(await bench.store.seal(build))
    wanted = {rows.embedding_key(item.content_hash, item.context): item.indexed_text for item in (plain, titled)}
    assert plain.content_hash in wanted and len(wanted) == 2
    table = bench.store.paths.vectors / f"{done.chunks_table}.lance"
    async with bench.store.reading() as snapshot:
        for found in (
            await snapshot.tables.embeddings_of(["d"]), await readable_embeddings(table, done.chunks_version)
        ):  # fmt: skip
            assert found.keys() == wanted.keys()
            assert all(np.array_equal(found[key], vector_of(text)) for key, text in wanted.items())
        assert {text for _, _, text in await contents_of(snapshot.tables)} == set(wanted.values())


async def test_a_generation_of_a_newer_program_is_refused(bench: Bench) -> None:
    done = await bench.promote(await bench.built({"d": ["text"]}))
    catalog_sql(bench.stores.paths, "UPDATE generation SET rows_version = 99 WHERE number = ?", (done.number,))
    with pytest.raises(StorageFault, match="newer version"):
        await bench.contents()
    with pytest.raises(StorageFault, match="newer version"):
        await bench.begin()


async def test_a_build_is_refused_when_another_generation_became_active(bench: Bench) -> None:
    """What was planned against one generation must not be built on another."""
    await bench.promote(await bench.built({"d": ["one"]}))
    seen = await bench.stores.knowledge_base(bench.kb.id)
    await bench.promote(await bench.built({"e": ["two"]}))
    with pytest.raises(Conflict, match="made active"):
        await bench.store.begin(seen, MODEL, note="test")
    assert await states(bench) == {2: "active", 1: "archived"}
