"""Columns that hold the logarithms of a property that spans decades, where its values are expected."""

from __future__ import annotations

import numpy as np

from polyml.audit.robust import MANY
from polyml.audit.sources import AuditedProperty

_INSIDE = 0.95  # share of the values that must be plausible as logarithms
_LEFT, _EVEN = -0.8, 0.8  # skewness: of the logarithm of logarithms, and of logarithms


def holds_logarithms(p: AuditedProperty, values: np.ndarray) -> bool:
    """Tell whether values look like the decadic logarithms of a well-known property that spans decades.

    They do when they fit its range as logarithms and some are not positive, which no value is; or, where all are
    positive, when they are spread evenly, as logarithms are, and their own logarithms are not.

    Parameters
    ----------
    p : AuditedProperty
    values : ndarray of shape (n,)
        As in the file, NaN left out or not.
    """
    from scipy.stats import skew

    if p.known is None or p.known.known.transform != "log10":
        return False
    values = values[np.isfinite(values)]
    scale = p.known.scale
    inside = (values >= np.log10(scale.lower)) & (values <= np.log10(scale.upper))
    if not len(values) or inside.mean() < _INSIDE:
        return False
    if (values <= 0).any():
        return p.item.transform != "log10" or (values <= 0).mean() > 1 - _INSIDE
    if len(values) < MANY or not np.ptp(values) > 0:
        return False
    return bool(skew(np.log10(values)) < _LEFT and abs(skew(values)) < _EVEN)
