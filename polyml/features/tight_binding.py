"""Orbital energies of an infinite chain from its bonds alone.

The chain is a crystal of one dimension: the orbitals of one period repeat, and a Bloch sum of wave number k joins each
with its images, so that the levels of the whole chain come from small matrices, one for each k. Two models are solved.

- *Hückel*: one p orbital an atom of the conjugated system and one a lone pair, with the parameters of Van-Catledge
  (J. Org. Chem. 1980, 45, 4801), in units of the resonance integral of two carbon atoms; here a higher number is a
  *higher* energy.
- *Tight binding*: all valence orbitals, in eV. The p orbitals of multiple bonds and conjugated lone pairs form one
  matrix, hybrids that point along the single bonds or hold lone pairs another. Energies of the orbitals are those of
  extended Hückel theory (Hoffmann, J. Chem. Phys. 1963, 39, 1397), couplings the universal ones of Froyen and Harrison
  (Phys. Rev. B 1979, 20, 2420), which fall with the square of the bond length; lengths are sums of covalent radii
  (Pyykkö and Atsumi, Chem. Eur. J. 2009, 15, 186 and 12770).

There is no geometry and no self-consistency, so the energies are no predictions of measured levels: they are
descriptors that know how far a chain is conjugated, which fragments lie high and which low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from rdkit import Chem

from polyml.chem import RepeatUnit
from polyml.chem.periodic import oligomer

_REACH = 6  # bonds: what an atom's aromaticity and conjugation depend on
WAVE_NUMBERS = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4, np.pi)
"""Wave numbers times the period, from the middle of the Brillouin zone to its edge."""
ENDS = (0.0, np.pi)
"""The two wave numbers with real matrices: enough for the narrow bands of the many hybrids."""

_PI, _LONE = 1, 2  # electrons that a p orbital of a multiple bond and one of a lone pair bring
# Hückel: energy of an orbital below that of carbon, for one electron and for two.
_DEPTH: Mapping[tuple[int, int], float] = MappingProxyType(
    {
        (5, _PI): -0.45, (6, _PI): 0.0, (7, _PI): 0.51, (8, _PI): 0.97, (14, _PI): 0.0, (15, _PI): 0.19,
        (16, _PI): 0.46, (7, _LONE): 1.37, (8, _LONE): 2.09, (9, _LONE): 2.71, (15, _LONE): 0.75, (16, _LONE): 1.11,
        (17, _LONE): 1.48,
    }
)  # fmt: skip
# Hückel: coupling of an orbital to one of carbon, relative to that of two carbon atoms.
_TO_CARBON: Mapping[tuple[int, int], float] = MappingProxyType(
    {
        (5, _PI): 0.73, (6, _PI): 1.0, (7, _PI): 1.02, (8, _PI): 1.06, (14, _PI): 0.75, (15, _PI): 0.77,
        (16, _PI): 0.81, (7, _LONE): 0.89, (8, _LONE): 0.66, (9, _LONE): 0.52, (15, _LONE): 0.76, (16, _LONE): 0.69,
        (17, _LONE): 0.62,
    }
)  # fmt: skip
_HEAVIER = {34: 16, 33: 15, 32: 14, 50: 14, 35: 17, 53: 17}  # taken as their lighter relatives by the Hückel model
_OTHER_DEPTH, _OTHER_COUPLING = 1.0, 0.7  # elements without parameters, and pairs without carbon

# Energies of the valence s and p orbitals, eV.
_ENERGY: Mapping[int, tuple[float, float]] = MappingProxyType(
    {
        1: (-13.6, 0.0), 5: (-15.2, -8.5), 6: (-21.4, -11.4), 7: (-26.0, -13.4), 8: (-32.3, -14.8), 9: (-40.0, -18.1),
        14: (-17.3, -9.2), 15: (-18.6, -14.0), 16: (-20.0, -11.0), 17: (-26.3, -14.2), 32: (-16.0, -9.0),
        33: (-16.22, -12.16), 34: (-20.5, -14.4), 35: (-22.07, -13.1), 50: (-16.16, -8.32), 53: (-18.0, -12.7),
    }
)  # fmt: skip
# Covalent radii in a single, double and triple bond, angstrom.
_RADIUS: Mapping[int, tuple[float, float, float]] = MappingProxyType(
    {
        1: (0.32, 0.32, 0.32), 5: (0.85, 0.78, 0.73), 6: (0.75, 0.67, 0.60), 7: (0.71, 0.60, 0.54),
        8: (0.63, 0.57, 0.53), 9: (0.64, 0.59, 0.53), 14: (1.16, 1.07, 1.02), 15: (1.11, 1.02, 0.94),
        16: (1.03, 0.94, 0.95), 17: (0.99, 0.95, 0.93), 32: (1.21, 1.11, 1.14), 33: (1.21, 1.14, 1.06),
        34: (1.16, 1.07, 1.07), 35: (1.14, 1.09, 1.10), 50: (1.40, 1.30, 1.32), 53: (1.33, 1.29, 1.25),
    }
)  # fmt: skip
_OTHER_ENERGY, _OTHER_RADIUS = (-18.0, -11.0), (1.3, 1.2, 1.2)  # of elements not in the tables
_HBAR2_M = 7.62  # eV angstrom^2
_SS, _SP, _PP, _PP_PI = 1.32, 1.42, 2.22, 0.63  # magnitudes of the universal couplings
_DONORS = frozenset({7, 8, 9, 15, 16, 17, 34, 35, 53})  # whose lone pairs conjugate
_AROMATIC_DONORS = frozenset({8, 16, 34})


@dataclass(frozen=True)
class Bond:
    """A bond seen from one of its atoms: the other one stands ``cell`` periods further along the chain."""

    source: int
    target: int
    cell: int
    order: float


@dataclass(frozen=True)
class Cell:
    """One period of a chain: its atoms, and all bonds seen from both ends.

    Attributes
    ----------
    number, charge, hydrogens : tuple of int
        Atomic number, formal charge and hydrogen atoms of each of the n atoms.
    aromatic : tuple of bool
    bonds : tuple of tuple of Bond
        The bonds of each atom.
    """

    number: tuple[int, ...]
    charge: tuple[int, ...]
    hydrogens: tuple[int, ...]
    aromatic: tuple[bool, ...]
    bonds: tuple[tuple[Bond, ...], ...]

    @classmethod
    def of(cls, unit: RepeatUnit) -> Cell:
        """Read a period off the middle of an oligomer; the unit is brought into its canonical frame before.

        Examples
        --------
        >>> cell = Cell.of(RepeatUnit.parse("*OCC*"))
        >>> cell.number, cell == Cell.of(RepeatUnit.parse("*CCOCCO*"))
        ((6, 6, 8), True)
        """
        primitive = RepeatUnit.parse(unit.key)
        chain = oligomer(primitive, _REACH)
        inner = np.flatnonzero(chain.home >= 0)
        period = np.full(chain.mol.GetNumAtoms(), 0)
        period[inner] = np.arange(len(inner)) // primitive.n_atoms
        middle = chain.middle.tolist()
        atoms = [chain.mol.GetAtomWithIdx(index) for index in middle]
        home, period = chain.home.tolist(), (period - period[middle[0]]).tolist()

        def bonds_of(place: int, atom: Chem.Atom) -> tuple[Bond, ...]:
            ends = [(bond.GetOtherAtomIdx(atom.GetIdx()), bond.GetBondTypeAsDouble()) for bond in atom.GetBonds()]
            return tuple(Bond(place, home[end], period[end], order) for end, order in ends)

        return cls(
            number=tuple(atom.GetAtomicNum() for atom in atoms),
            charge=tuple(atom.GetFormalCharge() for atom in atoms),
            hydrogens=tuple(atom.GetTotalNumHs() for atom in atoms),
            aromatic=tuple(atom.GetIsAromatic() for atom in atoms),
            bonds=tuple(bonds_of(place, atom) for place, atom in enumerate(atoms)),
        )

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class Orbitals:
    """How the valence electrons of each atom are shared out.

    Attributes
    ----------
    p : list of int
        Orbitals of p kind, of multiple bonds or of a conjugated lone pair: 0, 1 or 2.
    electrons : list of int
        Electrons in these.
    lone_pairs : list of int
        Pairs in hybrids, which conjugate with nothing.
    """

    p: list[int]
    electrons: list[int]
    lone_pairs: list[int]

    @classmethod
    def of(cls, cell: Cell) -> Orbitals:
        """Count them from the bonds."""
        counts = [_atom_orbitals(cell, place) for place in range(len(cell))]
        found = cls(*(list(column) for column in zip(*counts, strict=True)))
        multiple = list(found.p)
        for place, number in enumerate(cell.number):
            beside = any(
                cell.aromatic[bond.target] or (multiple[bond.target] and cell.number[bond.target] not in (7, 8, 9))
                for bond in cell.bonds[place]
            )
            if number in _DONORS and not multiple[place] and found.lone_pairs[place] and beside:
                found.p[place], found.electrons[place] = 1, _LONE
                found.lone_pairs[place] -= 1
        return found


def _atom_orbitals(cell: Cell, place: int) -> tuple[int, int, int]:
    """Return an atom's p orbitals in multiple bonds, the electrons in them, and its lone pairs."""
    number, bonds = cell.number[place], cell.bonds[place]
    neighbours = len(bonds) + cell.hydrogens[place]
    outer = Chem.GetPeriodicTable().GetNOuterElecs(number) - cell.charge[place]
    if cell.aromatic[place]:
        pair = number in _AROMATIC_DONORS or (number in (7, 15) and neighbours == 3 and cell.charge[place] == 0)
        p, electrons = 1, _LONE if pair else _PI
    else:
        p = min(sum(int(bond.order) - 1 for bond in bonds), 2)
        # Beyond the octet one p orbital is left for the double bonds.
        p = min(p, 1 if number in (15, 16) else max(4 - neighbours, 0)) if neighbours <= 4 else 0
        electrons = p
    return p, electrons, max(int((outer - neighbours - electrons) / 2), 0)


@dataclass(frozen=True)
class Bands:
    """Levels of a chain.

    Attributes
    ----------
    energies : ndarray of shape (wave numbers, orbitals)
        Ascending at each wave number.
    occupied : int
        Levels that hold two electrons; an odd electron is left out.
    weights : ndarray of shape (orbitals, orbitals)
        Share of each orbital (rows) in each level (columns) in the middle of the zone; empty where not asked for.
    """

    energies: np.ndarray
    occupied: int
    weights: np.ndarray

    @property
    def highest_occupied(self) -> np.ndarray | None:
        """The band below the gap, one energy a wave number; None where nothing is occupied."""
        return self.energies[:, self.occupied - 1] if self.occupied else None

    @property
    def lowest_empty(self) -> np.ndarray | None:
        """The band above the gap; None where all is occupied."""
        return self.energies[:, self.occupied] if self.occupied < self.energies.shape[1] else None


Hop = tuple[int, int, int, float]
"""Coupling of an orbital to one ``cell`` periods further along: from, to, cell, strength."""


def _solve(
    levels: Sequence[float],
    hops: Sequence[Hop],
    electrons: int,
    *,
    at: Sequence[float] = WAVE_NUMBERS,
    vectors: bool = False,
) -> Bands:
    """Diagonalise the Bloch matrices; each coupling is given from both of its ends."""
    size = len(levels)
    energies, weights = [], np.empty((0, 0))
    source, target, cell = (np.array([hop[i] for hop in hops], dtype=int) for i in range(3))
    strength = np.array([hop[3] for hop in hops])
    for k in at:
        phase = np.cos(k * cell) if k in ENDS else np.exp(1j * k * cell)
        matrix = np.zeros((size, size), dtype=phase.dtype)
        matrix[np.diag_indices(size)] = levels
        np.add.at(matrix, (source, target), strength * phase)
        if vectors and k == 0.0:
            found, states = np.linalg.eigh(matrix)
            weights = np.abs(states) ** 2
        else:
            found = np.linalg.eigvalsh(matrix)
        energies.append(found)
    return Bands(np.array(energies), min(electrons // 2, size), weights)


def huckel_bands(cell: Cell, orbitals: Orbitals) -> Bands | None:
    """Solve the Hückel model; None for a chain without multiple bonds and lone pairs.

    Examples
    --------
    >>> cell = Cell.of(RepeatUnit.parse("*C=C*"))  # all bonds alike: no gap at the edge of the zone
    >>> bands = huckel_bands(cell, Orbitals.of(cell))
    >>> bands.occupied, bool(abs(bands.energies[-1]).max() < 1e-9)
    (1, True)
    """
    electrons = [_huckel_electrons(cell, orbitals, place) for place in range(len(cell))]
    places = {place: index for index, place in enumerate(i for i, n in enumerate(electrons) if n)}
    if not places:
        return None
    kinds = {place: (_HEAVIER.get(cell.number[place], cell.number[place]), electrons[place]) for place in places}
    levels = [-_DEPTH.get(kinds[place], _OTHER_DEPTH) - max(cell.charge[place], 0) for place in places]
    hops = [
        (places[bond.source], places[bond.target], bond.cell, -_huckel_coupling(kinds[bond.source], kinds[bond.target]))
        for place in places
        for bond in cell.bonds[place]
        if bond.target in places
    ]
    return _solve(levels, hops, sum(electrons))


def _huckel_electrons(cell: Cell, orbitals: Orbitals, place: int) -> int:
    """Return what an atom brings into the Hückel model, which takes every lone pair as a p orbital."""
    if orbitals.p[place]:
        return _LONE if orbitals.electrons[place] > orbitals.p[place] else _PI
    return _LONE if orbitals.lone_pairs[place] and cell.number[place] in _DONORS else 0


def _huckel_coupling(one: tuple[int, int], other: tuple[int, int]) -> float:
    if other == (6, _PI):
        one, other = other, one
    return _TO_CARBON.get(other, _OTHER_COUPLING) if one == (6, _PI) else _OTHER_COUPLING


def pi_bands(cell: Cell, orbitals: Orbitals) -> Bands | None:
    """Solve the p orbitals of multiple bonds and conjugated lone pairs, eV; None for a chain without any.

    Examples
    --------
    >>> cell = Cell.of(RepeatUnit.parse("*C=C*"))  # the double bond is shorter: a gap
    >>> bands = pi_bands(cell, Orbitals.of(cell))
    >>> round(float(bands.lowest_empty.min() - bands.highest_occupied.max()), 2)
    1.08
    """
    first = np.cumsum([0, *orbitals.p]).tolist()
    if not first[-1]:
        return None
    levels = [orbital_energies(number)[1] for number, p in zip(cell.number, orbitals.p, strict=True) for _ in range(p)]
    hops = []
    for bond in (bond for bonds in cell.bonds for bond in bonds):
        strength = -_PP_PI * _HBAR2_M / _length(cell.number[bond.source], cell.number[bond.target], bond.order) ** 2
        for q in range(min(orbitals.p[bond.source], orbitals.p[bond.target])):
            hops.append((first[bond.source] + q, first[bond.target] + q, bond.cell, strength))
    return _solve(levels, hops, sum(orbitals.electrons), vectors=True)


def sigma_bands(cell: Cell, orbitals: Orbitals) -> Bands:
    """Solve the hybrids of single bonds and lone pairs, with the orbitals of hydrogen atoms, eV."""
    levels: list[float] = []
    hops: list[Hop] = []
    along: dict[Bond, int] = {}
    electrons = 0
    for place, number in enumerate(cell.number):
        n = 4 - orbitals.p[place]  # hybrids of one s and n - 1 p orbitals
        s, p = orbital_energies(number)
        start = len(levels)
        along |= {bond: start + i for i, bond in enumerate(cell.bonds[place])}
        count = len(cell.bonds[place]) + cell.hydrogens[place] + orbitals.lone_pairs[place]
        levels += [(s + (n - 1) * p) / n] * count
        own = range(start, start + count)
        hops += [(i, j, 0, (s - p) / n) for i in own for j in own if i != j]
        bond_to_hydrogen = _sigma_coupling(n, 1, _length(number, 1, 1.0))
        for i in range(cell.hydrogens[place]):
            hybrid = start + len(cell.bonds[place]) + i
            hops += [(hybrid, len(levels), 0, bond_to_hydrogen), (len(levels), hybrid, 0, bond_to_hydrogen)]
            levels.append(orbital_energies(1)[0])
        electrons += len(cell.bonds[place]) + 2 * (cell.hydrogens[place] + orbitals.lone_pairs[place])
    for bond, hybrid in along.items():
        partner = Bond(bond.target, bond.source, -bond.cell, bond.order)
        n, m = 4 - orbitals.p[bond.source], 4 - orbitals.p[bond.target]
        length = _length(cell.number[bond.source], cell.number[bond.target], bond.order)
        hops.append((hybrid, along[partner], bond.cell, _sigma_coupling(n, m, length)))
    return _solve(levels, hops, electrons, at=ENDS)


def orbital_energies(number: int) -> tuple[float, float]:
    """Return the energies of an element's valence s and p orbitals, eV."""
    return _ENERGY.get(number, _OTHER_ENERGY)


def _length(one: int, other: int, order: float) -> float:
    """Return the length of a bond, angstrom; an aromatic one lies between a single and a double one."""
    sums = [a + b for a, b in zip(_RADIUS.get(one, _OTHER_RADIUS), _RADIUS.get(other, _OTHER_RADIUS), strict=True)]
    return (sums[0] + sums[1]) / 2 if order == 1.5 else sums[min(int(order), 3) - 1]


def _sigma_coupling(n: int, m: int, length: float) -> float:
    """Couple two hybrids that point at each other, each of one s and n - 1 (m - 1) p orbitals."""
    s, t = n**-0.5, m**-0.5
    p, q = (1 - 1 / n) ** 0.5, (1 - 1 / m) ** 0.5
    return -(_SS * s * t + _SP * (s * q + p * t) + _PP * p * q) * _HBAR2_M / length**2
