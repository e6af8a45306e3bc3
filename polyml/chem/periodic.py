"""The infinite chain seen from one period.

Two views give exactly periodic features. The *oligomer* joins enough units that nothing within a given number of bonds
of its middle unit feels the chain ends; what is read off the middle atoms is what every unit of the infinite chain has.
The *periodic graph* is the middle unit with the bonds that cross the period joined back onto the unit itself; a
one-atom backbone gives an atom bonded to itself, twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from polyml.chem.repeat_unit import RepeatUnit, attachment

AROMATIC = 12  # RDKit's number for the aromatic bond type; single, double and triple are 1, 2 and 3


@dataclass(frozen=True)
class Oligomer:
    """A chain of units with stars at its ends.

    Attributes
    ----------
    mol : rdkit.Chem.Mol
    middle : ndarray of int, shape (n_atoms,)
        Atom of ``mol`` in the middle unit for each atom of the repeat unit, stars left out, in the unit's order.
    home : ndarray of int, shape (atoms of mol,)
        Position of the same atom within the repeat unit; -1 for the stars at the chain ends.
    """

    mol: Chem.Mol
    middle: np.ndarray
    home: np.ndarray


def oligomer(unit: RepeatUnit, reach: int) -> Oligomer:
    """Join as many units as it takes that the chain ends are more than ``reach`` bonds away from the middle unit.

    Examples
    --------
    >>> from polyml.chem import RepeatUnit
    >>> chain = oligomer(RepeatUnit.parse("*CCO*"), reach=3)
    >>> chain.mol.GetNumAtoms(), [chain.mol.GetAtomWithIdx(int(i)).GetSymbol() for i in chain.middle]
    (11, ['C', 'C', 'O'])
    """
    side = -(-max(reach, 1) // _period_length(unit))
    mol, home, _ = join(unit, 2 * side + 1)
    size = unit.n_atoms
    middle = np.flatnonzero(home >= 0)[side * size : (side + 1) * size]
    return Oligomer(mol=mol, middle=middle, home=home)


def join(unit: RepeatUnit, count: int) -> tuple[Chem.Mol, np.ndarray, tuple[int, ...]]:
    """Join ``count`` units head to tail.

    Returns the sanitised chain, each atom's place in the unit (-1 for stars), and the stars left at the chain's ends,
    in the order of the unit's.

    Configurations at the joints are not kept: nothing that reads oligomers uses them.
    """
    size, half = unit.mol.GetNumAtoms(), len(unit.stars) // 2
    chain = unit.mol
    for _ in range(count - 1):
        chain = Chem.CombineMols(chain, unit.mol)
    chain = Chem.RWMol(chain)
    bonded = [attachment(unit.mol, star) for star in unit.stars]
    chain.BeginBatchEdit()
    for copy in range(count - 1):
        for k in range(half):
            left, right = bonded[half + k][0] + copy * size, bonded[k][0] + (copy + 1) * size
            chain.AddBond(left, right, _BOND_TYPES[bonded[k][1]])
            chain.RemoveAtom(unit.stars[half + k] + copy * size)
            chain.RemoveAtom(unit.stars[k] + (copy + 1) * size)
    chain.CommitBatchEdit()
    place = np.full(size, -1)
    inner = np.setdiff1d(np.arange(size), unit.stars)
    place[inner] = np.arange(len(inner))
    kept = np.ones((count, size), dtype=bool)
    kept[:-1, list(unit.stars[half:])] = False
    kept[1:, list(unit.stars[:half])] = False
    Chem.SanitizeMol(chain)
    number = kept.ravel().cumsum() - 1
    last = (count - 1) * size
    ends = tuple(int(number[star + (last if k >= half else 0)]) for k, star in enumerate(unit.stars))
    return chain.GetMol(), np.tile(place, count)[kept.ravel()], ends


_BOND_TYPES = {1.0: Chem.BondType.SINGLE, 2.0: Chem.BondType.DOUBLE, 3.0: Chem.BondType.TRIPLE}


def _period_length(unit: RepeatUnit) -> int:
    """Return the least number of bonds from an atom to its image in the next unit."""
    half = len(unit.stars) // 2
    return min(
        len(Chem.GetShortestPath(unit.mol, head, tail)) - 2 for head in unit.stars[:half] for tail in unit.stars[half:]
    )


@dataclass(frozen=True)
class PeriodicBatch:
    """Periodic graphs of many units in one set of arrays, to work on all atoms at once.

    A graph has the atoms of one period and all bonds between them, those across the period included.

    Attributes
    ----------
    invariants : ndarray of uint32, shape (atoms,)
        RDKit's connectivity invariant of each atom (element, degree, hydrogens, charge, isotope, ring membership).
    source, target : ndarray of int, shape (m,)
        Both directions of every bond, sorted by source; atoms are numbered through. A bond from an atom to its own
        image stands twice.
    kind : ndarray of uint32, shape (m,)
        Bond types as RDKit numbers them: 1, 2, 3 and 12 for aromatic.
    owner : ndarray of int, shape (atoms,)
        Which unit an atom belongs to.
    sizes : ndarray of int, shape (n,)
        Number of atoms of each unit.

    Examples
    --------
    >>> from polyml.chem import RepeatUnit
    >>> batch = PeriodicBatch.of([RepeatUnit.parse("*CO*"), RepeatUnit.parse("*C*")])
    >>> batch.source.tolist(), batch.target.tolist()
    ([0, 0, 1, 1, 2, 2], [1, 1, 0, 0, 2, 2])
    """

    invariants: np.ndarray
    source: np.ndarray
    target: np.ndarray
    kind: np.ndarray
    owner: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, units: Sequence[RepeatUnit]) -> PeriodicBatch:
        """Build the graphs of units."""
        views = _Views()
        for unit in units:
            views.add(unit)
        return cls(*views.arrays())

    def morgan(self, radius: int) -> list[np.ndarray]:
        """Return the Morgan environment identifiers of every atom at radius 0 to ``radius``, each (atoms,) uint32.

        They are RDKit's own numbers (redundant environments included) for an atom in the middle of a long chain: an
        identifier is built from those of the neighbours one step before, so on the periodic graph it comes out as on
        the infinite chain.

        References
        ----------
        Rogers and Hahn, J. Chem. Inf. Model. 2010, 50, 742 (extended-connectivity fingerprints).
        """
        layers = [self.invariants]
        degree = np.bincount(self.source, minlength=len(self.invariants))
        slot = np.arange(len(self.source)) - np.repeat(np.cumsum(degree) - degree, degree)
        width = int(degree.max(initial=0))
        absent = np.uint64(0xFFFFFFFFFFFFFFFF)
        for layer in range(radius):
            # RDKit sorts neighbours by (bond type, identifier): one 64-bit number orders the pairs alike.
            pairs = np.full((len(self.invariants), width), absent, dtype=np.uint64)
            neighbour = layers[-1][self.target].astype(np.uint64)
            pairs[self.source, slot] = (self.kind.astype(np.uint64) << np.uint64(32)) | neighbour
            pairs.sort(axis=1)
            code = np.full(len(self.invariants), layer, dtype=np.uint32)
            code = _combine(code, layers[-1])
            for column in range(width):
                pair = pairs[:, column]
                first, second = (pair >> np.uint64(32)).astype(np.uint32), pair.astype(np.uint32)
                hashed = _combine(_combine(np.zeros_like(code), first), second)
                code = np.where(column < degree, _combine(code, hashed), code)
            layers.append(code)
        return layers


def _combine(seed: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Mix a value into a hash as RDKit does (boost's ``hash_combine`` on 32 bits)."""
    mixed: np.ndarray = seed ^ (value + np.uint32(0x9E3779B9) + (seed << np.uint32(6)) + (seed >> np.uint32(2)))
    return mixed


class _Views:
    """Molecules that show one period each, and which of their atoms are images of others, end to end.

    The *rows* of a view are atoms whose bonds are read, its *columns* the atoms that these may lead to.
    """

    def __init__(self) -> None:
        self._heights: list[int] = []
        self._widths: list[int] = []
        self._invariants: list[np.ndarray] = []
        self._bonds: list[np.ndarray] = []  # places of bonds in the matrix of a view
        self._orders: list[np.ndarray] = []
        self._stars: list[int] = []  # rows that are no atoms
        self._images: list[int] = []  # columns that are not the row of the same number,
        self._originals: list[int] = []  # and the rows whose images they are
        self._row = self._column = 0

    def add(self, unit: RepeatUnit) -> None:
        """Take in a unit."""
        orders = Chem.GetAdjacencyMatrix(unit.mol, useBO=True)
        if unit.is_ladder or orders[unit.stars[0], unit.partners[1]] != 1.0:
            self._add_oligomer(unit)
            return
        # A single bond between two units is in no ring and conjugates nothing into an aromatic ring, so each atom of
        # the unit as written, star neighbours counted, is what it is in the chain.
        (first, second), (after_first, after_second), row = unit.stars, unit.partners, self._row
        self._stars += (row + first, row + second)
        self._images += (self._column + first, self._column + second)
        self._originals += (row + after_first, row + after_second)
        invariants = np.array(rdMolDescriptors.GetConnectivityInvariants(unit.mol), dtype=np.uint32)
        self._add(invariants, orders)

    def _add_oligomer(self, unit: RepeatUnit) -> None:
        chain = oligomer(unit, reach=6)
        self._images += range(self._column, self._column + len(chain.home))
        self._originals += (self._row + chain.home).tolist()
        invariants = np.array(rdMolDescriptors.GetConnectivityInvariants(chain.mol), dtype=np.uint32)
        orders = np.asarray(Chem.GetAdjacencyMatrix(chain.mol, useBO=True))
        self._add(invariants[chain.middle], orders[chain.middle])

    def _add(self, invariants: np.ndarray, matrix: np.ndarray) -> None:
        height, width = matrix.shape
        orders = matrix.ravel()
        bonds = orders.nonzero()[0]
        self._heights.append(height)
        self._widths.append(width)
        self._invariants.append(invariants)
        self._bonds.append(bonds)
        self._orders.append(orders[bonds])
        self._row += height
        self._column += width

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return the fields of :class:`PeriodicBatch`."""
        n, rows, columns = len(self._heights), *map(_starts, (self._heights, self._widths))
        view = np.repeat(np.arange(n), [len(bonds) for bonds in self._bonds])
        row, column = np.divmod(_joined(self._bonds, np.int64), np.array(self._widths, dtype=np.int64)[view])
        inner = np.ones(self._row, dtype=bool)
        inner[self._stars] = False
        original = np.arange(self._column) + np.repeat(rows - columns, self._widths)
        original[self._images] = self._originals
        number = inner.cumsum() - 1
        row += rows[view]
        kept = inner[row]
        orders = _joined(self._orders, np.float64)[kept]
        kind = np.where(orders == 1.5, AROMATIC, orders).astype(np.uint32)
        owner = np.repeat(np.arange(n), self._heights)[inner]
        source, target = number[row[kept]], number[original[(column + columns[view])[kept]]]
        invariants = _joined(self._invariants, np.uint32)[inner]
        return invariants, source, target, kind, owner, np.bincount(owner, minlength=n)


def _starts(lengths: Sequence[int]) -> np.ndarray:
    return np.cumsum(lengths, dtype=np.int64) - np.array(lengths, dtype=np.int64)


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
