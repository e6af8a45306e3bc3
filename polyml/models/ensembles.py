"""Ensembles of models of the catalog."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from polyml.errors import UserError
from polyml.models.base import PolymerModel, Prediction
from polyml.models.catalog import load_model
from polyml.models.inputs import as_psmiles, check_is_trained, draw_seed
from polyml.models.members import Member, make_member
from polyml.models.space import Choice
from polyml.models.storage import read_model, write_model

_DEFAULT = ("ridge", "svm", "extra_trees")


class Ensemble(PolymerModel):
    """Common part of the ensembles: members of the catalog, each with a seed of its own, saved in folders of their own.

    The members predict the targets themselves, so contrasts between targets are up to each.
    """

    family = "ensemble"
    tasks: ClassVar[tuple[str, ...]] = ("regression", "classification")
    multi_task = True
    gives_std = True
    toy_params = {"members": ("ridge", "svm", {"key": "extra_trees", "n_estimators": 10})}
    search_space = {
        "members": Choice((_DEFAULT, ("svm", "lightgbm"), ("ridge", "svm_tanimoto", "knn", "lightgbm", "extra_trees")))
    }

    members: Sequence[Member] = _DEFAULT
    random_state: int | None = 0

    def check_params(self) -> None:
        """Check the parameters, and those of every member."""
        super().check_params()
        where = f"members of model '{self.key}'"
        if isinstance(self.members, (str, Mapping)):
            raise UserError("an ensemble needs two members or more", where=where, fix="list them: [ridge, svm]")
        self._make_members(0)
        if len(self.members) < 2:
            raise UserError("an ensemble needs two members or more", where=where, fix="list them: [ridge, svm]")

    def inner_models(self) -> list[PolymerModel]:
        """Return the members, unfitted."""
        return self._make_members(0)

    def _make_members(self, seed: int) -> list[PolymerModel]:
        seeds = np.random.SeedSequence(seed).generate_state(len(self.members)) % (2**31)
        return [self._make_member(member, int(own)) for member, own in zip(self.members, seeds, strict=True)]

    def _make_member(self, member: Member, seed: int) -> PolymerModel:
        where = f"members of model '{self.key}'"
        return make_member(member, where, seed, task=self.task, class_weight=self.class_weight)

    def _training_data(self, psmiles: Sequence[str], y: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """Check the data; return the polymers and ``y`` as every member gets it, values (n, t) or codes (n,)."""
        items, values = super()._training_data(psmiles, y)
        self.n_targets_ = values.shape[1]
        return items, values[:, 0] if self._classifies else values

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the predicted mean, shape (n, t) or (n,) as ``y`` had; for classification the labels, (n,)."""
        if self._classifies:
            return self._likeliest(self.predict_proba(psmiles))
        mean = self._combine(self._of_members(psmiles))
        return self._as_given(mean)

    def predict_proba(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the probability of each class, shape (n, classes)."""
        return self._combine(self._of_members(psmiles)) if self._classifies else super().predict_proba(psmiles)

    def _of_members(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return what each member predicts, shape (members, n, t); probabilities (members, n, classes)."""
        check_is_trained(self)
        items = as_psmiles(psmiles)
        return np.stack([self._predict_member(member, items) for member in self.members_])

    def _predict_member(self, member: PolymerModel, items: Sequence[Any]) -> np.ndarray:
        if not self._classifies:
            mean = np.asarray(member.predict(items), dtype=np.float64)
            return mean[:, None] if mean.ndim == 1 else mean
        out = np.zeros((len(items), len(self.classes_)))
        out[:, member.classes_.astype(int)] = member.predict_proba(items)
        return out

    @abstractmethod
    def _combine(self, parts: np.ndarray) -> np.ndarray:
        """Return the prediction (n, t), or probabilities (n, classes), from those of the members."""

    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder``, each member into a folder of its own below it."""
        check_is_trained(self)
        folder = Path(folder)
        state = {"n_targets": self.n_targets_, "members": len(self.members_), **self._target_state()}
        write_model(folder, self, state, self._arrays())
        for number, member in enumerate(self.members_):
            member.save(folder / f"member_{number}")

    @classmethod
    def load(cls, folder: Path) -> Ensemble:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        folder = Path(folder)
        stored = read_model(folder, cls.key)
        model = cls(**stored.params)
        model._load_target_state(stored.state)
        model.n_targets_ = stored.state["n_targets"]
        model.members_ = [load_model(folder / f"member_{number}") for number in range(stored.state["members"])]
        model._load_arrays(stored.arrays)
        return model

    def _arrays(self) -> dict[str, np.ndarray]:
        return {}

    def _load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`_arrays` gave."""


class Voting(Ensemble):
    """The mean of what several models predict, or of the probabilities they give.

    Hansen and Salamon: Neural network ensembles. IEEE Trans. Pattern Anal. Mach. Intell. 12, 993 (1990). The standard
    deviation is the spread over the members: how far they disagree, without the noise of the measurements.

    Parameters
    ----------
    members : list of str or mapping
        Models of the catalog by key, or with parameters: ``{"key": "svm", "C": 10}``.
    random_state : int or None
        The members' are derived from it.
    """

    key = "voting"
    title = "Mean of several models"
    citation = "Hansen and Salamon 1990"

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> Voting:
        """Fit every member."""
        self.check_params()
        items, values = self._training_data(psmiles, y)
        self.members_ = [member.fit(items, values) for member in self._make_members(draw_seed(self.random_state))]
        return self

    def _combine(self, parts: np.ndarray) -> np.ndarray:
        mean: np.ndarray = parts.mean(axis=0)
        return mean

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return the mean over the members, their spread, and the 90 % interval, each of shape (n, t)."""
        self._check_regresses()
        parts = self._of_members(psmiles)
        return Prediction.gaussian(parts.mean(axis=0), parts.std(axis=0, ddof=1))
