"""Gaussian process regression on fingerprints and descriptors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyml.models.base import PolymerModel, Prediction
from polyml.models.feature_distances import FeatureDistances
from polyml.models.inputs import as_psmiles, check_is_trained, draw_seed
from polyml.models.storage import read_model, write_model
from polyml.models.tabular import check_features
from polyml.models.targets import TargetBasis, check_targets

_JITTER = 1e-6


class GaussianProcess(PolymerModel):
    """Gaussian process with one Gaussian (RBF) kernel a featurizer, summed.

    Distances are taken between square roots of counts (the Hellinger distance of environment frequencies) and between
    standardised descriptors. Length scales, amplitudes and noise of each target (or contrast of targets) maximise the
    marginal likelihood of the training polymers, so nothing is tuned by hand, and the predicted standard deviation,
    noise included, says how far a new measurement may lie off. Prediction is one matrix product for all targets: with
    fingerprints alone it is quick enough to screen with.

    Rasmussen and Williams: Gaussian Processes for Machine Learning, MIT Press (2006), algorithm 2.1.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers; each gets a kernel of its own.
    targets : {"decorrelated", "separate"}
        Related targets as differences to each other, or each by itself (``models.targets.TargetBasis``).
    max_iterations : int
        Limit of the optimiser of the marginal likelihood.
    likelihood_rows : int
        Of more measured polymers than this, so many are drawn whose marginal likelihood is maximised; the process
        itself has all. A few numbers are learned from it, and its time grows with the cube.
    random_state : int or None
        Decides which are drawn; otherwise the fit has no chance in it.
    """

    key = "gp"
    family = "Gaussian process"
    title = "Gaussian process (RBF kernels)"
    citation = "Rasmussen and Williams 2006"
    gives_std = True
    toy_params = {"features": "ecfp_count"}
    bounds = {"max_iterations": (0, np.inf), "likelihood_rows": (10, np.inf)}

    features: str | Sequence[str] = ("ecfp_count", "descriptors")
    targets: str = "decorrelated"
    max_iterations: int = 30
    likelihood_rows: int = 1500
    random_state: int | None = 0

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        check_features(self.features, "array", f"model '{self.key}'")
        check_targets(self.targets)

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> GaussianProcess:
        """Fit one process a target on the polymers where it was measured."""
        self.check_params()
        items, values = self._training_data(psmiles, y)
        self.distances_, squares = FeatureDistances.fit(self.features, items)
        widths = self.distances_.widths
        self.basis_ = TargetBasis.fit(values, self.targets)
        seed = draw_seed(self.random_state)
        self.processes_ = [
            _Process.fit(squares, widths, target, self.max_iterations, self.likelihood_rows, seed)
            for target in self.basis_.to_basis(values).T
        ]
        self.n_targets_ = values.shape[1]
        return self

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the predicted mean, shape (n, t), or (n,) when ``y`` had shape (n,)."""
        parts = [
            np.column_stack([process.mean(squares, self.distances_.widths) for process in self.processes_])
            for squares in self._distances(psmiles)
        ]
        mean = self.basis_.from_basis(np.concatenate(parts)) if parts else np.empty((0, self.n_targets_))
        return self._as_given(mean)

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation of a new measurement, and 90 % interval, each (n, t)."""
        means, variances = [], []
        for squares in self._distances(psmiles):
            pairs = [process.mean_and_variance(squares, self.distances_.widths) for process in self.processes_]
            means.append(self.basis_.from_basis(np.column_stack([mean for mean, _ in pairs])))
            # The modelled quantities are taken as independent: variances add with the squares of the weights.
            variances.append(np.column_stack([variance for _, variance in pairs]) @ (self.basis_.matrix**2).T)
        if not means:
            return Prediction.gaussian(np.empty((0, self.n_targets_)), np.empty((0, self.n_targets_)))
        return Prediction.gaussian(np.concatenate(means), np.sqrt(np.concatenate(variances)))

    def _distances(self, psmiles: Sequence[str]) -> Iterator[list[np.ndarray]]:
        check_is_trained(self)
        return self.distances_.parts(as_psmiles(psmiles))

    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder``."""
        check_is_trained(self)
        state = {
            "basis": self.basis_.to_dict(),
            **self._target_state(),
            "widths": list(self.distances_.widths),
            "processes": [{"theta": p.theta.tolist(), "centre": p.centre, "spread": p.spread} for p in self.processes_],
        }
        arrays = self.distances_.arrays()
        for i, process in enumerate(self.processes_):
            arrays |= {f"rows_{i}": process.rows, f"weights_{i}": process.weights, f"factor_{i}": process.factor}
        write_model(Path(folder), self, state, arrays)

    @classmethod
    def load(cls, folder: Path) -> GaussianProcess:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        stored = read_model(Path(folder), cls.key)
        model, arrays = cls(**stored.params), stored.arrays
        model.basis_ = TargetBasis.from_dict(stored.state["basis"])
        model._load_target_state(stored.state)
        model.n_targets_ = len(model.basis_.parent)
        model.distances_ = FeatureDistances.restore(model.features, stored.state["widths"], arrays)
        model.processes_ = [
            _Process(
                rows=arrays[f"rows_{i}"],
                theta=np.array(spec["theta"]),
                weights=arrays[f"weights_{i}"],
                factor=arrays[f"factor_{i}"],
                centre=spec["centre"],
                spread=spec["spread"],
            )
            for i, spec in enumerate(stored.state["processes"])
        ]
        return model


@dataclass(frozen=True)
class _Process:
    """A fitted process for one target.

    Attributes
    ----------
    rows : ndarray of int, shape (m,)
        Training polymers where the target was measured.
    theta : ndarray, shape (2 x blocks + 1,)
        Logarithms of (squared length scale in units of the block's median squared distance, amplitude) for each
        block, then of the noise variance, for the target scaled to mean 0 and variance 1.
    weights : ndarray, shape (m,)
        The inverse of the kernel matrix times the scaled target.
    factor : ndarray, shape (m, m)
        Lower Cholesky factor of the kernel matrix.
    centre, spread : float
        Mean and standard deviation of the target.
    """

    rows: np.ndarray
    theta: np.ndarray
    weights: np.ndarray
    factor: np.ndarray
    centre: float
    spread: float

    @classmethod
    def fit(
        cls,
        squares: list[np.ndarray],
        widths: Sequence[float],
        target: np.ndarray,
        max_iterations: int,
        likelihood_rows: int,
        seed: int,
    ) -> _Process:
        from scipy.linalg import cholesky, solve_triangular
        from scipy.optimize import minimize

        rows = np.flatnonzero(~np.isnan(target))
        centre, spread = float(target[rows].mean()), float(target[rows].std()) or 1.0
        z = (target[rows] - centre) / spread
        own = [square[np.ix_(rows, rows)] for square in squares]
        judged = np.arange(len(rows))
        if len(rows) > likelihood_rows:
            judged = np.sort(np.random.default_rng(seed).permutation(len(rows))[:likelihood_rows])
        few = own if len(judged) == len(rows) else [square[np.ix_(judged, judged)] for square in own]
        start = np.array([0.0, -np.log(len(own))] * len(own) + [np.log(0.2)])
        bounds = [(-4.0, 5.0), (-7.0, 4.0)] * len(own) + [(-6.0, 1.0)]
        found = minimize(
            _negative_log_likelihood, start, (few, widths, z[judged]), "L-BFGS-B", True, bounds=bounds,
            options={"maxiter": max_iterations},
        )  # fmt: skip
        kernel = _kernel(found.x, own, widths)
        kernel[np.diag_indices_from(kernel)] += np.exp(found.x[-1]) + _JITTER
        factor = cholesky(kernel, lower=True)
        weights = solve_triangular(factor.T, solve_triangular(factor, z, lower=True), lower=False)
        # The layout in memory decides the last digit of a product: keep the one that a saved array comes back with.
        return cls(rows, found.x, weights, np.ascontiguousarray(factor), centre, spread)

    def mean(self, squares: list[np.ndarray], widths: Sequence[float]) -> np.ndarray:
        """Return the predicted mean from squared distances to all training polymers, (n, training polymers) a block."""
        mean: np.ndarray = self._cross(squares, widths) @ self.weights.astype(np.float32)
        return mean.astype(np.float64) * self.spread + self.centre

    def mean_and_variance(self, squares: list[np.ndarray], widths: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the predicted mean and the variance of a new measurement."""
        from scipy.linalg import solve_triangular

        cross = self._cross(squares, widths).astype(np.float64)
        explained = solve_triangular(self.factor, cross.T, lower=True)
        prior = np.exp(self.theta[1:-1:2]).sum() + np.exp(self.theta[-1])
        variance = np.maximum(prior - (explained**2).sum(axis=0), np.exp(self.theta[-1]))
        return self.mean(squares, widths), variance * self.spread**2

    def _cross(self, squares: list[np.ndarray], widths: Sequence[float]) -> np.ndarray:
        complete = len(self.rows) == squares[0].shape[1]
        return _kernel(self.theta.astype(np.float32), [s if complete else s[:, self.rows] for s in squares], widths)


def _kernel(theta: np.ndarray, squares: list[np.ndarray], widths: Sequence[float]) -> np.ndarray:
    total: Any = 0.0
    for i, (square, width) in enumerate(zip(squares, widths, strict=True)):
        total = total + np.exp(theta[2 * i + 1]) * np.exp(
            square * (-0.5 / (width * np.exp(theta[2 * i]))).astype(square.dtype)
        )
    kernel: np.ndarray = total
    return kernel


def _negative_log_likelihood(
    theta: np.ndarray, squares: list[np.ndarray], widths: Sequence[float], z: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the negative log marginal likelihood (without its constant) and its gradient."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    scaled = [
        s * (0.5 / (width * np.exp(theta[2 * i]))) for i, (s, width) in enumerate(zip(squares, widths, strict=True))
    ]
    parts = [np.exp(theta[2 * i + 1]) * np.exp(-s) for i, s in enumerate(scaled)]
    kernel = np.sum(parts, axis=0)
    noise = np.exp(theta[-1])
    kernel[np.diag_indices_from(kernel)] += noise + _JITTER
    try:
        factor = cho_factor(kernel, lower=True)
    except LinAlgError:
        return 1e10, np.zeros_like(theta)
    weights = cho_solve(factor, z)
    value = 0.5 * z @ weights + np.log(np.diag(factor[0])).sum()
    # d value = 1/2 tr((K^-1 - w w') dK)
    slope = cho_solve(factor, np.eye(len(z))) - np.outer(weights, weights)
    gradient = np.empty_like(theta)
    for i, (part, s) in enumerate(zip(parts, scaled, strict=True)):
        gradient[2 * i] = 0.5 * (slope * part * s).sum()
        gradient[2 * i + 1] = 0.5 * (slope * part).sum()
    gradient[-1] = 0.5 * noise * np.trace(slope)
    return float(value), gradient
