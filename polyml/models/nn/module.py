"""The Lightning module of all networks."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import LightningModule
from torch import nn

from polyml.models.nn.layers import make_activation, stages
from polyml.models.nn.optimizers import make_optimizer, make_schedule
from polyml.models.nn.options import Optimisation
from polyml.models.nn.targets import ClassTargets, TargetScaler

HISTORY = ("train_loss", "val_loss", "lr", "grad_norm", "grad_ratio", "constant_loss")
"""What is kept of each epoch: losses; learning rate; mean norm of the gradient; smallest norm over largest among the
gradients of the weight matrices, in the first batch; loss of the best constant prediction."""


class TrainedInMemory(LightningModule):
    """Common part of the networks: losses logged for early stopping, learning curves kept, optimizer and schedule.

    A subclass writes :meth:`batch_loss`.

    Parameters
    ----------
    optimisation : Optimisation
    """

    history: torch.Tensor

    def __init__(self, optimisation: Optimisation) -> None:
        super().__init__()
        self.optimisation = optimisation
        # A buffer, so that it comes back from the processes of a run on several devices, and travels with the weights.
        self.register_buffer("history", torch.full((optimisation.max_epochs, len(HISTORY)), torch.nan))
        self._norms: list[torch.Tensor] = []
        self._trained: list[torch.nn.Parameter] = []
        self._losses: list[tuple[torch.Tensor, int]] = []
        self._ratio = torch.tensor(torch.nan)
        self._sound: bool | None = None
        self.constant_loss = math.nan
        self.watched = "val_loss"  # the loss that a plateau schedule follows

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the hook it is in some forty times a step; torch looks at each as a possible weight.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def batch_loss(self, inputs: Any, y: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch."""
        raise NotImplementedError

    def mean_and_variance(self, inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is predicted for a batch, and the variance of its noise, each (n, t)."""
        raise NotImplementedError

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

    def training_step(self, batch: tuple[Any, torch.Tensor], index: int) -> torch.Tensor:
        """Return the loss of one batch, penalty on the weights included."""
        loss = self.batch_loss(*batch)
        # Kept here and not logged: Lightning's log costs an eighth of the time of a small network's step.
        self._losses.append((loss.detach(), len(batch[1])))
        if self.optimisation.l1:
            weights = [weight.abs().sum() for weight in self.parameters() if weight.requires_grad and weight.ndim > 1]
            loss = loss + self.optimisation.l1 * torch.stack(weights).sum()
        return loss

    def epoch_loss(self) -> torch.Tensor:
        """Return the mean training loss of the epoch so far, over all devices."""
        rows = sum(size for _, size in self._losses)
        mean = torch.stack([loss * (size / rows) for loss, size in self._losses]).sum()
        found: torch.Tensor = self.trainer.strategy.reduce(mean, reduce_op="mean")
        return found

    def epoch_is_sound(self) -> bool:
        """Tell whether the losses of the epoch and the weights at its end are finite numbers."""
        if self._sound is None:
            train = self.epoch_loss()
            losses = torch.stack([train, self.trainer.callback_metrics.get(self.watched, train).to(train)])
            weights = [value for name, value in self.state_dict().items() if name != "history"]
            # The norm of the whole tells in one number; of a loss alone not: it is taken before the step that ruins.
            norms = torch.stack([value.norm() for value in weights if value.is_floating_point()])
            self._sound = bool(torch.isfinite(losses).all() and torch.isfinite(norms).all())
        return self._sound

    def loss_of_constant(self, y: torch.Tensor) -> float:
        """Return the loss of the best constant prediction of ``y``; NaN where there is none."""
        return math.nan

    def validation_step(self, batch: tuple[Any, torch.Tensor], index: int) -> None:
        """Log the loss of one validation batch."""
        self.log("val_loss", self.batch_loss(*batch), batch_size=len(batch[1]), sync_dist=True)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient, and note its norm before: one pass for both."""
        if not self._norms:
            self._ratio = self._gradient_ratio()
        largest = gradient_clip_val or torch.inf
        self._norms.append(torch.nn.utils.clip_grad_norm_(self._trained, largest).detach())

    def _gradient_ratio(self) -> torch.Tensor:
        norms = [w.grad.norm() for w in self._trained if w.ndim > 1 and w.grad is not None]
        if len(norms) < 2:
            return torch.tensor(torch.nan)
        found = torch.stack(norms)
        return found.min() / found.max()

    def on_fit_start(self) -> None:
        """Take down the weights once: a walk over the modules costs as much as a small step."""
        self._trained = list(self.parameters())
        self._norms, self._losses, self._sound = [], [], None  # what an attempt without enough memory left

    def on_train_epoch_end(self) -> None:
        """Write the epoch into the history, and tell the plateau schedule its loss."""
        train, sound = self.epoch_loss(), self.epoch_is_sound()
        norms, self._norms, self._losses, self._sound = self._norms, [], [], None
        if self.current_epoch >= len(self.history):  # one more, in which averaged weights learn their norms
            return
        metrics = self.trainer.callback_metrics
        missing = torch.tensor(torch.nan)
        rate = torch.tensor(self.trainer.optimizers[0].param_groups[-1]["lr"])
        norm = torch.stack(norms).mean() if norms else missing
        self.log("train_loss", train)
        # A loss that is no number is kept as infinite: NaN marks the epochs that were not run.
        train = train if sound else torch.full_like(train, torch.inf)
        constant = torch.tensor(self.constant_loss)
        row = [train, metrics.get("val_loss", missing), rate, norm, self._ratio, constant]
        self.history[self.current_epoch] = torch.stack([value.detach().float().cpu() for value in row]).to(self.device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the weights to train, with their share of the learning rate."""
        return [{"params": [weight for weight in self.parameters() if weight.requires_grad]}]

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedule as :class:`~polyml.models.nn.options.Optimisation` names them."""
        optimizer = make_optimizer(self.optimisation, self.parameter_groups())
        steps = max(2, int(self.trainer.estimated_stepping_batches))
        return {
            "optimizer": optimizer,
            "lr_scheduler": make_schedule(self.optimisation, optimizer, steps, self.watched),
        }


class PropertyNetwork(TrainedInMemory):
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

    def on_train_epoch_start(self) -> None:
        """Unfreeze what is due."""
        self.set_trained(self.current_epoch / self.optimisation.max_epochs)

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
