"""Support vector machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polyml.chem import RepeatUnit
from polyml.models.kernels import TanimotoSimilarity, check_fingerprints
from polyml.models.limits import check_name
from polyml.models.scaling import chain, scaling_steps, signed_root
from polyml.models.space import Float, Int
from polyml.models.tabular import FeatureKeys, TabularModel

KERNELS = ("linear", "poly", "rbf", "sigmoid", "tanimoto")


class SupportVectorModel(TabularModel):
    """Support vector machine: regression with an insensitive tube, classification with the hinge loss.

    Drucker et al.: Support vector regression machines. NIPS 9, 155 (1997). Cortes and Vapnik: Support-vector networks.
    Mach. Learn. 20, 273 (1995). The kernels are, with g = gamma / (number of feature columns): linear, the mean over
    the columns of x x'; poly, (g x.x' + coef0) ^ degree; rbf, exp(-g |x - x'|^2); sigmoid, tanh(g x.x' + coef0), which
    is no true kernel; all on scaled features; and the Tanimoto similarity of fingerprints.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers; for the kernel "tanimoto", of fingerprints.
    kernel : {"rbf", "linear", "poly", "sigmoid", "tanimoto"}
    C : float
        Penalty on errors: for regression on those beyond ``epsilon``, in standard deviations of the target.
    epsilon : float
        Half width of the tube without penalty, in standard deviations of the target; for regression.
    gamma : float
        Scale within the kernel, in units of 1 / (number of feature columns); for poly, rbf and sigmoid.
    degree : int
        For poly.
    coef0 : float
        Constant within the kernel; for poly and sigmoid.
    targets : {"decorrelated", "separate"}
    random_state : int or None
        Unused: the fit has no chance in it.
    """

    key = "svm"
    family = "support vector machine"
    title = "Support vector machine (RBF)"
    citation = "Drucker et al. 1997; scikit-learn"
    tasks = ("regression", "classification")
    min_polymers = 5
    trusted_types = ("polyml.models.kernels.TanimotoSimilarity",)
    regression_only = ("targets", "epsilon")
    search_space = {
        "C": Float(0.3, 100.0, log=True),
        "epsilon": Float(0.01, 0.3, log=True),
        "gamma": Float(0.03, 3.0, log=True),
    }

    kernel: str = "rbf"
    C: float = 5.0
    epsilon: float = 0.1
    gamma: float = 0.3
    degree: int = 3
    coef0: float = 0.0

    def check_params(self) -> None:
        """Check the parameters; the Tanimoto kernel reads fingerprints alone."""
        super().check_params()
        where = f"model '{self.key}'"
        check_name("kernel", self.kernel, KERNELS, where)
        if self.kernel == "tanimoto":
            check_fingerprints(self.features, where)

    @property
    def needs_counts(self) -> bool:
        """Whether the features must be counts, zero or more: for the Tanimoto kernel."""
        return self.kernel == "tanimoto"

    def _featurize(self, items: Sequence[str | RepeatUnit]) -> np.ndarray:
        x = super()._featurize(items)
        return x if self.needs_counts else signed_root(x)

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.svm import SVC, SVR

        params: dict[str, Any] = {"kernel": self.kernel, "C": self.C}
        if self.kernel == "tanimoto":
            params |= {"kernel": "precomputed"}
        elif self.kernel == "linear":
            params |= {"C": self.C / n_columns}
        else:
            params |= {"gamma": self.gamma / n_columns, "degree": self.degree, "coef0": self.coef0}
        machine = SVC(**params) if self._classifies else SVR(**params, epsilon=self.epsilon)
        first = [TanimotoSimilarity()] if self.kernel == "tanimoto" else scaling_steps()
        return chain(self.task, *first, machine)


class LinearSVM(SupportVectorModel):
    """Support vector machine with a linear kernel; parameters as in :class:`SupportVectorModel`."""

    key = "svm_linear"
    title = "Support vector machine (linear)"
    without_effect = ("gamma", "degree", "coef0")
    search_space = {"C": Float(0.1, 100.0, log=True), "epsilon": Float(0.01, 0.3, log=True)}

    kernel: str = "linear"


class PolynomialSVM(SupportVectorModel):
    """Support vector machine with a polynomial kernel; parameters as in :class:`SupportVectorModel`."""

    key = "svm_poly"
    title = "Support vector machine (polynomial)"
    search_space = {
        "C": Float(0.01, 100.0, log=True),
        "epsilon": Float(0.01, 0.3, log=True),
        "gamma": Float(0.03, 3.0, log=True),
        "degree": Int(2, 4),
        "coef0": Float(0.0, 2.0),
    }

    kernel: str = "poly"
    coef0: float = 1.0


class SigmoidSVM(SupportVectorModel):
    """Support vector machine with a sigmoid kernel; parameters as in :class:`SupportVectorModel`."""

    key = "svm_sigmoid"
    title = "Support vector machine (sigmoid)"
    without_effect = ("degree",)
    search_space = {
        "C": Float(0.1, 100.0, log=True),
        "epsilon": Float(0.01, 0.3, log=True),
        "gamma": Float(0.01, 1.0, log=True),
        "coef0": Float(-2.0, 0.0),
    }

    kernel: str = "sigmoid"


class TanimotoSVM(SupportVectorModel):
    """Support vector machine with the Tanimoto kernel on fingerprints; parameters as in :class:`SupportVectorModel`."""

    key = "svm_tanimoto"
    title = "Support vector machine (Tanimoto)"
    citation = "Ralaivola et al. 2005; scikit-learn"
    without_effect = ("gamma", "degree", "coef0")
    search_space = {"C": Float(0.3, 100.0, log=True), "epsilon": Float(0.01, 0.3, log=True)}

    features: FeatureKeys = "ecfp_count"
    kernel: str = "tanimoto"
