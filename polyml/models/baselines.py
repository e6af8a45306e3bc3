"""The baseline that every other model has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from polyml.models.base import PolymerModel, Prediction
from polyml.models.inputs import as_psmiles, as_training_data, check_is_trained
from polyml.models.storage import read_model, write_model


class MeanModel(PolymerModel):
    """Predict the mean of the training polymers for every polymer, their standard deviation as uncertainty.

    Examples
    --------
    >>> MeanModel().fit(["*CC*", "*CO*"], np.array([1.0, 3.0])).predict(["*CCO*"])
    array([2.])
    """

    key = "mean"
    family = "baseline"
    title = "Mean of the training polymers"
    input_kind = "none"
    gives_std = True
    toy_params: ClassVar[dict[str, Any]] = {}

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> MeanModel:
        """Take the mean and standard deviation of each target over its measured rows."""
        _, values, self.single_ = as_training_data(psmiles, y)
        self.mean_, self.std_ = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        self.n_targets_ = values.shape[1]
        return self

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the mean for each polymer."""
        mean = self.predict_dist(psmiles).mean
        return mean[:, 0] if self.single_ else mean

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean and standard deviation of the training polymers."""
        check_is_trained(self)
        n = len(as_psmiles(psmiles))
        return Prediction.gaussian(np.tile(self.mean_, (n, 1)), np.tile(self.std_, (n, 1)))

    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder``."""
        check_is_trained(self)
        write_model(Path(folder), self, {"single": self.single_}, {"mean": self.mean_, "std": self.std_})

    @classmethod
    def load(cls, folder: Path) -> MeanModel:
        """Read what :meth:`save` wrote."""
        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model.single_ = stored.state["single"]
        model.mean_, model.std_ = stored.arrays["mean"], stored.arrays["std"]
        model.n_targets_ = len(model.mean_)
        return model
