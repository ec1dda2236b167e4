"""How much of what an exact search finds a vector index finds: recall@10 on a table's own vectors, lightly disturbed.

A hit is whatever is at least as similar as the tenth of the exact search: which of several equal passages an index
returns is no matter of recall.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from studio.domain import AnnIndex, AnnState, Metric, Vectors
from studio.index.vectors.ann import MARGIN, SAMPLES, TARGET_RECALL, measured
from studio.index.vectors.flat_vectors import similarities
from studio.index.vectors.nearest import embeddings, nearest
from studio.index.vectors.rows import matrix_of

DEPTH = 10
DISTURBANCE = 0.7
"""Length of the noise added to a vector, as a share of its own: a cosine of 0.82. A question is farther from its answer
than a paraphrase, and the farther it is, the more partitions hold what is near it."""
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Queries, shape (n, dimension), and of each the score that the tenth nearest vector has, shape (n,).

    `depth` is 10, or the number of vectors where there are fewer.
    """

    queries: Vectors
    thresholds: Vectors
    metric: Metric
    depth: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """Recall@10 of search parameters, and how long each query took, in milliseconds."""

    state: AnnState
    recall: float
    times_ms: Sequence[float]

    def at(self, percent: float) -> float:
        """A percentile of the times."""
        return float(np.percentile(self.times_ms, percent))


async def yardstick(table: Any, metric: Metric, samples: int = SAMPLES) -> Yardstick:
    """Queries from a table's vectors, with what an exact search finds; reads every vector once."""
    rows = await table.count_rows()
    chance = np.random.default_rng(rows)
    offsets = sorted(chance.choice(rows, min(samples, rows), replace=False).tolist())
    own = matrix_of((await table.take_offsets(offsets).select(["embedding"]).to_arrow())["embedding"])
    noise = chance.normal(size=own.shape).astype(np.float32)
    noise *= DISTURBANCE * np.linalg.norm(own, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    queries = own + noise
    best = np.empty((0, len(queries)), np.float32)
    async for matrix in embeddings(table):
        best = await asyncio.to_thread(_highest, best, matrix, queries, metric)
    return Yardstick(queries, best.min(axis=0), metric, len(best))


def _highest(best: Vectors, matrix: Vectors, queries: Vectors, metric: Metric) -> Vectors:
    """The ten highest scores of each query, shape (up to 10, queries)."""
    scores = np.concatenate((best, similarities(matrix, queries, metric)))
    return scores if len(scores) <= DEPTH else np.partition(scores, len(scores) - DEPTH, axis=0)[-DEPTH:]


async def measure(table: Any, against: Yardstick, state: AnnState) -> Measurement:
    """Search with the given parameters, one query after the other."""
    hits, times = 0, []
    for query, threshold in zip(against.queries, against.thresholds, strict=True):
        begun = perf_counter()
        found = await nearest(
            table, query, metric=against.metric, limit=DEPTH, within=None, ann=state, exact=state.index is AnnIndex.FLAT
        )
        times.append((perf_counter() - begun) * 1000)
        slack = _TOLERANCE * max(1.0, abs(float(threshold)))
        hits += sum(item.score >= threshold - slack for item in found)
    recall = hits / (against.depth * len(against.queries))
    return Measurement(measured(state, recall, len(against.queries)), recall, times)


async def climb(table: Any, against: Yardstick, states: Iterable[AnnState]) -> AnnState:
    """The first of ascending search parameters with which the index reaches the target and a margin, or the best."""
    best: AnnState | None = None
    for state in states:
        found = (await measure(table, against, state)).state
        if best is None or (found.recall or 0.0) > (best.recall or 0.0):
            best = found
        if (found.recall or 0.0) >= TARGET_RECALL + MARGIN:
            break
    return best or AnnState()
