"""The inner score: a model on grouped folds of the training data it is given, and of nothing else."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyml.chem import RepeatUnit, constitution_names, ensure_units
from polyml.data.splits import Fold
from polyml.errors import UserError
from polyml.evaluation.one_fold import fold_seed
from polyml.models.inputs import as_labelled_data, as_training_data
from polyml.models.pretrained import encoders_of, named_encoders
from polyml.tuning.space import Space, SpaceOption, make_space


@dataclass(frozen=True, eq=False)
class Problem:
    """A model whose parameters are searched, with the data and the folds that judge them.

    Attributes
    ----------
    key, params : str, dict
        Model of the catalog, and its parameters that are fixed.
    space : Space
    psmiles : tuple of str
    y : ndarray of shape (n, t), or (n,) labels
    truth : ndarray of shape (n, t)
        ``y`` again; for classification the number of the class.
    classes : ndarray or None
        The different labels, for classification.
    folds : tuple of Fold
    seed : int
        Every model's ``random_state`` on a fold derives from it, the same for all trials.
    digest : str
        SHA-256 over polymers and values.
    """

    key: str
    params: Mapping[str, Any]
    space: Space
    psmiles: tuple[str, ...]
    y: np.ndarray
    truth: np.ndarray
    classes: np.ndarray | None
    folds: tuple[Fold, ...]
    seed: int
    digest: str

    @property
    def metric(self) -> str:
        """Name of the inner score."""
        return "R²" if self.classes is None else "balanced accuracy"

    def encoders(self) -> tuple[str, ...]:
        """Return the pretrained encoders that the model starts from, or that the search may choose."""
        from polyml.models.catalog import make_model

        own = encoders_of(make_model(self.key, **self.params))
        return tuple(dict.fromkeys([*own, *named_encoders(self.space.describe())]))

    def scores(self, params: Mapping[str, Any]) -> Iterator[float]:
        """Yield the score on each inner fold of a model with these parameters."""
        variance = np.nanvar(self.truth, axis=0)
        for fold in self.folds:
            model = self._model(params, fold)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # poor parameters warn; the score says as much
                model.fit([self.psmiles[row] for row in fold.train], self.y[fold.train])
                predicted = np.asarray(model.predict([self.psmiles[row] for row in fold.test]))
            truth = self.truth[fold.test]
            if self.classes is None:
                yield explained_variance(truth, predicted.reshape(truth.shape), variance)
            else:
                yield balanced_accuracy(truth[:, 0], predicted == self.classes[np.nan_to_num(truth[:, 0]).astype(int)])

    def _model(self, params: Mapping[str, Any], fold: Fold) -> Any:
        from polyml.models.catalog import make_model

        model = make_model(self.key, **self.params, **params)
        if "random_state" in model.get_params(deep=False) and "random_state" not in self.params:
            model.set_params(random_state=fold_seed(self.seed, fold.repeat, fold.fold))
        return model


def make_problem(
    key: str,
    psmiles: Sequence[str | RepeatUnit],
    y: Any,
    *,
    params: Mapping[str, Any],
    space: SpaceOption,
    folds: int | None,
    repeats: int,
    seed: int,
) -> Problem:
    """Check model, space and data, and make the inner folds; see :func:`polyml.tuning.search.search`."""
    from polyml.models.catalog import make_model

    ranges = make_space(key, params, space)
    if make_model(key, **params).task == "classification":
        items, truth, classes = as_labelled_data(psmiles, y)
        values = np.asarray(y, dtype=object).reshape(-1)
    else:
        items, truth, _ = as_training_data(psmiles, y)
        values, classes = truth, None
        if not (np.nanvar(truth, axis=0) > 0).any():
            raise UserError("every target is constant", fix="there is nothing to learn: measure more polymers")
    units = ensure_units(items)
    keys = [unit.key for unit in units]
    strata = ["".join("x" if v != v else "o" if classes is None else f"{v:.0f}" for v in row) for row in truth]
    return Problem(
        key=key,
        params=dict(params),
        space=ranges,
        psmiles=tuple(unit.psmiles for unit in units),  # as text: features of text are cached
        y=values,
        truth=truth,
        classes=classes,
        folds=tuple(inner_folds(constitution_names(keys), strata, folds, repeats, seed)),
        seed=seed,
        digest=_digest(keys, values),
    )


def inner_folds(
    keys: Sequence[str], strata: Sequence[str], folds: int | None, repeats: int = 1, seed: int = 0
) -> list[Fold]:
    """Deal polymers to folds: all rows of a polymer to one fold, and each stratum evenly.

    Parameters
    ----------
    keys : sequence of str
        Canonical key of each row.
    strata : sequence of str
        What each row has to offer: its class, or which targets were measured.
    folds : int, optional
        None for 10 with fewer than 100 polymers, 3 with more than 2000, else 5; never more than there are polymers.
    repeats, seed : int

    Raises
    ------
    UserError
        Fewer polymers than folds.

    Examples
    --------
    >>> [fold.test.tolist() for fold in inner_folds(["a", "b", "a", "c"], ["o"] * 4, 3)]
    [[3], [0, 2], [1]]
    """
    stratum_of = dict(zip(keys, strata, strict=True))
    names = sorted(stratum_of)
    if folds is None:
        folds = min(10 if len(names) < 100 else 5 if len(names) <= 2000 else 3, max(2, len(names)))
    if len(names) < folds:
        raise UserError(
            f"{folds} inner folds need as many different polymers, there are {len(names)}",
            where="tuning",
            fix="use fewer inner folds, or measure more polymers",
        )
    found = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        shuffled = [names[i] for i in rng.permutation(len(names))]
        dealt = {name: place % folds for place, name in enumerate(sorted(shuffled, key=stratum_of.__getitem__))}
        number = np.array([dealt[key] for key in keys])
        found += [Fold(repeat, f, np.flatnonzero(number != f), np.flatnonzero(number == f)) for f in range(folds)]
    return found


def explained_variance(truth: np.ndarray, predicted: np.ndarray, variance: np.ndarray) -> float:
    """Return 1 - (mean squared error) / (variance of all training values), averaged over targets.

    It is R² with one denominator for all folds, so that a fold of two polymers counts like any other. Targets without
    a value in this fold, or without a variance, are left out.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n, t)
        NaN in ``truth`` where not measured.
    variance : ndarray of shape (t,)

    Examples
    --------
    >>> explained_variance(np.array([[1.0], [np.nan]]), np.array([[1.5], [9.0]]), np.array([1.0]))
    0.75
    """
    if not np.isfinite(predicted).all():
        raise UserError("the model predicts values that are no finite numbers", fix="search other ranges")
    measured = ~np.isnan(truth)
    counted = measured.any(axis=0) & (variance > 0)
    if not counted.any():
        return float("nan")
    squares = np.where(measured, (truth - predicted) ** 2, 0.0)[:, counted].sum(axis=0)
    return float(np.mean(1.0 - squares / measured[:, counted].sum(axis=0) / variance[counted]))


def balanced_accuracy(truth: np.ndarray, hits: np.ndarray) -> float:
    """Return the part of each class that was hit, averaged over the classes of this fold; NaN where there is none.

    Examples
    --------
    >>> balanced_accuracy(np.array([0.0, 0.0, 1.0, np.nan]), np.array([True, False, True, False]))
    0.75
    """
    present = np.unique(truth[~np.isnan(truth)])
    return float(np.mean([hits[truth == number].mean() for number in present])) if len(present) else float("nan")


def _digest(keys: Sequence[str], values: np.ndarray) -> str:
    rows = zip(keys, np.asarray(values, dtype=object).tolist(), strict=True)
    text = "\n".join(sorted(f"{key}\t{value!r}" for key, value in rows))
    return hashlib.sha256(text.encode()).hexdigest()
