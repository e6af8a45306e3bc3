"""Train a network with Lightning: in memory, quietly, with early stopping and the best weights kept."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import DataLoader

from polyml.errors import UserError
from polyml.models.nn.inputs import Inputs
from polyml.models.nn.module import Optimisation


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


class BestWeights(Callback):
    """Keep the weights of the epoch with the lowest validation loss in memory, and put them back at the end."""

    def __init__(self) -> None:
        self.loss = np.inf
        self.state: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Copy the weights when they are the best so far."""
        loss = float(trainer.callback_metrics["val_loss"])
        if loss < self.loss:
            self.loss = loss
            self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Put the best weights back; the history stays whole."""
        if self.state:
            module.load_state_dict({**self.state, "history": module.state_dict()["history"]})


class RowBatches:
    """Collate row numbers into a batch of inputs and targets (a class, so that it travels to other processes)."""

    def __init__(self, inputs: Inputs, y: np.ndarray) -> None:
        self.inputs, self.y = inputs, torch.as_tensor(np.asarray(y, dtype=np.float32))

    def __call__(self, rows: Sequence[int]) -> tuple[Any, torch.Tensor]:
        """Return ``(inputs, y)`` of the rows."""
        return self.inputs.take(rows), self.y[list(rows)]


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
    network: LightningModule,
    inputs: Inputs,
    y: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    optimisation: Optimisation,
    hardware: Hardware,
) -> None:
    """Train ``network`` in place.

    Parameters
    ----------
    network : LightningModule
        Logs "train_loss" and "val_loss" and has a buffer "history".
    inputs : ArrayInputs or GraphInputs of length n
    y : ndarray of shape (n, t)
    rows : pair of ndarray of int
        Training and validation rows; with no validation rows all epochs are run.
    optimisation : Optimisation
    hardware : Hardware

    Raises
    ------
    UserError
        The accelerator, the devices or the precision are not to be had on this machine.
    """
    collate = RowBatches(inputs, y)
    train, validation = (list(map(int, part)) for part in rows)
    loaders: list[Any] = [DataLoader(train, optimisation.batch_size, shuffle=True, collate_fn=collate)]  # type: ignore[arg-type]
    callbacks: list[Callback] = []
    if validation:
        loaders.append(DataLoader(validation, 256, collate_fn=collate))  # type: ignore[arg-type]
        callbacks = [BestWeights(), EarlyStopping("val_loss", patience=optimisation.patience)]
    with _quiet_lightning(), tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(callbacks, optimisation.max_epochs, hardware, folder)
        trainer.fit(network, *loaders)
    network.to("cpu")
    network.eval()


def _trainer(callbacks: list[Callback], max_epochs: int, hardware: Hardware, folder: str) -> Trainer:
    try:
        return Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            # Spawned processes run the training alone; Lightning's default would run the user's whole command twice.
            strategy="ddp_spawn" if _device_count(hardware) > 1 else "auto",
            precision=hardware.precision,  # type: ignore[arg-type]
            max_epochs=max_epochs,
            callbacks=callbacks,
            gradient_clip_val=1.0,
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
