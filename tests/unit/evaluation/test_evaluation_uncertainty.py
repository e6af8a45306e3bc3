"""Measures of predicted spreads: numbers worked out by hand, scipy, and what is not defined."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from polyml.evaluation.uncertainty import (
    COLUMNS,
    TITLES,
    calibration_curve,
    error_by_std,
    error_std_correlation,
    gaussian_nll,
    interval_score,
    measures,
    miscalibration_area,
    uncertainty_table,
)


def tidy(**columns):
    frame = pd.DataFrame(columns)
    return frame.assign(model=frame.get("model", "m"), property=frame.get("property", "Tg"))


FOUR = tidy(
    y_true=[0.0, 1.0, 2.0, 9.0, np.nan],
    y_pred=[0.0, 0.0, 0.0, 0.0, 0.0],
    std=[1.0, 1.0, 2.0, 3.0, 1.0],
    lower=[-2.0, -2.0, -2.0, -4.0, 0.0],
    upper=[2.0, 2.0, 2.0, 4.0, 9.0],
)


def test_measures_by_hand():
    found = measures(FOUR)
    assert found["n"] == 4  # what was not measured does not count
    assert found["coverage"] == 0.75  # an end belongs to the interval
    assert found["interval_width"] == pytest.approx((4 + 4 + 4 + 8) / 4)
    assert found["interval_score"] == pytest.approx((4 + 4 + 4 + 8 + 20 * 5) / 4)
    expected = -np.mean([stats.norm.logpdf(e, scale=s) for e, s in [(0, 1), (1, 1), (2, 2), (9, 3)]])
    assert found["nll"] == pytest.approx(expected)
    assert found["error_std_correlation"] == pytest.approx(stats.spearmanr([0, 1, 2, 9], [1, 1, 2, 3]).statistic)


def test_the_interval_score_is_least_for_the_true_quantiles():
    y = np.random.default_rng(0).normal(size=4000)
    scores = {
        half: interval_score(y, np.full(4000, -half), np.full(4000, half)) for half in (0.8, 1.2, 1.645, 2.2, 3.0)
    }
    assert min(scores, key=scores.get) == 1.645


def test_the_curve_of_right_spreads_is_the_diagonal_and_that_of_wrong_ones_is_known():
    rng = np.random.default_rng(1)
    std = rng.uniform(0.5, 2.0, size=20000)
    errors = std * rng.normal(size=20000)
    assert miscalibration_area(errors, std) < 0.01
    curve = calibration_curve(errors, std / 2)  # half the true spread: a promise of p is kept as 2 Phi(z_p / 2) - 1
    promised = curve["expected"].to_numpy()[1:-1]
    kept = 2 * stats.norm.cdf(stats.norm.ppf((1 + promised) / 2) / 2) - 1
    np.testing.assert_allclose(curve["observed"].to_numpy()[1:-1], kept, atol=0.012)
    exact = abs(promised - kept).sum() / 100
    assert miscalibration_area(errors, std / 2) == pytest.approx(exact, abs=0.01)
    assert miscalibration_area(errors, std * 2) > 0.1


def test_a_spread_of_zero():
    errors, std = np.array([0.0, 1.0]), np.array([0.0, 0.0])
    assert calibration_curve(errors, std)["observed"].tolist() == [0.5] * 100 + [1.0]
    assert gaussian_nll(errors, std) == math.inf
    assert math.isnan(error_std_correlation(errors, std))


@pytest.mark.parametrize(("tiny", "count"), [(0.0, 1), (3e-13, 1), (1e-3, 0)])
def test_a_spread_that_is_nearly_zero_gives_no_likelihood(tiny, count):
    """Where all trees agree, what is left of their spread is rounding error."""
    found = measures(FOUR.assign(std=[1.0, 1.0, 2.0, tiny, tiny]))  # the last was not measured
    assert found["n_zero_std"] == count
    assert math.isnan(found["nll"]) == bool(count)
    assert found["coverage"] == 0.75
    kelvin = FOUR.assign(**{name: 1e9 * FOUR[name] for name in ("y_true", "y_pred", "std", "lower", "upper")})
    assert measures(kelvin)["n_zero_std"] == 0  # small is what is small beside the measured values
    constant = FOUR.assign(y_true=[5.0] * 5)
    assert measures(constant)["n_zero_std"] == 0


def test_bins_hold_equal_numbers():
    rng = np.random.default_rng(2)
    std = rng.uniform(0.1, 1.0, size=1003)
    errors = std * rng.normal(size=1003)
    bins = error_by_std(errors, std)
    assert bins["n"].sum() == 1003
    assert bins["n"].max() - bins["n"].min() <= 1
    assert bins["std"].is_monotonic_increasing
    np.testing.assert_allclose(bins["rmse"], bins["std"], rtol=0.25)
    assert len(error_by_std(errors[:3], std[:3])) == 3


def test_a_model_without_a_spread_gets_no_numbers():
    plain = FOUR.assign(model="plain", std=np.nan, lower=np.nan, upper=np.nan)
    table = uncertainty_table(pd.concat([FOUR, plain, FOUR.assign(property="Tm")], ignore_index=True))
    assert list(table.columns) == COLUMNS
    assert table[["model", "property", "n"]].to_numpy().tolist() == [["m", "Tg", 4], ["plain", "Tg", 0], ["m", "Tm", 4]]
    assert table.iloc[1][list(TITLES)].isna().all()
    assert table.iloc[0][list(TITLES)].notna().all()
    assert table["n_zero_std"].tolist() == [0, 0, 0]
    empty = uncertainty_table(pd.DataFrame())
    assert list(empty.columns) == COLUMNS
    assert len(empty) == 0
