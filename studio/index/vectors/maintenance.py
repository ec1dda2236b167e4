"""Upkeep of Lance tables through pylance: indexes and their deltas, compaction, clean-up, which files a version needs.

`AsyncTable.optimize()` is not used: it would also prune, and raises once a tagged version is older than a week.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import shutil
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from studio.concurrency import run_to_end
from studio.domain import AnnIndex, AnnState, Metric, Vectors
from studio.index.vectors.ann import (
    BITS_PER_DIMENSION,
    Upkeep,
    has_drifted,
    ladder,
    must_measure,
    must_train,
    partitions,
    resolve,
    samples_per_partition,
    sub_vectors,
)
from studio.index.vectors.fragments import embeddings_without_manifest
from studio.index.vectors.lance_internals import READ_AHEAD_VARIABLE, VERSION_HINT, data_bytes, is_panic
from studio.index.vectors.recall import climb, measure, yardstick
from studio.index.vectors.rows import ROWS_PER_TURN, embedding_keys, matrix_of, sound_rows
from studio.memory import give_back, use_system_heap

_ROWS_PER_FRAGMENT = 10_000
"""Smaller fragments are joined. What a merge may have to write again is one such fragment. Reading the 100 rows that a
search of 100,000 compares takes a third longer from fragments of 4,096 rows, and no less from ones of 100,000."""

VECTOR_INDEX = "embedding_idx"

log = logging.getLogger(__name__)

_READ_AHEAD_BYTES = 32 << 20
"""How far a scan of a table may be ahead of the taker of its rows; the library's own is 2 GB."""
_INDEX_CACHE_BYTES = 32 << 20
_METADATA_CACHE_BYTES = 16 << 20
"""Of a dataset, which is opened for one call; the library's own are 6 GB and 1 GB."""


async def index_scalars(table: Any, columns: Sequence[str]) -> None:
    """Give each column a BTree index that has none; an empty table cannot have one."""
    btree = (await asyncio.to_thread(importlib.import_module, "lancedb.index")).BTree
    if await table.count_rows() == 0:
        return
    indexed = {column for index in await table.list_indices() for column in index.columns}
    for column in columns:
        if column not in indexed:
            await table.create_index(column, config=btree())


async def maintain(table: Any, *, merge: bool) -> None:
    """Index what was added by a delta; with `merge` make one index of the deltas and join small fragments."""
    dataset = await dataset_of(table)
    if merge and await asyncio.to_thread(_has_room, Path(dataset.uri)):
        await asyncio.to_thread(
            dataset.optimize.compact_files,
            target_rows_per_fragment=_ROWS_PER_FRAGMENT,
            materialize_deletions_threshold=0.5,
        )
    if await table.list_indices():
        await asyncio.to_thread(dataset.optimize.optimize_indices, num_indices_to_merge=1000 if merge else 0)
    await table.checkout_latest()
    if merge:
        await asyncio.to_thread(give_back)


def _has_room(table: Path) -> bool:
    """Whether all of a table, which is its directory, could be written once more: its fragments stay until then."""
    if shutil.disk_usage(table).free > 2 * data_bytes(table):
        return True
    log.warning("small fragments of %s are not joined: the disk is almost full", table)
    return False


async def maintain_vectors(table: Any, metric: Metric, dimension: int, upkeep: Upkeep, *, merge: bool) -> AnnState:
    """`maintain` for a table of vectors: its index is extended, or learnt anew where it does not fit any more.

    Learning takes some 3 s per 100,000 rows of 384 dimensions for the IVF types and over a minute for the graphs.
    """
    rows = await table.count_rows()
    present = VECTOR_INDEX in {index.name for index in await table.list_indices()}
    kind = resolve(upkeep.wanted, rows, dimension, upkeep.base.index)
    if kind is not AnnIndex.FLAT and not must_train(upkeep, kind, rows, present=present):
        extended = await _extended(table, metric, upkeep, rows, merge=merge)
        if extended is not None:
            return extended
    if present:
        await table.checkout_latest()
        await table.drop_index(VECTOR_INDEX)
    await maintain(table, merge=merge)
    if kind is AnnIndex.FLAT:
        return AnnState()
    await train_vectors(table, kind, metric, dimension, rows)
    await asyncio.to_thread(give_back)  # some hundred MB, which the next step would take anew
    against = await yardstick(table, metric)
    await asyncio.to_thread(give_back)
    return await climb(table, against, ladder(kind, rows))


async def _extended(table: Any, metric: Metric, upkeep: Upkeep, rows: int, *, merge: bool) -> AnnState | None:
    """The index with the new rows in it; None where it finds too little by now, or is damaged."""
    try:
        await maintain(table, merge=merge)
        if not must_measure(upkeep, rows):
            return upkeep.base
        found = (await measure(table, await yardstick(table, metric), upkeep.base)).state
    except Exception:  # what a damaged file makes the library raise has no common type; a full disk is told by the next
        log.warning("the vector index could not be extended and is learnt anew", exc_info=True)
        return None
    return None if has_drifted(found) else found


async def train_vectors(table: Any, kind: AnnIndex, metric: Metric, dimension: int, rows: int) -> None:
    """Give a table a vector index of its own rows, in place of the one it may have."""
    classes = await asyncio.to_thread(importlib.import_module, "lancedb.index")
    name = "".join(part.capitalize() for part in kind.value.split("_"))
    parts = partitions(kind, rows)
    options: dict[str, Any] = {
        "distance_type": metric.value,
        "num_partitions": parts,
        "sample_rate": samples_per_partition(parts, dimension),
    }
    if kind is AnnIndex.IVF_RQ:
        options["num_bits"] = BITS_PER_DIMENSION
    if kind in (AnnIndex.IVF_PQ, AnnIndex.HNSW_PQ):
        options["num_sub_vectors"] = sub_vectors(dimension)
    await table.create_index("embedding", config=getattr(classes, name)(**options), name=VECTOR_INDEX)


async def index_bytes(table: Any) -> int:
    """Bytes of a table's vector index on disk, 0 without one."""
    return sum(index.size_bytes or 0 for index in await table.list_indices() if index.name == VECTOR_INDEX)


async def added_rows(table: Any, version: int | None, columns: Sequence[str]) -> AsyncGenerator[Any, None]:
    """These columns, as Arrow record batches, of the fragments that a version of the table (None: no rows) lacks."""
    dataset = await dataset_of(table)

    def fragments() -> list[Any]:
        before = dataset.checkout_version(version).get_fragments() if version is not None else []
        known = {fragment.fragment_id for fragment in before}
        return [fragment for fragment in dataset.get_fragments() if fragment.fragment_id not in known]

    for fragment in await asyncio.to_thread(fragments):
        for batch in (await asyncio.to_thread(fragment.to_table, columns=list(columns))).to_batches(ROWS_PER_TURN):
            yield batch


async def clean_up_versions(table: Any, *, remove_orphans: bool) -> None:
    """Delete the versions that no tag holds; with `remove_orphans` also files of commits that never happened."""
    dataset = await dataset_of(table)
    await asyncio.to_thread(
        dataset.cleanup_old_versions,
        older_than=timedelta(0),
        error_if_tagged_old_versions=False,
        delete_unverified=remove_orphans,
    )


async def files_of_version(table: Any, version: int, root: Path) -> list[Path]:
    """Every file that a version of the table needs, its manifest included; `root` is the table's directory."""
    dataset = await dataset_of(table)

    def read() -> list[Path]:
        tracked = dataset.tracked_files(min_version=version).read_all()
        rows = zip(tracked["version"].to_pylist(), tracked["path"].to_pylist(), strict=True)
        return [root / VERSION_HINT, *(root / path for number, path in rows if number == version)]

    return await asyncio.to_thread(read)


async def load_library() -> Any:
    """Import lancedb in a thread (seconds at first use). Returns the module."""
    await asyncio.to_thread(importlib.import_module, "lancedb.index")
    use_system_heap()
    return await asyncio.to_thread(importlib.import_module, "lancedb")


async def new_session(index_bytes: int, metadata_bytes: int) -> Any:
    """A session whose two caches hold at most so many bytes."""
    os.environ.setdefault(READ_AHEAD_VARIABLE, str(_READ_AHEAD_BYTES))
    return (await load_library()).Session(index_bytes, metadata_bytes)


async def connect(path: Path, session: Any) -> Any:
    """The database in a folder, read through the caches of a session."""
    return await (await load_library()).connect_async(str(path), session=session)


async def dataset_of(table: Any) -> Any:
    """The table's head as a pylance dataset. `AsyncTable.to_lance` opens it on the calling thread (32 ms)."""
    uri = await table.uri()
    lance = await asyncio.to_thread(importlib.import_module, "lance")
    return await asyncio.to_thread(
        lance.dataset, uri, index_cache_size_bytes=_INDEX_CACHE_BYTES, metadata_cache_size_bytes=_METADATA_CACHE_BYTES
    )


async def clone_version(table: Path, version: int, target: Path) -> None:
    """Make a table at `target` that reads the data files of a version of another; both are directories."""
    lance = await asyncio.to_thread(importlib.import_module, "lance")
    await run_to_end(lambda: lance.dataset(str(table), version=version).shallow_clone(str(target), version))


async def version_opens(table: Path, version: int) -> bool:
    """Whether the manifest of a version can be read; `table` is the table's directory."""
    lance = await asyncio.to_thread(importlib.import_module, "lance")
    try:
        await asyncio.to_thread(lance.dataset, str(table), version=version)
    except BaseException as error:  # what a damaged file makes the library raise has no common type
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        return False
    return True


async def readable_embeddings(table: Path, version: int) -> dict[str, Vectors]:
    """Embeddings by embedding key, each of shape (dimension,), out of those files of a damaged table that can be read.

    `table` is the table's directory. Bad embeddings are left out. Never raises for damage.
    """
    lance = await asyncio.to_thread(importlib.import_module, "lance")

    def read() -> dict[str, Vectors]:
        found: dict[str, Vectors] = {}

        def take(batch: Any) -> None:
            matrix = matrix_of(batch.column("embedding"))
            rest = zip(embedding_keys(batch), matrix, sound_rows(matrix), strict=True)
            found.update({key: row for key, row, sound in rest if sound})

        with _any_damage():
            for fragment in lance.dataset(str(table), version=version).get_fragments():
                with _any_damage():
                    rows = fragment.to_table(columns=["content_hash", "metadata", "embedding"])
                    for batch in rows.to_batches(max_chunksize=ROWS_PER_TURN):
                        take(batch)
            return found
        for batch in embeddings_without_manifest(table):
            with _any_damage():
                take(batch)
        return found

    return await asyncio.to_thread(read)


@contextmanager
def _any_damage() -> Iterator[None]:
    """Go on after what a damaged file makes the library raise, which has no common type."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
