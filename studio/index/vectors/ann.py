"""Which vector index a generation gets, how it is searched, and when it is learnt anew.

The measurements behind the constants: 100,000 and 1,000,000 vectors of 384 dimensions, recall@10 against exact search.
IVF-RQ (RaBitQ, https://arxiv.org/abs/2405.12497) takes the least disk and memory and builds the fastest; from 25,000
rows on it is clearly quicker than comparing with every vector (2.8 times there, 9 times at 100,000).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from studio.domain import AnnIndex, AnnState

AUTO_ROWS = 25_000
"""From how many rows on `auto` is an index; one that is there stays until there are only half as many."""

TRAINING_ROWS = 1_000
"""Fewer cannot train an index, whichever was asked for: a code book alone needs 256 rows."""

TARGET_RECALL = 0.95
MARGIN = 0.02
"""Parameters are chosen for the target and this, where they can be; an index that falls below the target less this is
learnt anew."""

SAMPLES = 100
"""Vectors that recall is measured with: 1,000 places to hit, so that a recall of 0.95 is known to within 0.015."""

GROWTH = 2.0
"""Times the rows an index was trained with, after which it is learnt anew."""

REMEASURED_SHARE = 0.1
"""Share of the rows that are new, or of growth since training, after which recall is measured again."""

BITS_PER_DIMENSION = 3
"""Of the RaBitQ codes. With 3 the ten nearest are among the first 20 by estimated distance, with 1 among the first 100:
reading the real vectors of as many more takes longer than the query. Similarities are estimated to within .006 (their
standard error at 384 dimensions). 2.6 times the bytes of 1 bit, a tenth of the vectors'."""

ROWS_PER_PARTITION = 1_000
MAX_PARTITIONS = 4_096
ROWS_PER_GRAPH = 250_000
"""A graph is read into memory as a whole; larger ones are cut so that a part of it always finds room."""

SAMPLES_PER_PARTITION = 256
FEWEST_SAMPLES_PER_PARTITION = 40
TRAINING_BYTES = 128 << 20
"""k-means keeps its sample of the vectors in memory, more than once. The library's 256 vectors for each partition are
400 MB for a million rows of 384 numbers. From some 40 on the centroids are as good as needed (below 39 faiss warns:
https://github.com/facebookresearch/faiss/wiki/FAQ)."""

_HNSW = frozenset((AnnIndex.HNSW_FLAT, AnnIndex.HNSW_SQ, AnnIndex.HNSW_PQ))
_PROBES = (20, 40, 80, 160, 320, MAX_PARTITIONS)
_FINE_PROBES = (5, 10, *_PROBES)
_EFS = (100, 200, 400, 800, 1200, 1600)
_FINE_EFS = (25, 50, *_EFS)
_COARSE = (10, 20, 30, 50, 50, 100)
_CLOSE = (3, 3, 5, 10, 10, 10)
_REFINES = {
    AnnIndex.IVF_FLAT: (0, 0, 0, 0, 0, 0),
    AnnIndex.IVF_SQ: _CLOSE,
    AnnIndex.IVF_PQ: _COARSE,
    AnnIndex.IVF_RQ: (2, 2, 3, 5, 5, 10),
    AnnIndex.HNSW_FLAT: (0, 0, 0, 0, 0, 0),
    AnnIndex.HNSW_SQ: _CLOSE,
    AnnIndex.HNSW_PQ: _COARSE,
}
"""How many times as many candidates as results are compared by their real vectors. Never none where vectors are
compressed: their distances would be estimates."""

REFINED_FOR = 10
"""The number of results that `AnnState.refine_factor` is meant for."""


_FLAT = AnnState()


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What the index of a build has to be brought up to date from.

    `base` is the index of the generation it stands on, which had `base_rows` rows, and `appended` is how many rows the
    build wrote.
    """

    wanted: AnnIndex
    base: AnnState = _FLAT
    base_rows: int = 0
    appended: int = 0


def resolve(wanted: AnnIndex, rows: int, dimension: int, present: AnnIndex = AnnIndex.FLAT) -> AnnIndex:
    """The index that a table of `rows` vectors gets where `wanted` was asked for and `present` is there."""
    if rows < TRAINING_ROWS:
        return AnnIndex.FLAT
    kind = wanted
    if wanted is AnnIndex.AUTO:
        threshold = AUTO_ROWS // 2 if present is not AnnIndex.FLAT else AUTO_ROWS
        kind = AnnIndex.IVF_RQ if rows >= threshold else AnnIndex.FLAT
    # The library's RaBitQ takes whole bytes of one bit per dimension.
    return AnnIndex.IVF_SQ if kind is AnnIndex.IVF_RQ and dimension % 8 else kind


def partitions(kind: AnnIndex, rows: int) -> int:
    """Into how many parts an index cuts that many rows."""
    if kind in _HNSW:
        return max(1, math.ceil(rows / ROWS_PER_GRAPH))
    return min(max(1, round(rows / ROWS_PER_PARTITION)), MAX_PARTITIONS)


def samples_per_partition(parts: int, dimension: int) -> int:
    """How many vectors for each of `parts` partitions k-means learns from."""
    room = TRAINING_BYTES // (parts * dimension * 4)
    return min(max(room, FEWEST_SAMPLES_PER_PARTITION), SAMPLES_PER_PARTITION)


def sub_vectors(dimension: int) -> int | None:
    """How many code words stand for a vector in the PQ indexes; None for the library's choice."""
    step = 16 if dimension >= 256 else 4
    return dimension // step if dimension % step == 0 else None


def ladder(kind: AnnIndex, rows: int) -> list[AnnState]:
    """Search parameters from cheap to thorough: what a build climbs until the recall suffices."""
    return _states(kind, rows, [*zip(_EFS if kind in _HNSW else _PROBES, _REFINES[kind], strict=True)])


def grid(kind: AnnIndex, rows: int) -> list[AnnState]:
    """Every combination of search parameters that tuning tries, the most thorough last."""
    if kind is AnnIndex.FLAT:
        return [AnnState()]
    breadths = _FINE_EFS if kind in _HNSW else _FINE_PROBES
    return _states(kind, rows, [(breadth, refine) for refine in dict.fromkeys(_REFINES[kind]) for breadth in breadths])


def _states(kind: AnnIndex, rows: int, steps: Sequence[tuple[int, int]]) -> list[AnnState]:
    parts = partitions(kind, rows)
    if kind in _HNSW:
        states = [AnnState(kind, rows, parts, refine, ef) for ef, refine in steps]
    else:
        states = [AnnState(kind, rows, min(probes, parts), refine) for probes, refine in steps]
    return list(dict.fromkeys(states))


def refine_for(state: AnnState, limit: int) -> int:
    """Times `limit` candidates to compare by their real vectors, so that the best ten are as good as they were
    measured to be; at least as many as results, whose scores are those of the real vectors.
    """
    if state.refine_factor == 0:
        return 0
    return max(math.ceil(state.refine_factor * REFINED_FOR / limit), 1)


def must_train(upkeep: Upkeep, kind: AnnIndex, rows: int, *, present: bool) -> bool:
    """Whether an index of `kind` has to be learnt from all `rows`, instead of adding the new ones to it."""
    base = upkeep.base
    return not present or base.index is not kind or rows > GROWTH * base.trained_rows


def must_measure(upkeep: Upkeep, rows: int) -> bool:
    """Whether so much was added since recall was measured that it may be another."""
    step = max(1.0, REMEASURED_SHARE * upkeep.base.trained_rows)
    return (
        upkeep.base.recall is None
        or upkeep.appended >= REMEASURED_SHARE * rows
        or int(rows / step) > int(upkeep.base_rows / step)
    )


def has_drifted(state: AnnState) -> bool:
    """Whether the measured recall says that the partitions do not fit the vectors any more."""
    return state.recall is not None and state.recall < TARGET_RECALL - MARGIN


def measured(state: AnnState, recall: float, sampled: int) -> AnnState:
    """The same index with what was measured of it."""
    return replace(state, recall=round(recall, 4), sampled=sampled)
