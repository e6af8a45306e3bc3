"""Property completion: predict a property of a polymer whose other properties are partly known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyml.errors import UserError
from polyml.models.base import PolymerModel, Prediction
from polyml.models.inputs import as_psmiles, check_is_trained, draw_seed
from polyml.models.members import Member, make_member, member_params
from polyml.models.space import Choice
from polyml.models.stacking import inner_folds
from polyml.models.storage import read_model, write_model

_MODEL = "model"
_PRIOR_ROWS = 2.0  # weight of the diagonal in the covariance, in polymers
_ITERATIONS = 100


class CompletionModel(PolymerModel):
    """Any model, and what the other measured properties of a polymer say beyond its structure.

    A model errs on the properties of one polymer together: where it takes the permeability to oxygen too low, it takes
    that to nitrogen too low as well. The covariance of these errors is learned from out-of-fold predictions (folds
    grouped by polymer, inside the training data) by expectation maximisation over what was measured (Dempster, Laird
    and Rubin, J. R. Stat. Soc. B 39, 1, 1977). A prediction is then the normal distribution conditioned on the errors
    at the properties that are known: the value of a property itself is never used for its own prediction. Nothing needs
    to be known: without other properties the prediction is the model's own.

    Parameters
    ----------
    base : str or mapping
        A model of the catalog by its key, or with parameters: ``{"key": "svm", "C": 10}``.
    folds : int
        Folds of the out-of-fold predictions; each costs a fit of the model.
    random_state : int or None
        Decides the folds; the model's is derived from it.

    Examples
    --------
    >>> polymers = [f"*{'C' * n}O*" for n in range(1, 13)]
    >>> noise = np.random.default_rng(0).normal(size=12)
    >>> model = CompletionModel(base="mean").fit(polymers, np.column_stack([noise, 2 * noise]))
    >>> known = np.array([[np.nan, 4.0]])  # the second property is 4: the first must be about 2
    >>> bool(abs(model.predict(["*CCCCO*"], known)[0, 0] - 2) < 0.5)
    True
    """

    key = "completion"
    family = "property completion"
    title = "Any model, given the polymer's other measured properties"
    citation = "Dempster et al. 1977; Breiman 1996 (out-of-fold predictions)"
    gives_std = True
    uses_known = True
    search_space = {"base": Choice(("extra_trees", "svm", "lightgbm"))}
    toy_params = {"base": {"key": "extra_trees", "n_estimators": 10}, "folds": 3}

    base: Member = "extra_trees"
    folds: int = 5
    random_state: int | None = 0

    def check_params(self) -> None:
        """Check the parameters, those of the model too."""
        super().check_params()
        where = f"model '{self.key}'"
        if self.folds < 2:
            raise UserError(f"folds={self.folds}", where=where, fix="ask for two folds or more")
        if member_params(self.base, where)[0] == self.key:
            raise UserError("a completion cannot be completed again", where=where, fix="name another base")
        self._make_base(0)

    def inner_models(self) -> list[PolymerModel]:
        """Return the model, unfitted."""
        return [self._make_base(0)]

    def _make_base(self, seed: int) -> PolymerModel:
        return make_member(self.base, f"base of model '{self.key}'", seed)

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> CompletionModel:
        """Fit the model on all polymers, and the covariance of its errors on those it had not seen."""
        self.check_params()
        items, values = self._training_data(psmiles, y)
        seed = draw_seed(self.random_state)
        errors = values - self._out_of_fold(items, values, seed)
        self.covariance_ = error_covariance(errors)
        self.model_ = self._make_base(seed).fit(items, values)
        self.n_targets_ = values.shape[1]
        return self

    def _out_of_fold(self, items: list[Any], y: np.ndarray, seed: int) -> np.ndarray:
        """Return predictions (n, t) by models that have not seen the polymer; NaN where they had nothing to learn."""
        out = np.full(y.shape, np.nan)
        for train, test, learned in inner_folds(items, y, self.folds, seed):
            model = self._make_base(seed).fit([items[row] for row in train], y[np.ix_(train, learned)])
            found = np.asarray(model.predict([items[row] for row in test]))
            out[np.ix_(test, learned)] = found.reshape(len(test), len(learned))
        return out

    def predict(self, psmiles: Sequence[str], known: np.ndarray | None = None) -> np.ndarray:
        """Return the predicted mean, shape (n, t), or (n,) when ``y`` had shape (n,).

        Parameters
        ----------
        psmiles : sequence of str
        known : ndarray of shape (n, t), optional
            Measured values in the modelled scale, NaN where not known.
        """
        mean = self.predict_dist(psmiles, known).mean
        return self._as_given(mean)

    def predict_dist(self, psmiles: Sequence[str], known: np.ndarray | None = None) -> Prediction:
        """Return mean, standard deviation and 90 % interval, each (n, t); ``known`` as in :meth:`predict`."""
        check_is_trained(self)
        items = as_psmiles(psmiles)
        mean = np.asarray(self.model_.predict(items), dtype=np.float64)  # type: ignore[arg-type]
        return self.condition(mean.reshape(len(items), self.n_targets_), known)

    def condition(self, mean: np.ndarray, known: np.ndarray | None = None) -> Prediction:
        """Return what the known properties make of predictions from the structure alone.

        Parameters
        ----------
        mean : ndarray of shape (n, t)
        known : ndarray of shape (n, t), optional
            NaN where not known.

        Raises
        ------
        UserError
            ``known`` has another shape.
        """
        known = np.full(mean.shape, np.nan) if known is None else np.asarray(known, dtype=float)
        if known.shape != mean.shape:
            raise UserError(
                f"known properties of shape {known.shape} for predictions of shape {mean.shape}",
                fix="give one row a polymer and one column a property, NaN where not known",
            )
        out, variance = mean.copy(), np.tile(np.diag(self.covariance_), (len(mean), 1))
        error = known - mean
        for rows, given in _patterns(~np.isnan(known)):
            for target in range(mean.shape[1]):
                others = np.flatnonzero(given & (np.arange(len(given)) != target))
                if len(others):
                    cross = self.covariance_[target, others]
                    weights = np.linalg.solve(self.covariance_[np.ix_(others, others)], cross)
                    out[rows, target] += error[np.ix_(rows, others)] @ weights
                    variance[rows, target] -= cross @ weights
        return Prediction.gaussian(out, np.sqrt(np.maximum(variance, 0.0)))

    def save(self, folder: Path) -> None:
        """Write the covariance into ``folder``, the model into a folder below it."""
        check_is_trained(self)
        state = {"n_targets": self.n_targets_, **self._target_state()}
        write_model(Path(folder), self, state, {"covariance": self.covariance_})
        self.model_.save(Path(folder) / _MODEL)

    @classmethod
    def load(cls, folder: Path) -> CompletionModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        from polyml.models.catalog import load_model

        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model._load_target_state(stored.state)
        model.n_targets_ = stored.state["n_targets"]
        model.covariance_ = stored.arrays["covariance"]
        model.model_ = load_model(Path(folder) / _MODEL)
        return model


def error_covariance(errors: np.ndarray) -> np.ndarray:
    """Return the covariance (t, t) of errors (n, t) with NaN, of mean zero, by expectation maximisation.

    The diagonal is given the weight of two polymers besides, so that few rows do not tie properties together by chance.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(2000, 1))
    >>> errors = np.hstack([x, -x])
    >>> errors[::3, 0] = np.nan
    >>> bool(np.abs(error_covariance(errors) - [[1, -1], [-1, 1]]).max() < 0.1)
    True
    """
    measured = ~np.isnan(errors)
    count = measured.sum(axis=0)
    squares = np.nansum(errors**2, axis=0)
    diagonal = np.diag(np.maximum(np.divide(squares, count, out=np.ones(len(count)), where=count > 0), 1e-12))
    covariance, groups = diagonal.copy(), list(_patterns(measured))
    for _ in range(_ITERATIONS):
        total = _PRIOR_ROWS * diagonal
        for rows, given in groups:
            total += _expected_squares(errors[rows], given, covariance)
        new = total / (len(errors) + _PRIOR_ROWS)
        change = np.abs(new - covariance).max()
        covariance = new
        if change < 1e-6 * np.diag(covariance).max():
            break
    return covariance


def _expected_squares(errors: np.ndarray, given: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the expected sum of the outer products of some rows, all measured in the same columns."""
    if not given.any():
        return len(errors) * covariance
    filled = np.zeros(errors.shape)
    filled[:, given] = errors[:, given]
    left = ~given
    weights = np.linalg.solve(covariance[np.ix_(given, given)], covariance[np.ix_(given, left)])
    filled[:, left] = errors[:, given] @ weights
    total = filled.T @ filled
    rest = covariance[np.ix_(left, left)] - covariance[np.ix_(left, given)] @ weights
    total[np.ix_(left, left)] += len(errors) * rest
    return total


def _patterns(measured: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows that are measured in the same columns, with these columns."""
    if not len(measured):
        return
    unique, number = np.unique(measured, axis=0, return_inverse=True)
    for place, given in enumerate(unique):
        yield np.flatnonzero(number.ravel() == place), given
