"""Tuning on a knowledge base of made-up vectors, and what another index of the same content costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from studio.documents.pool import ParserPool
from studio.domain import (
    AnnIndex,
    AnnState,
    Chunk,
    DocumentRecord,
    DocumentStatus,
    Generation,
    Metric,
    PageCounts,
    Retention,
)
from studio.errors import Busy, InvalidRequest, NotFound
from studio.index.files import try_lock
from studio.index.generations import Stores
from studio.index.upkeep import collect
from studio.index.vectors import ann
from studio.paths import DataPaths
from studio.services.health import TuningService, tuning
from studio.services.health.tuning import TuningRow, choose
from tests.helpers.ward import MODEL, ToyEmbedder, Ward

ROWS = 2_400


@pytest_asyncio.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    stores = await Stores.open(DataPaths(tmp_path / "data"))
    parser = ParserPool(1)
    (tmp_path / "files").mkdir()
    yield Ward(stores, ToyEmbedder(), parser, tmp_path / "files")
    await parser.close()
    await stores.close()


async def filled(ward: Ward, rows: int = ROWS) -> Generation:
    """An active generation of random vectors; one document."""
    kb = await ward.library.create("Care", ward.library.default_settings())
    ward.kb_id = kb.id
    build = await ward.store.begin(kb, MODEL.identity, note="test")
    chunks = [Chunk(f"c{n}", "d", f"word{n % 50}", f"h{n}", None, "", n, n + 1) for n in range(rows)]
    vectors = np.random.default_rng(0).normal(size=(rows, MODEL.dimension)).astype(np.float32)
    await build.add_chunks(chunks, vectors)
    await build.add_record(
        DocumentRecord(
            "d", "/docs/d.txt", "", 1, 1, "text", "D", "", "", "", 0, PageCounts(), rows, DocumentStatus.INDEXED, "", ""
        )
    )
    generation = await ward.store.seal(build)
    return await ward.stores.catalog.promote(kb.id, generation.number)


def service(ward: Ward) -> TuningService:
    return TuningService(ward.stores, ward.ingest)


async def collected(ward: Ward) -> None:
    ward.store.release()
    report = await collect(ward.store, ward.stores.catalog, retention=Retention(), dry_run=False)
    assert not report.errors


def row(index: AnnIndex, recall: float, p50: float, size: int) -> TuningRow:
    return TuningRow(index, 20, 10, 0, recall, p50, 2 * p50, 1.0, size)


def test_the_fastest_that_reaches_the_target_is_chosen_and_of_equals_the_smallest() -> None:
    quick, equal = row(AnnIndex.HNSW_SQ, 0.96, 1.0, 900), row(AnnIndex.IVF_RQ, 0.95, 1.05, 10)
    careless, slow = row(AnnIndex.IVF_SQ, 0.94, 0.1, 1), row(AnnIndex.FLAT, 1.0, 9.0, 0)
    assert choose([quick, careless, slow], 0.95) is quick
    assert choose([quick, equal, careless, slow], 0.95) is equal
    assert choose([careless, quick, slow], 0.99) is slow
    assert choose([careless], 0.95) is None


async def test_a_choice_is_measured_on_a_clone_and_built_into_a_new_generation(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await filled(ward)
    assert first.ann == AnnState()
    before = await ward.prints(1)
    told: list[str] = []
    found = await service(ward).tune(
        "care", indexes=[AnnIndex.IVF_FLAT, AnnIndex.IVF_SQ], samples=20, apply=False, progress=told.append
    )
    assert (found.kb, found.rows, found.target, found.generation) == ("Care", ROWS, 0.95, None)
    assert {item.index for item in found.table} == {AnnIndex.IVF_FLAT, AnnIndex.IVF_SQ}
    assert all(item.bytes > 0 and item.build_s >= 0 and item.p95_ms >= item.p50_ms > 0 for item in found.table)
    assert found.chosen in found.table
    assert found.chosen is not None
    assert found.chosen.recall >= 0.95
    assert any("recall" in text for text in told)
    assert await ward.prints(1) == before
    assert not ward.store.paths.tuning.exists()
    assert len(await ward.generations()) == 1

    monkeypatch.setattr(tuning, "choose", lambda table, _: table[-1])
    applied = await service(ward).tune("care", indexes=[AnnIndex.IVF_SQ], samples=20)
    assert applied.chosen is not None
    active = await ward.active()
    assert applied.generation == active.number == 2
    assert active.settings == replace(first.settings, index=AnnIndex.IVF_SQ)
    state = AnnState(
        AnnIndex.IVF_SQ, ROWS, applied.chosen.nprobes, applied.chosen.refine_factor, 0, applied.chosen.recall, 20
    )
    assert active.ann == state
    assert ward.toy.embedded == 0
    assert (await ward.library.get("care")).settings.index is AnnIndex.IVF_SQ


async def test_parameters_of_the_same_index_apply_without_a_new_generation(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ann, "AUTO_ROWS", 2_000)
    first = await filled(ward)
    assert first.ann.index is AnnIndex.IVF_RQ
    chosen = TuningRow(AnnIndex.IVF_RQ, 2, 30, 0, 0.99, 1.0, 1.0, 1.0, 1)
    monkeypatch.setattr(tuning, "choose", lambda *_: chosen)
    async with ward.store.reading() as snapshot:
        assert snapshot.generation.ann == first.ann
    found = await service(ward).tune("care", indexes=[AnnIndex.IVF_RQ], samples=10)
    assert found.generation is None
    assert len(await ward.generations()) == 1
    async with ward.store.reading() as snapshot:  # what was open is not what is searched
        assert snapshot.generation.ann == AnnState(AnnIndex.IVF_RQ, ROWS, 2, 30, 0, 0.99, 10)
    assert (await ward.library.get("care")).settings.index is AnnIndex.AUTO


async def test_few_vectors_are_compared_one_by_one(ward: Ward) -> None:
    await filled(ward, 300)
    found = await service(ward).tune("care", indexes=[AnnIndex.IVF_RQ, AnnIndex.HNSW_SQ], samples=500)
    assert [(item.index, item.recall, item.bytes) for item in found.table] == [(AnnIndex.FLAT, 1.0, 0)]
    assert found.chosen == found.table[0]
    assert len(await ward.generations()) == 1


async def test_what_cannot_be_tuned_is_refused(ward: Ward) -> None:
    await ward.library.create("Empty")
    with pytest.raises(NotFound, match="empty"):
        await service(ward).tune("empty")
    await filled(ward, 300)
    for recall, indexes, samples in ((0.0, [AnnIndex.FLAT], 5), (1.1, [AnnIndex.FLAT], 5), (0.9, [], 5)):
        with pytest.raises(InvalidRequest):
            await service(ward).tune("care", recall=recall, indexes=indexes, samples=samples)
    with pytest.raises(InvalidRequest):
        await service(ward).tune("care", samples=0)
    lock = try_lock(ward.store.paths.tuning_lock, shared=False)
    assert lock is not None
    with lock, pytest.raises(Busy):
        await service(ward).tune("care")


async def test_a_cancelled_or_killed_tuning_leaves_nothing(ward: Ward) -> None:
    await filled(ward)
    begun = asyncio.Event()

    def told(text: str) -> None:
        if text.startswith("Building"):
            begun.set()

    async def tune() -> None:
        await service(ward).tune("care", indexes=[AnnIndex.HNSW_FLAT], samples=10, progress=told)

    task = asyncio.ensure_future(tune())
    await begun.wait()
    assert ward.store.paths.tuning.exists()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ward.store.paths.tuning.exists()

    dead = ward.store.paths.tuning / "dead"
    dead.mkdir(parents=True)
    await collected(ward)
    assert not ward.store.paths.tuning.exists()
    dead.mkdir(parents=True)
    lock = try_lock(ward.store.paths.tuning_lock, shared=False)
    assert lock is not None
    with lock:
        await collected(ward)
    assert dead.exists()  # somebody is at work there


# ---------------------------------------------------------------- another index


async def test_another_index_of_the_same_content_embeds_nothing(ward: Ward) -> None:
    first = await filled(ward)
    settings = replace(first.settings, index=AnnIndex.IVF_FLAT)
    assert settings.same_content(first.settings)
    assert not replace(settings, metric=Metric.L2).same_content(first.settings)
    assert await ward.ingest.build_index("care") is None
    await ward.library.change_settings("care", settings)
    report = await ward.ingest.build_index("care")
    assert report is not None
    assert (report.generation, report.promoted, report.embedded) == (2, True, 0)
    assert (await ward.active()).ann.index is AnnIndex.IVF_FLAT
    assert (await ward.active()).chunks == ROWS
    assert await ward.ingest.build_index("care") is None
    assert ward.toy.embedded == 0


async def test_an_ingest_after_a_change_of_the_index_rebuilds_nothing(ward: Ward) -> None:
    await ward.fill()
    embedded = ward.toy.embedded
    kb = await ward.library.get("Care")
    await ward.library.change_settings(kb.id, replace(kb.settings, index=AnnIndex.HNSW_SQ))
    (ward.folder / "new.txt").write_text("A kite needs wind, a string and somebody who runs along the beach.")
    report = await ward.ingest.ingest(kb.id, [ward.folder])
    assert report.generation == 4
    assert (await ward.active()).settings.index is AnnIndex.HNSW_SQ
    assert 0 < ward.toy.embedded - embedded <= 4
    await ward.library.change_settings(kb.id, replace(kb.settings, chunk_tokens=20))
    assert await ward.ingest.build_index(kb.id) is None  # the next ingest rebuilds it all


async def test_an_index_waits_for_the_writer(ward: Ward) -> None:
    first = await filled(ward)
    await ward.library.change_settings("care", replace(first.settings, index=AnnIndex.IVF_SQ))
    waiting = asyncio.Event()
    with await ward.store.lock_for_writing("Care"):
        task = asyncio.create_task(ward.ingest.build_index("care", lambda progress: progress.paused and waiting.set()))
        await waiting.wait()
        assert not task.done()
    report = await task
    assert report is not None
    assert report.generation is not None
