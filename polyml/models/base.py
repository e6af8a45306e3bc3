"""The contract of every model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


@dataclass(frozen=True)
class Prediction:
    """Predicted distribution of ``t`` properties for ``n`` polymers.

    Attributes
    ----------
    mean : ndarray of shape (n, t)
    std : ndarray of shape (n, t)
        Standard deviation; NaN where the model gives none.
    lower, upper : ndarray of shape (n, t)
        Ends of the 90 % interval; NaN where the model gives none.
    """

    mean: np.ndarray
    std: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def gaussian(cls, mean: np.ndarray, std: np.ndarray | None = None) -> Prediction:
        """Build from a mean and, if there is one, a standard deviation."""
        std = np.full_like(mean, np.nan) if std is None else std
        half = 1.6448536269514722 * std  # 95th percentile of the standard normal
        return cls(mean=mean, std=std, lower=mean - half, upper=mean + half)


class PolymerModel(RegressorMixin, BaseEstimator):
    """A scikit-learn regressor from pSMILES to ``t`` properties at once.

    ``y`` has shape ``(n, t)`` in the modelled scale (log10 of a permeability, say) with NaN for what was not measured.
    NaN is masked, never imputed. Every random choice follows ``random_state``.

    Attributes
    ----------
    key, family, title, citation : str
        Name in the catalog; family as shown on the leaderboard; one line on what it is; the paper or library.
    input_kind : {"array", "graph", "none"}
        What the model reads of a polymer.
    multi_task : bool
        One model for all properties (True) or one a property (False).
    gives_std : bool
        Whether :meth:`predict_dist` gives a standard deviation.
    search_space : dict
        Hyperparameter ranges for tuning.
    """

    key: ClassVar[str]
    family: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str] = ""
    input_kind: ClassVar[str] = "array"
    multi_task: ClassVar[bool] = False
    gives_std: ClassVar[bool] = False
    search_space: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> PolymerModel:
        """Learn from pSMILES and ``y`` of shape (n,) or (n, t) with NaN where not measured."""

    @abstractmethod
    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the predicted mean, shape (n, t), or (n,) when ``y`` had shape (n,)."""

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation and 90 % interval, each of shape (n, t)."""
        mean = np.asarray(self.predict(psmiles))
        return Prediction.gaussian(mean.reshape(len(psmiles), -1))

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder`` (no pickle: skops, safetensors, the library's own text format)."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> PolymerModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
