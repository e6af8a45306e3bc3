"""Is one model better than another, or is it the luck of the folds?

Scores of folds are not independent: the training parts overlap, and a plain paired t-test finds differences where
there are none. The corrected resampled t-test widens the variance by the share of test to training rows. Its Bayesian
counterpart also answers what a p value cannot: whether two models are practically equal.

References
----------
Nadeau, C., Bengio, Y. Inference for the generalization error. Machine Learning 52, 239-281 (2003).
Bouckaert, R. R., Frank, E. Evaluating the replicability of significance tests for comparing learning algorithms.
PAKDD 2004, 3-12 (the same correction for repeated k-fold).
Benavoli, A., Corani, G., Demsar, J., Zaffalon, M. Time for a change: a tutorial for comparing multiple classifiers
through Bayesian analysis. Journal of Machine Learning Research 18(77), 1-36 (2017).
Holm, S. A simple sequentially rejective multiple test procedure. Scand. J. Statist. 6, 65-70 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

LEVEL = 0.05
"""Significance level of the tests."""
SURE = 0.95
"""Probability from which on a verdict is given."""
BETTER, EQUAL, UNDECIDED = "better", "practically equal", "undecided"
"""What may be said of a pair of models."""

_NOT_PAIRED = "fewer than two folds with scores of both models"


@dataclass(frozen=True)
class TTest:
    """Outcome of a paired test.

    Attributes
    ----------
    difference : float
        Mean difference of the scores.
    t, p : float
        Statistic and two-sided p value; NaN where the test cannot be made.
    folds : int
        Number of paired scores J; the test has J - 1 degrees of freedom.
    reason : str
        Why there is no p value; empty where there is one.
    """

    difference: float
    t: float
    p: float
    folds: int
    reason: str = ""


def corrected_resampled_ttest(differences: Sequence[float] | np.ndarray, test_train_ratio: float) -> TTest:
    r"""Test whether the mean of paired score differences over J folds is zero.

    .. math:: t = \bar d \Big/ \sqrt{\left(\tfrac1J + \tfrac{n_{test}}{n_{train}}\right) s_d^2}

    Parameters
    ----------
    differences : array of shape (J,)
        Score of model A minus score of model B on each fold; NaN pairs are left out.
    test_train_ratio : float
        Rows in a test part over rows in a training part (1/4 for 5 folds).

    Returns
    -------
    TTest

    Examples
    --------
    >>> test = corrected_resampled_ttest([0.1, 0.2, 0.3, 0.2, 0.2], test_train_ratio=0.25)
    >>> round(test.t, 4), round(test.p, 4)
    (4.2164, 0.0135)
    """
    values = _paired(differences)
    folds = len(values)
    mean = float(values.mean()) if folds else math.nan
    if folds < 2:
        return TTest(mean, math.nan, math.nan, folds, _NOT_PAIRED)
    if _all_equal(values):
        return TTest(mean, math.nan, math.nan, folds, "the difference is the same on every fold")
    if not _is_share(test_train_ratio):
        return TTest(mean, math.nan, math.nan, folds, "the share of test to training rows is not known")
    statistic = mean / _standard_error(values, test_train_ratio)
    return TTest(mean, statistic, float(2.0 * student.sf(abs(statistic), folds - 1)), folds)


@dataclass(frozen=True)
class Posterior:
    """What is believed of the true mean difference of two scores after the folds have been seen.

    Attributes
    ----------
    less, equal, greater : float
        Probability that it lies below, within and above the region of practical equivalence; NaN where nothing is
        known. They add up to one.
    """

    less: float
    equal: float
    greater: float

    @property
    def verdict(self) -> str:
        """ "better" (one of the two), "practically equal" or "undecided"; empty where nothing is known."""
        if math.isnan(self.equal):
            return ""
        if self.equal > SURE:
            return EQUAL
        return BETTER if max(self.less, self.greater) > SURE else UNDECIDED


def correlated_bayesian_ttest(
    differences: Sequence[float] | np.ndarray, test_train_ratio: float, rope: float
) -> Posterior:
    r"""Weigh how likely the mean of paired score differences is negligible, or not.

    The posterior is a Student t distribution with :math:`J - 1` degrees of freedom, shifted to :math:`\bar d` and
    scaled by :math:`\sqrt{(1/J + n_{test}/n_{train})\, s_d^2}`: the closed form of Benavoli et al. with the
    correlation of folds that Nadeau and Bengio assume. Differences that are all the same leave no doubt.

    Parameters
    ----------
    differences, test_train_ratio
        As for :func:`corrected_resampled_ttest`.
    rope : float
        Differences from ``-rope`` to ``rope`` do not matter in practice.

    Returns
    -------
    Posterior

    Examples
    --------
    >>> found = correlated_bayesian_ttest([0.1, 0.2, 0.3, 0.2, 0.2], test_train_ratio=0.25, rope=0.05)
    >>> round(found.greater, 4), found.verdict
    (0.9829, 'better')
    """
    values = _paired(differences)
    if len(values) < 2 or math.isnan(rope) or not _is_share(test_train_ratio):
        return Posterior(math.nan, math.nan, math.nan)
    mean = float(values.mean())
    if _all_equal(values):
        return Posterior(float(mean < -rope), float(abs(mean) <= rope), float(mean > rope))
    scale = _standard_error(values, test_train_ratio)
    less = float(student.cdf((-rope - mean) / scale, len(values) - 1))
    greater = float(student.sf((rope - mean) / scale, len(values) - 1))
    return Posterior(less, max(0.0, 1.0 - less - greater), greater)


def _paired(differences: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(differences, dtype=float)
    return values[~np.isnan(values)]


def _is_share(test_train_ratio: float) -> bool:
    return math.isfinite(test_train_ratio) and test_train_ratio > 0


def _standard_error(values: np.ndarray, test_train_ratio: float) -> float:
    """Return the standard error of the mean of differences over folds whose training parts overlap."""
    return math.sqrt((1.0 / len(values) + test_train_ratio) * float(values.var(ddof=1)))


def _all_equal(values: np.ndarray) -> bool:
    # Equal differences leave a variance of rounding error, which would make any p value as small as one likes.
    return bool(np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Adjust p values for the number of tests made (Holm's step-down); NaN stays NaN and counts as no test.

    Examples
    --------
    >>> [round(float(p), 3) for p in holm([0.01, 0.04, 0.03, np.nan])]
    [0.03, 0.06, 0.06, nan]
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # argsort puts NaN last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
