"""What the networks of an ensemble predict, over every way of writing a polymer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from polyml.models.nn.mc_dropout import dropout_variance

if TYPE_CHECKING:
    from polyml.models.nn.inputs import Inputs
    from polyml.models.nn.module import PropertyNetwork

_ROWS_AT_ONCE = 256


def member_predictions(
    networks: Sequence[PropertyNetwork], inputs: Inputs, samples: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of each network, each (members, n, t), averaged over views.

    The variance is that of the noise that the network predicts, and of so many samples of Monte Carlo dropout.
    """
    order, means, variances = inputs.order(), [], []
    with torch.inference_mode():
        for rows in order.split(_ROWS_AT_ONCE):
            pairs = [_average_views(network, inputs, rows.tolist()) for network in networks]
            means.append(torch.stack([mean for mean, _ in pairs]))
            variances.append(torch.stack([variance for _, variance in pairs]))
            if samples:
                given = (inputs, rows.tolist(), samples)
                spread = [dropout_variance(network, *given, member) for member, network in enumerate(networks)]
                variances[-1] += torch.stack(spread)
    mean, variance = (torch.cat(parts, dim=1)[:, torch.argsort(order)] for parts in (means, variances))
    return mean.double().numpy(), variance.double().numpy()


def _average_views(network: PropertyNetwork, inputs: Inputs, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and variance over the ways of writing the polymers, their disagreement included in the variance."""
    pairs = [network.mean_and_variance(inputs.take(rows, view)) for view in range(inputs.views)]
    means = torch.stack([mean for mean, _ in pairs])
    noise = torch.stack([variance for _, variance in pairs]).mean(dim=0)
    return means.mean(dim=0), noise + means.var(dim=0, correction=0)
