"""Boosting of decision trees with scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from polyml.models.space import Float, Int
from polyml.models.tabular import TabularModel
from polyml.models.trees import TreeModel, check_links, damaged_tree


class AdaBoost(TreeModel):
    """AdaBoost: each tree looks harder at the polymers that those before it got wrong.

    Freund and Schapire: A decision-theoretic generalization of on-line learning. J. Comput. Syst. Sci. 55, 119 (1997);
    Drucker: Improving regressors using boosting techniques. ICML 1997, 107.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_estimators : int
        Trees a target at most.
    learning_rate : float
    max_depth : int, optional
        Splits above a leaf at most. None stands for 15, and for classification for 3: a tree without errors ends the
        boosting.
    max_features : float
        Part of the features tried at a split.
    targets : {"decorrelated", "separate"}
    random_state : int or None
    """

    key = "adaboost"
    family = "boosting"
    title = "AdaBoost"
    citation = "Freund and Schapire 1997; Drucker 1997; scikit-learn"
    search_space = {
        "n_estimators": Int(50, 300, log=True),
        "learning_rate": Float(0.05, 2.0, log=True),
        "max_depth": Int(2, 15),
        "max_features": Float(0.05, 1.0),
    }
    toy_params = {"n_estimators": 10}

    n_estimators: int = 100
    learning_rate: float = 1.0
    max_depth: int | None = None
    max_features: float = 0.1

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        tree = DecisionTreeClassifier if self._classifies else DecisionTreeRegressor
        boost = AdaBoostClassifier if self._classifies else AdaBoostRegressor
        return boost(
            tree(max_depth=self.max_depth or (3 if self._classifies else 15), max_features=float(self.max_features)),
            n_estimators=self.n_estimators,
            learning_rate=self.learning_rate,
            random_state=seed,
        )


class GradientBoosting(TreeModel):
    """Gradient boosting: each tree corrects the sum of those before it, on a random part of the polymers.

    Friedman: Greedy function approximation: a gradient boosting machine. Ann. Stat. 29, 1189 (2001).

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_estimators : int
        Boosting rounds.
    learning_rate : float
    max_depth : int
        Splits above a leaf at most.
    max_features : float
        Part of the features tried at a split.
    subsample : float
        Part of the polymers that a tree sees.
    targets : {"decorrelated", "separate"}
    random_state : int or None
    """

    key = "gradient_boosting"
    family = "boosting"
    title = "Gradient boosting"
    citation = "Friedman 2001; scikit-learn"
    search_space = {
        "n_estimators": Int(100, 1000, log=True),
        "learning_rate": Float(0.01, 0.2, log=True),
        "max_depth": Int(2, 8),
        "max_features": Float(0.02, 1.0, log=True),
        "subsample": Float(0.4, 1.0),
    }
    toy_params = {"n_estimators": 30}

    n_estimators: int = 300
    learning_rate: float = 0.05
    max_depth: int = 5
    max_features: float = 0.05
    subsample: float = 0.7

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

        boost = GradientBoostingClassifier if self._classifies else GradientBoostingRegressor
        return boost(
            n_estimators=self.n_estimators,
            learning_rate=self.learning_rate,
            max_depth=self.max_depth,
            max_features=float(self.max_features),
            subsample=self.subsample,
            random_state=seed,
        )

    def _trees(self, estimator: Any) -> Iterator[tuple[Any, int]]:
        for tree in estimator.estimators_.ravel():
            yield tree.tree_, len(self.columns_)

    def _load_estimators(self, folder: Path) -> None:
        super()._load_estimators(folder)
        scores = len(self.classes_) if self._classifies and len(self.classes_) > 2 else 1
        if any(estimator.estimators_.shape[1:] != (scores,) for estimator in self.estimators_):
            raise damaged_tree(folder)


class HistGradientBoosting(TabularModel):
    """Gradient boosting on features in bins, as LightGBM does it.

    Ke et al.: LightGBM, a highly efficient gradient boosting decision tree. NIPS 30, 3146 (2017).

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    max_iter : int
        Boosting rounds.
    learning_rate : float
    max_leaf_nodes : int
        Leaves a tree at most.
    min_samples_leaf : int
        Polymers a leaf at least.
    max_features : float
        Part of the features tried at a split.
    l2_regularization : float
    targets : {"decorrelated", "separate"}
    random_state : int or None
    """

    key = "hist_gradient_boosting"
    family = "boosting"
    title = "Gradient boosting on bins"
    citation = "Ke et al. 2017; scikit-learn"
    tasks = ("regression", "classification")
    min_polymers = 3
    trusted_types = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)
    search_space = {
        "max_iter": Int(50, 500, log=True),
        "learning_rate": Float(0.01, 0.2, log=True),
        "max_leaf_nodes": Int(4, 63, log=True),
        "min_samples_leaf": Int(2, 30, log=True),
        "max_features": Float(0.05, 1.0),
        "l2_regularization": Float(0.001, 10.0, log=True),
    }
    toy_params = {"max_iter": 20, "min_samples_leaf": 2}
    overfit_params = {"max_iter": 150}

    max_iter: int = 200
    learning_rate: float = 0.05
    max_leaf_nodes: int = 15
    min_samples_leaf: int = 10
    max_features: float = 0.2
    l2_regularization: float = 1.0

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        boost = HistGradientBoostingClassifier if self._classifies else HistGradientBoostingRegressor
        return boost(
            max_iter=self.max_iter,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=max(1, min(self.min_samples_leaf, n_rows // 4)),
            max_features=float(self.max_features),
            l2_regularization=self.l2_regularization,
            early_stopping=False,
            random_state=seed,
        )

    def _load_estimators(self, folder: Path) -> None:
        super()._load_estimators(folder)
        scores = len(self.classes_) if self._classifies and len(self.classes_) > 2 else 1
        for estimator in self.estimators_:
            for trees in estimator._predictors:
                if len(trees) != scores:
                    raise damaged_tree(folder)
                for tree in trees:
                    self._check_nodes(tree.nodes, folder)

    def _check_nodes(self, nodes: np.ndarray, folder: Path) -> None:
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        splits = nodes[inner]
        if splits["is_categorical"].any():
            raise damaged_tree(folder)
        check_links(
            inner, splits["left"], splits["right"], splits["feature_idx"], len(nodes), len(self.columns_), folder
        )
