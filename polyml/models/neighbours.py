"""Predict from the most similar training polymers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyml.chem import RepeatUnit
from polyml.models.kernels import PairEstimator, PairModel, tanimoto
from polyml.models.limits import check_name
from polyml.models.scaling import scaling_steps, signed_root
from polyml.models.space import Choice, Int
from polyml.models.storage import read_estimators, write_estimators
from polyml.models.tabular import FeatureKeys

METRICS = ("tanimoto", "euclidean")
WEIGHTS = ("uniform", "distance")


class NearestNeighbours(PairModel):
    """The mean, or the vote, of the nearest training polymers.

    Cover and Hart: Nearest neighbor pattern classification. IEEE Trans. Inf. Theory 13, 21 (1967). The standard
    deviation is the spread of the neighbours, drawn toward that of all polymers by the weight of one neighbour.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers; for the metric "tanimoto", of fingerprints.
    n_neighbors : int
    metric : {"tanimoto", "euclidean"}
        One minus the Tanimoto similarity of counts, or the distance between scaled features.
    weights : {"uniform", "distance"}
        Neighbours count the same, or by the inverse of their distance; then a training polymer is known by heart.
    targets : {"decorrelated", "separate"}
    random_state : int or None
        Unused: the fit has no chance in it.
    """

    key = "knn"
    family = "nearest neighbours"
    title = "Nearest neighbours"
    citation = "Cover and Hart 1967"
    tasks = ("regression", "classification")
    min_polymers = 3
    bounds = {"n_neighbors": (1, np.inf)}
    search_space = {"n_neighbors": Int(1, 20), "weights": Choice(WEIGHTS)}

    features: FeatureKeys = "ecfp_count"
    n_neighbors: int = 5
    metric: str = "tanimoto"
    weights: str = "distance"

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        where = f"model '{self.key}'"
        check_name("metric", self.metric, METRICS, where)
        check_name("weights", self.weights, WEIGHTS, where)

    @property
    def needs_counts(self) -> bool:
        """Whether the features must be counts, zero or more."""
        return self.metric == "tanimoto"

    def _featurize(self, items: Sequence[str | RepeatUnit]) -> np.ndarray:
        x = super()._featurize(items)
        return x if self.needs_counts else signed_root(x)

    def _fit_embedding(self, x: np.ndarray) -> np.ndarray:
        if not self.needs_counts:
            from sklearn.pipeline import make_pipeline

            self.scaler_ = make_pipeline(*scaling_steps()).fit(x)
            x = self.scaler_.transform(x)
        self.points_ = np.ascontiguousarray(x)
        return self._distances(self.points_)

    def _compare(self, x: np.ndarray) -> np.ndarray:
        return self._distances(x if self.needs_counts else self.scaler_.transform(x))

    def _distances(self, x: np.ndarray) -> np.ndarray:
        if self.needs_counts:
            return 1.0 - tanimoto(x, self.points_)
        from scipy.spatial.distance import cdist

        return np.asarray(cdist(x, self.points_))

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Neighbours:
        return Neighbours(self.n_neighbors, self.weights, len(self.classes_) if self._classifies else None)

    def _save_estimators(self, folder: Path) -> None:
        if not self.needs_counts:
            write_estimators(folder, [self.scaler_])

    def _load_estimators(self, folder: Path) -> None:
        if not self.needs_counts:
            self.scaler_ = read_estimators(folder, 1)[0]


class Neighbours(PairEstimator):
    """The weighted mean of the values of the nearest polymers; for classification their weighted vote."""

    learned = ("values", "importance")

    def __init__(self, n_neighbors: int, weights: str, n_classes: int | None) -> None:
        self.n_neighbors, self.weights, self.n_classes = n_neighbors, weights, n_classes

    def fit(self, pairs: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Neighbours:
        """Keep the values, and how much each polymer counts."""
        self.values = y if self.n_classes is None else np.eye(self.n_classes)[y]
        self.importance = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        return self

    def mean_and_variance(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of the neighbours, and their variance drawn toward that of all polymers."""
        nearest, share = self._nearest(pairs)
        values = self.values[nearest]
        mean = (share * values).sum(axis=1)
        spread = (share * (values - mean[:, None]) ** 2).sum(axis=1)
        k = nearest.shape[1]
        return mean, (k * spread + self.values.var()) / (k + 1)

    def predict_proba(self, pairs: np.ndarray) -> np.ndarray:
        """Return the share of each class among the neighbours, (n, classes)."""
        nearest, share = self._nearest(pairs)
        votes: np.ndarray = (share[:, :, None] * self.values[nearest]).sum(axis=1)
        return votes

    def _nearest(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the nearest polymers, the earlier first of two as near, and their shares, (n, k) each."""
        distances = self._measured(pairs)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.n_neighbors]
        weight = self.importance[nearest]
        if self.weights == "distance":
            near = np.take_along_axis(distances, nearest, axis=1).astype(np.float64)
            same = near == 0
            weight = weight * np.where(same.any(axis=1, keepdims=True), same, 1.0 / np.where(same, 1.0, near))
        return nearest, weight / weight.sum(axis=1, keepdims=True)
