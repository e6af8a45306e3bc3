"""The common part of all models that read an array of features and fit one estimator a target."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from polyml.chem import RepeatUnit
from polyml.models.base import PolymerModel, Prediction
from polyml.models.inputs import as_psmiles, as_training_data, check_is_trained, draw_seed, kept_random_state
from polyml.models.storage import read_estimators, read_model, write_estimators, write_model
from polyml.models.targets import TargetBasis

FeatureKeys = str | Sequence[str]
_ROWS_AT_ONCE = 2048  # bounds the memory for the members' predictions


class TabularModel(PolymerModel):
    """One estimator a target (or a contrast of targets), each fitted on the polymers where it was measured.

    A subclass names its parameters in ``__init__`` (``features``, ``targets``, ``random_state`` among them) and writes
    :meth:`_make_estimator`. This class checks the input, featurizes, keeps the informative columns, changes the target
    basis, and saves with skops.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers; their columns are stacked.
    targets : {"decorrelated", "separate"}
        See :class:`polyml.models.targets.TargetBasis`.
    random_state : int or None

    Attributes
    ----------
    min_polymers : int
        A column is kept when at least this many training polymers differ from its most common value.
    compress : bool
        Take the signed square root of every feature: tames counts and heavy-tailed descriptors before scaling.
    trusted_types : tuple of str
        Types in the saved file beyond those that skops holds safe.
    toy_params : dict
        Parameters for a quick fit on a few polymers, for tests.
    """

    min_polymers: ClassVar[int] = 1
    compress: ClassVar[bool] = False
    trusted_types: ClassVar[tuple[str, ...]] = ()
    toy_params: ClassVar[dict[str, Any]] = {}

    features: FeatureKeys
    targets: str
    random_state: int | None

    @abstractmethod
    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        """Return an unfitted scikit-learn regressor for one target."""

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> TabularModel:
        """Fit one estimator a target on the rows where it was measured."""
        items, values, self.single_ = as_training_data(psmiles, y)
        x = self._featurize(items)
        self.columns_ = informative_columns(x, self.min_polymers)
        x = x[:, self.columns_]
        self.basis_ = TargetBasis.fit(values, self.targets)
        seed = draw_seed(self.random_state)
        x = self._fit_embedding(x, items, seed)
        self.estimators_ = [self._fit_target(x, column, seed) for column in self.basis_.to_basis(values).T]
        self.n_targets_ = values.shape[1]
        return self

    def _fit_target(self, x: np.ndarray, target: np.ndarray, seed: int) -> Any:
        measured = ~np.isnan(target)
        estimator = self._make_estimator(seed, int(measured.sum()), x.shape[1])
        with kept_random_state():
            return estimator.fit(x[measured], target[measured])

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the predicted mean, shape (n, t), or (n,) when ``y`` had shape (n,)."""
        x = self._features_of(psmiles)
        columns = [estimator.predict(x) if len(x) else np.empty(0) for estimator in self.estimators_]
        mean = self.basis_.from_basis(np.column_stack(columns))
        return mean[:, 0] if self.single_ else mean

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation over the members of an ensemble, and 90 % interval, each (n, t)."""
        x = self._features_of(psmiles)
        if not len(x) or self._members(self.estimators_[0], x[:1]) is None:
            return Prediction.gaussian(np.asarray(self.predict(psmiles)).reshape(len(x), self.n_targets_))
        parts = [self._mean_and_std(x[at : at + _ROWS_AT_ONCE]) for at in range(0, len(x), _ROWS_AT_ONCE)]
        return Prediction.gaussian(np.concatenate([mean for mean, _ in parts]), np.concatenate([s for _, s in parts]))

    def _mean_and_std(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        members = [self._members(estimator, x) for estimator in self.estimators_]
        y = self.basis_.from_basis(np.stack([part for part in members if part is not None], axis=-1))  # (members, n, t)
        return y.mean(axis=0), y.std(axis=0, ddof=1)

    def _members(self, estimator: Any, x: np.ndarray) -> np.ndarray | None:
        """Return the predictions of an ensemble's members, shape (members, n); None when there is no ensemble."""
        return None

    def _features_of(self, psmiles: Sequence[str]) -> np.ndarray:
        check_is_trained(self)
        items = as_psmiles(psmiles)
        if not items:
            return np.empty((0, len(self.columns_)), np.float32)
        return self._embed(self._featurize(items)[:, self.columns_])

    def _fit_embedding(self, x: np.ndarray, items: Sequence[str | RepeatUnit], seed: int) -> np.ndarray:
        """Learn an embedding of the training features and return it; by default the features themselves."""
        return x

    def _embed(self, x: np.ndarray) -> np.ndarray:
        """Return the embedding of features."""
        return x

    def _featurize(self, items: Sequence[str | RepeatUnit]) -> np.ndarray:
        from polyml.features.batch import featurize

        x = np.asarray(featurize(self.features, items), dtype=np.float32)
        return np.sign(x) * np.sqrt(np.abs(x)) if self.compress else x

    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder``."""
        check_is_trained(self)
        state = {"basis": self.basis_.to_dict(), "single": self.single_, **self._extra_state()}
        write_model(Path(folder), self, state, {"columns": self.columns_})
        self._save_estimators(Path(folder))

    @classmethod
    def load(cls, folder: Path) -> TabularModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model.basis_ = TargetBasis.from_dict(stored.state["basis"])
        model.single_, model.columns_ = stored.state["single"], stored.arrays["columns"]
        model.n_targets_ = len(model.basis_.parent)
        model._load_estimators(Path(folder), stored.state)
        return model

    def _extra_state(self) -> dict[str, Any]:
        return {}

    def _save_estimators(self, folder: Path) -> None:
        write_estimators(folder, self.estimators_)

    def _load_estimators(self, folder: Path, state: dict[str, Any]) -> None:
        self.estimators_ = read_estimators(folder, self.n_targets_, self.trusted_types)


def informative_columns(x: np.ndarray, min_polymers: int = 1) -> np.ndarray:
    """Return the columns where at least ``min_polymers`` rows differ from the most common value.

    With fewer than ten times as many rows, the limit falls in proportion; one column at least is kept.

    Examples
    --------
    >>> informative_columns(np.array([[0.0, 1.0], [0.0, 2.0]]))
    array([1])
    """
    limit = max(1, min(min_polymers, len(x) // 10))
    ordered = np.sort(x, axis=0)
    # The most common value of a column of counts is nearly always its median, and exactly so when it holds a majority.
    differing = (ordered != ordered[len(ordered) // 2]).sum(axis=0)
    kept = np.flatnonzero(differing >= limit)
    return kept if len(kept) else np.arange(1)
