"""The Lightning module of all property networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import nn

from polyml.models.targets import TargetBasis


@dataclass(frozen=True)
class Optimisation:
    """How a network is trained.

    Attributes
    ----------
    lr : float
        Highest learning rate of the one-cycle schedule.
    weight_decay : float
    max_epochs : int
    patience : int
        Epochs without a better validation loss before training ends.
    batch_size : int
    validation : float
        Part of the training polymers that early stopping watches.
    """

    lr: float = 1e-3
    weight_decay: float = 1e-2
    max_epochs: int = 100
    patience: int = 15
    batch_size: int = 32
    validation: float = 0.12


class TargetScaler(nn.Module):
    """From the outputs of a network to the targets, and the masked loss; part of the network, so a file predicts y.

    The network predicts the standardised quantities of a :class:`~polyml.models.targets.TargetBasis`: a root target,
    and contrasts to it. The loss is the mean squared error of these and of the targets themselves, each over its
    standard deviation, over what was measured.
    """

    matrix: torch.Tensor
    center: torch.Tensor
    scale: torch.Tensor
    inverse: torch.Tensor
    y_scale: torch.Tensor

    def __init__(self, n_targets: int) -> None:
        super().__init__()
        for name in ("center", "scale", "y_scale"):
            self.register_buffer(name, torch.ones(n_targets))
        for name in ("matrix", "inverse"):
            self.register_buffer(name, torch.eye(n_targets))

    def fit(self, y: np.ndarray, basis: TargetBasis) -> TargetScaler:
        """Learn from training targets (n, t) with NaN."""
        z = basis.to_basis(y)

        def spread(values: np.ndarray) -> torch.Tensor:
            std = np.nanstd(values, axis=0)
            return torch.as_tensor(np.where(std > 1e-8, std, 1.0), dtype=torch.float32)

        self.matrix = torch.as_tensor(basis.matrix, dtype=torch.float32)
        self.inverse = torch.as_tensor(np.linalg.inv(basis.matrix), dtype=torch.float32)
        self.center = torch.as_tensor(np.nanmean(z, axis=0), dtype=torch.float32)
        self.scale, self.y_scale = spread(z), spread(y)
        return self

    def forward(self, out: torch.Tensor) -> torch.Tensor:
        """Return targets (n, t) from outputs of the network."""
        return (self.center + self.scale * out) @ self.matrix.T

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the masked loss of outputs against targets with NaN."""
        measured = ~torch.isnan(y)
        known = torch.where(measured, y, torch.zeros_like(y))
        # A contrast is known where all of its parts were measured.
        parts = (self.inverse != 0).to(y.dtype)
        z_known = (~measured).to(y.dtype) @ parts.T == 0
        z_error = ((known @ self.inverse.T - self.center) / self.scale - out) * z_known
        y_error = ((known - self(out)) / self.y_scale) * measured
        return _mean_square(z_error, z_known) + _mean_square(y_error, measured)


def _mean_square(error: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (error**2).sum() / mask.sum().clamp(min=1)


class TrainedInMemory(LightningModule):
    """Common part of the networks: losses logged for early stopping, learning curves kept, AdamW under one cycle.

    A subclass writes :meth:`batch_loss`.

    Parameters
    ----------
    optimisation : Optimisation
    """

    history: torch.Tensor

    def __init__(self, optimisation: Optimisation) -> None:
        super().__init__()
        self.optimisation = optimisation
        # Epoch by epoch: train loss, validation loss, learning rate. A buffer, so that it comes back from the
        # processes of a run on several devices, and travels with the weights.
        self.register_buffer("history", torch.full((optimisation.max_epochs, 3), torch.nan))

    def batch_loss(self, inputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch."""
        raise NotImplementedError

    def training_step(self, batch: tuple[Any, torch.Tensor], index: int) -> torch.Tensor:
        """Return the loss of one batch."""
        loss = self.batch_loss(*batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[1]), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Any, torch.Tensor], index: int) -> None:
        """Log the loss of one validation batch."""
        self.log("val_loss", self.batch_loss(*batch), batch_size=len(batch[1]), sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Write the epoch into the history."""
        metrics = self.trainer.callback_metrics
        missing = torch.tensor(torch.nan)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        row = [metrics.get("train_loss", missing), metrics.get("val_loss", missing), torch.tensor(rate)]
        self.history[self.current_epoch] = torch.stack([value.detach().float().cpu() for value in row]).to(self.device)

    def configure_optimizers(self) -> Any:
        """AdamW under a one-cycle schedule (Smith and Topin 2019)."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.optimisation.lr, weight_decay=self.optimisation.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self.optimisation.lr,
            total_steps=max(2, int(self.trainer.estimated_stepping_batches)),
            pct_start=0.15,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class PropertyNetwork(TrainedInMemory):
    """``targets(head(encoder(polymer)))``.

    Parameters
    ----------
    encoder : Module
        With ``out_width``.
    n_targets : int
    optimisation : Optimisation
    hidden : int
        Width of the head's hidden layer.
    dropout : float
    """

    def __init__(
        self,
        encoder: nn.Module,
        n_targets: int,
        optimisation: Optimisation,
        hidden: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(optimisation)
        self.encoder = encoder
        width = int(encoder.out_width)  # type: ignore[arg-type]
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, n_targets)
        )
        self.targets = TargetScaler(n_targets)

    def forward(self, inputs: Any) -> torch.Tensor:
        """Return targets (n, t), in the scale of ``y``."""
        return self.targets(self.head(self.encoder(inputs)))

    def batch_loss(self, inputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return the masked loss of one batch."""
        return self.targets.loss(self.head(self.encoder(inputs)), y)
