"""Predict from clusters of similar polymers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyml.models.base import Prediction
from polyml.models.inputs import class_indicators, draw_seed, fold_names
from polyml.models.partition import Folds, Partition, cluster_statistics, density_reaches, polymer_folds
from polyml.models.scaling import scaling_steps
from polyml.models.space import Choice, Int
from polyml.models.storage import read_estimators
from polyml.models.tabular import TabularModel
from polyml.models.targets import TargetBasis


class ClusterModel(TabularModel):
    """Common part of the models that cluster the training polymers and predict the mean of a cluster.

    The features are scaled and reduced to principal components first. A cluster's mean is drawn toward the mean of all
    polymers by the weight of one polymer, so that a cluster with a single measured polymer, or none, is not taken at
    its word; so is its variance. For classification the mean is that of the class, one or zero.
    """

    family = "clustering"
    tasks = ("regression", "classification")
    multi_task = True
    gives_std = True
    min_polymers = 3
    compress = True
    search_space = {"n_components": Int(5, 100, log=True)}
    toy_params = {"n_components": 5}
    exempt = {"overfit": "polymers of one cluster get one value, which is drawn toward the mean of all polymers"}

    n_components: int = 30

    @abstractmethod
    def _choices(self, points: np.ndarray) -> list[Any]:
        """Return the settings to choose from by cross-validation; a single one if the user has chosen."""

    @abstractmethod
    def _partition(self, points: np.ndarray, choice: Any, seed: int) -> Partition:
        """Cluster points with a setting."""

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> ClusterModel:
        """Choose the setting, cluster, and take the means of the measured values."""
        self.check_params()
        items, values = self._training_data(psmiles, y)
        self.n_targets_ = values.shape[1]
        self.basis_ = TargetBasis.separate(self.n_targets_)
        weights = np.ones(len(values))
        if self._classifies:
            values, weights = class_indicators(values[:, 0], len(self.classes_), self.class_weight)
        x = self._featurize(items)
        self.columns_ = self._choose_columns(x)
        x = x[:, self.columns_]
        seed = draw_seed(self.random_state)
        self.estimators_ = [self._make_estimator(seed, len(x), x.shape[1]).fit(x)]
        points = self.estimators_[0].transform(x)
        choices = self._choices(points)
        choice = choices[0]
        if len(choices) > 1:
            folds = polymer_folds(fold_names(items), seed)
            choice = self._choose(choices, x, values, weights, seed, folds)
        self.partition_ = self._partition(points, choice, seed)
        self.means_, self.stds_ = cluster_statistics(self.partition_, values, weights)
        return self

    def _choose(
        self, choices: list[Any], x: np.ndarray, y: np.ndarray, weights: np.ndarray, seed: int, folds: Folds
    ) -> Any:
        """Return the setting with the least error in a cross-validation; without folds the first one."""
        scale = np.where(np.nanstd(y, axis=0) > 0, np.nanstd(y, axis=0), 1.0)
        errors = np.zeros(len(choices))
        for train, test in folds:
            reduction = self._make_estimator(seed, len(train), x.shape[1]).fit(x[train])
            points, others = reduction.transform(x[train]), reduction.transform(x[test])
            for place, choice in enumerate(choices):
                partition = self._partition(points, choice, seed)
                means, _ = cluster_statistics(partition, y[train], weights[train])
                wrong = ((means[partition.assign(others)] - y[test]) / scale) ** 2
                errors[place] += float(np.nansum(wrong * weights[test, None]))
        return choices[int(errors.argmin())]

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline

        components = max(1, min(self.n_components, n_rows, n_columns))
        return make_pipeline(*scaling_steps(), PCA(components, svd_solver="full", random_state=seed))

    def _clusters_of(self, psmiles: Sequence[str]) -> np.ndarray:
        x = self._features_of(psmiles)
        return self.partition_.assign(self.estimators_[0].transform(x)) if len(x) else np.empty(0, dtype=int)

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the mean of each polymer's cluster, shape (n, t) or (n,); for classification its commonest label."""
        if self._classifies:
            return super().predict(psmiles)
        mean = self.predict_dist(psmiles).mean
        return self._as_given(mean)

    def predict_proba(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the share of each class in the polymer's cluster, shape (n, classes)."""
        if not self._classifies:
            return super().predict_proba(psmiles)
        share: np.ndarray = self.means_[self._clusters_of(psmiles)]
        return share

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean and standard deviation of each polymer's cluster."""
        self._check_regresses()
        labels = self._clusters_of(psmiles)
        return Prediction.gaussian(self.means_[labels], self.stds_[labels])

    def _extra_state(self) -> dict[str, Any]:
        return {"reach": self.partition_.reach if np.isfinite(self.partition_.reach) else None}

    def _extra_arrays(self) -> dict[str, np.ndarray]:
        parts = {name: getattr(self.partition_, name) for name in ("members", "centres", "labels")}
        return {**parts, "means": self.means_, "stds": self.stds_}

    def _load_extra(self, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        reach = np.inf if state["reach"] is None else state["reach"]
        self.partition_ = Partition(arrays["members"], arrays["centres"], arrays["labels"], reach)
        self.means_, self.stds_ = arrays["means"], arrays["stds"]

    def _load_estimators(self, folder: Path) -> None:
        self.estimators_ = read_estimators(folder, 1)


def _powers_of_two(n_rows: int) -> list[int]:
    return [2**power for power in range(1, 9) if 2**power <= n_rows / 3] or [1]


class _NumberedClusters(ClusterModel):
    """Common part of the models that divide the polymers into so many clusters."""

    bounds = {"n_clusters": (1, np.inf)}
    overfit_params = {"n_clusters": 20}

    n_clusters: int | None = None

    def _choices(self, points: np.ndarray) -> list[Any]:
        return _powers_of_two(len(points)) if self.n_clusters is None else [self.n_clusters]


class KMeansModel(_NumberedClusters):
    """Cluster the training polymers with k-means, then predict the mean of the nearest cluster.

    MacQueen: Some methods for classification and analysis of multivariate observations (1967). See
    :class:`ClusterModel`.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_clusters : int, optional
        None chooses it among powers of two up to a third of the training polymers, by the error in an inner
        threefold cross-validation grouped by polymer.
    n_components : int
        Principal components at most.
    random_state : int or None
    """

    key = "kmeans"
    title = "Mean of the k-means cluster"
    citation = "MacQueen 1967; scikit-learn"

    def _partition(self, points: np.ndarray, choice: Any, seed: int) -> Partition:
        from sklearn.cluster import KMeans

        k = min(choice, len(np.unique(points, axis=0)))
        found = KMeans(k, n_init=3, random_state=seed).fit(points)
        return Partition(found.predict(points), found.cluster_centers_, np.arange(len(found.cluster_centers_)))


class HierarchicalModel(_NumberedClusters):
    """Merge the training polymers step by step into clusters (Ward), then predict the mean of the nearest cluster.

    Ward: Hierarchical grouping to optimize an objective function. J. Am. Stat. Assoc. 58, 236 (1963). See
    :class:`ClusterModel`; parameters as in :class:`KMeansModel`.
    """

    key = "hierarchical"
    title = "Mean of the hierarchical cluster (Ward)"
    citation = "Ward 1963; scikit-learn"

    def _partition(self, points: np.ndarray, choice: Any, seed: int) -> Partition:
        from sklearn.cluster import AgglomerativeClustering

        k = min(choice, len(points))
        members = AgglomerativeClustering(k).fit_predict(points) if k > 1 else np.zeros(len(points), dtype=int)
        centres = np.stack([points[members == label].mean(axis=0) for label in range(k)])
        return Partition(members, centres, np.arange(k))


class DBSCANModel(ClusterModel):
    """Cluster the training polymers by density, then predict the mean of the cluster a polymer falls into.

    Ester et al.: A density-based algorithm for discovering clusters. KDD 1996, 226. A polymer with enough neighbours
    within reach is a core; cores within reach of each other are one cluster. A polymer out of reach of every core gets
    the mean of all polymers. See :class:`ClusterModel`.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    eps : float, optional
        The reach, as a distance between scaled features. None chooses it among quantiles of the distance to the
        farthest of ``min_samples`` neighbours, by the error in an inner threefold cross-validation.
    min_samples : int
        Polymers within reach that make one a core, itself included.
    n_components : int
        Principal components at most.
    random_state : int or None
    """

    key = "dbscan"
    title = "Mean of the density cluster (DBSCAN)"
    citation = "Ester et al. 1996; scikit-learn"
    bounds = {"eps": (1e-12, np.inf), "min_samples": (1, np.inf)}
    search_space = {"n_components": Int(5, 100, log=True), "min_samples": Choice((2, 3, 4, 5))}
    overfit_params = {"eps": 1e-3, "min_samples": 1}

    eps: float | None = None
    min_samples: int = 2

    def _choices(self, points: np.ndarray) -> list[Any]:
        return density_reaches(points, self.min_samples) if self.eps is None else [self.eps]

    def _partition(self, points: np.ndarray, choice: Any, seed: int) -> Partition:
        from sklearn.cluster import DBSCAN

        found = DBSCAN(eps=choice, min_samples=self.min_samples).fit(points)
        cores = found.core_sample_indices_
        return Partition(found.labels_, points[cores], found.labels_[cores], choice)
