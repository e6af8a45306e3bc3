"""From the outputs of a network to what is predicted, and the loss; parts of the network, so that a file holds them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from polyml.models.nn.options import NOISE_LOSSES
from polyml.models.targets import TargetBasis

_LOG_VARIANCE = 12.0  # bounds of a predicted log variance, so that one strange polymer cannot rule the loss
_BETA = 0.5  # between the likelihood (0) and least squares (1); the value that Seitzer et al. recommend

Result = TypeVar("Result")


def _full_precision(method: Callable[..., Result]) -> Callable[..., Result]:
    """Compute in float32 in mixed precision too: half a precision would round what is predicted."""

    @wraps(method)
    def call(self: nn.Module, out: torch.Tensor, *args: torch.Tensor) -> Result:
        if not torch.is_autocast_enabled(out.device.type):
            return method(self, out, *args)
        with torch.autocast(out.device.type, enabled=False):
            return method(self, out.float(), *args)

    return call


class TargetScaler(nn.Module):
    """Regression: from outputs to targets, and the masked loss.

    The network predicts the standardised quantities of a :class:`~polyml.models.targets.TargetBasis`: a root target,
    and contrasts to it. The loss is the mean error of these and of the targets themselves, each over its standard
    deviation, over what was measured.

    Parameters
    ----------
    n_targets : int
    loss : {"mse", "mae", "huber", "gaussian_nll", "beta_nll"}
        With the last two the network has a second output a target, the logarithm of its variance.
    """

    matrix: torch.Tensor
    center: torch.Tensor
    scale: torch.Tensor
    inverse: torch.Tensor
    y_scale: torch.Tensor

    def __init__(self, n_targets: int, loss: str = "mse") -> None:
        super().__init__()
        self.n_targets, self.loss_name = n_targets, loss
        self.gives_std = loss in NOISE_LOSSES
        self.n_outputs = 2 * n_targets if self.gives_std else n_targets
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

    def constant(self, y: torch.Tensor) -> torch.Tensor:
        """Return the outputs (n, n_outputs) of a network that knows nothing but the means."""
        return y.new_zeros(len(y), self.n_outputs)

    @_full_precision
    def forward(self, out: torch.Tensor) -> torch.Tensor:
        """Return targets (n, t) from outputs of the network."""
        return (self.center + self.scale * out[:, : self.n_targets]) @ self.matrix.T

    @_full_precision
    def variance(self, out: torch.Tensor) -> torch.Tensor:
        """Return the predicted noise variance of the targets, (n, t); zero where the loss gives none."""
        if not self.gives_std:
            return torch.zeros_like(out)
        return (self._z_variance(out) * self.scale**2) @ (self.matrix**2).T

    def _z_variance(self, out: torch.Tensor) -> torch.Tensor:
        return torch.exp(out[:, self.n_targets :].clamp(-_LOG_VARIANCE, _LOG_VARIANCE))

    @_full_precision
    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the masked loss of outputs against targets with NaN."""
        measured = ~torch.isnan(y)
        known = torch.where(measured, y, torch.zeros_like(y))
        # A contrast is known where all of its parts were measured.
        parts = (self.inverse != 0).to(y.dtype)
        z_known = (~measured).to(y.dtype) @ parts.T == 0
        z_error = (known @ self.inverse.T - self.center) / self.scale - out[:, : self.n_targets]
        y_error = (known - self(out)) / self.y_scale
        if self.gives_std:
            z_loss = self._likelihood(z_error, self._z_variance(out))
            y_loss = self._likelihood(y_error, self.variance(out) / self.y_scale**2)
        else:
            z_loss, y_loss = self._pointwise(z_error), self._pointwise(y_error)
        return _masked_mean(z_loss, z_known) + _masked_mean(y_loss, measured)

    def _likelihood(self, error: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.gaussian_nll_loss(error, torch.zeros_like(error), variance, reduction="none")
        return loss * variance.detach() ** _BETA if self.loss_name == "beta_nll" else loss

    def _pointwise(self, error: torch.Tensor) -> torch.Tensor:
        if self.loss_name == "mae":
            return error.abs()
        if self.loss_name == "huber":
            return nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none")
        return error**2


def _masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)


class ClassTargets(nn.Module):
    """Classification: from outputs to probabilities (softmax), and the cross-entropy over what has a label.

    Parameters
    ----------
    n_classes : int
    """

    weight: torch.Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_outputs = n_classes
        self.gives_std = False
        self.register_buffer("weight", torch.ones(n_classes))

    def fit(self, codes: np.ndarray, balanced: bool) -> ClassTargets:
        """Learn the weights of the classes from codes (n, 1) with NaN."""
        if balanced:
            count = np.bincount(codes[~np.isnan(codes)].astype(int), minlength=len(self.weight))
            weight = count.sum() / (len(count) * np.maximum(count, 1))
            self.weight = torch.as_tensor(weight, dtype=torch.float32)
        return self

    def constant(self, y: torch.Tensor) -> torch.Tensor:
        """Return the outputs (n, n_outputs) of a network that knows nothing but how common the classes are."""
        codes = y[~torch.isnan(y[:, 0]), 0].long()
        common = torch.bincount(codes, minlength=self.n_outputs) * self.weight
        return torch.log(common.clamp(min=1e-6)).expand(len(y), -1)

    def forward(self, out: torch.Tensor) -> torch.Tensor:
        """Return probabilities (n, classes) from outputs of the network."""
        return torch.softmax(out.float(), dim=1)

    def variance(self, out: torch.Tensor) -> torch.Tensor:
        """Return zeros: the noise of a label is in its probability."""
        return torch.zeros_like(out)

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of outputs against codes (n, 1) with NaN."""
        labelled = ~torch.isnan(y[:, 0])
        codes = torch.where(labelled, y[:, 0], torch.zeros_like(y[:, 0])).long()
        losses = nn.functional.cross_entropy(out, codes, weight=self.weight, reduction="none")
        return (losses * labelled).sum() / (self.weight[codes] * labelled).sum().clamp(min=1e-6)
