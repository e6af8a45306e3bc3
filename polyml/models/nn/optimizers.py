"""Optimizers and schedules of torch by name."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import lr_scheduler

from polyml.models.nn.options import Optimisation


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
        plateau = lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.3, patience=max(1, options.patience // 3), min_lr=options.lr * options.lr_end
        )
        return {"scheduler": plateau, "interval": "epoch", "monitor": watched}
    if options.schedule == "one_cycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        # Momentum runs against the learning rate, where there is one.
        cycled = "betas" in optimizer.defaults or optimizer.defaults.get("momentum", 0.0) > 0.0
        cycle = lr_scheduler.OneCycleLR(
            optimizer, rates, total_steps=steps, pct_start=options.warmup_part, cycle_momentum=cycled
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
        return lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=options.lr * end)
    if options.schedule == "step":
        return lr_scheduler.StepLR(optimizer, max(1, steps // 4), gamma=end ** (1 / 3))
    if options.schedule == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, end ** (1 / steps))
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=1)  # after a warm-up, or all along
