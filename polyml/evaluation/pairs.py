"""Tests of pairs of models, as one table: by folds, by resampled polymers, and polymer by polymer.

Three questions are kept apart:

- Would one model win again with other training and test parts? The corrected resampled t-test over folds (p, Holm), and
  the Bayesian correlated t-test, which tells "practically equal" from "undecided". Verdicts are based on these. Five
  folds are few: the t-test is made on the logarithm of the errors too, whose differences vary the least from fold to
  fold, as a fold that is hard for one model is hard for the other.
- How far apart are the scores of these predictions? A bootstrap interval of the difference of the pooled scores.
- Are the errors of one usually smaller, polymer by polymer? Wilcoxon's signed-rank test. As the bootstrap, it takes the
  models as they were trained, and sees smaller differences than the tests over folds.

References
----------
Wilcoxon, F. Individual comparisons by ranking methods. Biometrics Bulletin 1, 80-83 (1945).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType

import numpy as np
import pandas as pd

from polyml.evaluation.bootstrap import PooledScores
from polyml.evaluation.metrics import MEAN, METRICS
from polyml.evaluation.stats import corrected_resampled_ttest, correlated_bayesian_ttest, holm

ROPE = 0.01
"""Half width of the region of practical equivalence: differences that do not matter. Of R² and other bare numbers by
themselves, of errors as a share of the spread (standard deviation) of the measured values, of their logarithms as a
share of the error."""

LOG_ERRORS: Mapping[str, str] = MappingProxyType({"r2": "log_rmse", "rmse": "log_rmse", "mae": "log_mae"})
"""The logarithm of an error that is tested for a metric, as a metric of its own. Its differences are ratios of errors:
of 0.1 the error of A is 10 % larger."""

TOP = 5
COLUMNS = [
    "metric", "property", "model_a", "model_b", "mean_a", "mean_b", "difference", "better", "t", "p", "p_holm",
    "p_holm_best", "folds", "reason", "rope", "p_a_better", "p_equal", "p_b_better", "verdict",
]  # fmt: skip
"""Columns of :func:`paired_tests`; :func:`add_bootstrap` and :func:`add_wilcoxon` add theirs."""


def paired_tests(
    scores: pd.DataFrame,
    models: Sequence[str],
    means: Mapping[str, Mapping[str, float]],
    *,
    spreads: Mapping[str, float] | None = None,
    rope: float = ROPE,
    top: int = TOP,
) -> pd.DataFrame:
    """Test the best model against every other and the top models pair by pair, by property and on the mean.

    Parameters
    ----------
    scores : DataFrame
        Tidy results with columns model, repeat, fold, property, metric, score, n_train, n_test.
    models : sequence of str
        The models, best first.
    means : mapping
        For each metric the weights of the properties in its mean, which is tested too; none for no mean.
    spreads : mapping, optional
        Standard deviation of the measured values of each property: what errors are compared with. No verdict is given
        on errors of other properties.
    rope : float
        See :data:`ROPE`.
    top : int
        How many of the best models are tested pair by pair.

    Returns
    -------
    DataFrame
        One row a metric, property and pair: ``difference`` is ``mean_a - mean_b``; ``better`` is the model with the
        better mean; ``p_holm`` is adjusted over the pairs of the top models, ``p_holm_best`` over the tests of all
        models against the best, each for one metric and property. ``p_a_better``, ``p_equal`` and ``p_b_better`` are
        the probabilities that a difference of more than ``rope`` favours A, that there is none, and that it favours B.
    """
    chosen = scores[scores["model"].isin(list(models))]
    spreads = spreads or {}
    parts = []
    for (metric, prop), rows in chosen.groupby(["metric", "property"], sort=False, observed=True):
        unit = spreads.get(str(prop), math.nan) if _has_unit(str(metric)) else 1.0
        parts.append(_tests_of(rows, models, str(metric), str(prop), rope * unit, top))
    for metric, shares in means.items():
        rows = chosen[(chosen["metric"] == metric) & chosen["property"].isin(list(shares))]
        if len(shares) > 1 and len(rows):
            unit = 1.0
            if _has_unit(metric):
                unit = sum(share * spreads.get(prop, math.nan) for prop, share in shares.items())
            parts.append(_tests_of(_mean_of(rows, shares), models, metric, MEAN, rope * unit, top))
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _has_unit(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].unit == "property"


def _mean_of(rows: pd.DataFrame, shares: Mapping[str, float]) -> pd.DataFrame:
    by = ["model", "repeat", "fold"]
    wide = rows.pivot(index=by, columns="property", values="score")
    sizes = rows.groupby(by, observed=True)[["n_train", "n_test"]].mean()
    # A fold where one property has no score has no mean: skipping it would average over other properties.
    weighted = wide.mul(pd.Series(shares)).sum(axis=1, skipna=False)
    return sizes.assign(score=weighted).reset_index()


def _tests_of(rows: pd.DataFrame, models: Sequence[str], metric: str, prop: str, rope: float, top: int) -> pd.DataFrame:
    """Test pairs of models on one metric of one property."""
    wide = rows.pivot(index=["repeat", "fold"], columns="model", values="score")
    sizes = rows.drop_duplicates(["repeat", "fold"])
    ratio = float((sizes["n_test"] / sizes["n_train"]).mean())
    sign = 1.0 if metric in METRICS and METRICS[metric].direction == "maximize" else -1.0
    present = [model for model in models if model in wide.columns]
    pairs = [*combinations(present[:top], 2), *((present[0], other) for other in present[max(top, 1) :])]
    tests = []
    for a, b in pairs:
        gap = (wide[a] - wide[b]).to_numpy()
        test = corrected_resampled_ttest(gap, ratio)
        belief = correlated_bayesian_ttest(sign * gap, ratio, rope)
        gain = sign * test.difference
        better = "" if math.isnan(gain) or gain == 0 else (a if gain > 0 else b)
        numbers = (wide[a].mean(), wide[b].mean(), test.difference, better, test.t, test.p, math.nan, math.nan)
        beliefs = (rope, belief.greater, belief.equal, belief.less, belief.verdict)
        tests.append((metric, prop, a, b, *numbers, test.folds, test.reason, *beliefs))
    table = pd.DataFrame(tests, columns=COLUMNS)
    return _adjusted(table, "p", "p_holm", "p_holm_best", present, top)


def _adjusted(table: pd.DataFrame, p: str, pairs: str, best: str, models: Sequence[str], top: int) -> pd.DataFrame:
    """Adjust p values over the pairs of the top models, and over the tests against the best."""
    among = table["model_b"].isin(list(models)[:top])
    against = table["model_a"] == models[0] if models else among
    for column, chosen in ((pairs, among), (best, against)):
        table[column] = np.nan
        table.loc[chosen, column] = holm(table.loc[chosen, p].to_numpy(dtype=float))
    return table


def add_bootstrap(table: pd.DataFrame, pooled: PooledScores) -> pd.DataFrame:
    """Add ``pooled_difference`` (A minus B) with the ends of its 95 % bootstrap interval, ``pooled_low`` and ``_high``.

    Both models are scored on the same resampled polymers.
    """
    rows = zip(table["metric"], table["property"], table["model_a"], table["model_b"], strict=True)
    found = [pooled.difference(*row) for row in rows]
    columns = ["pooled_difference", "pooled_low", "pooled_high"]
    return table.join(pd.DataFrame(found, columns=columns, index=table.index, dtype=float))


def polymer_errors(
    predictions: pd.DataFrame, properties: Sequence[str], spreads: Mapping[str, float], *, classes: bool = False
) -> dict[str, pd.DataFrame]:
    """Average the absolute errors of each polymer over its rows and repeats.

    Parameters
    ----------
    predictions : DataFrame
        Tidy out-of-fold predictions.
    properties : sequence of str
        Those of the mean; of a polymer, over the properties that are measured, each error divided by the spread.
    spreads : mapping
        Standard deviation of the measured values of each property.
    classes : bool
        Count wrong classes instead.

    Returns
    -------
    dict of DataFrame
        For each property, and for the mean over properties if there are several, polymers by models.
    """
    if predictions.empty:
        return {}
    gap = predictions["y_pred"] - predictions["y_true"]
    error = (gap != 0).where(gap.notna()).astype(float) if classes else gap.abs()
    frame = predictions[["model", "key", "property"]].assign(error=error).dropna(subset=["error"])
    means = frame.groupby(["property", "key", "model"], observed=True)["error"].mean().unstack("model")
    tables = {str(prop): part.droplevel(0) for prop, part in means.groupby(level=0)}
    chosen = [prop for prop in properties if prop in tables and (classes or spreads.get(prop, 0.0) > 0)]
    if len(chosen) > 1:
        scaled = [tables[prop] / (1.0 if classes else spreads[prop]) for prop in chosen]
        tables[MEAN] = pd.concat(scaled).groupby(level=0).mean()
    return tables


def add_wilcoxon(
    table: pd.DataFrame, errors: Mapping[str, pd.DataFrame], models: Sequence[str], top: int = TOP
) -> pd.DataFrame:
    """Add Wilcoxon's signed-rank test of the absolute errors, polymer by polymer; the same for every metric.

    Parameters
    ----------
    table : DataFrame
        From :func:`paired_tests`.
    errors : mapping
        From :func:`polymer_errors`.
    models, top
        As for :func:`paired_tests`.

    Returns
    -------
    DataFrame
        With ``polymers`` (pairs of errors), ``wilcoxon_p`` and, adjusted by Holm as the t-tests are,
        ``wilcoxon_p_holm`` and ``wilcoxon_p_holm_best``; NaN where no error differs.
    """
    found: dict[tuple[str, str, str], tuple[int, float]] = {}
    rows = list(zip(table["property"], table["model_a"], table["model_b"], strict=True))
    for row in dict.fromkeys(rows):
        found[row] = _wilcoxon(errors.get(row[0]), row[1], row[2])
    table = table.assign(polymers=[found[row][0] for row in rows], wilcoxon_p=[found[row][1] for row in rows])
    parts = [
        _adjusted(part.copy(), "wilcoxon_p", "wilcoxon_p_holm", "wilcoxon_p_holm_best", models, top)
        for _, part in table.groupby(["metric", "property"], sort=False)
    ]
    return pd.concat(parts) if parts else table.assign(wilcoxon_p_holm=math.nan, wilcoxon_p_holm_best=math.nan)


def _wilcoxon(errors: pd.DataFrame | None, a: str, b: str) -> tuple[int, float]:
    """Return the number of pairs and the two-sided p value."""
    from scipy.stats import wilcoxon

    if errors is None or a not in errors.columns or b not in errors.columns:
        return 0, math.nan
    gap = (errors[a] - errors[b]).dropna().to_numpy(dtype=float)
    return len(gap), float(wilcoxon(gap).pvalue) if np.any(gap != 0) else math.nan


def fold_scores(scores: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    r"""Return the scores of folds that are tested: R² of a fold measured against the spread of all measured values.

    Within a fold of one scaffold or cluster the measured values may hardly differ; its R² is then a large negative
    number that says nothing, and rules every mean and test. For fold f of J in a repeat this is used instead:

    .. math:: R^2_f = 1 - J \, \sum_{i \in f} (y_i - \hat y_i)^2 \Big/ \sum_i (y_i - \bar y)^2

    Its mean over the folds is exactly the pooled R², so that tests and order speak of one number. Other scores are left
    as they are.
    """
    if predictions.empty or not (scores["metric"] == "r2").any():
        return scores
    rows = predictions.dropna(subset=["y_true"])
    rows = rows.assign(square=(rows["y_true"] - rows["y_pred"]) ** 2)
    whole = ["model", "repeat", "property"]
    squares = rows.groupby([*whole, "fold"], observed=True)["square"].sum().reset_index()
    groups = rows.groupby(whole, observed=True)
    total = groups["y_true"].var(ddof=0) * groups.size()
    basis = pd.DataFrame({"total": total.where(total > 0), "folds": groups["fold"].nunique()}).reset_index()
    squares = squares.merge(basis, on=whole)
    squares["shared"] = 1.0 - squares["folds"] * squares["square"] / squares["total"]
    merged = scores.merge(squares[[*whole, "fold", "shared"]], on=[*whole, "fold"], how="left")
    return scores.assign(score=merged["shared"].where(merged["metric"] == "r2", merged["score"]).to_numpy())


def log_errors(scores: pd.DataFrame, predictions: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the logarithm of the error of each fold, in the rows of a metric; none where :data:`LOG_ERRORS` has none.

    Parameters
    ----------
    scores : DataFrame
        Tidy results, whose rows of ``metric`` are taken over.
    predictions : DataFrame
    metric : str

    Returns
    -------
    DataFrame
        The root of the mean square or the mean of the absolute errors, as a logarithm. Errors below a millionth of the
        measured values count as that, so that a perfect prediction has a logarithm too.
    """
    own = scores[scores["metric"] == metric]
    if metric not in LOG_ERRORS or predictions.empty:
        return own.iloc[:0]
    by = ["model", "repeat", "fold", "property"]
    rows = predictions.dropna(subset=["y_true"])
    gap = (rows["y_true"] - rows["y_pred"]).abs()
    power = 2 if LOG_ERRORS[metric] == "log_rmse" else 1
    rows = rows.assign(error=gap**power, size=rows["y_true"].abs() ** power)
    means = rows.groupby(by, observed=True)[["error", "size"]].mean() ** (1 / power)
    floor = np.maximum(1e-6 * means["size"], np.finfo(float).tiny)
    logs = means.assign(log=np.log(np.maximum(means["error"], floor)))["log"].reset_index()
    merged = own.merge(logs, on=by, how="left")
    return own.assign(metric=LOG_ERRORS[metric], score=merged["log"].to_numpy())
