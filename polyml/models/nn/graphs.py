"""Encoders of periodic graphs: message passing, then a pooling over the atoms.

All of them answer the same for every frame and multiple of a repeat unit. What an atom receives depends on its
neighbourhood in the infinite chain alone; no layer adds self-loops, which would be confused with a bond to the atom's
own image; and atoms are averaged and never summed: a doubled unit has each atom twice, so its mean is the same and its
sum is not. The largest value over the atoms, which is the same too, stands beside the mean.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import nn
from torch_geometric.nn import AttentiveFP, GATv2Conv, GCNConv, GINEConv, GPSConv

from polyml.models.nn.inputs import GraphBatch
from polyml.models.nn.layers import LayeredEncoder, make_activation, make_norm


def pool_atoms(atoms: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
    """Return mean and maximum over the atoms of each graph, (graphs, 2 width), from atoms (atoms, width)."""
    empty = atoms.new_zeros(len(batch.size), atoms.shape[1])
    mean = empty.index_add(0, batch.graph, atoms) / batch.size
    index = batch.graph.unsqueeze(1).expand_as(atoms)
    largest = empty.scatter_reduce(0, index, atoms, reduce="amax", include_self=False)
    return torch.cat([mean, largest], dim=1)


class GraphEncoder(LayeredEncoder):
    """The common frame: atoms and bonds embedded, ``depth`` layers, pooling.

    Parameters
    ----------
    atom_dim, bond_dim : int
        Features of an atom and of a bond.
    width, depth, dropout, activation, norm, heads
        See :class:`polyml.models.nn.layers.LayeredEncoder`; ``depth`` tells how many bonds far an atom sees.
    """

    def __init__(self, atom_dim: int, bond_dim: int, width: int = 128, depth: int = 4, **options: Any) -> None:
        super().__init__(width, depth, **options)
        self._build(atom_dim, bond_dim)

    @abstractmethod
    def _build(self, atom_dim: int, bond_dim: int) -> None:
        """Make the layers."""

    @abstractmethod
    def atoms(self, batch: GraphBatch) -> torch.Tensor:
        """Return the vectors of the atoms, (atoms, width)."""

    def forward(self, batch: GraphBatch) -> torch.Tensor:
        """Return vectors (graphs, out_width)."""
        return pool_atoms(self.atoms(batch), batch)


class ResidualEncoder(GraphEncoder):
    """Layers that each add to the atoms what they make of the normalised atoms."""

    def _build(self, atom_dim: int, bond_dim: int) -> None:
        self.embed_atom = nn.Linear(atom_dim, self.width)
        self.embed_bond = nn.Linear(bond_dim, self.width)
        self.convolutions = nn.ModuleList(self._layer() for _ in range(self.depth))
        self.norms = nn.ModuleList(make_norm(self.norm, self.width) for _ in range(self.depth))

    @abstractmethod
    def _layer(self) -> nn.Module:
        """Return one layer."""

    def _convolve(self, layer: nn.Module, atoms: torch.Tensor, bonds: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        result: torch.Tensor = layer(atoms, batch.edge_index, bonds)
        return result

    def atoms(self, batch: GraphBatch) -> torch.Tensor:
        """Return the vectors of the atoms, (atoms, width)."""
        bonds = self.embed_bond(batch.edge_attr)
        atoms: torch.Tensor = self.embed_atom(batch.x)
        for layer, norm in zip(self.convolutions, self.norms, strict=True):
            atoms = atoms + self.dropout(self._convolve(layer, norm(atoms), bonds, batch))
        return atoms

    def _perceptron(self) -> nn.Module:
        width = self.width
        return nn.Sequential(nn.Linear(width, width), make_activation(self.activation), nn.Linear(width, width))


class GINEncoder(ResidualEncoder):
    """Graph isomorphism network with bonds: Hu et al., ICLR 2020."""

    def _layer(self) -> nn.Module:
        return GINEConv(self._perceptron(), train_eps=True)


class GCNEncoder(ResidualEncoder):
    """Graph convolutional network: Kipf and Welling, ICLR 2017. It reads the bonds' places and not their kinds."""

    def _layer(self) -> nn.Module:
        return GCNConv(self.width, self.width, add_self_loops=False)

    def _convolve(self, layer: nn.Module, atoms: torch.Tensor, bonds: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        return make_activation(self.activation)(layer(atoms, batch.edge_index))


class GATEncoder(ResidualEncoder):
    """Graph attention network, second version: Brody et al., ICLR 2022."""

    def _layer(self) -> nn.Module:
        part = self.width // self.heads
        return GATv2Conv(self.width, part, self.heads, edge_dim=self.width, dropout=self.rate, add_self_loops=False)

    def _convolve(self, layer: nn.Module, atoms: torch.Tensor, bonds: torch.Tensor, batch: GraphBatch) -> torch.Tensor:
        return make_activation(self.activation)(layer(atoms, batch.edge_index, bonds))


class GPSEncoder(ResidualEncoder):
    """Message passing beside attention between all atoms of a unit: Rampášek et al., NeurIPS 2022.

    Without positional encodings: those of a graph are not those of the infinite chain.
    """

    def _build(self, atom_dim: int, bond_dim: int) -> None:
        super()._build(atom_dim, bond_dim)
        self.norms = nn.ModuleList()  # a GPS layer has its own

    def _layer(self) -> nn.Module:
        norm: dict[str, Any] = {"norm": None if self.norm == "none" else f"{self.norm}_norm"}
        if self.norm == "layer":
            norm["norm_kwargs"] = {"mode": "node"}
        act = make_activation(self.activation)
        local = GINEConv(self._perceptron(), train_eps=True)
        return GPSConv(self.width, local, heads=self.heads, dropout=self.rate, act=act, **norm)

    def atoms(self, batch: GraphBatch) -> torch.Tensor:
        """Return the vectors of the atoms, (atoms, width)."""
        bonds, atoms = self.embed_bond(batch.edge_attr), self.embed_atom(batch.x)
        for layer in self.convolutions:
            atoms = layer(atoms, batch.edge_index, batch.graph, edge_attr=bonds)
        result: torch.Tensor = atoms
        return result


class DirectedEncoder(GraphEncoder):
    """Directed message passing (D-MPNN): Yang et al., J. Chem. Inf. Model. 59, 3370 (2019).

    Messages live on bonds, one for each direction; a bond does not hear what it has just said.
    """

    def _build(self, atom_dim: int, bond_dim: int) -> None:
        self.atom_in = nn.Linear(atom_dim, self.width, bias=False)
        self.bond_in = nn.Linear(bond_dim, self.width, bias=False)
        self.hidden = nn.Linear(self.width, self.width, bias=False)
        self.atom_out = nn.Linear(atom_dim, self.width)
        self.message_out = nn.Linear(self.width, self.width, bias=False)
        self.act = make_activation(self.activation)
        self.normalise = make_norm(self.norm, self.width)

    def atoms(self, batch: GraphBatch) -> torch.Tensor:
        """Return the vectors of the atoms, (atoms, width)."""
        source, target = batch.edge_index
        # One linear map of atom and bond together, taken apart so that the atoms' part runs once an atom.
        first = self.atom_in(batch.x)[source] + self.bond_in(batch.edge_attr)
        message = self.act(first)
        empty = message.new_zeros(len(batch.x), self.width)
        for _ in range(self.depth - 1):
            received = empty.index_add(0, target, message)[source] - message[batch.reverse]
            message = self.dropout(self.act(first + self.hidden(received)))
        received = empty.index_add(0, target, message)
        atoms = self.act(self.atom_out(batch.x) + self.message_out(received))
        return self.dropout(self.normalise(atoms))


class AttentiveEncoder(GraphEncoder):
    """AttentiveFP: Xiong et al., J. Med. Chem. 63, 8749 (2020).

    PyG's layers. The vector of a graph begins as the mean of its atoms; the paper takes their sum, which a doubled unit
    would double.
    """

    timesteps = 2

    def _build(self, atom_dim: int, bond_dim: int) -> None:
        self.net = AttentiveFP(atom_dim, self.width, 1, bond_dim, max(self.depth, 1), self.timesteps, self.rate)
        self.net.lin2 = nn.Identity()
        self.out_width = self.width

    def atoms(self, batch: GraphBatch) -> torch.Tensor:
        """Return the vectors of the atoms, (atoms, width)."""
        net = self.net
        x = nn.functional.leaky_relu(net.lin1(batch.x))
        received = self.dropout(nn.functional.elu(net.gate_conv(x, batch.edge_index, batch.edge_attr)))
        x = net.gru(received, x).relu()
        for convolution, gru in zip(net.atom_convs, net.atom_grus, strict=True):
            received = self.dropout(nn.functional.elu(convolution(x, batch.edge_index)))
            x = gru(received, x).relu()
        result: torch.Tensor = x
        return result

    def forward(self, batch: GraphBatch) -> torch.Tensor:
        """Return vectors (graphs, width)."""
        x = self.atoms(batch)
        members = torch.stack([torch.arange(len(x), device=x.device), batch.graph])
        mean = x.new_zeros(len(batch.size), x.shape[1]).index_add(0, batch.graph, x) / batch.size
        graph = mean.relu()
        for _ in range(self.timesteps):
            read = nn.functional.elu(self.net.mol_conv((x, graph), members))
            graph = self.net.mol_gru(self.dropout(read), graph).relu()
        return graph


ENCODERS: dict[str, type[GraphEncoder]] = {
    "gcn": GCNEncoder,
    "gat": GATEncoder,
    "gin": GINEncoder,
    "dmpnn": DirectedEncoder,
    "attentivefp": AttentiveEncoder,
    "gps": GPSEncoder,
}
"""Encoder of each graph model by its key."""
