"""What is measured: a property with its unit, the scale it is modelled on and its plausible range."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, model_validator

from polyml.errors import UserError

Transform = Literal["identity", "log10"]


class Property(BaseModel):
    """One measured property of a polymer.

    Parameters
    ----------
    name : str
        The column it stands in.
    unit : str
        Unit of the values a user reads and writes; empty when unknown.
    transform : {"identity", "log10"}
        How values become what models learn. Quantities that span decades, such as permeability, are learned as
        ``log10``.
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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    unit: str = ""
    transform: Transform = "identity"
    lower: float | None = None
    upper: float | None = None

    @model_validator(mode="after")
    def _check_range(self) -> Property:
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"property '{self.name}': lower ({self.lower}) must be below upper ({self.upper})")
        return self

    @property
    def label(self) -> str:
        """Name and unit as an axis shows them."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def model_label(self) -> str:
        """Name and unit on the modelled scale."""
        if self.transform == "identity":
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
        """Bring values from user units to the modelled scale; NaN stays NaN.

        Raises
        ------
        UserError
            A value is infinite, or not positive under ``log10``.
        """
        array = np.asarray(values, dtype=float)
        bad = self.outside_domain(array)
        if bad.any():
            what = f"{int(bad.sum())} values of '{self.name}' have no {self.transform}, such as {array[bad].flat[0]:g}"
            raise UserError(what, fix="drop them, or declare the property with transform: identity")
        return np.log10(array) if self.transform == "log10" else array

    def from_model(self, values: ArrayLike) -> np.ndarray:
        """Bring values from the modelled scale back to user units; NaN stays NaN."""
        array = np.asarray(values, dtype=float)
        return np.power(10.0, array) if self.transform == "log10" else array
