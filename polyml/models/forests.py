"""Forests of decision trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyml.models.space import Float, Int
from polyml.models.trees import TreeModel


class _Forest(TreeModel):
    """Common part of the forests: their parameters, and the spread over the trees."""

    family = "forest"
    gives_std = True
    search_space = {
        "n_estimators": Int(100, 500),
        "max_features": Float(0.05, 1.0),
        "min_samples_leaf": Int(1, 5),
    }
    toy_params = {"n_estimators": 20}

    n_estimators: int = 200
    max_features: float = 0.2
    min_samples_leaf: int = 1
    n_jobs: int | None = None

    def _forest_params(self, seed: int) -> dict[str, Any]:
        return {
            "n_estimators": self.n_estimators,
            "max_features": float(self.max_features),
            "min_samples_leaf": self.min_samples_leaf,
            "n_jobs": self.n_jobs,
            "random_state": seed,
        }

    def _predict_target(self, estimator: Any, x: np.ndarray) -> np.ndarray:
        if self.n_jobs not in (None, 1):
            return super()._predict_target(estimator, x)
        # scikit-learn's own sum, in its order, without the checks and the threads that it spends on every tree.
        rows, total = np.ascontiguousarray(x, dtype=np.float32), np.zeros(len(x))
        for tree in estimator.estimators_:
            total += tree.tree_.predict(rows).reshape(len(rows))
        return total / len(estimator.estimators_)

    def _members(self, estimator: Any, x: np.ndarray) -> np.ndarray | None:
        if len(estimator.estimators_) < 2:
            return None
        rows = np.ascontiguousarray(x, dtype=np.float32)
        return np.stack([tree.tree_.predict(rows).reshape(len(rows)) for tree in estimator.estimators_])


class RandomForest(_Forest):
    """Random forest: trees on bootstrap samples, each split the best among a random part of the features.

    Breiman: Random forests. Mach. Learn. 45, 5 (2001). The standard deviation is the spread over the trees.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_estimators : int
        Trees a target.
    max_features : float
        Part of the features tried at a split.
    min_samples_leaf : int
    targets : {"decorrelated", "separate"}
    n_jobs : int, optional
        Threads; the numbers do not depend on it.
    random_state : int or None
    """

    key = "random_forest"
    title = "Random forest"
    citation = "Breiman 2001; scikit-learn"

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        forest = RandomForestClassifier if self._classifies else RandomForestRegressor
        return forest(**self._forest_params(seed))


class ExtraTrees(_Forest):
    """Extremely randomised trees: all polymers in every tree, split points drawn at random.

    Geurts, Ernst, Wehenkel: Extremely randomized trees. Mach. Learn. 63, 3 (2006). The standard deviation is the
    spread over the trees. Parameters as in :class:`RandomForest`.
    """

    key = "extra_trees"
    title = "Extremely randomised trees"
    citation = "Geurts et al. 2006; scikit-learn"

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        forest = ExtraTreesClassifier if self._classifies else ExtraTreesRegressor
        return forest(**self._forest_params(seed))
