from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from studio.services.quality.measures import MEASURES, intervals, measure, paired


def defined(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> dict[str, float]:
    """The measures straight from their definitions."""
    relevant = {document: grade for document, grade in grades.items() if grade > 0}
    first = ranking[:k]
    ranks = [rank for rank, document in enumerate(first, start=1) if document in relevant]
    best = sorted(relevant.values(), reverse=True)[:k]
    gain = sum(relevant[first[rank - 1]] / math.log2(rank + 1) for rank in ranks)
    return {
        "ndcg": gain / sum(grade / math.log2(rank + 1) for rank, grade in enumerate(best, start=1)),
        "recall": len(ranks) / len(relevant),
        "mrr": 1 / ranks[0] if ranks else 0.0,
        "map": sum(found / rank for found, rank in enumerate(ranks, start=1)) / len(relevant),
        "precision": len(ranks) / k,
    }


def one(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> dict[str, float]:
    return {name: values[0] for name, values in measure({"q": ranking}, {"q": grades}, k).items()}


def test_a_ranking_worked_out_by_hand() -> None:
    found = one(["x", "a", "y", "b"], {"a": 1, "b": 1, "c": 1, "z": 0}, 4)
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    assert found == pytest.approx(
        {"ndcg": gain / (1 + 1 / math.log2(3) + 0.5), "recall": 2 / 3, "mrr": 0.5, "map": (1 / 2 + 2 / 4) / 3,
         "precision": 0.5}
    )  # fmt: skip
    assert tuple(found) == MEASURES


def test_the_library_agrees_with_the_definitions_on_every_order_of_five_documents() -> None:
    grades = {"a": 3, "b": 1, "c": 0, "gone": 2, "bad": -1}
    orders = {str(number): order for number, order in enumerate(itertools.permutations("abcxy"))}
    for k in (1, 3, 5, 10):
        found = measure(orders, dict.fromkeys(orders, grades), k)
        for at, order in enumerate(orders.values()):
            assert {name: found[name][at] for name in MEASURES} == pytest.approx(defined(order, grades, k)), (order, k)


def test_an_empty_ranking_is_worth_nothing() -> None:
    assert set(one([], {"a": 1}, 10).values()) == {0.0}
    both = measure({"none": [], "all": ["ä b"]}, {"none": {"a": 1}, "all": {"ä b": 2}}, 10)
    assert both["ndcg"].tolist() == [0.0, 1.0]


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_for_many_queries() -> None:
    values = np.random.default_rng(7).normal(0.5, 0.2, 400)
    ((low, high), again) = intervals([values, values])
    error = 1.96 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.003)
    assert again == pytest.approx((low, high), abs=0.003)
    assert intervals([values]) == intervals([values])


def test_the_paired_test_is_exact_for_few_queries() -> None:
    a = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    found = paired(a, a + np.array([0.1, 0.2, 0.1, 0.3, 0.1]))
    assert found.p_value == pytest.approx(2 / 2**5)  # of 32 sign flips two are as extreme
    assert found.difference == pytest.approx(0.16)
    assert 0.1 <= found.interval[0] < found.difference < found.interval[1] <= 0.3


def test_equal_settings_differ_in_nothing() -> None:
    same = np.array([0.1, 0.9])
    found = paired(same, same.copy())
    assert (found.difference, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_noise_is_not_significant_and_its_direction_is_that_of_the_second() -> None:
    rng = np.random.default_rng(3)
    a = rng.random(200)
    assert paired(a, a + rng.normal(0, 0.1, 200)).p_value > 0.05
    better = paired(a, a + 0.05 + rng.normal(0, 0.1, 200))
    assert better.p_value < 0.001
    assert better.interval[0] > 0
