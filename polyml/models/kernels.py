"""Similarity of fingerprints, and what the models that compare polymers pairwise share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from polyml.chem import RepeatUnit
from polyml.errors import UserError
from polyml.models.base import Prediction
from polyml.models.inputs import as_psmiles
from polyml.models.tabular import FeatureKeys, TabularModel

_ROWS_AT_ONCE = 1024


def tanimoto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Tanimoto similarity of all pairs of rows: the sum of the minima over the sum of the maxima.

    For bits this is the share of common bits; for counts and other non-negative numbers it is their generalisation,
    a positive definite kernel. Two rows of zeros count as equal. The work grows with the entries that are not zero;
    beside the result, it needs the memory of 1024 of its rows at most.

    Ralaivola et al.: Graph kernels for chemical informatics. Neural Networks 18, 1093 (2005).

    Parameters
    ----------
    a : ndarray of shape (n, d)
    b : ndarray of shape (m, d)

    Returns
    -------
    ndarray of shape (n, m), float32

    Examples
    --------
    >>> tanimoto(np.array([[1.0, 2.0, 0.0]]), np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 5.0]]))
    array([[0.5, 0. ]], dtype=float32)
    """
    a, b = np.asarray(a, dtype=np.float32), np.asarray(b, dtype=np.float32)
    columns = [(c, rows := np.flatnonzero(b[:, c]), b[rows, c]) for c in np.flatnonzero(b.any(axis=0))]
    sums = _row_sums(b)
    similarity = np.zeros((len(a), len(b)), dtype=np.float32)
    for start in range(0, len(a), _ROWS_AT_ONCE):
        part, out = a[start : start + _ROWS_AT_ONCE], similarity[start : start + _ROWS_AT_ONCE]
        for column, rows, values in columns:
            present = np.flatnonzero(part[:, column])
            out[present[:, None], rows] += np.minimum.outer(part[present, column], values)
        maxima = (_row_sums(part)[:, None] + sums) - out
        np.divide(out, maxima, out=out, where=maxima > 0)
        out[maxima <= 0] = 1.0
    return similarity


def _row_sums(x: np.ndarray) -> np.ndarray:
    """Return the sum of each row, added column by column as the minima are, so that equal rows are exactly alike."""
    sums = np.zeros(len(x), dtype=np.float32)
    for column in np.flatnonzero(x.any(axis=0)):
        sums += x[:, column]
    return sums


def check_fingerprints(features: FeatureKeys, where: str) -> None:
    """Check that all features are counts or bits, which the Tanimoto similarity needs.

    Raises
    ------
    UserError
        One of them can be negative.
    """
    from polyml.features.catalog import FEATURIZERS

    for key in [features] if isinstance(features, str) else features:
        if not FEATURIZERS[key].non_negative:
            fitting = ", ".join(sorted(name for name, cls in FEATURIZERS.items() if cls.non_negative))
            raise UserError(
                f"the Tanimoto similarity needs fingerprints, and '{key}' are none",
                where=where,
                fix=f"set features to one or more of: {fitting}",
            )


class TanimotoSimilarity(TransformerMixin, BaseEstimator):
    """Turn fingerprints into their similarity to those of the fit, for an estimator with a precomputed kernel."""

    def fit(self, x: np.ndarray, y: object = None) -> TanimotoSimilarity:
        """Keep the fingerprints."""
        self.points_ = np.asarray(x, dtype=np.float32)
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Return the similarity to each fingerprint of the fit, shape (n, m)."""
        return tanimoto(x, self.points_)


class PairEstimator:
    """An estimator for one target that reads how a polymer compares with the training polymers measured for it.

    Attributes
    ----------
    learned : tuple of str
        Attributes that :meth:`fit` sets, all arrays: what is saved.
    rows : ndarray of int
        Which of the training polymers were measured.
    """

    learned: ClassVar[tuple[str, ...]] = ()
    rows: np.ndarray

    def get_params(self) -> dict[str, Any]:
        """Return no parameters that another could set."""
        return {}

    def fit(self, pairs: np.ndarray, y: np.ndarray) -> PairEstimator:
        """Learn from the comparison of the measured polymers with each other, (m, m), and their values, (m,)."""
        raise NotImplementedError

    def mean_and_variance(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance, (n,) each, from the comparison with all training polymers."""
        raise NotImplementedError

    def predict(self, pairs: np.ndarray) -> np.ndarray:
        """Return the mean, (n,)."""
        return self.mean_and_variance(pairs)[0]

    def _measured(self, pairs: np.ndarray) -> np.ndarray:
        return pairs if len(self.rows) == pairs.shape[1] else pairs[:, self.rows]


class PairModel(TabularModel):
    """A model that reads of a polymer how it compares with each training polymer.

    The training polymers are kept once for all targets. A subclass returns a :class:`PairEstimator`, which reads
    Tanimoto similarities unless the subclass writes another :meth:`_compare`.
    """

    gives_std = True

    @property
    def needs_counts(self) -> bool:
        """Whether the features must be counts, zero or more."""
        return True

    def check_params(self) -> None:
        """Check the parameters; the Tanimoto similarity reads fingerprints alone."""
        super().check_params()
        if self.needs_counts:
            check_fingerprints(self.features, f"model '{self.key}'")

    def _compare(self, x: np.ndarray) -> np.ndarray:
        return tanimoto(x, self.points_)

    def _fit_embedding(self, x: np.ndarray) -> np.ndarray:
        self.points_ = np.ascontiguousarray(x)
        return self._compare(self.points_)

    def _embed(self, x: np.ndarray) -> np.ndarray:
        return self._compare(x)

    def _fit_target(self, x: np.ndarray, target: np.ndarray, seed: int) -> Any:
        rows = np.flatnonzero(~np.isnan(target))
        estimator = super()._fit_target(x[:, rows], target, seed)
        estimator.rows = rows
        return estimator

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the predicted mean, shape (n, t) or (n,) as ``y`` had; for classification the labels, (n,)."""
        return np.concatenate([super(PairModel, self).predict(part) for part in _parts(psmiles)])

    def predict_proba(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the probability of each class, shape (n, classes)."""
        return np.concatenate([super(PairModel, self).predict_proba(part) for part in _parts(psmiles)])

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation and 90 % interval, each of shape (n, t)."""
        self._check_regresses()
        means, variances = [], []
        for part in _parts(psmiles):
            pairs = self._features_of(part)
            both = [estimator.mean_and_variance(pairs) for estimator in self.estimators_] if len(part) else []
            shape = (len(part), self.n_targets_)
            means.append(self.basis_.from_basis(np.array([mean for mean, _ in both]).T.reshape(shape)))
            # The modelled quantities are taken as independent: variances add with the squares of the weights.
            variances.append(np.array([variance for _, variance in both]).T.reshape(shape) @ (self.basis_.matrix**2).T)
        return Prediction.gaussian(np.concatenate(means), np.sqrt(np.concatenate(variances)))

    def _extra_arrays(self) -> dict[str, np.ndarray]:
        arrays = {"points": self.points_}
        if self.needs_counts:  # nearly all of them is zero
            at = np.flatnonzero(self.points_)
            arrays = {"points": self.points_.ravel()[at], "points_at": at, "points_shape": np.array(self.points_.shape)}
        for number, estimator in enumerate(self.estimators_):
            arrays |= {f"{name}_{number}": getattr(estimator, name) for name in ("rows", *estimator.learned)}
        return arrays

    def _load_extra(self, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.points_ = arrays["points"]
        if self.needs_counts:
            self.points_ = np.zeros(arrays["points_shape"], dtype=np.float32)
            np.put(self.points_, arrays["points_at"], arrays["points"])
        self.estimators_ = []
        for number in range(self.n_targets_):
            estimator = self._make_estimator(0, len(arrays[f"rows_{number}"]), len(self.points_))
            for name in ("rows", *estimator.learned):
                setattr(estimator, name, arrays[f"{name}_{number}"])
            self.estimators_.append(estimator)

    def _save_estimators(self, folder: Path) -> None:
        """Write nothing: all that the estimators learned is in the arrays."""

    def _load_estimators(self, folder: Path) -> None:
        """Read nothing."""


def _parts(psmiles: Sequence[str | RepeatUnit]) -> Iterator[Any]:
    """Yield the polymers in parts whose comparison with the training polymers fits into memory."""
    items = as_psmiles(psmiles)
    for start in range(0, max(len(items), 1), _ROWS_AT_ONCE):
        yield items[start : start + _ROWS_AT_ONCE]
