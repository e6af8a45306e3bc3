"""What is measured: a property with its unit, the scale it is modelled on and its plausible range."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, model_validator

from polyml.errors import UserError

Transform = Literal["identity", "log10", "class"]

SPREAD_SUFFIXES = ("_std", "_lower", "_upper")
"""What stands behind the name of a property, in the columns of its standard deviation and of its interval's ends."""
WRITTEN_COLUMNS = frozenset(
    {"rank", "score", "canonical", "similarity", "novelty", "warning", "error"}
    | {"nearest_similarity", "nearest_training", "nearest_warning", "domain", "domain_score"}
)
"""Columns that predictions and ranked lists have beside those of the properties."""


class Property(BaseModel):
    """One measured property of a polymer.

    Parameters
    ----------
    name : str
        The column it stands in.
    unit : str
        Unit of the values a user reads and writes; empty when unknown.
    transform : {"identity", "log10", "class"}
        How values become what models learn. Quantities that span decades, such as permeability, are learned as
        ``log10``. A ``class`` is a label; its code is its place among the classes.
    classes : tuple of str
        The labels of a class, sorted; found in the data when not given.
    lower, upper : float, optional
        Plausible range in user units. A value outside it stays in the table and is listed as a warning.

    Examples
    --------
    >>> oxygen = Property(name="O2", unit="Barrer", transform="log10")
    >>> oxygen.to_model([1.0, 100.0])
    array([0., 2.])
    >>> oxygen.from_model([0.0, 2.0])
    array([  1., 100.])
    >>> oxygen.label, oxygen.model_label
    ('O2 (Barrer)', 'log10(O2 / Barrer)')
    >>> family = Property(name="family", transform="class", classes=("polyamide", "polyester"))
    >>> family.to_model(["polyester", None]), family.from_model([0.0])
    (array([ 1., nan]), array(['polyamide'], dtype=object))
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    unit: str = ""
    transform: Transform = "identity"
    lower: float | None = None
    upper: float | None = None
    classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_range(self) -> Property:
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"property '{self.name}': lower ({self.lower}) must be below upper ({self.upper})")
        if self.is_class and (self.lower is not None or self.upper is not None or self.unit):
            raise ValueError(f"property '{self.name}' is a class: it has no unit and no range")
        if self.classes and (not self.is_class or list(self.classes) != sorted(set(self.classes))):
            raise ValueError(f"property '{self.name}': classes are for transform: class, different and sorted")
        return self

    @property
    def is_class(self) -> bool:
        """Whether the values are labels."""
        return self.transform == "class"

    def with_classes(self, labels: Iterable[Any]) -> Property:
        """Return the property with the classes that occur among ``labels``, unless it is none or has them already."""
        if not self.is_class or self.classes:
            return self
        return self.model_copy(update={"classes": tuple(sorted({str(x) for x in labels if _is_label(x)}))})

    @property
    def label(self) -> str:
        """Name and unit as an axis shows them."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def model_label(self) -> str:
        """Name and unit on the modelled scale."""
        if self.transform != "log10":
            return self.label
        return f"{self.transform}({self.name} / {self.unit})" if self.unit else f"{self.transform}({self.name})"

    def outside_domain(self, values: ArrayLike) -> np.ndarray:
        """Mark the values that have no image on the modelled scale: infinite, or not positive under ``log10``.

        A missing value (NaN) is not marked.
        """
        array = np.asarray(values, dtype=float)
        bad = np.isinf(array)
        return bad | (array <= 0) if self.transform == "log10" else bad

    def outside_range(self, values: ArrayLike) -> np.ndarray:
        """Mark the values outside the plausible range; a missing value is not marked."""
        array = np.asarray(values, dtype=float)
        low = array < self.lower if self.lower is not None else np.zeros(array.shape, dtype=bool)
        high = array > self.upper if self.upper is not None else np.zeros(array.shape, dtype=bool)
        return low | high

    def to_model(self, values: ArrayLike) -> np.ndarray:
        """Bring values from user units to the modelled scale; NaN stays NaN, and a missing label becomes NaN.

        Raises
        ------
        UserError
            A value is infinite, or not positive under ``log10``, or a label is not among the classes.
        """
        if self.is_class:
            return self._codes(values)
        array = np.asarray(values, dtype=float)
        bad = self.outside_domain(array)
        if bad.any():
            what = f"{int(bad.sum())} values of '{self.name}' have no {self.transform}, such as {array[bad].flat[0]:g}"
            raise UserError(what, fix="drop them, or declare the property with transform: identity")
        return np.log10(array) if self.transform == "log10" else array

    def from_model(self, values: ArrayLike) -> np.ndarray:
        """Bring values from the modelled scale back to user units; NaN stays NaN, or None for a class."""
        array = np.asarray(values, dtype=float)
        if self.is_class:
            labels = [None if np.isnan(code) else self.classes[int(code)] for code in array.ravel()]
            return np.array(labels, dtype=object).reshape(array.shape)
        return np.power(10.0, array) if self.transform == "log10" else array

    def _codes(self, labels: ArrayLike) -> np.ndarray:
        place = {label: code for code, label in enumerate(self.classes)}
        items = np.asarray(labels, dtype=object)
        unknown = sorted({str(item) for item in items.ravel() if _is_label(item) and str(item) not in place})
        if unknown:
            known = ", ".join(self.classes)
            raise UserError(f"'{unknown[0]}' is no class of '{self.name}'", fix=f"the classes are: {known}")
        codes = [float(place[str(item)]) if _is_label(item) else np.nan for item in items.ravel()]
        return np.array(codes, dtype=float).reshape(items.shape)


def _is_label(value: object) -> bool:
    """Tell a label from a missing one (None, NaN)."""
    return value is not None and value == value


def task_of(properties: Iterable[Property]) -> str:
    """Return "classification" when a class is among the targets, else "regression"."""
    return "classification" if any(item.is_class for item in properties) else "regression"
