"""Optimizers and schedules of torch by name."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim import lr_scheduler

from polyml.models.nn.options import Optimisation

_CYCLED = 0.05  # how far the momentum runs to both sides in a one-cycle schedule


def make_optimizer(options: Optimisation, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return the optimizer over groups of weights; a group's ``share`` scales its learning rate."""
    groups = [{**group, "lr": options.lr * group.get("share", 1.0)} for group in groups]
    # On a GPU the fused step takes no gradient clipping in mixed precision.
    fused = all(weight.device.type == "cpu" for group in groups for weight in group["params"])
    decay = options.weight_decay
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            groups, options.lr, momentum=options.momentum, nesterov=options.nesterov, weight_decay=decay
        )
    if options.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, options.lr, momentum=options.momentum, weight_decay=decay)
    if options.optimizer == "adagrad":
        return torch.optim.Adagrad(groups, options.lr, weight_decay=decay)
    if options.optimizer == "adam":
        return torch.optim.Adam(groups, options.lr, weight_decay=decay, fused=fused)
    return torch.optim.AdamW(groups, options.lr, weight_decay=decay, fused=fused)


def make_schedule(options: Optimisation, optimizer: torch.optim.Optimizer, steps: int, watched: str) -> dict[str, Any]:
    """Return the schedule over ``steps`` batches as Lightning takes it; plateau follows the loss ``watched``."""
    if options.schedule == "plateau":
        ends = [group["lr"] * options.lr_end for group in optimizer.param_groups]
        patience = max(1, options.patience // 3)
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=patience, min_lr=ends)
        return {"scheduler": plateau, "interval": "epoch", "monitor": watched}
    if options.schedule == "one_cycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        # Momentum runs against the learning rate, where there is one; Adam's first beta stands for it.
        momentum = 0.9 if "betas" in optimizer.defaults else optimizer.defaults.get("momentum", 0.0)
        cycle = lr_scheduler.OneCycleLR(
            optimizer,
            rates,
            total_steps=steps,
            pct_start=options.warmup_part,
            cycle_momentum=momentum > 0.0,
            base_momentum=round(max(0.0, momentum - _CYCLED), 9),
            max_momentum=round(min(1.0, momentum + _CYCLED), 9),
        )
        return {"scheduler": cycle, "interval": "step"}
    rise = round(options.warmup_part * steps)
    main = _main_schedule(options, optimizer, max(1, steps - rise))
    if rise:
        warm = lr_scheduler.LinearLR(optimizer, 0.04, total_iters=rise)
        main = lr_scheduler.SequentialLR(optimizer, [warm, main], [rise])
    return {"scheduler": main, "interval": "step"}


def _main_schedule(options: Optimisation, optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    end = max(options.lr_end, 1e-8)
    if options.schedule == "cosine":
        # As a factor, so that each group of weights ends at its own share.
        return lr_scheduler.LambdaLR(
            optimizer, lambda step: end + 0.5 * (1.0 - end) * (1.0 + math.cos(math.pi * min(1.0, step / steps)))
        )
    if options.schedule == "step":
        return lr_scheduler.StepLR(optimizer, max(1, steps // 4), gamma=end ** (1 / 3))
    if options.schedule == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, end ** (1 / steps))
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=1)  # after a warm-up, or all along
