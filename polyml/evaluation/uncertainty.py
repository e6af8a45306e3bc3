"""How far predicted spreads and intervals can be trusted, measured on out-of-fold predictions.

The predictions of all folds are taken together, model by model and property by property, in the modelled scale. What a
model without a spread would score is not defined (NaN).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid
from scipy.stats import norm, spearmanr

from polyml.models.base import LEVEL

TITLES: Mapping[str, str] = {
    "coverage": "share of measured values inside the 90 % interval",
    "interval_width": "mean width of the 90 % interval (sharpness)",
    "interval_score": "interval score of the 90 % interval",
    "miscalibration_area": "miscalibration area",
    "nll": "negative log-likelihood",
    "error_std_correlation": "rank correlation of |error| and standard deviation",
}
"""The measures by name, as people call them. Coverage is best at 0.9; of the last more is better, of the rest less."""
COLUMNS = ["model", "property", "n", "n_zero_std", *TITLES]
NO_SPREAD = 1e-6
"""Standard deviations up to this share of that of the measured values are taken for zero: where all trees of a forest
agree, rounding errors are what is left. No density can be had of them, and one would outweigh all other polymers."""
_LEVELS = np.linspace(0.0, 1.0, 101)


def uncertainty_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Measure the spreads of each model and property.

    Parameters
    ----------
    predictions : DataFrame
        Tidy out-of-fold predictions: model, property, y_true, y_pred, std, lower, upper.

    Returns
    -------
    DataFrame
        Columns model, property, n (measured values that were predicted with a spread), n_zero_std (those among them
        whose spread is nearly zero, see :data:`NO_SPREAD`), and the measures of :data:`TITLES`. Those of a model
        without a spread are NaN, and so is the negative log-likelihood beside a spread of zero.
    """
    if predictions.empty:
        return pd.DataFrame(columns=COLUMNS)
    rows = [
        {"model": model, "property": name, **measures(part)}
        for (model, name), part in predictions.groupby(["model", "property"], sort=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def measures(predictions: pd.DataFrame) -> dict[str, float]:
    """Return ``n``, ``n_zero_std`` and the measures of :data:`TITLES` of one model and property."""
    known = with_spread(predictions)
    if known.empty:
        return {"n": 0, "n_zero_std": 0} | dict.fromkeys(TITLES, math.nan)
    y, mean, std, lower, upper = (known[name].to_numpy(float) for name in ("y_true", "y_pred", "std", "lower", "upper"))
    none = int((std <= NO_SPREAD * y.std()).sum())
    return {
        "n": len(known),
        "n_zero_std": none,
        "coverage": float(((lower <= y) & (y <= upper)).mean()),
        "interval_width": float((upper - lower).mean()),
        "interval_score": interval_score(y, lower, upper),
        "miscalibration_area": miscalibration_area(y - mean, std),
        "nll": math.nan if none else gaussian_nll(y - mean, std),
        "error_std_correlation": error_std_correlation(y - mean, std),
    }


def with_spread(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that were measured and have a standard deviation and an interval."""
    return predictions.dropna(subset=["y_true", "y_pred", "std", "lower", "upper"])


def interval_score(y: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
    """Return the mean width of 90 % intervals, and 20 times the distance of the values outside from them.

    It is the least for the true quantiles, so that neither narrow intervals nor wide ones can win by themselves.
    Gneiting and Raftery: Strictly proper scoring rules, prediction, and estimation. J. Am. Stat. Assoc. 102, 359
    (2007).

    Examples
    --------
    >>> round(interval_score(np.array([0.0, 3.0]), np.array([-1.0, -1.0]), np.array([1.0, 1.0])), 6)
    22.0
    """
    outside = np.maximum(lower - y, 0.0) + np.maximum(y - upper, 0.0)
    return float((upper - lower + 2.0 / (1.0 - LEVEL) * outside).mean())


def calibration_curve(errors: np.ndarray, std: np.ndarray) -> pd.DataFrame:
    """Return how many errors lie inside the central intervals that normal distributions of these spreads promise.

    Kuleshov, Fenner and Ermon: Accurate uncertainties for deep learning using calibrated regression. ICML 2018.

    Parameters
    ----------
    errors, std : ndarray of shape (n,)

    Returns
    -------
    DataFrame
        ``expected`` share, 0 to 1 in steps of 0.01, and the ``observed`` one.

    Examples
    --------
    >>> curve = calibration_curve(np.array([0.5, -1.0, 2.0]), np.ones(3))
    >>> float(curve["observed"][68].round(3)), float(curve["observed"][69].round(3))  # 68.3 % lie within one std
    (0.333, 0.667)
    """
    # An error of zero is inside any interval, one beside a spread of zero in none but the last.
    z = np.divide(np.abs(errors), std, out=np.where(errors == 0, 0.0, np.inf), where=std > 0)
    needed = np.sort(2.0 * norm.cdf(z) - 1.0)
    return pd.DataFrame(
        {"expected": _LEVELS, "observed": np.searchsorted(needed, _LEVELS + 1e-12, side="right") / len(z)}
    )


def miscalibration_area(errors: np.ndarray, std: np.ndarray) -> float:
    """Return the area between the calibration curve and the diagonal: 0 at best, 0.5 at worst.

    Tran et al.: Methods for comparing uncertainty quantifications for material property predictions. Mach. Learn.: Sci.
    Technol. 1, 025006 (2020).

    Examples
    --------
    >>> errors = norm.ppf((np.arange(1000) + 0.5) / 1000)
    >>> round(miscalibration_area(errors, np.ones(1000)), 2), round(miscalibration_area(errors, np.full(1000, 1e9)), 1)
    (0.0, 0.5)
    """
    curve = calibration_curve(errors, std)
    return float(trapezoid((curve["observed"] - curve["expected"]).abs(), curve["expected"]))


def gaussian_nll(errors: np.ndarray, std: np.ndarray) -> float:
    """Return the mean negative logarithm of the normal density of the errors; infinite beside a spread of zero.

    Examples
    --------
    >>> round(gaussian_nll(np.array([1.0]), np.array([1.0])), 4)
    1.4189
    """
    if (std == 0).any():
        return math.inf
    return float(-norm.logpdf(errors, scale=std).mean())


def error_std_correlation(errors: np.ndarray, std: np.ndarray) -> float:
    """Return Spearman's correlation of the size of the errors with the spread; NaN where either is constant."""
    if np.ptp(std) == 0.0 or np.ptp(np.abs(errors)) == 0.0:
        return math.nan
    return float(spearmanr(np.abs(errors), std).statistic)


def error_by_std(errors: np.ndarray, std: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Divide predictions into bins of equal number by their spread; return ``std``, ``rmse`` and ``n`` of each.

    ``std`` is the root mean square of the spreads: beside it stands the ``rmse`` that it promised. Levi et al.:
    Evaluating and calibrating uncertainty prediction in regression tasks. Sensors 22, 5540 (2022).

    Examples
    --------
    >>> error_by_std(np.array([1.0, -1.0, 3.0, 3.0]), np.array([1.0, 1.0, 2.0, 2.0]), bins=2)["rmse"].tolist()
    [1.0, 3.0]
    """
    parts = [part for part in np.array_split(np.argsort(std, kind="stable"), bins) if len(part)]
    rows = [(np.sqrt((std[p] ** 2).mean()), np.sqrt((errors[p] ** 2).mean()), len(p)) for p in parts]
    return pd.DataFrame(rows, columns=["std", "rmse", "n"])
