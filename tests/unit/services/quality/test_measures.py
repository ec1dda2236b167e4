from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import pytrec_eval

from studio.services.quality.measures import MEASURES, intervals, measure, paired, resampled_means


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


def test_trec_eval_agrees_on_every_order_of_five_documents() -> None:
    """NIST's program, compiled into pytrec_eval. It orders by score: ranks as scores leave it nothing to decide."""
    grades = {"a": 3, "b": 1, "c": 0, "gone": 2}
    orders = {str(number): order for number, order in enumerate(itertools.permutations("abcxy"))}
    for k in (1, 3, 5, 10):
        names = (f"ndcg_cut_{k}", f"recall_{k}", "recip_rank", f"map_cut_{k}", f"P_{k}")
        wanted = {f"ndcg_cut.{k}", f"recall.{k}", "recip_rank", f"map_cut.{k}", f"P.{k}"}
        runs = {query: {name: -float(rank) for rank, name in enumerate(order[:k])} for query, order in orders.items()}
        theirs = pytrec_eval.RelevanceEvaluator(dict.fromkeys(orders, grades), wanted).evaluate(runs)
        found = measure(orders, {query: {**grades, "bad": -1} for query in orders}, k)
        for at, query in enumerate(orders):
            expected = [theirs[query][name] for name in names]
            assert [found[name][at] for name in MEASURES] == pytest.approx(expected), (query, k)


def test_an_empty_ranking_is_worth_nothing_nor_is_one_without_anything_relevant() -> None:
    assert set(one(["a"], {"a": 0}, 10).values()) == {0.0}
    assert measure({}, {}, 10)["ndcg"].shape == (0,)
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


DARWIN = np.array([49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
"""Heights of crossed less self-fertilised plants of Zea mays, in eighths of an inch (Darwin 1876)."""


def test_the_p_value_of_darwin_s_plants_is_the_one_that_fisher_counted() -> None:
    """R. A. Fisher, The Design of Experiments, 1935, section 21: 1726 of 32768 sums are as extreme."""
    assert paired(np.zeros(15), DARWIN).p_value == 1726 / 32768
    assert paired(DARWIN, np.zeros(15)).p_value == 1726 / 32768
    assert paired(np.zeros(15), DARWIN / 80).p_value == 1726 / 32768  # sums that are equal but for rounding


def test_a_p_value_of_flips_at_random_is_near_that_of_the_normal_distribution() -> None:
    """Its sum has mean 0 and variance Σ d² (Pitman 1937); 400 differences are as good as infinitely many."""
    change = np.linspace(-1, 1, 400) + 0.05
    z = change.sum() / math.sqrt((change**2).sum())
    assert paired(np.zeros(400), change).p_value == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.01)


def test_the_standard_error_of_the_mice_is_the_one_in_the_book() -> None:
    """B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, table 2.2: 23.36 for infinite resamples."""
    treated = np.array([[94.0, 197, 16, 38, 99, 141, 23]])
    means = resampled_means(treated)
    assert means.std() == pytest.approx(23.36, abs=0.4)
    assert means.mean() == pytest.approx(86.86, abs=0.6)


def test_the_interval_of_few_queries_is_that_of_every_resample() -> None:
    values = np.array([0.0, 0.2, 0.5, 0.9, 1.0])
    every = [sum(some) / 5 for some in itertools.product(values, repeat=5)]
    assert intervals([values])[0] == pytest.approx(np.percentile(every, (2.5, 97.5)), abs=0.02)


def test_columns_are_resampled_alike() -> None:
    values = np.random.default_rng(2).random(30)
    ((low, high), (low_of_twice, high_of_twice)) = intervals([values, 2 * values])
    assert (low_of_twice, high_of_twice) == pytest.approx((2 * low, 2 * high))
