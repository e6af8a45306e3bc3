"""Encoders: from a batch of polymers to one vector each."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch_geometric.nn import GINEConv

from polyml.models.nn.inputs import GraphBatch


class FeatureScaler(nn.Module):
    """Clip each feature to its training range and standardise it.

    Parameters
    ----------
    columns : int
    """

    low: torch.Tensor
    high: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        for name in ("low", "high", "mean", "std"):
            self.register_buffer(name, torch.zeros(columns))

    def fit(self, x: torch.Tensor) -> FeatureScaler:
        """Learn range, mean and standard deviation from training rows (n, d)."""
        std = x.std(dim=0, correction=0)
        self.low, self.high, self.mean = x.amin(dim=0), x.amax(dim=0), x.mean(dim=0)
        self.std = torch.where(std > 1e-8, std, torch.ones_like(std))
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scaled features, same shape."""
        return (torch.clamp(x, self.low, self.high) - self.mean) / self.std


class ArrayEncoder(nn.Module):
    """Scaled features through fully connected layers with dropout.

    Parameters
    ----------
    columns, kept : int
        Features of a polymer, and those of them that are used.
    width : int
        Length of the vector of a polymer.
    depth : int
        Hidden layers.
    dropout : float
    """

    columns: torch.Tensor

    def __init__(self, columns: int, kept: int, width: int = 256, depth: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("columns", torch.arange(kept) % columns)
        self.scale = FeatureScaler(kept)
        self.blank = nn.Dropout(dropout / 2)
        sizes = [kept] + [width] * depth
        blocks = [
            nn.Sequential(nn.Linear(a, b), nn.LayerNorm(b), nn.SiLU(), nn.Dropout(dropout)) for a, b in pairwise(sizes)
        ]
        self.layers = nn.Sequential(*blocks)
        self.out_width = width

    def fit_columns(self, x: torch.Tensor, columns: np.ndarray) -> None:
        """Choose the columns to use and learn their scaling from training rows (n, d)."""
        self.columns = torch.as_tensor(columns, dtype=torch.int64)
        self.scale.fit(x[:, self.columns])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return vectors (n, width)."""
        return self.layers(self.blank(self.scale(x[:, self.columns])))


class GraphEncoder(nn.Module):
    """Message passing on the periodic graph, then the mean over the atoms.

    Hu et al.: Strategies for pre-training graph neural networks, ICLR 2020 (the GINE layer); messages over bonds as in
    Yang et al., J. Chem. Inf. Model. 59, 3370 (2019). Atoms are averaged and never summed: a doubled repeat unit has
    each atom twice with the same neighbourhood, so its mean is the same and its sum is not. The largest value over the
    atoms, which is the same too, stands beside the mean.

    Parameters
    ----------
    atom_dim, bond_dim : int
        Features of an atom and of a bond.
    width : int
        Length of the vector of an atom.
    depth : int
        Message passing steps: how many bonds far an atom sees.
    dropout : float
    """

    def __init__(self, atom_dim: int, bond_dim: int, width: int = 128, depth: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed_atom = nn.Linear(atom_dim, width)
        self.embed_bond = nn.Linear(bond_dim, width)
        self.convolutions = nn.ModuleList(
            GINEConv(nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)), train_eps=True)
            for _ in range(depth)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.dropout = nn.Dropout(dropout)
        self.out_width = 2 * width

    def forward(self, batch: GraphBatch) -> torch.Tensor:
        """Return vectors (graphs, 2 width)."""
        bonds = self.embed_bond(batch.edge_attr)
        atoms = self.embed_atom(batch.x)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            atoms = atoms + self.dropout(convolution(norm(atoms), batch.edge_index, bonds))
        empty = atoms.new_zeros(len(batch.size), atoms.shape[1])
        mean = empty.index_add(0, batch.graph, atoms) / batch.size
        index = batch.graph.unsqueeze(1).expand_as(atoms)
        largest = empty.scatter_reduce(0, index, atoms, reduce="amax", include_self=False)
        return torch.cat([mean, largest], dim=1)
