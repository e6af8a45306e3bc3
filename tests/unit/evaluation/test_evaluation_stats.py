from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from polyml.evaluation.stats import corrected_resampled_ttest, correlated_bayesian_ttest, holm


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


def _student4(t: float) -> float:
    """Distribution function of Student's t with 4 degrees of freedom, in closed form."""
    root = t / math.sqrt(1 + t**2 / 4)
    return 0.5 + 3 / 8 * root * (1 - t**2 / (1 + t**2 / 4) / 12)


def test_the_posterior_against_a_hand_computation() -> None:
    # d as above: mean .10, variance .00625, J = 5, test/train = 1/4, that is a correlation of 1/5:
    # scale = sqrt((1/5 + (1/5)/(1 - 1/5)) * .00625) = sqrt(.45 * .00625) = .0530330; rope = .01.
    found = correlated_bayesian_ttest([0.05, 0.10, 0.00, 0.15, 0.20], 0.25, 0.01)
    below, above = (-0.01 - 0.10) / 0.0530330, (0.01 - 0.10) / 0.0530330
    assert found.less == pytest.approx(_student4(below), abs=1e-6)
    assert found.equal == pytest.approx(_student4(above) - _student4(below), abs=1e-6)
    assert found.greater == pytest.approx(1 - _student4(above), abs=1e-6)
    assert found.verdict == "undecided"  # P(greater) = .917


def test_without_a_rope_the_posterior_is_the_one_sided_t_test() -> None:
    differences = [0.05, 0.10, 0.00, 0.15, 0.20]
    assert correlated_bayesian_ttest(differences, 0.25, 0.0).less == pytest.approx(
        corrected_resampled_ttest(differences, 0.25).p / 2
    )


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.201, 0.199, 0.200, 0.2005, 0.1995], "better"),
        ([-0.201, -0.199, -0.200, -0.2005, -0.1995], "better"),
        ([0.001, -0.001, 0.0, 0.0005, -0.0005], "practically equal"),
        ([0.0, 0.0, 0.0], "practically equal"),  # equal predictions: there is nothing to doubt
        ([0.3, 0.3], "better"),
        ([0.3, -0.3, 0.1], "undecided"),
        ([0.3], ""),
        ([0.3, np.nan], ""),
    ],
)
def test_verdicts(differences: list[float], verdict: str) -> None:
    found = correlated_bayesian_ttest(differences, 0.25, 0.01)
    assert found.verdict == verdict
    if verdict:
        assert found.less + found.equal + found.greater == pytest.approx(1.0)
    assert correlated_bayesian_ttest(differences, 0.25, math.nan).verdict == ""
