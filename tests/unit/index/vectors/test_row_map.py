"""The map of a chunks table's rows, and what is read by it: the same as is read without it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from studio.concurrency import TaskOwner
from studio.domain import AnnIndex, AnnState, Candidate, Metric, Vectors
from studio.index.generations import Snapshot
from studio.index.vectors import Within, flat_vectors, table_reader
from studio.index.vectors.flat_vectors import similarities
from studio.index.vectors.maintenance import dataset_of
from studio.index.vectors.nearest import nearest
from studio.index.vectors.passage_file import PASSAGE_COLUMNS, PassageFile, PassageWriter
from studio.index.vectors.row_map import RowMap, read_row_map
from tests.helpers.toy import Bench
from tests.unit.index.vectors.clusters import (
    chunk_id,
    document_id,
    generation_of,
    number_of,
    queries,
    search,
    truth,
    vectors,
)


async def table_of(folder: Path, ids: list[list[str]]) -> object:
    """A table with a fragment for each list."""
    db = await lancedb.connect_async(str(folder))
    schema = pa.schema(
        [
            pa.field("chunk_id", pa.utf8()),
            pa.field("document_id", pa.utf8()),
            pa.field("page_number", pa.int32()),
            pa.field("char_start", pa.int64()),
            pa.field("char_end", pa.int64()),
            *(pa.field(name, pa.utf8()) for name in PASSAGE_COLUMNS),
            pa.field("embedding", pa.list_(pa.float32(), 2)),
        ]
    )
    table = await db.create_table("chunks", schema=schema)
    for part in ids:
        columns = {"chunk_id": part, "document_id": [f"of {name}" for name in part]}
        spots = {"page_number": [None] * len(part), "char_start": [0] * len(part), "char_end": [9] * len(part)}
        texts = {name: [f"{name} of {chunk}" for chunk in part] for name in PASSAGE_COLUMNS[::2]}
        others = {"metadata": [None] * len(part), "embedding": [[1.0, len(texts)]] * len(part)}
        await table.add(pa.table({**columns, **spots, **texts, **others}, schema=schema))
    return table


async def check(table: object, expected: set[str], folder: Path) -> RowMap:
    """The map knows just these chunks, and each at the row where it is."""
    found = await read_row_map(table, folder, vector_bytes=1 << 20)
    assert found is not None
    rows = np.array(found.rows_of(expected), np.uint64)
    assert len(rows) == len(expected)
    names, documents = found.chunks_at(rows)
    assert set(names) == expected
    assert documents == [f"of {name}" for name in names]
    passages = found.chunks_in_file(expected)
    found.close()
    assert found.chunks_in_file(expected) is None
    assert passages is not None
    assert {(chunk.chunk_id, chunk.content, chunk.anchor) for chunk in passages} == {
        (name, f"content of {name}", f"anchor of {name}") for name in expected
    }
    for row, name in zip(rows[:5].tolist(), names, strict=False):
        read = await table.take_row_ids([row]).select(["chunk_id"]).to_arrow()  # type: ignore[attr-defined]
        assert read["chunk_id"].to_pylist() == [name]
    return found


async def test_rows_are_known_through_deletions_and_joined_fragments(tmp_path: Path) -> None:
    ids = [chunk_id(number) for number in range(3000)]
    table = await table_of(tmp_path, [ids[:1000], ids[1000:1100], ids[1100:]])
    await check(table, set(ids), tmp_path)

    gone = ids[50:950:3]
    await table.delete(f"chunk_id IN ({', '.join(repr(name) for name in gone)})")  # type: ignore[attr-defined]
    found = await check(table, set(ids) - set(gone), tmp_path)
    assert found.rows_of([gone[0], "e" * 32, "no id", ""]) == []

    dataset = await dataset_of(table)
    await asyncio.to_thread(dataset.optimize.compact_files, target_rows_per_fragment=5000)
    await table.checkout_latest()  # type: ignore[attr-defined]
    await check(table, set(ids) - set(gone), tmp_path)


async def test_ids_that_only_share_a_key_are_told_apart(tmp_path: Path) -> None:
    ids = ["1" * 32, "2" * 32, "0" * 32, "f" * 16 + "0" * 16, "0" * 16 + "f" * 16]
    await check(await table_of(tmp_path, [ids]), set(ids), tmp_path)


@pytest.mark.parametrize("strange", ["c1", "F" * 32, "g" * 32, "0" * 33])
async def test_there_is_no_map_of_other_ids(tmp_path: Path, strange: str) -> None:
    assert await read_row_map(await table_of(tmp_path, [[chunk_id(1), strange]]), tmp_path, vector_bytes=0) is None


async def test_an_empty_table_has_no_map(tmp_path: Path) -> None:
    assert await read_row_map(await table_of(tmp_path, []), tmp_path, vector_bytes=1 << 20) is None


async def test_a_map_that_nobody_waits_for_any_more_leaves_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = await table_of(tmp_path, [[chunk_id(1)]])
    files: list[PassageFile] = []
    finished, go_on = threading.Event(), threading.Event()
    finish = PassageWriter.finish

    def slowly(writer: PassageWriter, order: NDArray[np.intp]) -> PassageFile | None:
        file = finish(writer, order)
        assert file is not None
        files.append(file)
        finished.set()
        assert go_on.wait(30)
        return file

    monkeypatch.setattr(PassageWriter, "finish", slowly)
    owner = TaskOwner("map")
    reading = owner.start(read_row_map(table, tmp_path, vector_bytes=0), name="read")
    assert await asyncio.to_thread(finished.wait, 30)
    reading.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await owner.close()
    with pytest.raises(OSError, match="closed"):
        files[0].read(np.array([0]))


# ---------------------------------------------------------------- searching with it


async def mapped_snapshot(bench: Bench, snapshot: Snapshot) -> None:
    await snapshot.tables.prewarm()
    assert snapshot.tables._row_map is not None


async def hits(snapshot: Snapshot, matrix: Vectors) -> float:
    """Recall@10 of searches for 100 chunks."""
    found = 0
    for query in queries(matrix, 30):
        best = [item.chunk_id for item in (await search(snapshot, query, limit=100))[:10]]
        found += len(set(best) & set(truth(matrix, query, Metric.COSINE)))
    return found / 300


@pytest.mark.usefixtures("small")
async def test_a_long_list_is_estimated_and_its_beginning_compared(bench: Bench) -> None:
    matrix = vectors(4000)
    await generation_of(bench, matrix, index=AnnIndex.IVF_RQ)
    async with bench.store.reading() as snapshot:
        await mapped_snapshot(bench, snapshot)
        assert await hits(snapshot, matrix) >= 0.95
        first = snapshot.generation.ann.refine_factor * 10
        query = queries(matrix, 1)[0]
        found = await search(snapshot, query, limit=100)
        real = similarities(matrix, query[None], Metric.COSINE)[:, 0]
        assert len({item.chunk_id for item in found}) == 100
        assert all(item.document_id == document_id(number_of(item.chunk_id)) for item in found)
        assert all(abs(item.score - real[number_of(item.chunk_id)]) < 0.1 for item in found)
        compared = sorted(found, key=lambda item: abs(item.score - real[number_of(item.chunk_id)]))[:first]
        assert all(item.score == pytest.approx(real[number_of(item.chunk_id)], abs=1e-5) for item in compared)
        guessed = await snapshot.tables.nearest(
            query, metric=Metric.COSINE, limit=100, ann=snapshot.generation.ann, estimated=True
        )
        assert {item.chunk_id for item in guessed} == {item.chunk_id for item in found}
        assert [item.score for item in guessed] == sorted((item.score for item in guessed), reverse=True)
        assert all(abs(item.score - real[number_of(item.chunk_id)]) < 0.1 for item in guessed)


@pytest.mark.usefixtures("small")
async def test_chunks_are_the_same_with_and_without_it(bench: Bench) -> None:
    await generation_of(bench, vectors(300))
    wanted = [chunk_id(number) for number in (0, 7, 299, 300)]
    async with bench.store.reading() as snapshot:
        without = await snapshot.tables.passages(wanted)
        assert without == await snapshot.tables.chunks(wanted)
        await mapped_snapshot(bench, snapshot)
        bare = {name: replace(chunk, content_hash="") for name, chunk in without.items()}
        assert await snapshot.tables.passages(wanted) == bare
        assert snapshot.tables.passages_at_hand(wanted) == bare
        assert set(without) == set(wanted[:3])
        assert await snapshot.tables.passages(["gone"]) == snapshot.tables.passages_at_hand(["gone"]) == {}


async def test_passages_come_from_their_table_where_their_file_cannot_be_read(bench: Bench) -> None:
    await generation_of(bench, vectors(20))
    async with bench.store.reading() as snapshot:
        assert snapshot.tables.passages_at_hand([chunk_id(3)]) is None
        await mapped_snapshot(bench, snapshot)
        found = snapshot.tables.passages_at_hand([chunk_id(3)])
        assert found is not None
        assert snapshot.tables._row_map is not None
        snapshot.tables._row_map._passages._file.truncate(0)  # type: ignore[union-attr]
        assert snapshot.tables.passages_at_hand([chunk_id(3)]) is None
        assert await snapshot.tables.passages([chunk_id(3)]) == found


@pytest.mark.parametrize("metric", list(Metric))
async def test_vectors_without_an_index_are_compared_in_memory_as_in_the_table(bench: Bench, metric: Metric) -> None:
    kb = await bench.stores.knowledge_base(bench.kb.id)
    settings = replace(kb.settings, metric=metric)
    await bench.stores.catalog.update_settings(bench.kb.id, settings)
    matrix = 3 * vectors(1300)
    await generation_of(bench, matrix[:700])
    await generation_of(bench, matrix[700:], first=700)
    documents = frozenset(document_id(number) for number in range(0, 1300, 7))
    few = frozenset(chunk_id(number) for number in range(0, 1300, 300))
    filters = [None, Within(document_ids=documents), Within(documents, few), Within(without_chunk_ids=few)]
    asked = [(query, within, limit) for query in queries(matrix, 5) for within in filters for limit in (1, 10, 2000)]
    async with bench.store.reading() as snapshot:
        tables = snapshot.tables

        expected = await nearest_in_table(tables, asked, metric)
        await mapped_snapshot(bench, snapshot)
        assert tables._row_map is not None
        assert tables._row_map.flat is not None
        for (query, within, limit), told in zip(asked, expected, strict=True):
            found = await tables.nearest(query, metric=metric, limit=limit, within=within)
            assert {(item.chunk_id, item.document_id) for item in told} == {
                (item.chunk_id, item.document_id) for item in found
            }
            assert [item.score for item in found] == pytest.approx([item.score for item in told], abs=1e-4)


async def nearest_in_table(
    tables: table_reader.TableReader, asked: list[tuple[Vectors, Within | None, int]], metric: Metric
) -> list[list[Candidate]]:
    """What is found without a map, which is read beside the second search otherwise."""
    return [
        await nearest(
            tables._chunks, query, metric=metric, limit=limit, within=within, ann=AnnState(), exact=False
        )
        for query, within, limit in asked
    ]  # fmt: skip


@pytest.mark.usefixtures("small")
async def test_vectors_with_an_index_are_not_kept(bench: Bench) -> None:
    await generation_of(bench, vectors(1500), index=AnnIndex.IVF_RQ)
    async with bench.store.reading() as snapshot:
        await mapped_snapshot(bench, snapshot)
        assert snapshot.tables._row_map is not None
        assert snapshot.tables._row_map.flat is None


async def test_vectors_that_are_many_are_not_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_vectors, "MOST_BYTES", 20 * 4 * 33 - 1)
    await generation_of(bench, vectors(20))
    async with bench.store.reading() as snapshot:
        await mapped_snapshot(bench, snapshot)
        assert snapshot.tables._row_map is not None
        assert snapshot.tables._row_map.flat is None


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("metric", [Metric.DOT, Metric.L2])
async def test_other_metrics_are_not_estimated(bench: Bench, metric: Metric) -> None:
    kb = await bench.stores.knowledge_base(bench.kb.id)
    settings = replace(kb.settings, metric=metric)
    await bench.stores.catalog.update_settings(bench.kb.id, settings)
    matrix = vectors(3000)
    await generation_of(bench, matrix, index=AnnIndex.IVF_RQ)
    async with bench.store.reading() as snapshot:
        await mapped_snapshot(bench, snapshot)
        query = queries(matrix, 1)[0]
        found = await search(snapshot, query, limit=100)
        real = similarities(matrix, query[None], metric)[:, 0]
        assert [item.score for item in found] == pytest.approx(
            [float(real[number_of(item.chunk_id)]) for item in found], abs=1e-4
        )


@pytest.mark.usefixtures("small")
async def test_a_least_similarity_is_one_of_real_vectors(bench: Bench) -> None:
    matrix = vectors(4000)
    await generation_of(bench, matrix, index=AnnIndex.IVF_RQ)
    async with bench.store.reading() as snapshot:
        await mapped_snapshot(bench, snapshot)
        query = queries(matrix, 1)[0]
        real = similarities(matrix, query[None], Metric.COSINE)[:, 0]
        least = float(np.sort(real)[-60])
        found = await snapshot.tables.nearest(
            query, metric=Metric.COSINE, limit=100, ann=snapshot.generation.ann, minimum=least
        )
        assert found
        assert all(real[number_of(item.chunk_id)] >= least - 1e-5 for item in found)


@pytest.mark.usefixtures("small")
async def test_it_is_read_beside_the_second_search(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read = asyncio.Event()
    real = read_row_map

    async def told(table: object, folder: Path, *, vector_bytes: int) -> RowMap | None:
        try:
            return await real(table, folder, vector_bytes=vector_bytes)
        finally:
            read.set()

    monkeypatch.setattr(table_reader, "read_row_map", told)
    matrix = vectors(100)
    await generation_of(bench, matrix)
    async with bench.store.reading() as snapshot:
        await search(snapshot, matrix[0])
        assert not read.is_set()
        await search(snapshot, matrix[0])
        async with asyncio.timeout(30):
            await read.wait()


async def test_it_is_read_once_by_those_that_come_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0

    async def counted(table: object, folder: Path, *, vector_bytes: int) -> RowMap | None:
        nonlocal reads
        reads += 1
        return await read_row_map(table, folder, vector_bytes=vector_bytes)

    monkeypatch.setattr(table_reader, "read_row_map", counted)
    await generation_of(bench, vectors(100))
    async with bench.store.reading() as snapshot:
        await asyncio.gather(snapshot.tables.prewarm(), snapshot.tables.prewarm())
    assert reads == 1


def test_rows_may_be_read_in_any_order() -> None:
    rows = np.array([5, 1, 3], np.uint64)
    ids = np.array([[0, 5], [0, 1], [0, 3]], np.uint64)
    flat = flat_vectors.FlatVectors(3, 2)
    flat.add(pa.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], pa.list_(pa.float32(), 2)))
    documents = pa.array(["d5", "d1", "d3"]).dictionary_encode()
    found = RowMap(rows, ids, documents, np.zeros((3, 3), np.int32), flat=flat)
    assert found.chunks_in(np.arange(3)) == ([f"{number:032x}" for number in (1, 3, 5)], ["d1", "d3", "d5"])
    assert flat.similarities(np.array([1.0, 0.0], np.float32), Metric.COSINE).tolist() == [0.0, -1.0, 1.0]


def test_what_it_takes(tmp_path: Path) -> None:
    rows = np.arange(10_000, dtype=np.uint64)
    ids = np.random.default_rng(0).integers(0, 1 << 63, (10_000, 2)).astype(np.uint64)
    documents = pa.array([f"{row // 20:032x}" for row in range(10_000)]).dictionary_encode()
    assert RowMap(rows, ids, documents, np.zeros((10_000, 3), np.int32)).nbytes < 57 * 10_000
