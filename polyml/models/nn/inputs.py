"""The inputs of a network, held in memory and cut into batches by row number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from polyml.features.graph_arrays import GraphArrays

if TYPE_CHECKING:
    from torch_geometric.data import Data

_COLUMNS_OF_A_PART = 256  # features that take about the room of an atom or a token in a network


class Inputs(Protocol):
    """Polymers as a network reads them.

    Attributes
    ----------
    views : int
        How many ways of writing a polymer are held; a network is trained on a random one and averages over all.
    rows_at_once : int
        Rows that a network reads at once on a CPU, where larger batches would leave its caches.
    """

    views: int
    rows_at_once: int

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int], view: int | None = 0) -> Any:
        """Return some rows as one batch, in one view or (None) each in a random one."""
        ...

    def order(self) -> torch.Tensor:
        """Return all rows in the order in which they are best read, (n,): those of like length side by side."""
        ...

    def parts(self) -> torch.Tensor:
        """Return how much room each row takes in a network, (n,), int64: its atoms, its tokens."""
        ...


class GraphBatch(NamedTuple):
    """Several periodic graphs as one.

    Attributes
    ----------
    x : Tensor of shape (atoms, atom_dim)
    edge_index : Tensor of shape (2, edges), int64
    edge_attr : Tensor of shape (edges, bond_dim)
    reverse : Tensor of shape (edges,), int64
        The edge that leads back over the same bond.
    graph : Tensor of shape (atoms,), int64
        The graph of each atom.
    size : Tensor of shape (graphs, 1)
        Atoms of each graph.
    """

    x: torch.Tensor
    edge_index: torch.Tensor
    edge_attr: torch.Tensor
    reverse: torch.Tensor
    graph: torch.Tensor
    size: torch.Tensor


class ArrayInputs:
    """Rows of features ``(n, d)``."""

    views = 1
    rows_at_once = 256

    def __init__(self, x: np.ndarray) -> None:
        self.x = torch.as_tensor(np.asarray(x, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Sequence[int], view: int | None = 0) -> torch.Tensor:
        """Return some rows as one batch."""
        return self.x[list(rows)]

    def order(self) -> torch.Tensor:
        """Return the rows as they stand."""
        return torch.arange(len(self))

    def parts(self) -> torch.Tensor:
        """Return how much room each row takes, (n,): the same for all, one for every so many columns."""
        return torch.full((len(self),), 1 + self.x.shape[1] // _COLUMNS_OF_A_PART)


class GraphInputs:
    """Periodic graphs, stored end to end so that a batch is a few index operations.

    Parameters
    ----------
    graphs : sequence of Data, or GraphArrays
        At least one.
    """

    views = 1
    rows_at_once = 64  # with 256 GIN and D-MPNN take a quarter to a half more time

    def __init__(self, graphs: Sequence[Data] | GraphArrays) -> None:
        # One tensor for all graphs: a batch is then a gather, whatever its size.
        if isinstance(graphs, GraphArrays):
            found = (graphs.x, graphs.ends, graphs.bonds, graphs.reverse, graphs.n_atoms, graphs.n_edges)
            tensors = [torch.from_numpy(array) for array in found]
            self._x, self._ends, self._bonds, self._reverse, self._atoms, self._edges = tensors
        else:
            self._x = torch.cat([graph.x for graph in graphs])
            self._ends = torch.cat([graph.edge_index for graph in graphs], dim=1)
            self._bonds = torch.cat([graph.edge_attr for graph in graphs])
            self._reverse = torch.cat([graph.reverse for graph in graphs])
            self._atoms = torch.tensor([len(graph.x) for graph in graphs])
            self._edges = torch.tensor([graph.edge_index.shape[1] for graph in graphs])
        self._atom_start = torch.cumsum(self._atoms, 0) - self._atoms
        self._edge_start = torch.cumsum(self._edges, 0) - self._edges

    @property
    def atom_dim(self) -> int:
        """Features of an atom."""
        return self._x.shape[1]

    @property
    def bond_dim(self) -> int:
        """Features of a bond."""
        return self._bonds.shape[1]

    def __len__(self) -> int:
        return len(self._atoms)

    def take(self, rows: Sequence[int], view: int | None = 0) -> GraphBatch:
        """Return some graphs as one batch."""
        chosen = torch.as_tensor(list(rows), dtype=torch.int64)
        atoms, edges = self._atoms[chosen], self._edges[chosen]
        atom_rows, atom_shift = _ranges(self._atom_start[chosen], atoms)
        edge_rows, edge_shift = _ranges(self._edge_start[chosen], edges)
        return GraphBatch(
            x=self._x[atom_rows],
            edge_index=self._ends[:, edge_rows] + torch.repeat_interleave(atom_shift, edges),
            edge_attr=self._bonds[edge_rows],
            reverse=self._reverse[edge_rows] + torch.repeat_interleave(edge_shift, edges),
            graph=torch.repeat_interleave(torch.arange(len(chosen)), atoms),
            size=atoms.to(torch.float32).unsqueeze(1),
        )

    def order(self) -> torch.Tensor:
        """Return the rows as they stand: graphs need no padding."""
        return torch.arange(len(self))

    def parts(self) -> torch.Tensor:
        """Return the atoms of each graph, (n,)."""
        return self._atoms


def _ranges(starts: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows of several ranges end to end, and where each begins in the result."""
    shift = torch.cumsum(lengths, 0) - lengths
    return torch.arange(int(lengths.sum())) + torch.repeat_interleave(starts - shift, lengths), shift


class TokenBatch(NamedTuple):
    """Several sequences of tokens.

    Attributes
    ----------
    tokens : Tensor of shape (n, length), int64
        Codes, 0 behind the end of a sequence.
    lengths : Tensor of shape (n,), int64
    """

    tokens: torch.Tensor
    lengths: torch.Tensor


class TokenInputs:
    """Token sequences, several for each polymer, stored end to end and padded only as far as a batch needs.

    Parameters
    ----------
    polymers : sequence of ndarray of shape (views, length)
        Codes with 0 behind the end of a sequence, as ``psmiles_tokens`` gives them.
    """

    rows_at_once = 256

    def __init__(self, polymers: Sequence[np.ndarray]) -> None:
        self.views = len(polymers[0])
        self._tokens = torch.from_numpy(np.concatenate([codes[codes != 0] for codes in polymers]))
        self._lengths = torch.from_numpy(np.stack([(codes != 0).sum(axis=1) for codes in polymers]))
        self._starts = (torch.cumsum(self._lengths.flatten(), 0) - self._lengths.flatten()).view_as(self._lengths)

    def __len__(self) -> int:
        return len(self._lengths)

    def take(self, rows: Sequence[int], view: int | None = 0) -> TokenBatch:
        """Return some polymers as one batch, in one view or (None) each in a random one."""
        chosen = torch.as_tensor(list(rows), dtype=torch.int64)
        views = torch.full_like(chosen, view) if view is not None else torch.randint(self.views, chosen.shape)
        lengths, starts = self._lengths[chosen, views], self._starts[chosen, views]
        places = torch.arange(int(lengths.max()))
        inside = places < lengths[:, None]
        tokens = self._tokens[torch.where(inside, starts[:, None] + places, 0)].to(torch.int64)
        return TokenBatch(torch.where(inside, tokens, 0), lengths)

    def order(self) -> torch.Tensor:
        """Return the rows by length: one long text does not pad a batch of short ones."""
        return torch.argsort(self.parts(), stable=True)

    def parts(self) -> torch.Tensor:
        """Return the tokens of the longest way of writing each polymer, (n,)."""
        return self._lengths.amax(dim=1)


class JointInputs:
    """Polymers read in two ways: what an encoder reads, and features ``(n, d)`` beside it."""

    def __init__(self, main: Inputs, beside: ArrayInputs) -> None:
        self.main, self.beside = main, beside
        self.views, self.rows_at_once = main.views, main.rows_at_once

    def __len__(self) -> int:
        return len(self.main)

    def take(self, rows: Sequence[int], view: int | None = 0) -> tuple[Any, torch.Tensor]:
        """Return some rows as one batch."""
        return self.main.take(rows, view), self.beside.take(rows)

    def order(self) -> torch.Tensor:
        """Return the rows in the order that suits the encoder's reading."""
        return self.main.order()

    def parts(self) -> torch.Tensor:
        """Return how much room both take, (n,)."""
        return self.main.parts() + self.beside.parts()
