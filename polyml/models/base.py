"""The contract of every model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, dataclass_transform

import numpy as np
from sklearn.base import BaseEstimator

from polyml.errors import UserError, unknown_name
from polyml.models.inputs import as_labelled_data, as_training_data
from polyml.models.limits import check_number
from polyml.models.space import Range

TASKS = ("regression", "classification")
LEVEL = 0.9
"""Share of new measurements that an interval is meant to hold."""
_KINDS = {
    **{"int": "a whole number", "float": "a number", "bool": "true or false"},
    **{"int | None": "a whole number or none", "float | None": "a number or none"},
    **{"str": "a name", "str | None": "a name or none"},
}


@dataclass(frozen=True)
class Prediction:
    """Predicted distribution of ``t`` properties for ``n`` polymers.

    Attributes
    ----------
    mean : ndarray of shape (n, t)
    std : ndarray of shape (n, t)
        Standard deviation; NaN where the model gives none.
    lower, upper : ndarray of shape (n, t)
        Ends of the 90 % interval; NaN where the model gives none.
    """

    mean: np.ndarray
    std: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def gaussian(cls, mean: np.ndarray, std: np.ndarray | None = None) -> Prediction:
        """Build from a mean and, if there is one, a standard deviation."""
        std = np.full_like(mean, np.nan) if std is None else std
        half = 1.6448536269514722 * std  # 95th percentile of the standard normal
        return cls(mean=mean, std=std, lower=mean - half, upper=mean + half)


@dataclass_transform(kw_only_default=True, eq_default=False)
@dataclass(eq=False, repr=False, kw_only=True)
class PolymerModel(BaseEstimator):
    """A scikit-learn estimator from pSMILES to ``t`` properties at once, or to one class label.

    For regression ``y`` has shape ``(n, t)`` in the modelled scale (log10 of a permeability, say) with NaN for what was
    not measured; NaN is masked, never imputed. For classification (``task="classification"``) ``y`` has shape ``(n,)``
    with labels of any kind, and None or NaN where there is none. Every random choice follows ``random_state``.

    A model's parameters are the annotated attributes of its class and of the classes it derives from, with their
    defaults, as in a dataclass; all are given by keyword.

    Parameters
    ----------
    task : {"regression", "classification"}
    class_weight : {"balanced"}, optional
        For classification: classes weigh the same, however many polymers they have.

    Attributes
    ----------
    key, family, title, citation : str
        Name in the catalog; family as shown on the leaderboard; one line on what it is; the paper or library.
    input_kind : {"array", "graph", "tokens", "none"}
        What the model reads of a polymer.
    tasks : tuple of str
        "regression", "classification", or both.
    multi_task : bool
        One model for all properties (True) or one a property (False).
    gives_std : bool
        Whether :meth:`predict_dist` gives a standard deviation.
    gives_novelty : bool
        Whether :meth:`novelty` tells how strange a polymer is to the model.
    uses_known : bool
        Whether ``predict`` and ``predict_dist`` take the measured values of other properties as ``known``, (n, t).
    search_space : dict
        Hyperparameter ranges for tuning, by parameter.
    regression_only : tuple of str
        Parameters that a classifier does not use; another value than the default is refused there.
    without_effect : tuple of str
        Inherited parameters that this model does not use; another value than the default is refused.
    extra : str
        Extra of polyml with the library that the model needs; empty for none. It has the library's name.
    bounds : dict
        Smallest and largest value of parameters that nothing else checks.
    presets : dict
        Named sets of parameters, for ``make_model(key, preset=name)``.
    toy_params : dict
        Parameters for a quick fit on a few polymers, for tests.
    overfit_params : dict
        Parameters, on top of ``toy_params``, with which it learns a few polymers by heart, for tests.
    exempt : dict
        Promises of the contract test (:data:`polyml.models.checks.PROMISES`) that this model is free of, each with the
        reason.
    """

    key: ClassVar[str]
    family: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    input_kind: ClassVar[str] = "array"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    multi_task: ClassVar[bool] = False
    gives_std: ClassVar[bool] = False
    gives_novelty: ClassVar[bool] = False
    uses_known: ClassVar[bool] = False
    search_space: ClassVar[Mapping[str, Range]] = {}
    regression_only: ClassVar[tuple[str, ...]] = ("targets",)
    without_effect: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    toy_params: ClassVar[Mapping[str, Any]] = {}
    overfit_params: ClassVar[Mapping[str, Any]] = {}
    exempt: ClassVar[Mapping[str, str]] = {}

    task: str = "regression"
    class_weight: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(eq=False, repr=False, kw_only=True)(cls)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, RegressorTags, TargetTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier" if self._classifies else "regressor"
        tags.classifier_tags = ClassifierTags() if self._classifies else None
        tags.regressor_tags = None if self._classifies else RegressorTags()
        tags.target_tags = TargetTags(required=True, multi_output=not self._classifies)
        return tags

    @property
    def _classifies(self) -> bool:
        return self.task == "classification"

    def _check_regresses(self) -> None:
        if self._classifies:
            fix = "ask predict_proba for the probability of each class"
            raise UserError(f"model '{self.key}' was fitted to classes: a class has no interval", fix=fix)

    def declared_space(self) -> dict[str, Range]:
        """Return the search space of the model's task: ``search_space`` without what its task does not use."""
        return {name: values for name, values in self.search_space.items() if name not in self._unused()}

    def _unused(self) -> tuple[str, ...]:
        return (*self.without_effect, *(self.regression_only if self._classifies else ()))

    def check_params(self) -> None:
        """Check the parameters and their combination, before anything is read or trained.

        Raises
        ------
        UserError
            A parameter has a value that does not exist, or two do not go together.
        """
        where = f"model '{self.key}'"
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in self._unused() and value != field.default:
                raise UserError(f"{field.name} has no effect on this model", where=where, fix="leave it out")
            drawn = field.name == "random_state" and not isinstance(value, (str, float))  # a generator is one too
            if field.type in _KINDS and not drawn and not _is_kind(value, str(field.type)):
                fix = f"'polyml models {self.key}' lists the parameters"
                raise UserError(f"{field.name} must be {_KINDS[str(field.type)]}, got {value!r}", where=where, fix=fix)
            if drawn and isinstance(value, Integral):
                check_number("random_state", int(value), 0, 2**32 - 1, where)
        for name, (low, high) in self.bounds.items():
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), low, high, where)
        if self.task not in TASKS:
            raise unknown_name("task", self.task, TASKS, where=where)
        if self.task not in self.tasks:
            fix = f"it does {' and '.join(self.tasks)}; 'polyml models' lists what each does"
            raise UserError(f"this model does no {self.task}", where=where, fix=fix)
        if self.class_weight not in (None, "balanced"):
            raise UserError(f"class_weight={self.class_weight!r} is not known", where=where, fix="use 'balanced'")
        if self.class_weight is not None and not self._classifies:
            raise UserError("class weights need task='classification'", where=where, fix="leave class_weight out")

    def check_estimator(self) -> None:
        """Let the library behind the model, where it can, judge its parameters before anything is read or trained.

        Raises
        ------
        UserError
            A parameter is of the wrong kind or out of range, in the library's words.
        """

    def called(self) -> str:
        """Return what to call the model before people: its key, or that of the model that it wraps and with what."""
        return self.key

    def load_libraries(self) -> None:
        """Import what :meth:`fit` will need, so that the time of the first fit is not that of an import."""
        for model in self.inner_models():
            model.load_libraries()

    def inner_models(self) -> Sequence[PolymerModel]:
        """Return the models that this one is made of, unfitted: the members of an ensemble, what a wrapper wraps."""
        return ()

    @abstractmethod
    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> PolymerModel:
        """Learn from pSMILES and ``y``: (n,) or (n, t) with NaN where not measured, or (n,) labels."""

    @abstractmethod
    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the predicted mean, shape (n, t), or (n,) when ``y`` had shape (n,); the label of a classifier."""

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation and 90 % interval, each of shape (n, t).

        Raises
        ------
        UserError
            The model classifies.
        """
        self._check_regresses()
        mean = np.asarray(self.predict(psmiles))
        return Prediction.gaussian(mean.reshape(len(psmiles), -1))

    def predict_proba(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the probability of each class, shape (n, classes), in the order of ``classes_``.

        Raises
        ------
        UserError
            The model does not classify.
        """
        raise UserError(f"model '{self.key}' gives no probabilities", fix="fit it with task='classification'")

    def novelty(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return how strange polymers are to the model, (n,): about 1 for one like those it was trained on.

        Raises
        ------
        UserError
            The model cannot tell.
        """
        raise UserError(f"model '{self.key}' gives no novelty", fix="take an autoencoder: polyml models")

    def score(self, psmiles: Sequence[str], y: np.ndarray) -> float:
        """Return R² (mean over targets) or, of a classifier, the accuracy; for scikit-learn's tools."""
        from sklearn.metrics import accuracy_score, r2_score

        metric = accuracy_score if self._classifies else r2_score
        return float(metric(y, self.predict(psmiles)))

    def _training_data(self, psmiles: Sequence[str], y: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """Check the data; return the polymers and values (n, t), for classification the codes of the labels (n, 1)."""
        if not self._classifies:
            items, values, self.single_ = as_training_data(psmiles, y)
            return items, values
        items, values, self.classes_ = as_labelled_data(psmiles, y)
        self.single_ = True
        return items, values

    def _as_given(self, mean: np.ndarray) -> np.ndarray:
        """Return predictions (n, t) in the shape that ``y`` had."""
        return mean[:, 0] if self.single_ else mean

    def _likeliest(self, proba: np.ndarray) -> np.ndarray:
        """Return the label of the likeliest class, (n,)."""
        labels: np.ndarray = self.classes_[proba.argmax(axis=1)]
        return labels

    def _target_state(self) -> dict[str, Any]:
        """Return what :meth:`_training_data` has learned, as JSON can hold it."""
        return {"single": self.single_, **({"classes": self.classes_.tolist()} if self._classifies else {})}

    def _load_target_state(self, state: Mapping[str, Any]) -> None:
        self.single_ = state["single"]
        if self._classifies:
            self.classes_ = np.asarray(state["classes"])

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the fitted model into ``folder`` (no pickle: skops, safetensors, the library's own text format)."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> PolymerModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""


def _is_kind(value: object, kind: str) -> bool:
    if kind.endswith(" | None"):
        return value is None or _is_kind(value, kind.removesuffix(" | None"))
    if kind == "bool" or isinstance(value, (bool, np.bool_)):
        return kind == "bool" and isinstance(value, (bool, np.bool_))
    return isinstance(value, str if kind == "str" else Integral if kind == "int" else Real)
