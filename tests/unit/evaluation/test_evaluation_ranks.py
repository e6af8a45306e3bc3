from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from polyml.evaluation.ranks import compare_ranks, critical_difference

# Ranks of C4.5 with and without two parameters set on fourteen data sets: Demsar (2006), table 6.
DEMSAR = pd.DataFrame(
    {
        "C4.5": [4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3],
        "m": [3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1],
        "cf": [2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4],
        "m+cf": [1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2],
    }
).T


def test_the_example_of_demsar() -> None:
    found = compare_ranks(DEMSAR, "rmse")
    assert found.ranks.round(3).to_dict() == {"m+cf": 1.964, "m": 2.0, "cf": 2.893, "C4.5": 3.143}
    assert list(found.ranks.index) == ["m+cf", "m", "cf", "C4.5"]
    # The paper's chi-squared of 9.28 has no correction for the ties, of which there are three pairs and one of four.
    ties = 1 - (3 * (2**3 - 2) + (4**3 - 4)) / (14 * (4**3 - 4))
    assert found.friedman * ties == pytest.approx(9.28, abs=0.005)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.differs
    # 3.143 - 1.964 is less than 1.25: the test is not powerful enough, as the paper says.
    assert found.groups() == [("m+cf", "m", "cf", "C4.5")]
    assert found.tied_with_best() == ("m", "cf", "C4.5")


@pytest.mark.parametrize(("models", "quantile"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_values_are_those_of_the_published_table(models: int, quantile: float) -> None:
    assert critical_difference(models, 1) * math.sqrt(6 / (models * (models + 1))) == pytest.approx(
        quantile, abs=0.0015
    )


def test_against_scipy_and_by_direction() -> None:
    scores = pd.DataFrame(np.random.default_rng(0).normal(size=(5, 8)), index=list("abcde"))
    found = compare_ranks(scores, "rmse")
    expected = scipy_stats.friedmanchisquare(*scores.to_numpy())
    assert found.friedman == pytest.approx(expected.statistic)
    assert found.friedman_p == pytest.approx(expected.pvalue, abs=0.02)  # chi-squared is near with eight data sets
    turned = compare_ranks(scores, "r2")
    assert turned.ranks.sort_index().to_numpy() == pytest.approx(6 - found.ranks.sort_index().to_numpy())
    assert turned.friedman == pytest.approx(found.friedman)


def test_groups_are_the_largest_and_the_table_says_who_ties() -> None:
    order = pd.DataFrame(np.tile(np.arange(6.0)[:, None], (1, 30)), index=list("abcdef"))
    found = compare_ranks(order, "rmse")
    assert 1 < found.critical_difference < 2
    assert found.groups() == [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f")]
    assert found.tied_with_best() == ("b",)
    assert list(found.table()["distinguishable_from_best"]) == [False, False, True, True, True, True]
    assert found.friedman_p < 1e-4


@pytest.mark.parametrize(
    ("models", "data_sets", "p"), [(3, 2, 1 / 6), (4, 2, 1 / 24), (3, 3, 1 / 36), (4, 3, 1 / 24**2), (3, 4, 1 / 6**3)]
)
def test_a_few_data_sets_that_agree_give_the_exact_probability(models: int, data_sets: int, p: float) -> None:
    agreeing = pd.DataFrame(np.tile(np.arange(float(models))[:, None], (1, data_sets)), index=list("abcd")[:models])
    assert compare_ranks(agreeing, "rmse").friedman_p == pytest.approx(p)


def test_the_published_table_of_friedman() -> None:
    # k = 3, N = 4 (Hollander and Wolfe, Nonparametric Statistical Methods, table A.22): P(S >= 6.5) = .042.
    ranks = pd.DataFrame({"w": [1, 2, 3], "x": [1, 2, 3], "y": [1, 2, 3], "z": [2, 1, 3]}, index=list("abc"))
    found = compare_ranks(ranks.astype(float), "rmse")
    assert (found.friedman, round(found.friedman_p, 3)) == (6.5, 0.042)


def test_models_without_a_score_are_left_out_and_named() -> None:
    scores = pd.DataFrame({"x": [1.0, 2.0, np.nan, 3.0], "y": [1.0, 2.0, 3.0, 4.0]}, index=list("abcd"))
    found = compare_ranks(scores, "rmse")
    assert found.left_out == ("c",)
    assert list(found.ranks.index) == ["a", "b", "d"]


def test_too_little_for_a_test() -> None:
    two = compare_ranks(pd.DataFrame({"x": [1.0, 2.0], "y": [2.0, 1.0], "z": [1.0, 3.0]}, index=["a", "b"]), "rmse")
    assert math.isnan(two.friedman_p)
    assert not two.differs
    assert two.ranks.to_dict() == pytest.approx({"a": 4 / 3, "b": 5 / 3})
    assert two.groups() == [("a", "b")]
    one = compare_ranks(pd.DataFrame({"x": [1.0], "y": [2.0]}, index=["a"]), "rmse")
    assert math.isnan(one.critical_difference)
    assert one.groups() == []
    assert one.tied_with_best() == ()


def test_equal_scores_are_ties_even_with_rounding_errors() -> None:
    scores = pd.DataFrame({"x": [0.1 + 0.2, 0.3, 0.3], "y": [0.3, 0.3, 0.1 + 0.2]}, index=list("abc"))
    found = compare_ranks(scores, "rmse")
    assert found.ranks.to_dict() == {"a": 2.0, "b": 2.0, "c": 2.0}
    assert (found.friedman, found.friedman_p) == (0.0, 1.0)
