"""The metrics, one frozen table, and the scoring of out-of-fold predictions.

Every metric is computed on measured values only (NaN in ``y_true`` is left out) and in the modelled scale of the
property: log10(Barrer) for a permeability whose transform is ``log10``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from polyml.errors import UserError, unknown_name

MEAN = "mean over properties"
"""The name under which a mean over all properties stands in tables."""


@dataclass(frozen=True)
class Metric:
    """A score of predictions, with its direction and the unit it is given in.

    Attributes
    ----------
    name, title : str
        Name in tables and files; name for people.
    function : callable
        ``(y_true, y_pred) -> float`` on vectors without NaN.
    direction : {"minimize", "maximize"}
    unit : {"property", "none"}
        Whether the score carries the modelled scale of the property or is a bare number. Only bare numbers may be
        averaged over properties of different scales.
    needs_spread : bool
        Undefined (NaN) unless the measured values differ.
    """

    name: str
    title: str
    function: Callable[[np.ndarray, np.ndarray], float]
    direction: Literal["minimize", "maximize"]
    unit: Literal["property", "none"]
    needs_spread: bool = False

    def __call__(self, y_true: np.ndarray, y_pred: np.ndarray) -> float:
        """Score predictions of shape (n,); NaN where nothing was measured or the metric is undefined.

        Examples
        --------
        >>> METRICS["mae"](np.array([1.0, np.nan, 2.0]), np.array([1.5, 9.0, 2.0]))
        0.25
        >>> METRICS["r2"](np.array([1.0, 1.0]), np.array([1.0, 2.0]))
        nan
        """
        truth, predicted = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=float)
        measured = ~np.isnan(truth)
        truth, predicted = truth[measured], predicted[measured]
        if truth.size == 0 or (self.needs_spread and np.ptp(truth) == 0.0):
            return math.nan
        return float(self.function(truth, predicted))


def _spearman(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    # scipy warns and gives NaN for constant predictions, which is what the mean model makes.
    return math.nan if np.ptp(y_pred) == 0.0 else float(spearmanr(y_true, y_pred).statistic)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("rmse", "RMSE", root_mean_squared_error, "minimize", "property"),
            Metric("mae", "MAE", mean_absolute_error, "minimize", "property"),
            Metric("r2", "R²", r2_score, "maximize", "none", needs_spread=True),
            Metric("spearman", "Spearman ρ", _spearman, "maximize", "none", needs_spread=True),
        )
    }
)
"""Every metric by name."""


def make_metrics(names: Iterable[str]) -> list[Metric]:
    """Look metrics up by name, each once.

    Raises
    ------
    UserError
        For an unknown name or an empty list.
    """
    unique = list(dict.fromkeys(names))
    for name in unique:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    if not unique:
        raise UserError("no metric to compare by", fix=f"name at least one of: {', '.join(METRICS)}")
    return [METRICS[name] for name in unique]


@dataclass(frozen=True)
class Ratio:
    """A derived quantity: the ratio of two properties, scored as log10(numerator / denominator).

    The ideal selectivity of a membrane is the ratio of two permeabilities. Both properties are modelled as log10, so
    the log-ratio is their difference; it is measured where both are.

    Examples
    --------
    >>> Ratio("O2", "N2").name
    'O2/N2'
    """

    numerator: str
    denominator: str

    @property
    def name(self) -> str:
        """Name of the pseudo-property in tables."""
        return f"{self.numerator}/{self.denominator}"


def make_ratios(pairs: Iterable[Ratio | Sequence[str] | str], transforms: Mapping[str, str]) -> list[Ratio]:
    """Read ratios given as ``"O2/N2"`` or ``("O2", "N2")`` and check them against the properties.

    Parameters
    ----------
    pairs : iterable of str, pair or Ratio
    transforms : mapping
        Transform of each property by name.

    Raises
    ------
    UserError
        For a property that is not there or is not modelled as log10.

    Examples
    --------
    >>> make_ratios(["O2/N2"], {"O2": "log10", "N2": "log10"})
    [Ratio(numerator='O2', denominator='N2')]
    """
    ratios = [pair if isinstance(pair, Ratio) else _read_ratio(pair) for pair in pairs]
    for ratio in ratios:
        for name in (ratio.numerator, ratio.denominator):
            if name not in transforms:
                raise unknown_name("property", name, transforms, where=f"ratio {ratio.name}")
            if transforms[name] != "log10":
                raise UserError(
                    f"property '{name}' is not modelled as log10",
                    where=f"ratio {ratio.name}",
                    fix=f"give '{name}' the transform log10, or drop the ratio",
                )
    return list(dict.fromkeys(ratios))


def _read_ratio(pair: Sequence[str] | str) -> Ratio:
    parts = [part.strip() for part in (pair.split("/") if isinstance(pair, str) else pair)]
    if len(parts) != 2 or not all(parts):
        raise UserError(f"'{pair}' is not a ratio of two properties", fix="write it like O2/N2")
    return Ratio(*parts)


def ratio_predictions(predictions: pd.DataFrame, ratios: Sequence[Ratio]) -> pd.DataFrame:
    """Derive the rows of the ratios from the rows of their properties.

    Parameters
    ----------
    predictions : DataFrame
        Tidy: model, repeat, fold, key, psmiles, property, y_true, y_pred, std, lower, upper, in log10.
    ratios : sequence of Ratio

    Returns
    -------
    DataFrame
        The same columns. ``y_true`` is NaN unless both properties are measured; the spread is NaN, since the errors
        of the two properties are correlated and no model here gives their covariance.
    """
    identity = ["model", "repeat", "fold", "key", "psmiles"]
    parts = []
    for ratio in ratios:
        above = predictions[predictions["property"] == ratio.numerator].set_index(identity)
        below = predictions[predictions["property"] == ratio.denominator].set_index(identity)
        part = (above[["y_true", "y_pred"]] - below[["y_true", "y_pred"]]).reindex(above.index).reset_index()
        parts.append(part.assign(property=ratio.name, std=np.nan, lower=np.nan, upper=np.nan))
    columns = list(predictions.columns)
    return pd.concat(parts, ignore_index=True)[columns] if parts else predictions.iloc[:0]


def score(predictions: pd.DataFrame, metrics: Sequence[Metric]) -> pd.DataFrame:
    """Score tidy predictions per model, repeat, fold and property.

    Returns
    -------
    DataFrame
        Columns model, repeat, fold, property, metric, score, n_test (measured values in the test part), in the order
        in which models and properties first appear.
    """
    rows = []
    by = ["model", "repeat", "fold", "property"]
    for group, part in predictions.groupby(by, sort=False, observed=True):
        truth, predicted = part["y_true"].to_numpy(float), part["y_pred"].to_numpy(float)
        n_test = int((~np.isnan(truth)).sum())
        head = dict(zip(by, group, strict=True))
        rows += [head | {"metric": m.name, "score": m(truth, predicted), "n_test": n_test} for m in metrics]
    return pd.DataFrame(rows, columns=[*by, "metric", "score", "n_test"])
