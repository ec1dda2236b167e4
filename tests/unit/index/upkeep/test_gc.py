"""What the collector takes and what it leaves: the policy, leases, and what is freed."""

from __future__ import annotations

import random

from studio.domain import (
    Generation,
    GenerationState,
    KbSettings,
    Retention,
)
from studio.index.upkeep import collect, plan
from tests.helpers.toy import Bench, chunk_of, states


async def gc(bench: Bench, keep: int = 0, *, dry_run: bool = False):
    bench.store.release()
    return await collect(bench.store, bench.stores.catalog, retention=Retention(keep), dry_run=dry_run)


async def test_gc_keeps_what_the_policy_says_and_drops_the_rest(bench: Bench) -> None:
    for n in range(5):
        await bench.promote(await bench.built({f"d{n}": [f"text {n}"]}))
    dry = await gc(bench, keep=2, dry_run=True)
    assert dry.deleted == ["Bench/2", "Bench/1"]
    assert len(await states(bench)) == 5
    report = await gc(bench, keep=2)
    assert (report.deleted, report.errors) == (dry.deleted, [])
    assert report.freed_bytes > 0
    assert await states(bench) == {3: "archived", 4: "archived", 5: "active"}
    assert sorted(path.name for path in bench.store.paths.lexical.iterdir()) == ["g3", "g4", "g5"]
    assert await bench.contents() == {f"text {n}" for n in range(5)}
    assert await bench.contents(3) == {f"text {n}" for n in range(3)}


async def test_gc_never_takes_a_leased_generation(bench: Bench) -> None:
    await bench.promote(await bench.built({"d1": ["old"]}))
    async with bench.store.reading() as snapshot:
        await bench.promote(await bench.built({"d2": ["new"]}))
        report = await gc(bench)
        assert report.deleted == []
        assert any(kept.generation == 1 and "reader" in kept.why for kept in report.kept)
        assert await snapshot.tables.chunks([chunk_of("d1", "old").chunk_id])
    assert (await gc(bench)).deleted == ["Bench/1"]


async def test_gc_drops_abandoned_builds_and_texts_nothing_refers_to(bench: Bench) -> None:
    generation = await bench.promote(await bench.built({"d1": ["one"]}))
    needed = bench.store.paths.texts / f"{'s' * 64}.text"
    stray = bench.store.paths.texts / "f00.text"
    needed.write_bytes(b"x")
    stray.write_bytes(b"y")
    unfinished = bench.store.paths.texts / "f00.text.0123.tmp"
    unfinished.write_bytes(b"z")
    build = await bench.begin()
    await build.abandon("given up")
    report = await gc(bench, keep=3)
    assert report.deleted == ["Bench/2"]
    assert needed.exists()
    assert not stray.exists()
    assert not unfinished.exists()
    assert await states(bench) == {generation.number: "active"}


async def test_deleted_chunks_leave_the_disk(bench: Bench) -> None:
    await bench.promote(await bench.built({"d1": [f"payload {n} " + "x" * 2000 for n in range(200)]}))
    await bench.promote(await bench.built({"d2": ["small"]}, delete=["d1"]))
    before = sum(file.stat().st_size for file in bench.store.paths.root.rglob("*") if file.is_file())
    await gc(bench)
    after = sum(file.stat().st_size for file in bench.store.paths.root.rglob("*") if file.is_file())
    assert await bench.contents() == {"small"}
    assert after < before / 4


async def test_many_small_generations_stay_few_files(bench: Bench) -> None:
    for n in range(9):
        await bench.promote(await bench.built({f"d{n}": [f"text number {n}"]}))
        await gc(bench, keep=1)
    assert await bench.contents() == {f"text number {n}" for n in range(9)}
    assert sum(1 for file in bench.store.paths.root.rglob("*") if file.is_file()) < 150


HOUR_MS = 3_600_000


def generation(number: int, state: GenerationState, *, archived_h: float = 0, own_mib: int = 1) -> Generation:
    return Generation(
        kb_id="k", number=number, state=state, parent=None, settings=KbSettings(), model=None, chunks_table="chunks",
        chunks_version=1, documents_version=1, documents=1, chunks=1, size_bytes=own_mib << 20, own_bytes=own_mib << 20,
        rows_version=1, lexical_version=1, created_ms=0, ready_ms=0, promoted_ms=0,
        archived_ms=int(archived_h * HOUR_MS), note="", held="", error="",
    )  # fmt: skip


def doomed(generations: list[Generation], retention: Retention, at_h: float = 100) -> list[int]:
    planned = plan(generations, retention, int(at_h * HOUR_MS))
    assert len(planned.doomed) + len(planned.kept) == len(generations)
    return [item.number for item in planned.doomed]


ACTIVE, ARCHIVED = GenerationState.ACTIVE, GenerationState.ARCHIVED


def test_the_policy_counts_archived_generations_only() -> None:
    assert doomed([], Retention(3)) == []
    others = [generation(9, ACTIVE), generation(8, GenerationState.BUILDING), generation(7, GenerationState.FAILED)]
    archived = [generation(number, ARCHIVED) for number in (6, 5, 4)]
    assert doomed(others + archived, Retention(2)) == [7, 4]
    assert doomed(others + archived, Retention(0)) == [7, 6, 5, 4]


def test_the_policy_spares_the_young() -> None:
    items = [generation(4, ACTIVE), *(generation(n, ARCHIVED, archived_h=30 * n) for n in (3, 2, 1))]
    assert doomed(items, Retention(0, min_age_hours=24)) == [2, 1]
    assert doomed(items, Retention(0, min_age_hours=24), at_h=114) == [3, 2, 1]


def test_the_policy_limits_what_archived_generations_take() -> None:
    items = [generation(4, ACTIVE, own_mib=50), *(generation(n, ARCHIVED, own_mib=5) for n in (3, 2, 1))]
    assert doomed(items, Retention(3, max_archived_mib=10)) == [1]
    assert doomed(items, Retention(3, max_archived_mib=4)) == [3, 2, 1]
    assert doomed(items, Retention(3)) == []


def test_a_waiting_generation_goes_once_a_newer_one_is_active() -> None:
    ready = generation(2, GenerationState.READY)
    assert doomed([generation(1, ACTIVE), ready], Retention(0)) == []
    assert doomed([generation(3, ACTIVE), ready, generation(1, ARCHIVED)], Retention(0)) == [2, 1]
    assert doomed([generation(3, ACTIVE), ready, generation(1, ARCHIVED)], Retention(1)) == [1]


async def test_a_generation_knows_what_it_shares(bench: Bench) -> None:
    first = await bench.promote(
        await bench.built({f"d{n}": [random.Random(n).randbytes(2000).hex()] for n in range(50)})
    )
    assert (first.own_bytes, first.shared_bytes) == (first.size_bytes, 0)
    second = await bench.built({"new": ["one more"]})
    assert second.shared_bytes > 0.8 * first.size_bytes
    assert 0 < second.own_bytes < 0.2 * first.size_bytes
    assert second.ready_ms is not None and second.ready_ms >= second.created_ms


async def test_a_dry_run_foretells_what_is_freed(bench: Bench) -> None:
    for round_ in range(4):
        await bench.promote(await bench.built({"d": [f"round {round_} {'y' * 5000}"]}, delete=["d"] if round_ else []))
    foretold = await gc(bench, 1, dry_run=True)
    assert await states(bench) == {4: "active", 3: "archived", 2: "archived", 1: "archived"}
    freed = await gc(bench, 1)
    assert foretold.deleted == freed.deleted == [f"{bench.kb.name}/2", f"{bench.kb.name}/1"]
    assert freed.freed_bytes > 0
    assert abs(foretold.freed_bytes - freed.freed_bytes) < 2048
    assert (await gc(bench, 1, dry_run=True)).freed_bytes == 0


async def test_a_generation_that_is_being_read_is_opened_once(bench: Bench) -> None:
    for text in ("one", "two"):
        await bench.promote(await bench.built({text: [text]}))
    async with bench.store.reading(1) as first:
        async with bench.store.reading(1) as again:
            assert again is first
        assert await bench.contents(1) == {"one"}
        async with bench.store.reading() as active:
            assert active.generation.number == 2
    assert (await gc(bench)).deleted == [f"{bench.kb.name}/1"]
