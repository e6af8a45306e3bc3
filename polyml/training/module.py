"""The Lightning module that trains a network."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule

from polyml.models.nn.module import Network
from polyml.models.nn.optimizers import make_optimizer, make_schedule


class NetworkTraining(LightningModule):
    """A network while it is trained: losses for early stopping, the learning curve, optimizer and schedule.

    Parameters
    ----------
    network : Network
    constant_loss : float
        Loss of the best constant prediction, for the learning curve.
    watched : {"val_loss", "train_loss"}
        The loss that a plateau schedule follows.
    """

    def __init__(self, network: Network, constant_loss: float, watched: str) -> None:
        super().__init__()
        self.network, self.constant_loss, self.watched = network, constant_loss, watched
        self._norms: list[torch.Tensor] = []
        self._trained: list[torch.nn.Parameter] = []
        self._losses: list[tuple[torch.Tensor, int]] = []
        self._ratio = torch.tensor(torch.nan)
        self._sound: bool | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the hook it is in some forty times a step; torch looks at each as a possible weight.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def training_step(self, batch: tuple[Any, torch.Tensor], index: int) -> torch.Tensor:
        """Return the loss of one batch, penalty on the weights included."""
        loss = self.network.batch_loss(*batch)
        # Kept here and not logged: Lightning's log costs an eighth of the time of a small network's step.
        self._losses.append((loss.detach(), len(batch[1])))
        if self.network.optimisation.l1:
            weights = [weight.abs().sum() for weight in self.parameters() if weight.requires_grad and weight.ndim > 1]
            loss = loss + self.network.optimisation.l1 * torch.stack(weights).sum()
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
            weights = [value for name, value in self.network.state_dict().items() if name != "history"]
            # The norm of the whole tells in one number; of a loss alone not: it is taken before the step that ruins.
            norms = torch.stack([value.norm() for value in weights if value.is_floating_point()])
            self._sound = bool(torch.isfinite(losses).all() and torch.isfinite(norms).all())
        return self._sound

    def validation_step(self, batch: tuple[Any, torch.Tensor], index: int) -> None:
        """Log the loss of one validation batch."""
        self.log("val_loss", self.network.batch_loss(*batch), batch_size=len(batch[1]), sync_dist=True)

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

    def on_train_epoch_start(self) -> None:
        """Unfreeze what is due."""
        self.network.set_trained(self.current_epoch / self.network.optimisation.max_epochs)

    def on_train_epoch_end(self) -> None:
        """Write the epoch into the history, and tell the plateau schedule its loss."""
        train, sound = self.epoch_loss(), self.epoch_is_sound()
        norms, self._norms, self._losses, self._sound = self._norms, [], [], None
        if self.current_epoch >= len(self.network.history):  # one more, in which averaged weights learn their norms
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
        self.network.history[self.current_epoch] = torch.stack([value.detach().float().cpu() for value in row])

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedule as :class:`~polyml.models.nn.options.Optimisation` names them."""
        optimizer = make_optimizer(self.network.optimisation, self.network.parameter_groups())
        steps = max(2, int(self.trainer.estimated_stepping_batches))
        return {
            "optimizer": optimizer,
            "lr_scheduler": make_schedule(self.network.optimisation, optimizer, steps, self.watched),
        }
