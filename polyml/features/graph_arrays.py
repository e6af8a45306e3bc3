"""The periodic graphs of many units in one set of arrays, read off the units as they were parsed.

Building a chain for every unit costs ten times as much as parsing it, and is seldom needed. Where one single bond
crosses the period, an atom has in the chain what it has in the unit as written, its attachment point counted as a
neighbour: degree, hydrogens, aromaticity, rings. Only conjugation, and hybridisation that follows from it, depends on
what stands behind the attachment point, which RDKit takes for an atom without a part in it. Where the atoms at the
joint can have one, :func:`_as_in_chain` lets RDKit find conjugation again. All other units are read from the middle of
a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rdkit import Chem

from polyml.chem import RepeatUnit
from polyml.chem.periodic import oligomer

if TYPE_CHECKING:
    from torch_geometric.data import Data

REACH = 6
"""Bonds between a chain's end and what is read from it."""
_FULL_VALENCE = {6: 4, 7: 3, 8: 2}  # beyond it an atom without a charge goes along with no conjugation
_NEVER = {15, 16, 33, 34, 52}  # heavy atoms with lone pairs, bonded twice or more


@dataclass(frozen=True)
class GraphArrays:
    """Periodic graphs end to end; atoms and edges are numbered within each graph.

    Attributes
    ----------
    x : ndarray of shape (atoms, atom_dim), float32
    ends : ndarray of shape (2, edges), int64
    bonds : ndarray of shape (edges, bond_dim), float32
    reverse : ndarray of shape (edges,), int64
        The edge that leads back over the same bond.
    n_atoms, n_edges : ndarray of shape (graphs,), int64
    """

    x: np.ndarray
    ends: np.ndarray
    bonds: np.ndarray
    reverse: np.ndarray
    n_atoms: np.ndarray
    n_edges: np.ndarray

    def data(self) -> list[Data]:
        """Return every graph as PyG ``Data``."""
        import torch
        from torch_geometric.data import Data

        atoms, edges = self.n_atoms.tolist(), self.n_edges.tolist()
        parts = zip(
            torch.from_numpy(self.x).split(atoms),
            torch.from_numpy(self.ends).split(edges, dim=1),
            torch.from_numpy(self.bonds).split(edges),
            torch.from_numpy(self.reverse).split(edges),
            strict=True,
        )
        # Copies: one graph that is kept must not keep all others.
        names = ("x", "edge_index", "edge_attr", "reverse")
        return [Data(**{n: value.clone() for n, value in zip(names, part, strict=True)}) for part in parts]


class Rows(dict[Any, int]):
    """Numbers of the kinds of atoms, or of bonds, that were met, each of which is described once.

    Parameters
    ----------
    describe : callable
        Features of a kind, which is a tuple of plain values.

    Examples
    --------
    >>> rows = Rows(lambda a, b: [a + b, a * b])
    >>> rows.numbers([(1, 2), (3, 4), (1, 2)]), rows.table().tolist()
    ([0, 1, 0], [[3.0, 2.0], [7.0, 12.0]])
    """

    def __init__(self, describe: Callable[..., list[float]]) -> None:
        self._describe = describe

    def __missing__(self, kind: Any) -> int:
        self[kind] = number = len(self)
        return number

    def numbers(self, kinds: Iterable[Any]) -> list[int]:
        """Return the number of each kind."""
        return list(map(self.__getitem__, kinds))

    def table(self) -> np.ndarray:
        """Return the features of all kinds by number, (kinds, width), float32."""
        return np.array([self._describe(*kind) for kind in self], dtype=np.float32)


class GraphReader:
    """Reads units one after another, and gives the graphs of all of them in one set of arrays.

    Parameters
    ----------
    describe_atom, describe_bond : callable
        See :func:`polyml.features.graphs.atom_features` and ``bond_features``.

    Examples
    --------
    >>> from polyml.features.graphs import atom_features, bond_features
    >>> reader = GraphReader(atom_features, bond_features)
    >>> reader.add(RepeatUnit.parse("*CC(*)C"))
    >>> reader.arrays().ends.tolist()
    [[0, 0, 1, 1, 1, 2], [1, 1, 0, 2, 0, 1]]
    """

    def __init__(self, describe_atom: Callable[..., list[float]], describe_bond: Callable[..., list[float]]) -> None:
        self._atom_rows, self._bond_rows = Rows(describe_atom), Rows(describe_bond)
        # Atoms, attachment points among them, numbered through; every bond of units that are read as written; the
        # bonds across the period, from the first atom of a unit to the last; edges of units that are read from a chain.
        # Numbers alone: tuples by the hundred thousand would keep the garbage collector busy.
        self._atoms: list[int] = []
        self._sizes: list[int] = []
        self._stars: list[int] = []
        self._begin: list[int] = []
        self._end: list[int] = []
        self._bonds: list[int] = []
        self._n_bonds: list[int] = []
        self._joints: list[tuple[int, int]] = []
        self._joint_kinds: list[int] = []
        self._edges: list[tuple[int, int, int]] = []
        self._edge_kinds: list[int] = []

    def add(self, unit: RepeatUnit) -> None:
        """Read one unit."""
        found = _as_in_chain(unit)
        if found is None:
            self._read_chain(unit)
        else:
            self._read_unit(unit, *found)

    def _read_unit(self, unit: RepeatUnit, mol: Chem.Mol, is_conjugated: bool) -> None:
        start, size = len(self._atoms), mol.GetNumAtoms()
        bonds = list(map(mol.GetBondWithIdx, range(mol.GetNumBonds())))
        self._atoms += self._atom_rows.numbers(_atom_kinds(mol, range(size)))
        self._sizes.append(size)
        self._stars += [start + star for star in unit.stars]
        self._begin += map(Chem.Bond.GetBeginAtomIdx, bonds)
        self._end += map(Chem.Bond.GetEndAtomIdx, bonds)
        self._bonds += self._bond_rows.numbers(_bond_kinds(bonds))
        self._n_bonds.append(len(bonds))
        last, first = unit.partners
        self._joints.append((start + first, start + last))
        self._joint_kinds.append(self._bond_rows[Chem.BondType.SINGLE, is_conjugated, False])

    def _read_chain(self, unit: RepeatUnit) -> None:
        start, chain = len(self._atoms), oligomer(unit, REACH)
        middle = chain.middle.tolist()
        atoms = list(map(chain.mol.GetAtomWithIdx, middle))
        found = [(place, atom, bond) for place, atom in enumerate(atoms) for bond in atom.GetBonds()]
        far = np.array([bond.GetOtherAtomIdx(atom.GetIdx()) for _, atom, bond in found], dtype=np.int64)
        # Which unit a bond leads to tells the bonds between the same two atoms apart.
        copy = (np.cumsum(chain.home >= 0) - 1) // unit.n_atoms
        step = copy[far] - copy[middle[0]]
        edges = list(zip((place for place, *_ in found), chain.home[far].tolist(), step.tolist(), strict=True))
        number = {edge: len(self._edges) + i for i, edge in enumerate(edges)}
        self._edges += [(start + a, start + b, number[b, a, -k]) for a, b, k in edges]
        self._edge_kinds += self._bond_rows.numbers(_bond_kinds([bond for *_, bond in found]))
        self._atoms += self._atom_rows.numbers(_atom_kinds(chain.mol, middle))
        self._sizes.append(len(middle))
        self._n_bonds.append(0)

    def arrays(self) -> GraphArrays:
        """Return the graphs of all units; the edges of a graph stand by the atom that they leave."""
        source, target, kinds, partner = self._directed()
        order = np.argsort(source, kind="stable")
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        is_atom = np.ones(len(self._atoms), dtype=bool)
        is_atom[self._stars] = False
        owner = np.repeat(np.arange(len(self._sizes)), self._sizes)
        n_atoms = np.bincount(owner[is_atom], minlength=len(self._sizes))
        edge_owner = owner[source[order]]
        n_edges = np.bincount(edge_owner, minlength=len(self._sizes))
        atom_start, edge_start = np.cumsum(n_atoms) - n_atoms, np.cumsum(n_edges) - n_edges
        place = np.cumsum(is_atom) - 1
        return GraphArrays(
            x=self._atom_rows.table()[np.array(self._atoms)[is_atom]],
            ends=place[np.stack([source, target])[:, order]] - atom_start[edge_owner],
            bonds=self._bond_rows.table()[kinds[order]],
            reverse=position[partner[order]] - edge_start[edge_owner],
            n_atoms=n_atoms,
            n_edges=n_edges,
        )

    def _directed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return source, target, kind, and number of the edge that leads back, of all edges.

        From an atom, the bonds across the period come last, the one to the unit before it first: so they do in a chain.
        """
        start = np.repeat(np.cumsum(self._sizes) - self._sizes, self._n_bonds)
        ends = np.array([self._begin, self._end], dtype=np.int64) + start
        is_star = np.zeros(len(self._atoms), dtype=bool)
        is_star[self._stars] = True
        inner = np.flatnonzero(~is_star[ends].any(axis=0))
        both = np.repeat(ends[:, inner], 2, axis=1)
        both[:, 1::2] = both[::-1, 1::2]
        joints = np.array(self._joints, dtype=np.int64).reshape(-1, 2).T
        edges = np.array(self._edges, dtype=np.int64).reshape(-1, 3).T
        n, m = both.shape[1], joints.shape[1]
        bonds = np.array(self._bonds, dtype=np.int64)[inner]
        kinds = [np.repeat(bonds, 2), *[np.array(self._joint_kinds, dtype=np.int64)] * 2]
        kinds.append(np.array(self._edge_kinds, dtype=np.int64))
        partner = [np.arange(n) ^ 1, n + m + np.arange(m), n + np.arange(m), n + 2 * m + edges[2]]
        source, target = np.concatenate([both, joints, joints[::-1], edges[:2]], axis=1)
        return source, target, np.concatenate(kinds), np.concatenate(partner)


def _atom_kinds(mol: Chem.Mol, places: Sequence[int]) -> Iterator[Any]:
    """Return of some atoms all that :func:`polyml.features.graphs.atom_features` reads."""
    rings: dict[int, int] = {}
    for ring in mol.GetRingInfo().AtomRings():
        mark = {5: 3, 6: 5}.get(len(ring), 1)
        for place in ring:
            rings[place] = rings.get(place, 0) | mark
    atom = Chem.Atom
    # A method mapped over the atoms takes half the time of a call for each: this is the hot path of screening.
    readers = (
        atom.GetAtomicNum, atom.GetDegree, atom.GetTotalNumHs, atom.GetHybridization, atom.GetFormalCharge,
        atom.GetIsAromatic, atom.GetMass,
    )  # fmt: skip
    atoms = list(map(mol.GetAtomWithIdx, places))
    return zip(*(map(read, atoms) for read in readers), [rings.get(place, 0) for place in places], strict=True)


def _bond_kinds(bonds: list[Chem.Bond]) -> Iterator[Any]:
    """Return of bonds all that :func:`polyml.features.graphs.bond_features` reads."""
    bond = Chem.Bond
    readers = (bond.GetBondType, bond.GetIsConjugated, bond.IsInRing)
    return zip(*(map(read, bonds) for read in readers), strict=True)


def _as_in_chain(unit: RepeatUnit) -> tuple[Chem.Mol, bool] | None:
    """Return the unit with conjugation and hybridisation as in the chain, and whether the joint is conjugated.

    None where that takes a chain to tell: more than one bond, or a multiple one, crosses the period, or an element
    whose part in conjugation is not so plain stands at the joint.
    """
    if unit.is_ladder:
        return None
    mol, (last, first) = unit.mol, unit.partners
    if mol.GetBondBetweenAtoms(unit.stars[0], first).GetBondType() != Chem.BondType.SINGLE:
        return None
    ends = mol.GetAtomWithIdx(first), mol.GetAtomWithIdx(last)
    # A star is left as it is where nothing can pass from the atom that it is bonded to, or to the one behind it.
    goes = [_goes_along(behind) if _starts(atom) else False for atom, behind in (ends, ends[::-1])]
    if None in goes:
        return None
    if not any(goes):
        return mol, False
    return _conjugated_anew(unit, [star for star, passes in zip(unit.stars, goes, strict=True) if passes])


def _starts(atom: Chem.Atom) -> bool:
    """Tell whether an atom may have a bond that conjugates the one at its side: a multiple or an aromatic one."""
    degree = atom.GetTotalDegree()
    return bool(degree <= 3 and (atom.GetIsAromatic() or atom.GetTotalValence() > degree))


def _goes_along(atom: Chem.Atom) -> bool | None:
    """Tell whether an atom behind the joint takes part in conjugation; None for elements that are seldom there."""
    number = atom.GetAtomicNum()
    if atom.GetTotalDegree() > 3 or number in _NEVER:
        return False
    if number not in _FULL_VALENCE:
        return None
    return bool(atom.GetFormalCharge() or atom.GetTotalValence() <= _FULL_VALENCE[number])


def _conjugated_anew(unit: RepeatUnit, passed: list[int]) -> tuple[Chem.Mol, bool]:
    """Let RDKit find conjugation and hybridisation with atoms that take part in it in place of some stars."""
    mol, (last, first) = Chem.RWMol(unit.mol), unit.partners
    for star in passed:
        atom = mol.GetAtomWithIdx(star)
        atom.SetAtomicNum(6)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(2)
    Chem.SetConjugation(mol)
    bonds = [mol.GetBondBetweenAtoms(star, atom) for star, atom in zip(unit.stars, (first, last), strict=True)]
    is_conjugated = any(bond.GetIsConjugated() for bond in bonds)
    for bond in bonds:  # one bond of the chain, seen from both of its ends
        bond.SetIsConjugated(is_conjugated)
    Chem.SetHybridization(mol)
    return mol, is_conjugated
