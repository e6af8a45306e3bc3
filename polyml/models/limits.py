"""Checks of single parameters: a name of a list, a number between two ends."""

from __future__ import annotations

import math
from numbers import Real

from polyml.errors import UserError, unknown_name


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
