"""Autoencoders: rebuild what they read from a short embedding."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import nn

from polyml.models.nn.inputs import TokenBatch
from polyml.models.nn.layers import FeatureScaler
from polyml.models.nn.module import Network
from polyml.models.nn.options import Optimisation
from polyml.models.nn.sequences import SequenceEncoder


class Autoencoder(Network):
    """The common part: from an input to an embedding, and back to what was read.

    A subclass writes :meth:`encode` and :meth:`errors`.

    Parameters
    ----------
    kind : {"plain", "denoising", "variational"}
        Denoising hides a part of the input during training (Vincent et al., ICML 2008). Variational draws the embedding
        from a normal distribution that is held close to the standard one (Kingma and Welling, ICLR 2014).
    n_components : int
        Length of the embedding.
    noise : float
        Part of the input that is hidden, of a denoising autoencoder.
    beta : float
        Weight of the distance between the distributions, of a variational one (Higgins et al., ICLR 2017).
    optimisation : Optimisation
    """

    def __init__(self, kind: str, n_components: int, noise: float, beta: float, optimisation: Optimisation) -> None:
        super().__init__(optimisation)
        self.kind, self.n_components, self.noise, self.beta = kind, n_components, noise, beta
        self.n_outputs = 2 * n_components if kind == "variational" else n_components

    @abstractmethod
    def encode(self, inputs: Any, noise: float) -> torch.Tensor:
        """Return outputs (n, n_outputs) of the encoder, with a part ``noise`` of the input hidden."""

    @abstractmethod
    def errors(self, embedding: torch.Tensor, inputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return how badly each input is rebuilt from its embedding, (n,)."""

    def embed(self, inputs: Any) -> torch.Tensor:
        """Return embeddings (n, n_components); of a variational autoencoder their means."""
        return self.encode(inputs, 0.0)[:, : self.n_components]

    def mean_and_variance(self, inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embeddings, and no variance, as a network of properties does: whoever predicts can embed too."""
        embedding = self.embed(inputs)
        return embedding, torch.zeros_like(embedding)

    def batch_loss(self, inputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return the mean error of what is rebuilt, and the distance of the distributions; ``y`` is what was read."""
        out = self.encode(inputs, self.noise if self.kind == "denoising" and self.training else 0.0)
        mean = out[:, : self.n_components]
        if self.kind != "variational":
            return self.errors(mean, inputs, y).mean()
        log_variance = out[:, self.n_components :].clamp(-10.0, 10.0)
        drawn = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean) * float(self.training)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).mean()
        return self.errors(drawn, inputs, y).mean() + self.beta * divergence


class ArrayAutoencoder(Autoencoder):
    """Rebuild scaled features.

    Parameters
    ----------
    columns : int
        Features of a polymer.
    width : int
        Hidden layers.
    kind, n_components, noise, beta, optimisation
        See :class:`Autoencoder`.
    """

    def __init__(
        self,
        columns: int,
        width: int,
        kind: str,
        n_components: int,
        noise: float,
        beta: float,
        optimisation: Optimisation,
    ) -> None:
        super().__init__(kind, n_components, noise, beta, optimisation)
        self.scale = FeatureScaler(columns)
        self.encoder = nn.Sequential(nn.Linear(columns, width), nn.SiLU(), nn.Linear(width, self.n_outputs))
        self.decoder = nn.Sequential(nn.Linear(n_components, width), nn.SiLU(), nn.Linear(width, columns))

    def encode(self, inputs: torch.Tensor, noise: float) -> torch.Tensor:
        """Return outputs of the encoder; what is hidden is set to its mean."""
        return self.encoder(nn.functional.dropout(self.scale(inputs), noise, training=noise > 0))

    def errors(self, embedding: torch.Tensor, inputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error over the scaled features of each polymer."""
        return ((self.decoder(embedding) - self.scale(inputs)) ** 2).mean(dim=1)


class SequenceAutoencoder(Autoencoder):
    """Write the canonical pSMILES from the embedding of any spelling.

    Winter et al.: Learning continuous and data-driven molecular descriptors by translating equivalent chemical
    representations. Chem. Sci. 10, 1692 (2019). An encoder of sequences reads, a GRU writes token by token.

    Parameters
    ----------
    encoder : SequenceEncoder
        What reads.
    vocabulary : int
        Number of different tokens; code 0 is padding.
    mask : int
        Code that stands for a hidden token.
    kind, n_components, noise, beta, optimisation
        See :class:`Autoencoder`.
    """

    def __init__(
        self,
        encoder: SequenceEncoder,
        vocabulary: int,
        mask: int,
        kind: str,
        n_components: int,
        noise: float,
        beta: float,
        optimisation: Optimisation,
    ) -> None:
        super().__init__(kind, n_components, noise, beta, optimisation)
        self.mask, width = mask, encoder.width
        self.encoder = encoder
        self.bottleneck = nn.Linear(encoder.out_width, self.n_outputs)
        self.start = nn.Linear(n_components, width)
        self.embed_token = nn.Embedding(vocabulary, width, padding_idx=0)
        self.writer = nn.GRU(width + n_components, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def encode(self, inputs: TokenBatch, noise: float) -> torch.Tensor:
        """Return outputs of the reading network behind its bottleneck."""
        if noise > 0:
            tokens = inputs.tokens
            hidden = (torch.rand(tokens.shape, device=tokens.device) < noise) & (tokens != 0)
            inputs = inputs._replace(tokens=tokens.masked_fill(hidden, self.mask))
        return self.bottleneck(self.encoder(inputs))

    def errors(self, embedding: torch.Tensor, inputs: TokenBatch, y: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy over the canonical tokens ``y`` (n, length) of each polymer."""
        out, after = self._write(embedding, y)
        loss = nn.functional.cross_entropy(out.transpose(1, 2), after, ignore_index=0, reduction="none")
        return loss.sum(dim=1) / (after != 0).sum(dim=1)

    def accuracy(self, inputs: TokenBatch, y: torch.Tensor) -> tuple[int, int]:
        """Return how many tokens are written right, given those before them, and how many there are."""
        out, after = self._write(self.embed(inputs), y)
        return int(((out.argmax(dim=2) == after) & (after != 0)).sum()), int((after != 0).sum())

    def _write(self, embedding: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return outputs (n, length - 1, vocabulary) for each token from those before it, and the true tokens."""
        truth = y.long()
        truth = truth[:, : int((truth != 0).sum(dim=1).max())]
        before, after = truth[:, :-1], truth[:, 1:]
        beside = embedding[:, None].expand(-1, before.shape[1], -1)
        first = torch.tanh(self.start(embedding))[None]
        states, _ = self.writer(torch.cat([self.embed_token(before), beside], dim=2), first)
        return self.head(states), after
