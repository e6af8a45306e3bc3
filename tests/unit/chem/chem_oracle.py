"""A second road to the same answers, with nothing of polyml in it: text and plain RDKit.

Oligomers are written as text: in the SMILES of a unit that starts at its first attachment point, the second one is
replaced by the next copy. The place of every neighbour in the text stays, so configurations are kept by the rules of
SMILES alone. Two texts are the same polymer when rings of equally many atoms, closed from their oligomers, are the same
molecule.
"""

from __future__ import annotations

import re
from itertools import pairwise

from rdkit import Chem, rdBase

STAR = re.compile(r"\[\d*\*(?::\d+)?\]|\[R\d*\]|\*")
CLOSURE = re.compile(r"(\[[^\]]*\])|%\((\d+)\)|%(\d\d)|(\d)")
FLIP = str.maketrans("/\\", "\\/")
BONDS = "-=#/\\"
RING = 30  # backbone bonds of the closed rings, at least


def labelled(psmiles: str) -> Chem.Mol:
    """Read a linear unit with its attachment points labelled 1 and 2 in the order of the text."""
    numbers = iter("12")
    return Chem.MolFromSmiles(STAR.sub(lambda _: f"[{next(numbers)}*]", psmiles))


def ends(mol: Chem.Mol) -> tuple[int, int]:
    by_label = {a.GetIsotope(): a.GetIdx() for a in mol.GetAtoms() if not a.GetAtomicNum()}
    return by_label[1], by_label[2]


def size(psmiles: str) -> int:
    return labelled(psmiles).GetNumAtoms() - 2


def _renumber(text: str, shift: int) -> str:
    def closure(match: re.Match) -> str:
        return match[1] or f"%({int(match[2] or match[3] or match[4]) + shift})"

    return CLOSURE.sub(closure, text)


def oligomer_text(psmiles: str, n: int) -> str:
    """Write ``n`` units as one text, ``[1*]`` and ``[2*]`` at its ends."""
    mol = labelled(psmiles)
    text = Chem.MolToSmiles(mol, rootedAtAtom=ends(mol)[0])
    assert text.startswith("[1*]")
    unit = text.removeprefix("[1*]")
    chain = _renumber(unit, 100 * n)
    for copy in range(1, n):
        before, after = _renumber(unit, 100 * copy).split("[2*]")
        follow = chain
        if before[-1] in BONDS and follow[0] in BONDS:
            if before[-1] != follow[0]:
                # Both sides say how the joint lies in space: turning all marks of one side changes nothing but the say.
                follow = follow.translate(FLIP)
            assert before[-1] == follow[0]
            follow = follow[1:]
        chain = before + follow + after
    return "[1*]" + chain


def ring(psmiles: str, n: int) -> str:
    """Close ``n`` units into a ring and return its canonical SMILES."""
    mol = Chem.MolFromSmiles(oligomer_text(psmiles, n))
    _, second = ends(mol)
    mol.GetAtomWithIdx(second).SetIsotope(1)
    params = Chem.MolzipParams()
    params.label = Chem.MolzipLabel.Isotope
    with rdBase.BlockLogs():
        closed = Chem.molzip(mol, params)
    # Symmetry shows only in the closed molecule. Aromaticity stays that of the open chain: RDKit would call a closed
    # ring of 30 conjugated atoms aromatic.
    Chem.FastFindRings(closed)
    Chem.AssignStereochemistry(closed, cleanIt=True, force=True)
    return Chem.MolToSmiles(closed)


def copies(psmiles: str) -> int:
    """Return how many units make a ring of enough backbone bonds."""
    mol = labelled(psmiles)
    return -(-RING // (len(Chem.GetShortestPath(mol, *ends(mol))) - 2))


def same_polymer(one: str, other: str) -> bool:
    """Return whether two linear texts, one a whole multiple of the other in size, are the same chain."""
    large, small = sorted((one, other), key=size, reverse=True)
    times, rest = divmod(size(large), size(small))
    n = max(copies(large), 2)
    return not rest and ring(large, n) == ring(small, n * times)


def shifted_frames(psmiles: str, *, every_order: bool = False) -> list[str]:
    """Cut a trimer at two equivalent bonds and take what lies between, for every backbone bond outside rings.

    Only single bonds are cut unless ``every_order`` is set.
    """
    mol = labelled(psmiles)
    text = Chem.MolToSmiles(mol, rootedAtAtom=ends(mol)[0])
    unit = Chem.MolFromSmiles(text)  # atoms in the order of the text
    _, tail = ends(unit)
    path = Chem.GetShortestPath(unit, 0, tail)[1:-1]
    inside = list(range(1, tail)), list(range(tail + 1, unit.GetNumAtoms()))
    origin = [(0, 0)] + [(k, i) for k in range(3) for i in inside[0]] + [(2, tail)]
    origin += [(k, i) for k in reversed(range(3)) for i in inside[1]]
    place = {spot: number for number, spot in enumerate(origin)}
    trimer = Chem.MolFromSmiles(oligomer_text(psmiles, 3))
    assert trimer.GetNumAtoms() == len(origin)
    found = []
    for left, right in pairwise(path):
        bond = unit.GetBondBetweenAtoms(left, right)
        if bond.IsInRing() or (bond.GetBondType() != Chem.BondType.SINGLE and not every_order):
            continue
        numbers, labels = [], []
        for k in (0, 1):
            cut = trimer.GetBondBetweenAtoms(place[k, left], place[k, right])
            numbers.append(cut.GetIdx())
            labels.append((1, 2) if cut.GetBeginAtomIdx() == place[k, left] else (2, 1))
        pieces = Chem.GetMolFrags(Chem.FragmentOnBonds(trimer, numbers, dummyLabels=labels), asMols=True)
        found += [Chem.MolToSmiles(piece) for piece in pieces if is_unit(piece, unit)][:1]
    return found


def is_unit(piece: Chem.Mol, unit: Chem.Mol) -> bool:
    labels = sorted(a.GetIsotope() for a in piece.GetAtoms() if not a.GetAtomicNum())
    return labels == [1, 2] and piece.GetNumAtoms() == unit.GetNumAtoms()
