"""The metrics under many weightings of the same rows at once, which is what a bootstrap asks for.

A resample that takes a polymer twice gives its rows the weight 2, and one that leaves it out the weight 0. Each
function here gives for weights of shape (n, b) what the metric of :data:`polyml.evaluation.metrics.METRICS` gives for
rows that are repeated so many times: b scores for each of m models, without copying a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True)
class Block:
    """Measured values and what m models predict for them.

    Attributes
    ----------
    polymer : ndarray of shape (n,)
        Which polymer a row belongs to, as an index.
    truth : ndarray of shape (n,)
    predicted : ndarray of shape (m, n)
    probability : ndarray of shape (m, n, c), optional
        Of each class.
    """

    polymer: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray | None = None


Weighted = Callable[[Block, np.ndarray], np.ndarray]


def _rmse(block: Block, weights: np.ndarray) -> np.ndarray:
    return np.sqrt(_ratio((block.predicted - block.truth) ** 2 @ weights, weights.sum(axis=0)))


def _mae(block: Block, weights: np.ndarray) -> np.ndarray:
    return _ratio(np.abs(block.predicted - block.truth) @ weights, weights.sum(axis=0))


def _r2(block: Block, weights: np.ndarray) -> np.ndarray:
    truth = block.truth - block.truth.mean()  # or the difference of two large sums would lose its digits
    total = truth**2 @ weights - _ratio((truth @ weights) ** 2, weights.sum(axis=0))
    total[total <= 1e-12 * max(float((truth**2).sum()), 1e-300)] = 0.0
    return 1.0 - _ratio((block.predicted - block.truth) ** 2 @ weights, total)


def _spearman(block: Block, weights: np.ndarray) -> np.ndarray:
    count = weights.sum(axis=0)
    truth = midranks(block.truth, weights) - (count + 1) / 2
    scores = []
    for values in block.predicted:
        ranks = midranks(values, weights) - (count + 1) / 2
        above = (weights * truth * ranks).sum(axis=0)
        below = np.sqrt((weights * truth**2).sum(axis=0) * (weights * ranks**2).sum(axis=0))
        scores.append(_ratio(above, below))
    return np.array(scores)


def midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank values that are repeated as often as the weights say; ties share the mean of their ranks.

    Parameters
    ----------
    values : ndarray of shape (n,)
    weights : ndarray of shape (n, b)

    Returns
    -------
    ndarray of shape (n, b)

    Examples
    --------
    >>> midranks(np.array([3.0, 1.0, 3.0]), np.array([[1.0, 2.0], [1.0, 0.0], [1.0, 1.0]])).tolist()
    [[2.5, 2.0], [1.0, 0.5], [2.5, 2.0]]
    """
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    totals = np.add.reduceat(weights[order], starts, axis=0)
    ranks = np.cumsum(totals, axis=0) - totals + (totals + 1) / 2
    unsorted = np.empty(weights.shape)
    unsorted[order] = np.repeat(ranks, np.diff(np.r_[starts, len(values)]), axis=0)
    return unsorted


def _roc_auc(block: Block, weights: np.ndarray) -> np.ndarray:
    if block.probability is None:
        return np.full((len(block.predicted), weights.shape[1]), np.nan)
    codes = np.unique(block.truth).astype(int)
    if block.probability.shape[2] == 2:
        codes = codes[codes == 1]
    scores = []
    for probability in block.probability:
        areas = [_area(block.truth == code, probability[:, code], weights) for code in codes]
        scores.append(_mean_where_defined(np.array(areas).reshape(len(codes), -1), weights.shape[1]))
    return np.array(scores)


def _area(positive: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve by the rank sum of the positive rows; NaN without either kind."""
    ranks = midranks(values, weights)[positive]
    n_positive, n_negative = weights[positive].sum(axis=0), weights[~positive].sum(axis=0)
    above = (weights[positive] * ranks).sum(axis=0) - n_positive * (n_positive + 1) / 2
    return _ratio(above, n_positive * n_negative)


def _counted(score: Callable[[np.ndarray], np.ndarray]) -> Weighted:
    """Make a metric of confusion matrices, shape (b, c, c) with true classes as rows, one of rows."""

    def metric(block: Block, weights: np.ndarray) -> np.ndarray:
        size = int(max(block.truth.max(), block.predicted.max())) + 1
        scores = []
        for predicted in block.predicted:
            cells = (block.truth * size + predicted).astype(int)
            order = np.argsort(cells, kind="stable")
            occurring, starts = np.unique(cells[order], return_index=True)
            counts = np.zeros((size * size, weights.shape[1]))
            counts[occurring] = np.add.reduceat(weights[order], starts, axis=0)
            scores.append(score(counts.T.reshape(-1, size, size)))
        return np.array(scores)

    return metric


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return _ratio(np.einsum("bii->b", counts), counts.sum(axis=(1, 2)))


def _balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    recalls = _ratio(np.einsum("bii->bi", counts), counts.sum(axis=2))
    return _mean_where_defined(recalls.T, len(counts))


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    both = counts.sum(axis=1) + counts.sum(axis=2)  # zero for a class that is neither there nor predicted
    return _mean_where_defined(_ratio(2 * np.einsum("bii->bi", counts), both).T, len(counts))


def _mcc(counts: np.ndarray) -> np.ndarray:
    total, right = counts.sum(axis=(1, 2)), np.einsum("bii->b", counts)
    predicted, true = counts.sum(axis=1), counts.sum(axis=2)
    above = right * total - (predicted * true).sum(axis=1)
    below = np.sqrt((total**2 - (predicted**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1)))
    return np.where(below > 0, _ratio(above, below), 0.0)  # as scikit-learn has it


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is zero."""
    below = np.broadcast_to(below, above.shape)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)


def _mean_where_defined(values: np.ndarray, columns: int) -> np.ndarray:
    """Average over the rows that are defined, shape (rows, columns) to (columns,)."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=0) if len(values) else np.zeros(columns)
    return _ratio(total, defined.sum(axis=0) if len(values) else np.zeros(columns))


WEIGHTED: Mapping[str, Weighted] = MappingProxyType(
    {
        "rmse": _rmse,
        "mae": _mae,
        "r2": _r2,
        "spearman": _spearman,
        "mcc": _counted(_mcc),
        "balanced_accuracy": _counted(_balanced_accuracy),
        "f1": _counted(_macro_f1),
        "accuracy": _counted(_accuracy),
        "roc_auc": _roc_auc,
    }
)
"""For every metric its weighted form: ``(block, weights of shape (n, b)) -> scores of shape (m, b)``."""
