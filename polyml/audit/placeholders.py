"""Numbers that stand where nothing was measured: -999, 0 K, one impossible value in row after row."""

from __future__ import annotations

import numpy as np

from polyml.audit.robust import MANY, robust_deviation
from polyml.data.known_properties import ZERO_CELSIUS
from polyml.data.properties import Property

PLACEHOLDERS = (0.0, 1.0, -1.0, 99.0, -99.0, 999.0, -999.0, 9999.0, -9999.0, 99999.0, -99999.0, 273.15, 298.15, 300.0)
"""What people write where nothing was measured."""
SENTINELS = (999.0, -999.0, 9999.0, -9999.0, 99999.0, -99999.0)
"""Those of them that are taken for placeholders in a single row, where they are no possible value."""
_FAR = 6.0  # robust SD from the median that make a sentinel impossible where no range is known
_RATIO = 5  # how many times more often than the next value one must stand
_PLACEHOLDER_RATIO = 2
_ALONE = 3  # rows with one negative placeholder, where no other value is negative


def repeated_value(values: np.ndarray) -> tuple[float, int, int] | None:
    """Return the value that stands much more often than any other, its count and that of the next; None without one.

    Examples
    --------
    >>> repeated_value(np.array([*range(40), *[-999] * 9], dtype=float))
    (-999.0, 9, 1)
    >>> repeated_value(np.arange(40.0)) is None
    True
    """
    known = values[np.isfinite(values)]
    numbers, counts = np.unique(known, return_counts=True)
    if len(known) < MANY or len(numbers) < 2:
        return None
    order = np.argsort(-counts, kind="stable")
    value, count, following = float(numbers[order[0]]), int(counts[order[0]]), int(counts[order[1]])
    ratio = _PLACEHOLDER_RATIO if value in PLACEHOLDERS else _RATIO
    return (value, count, following) if count >= 5 and count > ratio * following + 2 else None


def impossible_placeholders(values: np.ndarray, item: Property, *, temperature: bool) -> np.ndarray:
    """Mark the values that are no measurement beyond doubt: they are neither in another unit nor mistyped.

    These are values outside the plausible range that are repeated much more often than any other or are one of
    ``SENTINELS``, temperatures below absolute zero in any unit, 0 K where nothing else speaks of Celsius, and one of
    ``PLACEHOLDERS`` below zero in several rows where nothing else is.

    Parameters
    ----------
    values : ndarray of shape (n,)
        In the unit of the property, NaN where not measured.
    item : Property
    temperature : bool
        Whether Celsius may be taken for kelvin.

    Examples
    --------
    >>> kelvin = Property(name="Tg", unit="K", lower=100, upper=900)
    >>> impossible_placeholders(np.array([-999.0, 0.0, 25.0, 300.0]), kelvin, temperature=True)
    array([ True,  True, False, False])
    >>> impossible_placeholders(np.array([-20.0, 0.0, 25.0, 300.0]), kelvin, temperature=True)
    array([False, False, False, False])
    >>> impossible_placeholders(np.array([-1.0, -1.0, -1.0, 300.0]), kelvin, temperature=True)
    array([ True,  True,  True, False])
    """
    impossible = _impossible(values, item)
    found = impossible & np.isin(values, SENTINELS)
    below = impossible & ~found & (values < 0)
    if np.count_nonzero(below) >= _ALONE and len(same := np.unique(values[below])) == 1 and same[0] in PLACEHOLDERS:
        found |= below  # one such number in row after row, and nothing else that is negative
    if temperature:
        found |= values < -ZERO_CELSIUS
        celsius = (values < 0) & (values > -ZERO_CELSIUS)
        if item.unit == "K" and not (celsius & ~found).any():
            found |= values == 0
    repeated = repeated_value(values[~found])
    return found | (impossible & (values == repeated[0])) if repeated else found


def _impossible(values: np.ndarray, item: Property) -> np.ndarray:
    """Mark what lies outside the plausible range, or far from all other values where none is known."""
    finite = np.isfinite(values)
    outside = (item.outside_range(values) | item.outside_domain(values)) & finite
    if item.lower is not None or item.upper is not None or np.count_nonzero(finite) < MANY:
        return outside
    center, spread = robust_deviation(values[finite])
    far = np.abs(values - center) > _FAR * spread if spread > 0 else np.zeros(len(values), dtype=bool)
    # A repeated value may be the usual one of a property that nothing is known of: only a sentinel is impossible.
    return outside | (far & np.isin(values, SENTINELS))
