"""Is one model better than another, or is it the luck of the folds?

Scores of folds are not independent: the training parts overlap, and a plain paired t-test finds differences where
there are none. The corrected resampled t-test widens the variance by the share of test to training rows.

References
----------
Nadeau, C., Bengio, Y. Inference for the generalization error. Machine Learning 52, 239-281 (2003).
Bouckaert, R. R., Frank, E. Evaluating the replicability of significance tests for comparing learning algorithms.
PAKDD 2004, 3-12 (the same correction for repeated k-fold).
Holm, S. A simple sequentially rejective multiple test procedure. Scand. J. Statist. 6, 65-70 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import t as student

from polyml.evaluation.metrics import MEAN, METRICS

COLUMNS = [
    "metric", "property", "model_a", "model_b", "mean_a", "mean_b", "difference", "better",
    "t", "p", "p_holm", "folds", "reason",
]  # fmt: skip


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
    values = np.asarray(differences, dtype=float)
    values = values[~np.isnan(values)]
    folds = len(values)
    mean = float(values.mean()) if folds else math.nan
    if folds < 2:
        return TTest(mean, math.nan, math.nan, folds, "fewer than two folds with scores of both models")
    # Equal differences leave a variance of rounding error, which would make any p value as small as one likes.
    if np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return TTest(mean, math.nan, math.nan, folds, "the difference is the same on every fold")
    if not (math.isfinite(test_train_ratio) and test_train_ratio > 0):
        return TTest(mean, math.nan, math.nan, folds, "the share of test to training rows is not known")
    variance = (1.0 / folds + test_train_ratio) * float(values.var(ddof=1))
    statistic = mean / math.sqrt(variance)
    return TTest(mean, statistic, float(2.0 * student.sf(abs(statistic), folds - 1)), folds)


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


def paired_tests(scores: pd.DataFrame, models: Sequence[str], averaged: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Test every pair of models on every property and on the mean over properties.

    Parameters
    ----------
    scores : DataFrame
        Tidy results with columns model, repeat, fold, property, metric, score, n_train, n_test.
    models : sequence of str
        The models to pair, best first.
    averaged : mapping
        For each metric the properties whose mean is tested too; an empty list for none.

    Returns
    -------
    DataFrame
        One row a metric, property and pair: ``difference`` is ``mean_a - mean_b``; ``better`` is the model with the
        better mean; ``p_holm`` is adjusted over the pairs of the same metric and property.
    """
    chosen = scores[scores["model"].isin(list(models))]
    parts = []
    for (metric, prop), rows in chosen.groupby(["metric", "property"], sort=False, observed=True):
        parts.append(_tests_of(rows, models, str(metric), str(prop)))
    for metric, properties in averaged.items():
        rows = chosen[(chosen["metric"] == metric) & chosen["property"].isin(list(properties))]
        if len(properties) > 1 and len(rows):
            by = ["model", "repeat", "fold"]
            wide = rows.pivot(index=by, columns="property", values="score")
            sizes = rows.groupby(by, observed=True)[["n_train", "n_test"]].mean()
            # A fold where one property has no score has no mean: skipping it would average over other properties.
            means = sizes.assign(score=wide.mean(axis=1, skipna=False)).reset_index()
            parts.append(_tests_of(means, models, metric, MEAN))
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _tests_of(rows: pd.DataFrame, models: Sequence[str], metric: str, prop: str) -> pd.DataFrame:
    """Test the pairs of models on one metric of one property."""
    wide = rows.pivot(index=["repeat", "fold"], columns="model", values="score")
    sizes = rows.drop_duplicates(["repeat", "fold"])
    ratio = float((sizes["n_test"] / sizes["n_train"]).mean())
    sign = 1.0 if METRICS[metric].direction == "maximize" else -1.0
    tests = []
    for a, b in combinations([model for model in models if model in wide.columns], 2):
        test = corrected_resampled_ttest((wide[a] - wide[b]).to_numpy(), ratio)
        gain = sign * test.difference
        better = "" if math.isnan(gain) or gain == 0 else (a if gain > 0 else b)
        numbers = (wide[a].mean(), wide[b].mean(), test.difference, better, test.t, test.p, math.nan, test.folds)
        tests.append((metric, prop, a, b, *numbers, test.reason))
    table = pd.DataFrame(tests, columns=COLUMNS)
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    return table
