"""Decision trees: single, and bagged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from polyml.errors import DAMAGED, UserError
from polyml.models.space import Choice, Float, Int
from polyml.models.tabular import TabularModel


class TreeModel(TabularModel):
    """Common part of the models made of scikit-learn's trees: those that come from a file are checked."""

    tasks = ("regression", "classification")
    min_polymers = 3
    trusted_types = ("sklearn.tree._tree.Tree",)

    def _trees(self, estimator: Any) -> Iterator[tuple[Any, int]]:
        """Yield each tree of a fitted estimator, and the number of columns that it reads."""
        for tree in estimator.estimators_:
            yield tree.tree_, len(self.columns_)

    def _load_estimators(self, folder: Path) -> None:
        super()._load_estimators(folder)
        for estimator in self.estimators_:
            for tree, n_columns in self._trees(estimator):
                inner = tree.children_left != -1
                links = tree.children_left[inner], tree.children_right[inner], tree.feature[inner]
                check_links(np.flatnonzero(inner), *links, tree.node_count, n_columns, folder)
                if tree.n_features != n_columns:
                    raise damaged_tree(folder)


def check_links(
    inner: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    feature: np.ndarray,
    n_nodes: int,
    n_columns: int,
    folder: Path,
) -> None:
    """Refuse a tree that points outside its arrays: the libraries follow the indices of a file unchecked.

    Parameters
    ----------
    inner : ndarray of int, shape (k,)
        Numbers of the nodes that split.
    left, right, feature : ndarray of int, shape (k,)
        Their children, and the column that they split on.
    n_nodes, n_columns : int
    folder : Path

    Raises
    ------
    UserError
        A child stands before its parent or nowhere, so that a walk from the root may not end, or there is no such
        column.
    """
    children = np.stack([left, right]).astype(np.int64)
    sound = n_nodes > 0 and bool((children > inner).all() and (children < n_nodes).all())
    columns = np.asarray(feature, dtype=np.int64)
    if not (sound and (columns >= 0).all() and (columns < n_columns).all()):
        raise damaged_tree(folder)


def damaged_tree(folder: Path) -> UserError:
    """Return the error for a tree that cannot be followed."""
    return UserError("a decision tree in the saved model is damaged", where=str(folder), fix=DAMAGED)


class DecisionTree(TreeModel):
    """One decision tree.

    Breiman, Friedman, Olshen, Stone: Classification and regression trees (1984).

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    max_depth : int, optional
        Splits above a leaf at most; None for no limit.
    min_samples_leaf : int
        Polymers a leaf at least.
    max_features : float
        Part of the features tried at a split.
    targets : {"decorrelated", "separate"}
    random_state : int or None
        Order of the features, which decides between splits as good; and which are tried.
    """

    key = "decision_tree"
    family = "decision tree"
    title = "Decision tree"
    citation = "Breiman et al. 1984; scikit-learn"
    search_space = {
        "max_depth": Choice((4, 6, 8, 12, None)),
        "min_samples_leaf": Int(1, 20, log=True),
        "max_features": Float(0.1, 1.0),
    }
    overfit_params = {"min_samples_leaf": 1}

    max_depth: int | None = None
    min_samples_leaf: int = 5
    max_features: float = 1.0

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        tree = DecisionTreeClassifier if self._classifies else DecisionTreeRegressor
        return tree(
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            max_features=float(self.max_features),
            random_state=seed,
        )

    def _trees(self, estimator: Any) -> Iterator[tuple[Any, int]]:
        yield estimator.tree_, len(self.columns_)


class BaggedTrees(TreeModel):
    """Bagging: decision trees on bootstrap samples of the polymers, each with a part of the features.

    Breiman: Bagging predictors. Mach. Learn. 24, 123 (1996). The standard deviation is the spread over the trees.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_estimators : int
        Trees a target.
    max_samples : float
        Size of a sample, relative to the number of polymers.
    max_features : float
        Part of the features that a tree reads.
    min_samples_leaf : int
        Polymers a leaf at least.
    targets : {"decorrelated", "separate"}
    n_jobs : int, optional
        Processes; the numbers do not depend on it.
    random_state : int or None
    """

    key = "bagging"
    family = "forest"
    title = "Bagged decision trees"
    citation = "Breiman 1996; scikit-learn"
    gives_std = True
    search_space = {
        "n_estimators": Int(30, 300, log=True),
        "max_samples": Float(0.5, 1.0),
        "max_features": Float(0.05, 1.0),
        "min_samples_leaf": Int(1, 5),
    }
    toy_params = {"n_estimators": 10}

    n_estimators: int = 100
    max_samples: float = 1.0
    max_features: float = 0.3
    min_samples_leaf: int = 1
    n_jobs: int | None = None

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.ensemble import BaggingClassifier, BaggingRegressor
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        tree = DecisionTreeClassifier if self._classifies else DecisionTreeRegressor
        bag = BaggingClassifier if self._classifies else BaggingRegressor
        return bag(
            tree(min_samples_leaf=self.min_samples_leaf),
            n_estimators=self.n_estimators,
            max_samples=self.max_samples,
            max_features=float(self.max_features),
            n_jobs=self.n_jobs,
            random_state=seed,
        )

    def _members(self, estimator: Any, x: np.ndarray) -> np.ndarray | None:
        if len(estimator.estimators_) < 2:
            return None
        return np.stack([tree.predict(x[:, columns]) for tree, columns in _members_of(estimator)])

    def _trees(self, estimator: Any) -> Iterator[tuple[Any, int]]:
        for tree, columns in _members_of(estimator):
            yield tree.tree_, len(columns)


def _members_of(estimator: Any) -> Any:
    """Return the trees of a bag, each with the columns that it reads."""
    return zip(estimator.estimators_, estimator.estimators_features_, strict=True)
