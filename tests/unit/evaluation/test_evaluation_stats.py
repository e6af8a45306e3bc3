from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from polyml.evaluation.metrics import MEAN
from polyml.evaluation.stats import corrected_resampled_ttest, holm, paired_tests


def test_against_a_hand_computation() -> None:
    # d = 0.05, 0.10, 0.00, 0.15, 0.20: mean 0.10, variance 0.025/4 = 0.00625, J = 5, test/train = 1/4.
    # t = 0.10 / sqrt((1/5 + 1/4) * 0.00625) = 0.10 / sqrt(0.0028125) = 1.885618
    test = corrected_resampled_ttest([0.05, 0.10, 0.00, 0.15, 0.20], 0.25)
    assert test.difference == pytest.approx(0.10)
    assert test.t == pytest.approx(1.885618, abs=1e-6)
    # The t distribution with 4 degrees of freedom has a closed form.
    u = test.t / math.sqrt(4 + test.t**2)
    assert test.p == pytest.approx(1 - (u + u * (1 - u**2) / 2), abs=1e-9)
    assert (test.folds, test.reason) == (5, "")


def test_the_correction_widens_the_plain_paired_test() -> None:
    differences = np.array([0.05, 0.10, 0.00, 0.15, 0.20])
    plain = scipy_stats.ttest_1samp(differences, 0.0)
    corrected = corrected_resampled_ttest(differences, 0.25)
    assert corrected.t == pytest.approx(plain.statistic * math.sqrt((1 / 5) / (1 / 5 + 1 / 4)))
    assert corrected.p > plain.pvalue


def test_swapping_the_models_changes_the_sign_only() -> None:
    a, b = corrected_resampled_ttest([0.1, 0.3, 0.2], 0.5), corrected_resampled_ttest([-0.1, -0.3, -0.2], 0.5)
    assert a.t == pytest.approx(-b.t)
    assert a.p == pytest.approx(b.p)


@pytest.mark.parametrize(
    ("differences", "reason"),
    [
        ([], "fewer than two"),
        ([0.1], "fewer than two"),
        ([0.1, np.nan], "fewer than two"),
        ([0.0, 0.0, 0.0], "same on every fold"),
        ([0.1, 0.1, 0.1 + 1e-16], "same on every fold"),
    ],
)
def test_no_p_value_has_a_reason(differences: list[float], reason: str) -> None:
    test = corrected_resampled_ttest(differences, 0.25)
    assert math.isnan(test.p)
    assert math.isnan(test.t)
    assert reason in test.reason


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, made monotone: .02 .03 .06 .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


def _scores(values: dict[tuple[str, str], list[float]], metric: str = "rmse") -> pd.DataFrame:
    rows = [
        {"model": model, "property": prop, "repeat": 0, "fold": i, "metric": metric, "score": value}
        for (model, prop), column in values.items()
        for i, value in enumerate(column)
    ]
    return pd.DataFrame(rows).assign(n_train=80, n_test=20)


def test_paired_tests_name_the_better_model_by_direction() -> None:
    values = {("a", "x"): [0.1, 0.2, 0.3], ("b", "x"): [0.3, 0.5, 0.4]}
    rmse = paired_tests(_scores(values), ["a", "b"], {})
    assert list(rmse["better"]) == ["a"]
    assert rmse["difference"].iloc[0] == pytest.approx(-0.2)
    r2 = paired_tests(_scores(values, "r2"), ["a", "b"], {})
    assert list(r2["better"]) == ["b"]
    direct = corrected_resampled_ttest([-0.2, -0.3, -0.1], 0.25)
    assert rmse["p"].iloc[0] == pytest.approx(direct.p)


def test_the_mean_over_properties_is_tested_too_and_holm_counts_the_pairs() -> None:
    rng = np.random.default_rng(0)
    values = {(m, prop): list(rng.normal(i, 0.3, 5)) for i, m in enumerate("abc") for prop in ("x", "y")}
    table = paired_tests(_scores(values), list("abc"), {"rmse": ["x", "y"]})
    assert len(table) == 3 * 3
    mean = table[(table["property"] == MEAN) & (table["model_a"] == "a") & (table["model_b"] == "b")].iloc[0]
    by_hand = (np.array(values["a", "x"]) + values["a", "y"] - np.array(values["b", "x"]) - values["b", "y"]) / 2
    assert mean["p"] == pytest.approx(corrected_resampled_ttest(by_hand, 0.25).p)
    part = table[table["property"] == "x"]
    assert part["p_holm"].to_numpy() == pytest.approx(holm(part["p"].to_numpy()))
    assert (part["p_holm"] >= part["p"]).all()


def test_a_fold_without_a_score_of_one_property_leaves_the_mean_out() -> None:
    values = {("a", "x"): [1.0, 2.0, 3.5], ("a", "y"): [1.0, np.nan, 3.0]}
    values |= {("b", "x"): [2.0, 2.5, 3.0], ("b", "y"): [2.0, 2.0, 3.0]}
    table = paired_tests(_scores(values), ["a", "b"], {"rmse": ["x", "y"]}).set_index("property")
    assert table.loc[MEAN, "folds"] == 2
    assert table.loc["x", "folds"] == 3


def test_no_models_give_an_empty_table_with_columns() -> None:
    table = paired_tests(_scores({("a", "x"): [1.0, 2.0]}), ["a"], {})
    assert len(table) == 0
    assert "p_holm" in table.columns
