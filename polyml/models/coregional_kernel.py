"""The kernel of the linear model of coregionalisation, and how its numbers are learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_NOISE_FLOOR = 1e-3  # of the variance of a property: no measurement is more exact than 3 % of the spread
_LEAST_EIGENVALUE = 0.02  # of the matrix of correlations that the search starts from
_SCALE_BOUNDS = (-4.0, 5.0)
_SIGNAL, _NOISE = 0.8, 0.1  # shares of the variance that the search starts from


@dataclass(frozen=True)
class CoregionalKernel:
    """Covariance of property p of one polymer and property q of another, for ``b`` featurizers and ``t`` properties.

    It is the sum over the featurizers of ``covariances[i, p, q] exp(-square / (2 exp(scales[i])))``, and besides
    ``noise[p, q]`` where the polymer is the same; for properties scaled to mean 0 and variance 1.

    Attributes
    ----------
    scales : ndarray of shape (b,)
        Logarithms of squared length scales, in units of the squared distances.
    covariances : ndarray of shape (b, t, t)
    noise : ndarray of shape (t, t)
    """

    scales: np.ndarray
    covariances: np.ndarray
    noise: np.ndarray

    @classmethod
    def start(cls, blocks: int, correlations: np.ndarray) -> CoregionalKernel:
        """Return the kernel from which the search starts: all featurizers alike, properties tied as they are seen."""
        values, vectors = np.linalg.eigh(correlations)
        sound = (vectors * np.maximum(values, _LEAST_EIGENVALUE)) @ vectors.T
        each = np.tile(_SIGNAL / blocks * sound, (blocks, 1, 1))
        return cls(np.zeros(blocks), each, _NOISE * sound + _NOISE / 2 * np.eye(len(sound)))

    def shapes(self, squares: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the Gaussians of squared distances, one matrix a featurizer, in the precision they came in."""
        factors = (-0.5 * np.exp(-self.scales)).tolist()
        return [np.exp(square * square.dtype.type(factor)) for square, factor in zip(squares, factors, strict=True)]

    def between_values(self, shapes: Sequence[np.ndarray], rows: np.ndarray, tasks: np.ndarray) -> np.ndarray:
        """Return the covariance matrix of measured values, noise included.

        Parameters
        ----------
        shapes : sequence of ndarray of shape (v, v)
            Between the polymers of the values, from :meth:`shapes`.
        rows, tasks : ndarray of int, shape (v,)
            Polymer and property of each value.
        """
        at = np.ix_(tasks, tasks)
        total: Any = np.where(rows[:, None] == rows, self.noise[at], 0.0)
        for shape, covariance in zip(shapes, self.covariances, strict=True):
            total += covariance[at] * shape
        matrix: np.ndarray = total
        return matrix

    def pack(self) -> np.ndarray:
        """Return all numbers as one vector: log scales, then the Cholesky factors of the covariances and the noise."""
        lower = np.tril_indices(len(self.noise))
        floor = _NOISE_FLOOR * np.eye(len(self.noise))
        factors = [np.linalg.cholesky(matrix)[lower] for matrix in (*self.covariances, self.noise - floor)]
        return np.concatenate([self.scales, *factors])

    def unpack(self, vector: np.ndarray) -> tuple[CoregionalKernel, np.ndarray]:
        """Return the kernel of such a vector, and its Cholesky factors (b + 1, t, t); this one tells the sizes."""
        blocks, t = len(self.scales), len(self.noise)
        factors = np.zeros((blocks + 1, t, t))
        factors[(slice(None), *np.tril_indices(t))] = vector[blocks:].reshape(blocks + 1, -1)
        products = factors @ factors.transpose(0, 2, 1)
        noise = products[-1] + _NOISE_FLOOR * np.eye(t)
        return CoregionalKernel(vector[:blocks], products[:-1], noise), factors


def maximise_likelihood(
    start: CoregionalKernel, squares: Sequence[np.ndarray], z: np.ndarray, max_iterations: int
) -> CoregionalKernel:
    """Return the kernel with the greatest marginal likelihood that is found from ``start``.

    Parameters
    ----------
    start : CoregionalKernel
    squares : sequence of ndarray of shape (n, n)
        Squared distances between polymers, one matrix a featurizer.
    z : ndarray of shape (n, t)
        Values scaled to mean 0 and variance 1, NaN where not measured.
    max_iterations : int
    """
    from scipy.optimize import minimize

    tasks, rows = np.nonzero(~np.isnan(z).T)  # by property, so that the sums of a property stand together
    own = [square[np.ix_(rows, rows)] for square in squares]
    vector = start.pack()
    bounds = [_SCALE_BOUNDS] * len(squares) + [(None, None)] * (len(vector) - len(squares))
    found = minimize(
        _negative_log_likelihood, vector, (start, own, rows, tasks, z[rows, tasks]), "L-BFGS-B", True, bounds=bounds,
        options={"maxiter": max_iterations},
    )  # fmt: skip
    return start.unpack(found.x)[0]


def _negative_log_likelihood(
    vector: np.ndarray,
    sizes: CoregionalKernel,
    squares: Sequence[np.ndarray],
    rows: np.ndarray,
    tasks: np.ndarray,
    z: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Return the negative log marginal likelihood (without its constant) and its gradient."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    kernel, factors = sizes.unpack(vector)
    shapes = kernel.shapes(squares)
    try:
        factor = cho_factor(kernel.between_values(shapes, rows, tasks), lower=True, overwrite_a=True)
    except LinAlgError:
        return 1e10, np.zeros_like(vector)
    weights = cho_solve(factor, z)
    value = 0.5 * z @ weights + np.log(np.diag(factor[0])).sum()
    # d value = tr(slope dK)
    slope = 0.5 * (cho_solve(factor, np.eye(len(z))) - np.outer(weights, weights))
    at, t = np.ix_(tasks, tasks), len(kernel.noise)
    by_scale = np.empty(len(squares))
    by_matrix = np.empty((len(squares) + 1, t, t))
    for i, (shape, square) in enumerate(zip(shapes, squares, strict=True)):
        part = slope * shape
        by_matrix[i] = _by_property(part, tasks, t)
        part *= square
        by_scale[i] = 0.5 * np.exp(-kernel.scales[i]) * (part * kernel.covariances[i][at]).sum()
    by_matrix[-1] = _by_property(np.where(rows[:, None] == rows, slope, 0.0), tasks, t)
    by_factor = 2.0 * by_matrix @ factors  # of L L', with a symmetric derivative by it
    lower = np.tril_indices(t)
    return float(value), np.concatenate([by_scale, *(matrix[lower] for matrix in by_factor)])


def _by_property(matrix: np.ndarray, tasks: np.ndarray, t: int) -> np.ndarray:
    """Sum a matrix between values over those of each pair of properties, (t, t); ``tasks`` ascend."""
    present, first = np.unique(tasks, return_index=True)
    sums = np.add.reduceat(np.add.reduceat(matrix, first, axis=0), first, axis=1)
    out = np.zeros((t, t))
    out[np.ix_(present, present)] = sums
    return out
