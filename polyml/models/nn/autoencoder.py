"""A denoising autoencoder of feature arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from polyml.models.nn.layers import FeatureScaler
from polyml.models.nn.module import Optimisation, TrainedInMemory


class DenoisingAutoencoder(TrainedInMemory):
    """Rebuild scaled features from a short embedding, with part of the inputs blanked.

    Parameters
    ----------
    columns : int
        Features of a polymer.
    n_components : int
        Length of the embedding.
    width : int
        Hidden layers.
    noise : float
        Part of the inputs set to their mean during training.
    optimisation : Optimisation
    """

    def __init__(self, columns: int, n_components: int, width: int, noise: float, optimisation: Optimisation) -> None:
        super().__init__(optimisation)
        self.scale = FeatureScaler(columns)
        self.noise = nn.Dropout(noise)
        self.encoder = nn.Sequential(nn.Linear(columns, width), nn.SiLU(), nn.Linear(width, n_components))
        self.decoder = nn.Sequential(nn.Linear(n_components, width), nn.SiLU(), nn.Linear(width, columns))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return embeddings (n, n_components) of features (n, columns)."""
        return self.encoder(self.scale(x))

    def batch_loss(self, inputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the rebuilt features; ``y`` holds the features themselves."""
        scaled = self.scale(y)
        return nn.functional.mse_loss(self.decoder(self.encoder(self.noise(self.scale(inputs)))), scaled)
