"""The baseline that every other model has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyml.chem import ensure_units
from polyml.models.base import PolymerModel, Prediction
from polyml.models.inputs import as_psmiles, check_is_trained, class_indicators
from polyml.models.storage import read_model, write_model


class MeanModel(PolymerModel):
    """Predict the mean of the training polymers for every polymer, their standard deviation as uncertainty.

    It reads nothing of a polymer, yet refuses what is none, as every model does.

    For classification the probabilities are the frequencies of the classes.

    Examples
    --------
    >>> MeanModel().fit(["*CC*", "*CO*"], np.array([1.0, 3.0])).predict(["*CCO*"])
    array([2.])
    """

    key = "mean"
    family = "baseline"
    title = "Mean of the training polymers"
    citation = "baseline"
    exempt = {
        "overfit": "it predicts one number for all polymers, and is there to be beaten",
        "overfit classes": "it predicts the commonest class for all polymers, and is there to be beaten",
    }
    input_kind = "none"
    tasks = ("regression", "classification")
    gives_std = True

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> MeanModel:
        """Take the mean and standard deviation of each target, or class, over its measured rows."""
        self.check_params()
        items, values = self._training_data(psmiles, y)
        ensure_units(items)
        self.n_targets_ = values.shape[1]
        if not self._classifies:
            self.mean_, self.std_ = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
            return self
        known = ~np.isnan(values[:, 0])
        members, weights = class_indicators(values[:, 0], len(self.classes_), self.class_weight)
        self.mean_ = np.average(members[known], axis=0, weights=weights[known])
        self.std_ = np.sqrt(self.mean_ * (1 - self.mean_))
        return self

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the mean for each polymer; for classification the commonest label."""
        if self._classifies:
            return self._likeliest(self.predict_proba(psmiles))
        mean = self._rows("mean_", psmiles)
        return self._as_given(mean)

    def predict_proba(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the frequency of each class, shape (n, classes)."""
        return self._rows("mean_", psmiles) if self._classifies else super().predict_proba(psmiles)

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean and standard deviation of the training polymers."""
        self._check_regresses()
        return Prediction.gaussian(self._rows("mean_", psmiles), self._rows("std_", psmiles))

    def _rows(self, statistic: str, psmiles: Sequence[str]) -> np.ndarray:
        check_is_trained(self)
        return np.tile(getattr(self, statistic), (len(ensure_units(as_psmiles(psmiles))), 1))

    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder``."""
        check_is_trained(self)
        write_model(Path(folder), self, self._target_state(), {"mean": self.mean_, "std": self.std_})

    @classmethod
    def load(cls, folder: Path) -> MeanModel:
        """Read what :meth:`save` wrote."""
        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model._load_target_state(stored.state)
        model.mean_, model.std_ = stored.arrays["mean"], stored.arrays["std"]
        model.n_targets_ = 1 if model._classifies else len(model.mean_)
        return model
