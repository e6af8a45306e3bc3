"""The periodic graph as input of graph neural networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rdkit import Chem

from polyml.chem import RepeatUnit
from polyml.features.base import Featurizer
from polyml.features.graph_arrays import GraphArrays, GraphReader

if TYPE_CHECKING:
    from torch_geometric.data import Data

ELEMENTS = (5, 6, 7, 8, 9, 14, 15, 16, 17, 32, 34, 35, 50, 53)
_HYBRIDIZATIONS = (Chem.HybridizationType.SP, Chem.HybridizationType.SP2, Chem.HybridizationType.SP3)
_BONDS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)


def _one_hot(value: object, choices: tuple) -> list[float]:
    """Return a one-hot vector with a last place for anything else."""
    return [float(value == choice) for choice in choices] + [float(value not in choices)]


def atom_features(
    number: int,
    degree: int,
    hydrogens: int,
    hybridization: object,
    charge: int,
    aromatic: bool,
    mass: float,
    rings: int,
) -> list[float]:
    """Describe an atom: element, degree, hydrogens, charge, hybridisation, aromaticity, ring membership and size.

    The bits of ``rings`` say that it is in a ring, in one of five, in one of six atoms.
    """
    return [
        *_one_hot(number, ELEMENTS),
        *_one_hot(degree, (1, 2, 3, 4)),
        *_one_hot(hydrogens, (0, 1, 2, 3)),
        *_one_hot(hybridization, _HYBRIDIZATIONS),
        float(charge),
        float(aromatic),
        float(rings > 0),
        float(rings & 2 > 0),
        float(rings & 4 > 0),
        mass / 100.0,
    ]


def bond_features(kind: object, conjugated: bool, in_ring: bool) -> list[float]:
    """Describe a bond: type, conjugation, ring membership."""
    return [*_one_hot(kind, _BONDS), float(conjugated), float(in_ring)]


class PeriodicGraphs(Featurizer):
    """The periodic graph as PyG ``Data``: atoms of one period, bonds across the period joined back onto it.

    Conjugation, hybridisation and rings are those of the chain (:mod:`polyml.features.graph_arrays`). Fields: ``x``
    (atoms, :attr:`atom_dim`), ``edge_index`` (2, 2 x bonds), ``edge_attr`` (2 x bonds, :attr:`bond_dim`), ``reverse``
    (2 x bonds,), the edge that leads back over the same bond. A network that averages over atoms answers the same for
    every frame and multiple.

    References
    ----------
    Antoniuk et al., J. Chem. Inf. Model. 2022, 62, 5435 (periodic polymer graphs).

    Examples
    --------
    >>> graph = PeriodicGraphs().transform(["*CC(*)C"])[0]
    >>> graph.num_nodes, graph.num_edges
    (3, 6)
    """

    key = "periodic_graph"
    output_kind = "graph"
    atom_dim = len(atom_features(6, 4, 4, None, 0, False, 12.0, 0))
    bond_dim = len(bond_features(None, False, False))

    def featurize_units(self, units: Sequence[RepeatUnit]) -> list[Data]:
        """Return the graphs of several units."""
        return self.arrays(units).data() if units else []

    def arrays(self, units: Sequence[RepeatUnit]) -> GraphArrays:
        """Return the graphs of one or more units in one set of arrays, which is quicker than graph by graph."""
        reader = GraphReader(atom_features, bond_features)
        for unit in units:
            reader.add(unit)
        return reader.arrays()

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the atom features."""
        return np.array([f"atom_{i}" for i in range(self.atom_dim)], dtype=object)
