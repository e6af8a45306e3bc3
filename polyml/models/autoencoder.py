"""Embedding by a denoising autoencoder, then a regressor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from polyml.chem import RepeatUnit, ensure_units
from polyml.errors import UserError
from polyml.models.scaling import scaling_steps, with_scaled_target
from polyml.models.tabular import FeatureKeys, TabularModel

if TYPE_CHECKING:
    from polyml.models.nn.autoencoder import DenoisingAutoencoder
    from polyml.models.nn.module import Optimisation

_WEIGHTS = "autoencoder.safetensors"


class AutoencoderModel(TabularModel):
    """A denoising autoencoder embeds the features without labels; a support vector machine reads the embedding.

    Vincent et al.: Extracting and composing robust features with denoising autoencoders. ICML 2008. The autoencoder
    sees the structures of the training polymers and none of their values.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    n_components : int
        Length of the embedding.
    width : int
        Hidden layer of encoder and decoder.
    noise : float
        Part of the inputs blanked during training.
    max_epochs, patience, batch_size, lr
        See :class:`polyml.models.nn.module.Optimisation`.
    C : float
        Penalty of the support vector regression.
    accelerator, devices, precision
        See :class:`polyml.training.loop.Hardware`.
    targets : {"decorrelated", "separate"}
    random_state : int or None

    Attributes
    ----------
    history_ : list of dict
        Learning curve of the autoencoder: epoch, train_loss, val_loss, lr.
    """

    key = "autoencoder"
    family = "autoencoder"
    title = "Denoising autoencoder + support vector regression"
    citation = "Vincent et al. 2008; Lightning, scikit-learn"
    min_polymers = 5
    compress = True
    search_space: ClassVar[dict[str, Any]] = {
        "n_components": {"type": "int", "low": 16, "high": 128, "log": True},
        "noise": {"type": "float", "low": 0.0, "high": 0.5},
        "C": {"type": "float", "low": 0.3, "high": 100.0, "log": True},
    }
    toy_params: ClassVar[dict[str, Any]] = {"n_components": 8, "width": 16, "max_epochs": 5, "batch_size": 8}

    def __init__(
        self,
        features: FeatureKeys = ("ecfp_count", "descriptors"),
        n_components: int = 64,
        width: int = 256,
        noise: float = 0.2,
        max_epochs: int = 60,
        patience: int = 15,
        batch_size: int = 32,
        lr: float = 2e-3,
        C: float = 5.0,
        accelerator: str = "auto",
        devices: int | str = 1,
        precision: str = "32-true",
        targets: str = "decorrelated",
        random_state: int | None = 0,
    ) -> None:
        self.features = features
        self.n_components = n_components
        self.width = width
        self.noise = noise
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.lr = lr
        self.C = C
        self.accelerator = accelerator
        self.devices = devices
        self.precision = precision
        self.targets = targets
        self.random_state = random_state

    def _make_estimator(self, seed: int, n_rows: int, n_columns: int) -> Any:
        from sklearn.svm import SVR

        return with_scaled_target(*scaling_steps(), SVR(C=self.C, epsilon=0.1, gamma=0.3 / n_columns))

    def _fit_embedding(self, x: np.ndarray, items: Sequence[str | RepeatUnit], seed: int) -> np.ndarray:
        from polyml.models.nn.inputs import ArrayInputs
        from polyml.training.loop import Hardware, seeded, split_validation, train_network

        keys = [unit.key for unit in ensure_units(items)]
        optimisation = self._optimisation()
        rows = split_validation(keys, optimisation.validation, seed)
        inputs = ArrayInputs(x)
        with seeded(seed):
            self.autoencoder_ = self._network(x.shape[1])
            self.autoencoder_.scale.fit(inputs.x)
            hardware = Hardware(self.accelerator, self.devices, self.precision)
            train_network(self.autoencoder_, inputs, x, rows, optimisation, hardware)
        return self._embed(x)

    def _network(self, columns: int) -> DenoisingAutoencoder:
        from polyml.models.nn.autoencoder import DenoisingAutoencoder

        return DenoisingAutoencoder(columns, self.n_components, self.width, self.noise, self._optimisation())

    def _optimisation(self) -> Optimisation:
        from polyml.models.nn.module import Optimisation

        return Optimisation(lr=self.lr, max_epochs=self.max_epochs, patience=self.patience, batch_size=self.batch_size)

    def _embed(self, x: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            embedding: np.ndarray = self.autoencoder_.embed(torch.from_numpy(np.ascontiguousarray(x))).numpy()
        return embedding

    @property
    def history_(self) -> list[dict[str, float]]:
        """Learning curve, one row an epoch."""
        return [
            {"epoch": epoch, "train_loss": row[0], "val_loss": row[1], "lr": row[2]}
            for epoch, row in enumerate(self.autoencoder_.history.tolist())
            if row[0] == row[0]  # NaN: training ended before
        ]

    def _save_estimators(self, folder: Path) -> None:
        from safetensors.torch import save_file

        super()._save_estimators(folder)
        save_file(self.autoencoder_.state_dict(), folder / _WEIGHTS)

    def _load_estimators(self, folder: Path, state: dict[str, Any]) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        super()._load_estimators(folder, state)
        self.autoencoder_ = self._network(len(self.columns_))
        try:
            self.autoencoder_.load_state_dict(load_file(folder / _WEIGHTS))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise UserError(f"the autoencoder cannot be read: {error}", where=str(folder)) from error
        self.autoencoder_.eval()
