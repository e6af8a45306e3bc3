"""Polymers divided into clusters: which new polymer belongs to which, and what was measured in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Folds = list[tuple[np.ndarray, np.ndarray]]  # rows to fit on, rows to judge by
_FOLDS = 3


@dataclass(frozen=True)
class Partition:
    """Clusters, and how to tell the cluster of a new polymer: that of the nearest centre.

    Attributes
    ----------
    members : ndarray of int, shape (n,)
        Cluster of each training polymer, -1 for none.
    centres : ndarray of shape (m, d)
        Centres of the clusters, or other points that stand for them.
    labels : ndarray of int, shape (m,)
        Cluster of each centre.
    reach : float
        A polymer farther than this from every centre belongs to no cluster.
    """

    members: np.ndarray
    centres: np.ndarray
    labels: np.ndarray
    reach: float = np.inf

    @property
    def count(self) -> int:
        """Number of clusters."""
        return int(self.labels.max(initial=-1)) + 1

    def assign(self, points: np.ndarray) -> np.ndarray:
        """Return the cluster of each point, -1 for none."""
        if not len(self.centres):
            return np.full(len(points), -1)
        from sklearn.metrics import pairwise_distances_argmin_min

        nearest, distance = pairwise_distances_argmin_min(points, self.centres)
        return np.where(distance <= self.reach, self.labels[nearest], -1)


def polymer_folds(keys: Sequence[str], seed: int) -> Folds:
    """Divide rows into three folds, all rows of a polymer in one; of fewer polymers than three there are none.

    Parameters
    ----------
    keys : sequence of str
        Canonical key of each row.

    Examples
    --------
    >>> [test.tolist() for _, test in polymer_folds(["a", "b", "a", "c"], seed=0)]
    [[3], [1], [0, 2]]
    """
    from sklearn.model_selection import KFold

    place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    number = np.array([place[key] for key in keys])
    if len(place) < _FOLDS:
        return []
    parts = KFold(_FOLDS, shuffle=True, random_state=seed).split(np.arange(len(place)))
    return [(np.flatnonzero(np.isin(number, train)), np.flatnonzero(np.isin(number, test))) for train, test in parts]


def cluster_statistics(partition: Partition, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted means and standard deviations of the measured values of each cluster, and of all polymers last.

    Every cluster's are drawn toward those of all polymers by the weight of one polymer.

    Returns
    -------
    means, stds : ndarray of shape (clusters + 1, t)
        NaN for a target without a measured value.
    """
    k = partition.count
    means, stds = np.full((k + 1, y.shape[1]), np.nan), np.full((k + 1, y.shape[1]), np.nan)
    for target, column in enumerate(y.T):
        measured = ~np.isnan(column)
        if not measured.any():  # a part of the training data may have none
            continue
        mean = np.average(column[measured], weights=weights[measured])
        variance = np.average((column[measured] - mean) ** 2, weights=weights[measured])
        inside = measured & (partition.members >= 0)
        values, members, weight = column[inside], partition.members[inside], weights[inside]
        count = np.bincount(members, weight, minlength=k)
        means[:k, target] = (np.bincount(members, weight * values, minlength=k) + mean) / (count + 1)
        squares = np.bincount(members, weight * (values - means[members, target]) ** 2, minlength=k)
        stds[:k, target] = np.sqrt((squares + variance) / (count + 1))
        means[k, target], stds[k, target] = mean, np.sqrt(variance)
    return means, stds


def density_reaches(points: np.ndarray, min_samples: int) -> list[float]:
    """Return the reaches that make a tenth to nine tenths of the points cores, for DBSCAN to choose from."""
    from sklearn.neighbors import NearestNeighbors

    k = min(min_samples, len(points))
    distance = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(points)[0][:, -1]
    reaches = np.quantile(distance[distance > 0], np.linspace(0.1, 0.9, 9)) if (distance > 0).any() else np.ones(1)
    return sorted({float(reach) for reach in reaches})
