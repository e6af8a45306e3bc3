"""Gradient boosting of decision trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from polyml.errors import UserError
from polyml.models.tabular import FeatureKeys, TabularModel


class LightGBM(TabularModel):
    """Gradient boosting with LightGBM, averaged over a few members that differ in seed and in their training rows.

    Ke et al.: LightGBM, a highly efficient gradient boosting decision tree. NIPS 30, 3146 (2017). Each member leaves
    out a tenth of the polymers; the standard deviation is the spread over the members, which sees the noise of the fit
    and not that of the measurements.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_estimators : int
        Boosting rounds.
    learning_rate : float
    num_leaves : int
    min_child_samples : int
        Polymers a leaf at least.
    colsample : float
        Part of the features a tree sees.
    ensemble : int
        Members; with one there is no standard deviation.
    targets : {"decorrelated", "separate"}
    n_jobs : int
        Threads; 0 follows OMP_NUM_THREADS. The numbers do not depend on it.
    random_state : int or None
    """

    key = "lightgbm"
    family = "boosting"
    title = "Gradient boosting (LightGBM)"
    citation = "Ke et al. 2017; LightGBM"
    gives_std = True
    min_polymers = 3
    search_space: ClassVar[dict[str, Any]] = {
        "n_estimators": {"type": "int", "low": 100, "high": 1000, "log": True},
        "learning_rate": {"type": "float", "low": 0.01, "high": 0.2, "log": True},
        "num_leaves": {"type": "int", "low": 4, "high": 63, "log": True},
        "min_child_samples": {"type": "int", "low": 2, "high": 30, "log": True},
        "colsample": {"type": "float", "low": 0.05, "high": 1.0},
    }
    toy_params: ClassVar[dict[str, Any]] = {"n_estimators": 30, "min_child_samples": 2, "ensemble": 2}

    def __init__(
        self,
        features: FeatureKeys = ("ecfp_count", "descriptors"),
        n_estimators: int = 250,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 10,
        colsample: float = 0.3,
        ensemble: int = 5,
        targets: str = "decorrelated",
        n_jobs: int = 0,
        random_state: int | None = 0,
    ) -> None:
        self.features = features
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.colsample = colsample
        self.ensemble = ensemble
        self.targets = targets
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> BoosterEnsemble:
        if self.ensemble < 1:
            raise UserError(f"ensemble must be at least 1, got {self.ensemble}")
        params = {
            "objective": "regression",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": max(1, min(self.min_child_samples, n_rows // 4)),
            "feature_fraction": self.colsample,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 1.0,
            "verbosity": -1,
            "num_threads": self.n_jobs,
            "deterministic": True,
            "force_row_wise": True,
        }
        return BoosterEnsemble(params, self.n_estimators, self.ensemble, seed)

    def _members(self, estimator: Any, x: np.ndarray) -> np.ndarray | None:
        return estimator.predict_members(x) if len(estimator.boosters) > 1 else None

    def _save_estimators(self, folder: Path) -> None:
        for number, estimator in enumerate(self.estimators_):
            for member, booster in enumerate(estimator.boosters):
                booster.save_model(folder / f"booster_{number}_{member}.txt")

    def _load_estimators(self, folder: Path, state: dict[str, Any]) -> None:
        names = [[folder / f"booster_{n}_{m}.txt" for m in range(self.ensemble)] for n in range(self.n_targets_)]
        self.estimators_ = [
            BoosterEnsemble({}, self.n_estimators, self.ensemble, 0, [_read_booster(path) for path in paths])
            for paths in names
        ]


class BoosterEnsemble:
    """LightGBM boosters on overlapping parts of the rows, averaged."""

    def __init__(
        self, params: dict[str, Any], rounds: int, members: int, seed: int, boosters: list[Any] | None = None
    ) -> None:
        self.params, self.rounds, self.members, self.seed = params, rounds, members, seed
        self.boosters: list[Any] = boosters or []

    def fit(self, x: np.ndarray, y: np.ndarray) -> BoosterEnsemble:
        """Train the members."""
        import lightgbm

        rng = np.random.default_rng(self.seed)
        for member in range(self.members):
            size = len(x) if self.members == 1 or len(x) < 20 else round(0.9 * len(x))
            rows = np.sort(rng.permutation(len(x))[:size])
            params = {**self.params, "seed": (self.seed + 1000003 * member) % (2**31 - 1)}
            data = lightgbm.Dataset(x[rows], y[rows], params={"verbosity": -1, "min_data_in_bin": 1})
            self.boosters.append(lightgbm.train(params, data, num_boost_round=self.rounds))
        return self

    def predict_members(self, x: np.ndarray) -> np.ndarray:
        """Return the predictions of each member, shape (members, n)."""
        return np.stack([booster.predict(x) for booster in self.boosters])

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the mean over the members, shape (n,)."""
        return self.predict_members(x).mean(axis=0)


def _read_booster(path: Path) -> Any:
    import lightgbm

    try:
        return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, lightgbm.basic.LightGBMError) as error:
        raise UserError(f"the boosted trees cannot be read: {error}", where=str(path)) from error
