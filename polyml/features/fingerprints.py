"""Fingerprints of the infinite chain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem import MACCSkeys, rdFingerprintGenerator

from polyml.chem import RepeatUnit
from polyml.chem.canonical import multiplicity
from polyml.chem.periodic import PeriodicBatch, oligomer
from polyml.errors import UserError
from polyml.features.base import Featurizer

PER = ("heavy_atom", "unit")
_BLOCK = 1024  # units featurized at once: large enough to amortise array calls, small enough to stay in cache


class ECFPCounts(Featurizer):
    """Counts of Morgan environments, folded to a fixed size.

    Identifiers are RDKit's own (redundant environments included), computed on the periodic graph, so they are exactly
    those of an atom in the middle of a long chain.

    Parameters
    ----------
    radius : int
        2 gives ECFP4, 3 gives ECFP6.
    size : int
        Number of columns.
    per : {"heavy_atom", "unit"}
        Divide counts by the number of heavy atoms, or give them for the smallest repeat unit.

    References
    ----------
    Rogers and Hahn, J. Chem. Inf. Model. 2010, 50, 742.

    Examples
    --------
    >>> import numpy as np
    >>> x = ECFPCounts(size=64).transform(["*OCC*", "*COC*", "*CCOCCO*"])
    >>> x.shape, bool(np.all(x == x[0]))
    ((3, 64), True)
    """

    key = "ecfp_count"
    non_negative = True

    def __init__(self, radius: int = 2, size: int = 2048, per: str = "heavy_atom") -> None:
        self.radius = radius
        self.size = size
        self.per = per

    def featurize_units(self, units: Sequence[RepeatUnit]) -> np.ndarray:
        """Return counts, shape (n, size), float32."""
        if self.per not in PER:
            raise UserError(f"per={self.per!r} is unknown", where=f"features '{self.key}'", fix=f"use one of {PER}")
        _check_whole(self.key, "radius", self.radius, 0, 8)
        _check_whole(self.key, "size", self.size, 1, 2**20)
        rows = np.zeros((len(units), self.size), dtype=np.float32)
        for start in range(0, len(units), _BLOCK):
            block = units[start : start + _BLOCK]
            self._fill(rows[start : start + len(block)], block)
        return rows

    def _fill(self, rows: np.ndarray, units: Sequence[RepeatUnit]) -> None:
        batch = PeriodicBatch.of(units)
        cells = _folded_cells(batch, self.radius, self.size)
        flat = rows.reshape(-1)
        np.add.at(flat, cells, np.float32(1))
        divisor = batch.sizes if self.per == "heavy_atom" else _multiplicities(units, rows)
        # Few cells are filled, some by several atoms: each of these writes the same quotient.
        flat[cells] = flat[cells] / np.tile(divisor[batch.owner], self.radius + 1).astype(np.float32)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``ecfp_count_0`` and so on."""
        return np.array([f"{self.key}_{i}" for i in range(self.size)], dtype=object)


class ECFPBits(ECFPCounts):
    """Presence of Morgan environments, folded to a fixed size: ECFP as a bit vector of the infinite chain.

    Examples
    --------
    >>> sorted(set(ECFPBits(size=64).transform(["*CC(*)c1ccccc1"])[0].tolist()))
    [0.0, 1.0]
    """

    key = "ecfp"

    def __init__(self, radius: int = 2, size: int = 2048) -> None:
        super().__init__(radius=radius, size=size)

    def _fill(self, rows: np.ndarray, units: Sequence[RepeatUnit]) -> None:
        rows.reshape(-1)[_folded_cells(PeriodicBatch.of(units), self.radius, self.size)] = 1


def _check_whole(key: str, name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{name}={value!r}", where=f"features '{key}'", fix=f"a whole number from {low} to {high}")


def _folded_cells(batch: PeriodicBatch, radius: int, size: int) -> np.ndarray:
    """Return the cell of each environment of each atom in an array (n, size) laid out flat."""
    columns = np.concatenate([layer % np.uint32(size) for layer in batch.morgan(radius)]).astype(np.int64)
    cells: np.ndarray = np.tile(batch.owner, radius + 1) * size + columns
    return cells


def _multiplicities(units: Sequence[RepeatUnit], counts: np.ndarray) -> np.ndarray:
    """Return how many primitive units each unit holds.

    The counts of an m-fold unit are all divisible by m; only the few units whose counts share a divisor need the
    canonical form.
    """
    shared = np.gcd.reduce(counts.astype(np.int64), axis=1)
    return np.array([1 if divisor == 1 else multiplicity(u) for u, divisor in zip(units, shared, strict=True)])


class _FromMiddleAtoms(Featurizer):
    """A folded RDKit fingerprint of paths or pairs, counted from the middle atoms of an oligomer.

    Each pair (or path) has two ends. Counting it once from every end that lies in the middle unit and halving the sum
    counts it once a period, whichever bond the period is cut at.
    """

    costly = True
    non_negative = True
    reach: int

    def __init__(self, size: int = 2048) -> None:
        self.size = size

    def featurize_unit(self, unit: RepeatUnit) -> np.ndarray:
        """Return counts per heavy atom, shape (size,)."""
        _check_whole(self.key, "size", self.size, 1, 2**20)
        chain = oligomer(unit, self.reach)
        generator = self._generator()
        total = np.zeros(self.size)
        for atom in chain.middle.tolist():
            total += generator.GetCountFingerprintAsNumPy(chain.mol, fromAtoms=[atom])
        row: np.ndarray = total / (2 * len(chain.middle))
        return row

    def _generator(self) -> Any:
        raise NotImplementedError

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``<key>_0`` and so on."""
        return np.array([f"{self.key}_{i}" for i in range(self.size)], dtype=object)


class AtomPairs(_FromMiddleAtoms):
    """Counts of atom pairs up to seven bonds apart, per heavy atom.

    References
    ----------
    Carhart, Smith and Venkataraghavan, J. Chem. Inf. Comput. Sci. 1985, 25, 64.

    Examples
    --------
    >>> AtomPairs(size=128).transform(["*CC(*)C"]).shape
    (1, 128)
    """

    key = "atom_pair"
    reach = 9  # the farther atom of a pair, seven bonds off, has neighbours of its own

    def _generator(self) -> Any:
        return rdFingerprintGenerator.GetAtomPairGenerator(
            minDistance=1, maxDistance=7, fpSize=self.size, countSimulation=False
        )


class Torsions(_FromMiddleAtoms):
    """Counts of paths of four atoms (topological torsions), per heavy atom.

    References
    ----------
    Nilakantan et al., J. Chem. Inf. Comput. Sci. 1987, 27, 82.

    Examples
    --------
    >>> Torsions(size=128).transform(["*CC(*)C"]).shape
    (1, 128)
    """

    key = "torsion"
    reach = 6

    def _generator(self) -> Any:
        return rdFingerprintGenerator.GetTopologicalTorsionGenerator(fpSize=self.size, countSimulation=False)


class MACCSKeys(Featurizer):
    """The 166 MACCS keys of the infinite chain.

    A key is set when its pattern matches anywhere; a key that asks for more than a number of matches is set too, since
    whatever occurs in a chain occurs without end. Keys that RDKit does not define by a pattern are left out, but for
    key 125 (several aromatic rings), set when there is an aromatic ring.

    References
    ----------
    Durant et al., J. Chem. Inf. Comput. Sci. 2002, 42, 1273.

    Examples
    --------
    >>> MACCSKeys().transform(["*CC(*)C"]).shape
    (1, 167)
    """

    key = "maccs"
    costly = True
    non_negative = True

    def featurize_unit(self, unit: RepeatUnit) -> np.ndarray:
        """Return bits, shape (167,), numbered as RDKit does (bit 0 is never set)."""
        chain = oligomer(unit, reach=10)
        middle = set(chain.middle.tolist())
        row = np.zeros(167)
        for number, pattern in _maccs_patterns().items():
            matches = chain.mol.GetSubstructMatches(pattern, maxMatches=100_000)
            row[number] = any(not middle.isdisjoint(match) for match in matches)
        row[125] = any(chain.mol.GetAtomWithIdx(atom).GetIsAromatic() for atom in middle)
        return row

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return ``maccs_0`` to ``maccs_166``."""
        return np.array([f"maccs_{i}" for i in range(167)], dtype=object)


@cache
def _maccs_patterns() -> dict[int, Chem.Mol]:
    return {number: Chem.MolFromSmarts(text) for number, (text, _) in MACCSkeys.smartsPatts.items() if text != "?"}
