"""Layers that the encoders share, and the encoder of feature arrays."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
import torch
from torch import nn

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": nn.LayerNorm,
    "batch": nn.BatchNorm1d,
    "none": lambda width: nn.Identity(),
}


def make_activation(name: str) -> nn.Module:
    """Return an activation by its name in :data:`polyml.models.nn.options.ACTIVATIONS`."""
    return _ACTIVATIONS[name]()


def make_norm(name: str, width: int) -> nn.Module:
    """Return a normalisation of rows (n, width) by its name in :data:`polyml.models.nn.options.NORMS`."""
    return _NORMS[name](width)


def stages(module: nn.Module) -> list[list[nn.Parameter]]:
    """Return the weights of a network stage by stage, from its input to its output.

    Lists of layers are taken apart; the members of several lists (layers and their norms) belong together place by
    place. A recurrent network is taken apart by its layers.

    Examples
    --------
    >>> [len(stage) for stage in stages(nn.Sequential(nn.Linear(2, 3), nn.SiLU(), nn.Linear(3, 1)))]
    [2, 2]
    """
    lists = [child for child in module.children() if isinstance(child, nn.ModuleList)]
    found: list[list[nn.Parameter]] = []
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            if child is lists[0]:
                found += [
                    [weight for layer in place if layer is not None for weight in layer.parameters()]
                    for place in zip_longest(*lists)
                ]
        elif any(isinstance(part, nn.ModuleList) for part in child.children()):
            found += stages(child)
        elif isinstance(child, nn.RNNBase):
            found += [
                [weight for name, weight in child.named_parameters() if f"_l{layer}" in name]
                for layer in range(child.num_layers)
            ]
        else:
            found.append(list(child.parameters()))
    return [stage for stage in found if stage]


class LayeredEncoder(nn.Module):
    """The common frame of encoders of atoms or tokens: ``depth`` layers, then mean and maximum over the parts.

    Parameters
    ----------
    width : int
        Length of the vector of a part.
    depth : int
        Layers.
    dropout : float
    activation, norm : str
        See :mod:`polyml.models.nn.options`.
    heads : int
        Attention heads, of the layers that have attention.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        dropout: float = 0.1,
        activation: str = "silu",
        norm: str = "layer",
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.width, self.depth, self.heads = width, depth, heads
        self.activation, self.norm, self.rate = activation, norm, dropout
        self.dropout = nn.Dropout(dropout)
        self.out_width = 2 * width


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


class DenseBlock(nn.Module):
    """A fully connected layer with normalisation, activation, dropout and, if asked for, a skip connection.

    The skip connection (He et al., CVPR 2016) stands only where input and output have the same length.

    Parameters
    ----------
    columns, width : int
        Length of input and output.
    activation, norm : str
    dropout : float
    skip : bool
    """

    def __init__(self, columns: int, width: int, activation: str, norm: str, dropout: float, skip: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(columns, width), make_norm(norm, width), make_activation(activation), nn.Dropout(dropout)
        )
        self.skip = skip and columns == width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return rows (n, width) from rows (n, columns)."""
        return x + self.layers(x) if self.skip else self.layers(x)


class ArrayEncoder(nn.Module):
    """Scaled features through fully connected layers with dropout.

    Parameters
    ----------
    columns, kept : int
        Features of a polymer, and those of them that are used.
    width : int
        Length of the vector of a polymer; with no hidden layer it is ``kept``.
    depth : int
        Hidden layers.
    dropout : float
    activation, norm : str
        See :mod:`polyml.models.nn.options`.
    skip : bool
        Skip connections around the layers.
    """

    columns: torch.Tensor

    def __init__(
        self,
        columns: int,
        kept: int,
        width: int = 256,
        depth: int = 2,
        dropout: float = 0.2,
        activation: str = "silu",
        norm: str = "layer",
        skip: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("columns", torch.arange(kept) % columns)
        self.scale = FeatureScaler(kept)
        self.blank = nn.Dropout(dropout / 2)
        sizes = [kept] + [width] * depth
        self.layers = nn.Sequential(*(DenseBlock(a, b, activation, norm, dropout, skip) for a, b in pairwise(sizes)))
        self.out_width = sizes[-1]

    def fit_columns(self, x: torch.Tensor, columns: np.ndarray) -> None:
        """Choose the columns to use and learn their scaling from training rows (n, d)."""
        self.columns = torch.as_tensor(columns, dtype=torch.int64)
        self.scale.fit(x[:, self.columns])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return vectors (n, width)."""
        return self.layers(self.blank(self.scale(x[:, self.columns])))


class JointEncoder(nn.Module):
    """Two encoders side by side, for :class:`polyml.models.nn.inputs.JointInputs`.

    Parameters
    ----------
    main : Module
        Reads the graphs or tokens.
    beside : ArrayEncoder
        Reads the features.
    """

    def __init__(self, main: nn.Module, beside: ArrayEncoder) -> None:
        super().__init__()
        self.main, self.beside = main, beside
        self.out_width = int(main.out_width) + beside.out_width  # type: ignore[arg-type]

    def forward(self, batch: tuple[Any, torch.Tensor]) -> torch.Tensor:
        """Return vectors (n, out_width)."""
        return torch.cat([self.main(batch[0]), self.beside(batch[1])], dim=1)
