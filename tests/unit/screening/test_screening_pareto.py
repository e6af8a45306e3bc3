from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyml.errors import UserError
from polyml.screening.pareto import pareto_front

# Few different values, so that ties, equal rows and NaN are common.
cells = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 1.0, 2.0, 1e300, np.inf, np.nan])
tables = st.integers(1, 4).flatmap(
    lambda m: st.tuples(
        st.integers(0, 25).flatmap(lambda n: arrays(float, (n, m), elements=cells)),
        st.lists(st.booleans(), min_size=m, max_size=m),
    )
)


def by_definition(values, maximize):
    """The oracle: every row against every other."""
    signed = values * np.where(maximize, -1.0, 1.0)
    known = ~np.isnan(values).any(axis=1)
    return np.array(
        [
            known[i] and not any(known[j] and (q <= p).all() and (q < p).any() for j, q in enumerate(signed))
            for i, p in enumerate(signed)
        ],
        dtype=bool,
    )


@given(tables)
def test_the_front_is_what_no_row_dominates(case):
    values, maximize = case
    np.testing.assert_array_equal(pareto_front(values, maximize), by_definition(values, maximize))


@given(tables, st.data())
def test_the_front_of_a_whole_is_the_front_of_the_fronts_of_its_parts(case, data):
    values, maximize = case
    whole = set(np.flatnonzero(pareto_front(values, maximize)).tolist())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    kept = np.array([], dtype=int)  # as a stream keeps it: the front so far, and the next chunk
    for rows in np.split(np.arange(len(values)), cuts):
        both = np.concatenate([kept, rows])
        kept = both[pareto_front(values[both], maximize)]
    assert set(kept.tolist()) == whole


@pytest.mark.parametrize("columns", [2, 3, 5])
def test_many_rows_are_compared_block_by_block(columns):
    values = np.random.default_rng(columns).normal(size=(3000, columns)).round(1)
    maximize = [True, False, True, True, False][:columns]
    signed = values * np.where(maximize, -1.0, 1.0)
    expected = [not ((signed <= row).all(axis=1) & (signed < row).any(axis=1)).any() for row in signed]
    assert pareto_front(values, maximize).tolist() == expected


def test_values_that_differ_in_the_last_digit_are_told_apart():
    values = np.array([[1e16, 1.0, 1.0], [1e16, 1.0, 0.5], [1.0, 1.0, 1.0]])  # equal sums in floating point
    assert pareto_front(values, [True] * 3).tolist() == [True, False, False]


@pytest.mark.parametrize(("values", "maximize"), [(np.zeros(3), [True]), (np.zeros((3, 2)), [True])])
def test_shapes_that_do_not_fit_are_refused(values, maximize):
    with pytest.raises(UserError, match="objectives"):
        pareto_front(values, maximize)
