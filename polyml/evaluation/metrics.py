"""The metrics, one frozen table, and the scoring of out-of-fold predictions.

Every metric is computed on measured values only (NaN in ``y_true`` is left out) and in the modelled scale of the
property: log10(Barrer) for a permeability whose transform is ``log10``. Classes are scored by their codes.
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
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    matthews_corrcoef,
    mean_absolute_error,
    r2_score,
    recall_score,
    roc_auc_score,
    root_mean_squared_error,
)

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
        ``(y_true, y_pred) -> float`` on vectors without NaN; of a metric that reads probabilities ``y_pred`` has shape
        (n, classes).
    direction : {"minimize", "maximize"}
    unit : {"property", "none"}
        Whether the score carries the modelled scale of the property or is a bare number. Only bare numbers may be
        averaged over properties of different scales.
    needs_spread : bool
        Undefined (NaN) unless the measured values differ.
    task : {"regression", "classification"}
    reads : {"prediction", "probability"}
    """

    name: str
    title: str
    function: Callable[[np.ndarray, np.ndarray], float]
    direction: Literal["minimize", "maximize"]
    unit: Literal["property", "none"]
    needs_spread: bool = False
    task: Literal["regression", "classification"] = "regression"
    reads: Literal["prediction", "probability"] = "prediction"

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


def _balanced_accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    # Over the classes that occur; scikit-learn's own function warns where a class was only predicted.
    return float(recall_score(y_true, y_pred, labels=np.unique(y_true), average="macro", zero_division=0.0))


def _macro_f1(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    return float(f1_score(y_true, y_pred, average="macro", zero_division=0.0))


def _roc_auc(y_true: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve; of several classes the mean over each against the rest, of those that occur."""
    codes = np.unique(y_true).astype(int)
    if probability.shape[1] == 2:
        codes = codes[codes == 1]
    areas = [roc_auc_score(y_true == code, probability[:, code]) for code in codes]
    return float(np.mean(areas)) if areas else math.nan


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("rmse", "RMSE", root_mean_squared_error, "minimize", "property"),
            Metric("mae", "MAE", mean_absolute_error, "minimize", "property"),
            Metric("r2", "R²", r2_score, "maximize", "none", needs_spread=True),
            Metric("spearman", "Spearman ρ", _spearman, "maximize", "none", needs_spread=True),
            Metric("mcc", "MCC", matthews_corrcoef, "maximize", "none", task="classification"),
            Metric(
                "balanced_accuracy", "Balanced accuracy", _balanced_accuracy, "maximize", "none", task="classification"
            ),
            Metric("f1", "F1 (macro)", _macro_f1, "maximize", "none", task="classification"),
            Metric("accuracy", "Accuracy", accuracy_score, "maximize", "none", task="classification"),
            Metric(
                "roc_auc",
                "ROC-AUC",
                _roc_auc,
                "maximize",
                "none",
                needs_spread=True,
                task="classification",
                reads="probability",
            ),
        )
    }
)
"""Every metric by name."""


DEFAULT_METRICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "regression": ("rmse", "mae", "r2"),
        "classification": ("mcc", "balanced_accuracy", "f1", "accuracy", "roc_auc"),
    }
)
"""What a comparison scores by, for each task."""


def deciding_metric(names: Sequence[str]) -> str:
    """Return the metric that decides the order of models: R² if it is computed, else the first.

    Examples
    --------
    >>> deciding_metric(["rmse", "r2"]), deciding_metric(["mae", "rmse"])
    ('r2', 'mae')
    """
    return "r2" if "r2" in names else names[0]


def make_metrics(names: Iterable[str] | None, task: str = "regression") -> list[Metric]:
    """Look metrics up by name, each once; None for those of the task.

    Raises
    ------
    UserError
        For an unknown name, one of another task, or an empty list.
    """
    known = {name: metric for name, metric in METRICS.items() if metric.task == task}
    unique = list(dict.fromkeys(DEFAULT_METRICS[task] if names is None else names))
    for name in unique:
        if name not in known:
            raise unknown_name(f"metric of a {task}", name, known)
    if not unique:
        raise UserError("no metric to compare by", fix=f"name at least one of: {', '.join(known)}")
    return [known[name] for name in unique]


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Return the columns of tidy predictions that hold the probability of each class.

    Examples
    --------
    >>> probability_columns(["polyamide", "polyester"])
    ['p[polyamide]', 'p[polyester]']
    """
    return [f"p[{name}]" for name in classes]


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
        apart = (above[["y_true", "y_pred"]] - below[["y_true", "y_pred"]]).reindex(above.index)
        # What else is known of a row is of its polymer, not of the property.
        part = above.assign(y_true=apart["y_true"], y_pred=apart["y_pred"], std=np.nan, lower=np.nan, upper=np.nan)
        parts.append(part.assign(property=ratio.name).reset_index())
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
    probabilities = [name for name in predictions.columns if name.startswith("p[")]
    for group, part in predictions.groupby(by, sort=False, observed=True):
        truth, predicted = part["y_true"].to_numpy(float), part["y_pred"].to_numpy(float)
        n_test = int((~np.isnan(truth)).sum())
        head = dict(zip(by, group, strict=True))
        for metric in metrics:
            found = part[probabilities].to_numpy(float) if metric.reads == "probability" else predicted
            rows.append(head | {"metric": metric.name, "score": metric(truth, found), "n_test": n_test})
    return pd.DataFrame(rows, columns=[*by, "metric", "score", "n_test"])
