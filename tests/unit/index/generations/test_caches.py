"""What the indexes keep in memory: it stays within its bound, is told, is given back, and searches do not notice."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from studio.domain import AnnIndex, Candidate
from studio.index.generations import Snapshot
from studio.index.generations import building as generations
from studio.index.generations import caches as module
from studio.index.generations.caches import IndexCaches
from studio.index.keywords import LexicalReader, LexicalWriter
from studio.index.vectors.row_map import BYTES_PER_ROW
from studio.memory import cached_bytes
from tests.helpers.toy import Bench, chunk_ids_of, chunk_of
from tests.unit.index.vectors.clusters import MODEL, generation_of, queries, recall, search, vectors

MIB = 1 << 20
SMALL = MIB // 4
ROWS = 4_000
MATRIX = vectors(ROWS)

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture
def caches(bench: Bench) -> IndexCaches:
    return bench.stores.caches


async def searched(bench: Bench) -> list[list[Candidate]]:
    """What some queries find in the active generation, by every index."""
    async with bench.store.reading() as snapshot:
        found = [await search(snapshot, query) for query in queries(MATRIX, 20)]
        found += [snapshot.lexical.search(f"word{at}", limit=10) for at in range(20)]
        await snapshot.tables.chunks([item.chunk_id for item in found[0]])
        await snapshot.tables.document_table()
        return found


async def filled(bench: Bench, index: AnnIndex = AnnIndex.IVF_FLAT) -> list[list[Candidate]]:
    """A generation that was searched until nothing more was to be kept; what the queries found."""
    await generation_of(bench, MATRIX, index=index)
    async with bench.store.reading() as snapshot:
        await snapshot.tables.prewarm()
    await searched(bench)
    return await searched(bench)


async def warmed_up(snapshot: Snapshot) -> None:
    """Wait for what is read beside the searches."""
    await asyncio.gather(*snapshot.tables._tasks._tasks)


# ---------------------------------------------------------------- bounds


async def test_nothing_is_held_before_anything_is_opened(caches: IndexCaches) -> None:
    assert caches.held() == caches.maps() == caches.mapped() == 0
    assert caches.files() == []
    await caches.drop()
    await caches.resize(MIB)
    assert caches.room() == MIB


async def test_the_bound_holds_whatever_is_searched(bench: Bench, caches: IndexCaches) -> None:
    await caches.resize(SMALL)
    await generation_of(bench, MATRIX, index=AnnIndex.IVF_FLAT)
    async with bench.store.reading() as snapshot:
        for query in queries(MATRIX, 60):
            await search(snapshot, query)
            assert caches.held() <= SMALL
        assert await recall(snapshot, MATRIX) >= 0.95


async def test_it_shrinks_and_grows_while_the_program_runs(bench: Bench, caches: IndexCaches) -> None:
    found = await filled(bench)
    large = caches.held()
    assert large > MATRIX.nbytes > SMALL
    await caches.resize(SMALL)
    assert caches.held() <= SMALL
    assert await searched(bench) == found
    assert caches.held() <= SMALL
    await caches.resize(64 * MIB)
    async with bench.store.reading() as snapshot:
        await snapshot.tables.prewarm()
    assert await searched(bench) == found
    assert caches.held() > MATRIX.nbytes


async def test_without_any_room_it_still_searches(bench: Bench, caches: IndexCaches) -> None:
    found = await filled(bench)
    await caches.resize(0)
    assert await searched(bench) == found
    assert caches.held() < 1024  # what the library's empty caches say of themselves


async def test_generations_that_are_only_looked_at_share_a_fourth(bench: Bench, caches: IndexCaches) -> None:
    first = await generation_of(bench, MATRIX, index=AnnIndex.IVF_FLAT)
    await generation_of(bench, MATRIX[:10], first=ROWS)
    await caches.resize(4 * SMALL)
    async with bench.store.reading(first.number) as snapshot:
        assert await recall(snapshot, MATRIX) >= 0.95
        assert 0 < caches.held() <= SMALL
    assert caches.held() < 1024


async def test_a_build_holds_its_share_until_it_ends(bench: Bench, caches: IndexCaches) -> None:
    await filled(bench)
    bench.store.release()
    build = await bench.begin(MODEL)
    assert caches.held() > 1024
    await build.abandon("a test")
    bench.store.vectors.forget_caches()
    assert caches.held() < 1024


# ---------------------------------------------------------------- searching meanwhile


@pytest.mark.parametrize("between", ["resize", "drop", "forget"])
async def test_searches_go_on_meanwhile(bench: Bench, caches: IndexCaches, between: str) -> None:
    expected = await filled(bench, AnnIndex.IVF_RQ)
    done = asyncio.Event()

    async def search_on() -> int:
        rounds = 0
        while not done.is_set() or rounds < 3:
            assert [ids(found) for found in await searched(bench)] == [ids(found) for found in expected]
            rounds += 1
        return rounds

    steps: dict[str, list[Callable[[], Awaitable[None]]]] = {
        "resize": [lambda: caches.resize(SMALL), lambda: caches.resize(64 * MIB)],
        "drop": [caches.drop, caches.drop],
        "forget": [_now(caches.forget), lambda: caches.resize(MIB)],
    }
    async with asyncio.TaskGroup() as group:
        searches = [group.create_task(search_on()) for _ in range(3)]
        for _ in range(4):
            for step in steps[between]:
                await step()
                await searched(bench)
        done.set()
    assert all(task.result() >= 3 for task in searches)


def _now(function: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        function()

    return call


def ids(found: list[Candidate]) -> set[str]:
    return {item.chunk_id for item in found}


async def test_a_reader_that_began_before_finishes_after(bench: Bench, caches: IndexCaches) -> None:
    expected = await filled(bench)
    async with bench.store.reading() as snapshot:
        batches = snapshot.tables.batches(["chunk_id"], rows=100)
        seen = (await anext(batches)).num_rows
        await caches.resize(SMALL)
        await caches.drop()
        async for batch in batches:
            seen += batch.num_rows
        assert seen == ROWS
        assert [await search(snapshot, query) for query in queries(MATRIX, 20)] == expected[:20]


async def test_a_table_that_is_gone_stays_open_where_it_was(bench: Bench, caches: IndexCaches) -> None:
    """Moving to another cache fails; whoever reads what is missing hears of it, not whoever resizes."""
    await filled(bench)
    folder = bench.store.paths.vectors
    folder.rename(folder.with_name("elsewhere"))
    await caches.resize(SMALL)
    await caches.drop()
    folder.with_name("elsewhere").rename(folder)
    async with bench.store.reading() as snapshot:
        assert await recall(snapshot, MATRIX) >= 0.95


# ---------------------------------------------------------------- giving back


async def test_dropping_leaves_nothing(bench: Bench, caches: IndexCaches) -> None:
    expected = await filled(bench, AnnIndex.IVF_RQ)
    before = caches.held()
    assert caches.maps() > 20 * ROWS
    await caches.drop()
    assert caches.held() < before / 4
    assert caches.maps() == 0
    async with bench.store.reading() as snapshot:
        assert snapshot.tables.documents_at_hand is None
    found = await searched(bench)
    assert [ids(one) for one in found] == [ids(one) for one in expected]


@pytest.mark.parametrize("room", [True, False])
async def test_after_dropping_the_row_map_is_read_again_where_there_is_room(
    bench: Bench, caches: IndexCaches, room: bool
) -> None:
    await filled(bench)
    if not room:
        await caches.resize(ROWS * BYTES_PER_ROW // 2)
    await caches.drop()
    await searched(bench)
    async with bench.store.reading() as snapshot:
        await warmed_up(snapshot)
        assert (snapshot.tables._row_map is not None) is room


async def test_a_bound_that_is_hardly_higher_empties_nothing(bench: Bench, caches: IndexCaches) -> None:
    await caches.resize(8 * MIB)
    await filled(bench)
    held = caches.held()
    await caches.resize(9 * MIB)
    assert caches.held() == held
    await caches.resize(8 * MIB - 1)
    assert caches.held() < held


async def test_after_dropping_it_is_warm_again_when_there_is_room(bench: Bench, caches: IndexCaches) -> None:
    await filled(bench)
    await caches.resize(SMALL)
    await caches.drop()
    await caches.resize(64 * MIB)
    async with bench.store.reading() as snapshot:
        await warmed_up(snapshot)
        assert snapshot.tables._row_map is not None
        assert caches.held() > MATRIX.nbytes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which pages of a file are in memory")
async def test_pages_of_keyword_indexes_leave_memory(bench: Bench, caches: IndexCaches) -> None:
    await filled(bench)
    mapped = caches.mapped()
    size = sum(file.stat().st_size for file in bench.store.paths.lexical.rglob("*.*"))
    assert 0 < mapped <= 2 * size
    await caches.drop()
    assert caches.mapped() < mapped
    await searched(bench)
    assert caches.mapped() > 0
    bench.store.release()
    assert caches.mapped() == 0


async def test_sizes_stand_in_where_pages_are_not_told(
    bench: Bench, caches: IndexCaches, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(bench)
    monkeypatch.setattr(module, "mapped_files", lambda pid: None)
    folder = bench.store.paths.lexical_generation(1)
    assert caches.mapped() == sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops pages of a file when it is told to")
async def test_the_page_cache_of_the_files_is_dropped(bench: Bench, caches: IndexCaches) -> None:
    await filled(bench)
    files = caches.files()
    names = {file.relative_to(bench.store.paths.root).parts[0] for file in files}
    assert names == {"vectors", "lexical"}
    for file in files:
        assert file.read_bytes() or file.stat().st_size == 0
    before = cached_bytes(files) or 0
    assert before > MATRIX.nbytes
    await caches.drop()
    assert (cached_bytes(caches.files()) or 0) < before / 2


async def test_an_archived_generation_leaves_nothing(bench: Bench, caches: IndexCaches) -> None:
    await filled(bench)
    held, maps = caches.held(), caches.maps()
    assert held > MATRIX.nbytes
    build = await bench.begin(MODEL, from_scratch=True)
    chunk = chunk_of("d", "one")
    await build.add_chunks([chunk], MATRIX[:1])
    await bench.promote(await bench.store.seal(build))
    del build
    async with bench.store.reading(1) as old:
        async with bench.store.reading() as new:
            assert new.generation.number == 2
            assert old.generation.number == 1
            assert caches.held() >= held  # somebody still reads it
            assert caches.maps() >= maps
            assert await recall(old, MATRIX) >= 0.95
        first = bench.store.paths.lexical_generation(1)
        assert first / "meta.json" in caches.files()
    assert caches.held() < held / 4
    assert caches.maps() < maps / 4
    assert all(first not in file.parents for file in caches.files())
    assert caches.mapped() < 64 * 1024


async def test_the_next_generation_is_warmed_up_like_the_last(bench: Bench, caches: IndexCaches) -> None:
    await filled(bench)
    await generation_of(bench, MATRIX[:10], first=ROWS, index=AnnIndex.IVF_FLAT)
    async with bench.store.reading() as snapshot:
        assert snapshot.generation.number == 2
        await warmed_up(snapshot)
        assert snapshot.tables._row_map is not None
        assert caches.held() > MATRIX.nbytes


async def test_another_knowledge_base_moves_along(bench: Bench, caches: IndexCaches) -> None:
    other = await Bench.create(bench.stores, "Other")
    await other.promote(await other.built({"a": ["alpha"]}))
    await filled(bench)
    async with other.store.reading() as snapshot:
        assert snapshot.tables.cache is await caches.main()
    bench.store.release()
    async with other.store.reading() as snapshot:
        assert snapshot.tables.cache is await caches.main()
        assert await chunk_ids_of(snapshot.tables) == snapshot.lexical.chunk_ids()
    assert caches.held() < MATRIX.nbytes / 2


# ---------------------------------------------------------------- reading ahead


async def prewarmed(bench: Bench) -> Snapshot:
    async with bench.store.reading() as snapshot:
        await snapshot.tables.prewarm()
        return snapshot


async def test_what_does_not_fit_is_not_read_ahead(bench: Bench, caches: IndexCaches) -> None:
    await generation_of(bench, MATRIX, index=AnnIndex.IVF_FLAT)
    await caches.resize(ROWS * BYTES_PER_ROW // 2)
    snapshot = await prewarmed(bench)
    assert snapshot.tables._row_map is None
    assert caches.held() < MATRIX.nbytes / 4

    await caches.resize(MATRIX.nbytes)
    snapshot = await prewarmed(bench)
    assert snapshot.tables._row_map is not None  # the map fits, the index does not
    assert caches.held() < MATRIX.nbytes / 2

    await caches.resize(64 * MIB)
    await prewarmed(bench)
    assert caches.held() > MATRIX.nbytes


# ---------------------------------------------------------------- builds


async def test_builds_write_in_small_parts_when_they_are_told_to(
    bench: Bench, caches: IndexCaches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "SMALL_WRITE", 10)
    monkeypatch.setattr(generations, "CHUNKS_PER_COMMIT", 30)
    build = await bench.begin()
    texts = [f"text {number}" for number in range(10)]
    await bench.add(build, "a", texts)
    assert await build.tables._chunks.count_rows() == 0
    caches.small_builds = True
    for name in "bcd":
        await bench.add(build, name, texts)
    assert await build.tables._chunks.count_rows() == 40
    assert LexicalReader(bench.store.paths.lexical_generation(1), "en").chunks == 30
    caches.small_builds = False
    await bench.add(build, "e", texts)
    assert await build.tables._chunks.count_rows() == 40
    await bench.promote(await bench.store.seal(build))
    assert len(await bench.contents()) == 10
    assert len(await chunk_ids(bench)) == 50


async def chunk_ids(bench: Bench) -> list[str]:
    async with bench.store.reading() as snapshot:
        return await chunk_ids_of(snapshot.tables)


async def test_the_heap_of_a_writer_is_that_of_its_beginning(
    bench: Bench, caches: IndexCaches, monkeypatch: pytest.MonkeyPatch
) -> None:
    heaps: list[int] = []
    opened = LexicalWriter.__init__

    def noted(self: LexicalWriter, *args: object, heap_bytes: int, **options: object) -> None:
        heaps.append(heap_bytes)
        opened(self, *args, heap_bytes=heap_bytes, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LexicalWriter, "__init__", noted)
    for size in (24 * MIB, 1):  # one that the library would refuse becomes the smallest that it takes
        caches.lexical_heap_bytes = size
        await bench.promote(await bench.built({f"d{size}": ["alpha", "beta"]}))
    assert heaps == [24 * MIB, 1]
    assert len(await chunk_ids(bench)) == 4


def test_paths_of_keyword_indexes(tmp_path: Path) -> None:
    assert module._is_lexical(tmp_path / "kb1" / "lexical" / "g1" / "x.term", tmp_path)
    assert not module._is_lexical(tmp_path / "kb1" / "vectors" / "g1" / "x.lance", tmp_path)
    assert not module._is_lexical(Path("/elsewhere/lexical/g1/x.term"), tmp_path)
