from __future__ import annotations

import numpy as np
import pytest

from polyml.errors import UserError
from polyml.screening.robeson import UPPER_BOUNDS, bound_line, distance, upper_bound, upper_bound_selectivity

# Table 12 of Robeson 2008, typed a second time in the order of the paper.
TABLE_12 = {
    "O2/N2": (1396000, -5.666),
    "CO2/CH4": (5369140, -2.636),
    "H2/N2": (97650, -1.4841),
    "H2/CH4": (27200, -1.107),
    "CO2/N2": (30967000, -2.888),
    "H2/CO2": (4515, -2.302),
}


def test_constants_are_those_of_the_paper():
    assert {pair: (bound.k, bound.n) for pair, bound in UPPER_BOUNDS.items()} == TABLE_12


@pytest.mark.parametrize("pair", TABLE_12)
def test_a_point_on_the_line_has_distance_zero_and_twice_the_selectivity_log10_of_two(pair):
    k, n = TABLE_12[pair]
    alpha = np.array([1.5, 4.0, 30.0])
    permeability = k * alpha**n  # the paper's own form of the line
    np.testing.assert_allclose(upper_bound_selectivity(pair, permeability), alpha, rtol=1e-12)
    np.testing.assert_allclose(distance(pair, permeability, permeability / alpha), 0.0, atol=1e-12)
    np.testing.assert_allclose(distance(pair, permeability, permeability / (2 * alpha)), np.log10(2), rtol=1e-9)
    assert (distance(pair, permeability, permeability / (0.9 * alpha)) < 0).all()


def test_permeabilities_that_are_not_positive_have_no_distance():
    result = distance("O2/N2", [0.0, -1.0, 10.0, np.nan], [1.0, 1.0, 0.0, 1.0])
    assert np.isnan(result).all()
    assert np.isnan(upper_bound_selectivity("O2/N2", 0.0))


def test_a_pair_without_a_bound_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'CO2/CH4'"):
        upper_bound("CO2/CH")


def test_the_drawn_line_falls_and_ends_where_it_was_asked_to():
    permeability, selectivity = bound_line("H2/CO2", 1.0, 1e4, points=7)
    assert permeability[[0, -1]] == pytest.approx([1.0, 1e4])
    assert (np.diff(selectivity) < 0).all()
