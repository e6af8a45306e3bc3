"""Project features to two dimensions, for the eye."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from polyml.errors import UserError, unknown_name

_REDUCED = 50  # dimensions that t-SNE and k-means read
_MINIMUM = 5


@dataclass(frozen=True)
class Projection:
    """Coordinates ``(n, 2)`` and a note on how far to trust them."""

    coordinates: np.ndarray
    note: str


def reduce_features(features: np.ndarray, seed: int) -> np.ndarray:
    """Bring features to a common scale and to at most 50 principal components.

    Counts and other non-negative features are square-rooted, which keeps one long side chain from outweighing all
    else. Other features are standardised and held within ±5 standard deviations. The sign of a component is fixed, so
    that the same data give the same picture.

    Parameters
    ----------
    features : ndarray of shape (n, d)
    seed : int

    Returns
    -------
    ndarray of shape (n, at most 50)

    Raises
    ------
    UserError
        There are fewer than five polymers, or all have the same features.
    """
    from sklearn.decomposition import PCA

    values = np.asarray(features, dtype=float)
    if len(values) < _MINIMUM:
        what = f"{len(values)} polymers are too few for a map"
        raise UserError(what, fix=f"give at least {_MINIMUM} polymers; a recipe runs without the stage 'explore' too")
    values = values[:, np.isfinite(values).all(axis=0)]
    values = values[:, np.ptp(values, axis=0) > 0]
    if values.shape[1] == 0:
        raise UserError("all polymers have the same features, so there is nothing to map", fix="use other features")
    if values.min() >= 0:
        values = np.sqrt(values)
    else:
        values = np.clip((values - values.mean(axis=0)) / values.std(axis=0), -5, 5)
    components = min(_REDUCED, len(values) - 1, values.shape[1])
    return np.asarray(PCA(components, svd_solver="auto", random_state=seed).fit_transform(values))


def project(reduced: np.ndarray, method: str, seed: int) -> Projection:
    """Project reduced features with one of :data:`METHODS`.

    Parameters
    ----------
    reduced : ndarray of shape (n, d)
        From :func:`reduce_features`.
    method : {"pca", "tsne"}
    seed : int

    References
    ----------
    L. van der Maaten, G. Hinton, Visualizing data using t-SNE, J. Mach. Learn. Res. 9 (2008) 2579-2605.
    """
    if method not in METHODS:
        raise unknown_name("projection", method, METHODS)
    return METHODS[method](reduced, seed)


def _pca(reduced: np.ndarray, seed: int) -> Projection:
    # The reduced features are principal components already, in order.
    share = reduced.var(axis=0) / reduced.var(axis=0).sum()
    padded = np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))
    return Projection(padded[:, :2], f"{share[:2].sum():.0%} of the variance of the leading {len(share)} components")


def _tsne(reduced: np.ndarray, seed: int) -> Projection:
    from sklearn.manifold import TSNE

    # Thirty neighbours where there are enough polymers: the perplexity must stay well below their number.
    perplexity = min(30.0, (len(reduced) - 1) / 3)
    start = "pca" if reduced.shape[1] >= 2 else "random"
    embedding = TSNE(2, perplexity=perplexity, init=start, random_state=seed).fit_transform(reduced)
    return Projection(np.asarray(embedding, dtype=float), f"perplexity {perplexity:.0f}; distances are not to scale")


METHODS: dict[str, Callable[[np.ndarray, int], Projection]] = {"pca": _pca, "tsne": _tsne}
"""Projections by name: linear, and keeping neighbours together."""
