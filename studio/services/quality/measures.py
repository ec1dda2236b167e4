"""Measures of rankings as trec_eval defines and computes them, and how sure one can be of their means.

For one query, its first k documents and their grades (above 0 is relevant):

- ndcg: DCG / DCG of the best possible order, DCG = Σ grade / log2(rank + 1) (Järvelin, Kekäläinen, TOIS 2002, with
  the grade itself as gain);
- recall: relevant documents found / relevant documents;
- mrr: 1 / rank of the first relevant document, 0 where none is found;
- map: Σ over the relevant documents found of the precision at their rank / relevant documents;
- precision: relevant documents found / k.

Intervals are percentile bootstraps over queries (Efron, Tibshirani 1993, chapter 13), tests are paired randomisation
tests (Smucker, Allan, Carterette, CIKM 2007). Both libraries are loaded when first used: a second or so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEASURES = ("ndcg", "recall", "mrr", "map", "precision")

RESAMPLES = 9999
"""Of the bootstrap and, where there are more sign flips than that, of the test: p-values are exact to about 0.01."""

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
    """Values at k by measure, each of shape (queries,), in the order of `rankings`. Every query must be judged."""
    import pytrec_eval

    names = {
        "ndcg": f"ndcg_cut_{k}",
        "recall": f"recall_{k}",
        "mrr": "recip_rank",
        "map": f"map_cut_{k}",
        "precision": f"P_{k}",
    }
    grades = {query: {name: max(grade, 0) for name, grade in judgments[query].items()} for query in rankings}
    # trec_eval orders by score: ranks as scores leave it nothing to decide. The cut is what cuts its reciprocal rank.
    runs = {query: {name: float(-rank) for rank, name in enumerate(ranking[:k])} for query, ranking in rankings.items()}
    wanted = {name if name == "recip_rank" else f"{name.rpartition('_')[0]}.{k}" for name in names.values()}
    values = pytrec_eval.RelevanceEvaluator(grades, wanted).evaluate(runs)
    return {
        name: np.array([values.get(query, {}).get(theirs, 0.0) for query in rankings], np.float64)
        for name, theirs in names.items()
    }


def intervals(values: Sequence[NDArray[np.float64]]) -> list[tuple[float, float]]:
    """95 % confidence intervals of the means of some columns, each of shape (queries,), at least two queries."""
    from scipy.stats import bootstrap

    columns = np.stack(values)
    found = bootstrap(
        (columns,), _mean, axis=-1, n_resamples=RESAMPLES, batch=BATCH, method="percentile",
        vectorized=True, rng=np.random.default_rng(SEED),
    ).confidence_interval  # fmt: skip
    return [(float(low), float(high)) for low, high in zip(found.low, found.high, strict=True)]


def paired(a: NDArray[np.float64], b: NDArray[np.float64]) -> Paired:
    """Values `b` against values `a` of the same queries, both of shape (queries,), at least two queries."""
    from scipy.stats import permutation_test

    change = b - a
    if not change.any():
        return Paired(0.0, (0.0, 0.0), 1.0)
    # One sample of differences: the test flips their signs.
    p_value = permutation_test(
        (change,), _mean, permutation_type="samples", n_resamples=RESAMPLES, batch=BATCH, vectorized=True,
        rng=np.random.default_rng(SEED),
    ).pvalue  # fmt: skip
    return Paired(float(change.mean()), intervals([change])[0], float(p_value))


def _mean(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=axis))
