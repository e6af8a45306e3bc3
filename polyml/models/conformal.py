"""Intervals that hold: any model of the catalog, calibrated on polymers that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from polyml.errors import UserError, unknown_name
from polyml.models.base import LEVEL, PolymerModel, Prediction
from polyml.models.best import BestModel
from polyml.models.conditioning import error_correlation
from polyml.models.inputs import as_psmiles, check_is_trained, draw_seed, fold_names
from polyml.models.limits import seconds
from polyml.models.local_error import LocalError, fingerprint_bits
from polyml.models.members import Member, make_member, member_params
from polyml.models.space import Choice
from polyml.models.stacking import inner_folds
from polyml.models.storage import read_model, write_model

METHODS = ("cv", "cv_plus", "split")
NEEDED = math.ceil(1.0 / (1.0 - LEVEL) - 1e-9) - 1
"""Values of a property that calibration needs: with fewer the interval would have no end."""

_ROWS_AT_ONCE = 256
_LOCAL = 20  # errors from which on a scale can be learned: with fewer the intervals held 2 to 3 % less than 90
_LEARNED = ("quantile", "factor", "weight", "scaled", "error_correlation")
_OF_THE_MODEL = ("history_", "trials_", "best_params_", "best_score_")

Fold = tuple[np.ndarray, np.ndarray]  # rows to learn from, rows to predict


class ConformalModel(PolymerModel):
    """Any model, with 90 % intervals that hold 90 % of new measurements, whatever the model says of itself.

    The errors of the model on polymers that it has not seen are taken inside the training data, in folds grouped by
    polymer; the interval is as wide as it takes to hold 90 % of them, each property by itself and with the correction
    for their number: Papadopoulos et al., ECML 2002, 345; Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018). It holds
    for polymers of the kind of the training polymers, and on average over them: a polymer unlike all of these may lie
    outside more often.

    ``cv`` fits the model to all polymers, and takes the errors from folds; its predictions are those of the model
    alone. ``split`` sets one of the folds aside for the errors, so that the model learns from fewer polymers, and costs
    no second fit. ``cv_plus`` keeps the models of the folds and predicts with all of them, which holds at least 80 % in
    theory, whatever the model, and about 90 % in practice: Barber et al., Ann. Stat. 49, 486 (2021).

    The standard deviation is scaled as well, so that the mean square of the errors over it is one. The same errors
    tell how far those of several properties go together: ``error_correlation_``, of shape (t, t).

    Parameters
    ----------
    base
        See :class:`polyml.models.completion.CompletionModel`.
    method : {"cv", "cv_plus", "split"}
    normalised : bool
        Wide where the model is unsure and narrow where it is sure, as told by its errors on similar polymers
        (:class:`polyml.models.local_error.LocalError`) and, of a model that gives one, by its standard deviation, both
        brought to the same mean. Without, all polymers have the same interval.
    folds : int
        Folds of the errors, each of which costs a fit; ``split`` sets one of so many parts aside.
    random_state : int or None
        Decides the folds; the model's is derived from it.

    Examples
    --------
    >>> polymers = [f"*{'C' * n}O*" for n in range(1, 41)]
    >>> y = np.random.default_rng(0).normal(size=40)
    >>> found = ConformalModel(base="mean", normalised=False).fit(polymers, y).predict_dist(["*CCCCO*"])
    >>> bool(found.upper[0, 0] - found.lower[0, 0] > 2.5)
    True
    """

    key = "conformal"
    family = "calibrated intervals"
    title = "Any model, with intervals calibrated on polymers it has not seen"
    citation = "Lei et al. 2018; Barber et al. 2021 (CV+)"
    gives_std = True
    search_space = {"base": Choice(("extra_trees", "svm", "lightgbm"))}
    toy_params: ClassVar[dict[str, Any]] = {"base": {"key": "extra_trees", "n_estimators": 10}, "folds": 3}

    base: Member = "extra_trees"
    method: str = "cv"
    normalised: bool = True
    folds: int = 5
    random_state: int | None = 0

    @property
    def gives_novelty(self) -> bool:  # type: ignore[override]
        """Whether the model tells how strange a polymer is to it."""
        return self._make_base(0).gives_novelty

    @property
    def multi_task(self) -> bool:  # type: ignore[override]
        """Whether the model takes all targets at once."""
        return self._make_base(0).multi_task

    def check_params(self) -> None:
        """Check the parameters, those of the model too."""
        super().check_params()
        where = f"model '{self.key}'"
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS, where=where)
        if self.folds < 2:
            raise UserError(f"folds={self.folds}", where=where, fix="ask for two folds or more")
        if member_params(self.base, where)[0] == self.key:
            raise UserError("a calibrated model cannot be calibrated again", where=where, fix="name another base")
        base = self._make_base(0)
        if base.task != "regression":
            raise UserError("a class has no interval to calibrate", where=where, fix="take the classifier by itself")
        if base.uses_known:
            what = f"the intervals of '{base.key}' depend on what else is known of a polymer, and are not calibrated"
            raise UserError(what, where=where, fix=f"take '{base.key}' by itself: it learns them from unseen polymers")

    def called(self) -> str:
        """Return what to call the model before people: what it wraps, and that it is calibrated."""
        return f"{self._make_base(0).called()}, calibrated"

    def inner_models(self) -> list[PolymerModel]:
        """Return the model, unfitted."""
        return [self._make_base(0)]

    def _make_base(self, seed: int) -> PolymerModel:
        base = make_member(self.base, f"base of model '{self.key}'", seed)
        budget = getattr(base, "budget", None)
        if budget is not None:  # the time is for all fits together
            base.set_params(budget=seconds(budget) / self.n_fits)
        return base

    def _next_base(self, seed: int) -> PolymerModel:
        """Return the model of the next fit; where a time budget chose what the first is made of, made of the same."""
        base = self._make_base(seed)
        if isinstance(base, BestModel) and self.models_:
            fitted = self.models_[0]
            return base.limit_to(fitted.chosen_) if isinstance(fitted, BestModel) else base
        return base

    @property
    def n_fits(self) -> int:
        """How many fits of the model :meth:`fit` takes."""
        return {"cv": self.folds + 1, "cv_plus": self.folds, "split": 1}[self.method]

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> ConformalModel:
        """Fit the model, and calibrate its intervals on polymers that it has not seen.

        Raises
        ------
        UserError
            A property has fewer than nine values to calibrate on.
        """
        for _ in self.fit_steps(psmiles, y):
            pass
        return self

    def fit_steps(
        self, psmiles: Sequence[str], y: np.ndarray, names: Sequence[str] | None = None
    ) -> Iterator[PolymerModel]:
        """Check what :meth:`fit` checks; the iterator that is returned does the rest, a fit of :attr:`n_fits` a step.

        Parameters
        ----------
        psmiles : sequence of str
        y : ndarray of shape (n,) or (n, t)
        names : sequence of str, optional
            What messages call the targets.
        """
        self.check_params()
        items, values = self._training_data(psmiles, y)
        seed = draw_seed(self.random_state)
        dealt = inner_folds(items, values, self.folds, seed)
        parts = _check_enough(values, dealt[:1] if self.method == "split" else dealt, names)
        return self._fit_parts(items, values, parts, seed)

    def _fit_parts(
        self, items: list[Any], values: np.ndarray, parts: Sequence[Fold], seed: int
    ) -> Iterator[PolymerModel]:
        mean, std, number = (np.full(values.shape, np.nan) for _ in range(3))
        self.models_ = []
        for place, (train, test) in enumerate(parts):
            model = self._next_base(seed).fit([items[row] for row in train], values[train])
            found = model.predict_dist([items[row] for row in test])
            mean[test], std[test], number[test] = found.mean, found.std, place
            self.models_.append(model)
            yield model
        if self.method == "cv":
            self.models_ = [self._next_base(seed).fit(items, values)]
            yield self.models_[0]
        self._calibrate(items, values - mean, std, number)
        self.n_targets_ = values.shape[1]

    def _calibrate(self, items: list[Any], errors: np.ndarray, std: np.ndarray, number: np.ndarray) -> None:
        """Learn scale, quantile and factor of the standard deviation from errors (n, t) on unseen polymers."""
        self.local_, self.weight_, scale = None, np.zeros(errors.shape[1]), np.ones(errors.shape)
        self.scaled_ = (~np.isnan(errors)).sum(axis=0) >= _LOCAL
        if self.normalised and self.scaled_.any():
            if self.models_[0].gives_std:
                usual = np.nanmean(np.where(np.isnan(errors), np.nan, std), axis=0)
                self.weight_ = np.divide(np.nanmean(np.abs(errors), axis=0), usual, where=usual > 0, out=self.weight_)
            keys = fold_names(items)
            self.local_ = LocalError.learn(fingerprint_bits(items), errors, keys)
            scale = self._scale(std, self.local_.at_known(keys))
        self.error_correlation_ = error_correlation(errors / scale)
        scores = np.abs(errors) / scale
        self.quantile_ = np.array([upper_quantile(column[~np.isnan(column)]) for column in scores.T])
        self.factor_ = np.sqrt(np.nanmean(scores**2, axis=0))
        if self.method == "cv_plus":
            self.scores_, self.number_ = scores, number

    def _scale(self, std: np.ndarray, local: np.ndarray) -> np.ndarray:
        """Return what errors are measured by, (..., n, t): that of similar polymers, and the model's own spread."""
        scale = local + self.weight_ * (std if self.models_[0].gives_std else 0.0)
        return np.where(self.scaled_, scale, 1.0)

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return what the model predicts, of ``cv_plus`` the mean: (n, t), or (n,) when ``y`` had shape (n,)."""
        check_is_trained(self)
        items = as_psmiles(psmiles)
        parts = [np.asarray(model.predict(items)) for model in self.models_]  # type: ignore[arg-type]
        return self._as_given(parts[0] if len(parts) == 1 else np.mean(parts, axis=0))

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, calibrated standard deviation and calibrated 90 % interval, each of shape (n, t)."""
        check_is_trained(self)
        items = as_psmiles(psmiles)
        parts = [model.predict_dist(items) for model in self.models_]  # type: ignore[arg-type]
        means, scales = np.array([part.mean for part in parts]), np.ones((len(parts), *parts[0].mean.shape))
        if self.local_ is not None:
            local = self.local_.at(fingerprint_bits(items))
            scales = self._scale(np.array([part.std for part in parts]), local) * scales
        mean, scale = (x[0] if len(parts) == 1 else x.mean(axis=0) for x in (means, scales))
        if self.method == "cv_plus":
            lower, upper = self._cv_plus(means, scales)
        else:
            lower, upper = mean - self.quantile_ * scale, mean + self.quantile_ * scale
        return Prediction(mean, self.factor_ * scale, lower, upper)

    def _cv_plus(self, means: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the interval (n, t) from what the models of the folds predict, (folds, n, t)."""
        lower, upper = np.empty(means.shape[1:]), np.empty(means.shape[1:])
        for target in range(means.shape[2]):
            known = ~np.isnan(self.scores_[:, target])
            fold, scores = self.number_[known, target].astype(int), self.scores_[known, target, None]
            for start in range(0, means.shape[1], _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                centre, half = means[fold, rows, target], scores * scales[fold, rows, target]
                lower[rows, target] = -upper_quantile(half - centre)
                upper[rows, target] = upper_quantile(centre + half)
        return lower, upper

    def novelty(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return how strange polymers are to the model, (n,); the mean of those of ``cv_plus``."""
        check_is_trained(self)
        parts = [model.novelty(psmiles) for model in self.models_]
        return parts[0] if len(parts) == 1 else np.asarray(np.mean(parts, axis=0))

    def __getattr__(self, name: str) -> Any:
        """Return what the one fitted model learned besides: learning curves, what a search found."""
        if name in _OF_THE_MODEL and len(self.__dict__.get("models_", ())) == 1:
            return getattr(self.models_[0], name)
        raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}'")

    def save(self, folder: Path) -> None:
        """Write what was calibrated into ``folder``, each fitted model into a folder below it."""
        check_is_trained(self)
        state = {"n_targets": self.n_targets_, "models": len(self.models_), **self._target_state()}
        arrays = {name: getattr(self, f"{name}_") for name in _LEARNED}
        if self.method == "cv_plus":
            arrays |= {"scores": self.scores_, "number": self.number_}
        arrays |= self.local_.arrays() if self.local_ else {}
        write_model(Path(folder), self, state, arrays)
        for number, model in enumerate(self.models_):
            model.save(Path(folder) / f"model_{number}")

    @classmethod
    def load(cls, folder: Path) -> ConformalModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        from polyml.models.catalog import load_model

        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model._load_target_state(stored.state)
        model.local_ = LocalError.from_arrays(stored.arrays) if "local_bits" in stored.arrays else None
        for name in {*_LEARNED, "scores", "number"} & set(stored.arrays):
            setattr(model, f"{name}_", stored.arrays[name])
        model.models_ = [load_model(Path(folder) / f"model_{number}") for number in range(stored.state["models"])]
        model.n_targets_ = stored.state["n_targets"]
        if not hasattr(model, "error_correlation_"):  # saved before it was learned
            model.error_correlation_ = np.eye(model.n_targets_)
        return model


def upper_quantile(scores: np.ndarray) -> Any:
    """Return the score that 90 % of new ones stay below: the ceil(0.9 (n + 1))-th smallest of n, along the first axis.

    Parameters
    ----------
    scores : ndarray of shape (n, ...)
        At least :data:`NEEDED` of them.

    Examples
    --------
    >>> float(upper_quantile(np.arange(1.0, 20.0)))  # the 18th of 19
    18.0
    """
    rank = math.ceil(LEVEL * (len(scores) + 1) - 1e-9)
    return np.partition(scores, rank - 1, axis=0)[rank - 1]


def _check_enough(y: np.ndarray, parts: Sequence[tuple[np.ndarray, ...]], names: Sequence[str] | None) -> list[Fold]:
    """Return the folds without their targets, all of which have values enough to calibrate on.

    Raises
    ------
    UserError
        One has not.
    """
    count = np.zeros(y.shape[1], dtype=int)
    for _, test, learned in parts:
        count[learned] += (~np.isnan(y[np.ix_(test, learned)])).sum(axis=0)
    for target in np.flatnonzero(count < NEEDED).tolist():
        raise UserError(
            f"{count[target]} values to calibrate a 90 % interval on, where at least {NEEDED} are needed",
            where=f"target {target}" if names is None else names[target],
            fix="measure more polymers, calibrate on all of them (method cv), or take the model by itself "
            "(polyml train --no-calibrate, in a recipe train.calibrate: false)",
        )
    return [(train, test) for train, test, _ in parts]
