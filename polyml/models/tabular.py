"""The common part of all models that read an array of features and fit one estimator a target."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from polyml.chem import RepeatUnit
from polyml.errors import UserError, unknown_name
from polyml.models.base import PolymerModel, Prediction
from polyml.models.inputs import (
    as_psmiles,
    check_is_trained,
    draw_seed,
    kept_random_state,
)
from polyml.models.scaling import signed_root
from polyml.models.storage import read_estimators, read_model, write_estimators, write_model
from polyml.models.targets import TargetBasis, check_targets

FeatureKeys = str | Sequence[str]
_MANY_ROWS = 1000  # for an estimator that is made to look at its parameters alone
_ROWS_AT_ONCE = 2048  # bounds the memory for the members' predictions


class TabularModel(PolymerModel):
    """One estimator a target (or a contrast of targets), each fitted on the polymers where it was measured.

    A subclass names its parameters as annotated attributes and writes :meth:`_make_estimator`. This class checks the
    input, featurizes, keeps the informative columns, changes the target basis, and saves with skops.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers; their columns are stacked.
    targets : {"decorrelated", "separate"}
        Related targets as differences to each other, or each by itself (``models.targets.TargetBasis``).
    random_state : int or None
    task, class_weight
        See :class:`polyml.models.base.PolymerModel`.

    Attributes
    ----------
    min_polymers : int
        A column is kept when at least this many training polymers differ from its most common value.
    compress : bool
        Take the signed square root of every feature: tames counts and heavy-tailed descriptors before scaling.
    trusted_types : tuple of str
        Types in the saved file beyond those that skops holds safe.
    """

    min_polymers: ClassVar[int] = 1
    compress: ClassVar[bool] = False
    trusted_types: ClassVar[tuple[str, ...]] = ()

    features: FeatureKeys = ("ecfp_count", "descriptors")
    targets: str = "decorrelated"
    random_state: int | None = 0

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        where = f"model '{self.key}'"
        check_features(self.features, self.input_kind, where)
        check_targets(self.targets)

    def check_estimator(self) -> None:
        """Check what is handed to the library; see :meth:`polyml.models.base.PolymerModel.check_estimator`."""
        probe = type(self)(**self.get_params(deep=False))
        if self._classifies:
            probe.classes_ = np.arange(2)
        check_estimator_params(probe._make_estimator(0, _MANY_ROWS, 1), f"model '{self.key}'")

    @abstractmethod
    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        """Return an unfitted scikit-learn regressor for one target, or a classifier where ``task`` says so."""

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> TabularModel:
        """Fit one estimator a target on the rows where it was measured."""
        self.check_params()
        self.check_estimator()
        items, values = self._training_data(psmiles, y)
        x = self._featurize(items)
        self.columns_ = self._choose_columns(x)
        x = x[:, self.columns_]
        self.basis_ = TargetBasis.fit(values, self.targets)
        seed = draw_seed(self.random_state)
        x = self._fit_embedding(x)
        self.estimators_ = [self._fit_target(x, column, seed) for column in self.basis_.to_basis(values).T]
        self.n_targets_ = values.shape[1]
        return self

    def _fit_target(self, x: np.ndarray, target: np.ndarray, seed: int) -> Any:
        measured = ~np.isnan(target)
        estimator = self._make_estimator(seed, int(measured.sum()), x.shape[1])
        values = target[measured].astype(int) if self._classifies else target[measured]
        weights = balance_classes(estimator, values, self.key) if self.class_weight else {}
        with kept_random_state():
            return estimator.fit(x[measured], values, **weights)

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the predicted mean, shape (n, t) or (n,) as ``y`` had; for classification the labels, (n,)."""
        if self._classifies:
            return self._likeliest(self.predict_proba(psmiles))
        x = self._features_of(psmiles)
        columns = [self._predict_target(item, x) if len(x) else np.empty(0) for item in self.estimators_]
        mean = self.basis_.from_basis(np.column_stack(columns))
        return self._as_given(mean)

    def _predict_target(self, estimator: Any, x: np.ndarray) -> np.ndarray:
        """Return the predictions of one fitted estimator, shape (n,)."""
        return np.asarray(estimator.predict(x))

    def predict_proba(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the probability of each class, shape (n, classes).

        Estimators without probabilities (hinge loss) give the softmax of their decision function, which ranks well and
        is not calibrated.
        """
        if not self._classifies:
            return super().predict_proba(psmiles)
        x = self._features_of(psmiles)
        return class_probabilities(self.estimators_[0], x) if len(x) else np.empty((0, len(self.classes_)))

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation over the members of an ensemble, and 90 % interval, each (n, t)."""
        self._check_regresses()
        x = self._features_of(psmiles)
        if not len(x) or self._members(self.estimators_[0], x[:1]) is None:
            return Prediction.gaussian(np.asarray(self.predict(psmiles)).reshape(len(x), self.n_targets_))
        parts = [self._mean_and_std(x[at : at + _ROWS_AT_ONCE]) for at in range(0, len(x), _ROWS_AT_ONCE)]
        return Prediction.gaussian(np.concatenate([mean for mean, _ in parts]), np.concatenate([s for _, s in parts]))

    def _mean_and_std(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        members = [self._members(estimator, x) for estimator in self.estimators_]
        y = self.basis_.from_basis(np.stack([part for part in members if part is not None], axis=-1))  # (members, n, t)
        return y.mean(axis=0), y.std(axis=0, ddof=1)

    def _members(self, estimator: Any, x: np.ndarray) -> np.ndarray | None:
        """Return the predictions of an ensemble's members, shape (members, n); None when there is no ensemble."""
        return None

    def _features_of(self, psmiles: Sequence[str]) -> np.ndarray:
        check_is_trained(self)
        items = as_psmiles(psmiles)
        if not items:
            return np.empty((0, len(self.columns_)), np.float32)
        return self._embed(np.take(self._featurize(items), self.columns_, axis=1))  # rows stay rows in memory

    def _choose_columns(self, x: np.ndarray) -> np.ndarray:
        """Return the columns of the training features that are read.

        Of counts all are: what no training polymer shows makes a candidate less similar to each.
        """
        return np.arange(x.shape[1]) if self.needs_counts else informative_columns(x, self.min_polymers)

    def _fit_embedding(self, x: np.ndarray) -> np.ndarray:
        """Learn an embedding of the training features and return it; by default the features themselves."""
        return x

    def _embed(self, x: np.ndarray) -> np.ndarray:
        """Return the embedding of features."""
        return x

    @property
    def needs_counts(self) -> bool:
        """Whether the features must be counts, zero or more."""
        return False

    def read_from(self, source: Callable[[Sequence[str | RepeatUnit]], np.ndarray]) -> Self:
        """Take the features of polymers (n, d) from a function instead of the featurizers; for embeddings."""
        self._source = source
        return self

    def _featurize(self, items: Sequence[str | RepeatUnit]) -> np.ndarray:
        from polyml.features.batch import featurize

        source = vars(self).get("_source")
        if source is not None:
            return np.asarray(source(items), dtype=np.float32)
        x = np.asarray(featurize(self.features, items), dtype=np.float32)
        return signed_root(x) if self.compress else x

    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder``."""
        check_is_trained(self)
        state = {"basis": self.basis_.to_dict(), **self._target_state(), **self._extra_state()}
        arrays = {"columns": self.columns_, **self._extra_arrays()}
        write_model(Path(folder), self, state, arrays)
        self._save_estimators(Path(folder))

    @classmethod
    def load(cls, folder: Path) -> TabularModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model.basis_ = TargetBasis.from_dict(stored.state["basis"])
        model._load_target_state(stored.state)
        model.columns_ = stored.arrays["columns"]
        model.n_targets_ = len(model.basis_.parent)
        model._load_extra(stored.state, stored.arrays)
        model._load_estimators(Path(folder))
        return model

    def _extra_state(self) -> dict[str, Any]:
        """Return what a subclass learned besides, as JSON can hold it."""
        return {}

    def _extra_arrays(self) -> dict[str, np.ndarray]:
        """Return what a subclass learned besides, as arrays."""
        return {}

    def _load_extra(self, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`_extra_state` and :meth:`_extra_arrays` gave."""

    def _save_estimators(self, folder: Path) -> None:
        write_estimators(folder, self.estimators_)

    def _load_estimators(self, folder: Path) -> None:
        self.estimators_ = read_estimators(folder, self.n_targets_, self.trusted_types)


def check_estimator_params(estimator: Any, where: str) -> None:
    """Let scikit-learn judge the parameters of an estimator, and of those inside it, before anything is fitted.

    Raises
    ------
    UserError
        A parameter is of the wrong kind or out of range, in scikit-learn's words.
    """
    from sklearn.base import BaseEstimator
    from sklearn.utils._param_validation import InvalidParameterError

    parts = estimator.get_params(deep=True).values() if isinstance(estimator, BaseEstimator) else ()
    for part in (estimator, *parts):
        if not hasattr(part, "_parameter_constraints"):
            continue
        try:
            part._validate_params()
        except InvalidParameterError as error:
            raise UserError(
                str(error).replace("\n", " "), where=where, fix="'polyml models KEY' explains the parameters"
            ) from error


def check_features(features: FeatureKeys, kind: str, where: str) -> None:
    """Check that the featurizers exist and give the kind of input that a model reads.

    Raises
    ------
    UserError
        No featurizer, an unknown one, or one of another kind.
    """
    from polyml.features.catalog import FEATURIZERS

    keys = [features] if isinstance(features, str) else features
    if not isinstance(keys, Sequence) or not all(isinstance(key, str) for key in keys):
        raise UserError(f"features={features!r}", where=where, fix="give keys of featurizers, [ecfp_count] say")
    if not keys:
        raise UserError("no features", where=where, fix=f"name at least one {kind} featurizer")
    fitting = [key for key, cls in FEATURIZERS.items() if cls.output_kind == kind]
    for key in keys:
        if key not in FEATURIZERS:
            raise unknown_name("featurizer", key, fitting, where=where)
        if key not in fitting:
            raise UserError(
                f"features '{key}' are no {kind}", where=where, fix=f"choose among: {', '.join(sorted(fitting))}"
            )


def balance_classes(estimator: Any, labels: np.ndarray, key: str) -> dict[str, Any]:
    """Make an estimator weigh classes alike: by its own parameter, or by weights of the rows for ``fit``.

    Raises
    ------
    UserError
        The estimator can do neither.
    """
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.validation import has_fit_parameter

    own = [name for name in estimator.get_params() if name.split("__")[-1] == "class_weight"]
    if own:
        estimator.set_params(**dict.fromkeys(own, "balanced"))
        return {}
    if not has_fit_parameter(estimator, "sample_weight"):
        raise UserError("this model cannot weigh classes", where=f"model '{key}'", fix="leave class_weight out")
    return {"sample_weight": compute_sample_weight("balanced", labels)}


def class_probabilities(estimator: Any, x: np.ndarray) -> np.ndarray:
    """Return the probabilities of a fitted classifier, or the softmax of its decision function, shape (n, classes)."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(x), dtype=np.float64)
    from scipy.special import softmax

    scores = np.asarray(estimator.decision_function(x), dtype=np.float64)
    if scores.ndim == 1:  # two classes: one score, positive for the second
        scores = np.column_stack([-scores / 2, scores / 2])
    probabilities: np.ndarray = softmax(scores, axis=1)
    return probabilities


def informative_columns(x: np.ndarray, min_polymers: int = 1) -> np.ndarray:
    """Return the columns where at least ``min_polymers`` rows differ from the most common value.

    With fewer than ten times as many rows, the limit falls in proportion; one column at least is kept.

    Examples
    --------
    >>> informative_columns(np.array([[0.0, 1.0], [0.0, 2.0]]))
    array([1])
    """
    limit = max(1, min(min_polymers, len(x) // 10))
    ordered = np.sort(x, axis=0)
    # The most common value of a column of counts is nearly always its median, and exactly so when it holds a majority.
    differing = (ordered != ordered[len(ordered) // 2]).sum(axis=0)
    kept = np.flatnonzero(differing >= limit)
    return kept if len(kept) else np.arange(1)
