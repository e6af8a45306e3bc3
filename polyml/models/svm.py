"""Support vector machines."""

from __future__ import annotations

from typing import Any, ClassVar

from polyml.models.scaling import scaling_steps, with_scaled_target
from polyml.models.tabular import FeatureKeys, TabularModel


class SupportVectorModel(TabularModel):
    """Support vector regression with a Gaussian (RBF) kernel on scaled features.

    Drucker et al.: Support vector regression machines. NIPS 9, 155 (1997).

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    C : float
        Penalty on errors beyond ``epsilon``, in standard deviations of the target.
    epsilon : float
        Half width of the tube without penalty, in standard deviations of the target.
    gamma : float
        Kernel width, in units of 1 / (number of feature columns).
    targets : {"decorrelated", "separate"}
    random_state : int or None
        Unused: the fit has no chance in it.
    """

    key = "svm"
    family = "support vector machine"
    title = "Support vector regression (RBF)"
    citation = "Drucker et al. 1997; scikit-learn"
    min_polymers = 5
    compress = True
    search_space: ClassVar[dict[str, Any]] = {
        "C": {"type": "float", "low": 0.3, "high": 100.0, "log": True},
        "epsilon": {"type": "float", "low": 0.01, "high": 0.3, "log": True},
        "gamma": {"type": "float", "low": 0.03, "high": 3.0, "log": True},
    }

    def __init__(
        self,
        features: FeatureKeys = ("ecfp_count", "descriptors"),
        C: float = 5.0,
        epsilon: float = 0.1,
        gamma: float = 0.3,
        targets: str = "decorrelated",
        random_state: int | None = 0,
    ) -> None:
        self.features = features
        self.C = C
        self.epsilon = epsilon
        self.gamma = gamma
        self.targets = targets
        self.random_state = random_state

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.svm import SVR

        return with_scaled_target(*scaling_steps(), SVR(C=self.C, epsilon=self.epsilon, gamma=self.gamma / n_columns))
