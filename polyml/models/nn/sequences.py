"""Encoders of token sequences: torch's own layers, then a pooling over the tokens.

What stands behind the end of a sequence never reaches a vector, so a polymer gets the same one alone and in a batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from polyml.models.nn.inputs import TokenBatch
from polyml.models.nn.layers import LayeredEncoder, make_activation, make_norm


def pool_tokens(x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return mean and maximum over the tokens of each sequence, (n, 2 width), from x (n, length, width).

    ``inside`` (n, length) tells the tokens from the padding.
    """
    mask = inside.unsqueeze(2)
    mean = torch.where(mask, x, 0.0).sum(dim=1) / mask.sum(dim=1)
    return torch.cat([mean, torch.where(mask, x, -torch.inf).amax(dim=1)], dim=1)


class SequenceEncoder(LayeredEncoder):
    """The common frame: tokens embedded, ``depth`` layers, pooling.

    Parameters
    ----------
    vocabulary : int
        Number of different tokens; code 0 is padding.
    width, depth, dropout, activation, norm, heads
        See :class:`polyml.models.nn.layers.LayeredEncoder`.
    """

    def __init__(self, vocabulary: int, width: int = 128, depth: int = 2, **options: Any) -> None:
        super().__init__(width, depth, **options)
        self.embed = nn.Embedding(vocabulary, width, padding_idx=0)
        self._build()

    @abstractmethod
    def _build(self) -> None:
        """Make the layers."""

    @abstractmethod
    def tokens(self, batch: TokenBatch, inside: torch.Tensor) -> torch.Tensor:
        """Return the vectors of the tokens, (n, length, width)."""

    def forward(self, batch: TokenBatch) -> torch.Tensor:
        """Return vectors (n, out_width)."""
        inside = batch.tokens != 0
        return pool_tokens(self.tokens(batch, inside), inside)


class ConvolutionEncoder(SequenceEncoder):
    """One-dimensional convolutions, each layer with its own width of kernel and a skip connection around it.

    The sequences of a batch stand end to end, with as many zeros between them as the widest kernel reaches: no time
    goes into the padding of short ones.
    """

    kernels = (3, 5, 9)

    def _build(self) -> None:
        kernels = [self.kernels[layer % len(self.kernels)] for layer in range(self.depth)]
        self.gap = max(kernels) // 2
        self.convolutions = nn.ModuleList(nn.Conv1d(self.width, self.width, k, padding="same") for k in kernels)
        self.norms = nn.ModuleList(make_norm(self.norm, self.width) for _ in kernels)
        self.act = make_activation(self.activation)

    def tokens(self, batch: TokenBatch, inside: torch.Tensor) -> torch.Tensor:
        """Return the vectors of the tokens, (n, length, width)."""
        spaced = nn.functional.pad(batch.tokens, (0, self.gap))
        places = torch.arange(spaced.shape[1], device=spaced.device)
        line = spaced[places < batch.lengths[:, None] + self.gap]
        there = line != 0
        x: torch.Tensor = self.dropout(self.embed(line[there]))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            channels = x.new_zeros(len(line), self.width).masked_scatter(there[:, None], norm(x))
            x = x + self.dropout(self.act(convolution(channels.T[None])[0].T[there]))
        return x.new_zeros(*inside.shape, self.width).masked_scatter(inside.unsqueeze(2), x)


class RecurrentEncoder(SequenceEncoder):
    """Recurrent layers that read the tokens in both directions, ``width / 2`` numbers each, added to the embeddings."""

    layer: type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]

    def _build(self) -> None:
        rate = self.rate if self.depth > 1 else 0.0
        self.layers = self.layer(
            self.width, self.width // 2, self.depth, batch_first=True, dropout=rate, bidirectional=True
        )
        self.normalise = make_norm(self.norm, self.width)

    def tokens(self, batch: TokenBatch, inside: torch.Tensor) -> torch.Tensor:
        """Return the vectors of the tokens, (n, length, width)."""
        packed = pack_padded_sequence(batch.tokens, batch.lengths.cpu(), batch_first=True, enforce_sorted=False)
        embedded = packed._replace(data=self.dropout(self.embed(packed.data)))
        read = self.layers(embedded)[0]
        read = read._replace(data=embedded.data + self.dropout(self.normalise(read.data)))
        x: torch.Tensor = pad_packed_sequence(read, batch_first=True, total_length=inside.shape[1])[0]
        return x


class RNNEncoder(RecurrentEncoder):
    """Elman's network: Elman, Cogn. Sci. 14, 179 (1990)."""

    layer = nn.RNN


class LSTMEncoder(RecurrentEncoder):
    """Long short-term memory: Hochreiter and Schmidhuber, Neural Comput. 9, 1735 (1997)."""

    layer = nn.LSTM


class GRUEncoder(RecurrentEncoder):
    """Gated recurrent units: Cho et al., EMNLP 2014."""

    layer = nn.GRU


class TransformerEncoder(SequenceEncoder):
    """Attention between all tokens: Vaswani et al., NIPS 2017; normalised before each part: Xiong et al., ICML 2020.

    A convolution over five tokens comes first (Xiao et al., NeurIPS 2021). Attention alone would have to learn from a
    few hundred polymers which tokens stand side by side.
    """

    def _build(self) -> None:
        self.stem = nn.Conv1d(self.width, self.width, 5, padding="same")
        layer = nn.TransformerEncoderLayer(
            self.width,
            self.heads,
            2 * self.width,
            self.rate,
            # Wrapped, since a bare ReLU or GELU takes a path in torch that holds all pairs of tokens in memory.
            nn.Sequential(make_activation(self.activation)),
            batch_first=True,
            norm_first=True,
        )
        # With dropout on its weights, torch computes attention in another way that takes three times as long.
        layer.self_attn.dropout = 0.0
        self.layers = nn.TransformerEncoder(layer, self.depth, nn.LayerNorm(self.width), enable_nested_tensor=False)

    def tokens(self, batch: TokenBatch, inside: torch.Tensor) -> torch.Tensor:
        """Return the vectors of the tokens, (n, length, width)."""
        x = self.embed(batch.tokens)  # zeros where the padding is
        x = x + self.stem(x.transpose(1, 2)).transpose(1, 2) + positions(x.shape[1], self.width, x.device)
        vectors: torch.Tensor = self.layers(self.dropout(x), src_key_padding_mask=~inside)
        return vectors


def positions(length: int, width: int, device: torch.device) -> torch.Tensor:
    """Return sines and cosines that tell the places of tokens, (length, width)."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    angles = torch.arange(length, device=device).unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


ENCODERS: dict[str, type[SequenceEncoder]] = {
    "cnn": ConvolutionEncoder,
    "rnn": RNNEncoder,
    "lstm": LSTMEncoder,
    "gru": GRUEncoder,
    "transformer": TransformerEncoder,
}
"""Encoder of each sequence model by its key."""
