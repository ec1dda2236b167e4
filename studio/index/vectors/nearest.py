"""The vectors nearest to a query in an open chunks table: through its index, or by comparing with each of them.

A filter makes an index lose recall silently: its partitions are visited by the query, not by what passes. So few rows
are compared one by one; with many rows that pass, more partitions are visited; and where the ids are too many to be
written into a predicate (parsing 10,000 takes 40 ms, 40,000 take 150), more is fetched than was asked for and sifted
here. Whatever was found is sifted here in the end, and where that leaves too little the exact search has the last word.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

from studio.concurrency import SEARCHES
from studio.domain import AnnIndex, AnnState, Candidate, Metric, Vectors
from studio.index.vectors.ann import REFINED_FOR, refine_for
from studio.index.vectors.flat_vectors import FlatVectors, similarities
from studio.index.vectors.lance_internals import bare_batches, without_blobs
from studio.index.vectors.predicates import Within
from studio.index.vectors.row_map import RowMap
from studio.index.vectors.rows import matrix_of

FEW_ROWS = 2_000
"""If at most so many rows pass, they are fetched and compared one by one: 10 to 20 ms at 384 dimensions. With more, an
index whose partitions are all visited is quicker, and no less exact: at 4 % of 100,000 rows by a third."""
PREDICATE_IDS = 2_000
"""Ids that a predicate may name: 15 ms of parsing and looking up."""
EXCLUDED_CHUNKS = 200
"""As many more are fetched where nothing but so few are excluded."""
SIFTED_ROWS = 4_000
"""At most so many rows are fetched to be sifted."""
SCANNED_PER_ID = 40
"""Reading this many rows of the whole table takes as long as looking up one id and reading its few rows."""

_FILTERED_PROBES = 4
"""What passes may lie anywhere; partitions hold few rows that do, so that many more of them cost little."""

_ROWS_PER_BATCH = 8192
_ROWS_SIFTED_AT_ONCE = 1024


class Estimating(Enum):
    """Which scores may be those that the index estimates, where it covers every row."""

    NOTHING = auto()
    TAIL = auto()
    """Those behind the ones that the best ten need."""
    ALL = auto()


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for: the best `limit` chunks for `vector`, shape (dimension,), in a table."""

    table: Any
    vector: Vectors
    metric: Metric
    limit: int
    ann: AnnState
    row_map: RowMap | None = None


async def nearest(
    table: Any,
    vector: Vectors,
    *,
    metric: Metric,
    limit: int,
    within: Within | None,
    ann: AnnState,
    exact: bool,
    row_map: RowMap | None = None,
    estimating: Estimating = Estimating.NOTHING,
) -> list[Candidate]:
    """The `limit` chunks nearest to `vector`, best first, or as many as pass `within`.

    With a `row_map` scores may be estimated, as far as `estimating` allows.
    """
    search = _Search(table, vector, metric, limit, ann, row_map)
    indexed = ann.index is not AnnIndex.FLAT and not exact
    if limit < 1 or (within is not None and within.is_empty):
        return []
    if row_map is not None and row_map.flat is not None and vector.shape == (row_map.flat.dimension,):
        return await SEARCHES.run(_compared_in_memory, search, row_map, row_map.flat, within)
    if within is None or (within.literals == 0 and within.document_ids is None and within.chunk_ids is None):
        if indexed and row_map is not None and estimating is not Estimating.NOTHING and _can_estimate(search):
            compared = 0 if estimating is Estimating.ALL else ann.refine_factor * REFINED_FOR
            found = await _estimated(search, row_map, compared)
        else:
            found = await _through_index(search, limit) if indexed else []
        return found if len(found) >= limit else await _compared_with_all(search, limit)
    if within.document_ids is None and within.chunk_ids is None and len(within.without_chunk_ids) <= EXCLUDED_CHUNKS:
        more = limit + len(within.without_chunk_ids)
        found = await _through_index(search, more, within) if indexed else []
        return found[:limit] if len(found) >= limit else (await _compared_with_all(search, more, within))[:limit]
    return await _filtered(search, within, indexed=indexed)


async def _filtered(search: _Search, within: Within, *, indexed: bool) -> list[Candidate]:
    rows = await search.table.count_rows()
    share = await _share(search.table, within, rows)
    passing = share * rows
    if indexed and passing > FEW_ROWS:
        if within.literals > PREDICATE_IDS:
            wanted = math.ceil(2 * search.limit / share)
            found = await _through_index(search, wanted, within, share) if wanted <= SIFTED_ROWS else []
            if len(found) >= search.limit:
                return found[: search.limit]
            share = min(share, max(1, len(found)) / wanted)  # here fewer pass than elsewhere, or than was thought
        found = await _prefiltered(search, within, share)
        if len(found) >= search.limit:
            return found
    return await _compared(search, within, rows)


async def _share(table: Any, within: Within, rows: int) -> float:
    """The share of the chunks that pass: the caller's estimate, or what can be known better at little cost."""
    share = min(within.share, len(within.chunk_ids) / max(1, rows)) if within.chunk_ids is not None else within.share
    if share >= 1.0 and within.document_ids is not None and within.literals <= PREDICATE_IDS:
        share = await table.count_rows(within.predicate()) / max(1, rows)
    return min(1.0, max(share, 1 / max(1, rows)))


# ---------------------------------------------------------------- through the index


def _query(search: _Search, limit: int) -> Any:
    query = without_blobs(search.table.query())
    return query.nearest_to(search.vector).distance_type(search.metric.value).limit(limit)


async def _first(query: Any, limit: int) -> Any:
    """The `limit` rows of a vector query, or as many as there are, as an Arrow table or batch.

    The library's ways wait for the end of the stream too, and make a table of it twice: a tenth of the whole.
    """
    import pyarrow as pa

    reader = await bare_batches(query)
    batches = []
    rows = 0
    async for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        if rows >= limit:
            break
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches, reader.schema)


def _bare(query: Any) -> Any:
    """The query for row ids and distances alone. Told in this way, not as a list of columns, it takes 6 % less."""
    return query.select({"_distance": "_distance"}).with_row_id()


def _tuned(query: Any, ann: AnnState, limit: int) -> Any:
    if refine := refine_for(ann, limit):
        query = query.refine_factor(refine)
    if ann.ef:
        query = query.ef(max(ann.ef, limit * max(1, refine)))  # the library refuses one below the number of candidates
    return query


async def _through_index(
    search: _Search, limit: int, within: Within | None = None, share: float = 1.0
) -> list[Candidate]:
    """The best `limit`, and of them those that pass; the smaller their share, the farther away is the tenth."""
    query = _tuned(_query(search, limit).nprobes(_probes(search.ann, share)), search.ann, limit)
    return await _candidates(query, search, limit, within)


def _can_estimate(search: _Search) -> bool:
    """Whether the distances that the index estimates are good enough to choose what is compared."""
    return search.ann.index is AnnIndex.IVF_RQ and search.metric is Metric.COSINE


async def _estimated(search: _Search, row_map: RowMap, compared: int) -> list[Candidate]:
    """The best `limit`; the first `compared` of them have the scores of their real vectors."""
    wanted = max(search.limit, compared)
    query = _query(search, wanted).nprobes(search.ann.nprobes)
    hits = await _first(_bare(query), wanted)
    scores = 1.0 - hits["_distance"].to_numpy() / 2.0  # the index gives the square of the distance of unit vectors
    rows = hits["_rowid"].to_numpy()
    if compared:
        first = rows[:compared].tolist()
        taken = await search.table.take_row_ids(first).select(["embedding"]).with_row_id().to_arrow()
        real = similarities(matrix_of(taken["embedding"]), search.vector[None], search.metric)[:, 0]
        known = dict(zip(taken["_rowid"].to_pylist(), real.tolist(), strict=True))  # they come in no promised order
        scores[:compared] = [known[row] for row in first]
    order = np.argsort(-scores, kind="stable")[: search.limit]
    chunk_ids, document_ids = row_map.chunks_at(rows[order])
    return Candidate.of(chunk_ids, scores[order].tolist(), document_ids)


def _probes(ann: AnnState, share: float) -> int:
    return math.ceil(max(1, ann.nprobes) / share)


async def _prefiltered(search: _Search, within: Within, share: float) -> list[Candidate]:
    """The best that pass; so many partitions are visited that more rows are looked at than without a filter."""
    probes = _FILTERED_PROBES * _probes(search.ann, share)
    query = _query(search, search.limit).where(within.predicate()).maximum_nprobes(0).minimum_nprobes(probes)
    return await _candidates(_tuned(query, search.ann, search.limit), search, search.limit, within)


def _compared_in_memory(search: _Search, row_map: RowMap, flat: FlatVectors, within: Within | None) -> list[Candidate]:
    scores = flat.similarities(search.vector, search.metric)
    if within is None and search.limit < len(scores):
        first = np.argpartition(-scores, search.limit)[: search.limit]
        order = first[np.argsort(-scores[first], kind="stable")]
    else:
        order = np.argsort(-scores, kind="stable")
    best: list[Candidate] = []
    for start in range(0, len(order), _ROWS_SIFTED_AT_ONCE):
        places = order[start : start + _ROWS_SIFTED_AT_ONCE]
        chunk_ids, document_ids = row_map.chunks_in(places)
        best.extend(_passing(Candidate.of(chunk_ids, scores[places].tolist(), document_ids), within))
        if len(best) >= search.limit:
            break
    return best[: search.limit]


async def _compared_with_all(search: _Search, limit: int, within: Within | None = None) -> list[Candidate]:
    return await _candidates(_query(search, limit).bypass_vector_index(), search, limit, within)


async def _candidates(query: Any, search: _Search, limit: int, within: Within | None) -> list[Candidate]:
    row_map = search.row_map
    selected = query.select(["chunk_id", "document_id", "_distance"]) if row_map is None else _bare(query)
    rows = await _first(selected, limit)
    distances = rows["_distance"].to_numpy()
    scores = (1.0 - distances / 2.0 if search.metric is Metric.L2 else 1.0 - distances).tolist()
    if row_map is None:
        chunk_ids, document_ids = rows["chunk_id"].to_pylist(), rows["document_id"].to_pylist()
    else:
        chunk_ids, document_ids = row_map.chunks_at(rows["_rowid"].to_numpy())
    return _passing(Candidate.of(chunk_ids, scores, document_ids), within)


def _passing(found: list[Candidate], within: Within | None) -> list[Candidate]:
    return found if within is None else [item for item in found if within.passes(item.chunk_id, item.document_id)]


# ---------------------------------------------------------------- one by one


async def _compared(search: _Search, within: Within, rows: int) -> list[Candidate]:
    """The best of exactly those that pass, a batch at a time; half as long as the library's filtered flat search."""
    columns = ["chunk_id", "document_id", "embedding"]
    query = search.table.query().select(columns)
    named = len(within.document_ids or ()) + len(within.chunk_ids or ())
    if named and named * SCANNED_PER_ID <= max(rows, FEW_ROWS * SCANNED_PER_ID):
        query = query.where(within.predicate())
    best: list[Candidate] = []
    async for batch in await query.to_batches(max_batch_length=_ROWS_PER_BATCH):
        best = await SEARCHES.run(_merged, best, batch, search, within)
    return best


def _merged(best: list[Candidate], batch: Any, search: _Search, within: Within) -> list[Candidate]:
    ids, documents = batch.column("chunk_id").to_pylist(), batch.column("document_id").to_pylist()
    kept = [at for at, pair in enumerate(zip(ids, documents, strict=True)) if within.passes(*pair)]
    if not kept:
        return best
    scores = similarities(matrix_of(batch.column("embedding"))[kept], search.vector[None], search.metric)[:, 0]
    order = np.argsort(-scores, kind="stable")[: search.limit].tolist()
    best = [*best, *(Candidate(ids[kept[at]], float(scores[at]), documents[kept[at]]) for at in order)]
    return sorted(best, key=lambda item: -item.score)[: search.limit]


async def embeddings(table: Any) -> AsyncIterator[Vectors]:
    """Every vector of a table, as matrices of some thousand rows."""
    async for batch in await table.query().select(["embedding"]).to_batches(max_batch_length=_ROWS_PER_BATCH):
        if batch.num_rows:
            yield matrix_of(batch.column("embedding"))
