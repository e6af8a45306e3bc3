"""Gradient boosting with XGBoost, which is an extra: ``pip install 'polyml-chem[xgboost]'``."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from polyml.errors import DAMAGED, UserError
from polyml.models.space import Float, Int
from polyml.models.tabular import TabularModel
from polyml.models.trees import check_links, damaged_tree


class XGBoost(TabularModel):
    """Gradient boosting with XGBoost: trees grown by the second order of the loss, with a penalty on their leaves.

    Chen and Guestrin: XGBoost, a scalable tree boosting system. KDD 2016, 785.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_estimators : int
        Boosting rounds.
    learning_rate : float
    max_depth : int
        Splits above a leaf at most.
    min_child_weight : float
        Polymers a leaf at least (for classification the sum of their second derivatives).
    subsample : float
        Part of the polymers that a tree sees.
    colsample : float
        Part of the features that a tree sees.
    reg_lambda : float
        Penalty on squared leaf values.
    targets : {"decorrelated", "separate"}
    n_jobs : int
        Threads; 0 follows OMP_NUM_THREADS.
    random_state : int or None
    """

    key = "xgboost"
    family = "boosting"
    title = "Gradient boosting (XGBoost)"
    citation = "Chen and Guestrin 2016; XGBoost"
    tasks = ("regression", "classification")
    min_polymers = 3
    search_space = {
        "n_estimators": Int(100, 1000, log=True),
        "learning_rate": Float(0.01, 0.2, log=True),
        "max_depth": Int(2, 10),
        "min_child_weight": Float(0.5, 20.0, log=True),
        "subsample": Float(0.4, 1.0),
        "colsample": Float(0.05, 1.0),
        "reg_lambda": Float(0.01, 10.0, log=True),
    }
    extra = "xgboost"
    toy_params = {"n_estimators": 20}
    overfit_params = {"n_estimators": 200}
    bounds = {
        "n_estimators": (1, math.inf),
        "learning_rate": (1e-9, math.inf),
        "max_depth": (1, 64),
        "min_child_weight": (0.0, math.inf),
        "subsample": (1e-3, 1.0),
        "colsample": (1e-3, 1.0),
        "reg_lambda": (0.0, math.inf),
    }

    n_estimators: int = 300
    learning_rate: float = 0.05
    max_depth: int = 5
    min_child_weight: float = 1.0
    subsample: float = 0.7
    colsample: float = 0.2
    reg_lambda: float = 1.0
    n_jobs: int = 0

    def check_params(self) -> None:
        """Check the parameters, and that XGBoost is installed."""
        super().check_params()
        _require_xgboost()

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> BoostedTrees:
        params = {
            "objective": "reg:squarederror",
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample,
            "reg_lambda": self.reg_lambda,
            "tree_method": "hist",
            "nthread": self.n_jobs,
            "seed": seed,
            "verbosity": 0,
        }
        if self._classifies:
            params |= {"objective": "multi:softprob", "num_class": len(self.classes_)}
        return BoostedTrees(params, self.n_estimators)

    def _save_estimators(self, folder: Path) -> None:
        for number, estimator in enumerate(self.estimators_):
            estimator.booster.save_model(folder / f"booster_{number}.json")

    def _load_estimators(self, folder: Path) -> None:
        _require_xgboost()
        self.estimators_ = []
        for number in range(self.n_targets_):
            estimator = self._make_estimator(0, 0, len(self.columns_))
            estimator.booster = _read_booster(folder / f"booster_{number}.json", len(self.columns_))
            self.estimators_.append(estimator)


def _require_xgboost() -> None:
    if find_spec("xgboost") is None:
        raise UserError(
            "XGBoost is not installed",
            where="model 'xgboost'",
            fix="pip install 'polyml-chem[xgboost]', or take lightgbm",
        )


class BoostedTrees:
    """An XGBoost booster with the calls of a scikit-learn estimator."""

    def __init__(self, params: dict[str, Any], rounds: int) -> None:
        self.params, self.rounds = params, rounds
        self.booster: Any = None

    def get_params(self) -> dict[str, Any]:
        """Return no parameters that another could set."""
        return {}

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> BoostedTrees:
        """Train the booster."""
        import xgboost

        data = xgboost.DMatrix(x, y, weight=sample_weight, nthread=self.params["nthread"])
        self.booster = xgboost.train(self.params, data, self.rounds)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the prediction, shape (n,); for classification the probabilities, shape (n, classes)."""
        import xgboost

        data = xgboost.DMatrix(x, nthread=self.params["nthread"])
        return np.asarray(self.booster.predict(data), dtype=np.float64)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of each class, shape (n, classes)."""
        return self.predict(x)


def _read_booster(path: Path, n_columns: int) -> Any:
    import xgboost

    try:
        text = path.read_bytes()
        trees = json.loads(text)["learner"]["gradient_booster"]["model"]["trees"]
        for tree in trees:
            _check_tree(tree, n_columns, path)
        booster = xgboost.Booster()
        booster.load_model(bytearray(text))
        return booster
    except UserError:
        raise
    except (OSError, ValueError, LookupError, TypeError, xgboost.core.XGBoostError) as error:
        raise UserError(f"the boosted trees cannot be read: {error}", where=str(path), fix=DAMAGED) from error


def _check_tree(tree: dict[str, Any], n_columns: int, path: Path) -> None:
    """Refuse a damaged tree: XGBoost follows the indices of a file unchecked."""
    names = ("left_children", "right_children", "split_indices", "split_conditions", "split_type")
    left, right, feature, _, kind = arrays = [np.array(tree[name]) for name in names]
    if len({len(array) for array in arrays}) != 1 or kind.any():  # no split here is on categories
        raise damaged_tree(path)
    inner = np.flatnonzero(left != -1)
    check_links(inner, left[inner], right[inner], feature[inner], len(left), n_columns, path)
