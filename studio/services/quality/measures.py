"""Measures of rankings as NIST's trec_eval defines them, and how sure one can be of their means.

For one query, its first k documents and their grades (above 0 is relevant):

- ndcg: DCG / DCG of the best possible order, DCG = Σ grade / log2(rank + 1) (Järvelin, Kekäläinen, TOIS 2002, with
  the grade itself as gain);
- recall: relevant documents found / relevant documents;
- mrr: 1 / rank of the first relevant document, 0 where none is found;
- map: Σ over the relevant documents found of the precision at their rank / relevant documents;
- precision: relevant documents found / k.

Intervals are percentile bootstraps over queries (Efron, Tibshirani 1993, chapter 13), tests are paired randomisation
tests (Smucker, Allan, Carterette, CIKM 2007).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEASURES = ("ndcg", "recall", "mrr", "map", "precision")

RESAMPLES = 9999
"""Of the bootstrap and, beyond EXACT_UP_TO, of the test: p-values are then exact to about 0.01."""

EXACT_UP_TO = 16
"""Queries of which every one of the 65,536 sign flips is looked at: 40 ms."""

SEED = 20240229
"""The same queries give the same intervals and p-values again."""

BATCH = 500
"""Resamples computed at once: a thousand queries then take some 4 MB."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Mean of b − a over queries, its 95 % confidence interval, and the p-value of a paired randomisation test."""

    difference: float
    interval: tuple[float, float]
    p_value: float


def measure(
    rankings: Mapping[str, Sequence[str]], judgments: Mapping[str, Mapping[str, int]], k: int
) -> dict[str, NDArray[np.float64]]:
    """Values at k by measure, each of shape (queries,), in the order of `rankings`. Every query must be judged.

    A ranking names each document once.
    """
    rows = [_measured(ranking[:k], judgments[query], k) for query, ranking in rankings.items()]
    columns = np.array(rows, np.float64).reshape(len(rows), len(MEASURES)).T
    return dict(zip(MEASURES, columns, strict=True))


def _measured(ranking: Sequence[str], judgments: Mapping[str, int], k: int) -> tuple[float, ...]:
    """The measures of one query in the order of MEASURES; 0 each where nothing is relevant."""
    grades = {document: grade for document, grade in judgments.items() if grade > 0}
    gains = np.array([grades.get(document, 0) for document in ranking], np.float64)
    ranks = np.flatnonzero(gains) + 1.0
    if not ranks.size:
        return (0.0,) * len(MEASURES)
    best = np.array(sorted(grades.values(), reverse=True)[:k], np.float64)
    precisions = np.arange(1, ranks.size + 1) / ranks
    return (
        _discounted(gains) / _discounted(best),
        ranks.size / len(grades),
        1 / ranks[0],
        precisions.sum() / len(grades),
        ranks.size / k,
    )


def _discounted(gains: NDArray[np.float64]) -> float:
    return float((gains / np.log2(np.arange(2, gains.size + 2))).sum())


def intervals(values: Sequence[NDArray[np.float64]]) -> list[tuple[float, float]]:
    """95 % confidence intervals of the means of some columns, each of shape (queries,), at least two queries."""
    low, high = np.percentile(resampled_means(np.stack(values)), (2.5, 97.5), axis=-1)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def resampled_means(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bootstrap means of columns of shape (columns, queries), of shape (columns, RESAMPLES); drawn alike in each."""
    rng = np.random.default_rng(SEED)
    queries = columns.shape[-1]
    parts = []
    for size in _batches(RESAMPLES):
        chosen = rng.integers(0, queries, (size, queries))
        parts.append(np.stack([column[chosen].mean(axis=-1) for column in columns]))
    return np.concatenate(parts, axis=-1)


def paired(a: NDArray[np.float64], b: NDArray[np.float64]) -> Paired:
    """Values `b` against values `a` of the same queries, both of shape (queries,), at least two queries."""
    change = b - a
    if not change.any():
        return Paired(0.0, (0.0, 0.0), 1.0)
    return Paired(float(change.mean()), intervals([change])[0], _randomisation_test(change))


def _randomisation_test(change: NDArray[np.float64]) -> float:
    """Two-sided p-value of the sum of paired differences, whose signs are as good as random if nothing has changed.

    Every combination of signs is looked at where there are few enough, else RESAMPLES at random; of those the observed
    one counts as another (Phipson, Smyth, "Permutation p-values should never be zero", 2010).
    """
    total = 1 << change.size if change.size <= EXACT_UP_TO else RESAMPLES
    rng = np.random.default_rng(SEED)
    # Sums that are equal but for the order of their terms count as equal.
    observed = abs(float(change.sum())) - 1e-12 * float(np.abs(change).sum())
    extreme, done = 0, 0
    for size in _batches(total):
        if change.size <= EXACT_UP_TO:
            negative = np.arange(done, done + size)[:, None] >> np.arange(change.size) & 1
        else:
            negative = rng.integers(0, 2, (size, change.size), dtype=np.int8)
        extreme += int(np.count_nonzero(np.abs((1.0 - 2.0 * negative) @ change) >= observed))
        done += size
    return extreme / total if change.size <= EXACT_UP_TO else (extreme + 1) / (total + 1)


def _batches(total: int) -> Iterator[int]:
    """Sizes of the batches that make up so many resamples."""
    for done in range(0, total, BATCH):
        yield min(BATCH, total - done)
