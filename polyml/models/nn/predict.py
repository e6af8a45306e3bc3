"""What the networks of an ensemble predict, over every way of writing a polymer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch

from polyml.errors import UserError
from polyml.models.nn.devices import (
    BatchSize,
    BatchTooLarge,
    exact_arithmetic,
    inference_device,
    is_out_of_memory,
    moved,
    resident,
)
from polyml.models.nn.mc_dropout import dropout_variance

if TYPE_CHECKING:
    from polyml.models.nn.inputs import Inputs
    from polyml.models.nn.module import Network

Networks = Sequence["Network"]
"""Those that say what they predict by ``mean_and_variance``."""
Predicted = tuple[torch.Tensor, torch.Tensor]
"""Mean and variance of each network on the CPU, each (members, n, t)."""


class Runner(Protocol):
    """Who has networks predict a batch.

    Attributes
    ----------
    device : torch.device
        The kind of device it does so on.
    """

    device: torch.device

    def batch_size(self, networks: Networks) -> BatchSize:
        """Return how much these networks are given at once."""
        ...

    def run(self, networks: Networks, views: Sequence[Any], samples: int) -> Predicted:
        """Return what :func:`predict_batch` returns.

        Raises
        ------
        BatchTooLarge
            The memory of the device does not hold the batch.
        """
        ...


class LocalRunner:
    """Predicts in this process, on one device.

    Parameters
    ----------
    device : torch.device
    grows : bool
        See :class:`polyml.models.nn.devices.BatchSize`.
    """

    _of_all: WeakKeyDictionary[Any, BatchSize] = WeakKeyDictionary()

    def __init__(self, device: torch.device, *, grows: bool = True) -> None:
        self.device, self._grows = device, grows
        self._sizes = self._of_all if grows else WeakKeyDictionary[Any, BatchSize]()

    def batch_size(self, networks: Networks) -> BatchSize:
        """Return how much these networks are given at once; it is remembered from call to call."""
        return self._sizes.setdefault(networks[0], BatchSize(grows=self._grows))

    def run(self, networks: Networks, views: Sequence[Any], samples: int) -> Predicted:
        """Return what :func:`predict_batch` returns; see :class:`Runner`."""
        found = self._tried(networks, views, samples)
        if found is None:  # nothing holds what the vain attempt took any more
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            raise BatchTooLarge
        return found

    def _tried(self, networks: Networks, views: Sequence[Any], samples: int) -> Predicted | None:
        try:
            there = [resident(network, self.device) for network in networks]
            with exact_arithmetic(self.device):
                mean, variance = predict_batch(there, [moved(view, self.device) for view in views], samples)
                return mean.cpu(), variance.cpu()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None


_elsewhere: list[Runner] = []


def run_elsewhere(runner: Runner | None) -> None:
    """Have networks that may use a GPU predict by ``runner`` in this process from now on; None ends that."""
    _elsewhere[:] = [] if runner is None else [runner]


def member_predictions(
    networks: Networks, inputs: Inputs, samples: int = 0, accelerator: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of each network, each (members, n, t), averaged over views.

    The variance is that of the noise that the network predicts, and of so many samples of Monte Carlo dropout.

    Parameters
    ----------
    networks : sequence of Network
        They stay on the CPU; what a GPU needs of them is kept there from call to call.
    inputs : Inputs of length n
    samples : int
    accelerator : {"auto", "cpu", "gpu", "cuda", "mps"}
        Where they may predict; see :func:`polyml.models.nn.devices.inference_device`.

    Raises
    ------
    UserError
        The memory of the GPU is too small for a single polymer.
    """
    runner = _elsewhere[0] if _elsewhere and accelerator != "cpu" else LocalRunner(inference_device(accelerator))
    with torch.inference_mode():
        if runner.device.type == "cpu":
            order, parts = _in_equal_batches(runner, networks, inputs, samples)
        else:
            order, parts = _in_fitting_batches(runner, networks, inputs, samples)
        means, variances = zip(*parts, strict=True)
        mean, variance = (torch.cat(found, dim=1)[:, torch.argsort(order)] for found in (means, variances))
    return mean.double().numpy(), variance.double().numpy()


def _in_equal_batches(
    runner: Runner, networks: Networks, inputs: Inputs, samples: int
) -> tuple[torch.Tensor, list[Predicted]]:
    order = inputs.order()
    batches = (_views(inputs, rows) for rows in order.split(inputs.rows_at_once))
    return order, [runner.run(networks, views, samples) for views in batches]


def _in_fitting_batches(
    runner: Runner, networks: Networks, inputs: Inputs, samples: int
) -> tuple[torch.Tensor, list[Predicted]]:
    """Predict as much at once as the memory of the device holds, polymers of like size side by side."""
    size = runner.batch_size(networks)
    parts = inputs.parts()
    order = torch.argsort(parts, stable=True)
    # As if every polymer of a batch were as large as its last: so it is where they are padded.
    sizes, done, found = parts[order].tolist(), 0, []
    while done < len(sizes):
        end = done + 1
        while end < len(sizes) and (end + 1 - done) * sizes[end] <= size.parts:
            end += 1
        taken = (end - done) * sizes[end - 1]
        try:
            found.append(runner.run(networks, _views(inputs, order[done:end]), samples))
        except BatchTooLarge:
            if end - done == 1:
                fix = "use the CPU (accelerator='cpu', or POLYML_DEVICE=cpu)"
                raise UserError("the memory of the GPU is too small for one polymer", fix=fix) from None
            size.failed(taken)
            continue
        size.worked(taken)
        done = end
    return order, found


def _views(inputs: Inputs, rows: torch.Tensor) -> list[Any]:
    chosen = rows.tolist()
    return [inputs.take(chosen, view) for view in range(inputs.views)]


def predict_batch(networks: Networks, views: Sequence[Any], samples: int) -> Predicted:
    """Return mean and variance of each network on the device of the batch, each (members, n, t).

    Parameters
    ----------
    networks : sequence of Network
    views : sequence of batches
        The same polymers in every way of writing them.
    samples : int
        Of Monte Carlo dropout.
    """
    with torch.inference_mode():
        pairs = [_average_views(network, views) for network in networks]
        mean, variance = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        if samples:
            spread = [dropout_variance(network, views, samples, member) for member, network in enumerate(networks)]
            variance += torch.stack(spread)
    return mean, variance


def _average_views(network: Network, views: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and variance over the ways of writing the polymers, their disagreement included in the variance."""
    pairs = [network.mean_and_variance(view) for view in views]
    means = torch.stack([mean for mean, _ in pairs])
    noise = torch.stack([variance for _, variance in pairs]).mean(dim=0)
    return means.mean(dim=0), noise + means.var(dim=0, correction=0)
