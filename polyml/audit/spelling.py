"""How two texts of one polymer differ."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rdkit import Chem

from polyml.chem import RepeatUnit
from polyml.chem.constitution import without_configurations

KINDS = ("identical", "respelled", "swapped", "reversed", "stereo marks", "shifted", "multiplied")
"""How a text relates to another one of the same polymer.

identical: the same text. respelled: RDKit canonical SMILES agree, and the unit is read in the same direction; reversed:
they agree, and it is read from its other end. swapped: the units of a copolymer in another order. shifted: cut at
another bond (and maybe reversed). multiplied: another number of primitive units. stereo marks: other marks of
configurations that make no difference. RDKit canonical SMILES see none of the last three.
"""
HIDDEN = KINDS[4:]
SEPARATOR = " | "
"""Between the units of a copolymer in one text."""


@lru_cache(maxsize=100_000)
def canonical_smiles(text: str) -> str:
    """Return the RDKit canonical SMILES of a unit as written, its attachment points without labels.

    Examples
    --------
    >>> canonical_smiles("[*:1]OCC[*:2]") == canonical_smiles("C(*)CO*")
    True
    >>> canonical_smiles("*OCC*") == canonical_smiles("*COC*")
    False
    """
    return str(Chem.MolToSmiles(RepeatUnit.parse(text).mol))


@lru_cache(maxsize=100_000)
def flat_smiles(text: str) -> str:
    """Return the RDKit canonical SMILES of a unit as written, without its configurations."""
    return str(Chem.MolToSmiles(without_configurations(RepeatUnit.parse(text)).mol))


def relation(first: str, second: str) -> str:
    """Tell how two texts of one polymer relate; see :data:`KINDS`.

    Examples
    --------
    >>> [relation("*OCC*", text) for text in ("*OCC*", "C(CO*)*", "*CCO*", "*COC*", "*CCOCCO*")]
    ['identical', 'respelled', 'reversed', 'shifted', 'multiplied']
    """
    if first == second:
        return "identical"
    if SEPARATOR in first:
        return _relation_of_copolymers(first, second)
    a, b = RepeatUnit.parse(first), RepeatUnit.parse(second)
    if Chem.MolToSmiles(a.mol) == Chem.MolToSmiles(b.mol):
        if a.is_ladder or _directed(a, (1, 2)) == _directed(b, (1, 2)):
            return "respelled"
        return "reversed" if _directed(a, (1, 2)) == _directed(b, (2, 1)) else "respelled"
    if a.n_atoms != b.n_atoms:
        return "multiplied"
    flat = [Chem.MolToSmiles(without_configurations(unit).mol) for unit in (a, b)]
    return "stereo marks" if flat[0] == flat[1] else "shifted"


def _directed(unit: RepeatUnit, labels: Sequence[int]) -> str:
    """Return the canonical SMILES with the first and the second attachment point of the text told apart."""
    mol = Chem.Mol(unit.mol)
    for star, label in zip(sorted(unit.stars), labels, strict=True):
        mol.GetAtomWithIdx(star).SetIsotope(label)
    return str(Chem.MolToSmiles(mol))


def _relation_of_copolymers(first: str, second: str) -> str:
    """Compare unit by unit, each with the one that is the same; the kind that comes last counts."""
    parts = [text.split(SEPARATOR) for text in (first, second)]
    if sorted(parts[0]) == sorted(parts[1]):
        return "swapped"
    units = [
        sorted((part.rpartition(" ×")[0] for part in text if " ×" in part), key=canonical_smiles) for text in parts
    ]
    return max((relation(a, b) for a, b in zip(*units, strict=True)), key=KINDS.index)
