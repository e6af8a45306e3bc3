"""The periodic graph as input of graph neural networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rdkit import Chem

from polyml.chem import RepeatUnit
from polyml.chem.periodic import oligomer
from polyml.features.base import Featurizer

if TYPE_CHECKING:
    from torch_geometric.data import Data

ELEMENTS = (5, 6, 7, 8, 9, 14, 15, 16, 17, 32, 34, 35, 50, 53)
_HYBRIDIZATIONS = (Chem.HybridizationType.SP, Chem.HybridizationType.SP2, Chem.HybridizationType.SP3)
_BONDS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)


def _one_hot(value: object, choices: tuple) -> list[float]:
    """Return a one-hot vector with a last place for anything else."""
    return [float(value == choice) for choice in choices] + [float(value not in choices)]


def atom_features(atom: Chem.Atom) -> list[float]:
    """Describe an atom: element, degree, hydrogens, charge, hybridisation, aromaticity, ring membership and size."""
    return [
        *_one_hot(atom.GetAtomicNum(), ELEMENTS),
        *_one_hot(atom.GetDegree(), (1, 2, 3, 4)),
        *_one_hot(atom.GetTotalNumHs(), (0, 1, 2, 3)),
        *_one_hot(atom.GetHybridization(), _HYBRIDIZATIONS),
        float(atom.GetFormalCharge()),
        float(atom.GetIsAromatic()),
        float(atom.IsInRing()),
        float(atom.IsInRingSize(5)),
        float(atom.IsInRingSize(6)),
        atom.GetMass() / 100.0,
    ]


def bond_features(bond: Chem.Bond) -> list[float]:
    """Describe a bond: type, conjugation, ring membership."""
    return [*_one_hot(bond.GetBondType(), _BONDS), float(bond.GetIsConjugated()), float(bond.IsInRing())]


class PeriodicGraphs(Featurizer):
    """The periodic graph as PyG ``Data``: atoms of one period, bonds across the period joined back onto it.

    Atom and bond features are read off the middle of an oligomer, so conjugation, hybridisation and rings are those of
    the chain. Fields: ``x`` (atoms, :attr:`atom_dim`), ``edge_index`` (2, 2 x bonds), ``edge_attr``
    (2 x bonds, :attr:`bond_dim`), ``reverse`` (2 x bonds,), the edge that leads back over the same bond. A network that
    averages over atoms answers the same for every frame and multiple.

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
    atom_dim = len(atom_features(Chem.MolFromSmiles("C").GetAtomWithIdx(0)))
    bond_dim = len(bond_features(Chem.MolFromSmiles("CC").GetBondWithIdx(0)))

    def featurize_unit(self, unit: RepeatUnit) -> Data:
        """Return the graph of one unit."""
        import torch
        from torch_geometric.data import Data

        chain = oligomer(unit, reach=6)
        atoms = [chain.mol.GetAtomWithIdx(i) for i in chain.middle.tolist()]
        bonds = [(place, atom, bond) for place, atom in enumerate(atoms) for bond in atom.GetBonds()]
        far = np.array([bond.GetOtherAtomIdx(atom.GetIdx()) for _, atom, bond in bonds], dtype=np.int64)
        ends = np.array([[place for place, *_ in bonds], chain.home[far]], dtype=np.int64).reshape(2, -1)
        # Which unit a bond leads to tells the bonds between the same two atoms apart.
        copy = (np.cumsum(chain.home >= 0) - 1) // unit.n_atoms
        step = copy[far] - copy[chain.middle[0]]
        number = {edge: i for i, edge in enumerate(zip(*ends.tolist(), step.tolist(), strict=True))}
        return Data(
            x=torch.tensor([atom_features(atom) for atom in atoms], dtype=torch.float32),
            edge_index=torch.from_numpy(ends),
            edge_attr=torch.tensor([bond_features(bond) for *_, bond in bonds], dtype=torch.float32).reshape(
                -1, self.bond_dim
            ),
            reverse=torch.tensor([number[b, a, -k] for a, b, k in number], dtype=torch.int64),
        )

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the atom features."""
        return np.array([f"atom_{i}" for i in range(self.atom_dim)], dtype=object)
