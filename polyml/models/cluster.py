"""Predict from clusters of similar polymers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from polyml.models.base import Prediction
from polyml.models.inputs import as_training_data, draw_seed
from polyml.models.scaling import scaling_steps
from polyml.models.storage import read_estimators, read_model, write_estimators, write_model
from polyml.models.tabular import FeatureKeys, TabularModel, informative_columns


class KMeansModel(TabularModel):
    """Cluster the training polymers with k-means, then predict the mean of the nearest cluster.

    MacQueen: Some methods for classification and analysis of multivariate observations (1967). The features are
    scaled and reduced to principal components first. A cluster's mean is drawn toward the mean of all polymers by the
    weight of one polymer, so that a cluster with a single measured polymer, or none, is not taken at its word. The
    standard deviation is that of the polymers in the cluster, likewise drawn toward that of all.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_clusters : int, optional
        None chooses it among powers of two up to a third of the training polymers, by the error in an inner
        threefold cross-validation.
    n_components : int
        Principal components at most.
    random_state : int or None
    """

    key = "kmeans"
    family = "clustering"
    title = "Mean of the k-means cluster"
    citation = "MacQueen 1967; scikit-learn"
    multi_task = True
    gives_std = True
    min_polymers = 3
    compress = True
    search_space: ClassVar[dict[str, Any]] = {"n_components": {"type": "int", "low": 5, "high": 100, "log": True}}
    toy_params: ClassVar[dict[str, Any]] = {"n_components": 5}

    def __init__(
        self,
        features: FeatureKeys = ("ecfp_count", "descriptors"),
        n_clusters: int | None = None,
        n_components: int = 30,
        random_state: int | None = 0,
    ) -> None:
        self.features = features
        self.n_clusters = n_clusters
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> KMeansModel:
        """Choose the number of clusters, cluster, and take the means of the measured values."""
        items, values, self.single_ = as_training_data(psmiles, y)
        x = self._featurize(items)
        self.columns_ = informative_columns(x, self.min_polymers)
        x = x[:, self.columns_]
        seed = draw_seed(self.random_state)
        self.n_clusters_ = self.n_clusters or self._choose_clusters(x, values, seed)
        self.estimators_ = [self._make_estimator(seed, len(x), x.shape[1]).fit(x)]
        self.means_, self.stds_ = _cluster_statistics(self._labels(x), values, self._n_centers())
        self.n_targets_ = values.shape[1]
        return self

    def _choose_clusters(self, x: np.ndarray, y: np.ndarray, seed: int) -> int:
        from sklearn.model_selection import KFold

        choices = [2**power for power in range(1, 9) if 2**power <= len(x) / 3]
        if not choices:
            return 1
        scale = np.where(np.nanstd(y, axis=0) > 0, np.nanstd(y, axis=0), 1.0)
        errors = dict.fromkeys(choices, 0.0)
        for train, test in KFold(3, shuffle=True, random_state=seed).split(x):
            for k in choices:
                clusters = self._pipeline(k, seed, len(train), x.shape[1]).fit(x[train])
                means, _ = _cluster_statistics(clusters.predict(x[train]), y[train], k)
                errors[k] += float(np.nansum(((means[clusters.predict(x[test])] - y[test]) / scale) ** 2))
        return min(choices, key=lambda k: errors[k])

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        return self._pipeline(min(self.n_clusters_, n_rows), seed, n_rows, n_columns)

    def _pipeline(self, k: int, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline

        components = max(1, min(self.n_components, n_rows, n_columns))
        pca = PCA(components, svd_solver="full", random_state=seed)
        return make_pipeline(*scaling_steps(), pca, KMeans(k, n_init=3, random_state=seed))

    def _n_centers(self) -> int:
        return len(self.estimators_[0][-1].cluster_centers_)

    def _labels(self, x: np.ndarray) -> np.ndarray:
        return self.estimators_[0].predict(x) if len(x) else np.empty(0, dtype=int)

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the mean of each polymer's cluster, shape (n, t) or (n,)."""
        mean = self.predict_dist(psmiles).mean
        return mean[:, 0] if self.single_ else mean

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean and standard deviation of each polymer's cluster."""
        labels = self._labels(self._features_of(psmiles))
        return Prediction.gaussian(self.means_[labels], self.stds_[labels])

    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder``."""
        folder = Path(folder)
        arrays = {"columns": self.columns_, "means": self.means_, "stds": self.stds_}
        write_model(folder, self, {"single": self.single_, "n_clusters": self.n_clusters_}, arrays)
        write_estimators(folder, self.estimators_)

    @classmethod
    def load(cls, folder: Path) -> KMeansModel:
        """Read what :meth:`save` wrote."""
        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model.single_, model.n_clusters_ = stored.state["single"], stored.state["n_clusters"]
        model.columns_, model.means_, model.stds_ = (stored.arrays[name] for name in ("columns", "means", "stds"))
        model.n_targets_ = model.means_.shape[1]
        model.estimators_ = read_estimators(Path(folder), 1)
        return model


def _cluster_statistics(labels: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return means and standard deviations (k, t) of the measured values, with one polymer's weight on all of them."""
    means, stds = np.empty((k, y.shape[1])), np.empty((k, y.shape[1]))
    for target, column in enumerate(y.T):
        measured = ~np.isnan(column)
        values, inside = column[measured], labels[measured]
        mean, variance = values.mean(), values.var()
        count = np.bincount(inside, minlength=k)
        means[:, target] = (np.bincount(inside, values, minlength=k) + mean) / (count + 1)
        squares = np.bincount(inside, (values - means[inside, target]) ** 2, minlength=k)
        stds[:, target] = np.sqrt((squares + variance) / (count + 1))
    return means, stds
