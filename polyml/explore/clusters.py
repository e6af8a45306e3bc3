"""Group polymers by their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyml.errors import UserError

_MOST = 12
_STARTS = 5


@dataclass(frozen=True)
class Clusters:
    """Groups of polymers.

    Attributes
    ----------
    labels : ndarray of shape (n,), int
        Cluster of each polymer, from 1 for the largest.
    representatives : ndarray of shape (k,), int
        Row of the polymer nearest to the centre of each cluster, in the order of the labels.
    silhouette : float
        Mean silhouette: 1 for well separated clusters, 0 for none, NaN where it is undefined.
    """

    labels: np.ndarray
    representatives: np.ndarray
    silhouette: float


def cluster(reduced: np.ndarray, n_clusters: int | None, seed: int) -> Clusters:
    """Find k-means clusters.

    Parameters
    ----------
    reduced : ndarray of shape (n, d)
    n_clusters : int or None
        None takes the number from 2 to 12 with the best mean silhouette.
    seed : int

    Raises
    ------
    UserError
        More clusters are wanted than there are different polymers.
    """
    different = len(np.unique(reduced, axis=0))
    if n_clusters is not None:
        if n_clusters > different:
            what = f"{n_clusters} clusters are wanted of {different} different polymers"
            raise UserError(what, fix=f"ask for at most {different} clusters")
        return _cluster(reduced, n_clusters, seed)
    tried = [_cluster(reduced, number, seed) for number in range(2, min(_MOST, different - 1) + 1)]
    if not tried:
        return _cluster(reduced, different, seed)
    return max(tried, key=lambda found: found.silhouette)


def _cluster(reduced: np.ndarray, n_clusters: int, seed: int) -> Clusters:
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    model = KMeans(n_clusters, n_init=_STARTS, random_state=seed).fit(reduced)
    # Numbered by size, the largest first: k-means numbers them by chance.
    order = np.argsort(-np.bincount(model.labels_, minlength=n_clusters), kind="stable")
    rank = np.empty(n_clusters, dtype=int)
    rank[order] = np.arange(1, n_clusters + 1)
    distances = model.transform(reduced)
    nearest = np.array([_nearest(distances[:, index], model.labels_ == index) for index in order])
    is_defined = 1 < n_clusters < len(reduced)
    silhouette = float(silhouette_score(reduced, model.labels_)) if is_defined else float("nan")
    return Clusters(rank[model.labels_], nearest, silhouette)


def _nearest(distance: np.ndarray, members: np.ndarray) -> int:
    return int(np.argmin(np.where(members, distance, np.inf)))
