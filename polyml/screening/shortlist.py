"""A short list of different polymers from a ranked list: the best of a screen are often variations of one.

Polymers are compared by the Tanimoto distance (one minus the similarity) of the fingerprints that
:func:`polyml.domain.fingerprints` gives. Three ways to choose, all of which take the best polymer first:

- :func:`maxmin_picks`: next the polymer that is farthest from all picks so far. Spreads over the whole ranked list,
  whatever the rank: Ashton et al., Quant. Struct.-Act. Relat. 21, 598 (2002).
- :func:`leader_picks`: next the best-ranked polymer that is not too near to a pick. Rank first, variety second.
- :func:`cluster_picks`: the best-ranked polymer of each cluster: Butina, J. Chem. Inf. Comput. Sci. 39, 747 (1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyml.errors import UserError

DISTANCE = 0.5
"""Tanimoto distance up to which polymers count as variations of one."""
MOST_CLUSTERED = 5000
"""Rows that :func:`cluster_picks` takes: memory grows with their square, 0.8 GB for so many."""


@dataclass(frozen=True)
class Shortlist:
    """Some of ``n`` ranked polymers.

    Attributes
    ----------
    rows : ndarray of int, shape (k,)
        The picks in the order they were made, as rows of the ranked list; fewer than asked where no more are to be had.
    distance : ndarray of shape (k,)
        Tanimoto distance of each pick to the nearest of the picks before it; NaN for the first.
    membership : ndarray of int, shape (n,)
        Number of the cluster of every ranked polymer, from 1 in the order of the picks. Of :func:`cluster_picks` the
        clusters of Butina, those that have no pick with the numbers after; else each polymer is with its nearest pick.
    """

    rows: np.ndarray
    distance: np.ndarray
    membership: np.ndarray

    @property
    def cluster(self) -> np.ndarray:
        """Number of the cluster of each pick, shape (k,)."""
        return self.membership[self.rows]

    @property
    def size(self) -> np.ndarray:
        """Ranked polymers in the cluster of each pick, the pick itself with them, shape (k,)."""
        return np.bincount(self.membership)[self.cluster] if len(self.rows) else np.zeros(0, dtype=int)


def maxmin_picks(bits: np.ndarray, count: int) -> Shortlist:
    """Pick the first polymer, then always the one that is farthest from all picks so far; the better-ranked of equals.

    Parameters
    ----------
    bits : ndarray of shape (n, d)
        Binary fingerprints of the ranked polymers, best first.
    count : int
        Polymers to pick.

    Raises
    ------
    UserError
        ``count`` is below 1.

    Examples
    --------
    >>> from polyml.domain import fingerprints
    >>> ranked = ["*CC(*)c1ccccc1", "*CC(*)c1ccc(C)cc1", "*CC*", "*[Si](C)(C)O*"]
    >>> maxmin_picks(fingerprints(ranked), 3).rows.tolist()
    [0, 3, 2]
    """
    from rdkit.SimDivFilters.rdSimDivPickers import MaxMinPicker

    vectors = _vectors(bits, count)
    count = min(count, len(vectors))
    if count <= 1:
        return _with_nearest(vectors, list(range(count)))
    # RDKit takes the first of equals. The seed is that of a random first pick, which is not made.
    picks = MaxMinPicker().LazyBitVectorPick(vectors, len(vectors), count, firstPicks=[0], seed=0)
    return _with_nearest(vectors, list(picks))


def leader_picks(bits: np.ndarray, count: int, *, threshold: float = DISTANCE) -> Shortlist:
    """Go down the ranked list and pick every polymer that is farther than ``threshold`` from all picks so far.

    Parameters
    ----------
    bits, count
        See :func:`maxmin_picks`.
    threshold : float
        Tanimoto distance, from 0 to 1.

    Raises
    ------
    UserError
        As :func:`maxmin_picks`, and where ``threshold`` is no distance.

    Examples
    --------
    >>> from polyml.domain import fingerprints
    >>> ranked = ["*CC(*)c1ccccc1", "*CC(*)c1ccc(C)cc1", "*CC*", "*[Si](C)(C)O*"]
    >>> found = leader_picks(fingerprints(ranked), 2)
    >>> found.rows.tolist(), found.membership.tolist()
    ([0, 2], [1, 1, 2, 1])
    """
    from rdkit.SimDivFilters.rdSimDivPickers import LeaderPicker

    vectors = _vectors(bits, count, threshold)
    count = min(count, len(vectors))
    if count == 0:
        return _with_nearest(vectors, [])
    return _with_nearest(vectors, list(LeaderPicker().LazyBitVectorPick(vectors, len(vectors), threshold, count)))


def cluster_picks(bits: np.ndarray, count: int, *, threshold: float = DISTANCE) -> Shortlist:
    """Cluster the ranked polymers (Butina), and pick the best-ranked member of each cluster, the best of all first.

    A cluster is a polymer with all others up to ``threshold`` from it that are in no cluster yet; the polymer with the
    most such neighbours comes first, the better-ranked of equals.

    Parameters
    ----------
    bits, count
        See :func:`maxmin_picks`; at most :data:`MOST_CLUSTERED` rows.
    threshold : float
        Tanimoto distance from the centre of a cluster to its members.

    Raises
    ------
    UserError
        As :func:`leader_picks`, and for too many rows.

    Examples
    --------
    >>> from polyml.domain import fingerprints
    >>> ranked = ["*CC(*)c1ccccc1", "*CC(*)c1ccc(C)cc1", "*CC*", "*CC(*)c1ccc(CC)cc1"]
    >>> found = cluster_picks(fingerprints(ranked), 5)
    >>> found.rows.tolist(), found.size.tolist(), found.membership.tolist()
    ([0, 2], [3, 1], [1, 1, 2, 1])
    """
    vectors = _vectors(bits, count, threshold)
    if len(vectors) > MOST_CLUSTERED:
        what, fix = f"{len(vectors):,} polymers to cluster", f"cluster the best {MOST_CLUSTERED:,}"
        raise UserError(what, where="shortlist", fix=fix)
    clusters = sorted(sorted(cluster) for cluster in _butina(vectors, threshold))
    membership = np.zeros(len(vectors), dtype=np.int64)
    for number, rows in enumerate(clusters, start=1):
        membership[rows] = number
    picks = [rows[0] for rows in clusters[:count]]
    return Shortlist(np.array(picks, dtype=np.int64), _to_earlier(vectors, picks), membership)


def _vectors(bits: np.ndarray, count: int, threshold: float = DISTANCE) -> list[Any]:
    """Check what all three take, and return the fingerprints as RDKit holds them."""
    from rdkit.DataStructs import ExplicitBitVect

    if count < 1:
        raise UserError(f"{count} polymers to pick", where="shortlist", fix="ask for one or more")
    if not 0.0 <= threshold <= 1.0:
        raise UserError(f"threshold={threshold}", where="shortlist", fix="give a Tanimoto distance from 0 to 1")
    made = []
    for row in np.asarray(bits):
        vector = ExplicitBitVect(len(row))
        vector.SetBitsFromList(np.flatnonzero(row).tolist())
        made.append(vector)
    return made


def _distances(vector: Any, others: Sequence[Any]) -> np.ndarray:
    from rdkit.DataStructs import BulkTanimotoSimilarity

    return np.asarray(BulkTanimotoSimilarity(vector, list(others), returnDistance=True), dtype=float)


def _to_earlier(vectors: Sequence[Any], picks: Sequence[int]) -> np.ndarray:
    """Return the distance of each pick to the nearest one before it."""
    chosen = [vectors[row] for row in picks]
    return np.array([_distances(chosen[i], chosen[:i]).min() if i else np.nan for i in range(len(chosen))], dtype=float)


def _with_nearest(vectors: Sequence[Any], picks: Sequence[int]) -> Shortlist:
    """Return the picks, with every polymer in the cluster of the nearest of them, the earlier of equals."""
    nearest, membership = np.full(len(vectors), np.inf), np.zeros(len(vectors), dtype=np.int64)
    for number, row in enumerate(picks, start=1):
        distance = _distances(vectors[row], vectors)
        distance[row] = -1.0  # itself
        membership[distance < nearest] = number
        nearest = np.minimum(nearest, distance)
    return Shortlist(np.array(picks, dtype=np.int64), _to_earlier(vectors, picks), membership)


def _butina(vectors: Sequence[Any], threshold: float) -> list[list[int]]:
    """Return the rows of each cluster."""
    from rdkit.ML.Cluster import Butina

    # RDKit takes the last of equals as a centre, so the best-ranked polymer is put last.
    backwards, last = list(vectors)[::-1], len(vectors) - 1
    distances = [_distances(backwards[row], backwards[:row]) for row in range(1, len(backwards))]
    flat = np.concatenate(distances) if distances else np.zeros(0)
    return [[last - row for row in cluster] for cluster in Butina.ClusterData(flat, last + 1, threshold, True)]
