"""Search spaces: the values a hyperparameter may take, declared beside each model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyml.errors import UserError


@dataclass(frozen=True)
class Float:
    """A real number between ``low`` and ``high``, drawn on a logarithmic scale if ``log``.

    Examples
    --------
    >>> Float(0.01, 1.0, log=True).grid(3)
    [0.01, 0.1, 1.0]
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", logarithmic" if self.log else "")

    def suggest(self, trial: Any, name: str) -> float:
        """Draw a value for an Optuna trial."""
        return float(trial.suggest_float(name, self.low, self.high, log=self.log))

    def grid(self, points: int) -> list[Any]:
        """Return at most ``points`` values, evenly spread with both ends."""
        spread = np.geomspace if self.log else np.linspace
        return [float(f"{value:.6g}") for value in spread(self.low, self.high, points)]


@dataclass(frozen=True)
class Int:
    """A whole number between ``low`` and ``high``, drawn on a logarithmic scale if ``log``.

    Examples
    --------
    >>> Int(1, 4).grid(3)
    [1, 2, 4]
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", logarithmic" if self.log else "")

    def suggest(self, trial: Any, name: str) -> int:
        """Draw a value for an Optuna trial."""
        return int(trial.suggest_int(name, self.low, self.high, log=self.log))

    def grid(self, points: int) -> list[Any]:
        """Return at most ``points`` values, evenly spread with both ends."""
        return sorted({round(value) for value in Float(self.low, self.high, self.log).grid(points)})


@dataclass(frozen=True)
class Choice:
    """One of a few values.

    Examples
    --------
    >>> Choice(("l1", "l2")).grid(9)
    ['l1', 'l2']
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise UserError("a choice without a value", where="search space", fix="give at least two values")

    def __str__(self) -> str:
        return "one of " + ", ".join(str(value) for value in self.values)

    def suggest(self, trial: Any, name: str) -> Any:
        """Draw a value for an Optuna trial."""
        if all(isinstance(value, (str, int, float, bool, type(None))) for value in self.values):
            return trial.suggest_categorical(name, self.values)
        return self.values[int(trial.suggest_int(name, 0, len(self.values) - 1))]

    def grid(self, points: int) -> list[Any]:
        """Return all values."""
        return list(self.values)


Range = Float | Int | Choice


def _check_range(low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UserError(f"the range from {low} to {high} is empty", where="search space", fix="give low <= high")
    if log and low <= 0:
        raise UserError(f"a logarithmic range cannot begin at {low}", where="search space", fix="give low > 0")


def read_range(name: str, value: object) -> Range:
    """Read a range as a recipe writes it: a list of values, or ``{low, high, log}``.

    Whole ends make a range of whole numbers; ``1.0`` makes one of real numbers.

    Raises
    ------
    UserError
        It is neither.

    Examples
    --------
    >>> read_range("depth", {"low": 1, "high": 4})
    Int(low=1, high=4, log=False)
    >>> read_range("kernel", ["rbf", "linear"])
    Choice(values=('rbf', 'linear'))
    """
    where = f"search space of '{name}'"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Choice(tuple(value))
    if not isinstance(value, Mapping) or not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise UserError(f"{value!r} is no range", where=where, fix="write a list of values, or {low: 1, high: 9}")
    low, high, log = value["low"], value["high"], bool(value.get("log", False))
    if any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in (low, high)):
        raise UserError(
            f"the ends {low!r} and {high!r} are not both numbers", where=where, fix="write {low: 0.1, high: 10}"
        )
    return Int(low, high, log) if isinstance(low, int) and isinstance(high, int) else Float(low, high, log)
