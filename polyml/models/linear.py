"""Linear models: on scaled features that are held within their training range, so that no prediction shoots off."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyml.errors import UserError, unknown_name
from polyml.models.scaling import chain, scaling_steps
from polyml.models.space import Float, Int
from polyml.models.tabular import TabularModel

_LOGISTIC_ALPHA = 0.1  # penalty of a logistic regression a column, where nothing chooses it
_LOSSES = {
    "regression": ("epsilon_insensitive", "squared_epsilon_insensitive", "squared_error", "huber"),
    "classification": ("hinge", "squared_hinge", "log_loss", "modified_huber", "perceptron"),
}


class _LinearModel(TabularModel):
    """Common part of the linear models."""

    family = "linear model"
    tasks = ("regression", "classification")
    min_polymers = 5
    compress = True

    def _check_penalty(self, alpha: float | None) -> None:
        if self._classifies and alpha is not None and alpha <= 0:  # logistic regression is not solved without one
            raise UserError(f"alpha={alpha!r} with classes", where=f"model '{self.key}'", fix="give one above zero")


class RidgeModel(_LinearModel):
    """Linear regression with a penalty on squared weights; for classification logistic regression with the same.

    Hoerl, Kennard: Ridge regression. Technometrics 12, 55 (1970).

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    alpha : float, optional
        Penalty in units of the number of feature columns. None chooses it by leave-one-out; for classification, which
        has no such short cut, it stands for 0.1.
    targets : {"decorrelated", "separate"}
    random_state : int or None
        Unused: the fit has no chance in it.
    """

    key = "ridge"
    title = "Ridge / logistic regression"
    citation = "Hoerl and Kennard 1970; scikit-learn"
    search_space = {"alpha": Float(0.001, 100.0, log=True)}

    alpha: float | None = None

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        self._check_penalty(self.alpha)

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.linear_model import Ridge, RidgeCV

        if self._classifies:
            last = _logistic(n_columns * (_LOGISTIC_ALPHA if self.alpha is None else self.alpha))
        elif self.alpha is None and n_rows > 2:
            last = RidgeCV(n_columns * np.logspace(-4, 3, 15))
        else:
            last = Ridge(n_columns * (1.0 if self.alpha is None else self.alpha))
        return chain(self.task, *scaling_steps(), last)


class LassoModel(_LinearModel):
    """Linear regression with a penalty on absolute weights, which sets most of them to zero; logistic likewise.

    Tibshirani: Regression shrinkage and selection via the lasso. J. R. Stat. Soc. B 58, 267 (1996).

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    alpha : float
        Penalty, for a target of variance one and the mean squared (or logistic) loss over the polymers.
    targets : {"decorrelated", "separate"}
    random_state : int or None
        For classification, where the polymers are visited in a random order.
    """

    key = "lasso"
    title = "Lasso"
    citation = "Tibshirani 1996; scikit-learn"
    search_space = {"alpha": Float(0.0005, 0.3, log=True)}

    alpha: float = 0.005

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        self._check_penalty(self.alpha)

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        return chain(self.task, *scaling_steps(), self._sparse(seed, n_rows, 1.0))

    def _sparse(self, seed: int, n_rows: int, l1_ratio: float) -> Any:
        from sklearn.linear_model import ElasticNet, LogisticRegression

        if not self._classifies:
            return ElasticNet(self.alpha, l1_ratio=l1_ratio, max_iter=20_000, tol=1e-3)
        return LogisticRegression(
            solver="saga", C=1 / (self.alpha * n_rows), l1_ratio=l1_ratio, max_iter=5000, tol=1e-3, random_state=seed
        )


class ElasticNetModel(LassoModel):
    """Linear regression with a penalty on absolute and on squared weights; logistic regression likewise.

    Zou and Hastie: Regularization and variable selection via the elastic net. J. R. Stat. Soc. B 67, 301 (2005).

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    alpha : float
        Both penalties together; see :class:`LassoModel`.
    l1_ratio : float
        Part of the penalty on absolute weights.
    targets : {"decorrelated", "separate"}
    random_state : int or None
        For classification, where the polymers are visited in a random order.
    """

    key = "elastic_net"
    title = "Elastic net"
    citation = "Zou and Hastie 2005; scikit-learn"
    search_space = {"alpha": Float(0.001, 1.0, log=True), "l1_ratio": Float(0.05, 0.95)}

    alpha: float = 0.02
    l1_ratio: float = 0.2

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        return chain(self.task, *scaling_steps(), self._sparse(seed, n_rows, self.l1_ratio))


class SGDModel(_LinearModel):
    """Linear model fitted by stochastic gradient descent: one polymer a step, the weights averaged over the steps.

    Bottou: Large-scale machine learning with stochastic gradient descent. COMPSTAT, 177 (2010).

    With few passes it stops short of the least loss, which guards against overfitting as a penalty does.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    loss : str, optional
        For regression "epsilon_insensitive" (None), "squared_epsilon_insensitive", "squared_error" or "huber"; for
        classification "hinge" (None), "squared_hinge", "log_loss", "modified_huber" or "perceptron".
    alpha : float
        Penalty on squared weights.
    eta0 : float
        First step, in units of 1 / (number of feature columns): longer ones overshoot.
    max_iter : int
        Passes over the polymers at most.
    targets : {"decorrelated", "separate"}
    random_state : int or None
        Order of the polymers.
    """

    key = "sgd"
    title = "Stochastic gradient descent"
    citation = "Bottou 2010; scikit-learn"
    bounds = {"eta0": (1e-12, np.inf)}
    search_space = {
        "alpha": Float(1e-5, 1.0, log=True),
        "eta0": Float(0.01, 1.0, log=True),
        "max_iter": Int(30, 300, log=True),
    }

    loss: str | None = None
    alpha: float = 0.1
    eta0: float = 0.3
    max_iter: int = 100

    def check_params(self) -> None:
        """Check the parameters; each task has losses of its own."""
        super().check_params()
        if self.loss is not None and self.loss not in _LOSSES[self.task]:
            raise unknown_name(f"loss for {self.task}", self.loss, _LOSSES[self.task], where=f"model '{self.key}'")

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.linear_model import SGDClassifier, SGDRegressor

        descent = SGDClassifier if self._classifies else SGDRegressor
        last = descent(
            loss=self.loss or _LOSSES[self.task][0],
            alpha=self.alpha,
            learning_rate="invscaling",
            eta0=self.eta0 / n_columns,
            power_t=0.25,
            max_iter=self.max_iter,
            tol=None,
            average=True,
            random_state=seed,
        )
        return chain(self.task, *scaling_steps(), last)


class PCARidge(TabularModel):
    """Principal components of the features, then ridge regression with the penalty chosen by leave-one-out.

    Hoerl, Kennard: Ridge regression. Technometrics 12, 55 (1970). For classification logistic regression follows, with
    a fixed penalty.

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
    tasks = ("regression", "classification")
    min_polymers = 5
    compress = True
    search_space = {"n_components": Int(20, 300, log=True)}
    toy_params = {"n_components": 10}

    n_components: int = 200

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.decomposition import PCA
        from sklearn.linear_model import RidgeCV

        components = max(1, min(self.n_components, n_rows - 1, n_columns))
        pca = PCA(components, svd_solver="full", random_state=seed)
        last = _logistic(n_columns * _LOGISTIC_ALPHA) if self._classifies else RidgeCV(np.logspace(-1, 5, 13))
        return chain(self.task, *scaling_steps(), pca, last)


def _logistic(alpha: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1 / alpha, max_iter=2000)
