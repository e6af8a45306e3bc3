"""One Gaussian process for several properties."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyml.errors import UserError
from polyml.models.base import PolymerModel, Prediction
from polyml.models.conditioning import Joint
from polyml.models.coregional_kernel import CoregionalKernel, maximise_likelihood
from polyml.models.feature_distances import FeatureDistances
from polyml.models.inputs import as_psmiles, check_is_trained, draw_seed
from polyml.models.storage import read_model, write_model
from polyml.models.tabular import check_features

_MOST_VALUES = 20_000  # the matrix between all values takes 3 GB then
_ROWS_AT_ONCE = 128  # polymers whose covariances are computed together; bounds the memory
_FEW = 10  # polymers that have both of two properties, for their correlation to be a start


class CoregionalProcess(PolymerModel):
    """Gaussian process over all properties at once: the linear model of coregionalisation.

    The covariance of a property of one polymer and another property of another is a sum over the featurizers: a
    Gaussian (RBF) kernel of the distance of the polymers times a covariance of the properties that belongs to the
    featurizer. What measurements of one polymer share beyond all features has a covariance of its own. So two
    properties can be tied where the backbone decides and free where a side group does, every value informs all
    properties, and a property that few polymers have is learned from those that many have. Length scales and
    covariances maximise the marginal likelihood; nothing is imputed. With one property it is the model ``gp``.

    Journel and Huijbregts: Mining Geostatistics (1978); Bonilla, Chai and Williams: Multi-task Gaussian process
    prediction, NeurIPS 20 (2007); Alvarez, Rosasco and Lawrence: Kernels for vector-valued functions, Found. Trends
    Mach. Learn. 4, 195 (2012).

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers; each gets a kernel of its own.
    max_iterations : int
        Limit of the optimiser of the marginal likelihood.
    likelihood_values : int
        Of more values than this, those of some polymers are drawn whose marginal likelihood is maximised, polymers with
        several properties first; the process itself has all. The time of an iteration grows with the cube.
    random_state : int or None
        Decides which are drawn; otherwise the fit has no chance in it.
    """

    key = "gp_coregional"
    family = "Gaussian process"
    title = "Gaussian process over several properties (coregionalisation)"
    citation = "Bonilla et al. 2007; Alvarez et al. 2012"
    multi_task = True
    gives_std = True
    toy_params = {"features": "ecfp_count", "max_iterations": 15}
    bounds = {"max_iterations": (0, np.inf), "likelihood_values": (10, np.inf)}

    features: str | Sequence[str] = ("ecfp_count", "descriptors")
    max_iterations: int = 40
    likelihood_values: int = 1500
    random_state: int | None = 0

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        check_features(self.features, "array", f"model '{self.key}'")

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> CoregionalProcess:
        """Fit one process on all values.

        Raises
        ------
        UserError
            There are more values than a dense matrix between them can be held for.
        """
        self.check_params()
        items, values = self._training_data(psmiles, y)
        measured = ~np.isnan(values)
        self._check_size(int(measured.sum()))
        self.distances_, squares = FeatureDistances.fit(self.features, items)
        scaled = [square / width for square, width in zip(squares, self.distances_.widths, strict=True)]
        self.centre_ = np.nanmean(values, axis=0)
        spread = np.nanstd(values, axis=0)
        self.spread_ = np.where(spread > 0, spread, 1.0)
        z = (values - self.centre_) / self.spread_
        judged = self._judged(measured)
        start = CoregionalKernel.start(len(squares), _correlations(z))
        few = [square[np.ix_(judged, judged)] for square in scaled]
        self.kernel_ = maximise_likelihood(start, few, z[judged], self.max_iterations)
        self.tasks_, self.rows_ = np.nonzero(measured.T)
        self._solve(scaled, z)
        return self

    def _check_size(self, values: int) -> None:
        if values > _MOST_VALUES:
            raise UserError(
                f"{values} values, and memory for this process grows with their square",
                where=f"model '{self.key}'",
                fix=f"give it at most {_MOST_VALUES}, or take lightgbm or a network",
            )

    def _judged(self, measured: np.ndarray) -> np.ndarray:
        """Return the polymers whose likelihood is maximised: they tell most of how properties go together."""
        count = measured.sum(axis=1)
        order = np.random.default_rng(draw_seed(self.random_state)).permutation(len(count))
        order = order[np.argsort(count[order] == 1, kind="stable")]
        fits = np.cumsum(count[order]) <= self.likelihood_values
        return np.sort(order[fits])

    def _solve(self, scaled: Sequence[np.ndarray], z: np.ndarray) -> None:
        from scipy.linalg import cho_solve, cholesky

        shapes = [s[np.ix_(self.rows_, self.rows_)] for s in self.kernel_.shapes(scaled)]
        matrix = self.kernel_.between_values(shapes, self.rows_, self.tasks_)
        # The layout in memory decides the last digit of a product: keep the one that a saved array comes back with.
        self.factor_ = np.ascontiguousarray(cholesky(matrix, lower=True, overwrite_a=True))
        self.alpha_ = cho_solve((self.factor_, True), z[self.rows_, self.tasks_])

    @property
    def n_targets_(self) -> int:
        """Number of properties."""
        return len(self.centre_)

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the predicted mean, shape (n, t), or (n,) when ``y`` had shape (n,)."""
        weights = self._weights()
        found = [np.empty((0, self.n_targets_))]
        for shapes in self._shapes(psmiles):
            found.append(sum(shape @ weight for shape, weight in zip(shapes, weights, strict=True)))
        return self._as_given(np.concatenate(found) * self.spread_ + self.centre_)

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation of a new measurement, and 90 % interval, each (n, t)."""
        found = self.joint(psmiles)
        return Prediction.gaussian(found.mean, np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2)))

    def joint(self, psmiles: Sequence[str]) -> Joint:
        """Return mean and covariance of the properties of each polymer."""
        from scipy.linalg import solve_triangular

        t, weights = self.n_targets_, self._weights()
        means, covariances = [np.empty((0, t))], [np.empty((0, t, t))]
        for whole in self._shapes(psmiles):
            means.append(sum(shape @ weight for shape, weight in zip(whole, weights, strict=True)))
            for at in range(0, len(whole[0]), _ROWS_AT_ONCE):
                cross = self._cross([shape[at : at + _ROWS_AT_ONCE] for shape in whole])
                half = solve_triangular(self.factor_, cross.reshape(-1, len(self.rows_)).T, lower=True)
                half = half.reshape(len(self.rows_), -1, t).transpose(1, 2, 0)
                covariances.append(self._prior() - half @ half.transpose(0, 2, 1))
        return self._in_units(np.concatenate(means), np.concatenate(covariances))

    def leave_one_out(self) -> Joint:
        """Return what is expected of each training polymer from all the others, by the same kernel.

        It follows from the inverse of the covariance matrix without a further fit (Rasmussen and Williams, Gaussian
        Processes for Machine Learning, MIT Press (2006), section 5.4.2), here for all values of a polymer at once.

        Returns
        -------
        Joint
            Of the training polymers in the order of the fit.
        """
        from scipy.linalg import cho_solve

        check_is_trained(self)
        inverse = cho_solve((self.factor_, True), np.eye(len(self.rows_)))
        n, t = len(self.distances_.points[0]), self.n_targets_
        mean, covariance = np.empty((n, t)), np.empty((n, t, t))
        at = 0
        for shapes in self._training_shapes():
            rows = np.arange(at, at + len(shapes[0]))
            at += len(rows)
            cross = self._cross(shapes)
            cross *= rows[:, None, None] != self.rows_
            solved = (cross.reshape(-1, len(self.rows_)) @ inverse).reshape(cross.shape)
            mean[rows] = cross @ self.alpha_
            covariance[rows] = self._prior() - solved @ cross.transpose(0, 2, 1)
            for row, part in zip(rows, solved, strict=True):
                # What the inverse without the polymer's own values differs by is of their rank.
                own = np.flatnonzero(self.rows_ == row)
                link = part[:, own] @ np.linalg.inv(inverse[np.ix_(own, own)])
                mean[row] -= link @ self.alpha_[own]
                covariance[row] += link @ part[:, own].T
        return self._in_units(mean, covariance)

    def _in_units(self, mean: np.ndarray, covariance: np.ndarray) -> Joint:
        scales = self.spread_[:, None] * self.spread_
        own = np.arange(self.n_targets_)
        # The noise is left of the variance, whatever rounding says.
        covariance[:, own, own] = np.maximum(covariance[:, own, own], np.diag(self.kernel_.noise))
        return Joint(mean * self.spread_ + self.centre_, covariance * scales)

    def _prior(self) -> np.ndarray:
        prior: np.ndarray = self.kernel_.covariances.sum(axis=0) + self.kernel_.noise
        return prior

    def _weights(self) -> list[np.ndarray]:
        """Return what each training polymer adds to each property through each featurizer, (m, t) a block."""
        by_value = np.zeros((len(self.distances_.points[0]), self.n_targets_))
        by_value[self.rows_, self.tasks_] = self.alpha_
        return [by_value @ covariance for covariance in self.kernel_.covariances]

    def _cross(self, shapes: Sequence[np.ndarray]) -> np.ndarray:
        """Return covariances of new properties with all training values, (n, t, values)."""
        total: Any = 0.0
        for shape, covariance in zip(shapes, self.kernel_.covariances, strict=True):
            total = total + shape[:, None, self.rows_] * covariance[:, self.tasks_]
        cross: np.ndarray = total
        return cross

    def _shapes(self, psmiles: Sequence[str]) -> Iterator[list[np.ndarray]]:
        check_is_trained(self)
        for squares in self.distances_.parts(as_psmiles(psmiles)):
            yield self.kernel_.shapes([s / np.float32(w) for s, w in zip(squares, self.distances_.widths, strict=True)])

    def _training_shapes(self) -> Iterator[list[np.ndarray]]:
        for squares in self.distances_.among_training(_ROWS_AT_ONCE):
            yield self.kernel_.shapes([s / w for s, w in zip(squares, self.distances_.widths, strict=True)])

    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder``."""
        check_is_trained(self)
        arrays = {
            **self.distances_.arrays(), "centre": self.centre_, "spread": self.spread_, "rows": self.rows_,
            "tasks": self.tasks_, "factor": self.factor_, "alpha": self.alpha_,
            "covariances": self.kernel_.covariances, "noise": self.kernel_.noise, "scales": self.kernel_.scales,
        }  # fmt: skip
        write_model(Path(folder), self, {"widths": list(self.distances_.widths), **self._target_state()}, arrays)

    @classmethod
    def load(cls, folder: Path) -> CoregionalProcess:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        stored = read_model(Path(folder), cls.key)
        model, arrays = cls(**stored.params), stored.arrays
        model._load_target_state(stored.state)
        model.distances_ = FeatureDistances.restore(model.features, stored.state["widths"], arrays)
        model.kernel_ = CoregionalKernel(arrays["scales"], arrays["covariances"], arrays["noise"])
        model.centre_, model.spread_ = arrays["centre"], arrays["spread"]
        model.rows_, model.tasks_ = arrays["rows"], arrays["tasks"]
        model.factor_, model.alpha_ = arrays["factor"], arrays["alpha"]
        return model


def _correlations(z: np.ndarray) -> np.ndarray:
    """Return correlations (t, t) of scaled values (n, t) with NaN; 0 where too few polymers have both."""
    t = z.shape[1]
    found = np.eye(t)
    for a in range(t):
        for b in range(a):
            both = ~np.isnan(z[:, a]) & ~np.isnan(z[:, b])
            if both.sum() >= _FEW and np.ptp(z[both, a]) > 0 and np.ptp(z[both, b]) > 0:
                found[a, b] = found[b, a] = np.corrcoef(z[both, a], z[both, b])[0, 1]
    return found
