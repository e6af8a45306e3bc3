"""Checks of single parameters: a name of a list, a number between two ends, a time."""

from __future__ import annotations

import math
import re
from numbers import Real
from types import MappingProxyType

from polyml.errors import UserError, unknown_name

_UNITS = MappingProxyType({"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0})


def check_name(kind: str, name: object, known: tuple[str, ...], where: str) -> None:
    """Refuse a name that is not in a list, naming the nearest.

    Raises
    ------
    UserError
    """
    if name not in known:
        raise unknown_name(kind, name, known, where=where)


def check_number(name: str, value: object, low: float, high: float, where: str) -> None:
    """Refuse a parameter that is no number between two ends.

    Raises
    ------
    UserError
    """
    good = isinstance(value, Real) and not isinstance(value, bool) and low <= float(value) <= high
    if not good:
        range_ = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise UserError(f"{name}={value!r} is out of range", where=where, fix=f"give a number {range_}")


def seconds(budget: str | float | None) -> float:
    """Read a time such as ``90``, ``"90s"``, ``"5m"`` or ``"1.5h"``; None is unlimited.

    Raises
    ------
    UserError
        It is no time, or not a positive one.

    Examples
    --------
    >>> seconds("5m"), seconds(90), seconds(None)
    (300.0, 90.0, inf)
    """
    if budget is None:
        return float("inf")
    if isinstance(budget, (int, float)) and 0.0 < budget < math.inf:
        return float(budget)
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", str(budget).lower())
    if match is None or match[2] not in _UNITS or float(match[1]) == 0.0:
        raise UserError(f"budget={budget!r} is no time", fix="write 90s, 5m or 1h")
    return float(match[1]) * _UNITS[match[2]]
