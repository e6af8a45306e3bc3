"""Columns that hold the logarithms of a property that spans decades, where its values are expected."""

from __future__ import annotations

import numpy as np

from polyml.audit.sources import AuditedProperty

_INSIDE = 0.95  # share of the values that must be plausible as logarithms
_LEAST_PAIRS = 100
_EVEN = 0.18  # rank correlation of size and scatter: of gas permeabilities 0.2 to 0.9, of their logarithms 0.1 to 0.3


def may_be_logarithms(p: AuditedProperty, values: np.ndarray) -> bool:
    """Tell whether all values of a well-known property that spans decades would be plausible as its logarithms."""
    values = values[np.isfinite(values)]
    if p.known is None or p.known.known.transform != "log10" or not len(values):
        return False
    scale = p.known.scale
    return bool(np.mean((values >= np.log10(scale.lower)) & (values <= np.log10(scale.upper))) >= _INSIDE)


def holds_logarithms(p: AuditedProperty, values: np.ndarray) -> bool:
    """Tell whether values fit the range as logarithms, and some are not positive, which no value is.

    Parameters
    ----------
    p : AuditedProperty
    values : ndarray of shape (n,)
        As in the file, NaN left out or not.
    """
    lacking = np.mean(values[np.isfinite(values)] <= 0) if np.isfinite(values).any() else 0.0
    least = 1 - _INSIDE if p.item.transform == "log10" else 0.0
    return may_be_logarithms(p, values) and bool(lacking > least)


def scatters_evenly(values: np.ndarray, estimates: np.ndarray) -> bool:
    """Tell whether values scatter around those of near-identical polymers as much where they are large as where small.

    Values of a property that spans decades scatter in proportion to their size, logarithms do not.

    Parameters
    ----------
    values, estimates : ndarray of shape (n,)
        A value, and the one that its nearest polymers have; NaN where there is none.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> logs = rng.uniform(0, 3, 200)
    >>> near = logs + rng.normal(0, 0.2, 200)
    >>> scatters_evenly(logs, near), scatters_evenly(10**logs, 10**near)
    (True, False)
    """
    from scipy.stats import spearmanr

    known = np.isfinite(values) & np.isfinite(estimates)
    values, estimates = values[known], estimates[known]
    if len(values) < _LEAST_PAIRS or not np.ptp(values) > 0:
        return False
    return bool(spearmanr(np.abs(values - estimates), values + estimates).statistic < _EVEN)
