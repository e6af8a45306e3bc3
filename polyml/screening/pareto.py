"""Which candidates no other beats in everything that is asked for: the Pareto front.

A row *dominates* another when it is as good or better in every column, and better in one. Everything here is exact:
rows are compared by their places in each column, never by sums or distances, so units and scales do not matter.

The front of a whole is the front of the fronts of its parts. A stream therefore needs to keep no more than one front:
put the front so far and the next chunk together, and take the front of that.

References
----------
Kung, Luccio and Preparata: On finding the maxima of a set of vectors. J. ACM 22, 469 (1975): two columns, by sorting.
Chomicki, Godfrey, Gryz and Liang: Skyline with presorting. Proc. ICDE 2003, 717: more columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyml.errors import UserError

_FIRST_BLOCK, _LARGEST_BLOCK = 8, 1024  # rows whose own front is found at once; the first ones already beat most
_PAIRS = 1 << 22  # comparisons made at once; bounds the memory


def pareto_front(values: np.ndarray, maximize: Sequence[bool]) -> np.ndarray:
    """Return which rows no other row dominates.

    Two columns take one sort, O(n log n); more take time in proportion to the length of the front.

    Parameters
    ----------
    values : ndarray of shape (n, m)
        A column an objective, in any units. A row with a NaN is never in the front, and keeps no other out of it.
    maximize : sequence of bool, length m
        Whether more is better, for each column.

    Returns
    -------
    ndarray of bool, shape (n,)
        Equal rows are all in the front, or none is.

    Raises
    ------
    UserError
        ``values`` is no table, or ``maximize`` does not have one entry a column.

    Examples
    --------
    >>> permeability, selectivity = [100.0, 10.0, 50.0, 100.0], [3.0, 8.0, 2.0, np.nan]
    >>> pareto_front(np.column_stack([permeability, selectivity]), [True, True]).tolist()
    [True, True, False, False]
    """
    table, complete = _smaller_is_better(values, maximize)
    front = np.zeros(len(table), dtype=bool)
    rows = np.flatnonzero(complete)
    if not len(rows):
        return front
    table = table[rows]
    if table.shape[1] == 1:
        front[rows] = table[:, 0] == table[:, 0].min()
    elif table.shape[1] == 2:
        front[rows] = _front_of_two(table[:, 0], table[:, 1])
    else:
        front[rows[_front_of_many(_places(table))]] = True
    return front


def _smaller_is_better(values: np.ndarray, maximize: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Return the table with the sign of the columns to maximize turned, and which of its rows have no NaN."""
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] == 0:
        raise UserError(
            f"objectives of shape {table.shape}", where="Pareto front", fix="give one row a candidate, one column each"
        )
    if len(maximize) != table.shape[1]:
        raise UserError(
            f"{len(maximize)} directions for {table.shape[1]} objectives",
            where="Pareto front",
            fix="say for each objective whether more is better",
        )
    return np.where(np.asarray(maximize, dtype=bool), -table, table), ~np.isnan(table).any(axis=1)


def _front_of_two(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the mask of the front: for each x its smallest y, if that is below the y of every smaller x."""
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    starts = np.flatnonzero(np.concatenate([[True], x[1:] != x[:-1]]))
    smallest = y[starts]
    below = np.concatenate([[True], smallest[1:] < np.minimum.accumulate(smallest)[:-1]])
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(x)))
    mask = np.empty(len(x), dtype=bool)
    mask[order] = below[group] & (y == smallest[group])
    return mask


def _places(table: np.ndarray) -> np.ndarray:
    """Return the place of each value among the different values of its column, int64 of shape (n, m).

    A row that dominates another has a smaller sum of places, exactly; a sum of values could be rounded to a tie.
    """
    columns = [np.unique(column, return_inverse=True)[1] for column in table.T]
    return np.column_stack(columns).astype(np.int64).reshape(table.shape)


def _front_of_many(places: np.ndarray) -> np.ndarray:
    """Return the rows of the front: by sum of places, so that a row is met after all that dominate it."""
    total = places.sum(axis=1)
    rows = np.argsort(total, kind="stable")
    places, total = places[rows], total[rows]
    front, size = [], _FIRST_BLOCK
    while len(rows):
        new = ~_dominated(places[:size], total[:size], places[:size], total[:size])
        front.append(rows[:size][new])
        left = ~_dominated(places[size:], total[size:], places[:size][new], total[:size][new])
        rows, places, total = rows[size:][left], places[size:][left], total[size:][left]
        size = min(2 * size, _LARGEST_BLOCK)
    return np.concatenate(front)


def _dominated(points: np.ndarray, totals: np.ndarray, others: np.ndarray, other_totals: np.ndarray) -> np.ndarray:
    """Return which points (n, m) are dominated by one of the others (k, m), a block of points at a time."""
    found = np.zeros(len(points), dtype=bool)
    step = max(1, _PAIRS // max(1, len(others)))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        beaten = other_totals < totals[part, None]
        for column in range(points.shape[1]):
            beaten &= others[:, column] <= points[part, column, None]
        found[part] = beaten.any(axis=1)
    return found
