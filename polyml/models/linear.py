"""Linear models."""

from __future__ import annotations

from typing import Any, ClassVar

from polyml.models.scaling import scaling_steps, with_scaled_target
from polyml.models.tabular import FeatureKeys, TabularModel


class PCARidge(TabularModel):
    """Principal components of the features, then ridge regression with the penalty chosen by leave-one-out.

    Hoerl, Kennard: Ridge regression. Technometrics 12, 55 (1970).

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_components : int
        Principal components at most.
    targets : {"decorrelated", "separate"}
    random_state : int or None
    """

    key = "pca_ridge"
    family = "dimensionality reduction"
    title = "Principal components + ridge"
    citation = "Hoerl and Kennard 1970; scikit-learn"
    min_polymers = 5
    compress = True
    search_space: ClassVar[dict[str, Any]] = {"n_components": {"type": "int", "low": 20, "high": 300, "log": True}}
    toy_params: ClassVar[dict[str, Any]] = {"n_components": 10}

    def __init__(
        self,
        features: FeatureKeys = ("ecfp_count", "descriptors"),
        n_components: int = 200,
        targets: str = "decorrelated",
        random_state: int | None = 0,
    ) -> None:
        self.features = features
        self.n_components = n_components
        self.targets = targets
        self.random_state = random_state

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        import numpy as np
        from sklearn.decomposition import PCA
        from sklearn.linear_model import RidgeCV

        components = max(1, min(self.n_components, n_rows - 1, n_columns))
        pca = PCA(components, svd_solver="full", random_state=seed)
        return with_scaled_target(*scaling_steps(), pca, RidgeCV(np.logspace(-1, 5, 13)))
