"""Ladder polymers: two bonds cross the period, and one chain has one answer."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from rdkit import Chem

from polyml.chem import RepeatUnit, canonicalize
from polyml.chem.periodic import PeriodicBatch, oligomer
from polyml.chem.variants import multiple, random_spelling, random_variant
from polyml.errors import RepeatUnitError

PIM1 = "*Oc1cc2c(cc1O*)C1(CC2(C)C)CC(C)(C)c2cc3c(cc21)Oc1c(C#N)c(*)c(*)c(C#N)c1O3"
# The same chain by hand: the other way round, and with the oxygens at the other end.
PIM1_FRAMES = [
    "N#Cc1c(*)c(*)c(C#N)c2Oc3cc4c(cc3Oc12)C1(CC4(C)C)CC(C)(C)c2cc(O*)c(O*)cc21",
    "*c1cc2c(cc1*)C1(CC2(C)C)CC(C)(C)c2cc3c(cc21)Oc1c(C#N)c(O*)c(O*)c(C#N)c1O3",
]
LADDERS = {
    "PIM-1": PIM1,
    "Troeger's base": "*CN1CN(*)Cc2cc3c(cc21)C1c2ccccc2C3c2cc(*)c(*)cc21",
    "dioxin": "*Oc1cc2cc(*)c(*)cc2cc1O*",
    "triptycene": "*Oc1cc2c(cc1O*)C1c3ccccc3C2c2cc3c(cc21)Oc1c(F)c(*)c(*)c(F)c1O3",
}


def morgan(unit: RepeatUnit, radius: int = 4) -> Counter:
    return Counter(int(i) for i in PeriodicBatch.of([unit]).morgan(radius)[-1])


def shares(unit: RepeatUnit) -> dict[int, float]:
    return {identifier: count / unit.n_atoms for identifier, count in morgan(unit).items()}


@pytest.mark.parametrize("frame", PIM1_FRAMES)
def test_pim1_is_one_polymer_in_frames_written_by_hand(frame: str) -> None:
    assert canonicalize(frame) == canonicalize(PIM1)
    assert shares(RepeatUnit.parse(frame)) == shares(RepeatUnit.parse(PIM1))


def test_pim1_is_no_other_polymer() -> None:
    fluorine = PIM1.replace("C#N", "F")
    linear = "*Oc1cc2c(cc1O)C1(CC2(C)C)CC(C)(C)c2cc3c(cc21)Oc1c(C#N)c(*)cc(C#N)c1O3"
    assert len({canonicalize(text) for text in (PIM1, fluorine, linear)}) == 3


def test_pim1_closes_a_dioxin_ring_between_units() -> None:
    unit = RepeatUnit.parse(PIM1)
    chain = oligomer(unit, 4)
    middle = {int(i) for i in chain.middle}
    rings = [set(ring) for ring in chain.mol.GetRingInfo().AtomRings() if middle & set(ring)]
    oxygens = [i for i in middle if chain.mol.GetAtomWithIdx(i).GetSymbol() == "O"]
    assert len(oxygens) == 4
    for oxygen in oxygens:
        own = [ring for ring in rings if oxygen in ring]
        assert len(own) == 1
        assert len(own[0]) == 6
        assert sum(chain.mol.GetAtomWithIdx(i).GetSymbol() == "O" for i in own[0]) == 2


@pytest.mark.parametrize("text", LADDERS.values(), ids=LADDERS.keys())
def test_ladders_keep_their_key(text: str) -> None:
    unit = RepeatUnit.parse(text)
    assert canonicalize(unit.key) == unit.key
    rng = np.random.default_rng(1)
    for other in [multiple(unit, 3), *(random_spelling(unit, rng) for _ in range(6))]:
        assert canonicalize(other) == unit.key, other
        assert shares(RepeatUnit.parse(other)) == shares(unit)


@pytest.mark.parametrize("text", LADDERS.values(), ids=LADDERS.keys())
def test_doubled_ladders_keep_their_key(text: str) -> None:
    unit = RepeatUnit.parse(text)
    assert canonicalize(multiple(unit, 2)) == unit.key


@pytest.mark.parametrize("text", LADDERS.values(), ids=LADDERS.keys())
def test_ladder_atoms_see_the_whole_chain(text: str) -> None:
    """No atom of the periodic graph is short of a bond: its valence is that of the middle of a long oligomer."""
    unit = RepeatUnit.parse(text)
    chain = oligomer(unit, 12)
    graph = PeriodicBatch.of([unit])
    degrees = np.bincount(graph.source, minlength=unit.n_atoms)
    assert degrees.tolist() == [chain.mol.GetAtomWithIdx(int(i)).GetDegree() for i in chain.middle]


def own_frames(text: str) -> list[str]:
    """Cut a joined oligomer at two equivalent pairs of bonds: frames by plain RDKit, none of polyml's cutting."""
    unit = RepeatUnit.parse(text)
    size = unit.n_atoms
    long = oligomer(unit, 4 * size)
    inner = np.flatnonzero(long.home >= 0)
    spot = {int(atom): divmod(i, size) for i, atom in enumerate(inner)}
    atom_at = {place: atom for atom, place in spot.items()}
    centre = spot[int(long.middle[0])][0]
    bonds = []
    for bond in long.mol.GetBonds():
        ends = [spot.get(bond.GetBeginAtomIdx()), spot.get(bond.GetEndAtomIdx())]
        if None in ends or bond.GetBondType() != Chem.BondType.SINGLE:
            continue
        (copy, i), (other, j) = sorted(ends)
        if copy == centre:
            bonds.append((i, j, other - copy))
    found = set()
    for pair in combinations(bonds, 2):
        numbers = [
            long.mol.GetBondBetweenAtoms(atom_at[copy, i], atom_at[copy + step, j]).GetIdx()
            for copy in (centre - 1, centre)
            for i, j, step in pair
        ]
        pieces = Chem.FragmentOnBonds(long.mol, numbers, dummyLabels=[(0, 0)] * 4)
        for piece in Chem.GetMolFrags(pieces, asMols=True, sanitizeFrags=False):
            stars = sum(not atom.GetAtomicNum() for atom in piece.GetAtoms())
            if stars == 4 and piece.GetNumAtoms() == size + 4:
                found.add(Chem.MolToSmiles(piece))
    return sorted(found)


@pytest.mark.parametrize("name", ["Troeger's base", "PIM-1", "triptycene"])
def test_frames_of_a_ladder_have_one_key(name: str) -> None:
    unit = RepeatUnit.parse(LADDERS[name])
    read = refused = 0
    for frame in own_frames(LADDERS[name]):
        try:
            other = RepeatUnit.parse(frame)
        except RepeatUnitError as error:
            refused += error.reason == "network"  # cut where an end does not close a ring
            continue
        assert other.key == unit.key, frame
        read += 1
    assert read >= 1
    assert read + refused == len(own_frames(LADDERS[name]))


NETWORKS = ["*CC(*)C(*)C*", "*CC(*)CC(*)C*", "*OCC(O*)COCC(O*)CO*", "*C(*)(CC(*)C)C*", "*c1cc(*)cc(C(*)C*)c1"]


@pytest.mark.parametrize("text", NETWORKS)
def test_crosslinks_are_refused(text: str) -> None:
    with pytest.raises(RepeatUnitError) as caught:
        RepeatUnit.parse(text)
    assert caught.value.reason in {"network", "attachment points"}


def test_ladders_with_multiple_bonds_at_the_ends_are_refused() -> None:
    with pytest.raises(RepeatUnitError) as caught:
        RepeatUnit.parse("*=C1CC(=*)C2C(=*)CC(=*)C12")
    assert caught.value.reason in {"bond orders", "network"}


def check_gas_ladders(ladders: list[str]) -> None:
    rng = np.random.default_rng(2)
    for text in ladders:
        unit = RepeatUnit.parse(text)
        assert canonicalize(unit.key) == unit.key, text
        assert canonicalize(random_spelling(unit, rng)) == unit.key, text
        variant = RepeatUnit.parse(random_variant(unit, rng))
        assert variant.key == unit.key, (text, variant.psmiles)
        assert shares(variant) == shares(unit), (text, variant.psmiles)


def test_ladders_of_the_gas_set(gas_texts: list[str]) -> None:
    ladders = [text for text in gas_texts if text.count("*") == 4]
    assert len(ladders) == 31
    check_gas_ladders(ladders[::4])


@pytest.mark.slow
def test_every_ladder_of_the_gas_set(gas_texts: list[str]) -> None:
    for _ in range(2):
        check_gas_ladders([text for text in gas_texts if text.count("*") == 4])


def test_an_open_pairing_is_said() -> None:
    """PIM-1's spiro centre lets the next unit turn over: its text stands for either chain. A flat ladder's does not."""
    assert any("open" in note for note in RepeatUnit.parse(PIM1).notes)
    assert not RepeatUnit.parse(LADDERS["dioxin"]).notes


def test_a_ladder_that_is_aromatic_throughout_is_known_in_every_frame_and_multiple() -> None:
    bbl = RepeatUnit.parse("*C(=O)n1c(*)nc2cc3nc4c5ccc(*)c6c(*)ccc(c(=O)n4c3cc21)c65")
    assert bbl.notes == ()
    assert canonicalize(bbl.key) == bbl.key
    assert canonicalize(multiple(bbl, 2)) == bbl.key
    other_cut = "*C(=O)c1ccc2c(=O)n3c4cc5c(cc4nc3c3ccc(*)c1c23)nc(*)n5*"
    assert canonicalize(other_cut) == bbl.key
