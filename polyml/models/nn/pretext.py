"""Networks for pretext tasks that need no label: fill in what was masked."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from polyml.models.nn.inputs import GraphBatch, TokenBatch
from polyml.models.nn.module import Network
from polyml.models.nn.options import Optimisation

_MASKED = 0.15


class MaskedPart(Network):
    """Predict the kind of masked atoms or tokens from what stands around them.

    A subclass writes :meth:`guess`.

    Parameters
    ----------
    encoder : Module
    kinds : int
        Number of different atoms or tokens.
    optimisation : Optimisation
    """

    def __init__(self, encoder: nn.Module, kinds: int, optimisation: Optimisation) -> None:
        super().__init__(optimisation)
        self.encoder = encoder
        width = int(encoder.width)  # type: ignore[arg-type]
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, kinds))

    def guess(self, inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask some parts; return outputs (masked, kinds) and the true kinds (masked,)."""
        raise NotImplementedError

    def batch_loss(self, inputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy over the masked parts; ``y`` is not used."""
        return nn.functional.cross_entropy(*self.guess(inputs))

    def accuracy(self, inputs: Any) -> tuple[int, int]:
        """Return how many masked parts are guessed right, and how many there are."""
        out, truth = self.guess(inputs)
        return int((out.argmax(dim=1) == truth).sum()), len(truth)


def _draw(allowed: torch.Tensor) -> torch.Tensor:
    """Choose a part of what is allowed, one at least."""
    chance = torch.rand(allowed.shape, device=allowed.device).masked_fill(~allowed, 1.0)
    return chance <= chance.min().clamp(min=_MASKED)


class MaskedAtoms(MaskedPart):
    """Predict the elements of masked atoms of periodic graphs.

    Hu et al.: Strategies for pre-training graph neural networks, ICLR 2020 (attribute masking).
    """

    def __init__(self, encoder: nn.Module, kinds: int, optimisation: Optimisation) -> None:
        super().__init__(encoder, kinds, optimisation)
        self.kinds = kinds

    def guess(self, inputs: GraphBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask atoms by zeros; the element stands one-hot in the first columns of an atom's features."""
        masked = _draw(torch.ones(len(inputs.x), dtype=torch.bool, device=inputs.x.device))
        truth = inputs.x[masked, : self.kinds].argmax(dim=1)
        hidden = inputs._replace(x=inputs.x.masked_fill(masked[:, None], 0.0))
        return self.head(self.encoder.atoms(hidden)[masked]), truth  # type: ignore[operator]


class MaskedTokens(MaskedPart):
    """Predict masked tokens of pSMILES.

    Devlin et al.: BERT, NAACL 2019; Xu et al.: TransPolymer, npj Comput. Mater. 9, 64 (2023).

    Parameters
    ----------
    mask : int
        Code of the token that stands for a masked one.
    """

    def __init__(self, encoder: nn.Module, kinds: int, optimisation: Optimisation, mask: int) -> None:
        super().__init__(encoder, kinds, optimisation)
        self.mask = mask

    def guess(self, inputs: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the mask in the place of some tokens, padding left out."""
        inside = inputs.tokens != 0
        masked = _draw(inside)
        hidden = inputs._replace(tokens=inputs.tokens.masked_fill(masked, self.mask))
        return self.head(self.encoder.tokens(hidden, inside)[masked]), inputs.tokens[masked]  # type: ignore[operator]
