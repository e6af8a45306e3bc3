"""Train a network with Lightning: in memory, quietly, with early stopping and the best weights kept."""

from __future__ import annotations

import copy
import logging
import math
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, StochasticWeightAveraging
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import DataLoader

from polyml.errors import UserError
from polyml.models.nn.inputs import Inputs
from polyml.models.nn.module import Network
from polyml.models.nn.options import Optimisation
from polyml.training.module import NetworkTraining

_SWA_START = 0.75
_JUDGED_AT_ONCE = 256  # polymers of the validation part in one batch


@dataclass(frozen=True)
class Hardware:
    """Where a network is trained.

    Attributes
    ----------
    accelerator : str
        "auto", "cpu", "gpu".
    devices : int or "auto"
        Number of devices, "auto" for all of them.
    precision : str
        As Lightning names it: "32-true", "bf16-mixed", "16-mixed".
    """

    accelerator: str = "auto"
    devices: int | str = 1
    precision: str = "32-true"


class TrainingDiverged(UserError):
    """The loss or a weight became NaN or infinite before a single epoch ended well."""


class GoodWeights(Callback):
    """Keep weights in memory and put them back at the end: of the best epoch, or of the last good one.

    Parameters
    ----------
    best : bool
        Keep the epoch with the lowest validation loss. Otherwise the weights at the end stay, unless the loss or a
        weight has become NaN or infinite: then training stops and the last epoch before comes back.
    """

    def __init__(self, best: bool) -> None:
        self.best = best
        self.loss = math.inf
        self.state: dict[str, torch.Tensor] = {}
        self.stopped = False

    def on_train_epoch_end(self, trainer: Trainer, module: NetworkTraining) -> None:  # type: ignore[override]
        """Copy the weights when they are to be kept; stop when the loss is no number."""
        if not module.epoch_is_sound():
            trainer.should_stop = self.stopped = True
            return
        loss = float(trainer.callback_metrics[module.watched]) if self.best else -math.inf
        if not self.best or loss < self.loss:
            self.loss = loss
            self._keep(module.network.state_dict())

    def _keep(self, state: dict[str, torch.Tensor]) -> None:
        if not self.state:
            self.state = {name: value.detach().clone() for name, value in state.items()}
            return
        for name, value in state.items():  # into the same memory: fresh memory costs more than the copy
            self.state[name].copy_(value)

    def on_train_end(self, trainer: Trainer, module: NetworkTraining) -> None:  # type: ignore[override]
        """Put the kept weights back; the history stays whole."""
        if self.state and (self.best or self.stopped):
            module.network.load_state_dict({**self.state, "history": module.network.history})


class RowBatches:
    """Collate row numbers into a batch of inputs and targets (a class, so that it travels to other processes).

    Parameters
    ----------
    inputs : Inputs
    y : ndarray of shape (n, t)
    view : int, optional
        Which way of writing the polymers to take; None draws one a polymer.
    """

    def __init__(self, inputs: Inputs, y: np.ndarray, view: int | None = 0) -> None:
        self.inputs, self.y = inputs, torch.as_tensor(np.asarray(y, dtype=np.float32))
        self.view = view

    def __call__(self, rows: Sequence[int]) -> tuple[Any, torch.Tensor]:
        """Return ``(inputs, y)`` of the rows."""
        return self.inputs.take(rows, self.view), self.y[list(rows)]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed random, numpy and torch inside the context, and restore their states after it."""
    with isolate_rng():
        seed_everything(seed % (2**32 - 1), workers=False, verbose=False)
        yield


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's hints (workers, available devices) from the user's terminal; errors pass."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _ctrl_c_kept() -> Iterator[None]:
    """Let Ctrl-C through as what it is: Lightning makes an exit of it, and is deaf to the next one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def split_validation(keys: Sequence[str], part: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Set some training polymers aside for early stopping, all rows of one polymer on one side.

    Parameters
    ----------
    keys : sequence of str
        Canonical key of each row.
    part : float
        Part of the polymers to set aside. With fewer than ten different polymers none are.

    Returns
    -------
    train, validation : ndarray of int
    """
    unique, number = np.unique(np.asarray(keys, dtype=object).astype(str), return_inverse=True)
    if len(unique) < 10 or part <= 0:
        return np.arange(len(number)), np.arange(0)
    chosen = np.random.default_rng(seed).permutation(len(unique))[: max(1, round(part * len(unique)))]
    aside = np.isin(number, chosen)
    return np.flatnonzero(~aside), np.flatnonzero(aside)


def train_network(
    network: Network,
    inputs: Inputs,
    y: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    optimisation: Optimisation,
    hardware: Hardware,
) -> None:
    """Train ``network`` in place.

    A loss or a weight that becomes NaN or infinite stops the training, and the best (or last) good epoch is kept. A
    GPU without enough memory gets batches of half the size, down to one polymer. Both are said in a warning.

    Parameters
    ----------
    network : Network
    inputs : Inputs of length n
    y : ndarray of shape (n, t)
    rows : pair of ndarray of int
        Training and validation rows; with no validation rows all epochs are run.
    optimisation : Optimisation
    hardware : Hardware

    Raises
    ------
    TrainingDiverged
        The loss or a weight was no number in the very first epoch.
    UserError
        The accelerator, the devices or the precision are not to be had on this machine, or the memory of the GPU is
        too small for a single polymer.
    """
    untrained = copy.deepcopy(network.state_dict())
    judged = _JUDGED_AT_ONCE
    while not _fits_memory(network, inputs, y, rows, optimisation, hardware, judged):
        size, judged = optimisation.batch_size // 2, max(1, judged // 2)
        if size < 1:
            fix = "make the network narrower, or use the CPU"
            raise UserError("the memory of the GPU is too small for one polymer", fix=fix)
        warnings.warn(
            f"out of GPU memory with batches of {optimisation.batch_size}: starting again with {size}", stacklevel=2
        )
        optimisation = replace(optimisation, batch_size=size)
        network.load_state_dict(untrained)
        torch.cuda.empty_cache()
    if network.diverged is not None:
        what, advice = "the loss or a weight became NaN or infinite", "lower lr, or set a smaller clip"
        if network.diverged == 0:
            raise TrainingDiverged(f"{what} in epoch 0", fix=advice)
        kept = "best" if len(rows[1]) and not optimisation.swa else "last good"
        warnings.warn(
            f"training stopped in epoch {network.diverged}: {what}; the {kept} epoch before is kept ({advice})",
            stacklevel=2,
        )


def _fits_memory(network: Network, *args: Any) -> bool:
    """Train, and tell whether there was memory enough; on return nothing holds what a vain attempt took."""
    try:
        _fit(network, *args)
    except torch.OutOfMemoryError:
        return False
    except RuntimeError as error:  # the libraries below torch say it in words of their own
        if "ALLOC_FAILED" not in str(error):
            raise
        return False
    return True


def _fit(
    network: Network,
    inputs: Inputs,
    y: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    optimisation: Optimisation,
    hardware: Hardware,
    judged: int,
) -> None:
    train, validation = (list(map(int, part)) for part in rows)
    size = optimisation.batch_size
    # A last batch of one polymer cannot be normalised over the batch.
    alone = len(train) > 1 and len(train) % size == 1 and size > 1
    loaders: list[Any] = [
        DataLoader(train, size, shuffle=True, drop_last=alone, collate_fn=RowBatches(inputs, y, None))  # type: ignore[arg-type]
    ]
    constant_loss = network.loss_of_constant(torch.as_tensor(y[rows[0]], dtype=torch.float32))
    module = NetworkTraining(network, constant_loss, "val_loss" if validation else "train_loss")
    callbacks: list[Callback] = []
    if validation:
        loaders.append(DataLoader(validation, judged, collate_fn=RowBatches(inputs, y)))  # type: ignore[arg-type]
    if validation and not optimisation.swa:
        callbacks.append(EarlyStopping("val_loss", patience=optimisation.patience, check_finite=False))
    if optimisation.swa and optimisation.max_epochs > 1:
        start = max(1, int(_SWA_START * optimisation.max_epochs))
        # Each group of weights keeps its share of the learning rate; a rate of zero is not taken.
        shares = [max(1e-12, group.get("share", 1.0)) for group in network.parameter_groups()]
        lrs = [optimisation.lr * 0.2 * share for share in shares]
        callbacks.append(StochasticWeightAveraging(lrs, start, annealing_epochs=1, device=None))
    # Behind the averaging, which writes its weights when training ends: sound ones have the last word.
    callbacks.append(GoodWeights(best=bool(validation) and not optimisation.swa))
    with _quiet_lightning(), tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(callbacks, optimisation, hardware, folder)
        with _ctrl_c_kept():
            trainer.fit(module, *loaders)
    network.to("cpu")
    network.eval()


def _trainer(callbacks: list[Callback], optimisation: Optimisation, hardware: Hardware, folder: str) -> Trainer:
    try:
        return Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            # Spawned processes run the training alone; Lightning's default would run the user's whole command twice.
            strategy="ddp_spawn" if _device_count(hardware) > 1 else "auto",
            precision=hardware.precision,  # type: ignore[arg-type]
            max_epochs=optimisation.max_epochs,
            callbacks=callbacks,
            gradient_clip_val=optimisation.clip or None,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            default_root_dir=folder,
        )
    except Exception as error:  # Lightning raises its own MisconfigurationException, ValueError or RuntimeError
        raise UserError(
            f"the network cannot be trained with accelerator={hardware.accelerator!r}, devices={hardware.devices!r}, "
            f"precision={hardware.precision!r}: {error}",
            fix="use accelerator='auto' and devices=1, which fall back to what the machine has",
        ) from error


def _device_count(hardware: Hardware) -> int:
    if hardware.devices != "auto":
        return int(hardware.devices)
    return max(1, torch.cuda.device_count()) if hardware.accelerator in ("auto", "gpu", "cuda") else 1
