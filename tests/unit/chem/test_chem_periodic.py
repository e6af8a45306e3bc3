"""The chain seen from one period, compared with plain RDKit on long oligomers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from polyml.chem import RepeatUnit
from polyml.chem.periodic import PeriodicBatch, join, oligomer
from polyml.chem.variants import random_variant
from polyml.row_faults import parse_all

TELLING = [
    "*C*",
    "*CC*",
    "*CC(*)C",
    "*[Si](C)(C)*",
    "*[Si](C)(C)O*",
    "*C=C*",
    "*=CC=*",
    "*=CCC=*",
    "*#CC#*",
    "*=C=*",
    "*=C1C=CC(=*)C=C1",
    "*c1ccc(*)cc1",
    "*c1ccc(*)s1",
    "*N=P(*)(Cl)Cl",
    "*C[N+](*)(C)C",
    "*C[13CH2]*",
    "*CC(*)([2H])[2H]",
    "*C1(*)CCCC1",
    "*C1CC1*",
    "*OB(*)c1ccccc1",
    "*C[C@H](*)C",
    "*c1ccc2cc(*)ccc2c1",
    "*Oc1ccc(C(C)(C)c2ccc(*)cc2)cc1",
]


def rdkit_counts(unit: RepeatUnit, radius: int) -> Counter:
    """Count Morgan environments of the middle atoms of an oligomer far longer than needed."""
    chain = oligomer(unit, reach=3 * radius + 6)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, includeRedundantEnvironments=True)
    found = generator.GetSparseCountFingerprint(chain.mol, fromAtoms=chain.middle.tolist())
    return Counter(found.GetNonzeroElements())


def ours(unit: RepeatUnit, radius: int) -> Counter:
    layers = PeriodicBatch.of([unit]).morgan(radius)
    return Counter(int(identifier) for layer in layers for identifier in layer)


@pytest.mark.parametrize("radius", [0, 1, 2, 3])
@pytest.mark.parametrize("text", TELLING)
def test_morgan_identifiers_are_those_of_rdkit(text: str, radius: int) -> None:
    unit = RepeatUnit.parse(text)
    assert ours(unit, radius) == rdkit_counts(unit, radius)


def readable(texts: list[str]) -> list[RepeatUnit]:
    return [unit for _, unit in parse_all(texts)[0]]


def test_morgan_of_public_polymers_is_that_of_rdkit(gas_units: list[RepeatUnit], candidate_texts: pd.Series) -> None:
    units = gas_units[::8] + readable(candidate_texts.sample(100, random_state=1).tolist())
    assert sum(unit.is_ladder for unit in units) >= 2
    for unit in units:
        assert ours(unit, 2) == rdkit_counts(unit, 2), unit.psmiles


def test_a_batch_gives_what_single_units_give() -> None:
    units = [RepeatUnit.parse(text) for text in TELLING]
    batch = PeriodicBatch.of(units)
    layers = batch.morgan(3)
    for number, unit in enumerate(units):
        own = PeriodicBatch.of([unit]).morgan(3)
        for layer, alone in zip(layers, own, strict=True):
            assert np.array_equal(layer[batch.owner == number], alone)
    assert batch.sizes.tolist() == [unit.n_atoms for unit in units]
    assert PeriodicBatch.of([]).morgan(2)[2].shape == (0,)


def test_doubled_units_have_exactly_twice_the_counts() -> None:
    rng = np.random.default_rng(2)
    for text in TELLING:
        unit = RepeatUnit.parse(text)
        for _ in range(3):
            variant = RepeatUnit.parse(random_variant(unit, rng))
            times = variant.n_atoms // unit.n_atoms
            scaled = Counter({key: times * count for key, count in ours(unit, 3).items()})
            assert ours(variant, 3) == scaled


@pytest.mark.parametrize("text", TELLING)
@pytest.mark.parametrize("reach", [0, 1, 4, 9])
def test_oligomers_reach_far_enough(text: str, reach: int) -> None:
    unit = RepeatUnit.parse(text)
    chain = oligomer(unit, reach)
    ends = [atom.GetIdx() for atom in chain.mol.GetAtoms() if not atom.GetAtomicNum()]
    assert len(ends) == 2
    distance = Chem.GetDistanceMatrix(chain.mol)
    assert distance[np.ix_(ends, chain.middle)].min() > reach
    assert chain.home[chain.middle].tolist() == list(range(unit.n_atoms))
    assert sorted(np.flatnonzero(chain.home < 0)) == ends


def test_joined_chains_hold_every_atom_once() -> None:
    unit = RepeatUnit.parse("*OCC(*)=O")
    chain, home, ends = join(unit, 4)
    assert chain.GetNumAtoms() == 18
    assert np.bincount(home[home >= 0]).tolist() == [4, 4, 4, 4]
    symbols = [chain.GetAtomWithIdx(end).GetNeighbors()[0].GetSymbol() for end in ends]
    assert symbols == ["O", "C"]
    assert join(unit, 1)[0].GetNumAtoms() == 6


def test_one_atom_backbone_is_bonded_to_itself_twice() -> None:
    graph = PeriodicBatch.of([RepeatUnit.parse("*[Si](*)(C)C")])
    loops = graph.source == graph.target
    assert loops.sum() == 2
    assert len(graph.source) == 2 + 4


def test_two_atom_unit_has_two_bonds_between_the_same_atoms() -> None:
    graph = PeriodicBatch.of([RepeatUnit.parse("*=CC=*")])
    assert sorted(graph.kind.tolist()) == [1, 1, 2, 2]
    assert set(zip(graph.source.tolist(), graph.target.tolist(), strict=True)) == {(0, 1), (1, 0)}


def test_closing_the_period_makes_no_ring() -> None:
    """Three vinylenes closed to a ring would be benzene; atoms of the chain are neither aromatic nor in a ring."""
    for text in ("*C=CC=CC=C*", "*C=C*", "*=CC=*", "*CCCCCC*", "*CCC*"):
        unit = RepeatUnit.parse(text)
        assert 12 not in PeriodicBatch.of([unit]).kind
        chain = oligomer(unit, 4)
        assert not any(chain.mol.GetAtomWithIdx(int(i)).IsInRing() for i in chain.middle)


def test_conjugation_crosses_the_period() -> None:
    chain = oligomer(RepeatUnit.parse("*C=C*"), 4)
    middle = set(chain.middle.tolist())
    bonds = [b for b in chain.mol.GetBonds() if middle & {b.GetBeginAtomIdx(), b.GetEndAtomIdx()}]
    assert len(bonds) == 3
    assert all(bond.GetIsConjugated() for bond in bonds)


@pytest.mark.parametrize("text", TELLING)
def test_every_bond_stands_in_both_directions(text: str) -> None:
    graph = PeriodicBatch.of([RepeatUnit.parse(text)])
    there = sorted(zip(graph.source.tolist(), graph.target.tolist(), graph.kind.tolist(), strict=True))
    back = sorted(zip(graph.target.tolist(), graph.source.tolist(), graph.kind.tolist(), strict=True))
    assert there == back
    assert (np.diff(graph.source) >= 0).all()
