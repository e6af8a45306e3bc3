"""Gradient boosting with LightGBM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyml.errors import DAMAGED, UserError
from polyml.models.base import Prediction
from polyml.models.inputs import draw_seed
from polyml.models.limits import check_name
from polyml.models.space import Float, Int
from polyml.models.tabular import TabularModel
from polyml.models.trees import check_links, damaged_tree

SPREADS = ("members", "quantile")
_QUANTILES = (0.05, 0.95)
_SPARSE = 0.2  # part of the features other than 0 up to which a sparse array is quicker
_LEAF = 40  # polymers a leaf at least, so that two of them lie beyond a quantile


class LightGBM(TabularModel):
    """Gradient boosting with LightGBM, averaged over a few members that differ in seed and in their training rows.

    Ke et al.: LightGBM, a highly efficient gradient boosting decision tree. NIPS 30, 3146 (2017). Each member leaves
    out a tenth of the polymers. The spread over the members sees the noise of the fit and not that of the measurements;
    quantiles see both.

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
        Members; one alone has no spread.
    spread : {"members", "quantile"}
        Where the interval comes from: the standard deviation over the members, or more trees that are fitted to the 5 %
        and 95 % quantiles of each target (Koenker and Bassett: Regression quantiles. Econometrica 46, 33 (1978)), at
        twice the time; the standard deviation is then that of a normal distribution with this interval. The
        prediction is the same.
    targets : {"decorrelated", "separate"}
    n_jobs : int
        Threads; 0 follows OMP_NUM_THREADS. The numbers do not depend on it.
    random_state : int or None
    """

    key = "lightgbm"
    family = "boosting"
    title = "Gradient boosting (LightGBM)"
    citation = "Ke et al. 2017; LightGBM"
    tasks = ("regression", "classification")
    regression_only = ("targets", "spread")
    min_polymers = 3
    search_space = {
        "n_estimators": Int(100, 1000, log=True),
        "learning_rate": Float(0.01, 0.2, log=True),
        "num_leaves": Int(4, 63, log=True),
        "min_child_samples": Int(2, 30, log=True),
        "colsample": Float(0.05, 1.0),
    }
    toy_params = {"n_estimators": 30, "min_child_samples": 2, "ensemble": 2}
    overfit_params = {"n_estimators": 200}
    bounds = {
        "n_estimators": (1, math.inf),
        "learning_rate": (1e-9, math.inf),
        "num_leaves": (2, 131072),
        "min_child_samples": (1, math.inf),
        "colsample": (1e-3, 1.0),
        "ensemble": (1, math.inf),
    }

    n_estimators: int = 250
    learning_rate: float = 0.05
    num_leaves: int = 15
    min_child_samples: int = 10
    colsample: float = 0.3
    ensemble: int = 5
    spread: str = "members"
    n_jobs: int = 0

    @property
    def gives_std(self) -> bool:  # type: ignore[override]
        """Whether there is a standard deviation: of several members, or of quantiles."""
        return not self._classifies and (self.ensemble > 1 or self.spread == "quantile")

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        check_name("spread", self.spread, SPREADS, f"model '{self.key}'")

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> LightGBM:
        """Fit the members on the rows where a target was measured, and the quantiles of the targets if asked for."""
        super().fit(psmiles, y)
        self.quantiles_ = []
        if self.spread == "quantile":
            values = self._training_data(psmiles, y)[1]
            x, seed = self._features_of(psmiles), draw_seed(self.random_state)
            # Of the targets themselves: quantiles of contrasts are none of their sums.
            self.quantiles_ = [self._fit_quantiles(x, target, seed) for target in values.T]
        return self

    def _fit_quantiles(self, x: np.ndarray, target: np.ndarray, seed: int) -> list[BoosterEnsemble]:
        rows = ~np.isnan(target)
        estimators = []
        for quantile in _QUANTILES:
            estimator = self._make_estimator(seed, int(rows.sum()), x.shape[1])
            # Trees learn the ends of a distribution by heart sooner than its mean: larger leaves, and half the rounds.
            leaf = max(estimator.params["min_data_in_leaf"], min(_LEAF, int(rows.sum()) // 4))
            estimator.params |= {"objective": "quantile", "alpha": quantile, "min_data_in_leaf": leaf}
            estimator.rounds = max(1, self.n_estimators // 2)
            estimators.append(estimator.fit(x[rows], target[rows]))
        return estimators

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation and 90 % interval, each (n, t).

        Quantiles that cross are sorted (Chernozhukov et al., Econometrica 78, 1093 (2010)), and the interval is widened
        to the prediction where this lies outside.
        """
        if self.spread == "members":
            return super().predict_dist(psmiles)
        self._check_regresses()
        x = self._features_of(psmiles)
        if not len(x):
            return Prediction.gaussian(np.empty((0, self.n_targets_)))
        mean = self.basis_.from_basis(np.column_stack([estimator.predict(x) for estimator in self.estimators_]))
        ends = np.array([[part.predict(x) for part in pair] for pair in self.quantiles_]).transpose(1, 2, 0)
        lower, upper = np.minimum(ends.min(axis=0), mean), np.maximum(ends.max(axis=0), mean)
        width = Prediction.gaussian(np.zeros(1), np.ones(1)).upper
        return Prediction(mean, (upper - lower) / (2 * width), lower, upper)

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> BoosterEnsemble:
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
        if self._classifies:
            params |= {"objective": "multiclass", "num_class": len(self.classes_)}
        return BoosterEnsemble(params, self.n_estimators, self.ensemble, seed)

    def _members(self, estimator: Any, x: np.ndarray) -> np.ndarray | None:
        return estimator.predict_members(x) if len(estimator.boosters) > 1 else None

    def _save_estimators(self, folder: Path) -> None:
        ensembles = {f"booster_{number}": estimator for number, estimator in enumerate(self.estimators_)}
        for number, pair in enumerate(self.quantiles_):
            ensembles |= {f"quantile_{number}_{end}": estimator for end, estimator in enumerate(pair)}
        for name, estimator in ensembles.items():
            for member, booster in enumerate(estimator.boosters):
                booster.save_model(folder / f"{name}_{member}.txt")

    def _load_estimators(self, folder: Path) -> None:
        def read(name: str) -> BoosterEnsemble:
            paths = [folder / f"{name}_{member}.txt" for member in range(self.ensemble)]
            boosters = [_read_booster(path, len(self.columns_)) for path in paths]
            return BoosterEnsemble({}, self.n_estimators, self.ensemble, 0, boosters)

        targets, ends = range(self.n_targets_), range(len(_QUANTILES))
        self.estimators_ = [read(f"booster_{number}") for number in targets]
        fitted = targets if self.spread == "quantile" else ()
        self.quantiles_ = [[read(f"quantile_{number}_{end}") for end in ends] for number in fitted]


class BoosterEnsemble:
    """LightGBM boosters on overlapping parts of the rows, averaged."""

    def __init__(
        self, params: dict[str, Any], rounds: int, members: int, seed: int, boosters: list[Any] | None = None
    ) -> None:
        self.params, self.rounds, self.members, self.seed = params, rounds, members, seed
        self.boosters: list[Any] = boosters or []

    def get_params(self) -> dict[str, Any]:
        """Return no parameters that another could set."""
        return {}

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> BoosterEnsemble:
        """Train the members."""
        import lightgbm

        rng = np.random.default_rng(self.seed)
        for member in range(self.members):
            size = len(x) if self.members == 1 or len(x) < 20 else round(0.9 * len(x))
            rows = np.sort(rng.permutation(len(x))[:size])
            params = {**self.params, "seed": (self.seed + 1000003 * member) % (2**31 - 1)}
            weight = None if sample_weight is None else sample_weight[rows]
            data = lightgbm.Dataset(x[rows], y[rows], weight=weight, params={"verbosity": -1, "min_data_in_bin": 1})
            self.boosters.append(lightgbm.train(params, data, num_boost_round=self.rounds))
        return self

    def predict_members(self, x: np.ndarray) -> np.ndarray:
        """Return the predictions of each member, shape (members, n); for classification (members, n, classes)."""
        rows = _sparse(x)
        return np.stack([booster.predict(rows) for booster in self.boosters])

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the mean over the members, shape (n,)."""
        return self.predict_members(x).mean(axis=0)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the mean probability of each class, shape (n, classes)."""
        return self.predict_members(x).mean(axis=0)


def _sparse(x: np.ndarray) -> Any:
    """Return fingerprints as a sparse array: every booster copies each row, and with it all its zeros."""
    from scipy.sparse import csr_matrix

    return csr_matrix(x) if np.count_nonzero(x) < _SPARSE * x.size else x


def _read_booster(path: Path, n_columns: int) -> Any:
    import lightgbm

    try:
        text = path.read_text(encoding="utf-8")
        _check_trees(text, n_columns, path)
        return lightgbm.Booster(model_str=text)
    except (OSError, UnicodeDecodeError, lightgbm.basic.LightGBMError) as error:
        raise UserError(f"the boosted trees cannot be read: {error}", where=str(path), fix=DAMAGED) from error


def _check_trees(text: str, n_columns: int, path: Path) -> None:
    """Refuse damaged trees: LightGBM follows the indices of a file unchecked."""
    for tree in text.split("\nend of trees")[0].split("\nTree=")[1:]:
        fields = dict(line.split("=", 1) for line in tree.splitlines()[1:] if "=" in line)
        try:
            n_leaves = int(fields["num_leaves"])
            names = ("left_child", "right_child", "split_feature", "decision_type")
            left, right, feature, kind = (np.array(fields.get(name, "").split(), dtype=np.int64) for name in names)
            values = len(fields["leaf_value"].split())
        except (KeyError, ValueError) as error:
            raise damaged_tree(path) from error
        same = len(left) == len(right) == len(feature) == len(kind) == n_leaves - 1 and values == n_leaves
        if not same or (kind & 1).any():  # no split here is on categories
            raise damaged_tree(path)
        # A negative child is a leaf; here it gets a place behind the splits, as in other trees.
        left, right = (np.where(child < 0, n_leaves - 2 - child, child) for child in (left, right))
        check_links(np.arange(n_leaves - 1), left, right, feature, 2 * n_leaves - 1, n_columns, path)
