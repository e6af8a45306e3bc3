"""The inputs of a network, held in memory and cut into batches by row number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch_geometric.data import Data


class GraphBatch(NamedTuple):
    """Several periodic graphs as one.

    Attributes
    ----------
    x : Tensor of shape (atoms, atom_dim)
    edge_index : Tensor of shape (2, edges), int64
    edge_attr : Tensor of shape (edges, bond_dim)
    graph : Tensor of shape (atoms,), int64
        The graph of each atom.
    size : Tensor of shape (graphs, 1)
        Atoms of each graph.
    """

    x: torch.Tensor
    edge_index: torch.Tensor
    edge_attr: torch.Tensor
    graph: torch.Tensor
    size: torch.Tensor


class ArrayInputs:
    """Rows of features ``(n, d)``."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = torch.as_tensor(np.asarray(x, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Sequence[int]) -> torch.Tensor:
        """Return some rows as one batch."""
        return self.x[list(rows)]


class GraphInputs:
    """Periodic graphs, stored end to end so that a batch is a few index operations."""

    def __init__(self, graphs: Sequence[Data]) -> None:
        self.graphs = list(graphs)

    def __len__(self) -> int:
        return len(self.graphs)

    def take(self, rows: Sequence[int]) -> GraphBatch:
        """Return some graphs as one batch."""
        graphs = [self.graphs[row] for row in rows]
        atoms = torch.tensor([len(graph.x) for graph in graphs])
        starts = torch.cumsum(atoms, 0) - atoms
        edges = torch.tensor([graph.edge_index.shape[1] for graph in graphs])
        shift = torch.repeat_interleave(starts, edges)
        return GraphBatch(
            x=torch.cat([graph.x for graph in graphs]),
            edge_index=torch.cat([graph.edge_index for graph in graphs], dim=1) + shift,
            edge_attr=torch.cat([graph.edge_attr for graph in graphs]),
            graph=torch.repeat_interleave(torch.arange(len(graphs)), atoms),
            size=atoms.to(torch.float32).unsqueeze(1),
        )


Inputs = ArrayInputs | GraphInputs
