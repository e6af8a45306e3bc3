"""Robeson's 2008 upper bounds: where the trade-off between permeability and selectivity stood.

A bound is the line ``P_i = k * alpha_ij ** n`` with the permeability ``P_i`` of the faster gas in Barrer and the ideal
selectivity ``alpha_ij = P_i / P_j``. Robeson drew the lines by eye through the best homogeneous polymer films known in
2008, so a distance of a few hundredths means nothing; better polymers have been made since.

References
----------
L. M. Robeson, The upper bound revisited, J. Membr. Sci. 320 (2008) 390-400, doi:10.1016/j.memsci.2008.04.030, Table 12,
the block of present upper bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from polyml.errors import unknown_name


@dataclass(frozen=True)
class UpperBound:
    """One line ``P_i = k * alpha_ij ** n``: front factor ``k`` in Barrer, slope ``n`` without unit."""

    fast: str
    slow: str
    k: float
    n: float

    @property
    def pair(self) -> str:
        """Name of the gas pair, the faster gas first (``"O2/N2"``)."""
        return f"{self.fast}/{self.slow}"


UPPER_BOUNDS: dict[str, UpperBound] = {
    bound.pair: bound
    for bound in (
        UpperBound("O2", "N2", 1_396_000, -5.666),
        UpperBound("CO2", "CH4", 5_369_140, -2.636),
        UpperBound("CO2", "N2", 30_967_000, -2.888),
        UpperBound("H2", "N2", 97_650, -1.4841),
        UpperBound("H2", "CH4", 27_200, -1.107),
        UpperBound("H2", "CO2", 4_515, -2.302),
    )
}


def upper_bound(pair: str) -> UpperBound:
    """Return the bound of a gas pair.

    Raises
    ------
    UserError
        There is no 2008 bound for this pair; the message names the pairs there are.

    Examples
    --------
    >>> upper_bound("CO2/CH4").slow
    'CH4'
    """
    bound = UPPER_BOUNDS.get(pair.replace(" ", ""))
    if bound is None:
        raise unknown_name("Robeson gas pair", pair, UPPER_BOUNDS)
    return bound


def upper_bound_selectivity(pair: str, permeability: ArrayLike) -> np.ndarray:
    """Return the selectivity on the 2008 line at a permeability of the faster gas.

    Parameters
    ----------
    pair : str
        Gas pair, the faster gas first.
    permeability : array_like
        Permeability of the faster gas in Barrer. Values that are not positive give NaN.

    Examples
    --------
    >>> round(float(upper_bound_selectivity("O2/N2", 10.0)), 2)
    8.09
    """
    bound = upper_bound(pair)
    value = np.asarray(permeability, dtype=float)
    positive = np.where(value > 0, value, np.nan)
    return np.asarray((positive / bound.k) ** (1.0 / bound.n))


def distance(pair: str, fast: ArrayLike, slow: ArrayLike) -> np.ndarray:
    """Return how far a polymer lies above the 2008 line, in decades of selectivity.

    The distance is vertical in the usual plot of log selectivity against log permeability: ``log10(alpha) -
    log10(alpha_bound(P_i))`` at the polymer's own permeability. It is positive above the line, zero on it, and 0.30
    means twice the selectivity of the line. It is not the perpendicular distance, which is shorter by the factor
    ``|n| / sqrt(1 + n ** 2)`` and ranks the polymers of one pair the same way.

    Parameters
    ----------
    pair : str
        Gas pair, the faster gas first.
    fast, slow : array_like
        Permeabilities of the faster and the slower gas in Barrer. Values that are not positive give NaN.

    Examples
    --------
    >>> round(float(distance("O2/N2", 1000.0, 200.0)), 3)  # alpha 5 at 1000 Barrer
    0.144
    """
    bound = upper_bound(pair)
    p_fast, p_slow = np.asarray(fast, dtype=float), np.asarray(slow, dtype=float)
    log_fast = np.log10(np.where(p_fast > 0, p_fast, np.nan))
    log_slow = np.log10(np.where(p_slow > 0, p_slow, np.nan))
    return np.asarray(log_fast - log_slow - (log_fast - np.log10(bound.k)) / bound.n)


def bound_line(pair: str, low: float, high: float, points: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return permeabilities (Barrer) and selectivities of the line between two permeabilities, to draw it.

    Returns
    -------
    permeability, selectivity : ndarray of shape (points,)
    """
    permeability = np.geomspace(low, high, points)
    return permeability, upper_bound_selectivity(pair, permeability)
