"""Median and spread that a few wild values do not move."""

from __future__ import annotations

import numpy as np

MANY = 20
"""Values below which spread and repetition say nothing."""


def robust_deviation(y: np.ndarray) -> tuple[float, float]:
    """Return the median and a robust standard deviation: 1.4826 times the median absolute deviation; NaN is left out.

    Examples
    --------
    >>> robust_deviation(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    (3.0, 1.4826)
    """
    y = y[~np.isnan(y)]
    if not len(y):
        return np.nan, np.nan
    center = float(np.median(y))
    return center, 1.4826 * float(np.median(np.abs(y - center)))
