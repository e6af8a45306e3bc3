"""Forests of decision trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from polyml.errors import UserError
from polyml.models.tabular import FeatureKeys, TabularModel


class _Forest(TabularModel):
    """Common part of the forests: the spread over trees, and a check of the trees that come from a file."""

    family = "forest"
    gives_std = True
    min_polymers = 3
    trusted_types = ("sklearn.tree._tree.Tree",)
    search_space: ClassVar[dict[str, Any]] = {
        "n_estimators": {"type": "int", "low": 100, "high": 500},
        "max_features": {"type": "float", "low": 0.05, "high": 1.0},
        "min_samples_leaf": {"type": "int", "low": 1, "high": 5},
    }
    toy_params: ClassVar[dict[str, Any]] = {"n_estimators": 20}

    def __init__(
        self,
        features: FeatureKeys = ("ecfp_count", "descriptors"),
        n_estimators: int = 200,
        max_features: float = 0.2,
        min_samples_leaf: int = 1,
        targets: str = "decorrelated",
        n_jobs: int | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.features = features
        self.n_estimators = n_estimators
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.targets = targets
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _forest_params(self, seed: int) -> dict[str, Any]:
        return {
            "n_estimators": self.n_estimators,
            "max_features": self.max_features,
            "min_samples_leaf": self.min_samples_leaf,
            "n_jobs": self.n_jobs,
            "random_state": seed,
        }

    def _members(self, estimator: Any, x: np.ndarray) -> np.ndarray | None:
        if len(estimator.estimators_) < 2:
            return None
        rows = np.ascontiguousarray(x, dtype=np.float32)
        return np.stack([tree.tree_.predict(rows).reshape(len(rows)) for tree in estimator.estimators_])

    def _load_estimators(self, folder: Path, state: dict[str, Any]) -> None:
        super()._load_estimators(folder, state)
        for estimator in self.estimators_:
            for tree in estimator.estimators_:
                _check_tree(tree.tree_, len(self.columns_), folder)


def _check_tree(tree: Any, n_columns: int, folder: Path) -> None:
    """Refuse a tree that points outside its arrays: scikit-learn follows the indices of a file unchecked."""
    inner = tree.children_left != -1
    nodes = np.arange(tree.node_count)
    children = np.stack([tree.children_left, tree.children_right])[:, inner]
    # A child always stands behind its parent, so a walk from the root ends.
    sound = (children > nodes[inner]).all() and (children < tree.node_count).all()
    features = tree.feature[inner]
    sound = sound and (features >= 0).all() and (features < n_columns).all() and tree.n_features == n_columns
    if not sound or tree.node_count == 0:
        raise UserError("a decision tree in the saved model is damaged", where=str(folder))


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
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(**self._forest_params(seed))


class ExtraTrees(_Forest):
    """Extremely randomised trees: all polymers in every tree, split points drawn at random.

    Geurts, Ernst, Wehenkel: Extremely randomized trees. Mach. Learn. 63, 3 (2006). The standard deviation is the
    spread over the trees. Parameters as in :class:`RandomForest`.
    """

    key = "extra_trees"
    title = "Extremely randomised trees"
    citation = "Geurts et al. 2006; scikit-learn"

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.ensemble import ExtraTreesRegressor

        return ExtraTreesRegressor(**self._forest_params(seed))
