"""Monte Carlo dropout: how far the predictions of a network spread when units are dropped as in training.

Gal and Ghahramani: Dropout as a Bayesian approximation. ICML 2016. A sample is one thinned network, the same for every
polymer and, as their dropout for recurrent networks is (NIPS 2016), for every atom and token: so a polymer gets the
same spread in every company and in every frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from polyml.models.nn.module import Network


@contextmanager
def thinned(network: nn.Module, *seed: int) -> Iterator[None]:
    """Drop units of a trained network inside the context; which ones follows from the seed."""
    calls = count()

    def drop(module: nn.Dropout, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept = np.random.default_rng([*seed, next(calls)]).random(output.shape[-1]) >= module.p
        return output * torch.as_tensor(kept, dtype=output.dtype, device=output.device) / (1.0 - module.p)

    hooks = [part.register_forward_hook(drop) for part in network.modules() if isinstance(part, nn.Dropout)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def dropout_variance(network: Network, views: Sequence[Any], samples: int, member: int) -> torch.Tensor:
    """Return the variance of the predictions of thinned networks, (n, t), each the mean over the ways of writing."""
    means = []
    for sample in range(samples):
        found = []
        for view in views:
            with thinned(network, member, sample):
                found.append(network.mean_and_variance(view)[0])
        means.append(torch.stack(found).mean(dim=0))
    return torch.stack(means).var(dim=0, correction=1)
