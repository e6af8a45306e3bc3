"""Gaussian process regression with the Tanimoto similarity of fingerprints."""

from __future__ import annotations

import numpy as np

from polyml.models.kernels import PairEstimator, PairModel
from polyml.models.tabular import FeatureKeys

_JITTER = 1e-6


class TanimotoProcess(PairModel):
    """Gaussian process whose covariance is the Tanimoto similarity of fingerprints.

    Ralaivola et al.: Graph kernels for chemical informatics. Neural Networks 18, 1093 (2005); Griffiths et al.: GAUCHE.
    NeurIPS 36 (2023). Amplitude and noise of each target (or contrast of targets) maximise the marginal likelihood; the
    kernel has nothing else to set. The standard deviation is that of a new measurement, noise included.

    Parameters
    ----------
    features : str or list of str
        Keys of fingerprints; their columns are stacked.
    targets : {"decorrelated", "separate"}
        Related targets as differences to each other, or each by itself (``models.targets.TargetBasis``).
    random_state : int or None
        Unused: the fit has no chance in it.
    """

    key = "gp_tanimoto"
    family = "Gaussian process"
    title = "Gaussian process (Tanimoto kernel)"
    citation = "Ralaivola et al. 2005; Griffiths et al. 2023"

    features: FeatureKeys = "ecfp_count"

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Process:
        return Process()


class Process(PairEstimator):
    """A Gaussian process for one target, given the similarity matrix.

    With the eigenvalues and eigenvectors of that matrix, each trial of amplitude and noise costs one pass over the
    polymers (Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press (2006), chapters 2 and 5).

    Attributes
    ----------
    scale : ndarray, shape (4,)
        Amplitude and noise variance for the target scaled to mean 0 and variance 1; its mean and standard deviation.
    weights : ndarray, shape (m,)
        The inverse of the covariance of the training polymers, times the scaled target.
    whitening : ndarray, shape (m, m)
        Matrix W such that W W' is the inverse of that covariance.
    """

    learned = ("scale", "weights", "whitening")

    def fit(self, pairs: np.ndarray, y: np.ndarray) -> Process:
        """Find amplitude and noise, and invert the covariance."""
        from scipy.optimize import minimize

        centre, spread = float(y.mean()), float(y.std()) or 1.0
        values, vectors = np.linalg.eigh(pairs.astype(np.float64))
        values = np.maximum(values, 0.0) + _JITTER
        z = vectors.T @ ((y - centre) / spread)
        bounds = [(-7.0, 5.0), (-7.0, 1.0)]
        found = minimize(_negative_log_likelihood, np.log([1.0, 0.2]), (values, z**2), "L-BFGS-B", True, bounds=bounds)
        amplitude, noise = np.exp(found.x)
        total = amplitude * values + noise
        self.scale = np.array([amplitude, noise, centre, spread])
        self.weights = vectors @ (z / total)
        self.whitening = vectors / np.sqrt(total)
        return self

    def predict(self, pairs: np.ndarray) -> np.ndarray:
        """Return the mean, (n,)."""
        amplitude, _, centre, spread = self.scale
        mean: np.ndarray = amplitude * (self._measured(pairs).astype(np.float64) @ self.weights) * spread + centre
        return mean

    def mean_and_variance(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of a new measurement."""
        amplitude, noise, _, spread = self.scale
        explained = ((amplitude * self._measured(pairs).astype(np.float64) @ self.whitening) ** 2).sum(axis=1)
        return self.predict(pairs), (np.maximum(amplitude - explained, 0.0) + noise) * spread**2


def _negative_log_likelihood(theta: np.ndarray, values: np.ndarray, squares: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the negative log marginal likelihood (without its constant) and its gradient.

    ``theta`` holds the logarithms of amplitude and noise, ``values`` the eigenvalues of the similarity, ``squares`` the
    squared projections of the target on its eigenvectors.
    """
    amplitude, noise = np.exp(theta)
    total = amplitude * values + noise
    slope = 0.5 * (1.0 - squares / total) / total
    gradient = np.array([amplitude * (slope * values).sum(), noise * slope.sum()])
    return float(0.5 * (squares / total + np.log(total)).sum()), gradient
