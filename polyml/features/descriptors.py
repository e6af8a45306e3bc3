"""RDKit 2D descriptors taken periodically.

Only descriptors that are sums over atoms, with each term decided by the atom's surroundings, have a value per period:
the terms are read off the middle atoms of an oligomer and divided by the number of heavy atoms. Terms are rounded to
whole millionths and summed as integers, so that the order of atoms cannot change the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from polyml.chem import RepeatUnit
from polyml.chem.periodic import Oligomer, oligomer
from polyml.features.base import Featurizer

_SCALE = 1_000_000
_ELEMENTS = {"B": 5, "C": 6, "N": 7, "O": 8, "F": 9, "Si": 14, "P": 15, "S": 16, "Cl": 17, "Br": 35, "I": 53}
_RING_SIZES = (3, 4, 5, 6, 7, 8)
_REACH = 8  # bonds; the largest pattern below spans six

# Functional groups and bond patterns of polymer chemistry; the match is counted at its first atom.
_PATTERNS = {
    "h_bond_donors": "[$([N;!H0;v3]),$([N;!H0;+1;v4]),$([O,S;H1;+0]),$([n;H1;+0])]",
    "h_bond_acceptors": "[$([O,S;H1;v2]),$([O,S;H0;v2]),$([O,S;-]),$([N;v3;!$(N-*=!@[O,N,P,S])]),"
    "$([n;H0;X2;+0]),$([o,s;+0])]",
    "rotatable_bonds": "[!$(*#*)&!D1]-,:;!@[!$(*#*)&!D1]",
    "esters": "[CX3;!R](=O)[OX2H0][#6]",
    "lactones": "[CX3;R](=O)[OX2;R]",
    "amides": "[CX3;!R](=O)[NX3]",
    "imides": "[CX3](=O)[NX3][CX3](=O)",
    "carbonates": "[CX3](=O)([OX2])[OX2]",
    "urethanes": "[CX3](=O)([OX2])[NX3]",
    "ureas": "[CX3](=O)([NX3])[NX3]",
    "ketones": "[#6][CX3](=O)[#6]",
    "carboxylic_acids": "[CX3](=O)[OX2H1]",
    "ethers": "[OX2]([#6;!$(C=O)])[#6;!$(C=O)]",
    "diaryl_ethers": "[OX2](c)c",
    "siloxanes": "[OX2]([Si])[Si]",
    "silyl": "[SiX4]([#6])([#6])[#6]",
    "sulfones": "[SX4](=O)(=O)([#6])[#6]",
    "sulfonic_acids": "[SX4](=O)(=O)[OX2H1,OX1-]",
    "sulfides": "[SX2]([#6])[#6]",
    "phosphazenes": "P=N",
    "nitriles": "C#N",
    "alkynes": "C#C",
    "alkenes": "[CX3]=[CX3]",
    "alcohols": "[OX2H1][CX4]",
    "phenols": "[OX2H1]c",
    "primary_amines": "[NX3H2][#6;!$(C=O)]",
    "tertiary_amines": "[NX3H0]([#6;!$(C=O)])([#6;!$(C=O)])[#6;!$(C=O)]",
    "nitro": "[$([NX3](=O)=O),$([NX3+](=O)[O-])]",
    "methyl": "[CH3]",
    "tert_butyl": "[CX4]([CH3])([CH3])[CH3]",
    "gem_dimethyl": "[CX4]([CH3])([CH3])([!#1;!$([CH3])])[!#1;!$([CH3])]",
    "trifluoromethyl": "[CX4](F)(F)F",
    "hexafluoroisopropylidene": "[CX4](C(F)(F)F)C(F)(F)F",
    "methylene_run": "[CH2;!R][CH2;!R][CH2;!R][CH2;!R]",
    "biaryl": "c-!@c",
    "quaternary_carbons": "[CX4]([#6])([#6])([#6])[#6]",
    "spiro": "[x4;D4]",
    "fused_atoms": "[x3]",
    "aryl_ortho_substituted": "[c;D3]([!#1;!R])c([!#1;!R])",
    "cardo": "[CX4;R]([c;R])([c;R])(c)c",
    "hetero_hetero": "[!#6]~[!#6]",
}


class Descriptors(Featurizer):
    """Physicochemical and structural descriptors per heavy atom.

    Crippen log P and molar refractivity, polar surface area, Labute surface area (whole and binned by log P and
    refractivity), composition, hybridisation, rings by size and kind, functional groups, and how much of the unit is
    main chain. Each is a sum over atoms divided by the number of heavy atoms.

    References
    ----------
    Wildman and Crippen, J. Chem. Inf. Comput. Sci. 1999, 39, 868; Ertl et al., J. Med. Chem. 2000, 43, 3714;
    Labute, J. Mol. Graph. Model. 2000, 18, 464.

    Examples
    --------
    >>> x = Descriptors().transform(["*OCC*", "*CCOCCO*"])
    >>> bool((x[0] == x[1]).all())
    True
    """

    key = "descriptors"
    costly = True

    def featurize_unit(self, unit: RepeatUnit) -> np.ndarray:
        """Return the descriptors, shape (d,)."""
        chain = oligomer(unit, _REACH)
        sums = np.array([value for _, value in _sums(unit, chain)], dtype=np.int64)
        row: np.ndarray = sums / (_SCALE * len(chain.middle))
        return row

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the descriptors' names."""
        return _names()


@cache
def _names() -> np.ndarray:
    unit = RepeatUnit.parse("*CC*")
    return np.array([name for name, _ in _sums(unit, oligomer(unit, _REACH))], dtype=object)


@cache
def _compiled() -> dict[str, Chem.Mol]:
    return {name: Chem.MolFromSmarts(smarts) for name, smarts in _PATTERNS.items()}


def _sums(unit: RepeatUnit, chain: Oligomer) -> Iterator[tuple[str, int]]:
    """Yield each descriptor's name and its sum over the middle atoms in millionths."""
    yield from _contributions(chain)
    yield from _composition(chain)
    yield from _rings(chain)
    inside = set(chain.middle.tolist())
    for name, pattern in _compiled().items():
        matches = chain.mol.GetSubstructMatches(pattern, uniquify=False, maxMatches=1_000_000)
        # Several matches from one first atom count once: the descriptor is a fraction of atoms.
        yield name, _SCALE * len({match[0] for match in matches if match[0] in inside})
    yield "main_chain", _SCALE * _main_chain_atoms(unit)


def _millionths(values: ArrayLike) -> np.ndarray:
    return np.rint(np.asarray(values) * _SCALE).astype(np.int64)


def _contributions(chain: Oligomer) -> Iterator[tuple[str, int]]:
    crippen = _crippen(chain.mol)[chain.middle]
    polar = np.array(rdMolDescriptors._CalcTPSAContribs(chain.mol, includeSandP=True))[chain.middle]
    # A float sum over neighbours in any order: round before binning and summing.
    labute = _millionths(np.array(list(rdMolDescriptors._CalcLabuteASAContribs(chain.mol)[0]))[chain.middle])
    yield "log_p", int(_millionths(crippen[:, 0]).sum())
    yield "molar_refractivity", int(_millionths(crippen[:, 1]).sum())
    yield "polar_surface_area", int(_millionths(polar).sum())
    yield "labute_surface_area", int(labute.sum())
    for name, column, edges in (
        ("area_log_p", 0, (-0.4, -0.2, 0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)),
        ("area_refractivity", 1, (1.29, 1.82, 2.24, 2.45, 2.75, 3.05, 3.63, 3.8, 4.0)),
    ):
        bins = np.searchsorted(edges, crippen[:, column], side="right")
        for i in range(len(edges) + 1):
            yield f"{name}_{i}", int(labute[bins == i].sum())


def _crippen(mol: Chem.Mol) -> np.ndarray:
    """Return each heavy atom's contributions to log P and molar refractivity, those of its hydrogens included."""
    full = Chem.AddHs(mol)
    terms = _millionths(rdMolDescriptors._CalcCrippenContribs(full))
    count = mol.GetNumAtoms()
    # Hydrogens are numbered behind the heavy atoms, each with one neighbour; whole numbers, so any order sums alike.
    carriers = [full.GetAtomWithIdx(i).GetNeighbors()[0].GetIdx() for i in range(count, full.GetNumAtoms())]
    np.add.at(terms, carriers, terms[count:])
    return terms[:count] / _SCALE


def _composition(chain: Oligomer) -> Iterator[tuple[str, int]]:
    atoms = [chain.mol.GetAtomWithIdx(i) for i in chain.middle.tolist()]
    numbers = [atom.GetAtomicNum() for atom in atoms]
    yield "mass", sum(round(atom.GetMass() * _SCALE) + 1_007_940 * atom.GetTotalNumHs() for atom in atoms)
    yield "hydrogens", _SCALE * sum(atom.GetTotalNumHs() for atom in atoms)
    for symbol, number in _ELEMENTS.items():
        yield f"element_{symbol}", _SCALE * numbers.count(number)
    kinds = [atom.GetHybridization() for atom in atoms]
    for name in ("SP", "SP2", "SP3"):
        yield f"hybridisation_{name}", _SCALE * kinds.count(getattr(Chem.HybridizationType, name))
    yield "aromatic", _SCALE * sum(atom.GetIsAromatic() for atom in atoms)
    yield "charged", _SCALE * sum(atom.GetFormalCharge() != 0 for atom in atoms)
    conjugated = [sum(bond.GetIsConjugated() for bond in atom.GetBonds()) for atom in atoms]
    yield "conjugated_bonds", _SCALE * sum(conjugated)
    for degree in (1, 2, 3, 4):
        yield f"degree_{degree}", _SCALE * sum(atom.GetDegree() == degree for atom in atoms)


def _rings(chain: Oligomer) -> Iterator[tuple[str, int]]:
    inside = set(chain.middle.tolist())
    aromatic = dict.fromkeys(_RING_SIZES, 0)
    other = dict.fromkeys(_RING_SIZES, 0)
    hetero = larger = members = 0
    for ring in chain.mol.GetRingInfo().AtomRings():
        shared = len(inside.intersection(ring))
        if not shared:
            continue
        members += shared
        atoms = [chain.mol.GetAtomWithIdx(i) for i in ring]
        hetero += shared * any(atom.GetAtomicNum() != 6 for atom in atoms)
        if len(ring) not in aromatic:
            larger += shared
        elif all(atom.GetIsAromatic() for atom in atoms):
            aromatic[len(ring)] += shared
        else:
            other[len(ring)] += shared
    yield "ring_memberships", _SCALE * members
    yield "heterocycles", _SCALE * hetero
    yield "larger_rings", _SCALE * larger
    for size in _RING_SIZES:
        yield f"aromatic_rings_{size}", _SCALE * aromatic[size]
        yield f"other_rings_{size}", _SCALE * other[size]


def _main_chain_atoms(unit: RepeatUnit) -> int:
    """Count the atoms between the attachment points: the backbone path with the ring systems it runs through."""
    half = len(unit.stars) // 2
    chain: set[int] = set()
    for head, tail in zip(unit.stars[:half], unit.stars[half:], strict=True):
        chain.update(Chem.GetShortestPath(unit.mol, head, tail))
    chain.difference_update(unit.stars)
    rings = [set(ring) for ring in unit.mol.GetRingInfo().AtomRings()]
    grown = True
    while grown:
        # A ring that shares a bond with the main chain belongs to it.
        joined = [ring for ring in rings if len(ring & chain) > 1 and not ring <= chain]
        grown = bool(joined)
        chain.update(*joined)
    return len(chain)
