"""A model that searches its own parameters when it is fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from polyml.errors import UserError
from polyml.models.base import PolymerModel, Prediction
from polyml.models.catalog import load_model, make_model
from polyml.models.inputs import as_labelled_data, as_psmiles, as_training_data, check_is_trained, draw_seed
from polyml.models.storage import read_model, write_model
from polyml.tuning.search import SearchSettings, search
from polyml.tuning.space import make_space
from polyml.tuning.trials import SearchResult

_MODEL = "model"


class TunedModel(PolymerModel):
    """A model of the catalog whose parameters are searched inside its training data, then fitted to all of these.

    In a comparison this is nested cross-validation: the search is repeated within the training part of every fold and
    never sees a test value. Varma and Simon: Bias in error estimation when using cross-validation for model selection.
    BMC Bioinformatics 7, 91 (2006). The searches run in Optuna: Akiba et al., KDD 2019.

    Parameters
    ----------
    base : str
        Key of the model.
    base_params : mapping, optional
        Its parameters that are fixed.
    trials, sampler, pruner, folds, repeats
        See :class:`polyml.tuning.search.SearchSettings`.
    space : mapping or sequence of str, optional
        See :func:`polyml.tuning.space.make_space`; None for the ranges that the model declares.
    random_state : int or None
        Of the search and of the model.
    task, class_weight
        See :class:`polyml.models.base.PolymerModel`; handed to the model.

    Attributes
    ----------
    best_params_ : dict
        Parameters of the fitted model.
    best_score_ : float
        Their inner score; an optimistic one, as it is the best of many.
    trials_ : list of dict
        One row a trial: trial, state, score, the parameters, scores by fold, seconds, defaults, error.
    model_ : PolymerModel
        The fitted model.
    """

    key = "tuned"
    family = "hyperparameter search"
    title = "Any model, tuned inside its training data"
    citation = "Varma and Simon 2006; Akiba et al. 2019 (Optuna)"
    tasks = ("regression", "classification")
    toy_params: ClassVar[Mapping[str, Any]] = {
        "base": "svm",
        "trials": 4,
        "folds": 3,
        "space": {"C": [1.0, 5.0, 20.0], "gamma": None},
    }

    base: str = "svm"
    base_params: Mapping[str, Any] | None = None
    trials: int = 20
    sampler: str = "tpe"
    pruner: str | None = None
    folds: int | None = None
    repeats: int = 1
    space: Any = None
    random_state: int | None = 0

    @property
    def gives_std(self) -> bool:  # type: ignore[override]
        """Whether the model gives a standard deviation."""
        return self._untuned().gives_std

    @property
    def gives_novelty(self) -> bool:  # type: ignore[override]
        """Whether the model tells how strange a polymer is to it."""
        return self._untuned().gives_novelty

    @property
    def multi_task(self) -> bool:  # type: ignore[override]
        """Whether the model takes all targets at once."""
        return self._untuned().multi_task

    def check_params(self) -> None:
        """Check the parameters, those of the model and the space too."""
        super().check_params()
        where = f"model '{self.key}'"
        if self.base == self.key:
            raise UserError("a tuned model cannot be tuned again", where=where, fix="name another base")
        own = {"task", "class_weight"} & set(self.base_params or {})
        if own:
            raise UserError(f"'{min(own)}' stands in base_params", where=where, fix="give it beside base")
        space = make_space(self.base, self._fixed(), self.space)
        self._settings(0).check(space, f"tuning of model '{self.base}'")

    def _fixed(self) -> dict[str, Any]:
        """Return the parameters of the model that are not searched."""
        fixed: dict[str, Any] = {"task": self.task} if self._classifies else {}
        if self.class_weight is not None:
            fixed["class_weight"] = self.class_weight
        return {**fixed, **(self.base_params or {})}

    def inner_models(self) -> list[PolymerModel]:
        """Return the model with its parameters that are fixed, unfitted."""
        return [self._untuned()]

    def _untuned(self) -> PolymerModel:
        return make_model(self.base, **self._fixed())

    def _settings(self, seed: int) -> SearchSettings:
        return SearchSettings(self.trials, self.sampler, self.pruner, self.folds, self.repeats, seed)

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> TunedModel:
        """Search on inner folds of the polymers, then fit the best parameters to all of them."""
        self.check_params()
        if self._classifies:
            as_labelled_data(psmiles, y)
            targets = 1
        else:
            targets = as_training_data(psmiles, y)[1].shape[1]
        seed = draw_seed(self.random_state)
        found = search(self.base, psmiles, y, params=self._fixed(), space=self.space, settings=self._settings(seed))
        model = make_model(self.base, **found.best_params)
        if "random_state" in model.get_params(deep=False) and "random_state" not in found.best_params:
            model.set_params(random_state=seed)
        self._take(model.fit(psmiles, y), targets)
        self.best_params_, self.best_score_ = found.best_params, found.best.score
        self.trials_ = _rows(found)
        return self

    def _take(self, model: PolymerModel, targets: int) -> None:
        self.model_, self.n_targets_ = model, targets
        self.input_kind = model.input_kind  # type: ignore[misc]
        if self._classifies:
            self.classes_ = model.classes_

    @property
    def history_(self) -> list[dict[str, Any]]:
        """Learning curves of the fitted model; AttributeError where it has none."""
        found: list[dict[str, Any]] = self.model_.history_
        return found

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return what the fitted model predicts."""
        check_is_trained(self)
        return self.model_.predict(as_psmiles(psmiles))  # type: ignore[arg-type]

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return the distribution that the fitted model predicts."""
        check_is_trained(self)
        return self.model_.predict_dist(as_psmiles(psmiles))  # type: ignore[arg-type]

    def predict_proba(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the probabilities that the fitted model predicts."""
        check_is_trained(self)
        return self.model_.predict_proba(as_psmiles(psmiles))  # type: ignore[arg-type]

    def novelty(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return how strange polymers are to the fitted model, (n,)."""
        check_is_trained(self)
        return self.model_.novelty(psmiles)

    def save(self, folder: Path) -> None:
        """Write the fitted model into a folder below ``folder``, and what the search found."""
        check_is_trained(self)
        state = {
            "n_targets": self.n_targets_,
            "best_params": dict(self.best_params_),
            "best_score": self.best_score_,
            "trials": self.trials_,
        }
        write_model(Path(folder), self, state)
        self.model_.save(Path(folder) / _MODEL)

    @classmethod
    def load(cls, folder: Path) -> TunedModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model._take(load_model(Path(folder) / _MODEL), stored.state["n_targets"])
        model.best_params_, model.best_score_ = stored.state["best_params"], stored.state["best_score"]
        model.trials_ = stored.state["trials"]
        return model


def _rows(found: SearchResult) -> list[dict[str, Any]]:
    """Return the trials as plain rows, without what was not computed."""
    rows = found.frame().to_dict("records")
    return [
        {str(name): value for name, value in row.items() if not (isinstance(value, float) and math.isnan(value))}
        for row in rows
    ]
