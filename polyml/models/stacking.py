"""Stacked models: a second level learns how far to trust each member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyml.errors import UserError
from polyml.models.base import Prediction
from polyml.models.ensembles import Ensemble
from polyml.models.inputs import draw_seed, fold_names

_LEAST = 0.01  # probability that stands for less, and for a class that a member has not seen


class Stacking(Ensemble):
    """Several models, and one of the second level that learns how far to trust each.

    Wolpert: Stacked generalization. Neural Networks 5, 241 (1992); Breiman: Stacked regressions. Mach. Learn. 24, 49
    (1996). The second level learns from out-of-fold predictions: the training polymers are divided into folds, no
    polymer standing on both sides, and each fold is predicted by members that have not seen it. For regression it is a
    sum with weights of zero or more, for each target its own; for classification a logistic regression on the
    logarithms of the probabilities. The standard deviation is that of the out-of-fold errors, the same for every
    polymer.

    Parameters
    ----------
    members : list of str or mapping
        Models of the catalog by key, or with parameters: ``{"key": "svm", "C": 10}``.
    folds : int
        Folds of the out-of-fold predictions; each costs a fit of every member.
    random_state : int or None
        Decides the folds; the members' are derived from it.
    """

    key = "stacking"
    title = "Stacked models"
    citation = "Wolpert 1992; Breiman 1996"
    exempt = {"overfit": "its second level learns from polymers that the members have not seen, so not by heart"}

    folds: int = 5

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        if self.folds < 2:
            raise UserError(f"folds={self.folds}", where=f"model '{self.key}'", fix="ask for two folds or more")

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> Stacking:
        """Fit the second level on out-of-fold predictions, then every member on all polymers."""
        self.check_params()
        items, values = self._training_data(psmiles, y)
        seed = draw_seed(self.random_state)
        parts = self._out_of_fold(items, values, seed)
        if self._classifies:
            self.weights_, self.shift_ = _fit_logistic(parts, values, self.class_weight)
            self.std_ = np.full(len(self.classes_), np.nan)
        else:
            fits = [_fit_sum(parts[:, :, target].T, column) for target, column in enumerate(values.T)]
            self.weights_ = np.column_stack([weights for weights, _, _ in fits])
            self.shift_, self.std_ = np.array([shift for _, shift, _ in fits]), np.array([std for _, _, std in fits])
        self.members_ = [member.fit(items, values) for member in self._make_members(seed)]
        return self

    def _out_of_fold(self, items: list[Any], y: np.ndarray, seed: int) -> np.ndarray:
        """Return what each member predicts for the polymers that it has not seen, (members, n, targets or classes)."""
        width = len(self.classes_) if self._classifies else self.n_targets_
        parts = np.full((len(self.members), len(items), width), np.nan)
        # Each fold gets its share of every class, or of every combination of measured targets.
        strata = np.nan_to_num(y, nan=-1.0) if self._classifies else (~np.isnan(y)) @ (2.0 ** np.arange(width))
        number = grouped_folds(fold_names(items), strata, self.folds, seed)
        for fold in np.unique(number):
            train, test = np.flatnonzero(number != fold), np.flatnonzero(number == fold)
            parts[:, test] = self._predict_fold(items, y, train, test, seed)
        return parts

    def _predict_fold(
        self, items: list[Any], y: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
    ) -> np.ndarray:
        """Return what members fitted on ``train`` predict for ``test``; NaN where they had nothing to learn from."""
        known = ~np.isnan(y[train])
        width = len(self.classes_) if self._classifies else y.shape[1]
        learned = np.flatnonzero(known.any(axis=0)) if not self._classifies else np.arange(width)
        if self._classifies and len(np.unique(y[train][known])) < 2:
            learned = learned[:0]
        out = np.full((len(self.members), len(test), width), np.nan)
        if len(learned):
            targets = y[train] if self._classifies else y[np.ix_(train, learned)]
            for number, member in enumerate(self._make_members(seed)):
                member.fit([items[row] for row in train], targets)
                out[number][:, learned] = self._predict_member(member, [items[row] for row in test])
        return out

    def _combine(self, parts: np.ndarray) -> np.ndarray:
        if not self._classifies:
            total: np.ndarray = (parts * self.weights_[:, None, :]).sum(axis=0) + self.shift_
            return total
        from scipy.special import softmax

        probabilities: np.ndarray = softmax(_logarithms(parts) @ self.weights_ + self.shift_, axis=1)
        return probabilities

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation of the out-of-fold errors, and 90 % interval, each of shape (n, t)."""
        self._check_regresses()
        mean = self._combine(self._of_members(psmiles))
        return Prediction.gaussian(mean, np.tile(self.std_, (len(mean), 1)))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights_, "shift": self.shift_, "std": self.std_}

    def _load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.weights_, self.shift_, self.std_ = (arrays[name] for name in ("weights", "shift", "std"))


def grouped_folds(keys: Sequence[str], strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row: rows of one key stay together, and each fold gets its share of every stratum.

    Examples
    --------
    >>> number = grouped_folds(["a", "b", "a", "c"], np.zeros(4), 3, seed=0)
    >>> bool(number[0] == number[2]), len(set(number.tolist()))
    (True, 3)
    """
    unique, first, position = np.unique(np.asarray(keys, dtype=str), return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(unique))
    order = shuffled[np.argsort(strata[first][shuffled], kind="stable")]
    number = np.empty(len(unique), dtype=int)
    number[order] = np.arange(len(unique)) % folds
    return number[position]


def inner_folds(
    items: Sequence[Any], y: np.ndarray, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Divide training data into folds for out-of-fold predictions, all rows of one polymer in the same fold.

    Parameters
    ----------
    items : sequence of str or RepeatUnit, length n
    y : ndarray of shape (n, t)
        NaN where not measured; each fold gets its share of every combination of measured targets.
    folds, seed : int

    Returns
    -------
    list of (train, test, learned)
        Rows to learn from, rows to predict, and the targets that have a value in the former; folds in which there is
        nothing to learn are left out.
    """
    measured = ~np.isnan(y)
    number = grouped_folds(fold_names(items), measured @ (2.0 ** np.arange(y.shape[1])), folds, seed)
    parts = [(np.flatnonzero(number != fold), np.flatnonzero(number == fold)) for fold in np.unique(number)]
    found = [(train, test, np.flatnonzero(measured[train].any(axis=0))) for train, test in parts]
    return [part for part in found if len(part[2])]


def _fit_sum(parts: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return weights of zero or more, a constant, and the standard deviation of the errors.

    Parameters
    ----------
    parts : ndarray of shape (n, members)
        Out-of-fold predictions, NaN where there is none.
    y : ndarray of shape (n,)
        NaN where not measured.
    """
    from scipy.optimize import nnls

    measured = ~np.isnan(y)
    known = measured & ~np.isnan(parts).any(axis=1)
    members = parts.shape[1]
    if known.sum() < 2 * members:  # too few to tell the members apart
        return np.full(members, 1 / members), 0.0, float(y[measured].std())
    x, target = parts[known], y[known]
    weights = nnls(x - x.mean(axis=0), target - target.mean())[0]
    shift = float(target.mean() - x.mean(axis=0) @ weights)
    return weights, shift, float((target - x @ weights - shift).std())


def _fit_logistic(parts: np.ndarray, y: np.ndarray, class_weight: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (members x classes, classes) and constants (classes,) of a logistic regression.

    Parameters
    ----------
    parts : ndarray of shape (members, n, classes)
        Out-of-fold probabilities, NaN where there are none.
    y : ndarray of shape (n,)
        Place of each label among the classes, NaN where there is none.
    """
    from sklearn.linear_model import LogisticRegression

    members, _, classes = parts.shape
    known = ~np.isnan(y) & ~np.isnan(parts).any(axis=(0, 2))
    if len(np.unique(y[known])) < classes:
        return np.tile(np.eye(classes), (members, 1)) / members, np.zeros(classes)
    second = LogisticRegression(class_weight=class_weight, max_iter=2000).fit(_logarithms(parts[:, known]), y[known])
    if classes > 2:
        return second.coef_.T, second.intercept_
    # Two classes have one score, which decides between zero and itself.
    return np.vstack([np.zeros_like(second.coef_), second.coef_]).T, np.array([0.0, second.intercept_[0]])


def _logarithms(parts: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities (members, n, classes) as columns, (n, members x classes)."""
    return np.concatenate(list(np.log(np.maximum(parts, _LEAST))), axis=1)
