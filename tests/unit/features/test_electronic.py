"""Levels of the infinite chain: against rings of many units, known bands, and chemical sense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polyml.chem import RepeatUnit
from polyml.features import make_featurizer
from polyml.features import tight_binding as tb

POLYMERS = ["*CC*", "*C=C*", "*=CC=*", "*c1ccc(*)s1", "*NC(=O)c1ccc(*)cc1", "*C#CC(*)F", "*[Si](C)(C)*", "*C*"]
LADDER = "*Oc1cc2cc(*)c(*)cc2cc1O*"


def cell_and_orbitals(text: str) -> tuple[tb.Cell, tb.Orbitals]:
    cell = tb.Cell.of(RepeatUnit.parse(text))
    return cell, tb.Orbitals.of(cell)


def ring_levels(levels: list[float], hops: list[tb.Hop], units: int) -> np.ndarray:
    """Diagonalise a ring of units written out atom by atom: an oracle without Bloch sums."""
    size = len(levels)
    matrix = np.kron(np.eye(units), np.diag(levels))
    for unit in range(units):
        for source, target, cell, strength in hops:
            matrix[unit * size + source, (unit + cell) % units * size + target] += strength
    assert np.allclose(matrix, matrix.T)
    return np.linalg.eigvalsh(matrix)


@pytest.mark.parametrize("text", [*POLYMERS, LADDER])
@pytest.mark.parametrize("solve", [tb.huckel_bands, tb.pi_bands, tb.sigma_bands])
def test_bloch_levels_are_those_of_a_ring(text: str, solve: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple] = []
    plain = tb._solve

    def spy(levels: list[float], hops: list[tb.Hop], electrons: int, **options: Any) -> tb.Bands:
        seen.append((list(levels), list(hops)))
        return plain(levels, hops, electrons, **options)

    monkeypatch.setattr(tb, "_solve", spy)
    bands = solve(*cell_and_orbitals(text))
    if bands is None:
        pytest.skip("no electrons of this kind")
    # A ring of so many units has the wave numbers of the chain; each but the ends stands twice, once with each sign.
    units = 2 * (len(bands.energies) - 1)
    both = np.concatenate([bands.energies, bands.energies[1:-1]]).ravel()
    assert np.allclose(np.sort(both), ring_levels(*seen[0], units), atol=1e-8)


def test_polyacetylene_has_the_textbook_band() -> None:
    bands = tb.huckel_bands(*cell_and_orbitals("*C=C*"))
    expected = 2 * np.cos(np.array(tb.WAVE_NUMBERS) / 2)
    assert np.allclose(bands.energies, np.column_stack([-expected, expected]))


def test_benzene_rings_cut_off_by_saturated_carbon_are_benzene() -> None:
    bands = tb.huckel_bands(*cell_and_orbitals("*CC(*)c1ccccc1"))
    assert np.allclose(bands.energies, [-2, -1, -1, 1, 1, 2])
    assert bands.occupied == 3


@pytest.mark.parametrize(
    ("text", "p", "electrons", "lone_pairs"),
    [
        ("*CC*", [0], 0, 0),
        ("*C#C*", [2, 2], 4, 0),
        ("*CCO*", [0, 0, 0], 0, 2),
        ("*c1ccc(*)o1", [1] * 5, 6, 1),  # furan: one pair in the ring, one in its plane
        ("*CC(*)C(N)=O", [0, 0, 1, 1, 1], 4, 2),  # an amide: the pair of nitrogen conjugates
        ("*CC(*)c1ccncc1", [0, 0, 1, 1, 1, 1, 1, 1], 6, 1),  # pyridine: the pair of nitrogen does not
        ("*CC(*)C#N", [0, 0, 2, 2], 4, 1),
    ],
)
def test_valence_electrons_are_shared_out(text: str, p: list[int], electrons: int, lone_pairs: int) -> None:
    _, orbitals = cell_and_orbitals(text)
    assert sorted(orbitals.p) == sorted(p)
    assert (sum(orbitals.electrons), sum(orbitals.lone_pairs)) == (electrons, lone_pairs)


@pytest.mark.parametrize("text", [*POLYMERS, "*CCO*", "*CC(*)C(N)=O", "*c1ccc(*)[nH]1"])
def test_no_electron_is_lost(text: str) -> None:
    cell, orbitals = cell_and_orbitals(text)
    outer = {1: 1, 6: 4, 7: 5, 8: 6, 9: 7, 14: 4, 16: 6}
    total = sum(outer[number] for number in cell.number) + sum(cell.hydrogens)
    pi, sigma = tb.pi_bands(cell, orbitals), tb.sigma_bands(cell, orbitals)
    assert 2 * ((pi.occupied if pi else 0) + sigma.occupied) == total


def gaps(*texts: str) -> list[float]:
    featurizer = make_featurizer("electronic")
    place = featurizer.get_feature_names_out().tolist().index("gap")
    return featurizer.transform(list(texts))[:, place].tolist()


def test_gaps_fall_as_electrons_spread() -> None:
    thiophene, phenylene, styrene, ethylene = gaps("*c1ccc(*)s1", "*c1ccc(*)cc1", "*CC(*)c1ccccc1", "*CC*")
    assert phenylene < styrene < ethylene
    assert thiophene < styrene


def test_acceptors_lie_low_and_donors_high() -> None:
    featurizer = make_featurizer("electronic")
    names = featurizer.get_feature_names_out().tolist()
    rows = featurizer.transform(["*CC(*)c1ccccc1", "*CC(*)c1ccc([N+](=O)[O-])cc1", "*CC(*)c1ccc(N)cc1"])
    plain, nitro, amino = rows
    assert nitro[names.index("lumo")] < plain[names.index("lumo")]
    assert amino[names.index("homo")] > plain[names.index("homo")]


def test_elements_without_parameters_have_finite_rows() -> None:
    assert np.isfinite(make_featurizer("electronic").transform(["*[Ge](C)(C)*", "*CC(*)[Te]C", "*C[Hg]*"])).all()
