"""Where a trained network predicts, and how much it is given there at once."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from polyml.settings import allows_tf32, chosen_device

_START = 2**17  # atoms or tokens in the first batch: a quarter of a gigabyte for a network of usual width
_MOST = 2**21
_STEADY = 4  # full batches that went well before a larger one is tried


def inference_device(accelerator: str) -> torch.device:
    """Return where a model of this ``accelerator`` predicts: on a GPU if it may take one and there is one.

    A model that was trained on a GPU predicts without one too. ``auto`` takes CUDA devices alone; Apple's take being
    named (``gpu`` or ``mps``). ``POLYML_DEVICE`` goes before all this, but for ``cpu``, which stays there.

    Examples
    --------
    >>> inference_device("cpu")
    device(type='cpu')
    """
    if accelerator == "cpu":
        return torch.device("cpu")
    chosen = chosen_device()
    if chosen is not None:
        return torch.device(chosen)
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


class BatchTooLarge(Exception):
    """The memory of the device does not hold this batch."""


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether the memory of a device was too small; the libraries below torch say it in words of their own."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in said or "backend out of memory" in said


class BatchSize:
    """How much a device takes at once, learned from what went well and what did not.

    Parameters
    ----------
    parts : int
        Atoms or tokens of the first batch.
    grows : bool
        Try more after a few batches that filled what was allowed. Without, how a set of polymers is cut depends on
        these polymers alone as long as the memory holds.

    Examples
    --------
    >>> size = BatchSize(1000)
    >>> size.failed(1000)
    >>> size.parts
    500
    """

    def __init__(self, parts: int = _START, *, grows: bool = True) -> None:
        self.parts, self.grows = parts, grows
        self._ceiling = math.inf
        self._full = 0

    def worked(self, parts: int) -> None:
        """Hear that a batch of so many parts went well."""
        if not self.grows or 2 * parts <= self.parts:
            return
        self._full += 1
        larger = min(self.parts * 3 // 2, _MOST)
        if self._full >= _STEADY and self.parts < larger < 0.9 * self._ceiling:
            self.parts, self._full = larger, 0

    def failed(self, parts: int) -> None:
        """Hear that so many parts were too much: half of them next, and never so many again."""
        self._ceiling = min(self._ceiling, parts)
        self.parts, self._full = max(1, parts // 2), 0


_resident: WeakKeyDictionary[nn.Module, dict[torch.device, tuple[tuple[int, ...], nn.Module]]] = WeakKeyDictionary()


def resident(network: nn.Module, device: torch.device) -> Any:
    """Return the network on a device: itself on the CPU, elsewhere a copy that is made once and kept.

    The network itself never leaves the CPU, so what is saved, copied or sent to a process knows of no device. Weights
    that were changed meanwhile are copied anew.
    """
    if device.type == "cpu":
        return network
    stamp = tuple(value._version for value in (*network.parameters(), *network.buffers()))
    copies = _resident.setdefault(network, {})
    if device not in copies or copies[device][0] != stamp:
        with torch.inference_mode(False):  # as weights usually are: those made inside cannot be moved about
            copies[device] = stamp, copy.deepcopy(network).to(device).eval()
    return copies[device][1]


def moved(batch: Any, device: torch.device) -> Any:
    """Return a batch (a tensor, or a tuple of batches, named or not) on a device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    parts = [moved(part, device) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Keep a CUDA device to full float32, and to sums in a fixed order: one batch gives the same numbers every time.

    TensorFloat-32, which rounds the factors of a product to ten bits, is off unless ``POLYML_TF32`` is 1.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for a fixed order
    switches: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]  # type: ignore[attr-defined]
    precisions = [switch.fp32_precision for switch in switches]
    ordered = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        for switch in switches:
            switch.fp32_precision = "tf32" if allows_tf32() else "ieee"
        with warnings.catch_warnings():
            # A layer that knows no fixed order still predicts, to within float32 rounding.
            warnings.filterwarnings("ignore", message=".*determinis", category=UserWarning)
            torch.use_deterministic_algorithms(True, warn_only=True)
            yield
    finally:
        torch.use_deterministic_algorithms(ordered[0], warn_only=ordered[1])
        for switch, precision in zip(switches, precisions, strict=True):
            switch.fp32_precision = precision
