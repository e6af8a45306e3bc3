"""Property completion: predict a property of a polymer whose other properties are partly known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyml.errors import UserError
from polyml.models.base import PolymerModel, Prediction
from polyml.models.best import ARRAYS
from polyml.models.conditioning import Joint, JointPredictor, error_covariance
from polyml.models.inputs import as_psmiles, check_is_trained, draw_seed
from polyml.models.members import Member, make_member, member_params
from polyml.models.space import Choice
from polyml.models.stacking import inner_folds
from polyml.models.storage import read_model, write_model
from polyml.models.tabular import TabularModel

_MODEL, _SECOND = "model", "second"
_READ = ("descriptors", "electronic")  # features of the second level
_LEAST_ROWS = 20  # polymers with the property and another one, for a second level to learn from


class CompletionModel(PolymerModel):
    """Any model, and what the other measured properties of a polymer say beyond its structure.

    A model errs on the properties of one polymer together: where it takes the permeability to oxygen too low, it takes
    that to nitrogen too low as well. A prediction is therefore the normal distribution of all properties of the
    polymer, conditioned on those that are known: the value of a property itself is never used for its own prediction.
    A Gaussian process over all properties (``gp_coregional``) knows the covariance of each polymer's properties. That
    of any other model's errors is learned from out-of-fold predictions (folds grouped by polymer, inside the training
    data) by expectation maximisation over what was measured (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1,
    1977), and is the same for all polymers.

    What that cannot express a second level may add: its models read features, the known properties, what they make
    expected, their differences, and by how much the structure alone was wrong about them, and learn the property from
    training polymers predicted without themselves; the prediction is the mean of the first level and of these models
    (Breiman, Stacked regressions, Mach. Learn. 24, 49, 1996). Nothing needs to be known: without other properties the
    prediction is the first level's own.

    Parameters
    ----------
    base : str or mapping
        A model of the catalog by its key, or with parameters: ``{"key": "svm", "C": 10}``.
    second : str, mapping, or list of these, optional
        The second level: models that read an array of features. The preset "two_levels" has trees and a support
        vector machine above ``gp_coregional``: the closest of those that were tried. It is what ``best`` stands for
        where properties are known.
    folds : int
        Folds of the out-of-fold predictions; each costs a fit of the model. ``gp_coregional`` needs none.
    random_state : int or None
        Decides the folds; the models' are derived from it.

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
    citation = "Dempster et al. 1977; Breiman 1996"
    gives_std = True
    uses_known = True
    search_space = {"base": Choice(("gp_coregional", "extra_trees", "svm", "lightgbm"))}
    presets = {
        "two_levels": {
            "base": {"key": "gp_coregional", "features": ARRAYS},
            "second": (
                {"key": "extra_trees", "features": _READ, "max_features": 0.5},
                {"key": "svm", "features": _READ, "C": 20.0, "gamma": 0.1, "epsilon": 0.02},
            ),
        }
    }
    toy_params = {"base": {"key": "extra_trees", "n_estimators": 10}, "folds": 3}

    base: Member = "gp_coregional"
    second: Member | Sequence[Member] | None = None
    folds: int = 5
    random_state: int | None = 0

    def check_params(self) -> None:
        """Check the parameters, those of the models too."""
        super().check_params()
        where = f"model '{self.key}'"
        if self.folds < 2:
            raise UserError(f"folds={self.folds}", where=where, fix="ask for two folds or more")
        if member_params(self.base, where)[0] == self.key:
            raise UserError("a completion cannot be completed again", where=where, fix="name another base")
        self.inner_models()

    def inner_models(self) -> list[PolymerModel]:
        """Return the models, unfitted."""
        return [self._make_base(0), *self._make_second(0)]

    def _make_base(self, seed: int) -> PolymerModel:
        return make_member(self.base, f"base of model '{self.key}'", seed)

    def _make_second(self, seed: int) -> list[TabularModel]:
        where = f"second level of model '{self.key}'"
        if self.second is None:
            return []
        members = [self.second] if isinstance(self.second, str | Mapping) else list(self.second)
        made = []
        for member in members:
            model = make_member(member, where, seed)
            if not isinstance(model, TabularModel) or model.needs_counts:
                fix = "take one that reads any numbers: extra_trees, lightgbm or svm, say"
                raise UserError(f"'{model.key}' cannot be the second level", where=where, fix=fix)
            made.append(model)
        return made

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> CompletionModel:
        """Fit the model on all polymers, and learn its errors from predictions of polymers it has not seen."""
        self.check_params()
        items, values = self._training_data(psmiles, y)
        seed = draw_seed(self.random_state)
        self.n_targets_ = values.shape[1]
        self.model_ = self._make_base(seed).fit(items, values)
        self.covariance_, self.factor_ = np.zeros((self.n_targets_, self.n_targets_)), np.ones(self.n_targets_)
        if isinstance(self.model_, JointPredictor):
            unseen = self.model_.leave_one_out()
            self.factor_ = _calibration(unseen, values)
        else:
            mean = self._out_of_fold(items, values, seed)
            self.covariance_ = error_covariance(values - mean)
            unseen = self._same_covariance(mean)
        self.second_ = self._fit_second(items, values, unseen, seed)
        return self

    def _out_of_fold(self, items: list[Any], y: np.ndarray, seed: int) -> np.ndarray:
        """Return predictions (n, t) by models that have not seen the polymer; NaN where they had nothing to learn."""
        out = np.full(y.shape, np.nan)
        for train, test, learned in inner_folds(items, y, self.folds, seed):
            model = self._make_base(seed).fit([items[row] for row in train], y[np.ix_(train, learned)])
            found = np.asarray(model.predict([items[row] for row in test]))
            out[np.ix_(test, learned)] = found.reshape(len(test), len(learned))
        return out

    def _same_covariance(self, mean: np.ndarray) -> Joint:
        return Joint(mean, np.broadcast_to(self.covariance_, (len(mean), *self.covariance_.shape)))

    def _fit_second(self, items: list[Any], y: np.ndarray, unseen: Joint, seed: int) -> dict[int, list[TabularModel]]:
        """Fit the second level of every target that enough polymers have together with another one."""
        second: dict[int, list[TabularModel]] = {}
        if self.second is None:
            return second
        predicted = ~np.isnan(unseen.mean).any(axis=1)
        for target in range(y.shape[1]):
            others = np.delete(~np.isnan(y), target, axis=1).any(axis=1)
            rows = np.flatnonzero(~np.isnan(y[:, target]) & others & predicted)
            if len(rows) < _LEAST_ROWS:
                continue
            chosen = [items[row] for row in rows]
            part = Joint(unseen.mean[rows], unseen.covariance[rows])
            expected = part.given(y[rows], target)[0]
            second[target] = [
                _reading(model, part.mean, expected).fit(chosen, y[rows, target]) for model in self._make_second(seed)
            ]
        return second

    def predict(self, psmiles: Sequence[str], known: np.ndarray | None = None) -> np.ndarray:
        """Return the predicted mean, shape (n, t), or (n,) when ``y`` had shape (n,).

        Parameters
        ----------
        psmiles : sequence of str
        known : ndarray of shape (n, t), optional
            Measured values in the modelled scale, NaN where not known.

        Raises
        ------
        UserError
            ``known`` has another shape.
        """
        return self._as_given(self.predict_dist(psmiles, known).mean)

    def predict_dist(self, psmiles: Sequence[str], known: np.ndarray | None = None) -> Prediction:
        """Return mean, standard deviation and 90 % interval, each (n, t); ``known`` as in :meth:`predict`."""
        check_is_trained(self)
        items = as_psmiles(psmiles)
        joint = self._joint(items)
        known = np.full(joint.mean.shape, np.nan) if known is None else np.asarray(known, dtype=float)
        mean, variance = joint.mean.copy(), np.empty(joint.mean.shape)
        for target in range(self.n_targets_):
            expected, variance[:, target] = joint.given(known, target)
            mean[:, target] = expected[:, target]
            told = np.flatnonzero(np.delete(~np.isnan(known), target, axis=1).any(axis=1))
            if target in self.second_ and len(told):
                chosen: Any = [items[row] for row in told]
                readers = [_reading(model, joint.mean[told], expected[told]) for model in self.second_[target]]
                levels = [mean[told, target], *(reader.predict(chosen) for reader in readers)]
                mean[told, target] = np.mean(levels, axis=0)
        return Prediction.gaussian(mean, np.sqrt(variance) * self.factor_)

    def _joint(self, items: list[Any]) -> Joint:
        if isinstance(self.model_, JointPredictor):
            return self.model_.joint(items)
        mean = np.asarray(self.model_.predict(items), dtype=np.float64)
        return self._same_covariance(mean.reshape(len(items), self.n_targets_))

    def save(self, folder: Path) -> None:
        """Write what was learned of the errors into ``folder``, the models into folders below it."""
        check_is_trained(self)
        state = {"n_targets": self.n_targets_, "second": list(self.second_), **self._target_state()}
        write_model(Path(folder), self, state, {"covariance": self.covariance_, "factor": self.factor_})
        self.model_.save(Path(folder) / _MODEL)
        for target, models in self.second_.items():
            for place, model in enumerate(models):
                model.save(_second_folder(Path(folder), target, place))

    @classmethod
    def load(cls, folder: Path) -> CompletionModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        from polyml.models.catalog import load_model

        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model._load_target_state(stored.state)
        model.n_targets_ = stored.state["n_targets"]
        model.covariance_, model.factor_ = stored.arrays["covariance"], stored.arrays["factor"]
        model.model_, model.second_ = load_model(Path(folder) / _MODEL), {}
        places = range(len(model._make_second(0)))
        for target in stored.state["second"]:
            loaded = [load_model(_second_folder(Path(folder), target, place)) for place in places]
            model.second_[target] = [found for found in loaded if isinstance(found, TabularModel)]
        return model


def _second_folder(folder: Path, target: int, place: int) -> Path:
    return folder / f"{_SECOND}_{target}_{place}"


def _calibration(unseen: Joint, y: np.ndarray) -> np.ndarray:
    """Return by what factor errors, given the other properties, are larger than their standard deviation, (t,)."""
    factor = np.ones(y.shape[1])
    for target in range(y.shape[1]):
        mean, variance = unseen.given(y, target)
        measured = ~np.isnan(y[:, target]) & (variance > 0)
        if measured.sum() >= _LEAST_ROWS:
            errors = y[measured, target] - mean[measured, target]
            factor[target] = np.sqrt(np.mean(errors**2 / variance[measured]))
    return factor


def _reading(model: TabularModel, mean: np.ndarray, expected: np.ndarray) -> TabularModel:
    """Let the second level read of polymers, besides features, what the first expects without and with known values.

    Parameters
    ----------
    model : TabularModel
    mean, expected : ndarray of shape (n, t)
        Of exactly the polymers that it will be asked about next.
    """
    from polyml.features.batch import featurize

    first, other = np.triu_indices(expected.shape[1], 1)
    differences = expected[:, first] - expected[:, other]  # a band gap is one: trees do not subtract

    def source(items: Sequence[Any]) -> np.ndarray:
        return np.hstack([featurize(model.features, items), mean, expected, expected - mean, differences])

    return model.read_from(source)
