"""Group polymers by their features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from polyml.errors import UserError, unknown_name

_MOST = 12
_STARTS = 5
_CORE_SIZE = 5  # polymers within reach that make one the core of a density cluster


@dataclass(frozen=True)
class Clusters:
    """Groups of polymers.

    Attributes
    ----------
    labels : ndarray of shape (n,), int
        Cluster of each polymer, from 1 for the largest; 0 for a polymer in none.
    representatives : ndarray of shape (k,), int
        Row of the polymer nearest to the centre of each cluster, in the order of the labels.
    silhouette : float
        Mean silhouette of the polymers in clusters: 1 for well separated ones, 0 for none, NaN where it is undefined.
    """

    labels: np.ndarray
    representatives: np.ndarray
    silhouette: float


def cluster(reduced: np.ndarray, n_clusters: int | None, seed: int, method: str = "kmeans") -> Clusters:
    """Find clusters with one of :data:`CLUSTERINGS`.

    Parameters
    ----------
    reduced : ndarray of shape (n, d)
    n_clusters : int or None
        None takes the number from 2 to 12 with the best mean silhouette. For "dbscan" it has to be None: the number
        follows from the reach, and the reach is that with the best mean silhouette, polymers in no cluster counting 0.
    seed : int
    method : {"kmeans", "hierarchical", "dbscan"}

    Raises
    ------
    UserError
        No such method, or more clusters are wanted than there are different polymers, or a number with "dbscan".

    References
    ----------
    MacQueen, Some methods for classification and analysis of multivariate observations (1967); Ward, J. Am. Stat.
    Assoc. 58 (1963) 236; Ester et al., A density-based algorithm for discovering clusters, KDD 1996, 226.
    """
    check_clustering(method, n_clusters)
    if method == "dbscan":
        return _best_density(reduced)
    different = len(np.unique(reduced, axis=0))
    if n_clusters is not None:
        if n_clusters > different:
            what = f"{n_clusters} clusters are wanted of {different} different polymers"
            raise UserError(what, fix=f"ask for at most {different} clusters")
        return _describe(reduced, CLUSTERINGS[method](reduced, n_clusters, seed))
    numbers = range(2, min(_MOST, different - 1) + 1)
    tried = [_describe(reduced, CLUSTERINGS[method](reduced, number, seed)) for number in numbers]
    if not tried:
        return _describe(reduced, CLUSTERINGS[method](reduced, different, seed))
    return max(tried, key=lambda found: found.silhouette)


def check_clustering(method: str, n_clusters: int | None) -> None:
    """Check the name of a method, and that it takes a number of clusters if there is one.

    Raises
    ------
    UserError
        It does not exist, or DBSCAN is given a number.
    """
    known = [*CLUSTERINGS, "dbscan"]
    if method not in known:
        raise unknown_name("clustering", method, known)
    if method == "dbscan" and n_clusters is not None:
        raise UserError(
            "DBSCAN finds the number of clusters itself", where=f"clusters={n_clusters}", fix="leave clusters out"
        )


def _k_means(reduced: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(n_clusters, n_init=_STARTS, random_state=seed).fit_predict(reduced))


def _hierarchical(reduced: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    from sklearn.cluster import AgglomerativeClustering

    if n_clusters == 1:
        return np.zeros(len(reduced), dtype=int)
    return np.asarray(AgglomerativeClustering(n_clusters).fit_predict(reduced))


CLUSTERINGS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "kmeans": _k_means,
    "hierarchical": _hierarchical,
}
"""Clusterings into a given number of clusters; "dbscan", which finds the number itself, stands beside them."""


def _best_density(reduced: np.ndarray) -> Clusters:
    from sklearn.cluster import DBSCAN

    from polyml.models.partition import density_reaches

    tried = []
    for reach in density_reaches(reduced, _CORE_SIZE):
        found = _describe(reduced, DBSCAN(eps=reach, min_samples=_CORE_SIZE).fit_predict(reduced))
        inside = float((found.labels > 0).mean())
        tried.append((0.0 if np.isnan(found.silhouette) else found.silhouette * inside, inside, found))
    return max(tried, key=lambda item: item[:2])[2]


def _describe(reduced: np.ndarray, labels: np.ndarray) -> Clusters:
    """Number clusters by size, the largest first, and find their representatives; -1 stands for no cluster."""
    from sklearn.metrics import silhouette_score

    inside = labels >= 0
    count = int(labels.max(initial=-1)) + 1
    order = np.argsort(-np.bincount(labels[inside], minlength=count), kind="stable")
    rank = np.zeros(count + 1, dtype=int)  # the last is that of -1
    rank[order] = np.arange(1, count + 1)
    nearest = np.array([_nearest(reduced, labels == index) for index in order], dtype=int)
    is_defined = 1 < count < inside.sum()
    silhouette = float(silhouette_score(reduced[inside], labels[inside])) if is_defined else float("nan")
    return Clusters(rank[labels], nearest, silhouette)


def _nearest(reduced: np.ndarray, members: np.ndarray) -> int:
    distance = np.linalg.norm(reduced - reduced[members].mean(axis=0), axis=1)
    return int(np.argmin(np.where(members, distance, np.inf)))
