"""The networks: what all have in common, and that of properties."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from polyml.models.nn.layers import make_activation, stages
from polyml.models.nn.options import Optimisation
from polyml.models.nn.targets import ClassTargets, TargetScaler

HISTORY = ("train_loss", "val_loss", "lr", "grad_norm", "grad_ratio", "constant_loss")
"""What is kept of each epoch: losses; learning rate; mean norm of the gradient; smallest norm over largest among the
gradients of the weight matrices, in the first batch; loss of the best constant prediction."""


class Network(nn.Module):
    """Common part of the networks: what is trained and how, and the learning curve, which travels with the weights.

    A subclass writes :meth:`batch_loss`; :class:`polyml.training.module.NetworkTraining` trains it.

    Parameters
    ----------
    optimisation : Optimisation
    """

    history: torch.Tensor

    def __init__(self, optimisation: Optimisation) -> None:
        super().__init__()
        self.optimisation = optimisation
        # A buffer, so that it comes back from the processes of a run on several devices.
        self.register_buffer("history", torch.full((optimisation.max_epochs, len(HISTORY)), torch.nan))

    def batch_loss(self, inputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch."""
        raise NotImplementedError

    def loss_of_constant(self, y: torch.Tensor) -> float:
        """Return the loss of the best constant prediction of ``y``; NaN where there is none."""
        return math.nan

    def mean_and_variance(self, inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is predicted for a batch, and the variance of its noise, each (n, t)."""
        raise NotImplementedError

    def set_trained(self, part: float) -> None:
        """Set what is trained when this part of the training is done: all from the beginning."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the weights to train, with their share of the learning rate."""
        return [{"params": [weight for weight in self.parameters() if weight.requires_grad]}]

    def epochs(self) -> list[dict[str, float]]:
        """Return the learning curve, one row an epoch: ``epoch`` and what :data:`HISTORY` names."""
        return [
            {"epoch": epoch, **dict(zip(HISTORY, row, strict=True))}
            for epoch, row in enumerate(self.history.tolist())
            if row[0] == row[0]  # NaN: training ended before
        ]

    @property
    def diverged(self) -> int | None:
        """The epoch in which the loss or a weight became NaN or infinite."""
        bad = torch.isinf(self.history[:, 0]).nonzero()
        return int(bad[0]) if len(bad) else None


class PropertyNetwork(Network):
    """``targets(head(encoder(polymer)))``.

    Parameters
    ----------
    encoder : Module
        With ``out_width``.
    targets : TargetScaler or ClassTargets
    optimisation : Optimisation
    hidden : int
        Width of the head's hidden layer; 0 for none.
    dropout : float
    activation : str
    """

    def __init__(
        self,
        encoder: nn.Module,
        targets: TargetScaler | ClassTargets,
        optimisation: Optimisation,
        hidden: int = 128,
        dropout: float = 0.1,
        activation: str = "silu",
    ) -> None:
        super().__init__(optimisation)
        self.encoder = encoder
        self.targets = targets
        self._pretrained: tuple[nn.Module, ...] = ()  # in a tuple: a part of the encoder, no second module
        width = int(encoder.out_width)  # type: ignore[arg-type]
        if hidden:
            self.head = nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, hidden),
                make_activation(activation),
                nn.Dropout(dropout),
                nn.Linear(hidden, targets.n_outputs),
            )
        else:
            self.head = nn.Sequential(nn.Linear(width, targets.n_outputs))

    def start_from(self, pretrained: nn.Module) -> None:
        """Name the part of the encoder that is pretrained; the options say how it is fine-tuned."""
        self._pretrained = (pretrained,)

    def set_trained(self, part: float) -> None:
        """Set what is trained when this part of the training is done; see :class:`Optimisation`, ``finetune``."""
        if not self._pretrained or self.optimisation.finetune == "all":
            return
        layers = stages(self._pretrained[0])
        # The head alone at first; the last of the layers joins at half of the epochs.
        free = int(2 * part * len(layers)) if self.optimisation.finetune == "gradual" else 0
        for place, weights in enumerate(reversed(layers)):
            for weight in weights:
                weight.requires_grad_(place < free)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the weights to train, those of a pretrained encoder with their share of the learning rate."""
        pretrained = {id(weight) for part in self._pretrained for weight in part.parameters()}
        rest = [weight for weight in self.parameters() if id(weight) not in pretrained]
        if not pretrained or self.optimisation.finetune == "frozen":
            return [{"params": rest}]
        tuned = [weight for weight in self.parameters() if id(weight) in pretrained]
        return [{"params": tuned, "share": self.optimisation.encoder_lr}, {"params": rest}]

    def forward(self, inputs: Any) -> torch.Tensor:
        """Return targets (n, t) in the scale of ``y``, or probabilities (n, classes)."""
        return self.targets(self.head(self.encoder(inputs)))

    def mean_and_variance(self, inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the prediction and the predicted variance of its noise, zero where the loss gives none."""
        out = self.head(self.encoder(inputs))
        return self.targets(out), self.targets.variance(out)

    def loss_of_constant(self, y: torch.Tensor) -> float:
        """Return the loss of the best constant prediction of ``y``."""
        return float(self.targets.loss(self.targets.constant(y), y))

    def batch_loss(self, inputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return the masked loss of one batch."""
        return self.targets.loss(self.head(self.encoder(inputs)), y)
