"""Fully connected networks on fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from polyml.chem import RepeatUnit
from polyml.models.neural import NeuralModel
from polyml.models.tabular import FeatureKeys, informative_columns

if TYPE_CHECKING:
    from polyml.models.nn.inputs import ArrayInputs, Inputs

_MIN_POLYMERS = 5  # a column that fewer training polymers share invites learning them by heart


class MLPModel(NeuralModel):
    """Deep fully connected network on fingerprints and descriptors, for all targets at once.

    Ma et al.: Deep neural nets as a method for quantitative structure-activity relationships. J. Chem. Inf. Model. 55,
    263 (2015). Features are compressed by the square root, clipped to their training range and standardised inside the
    network.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    width, depth : int
        Size and number of hidden layers.
    dropout : float
    ensemble, max_epochs, patience, batch_size, lr, weight_decay, accelerator, devices, precision, targets, random_state
        See :class:`polyml.models.neural.NeuralModel`.
    """

    key = "mlp"
    family = "deep network"
    title = "Deep network on fingerprints"
    citation = "Ma et al. 2015; Lightning"
    gives_std = True
    search_space: ClassVar[dict[str, Any]] = {
        "width": {"type": "int", "low": 64, "high": 512, "log": True},
        "depth": {"type": "int", "low": 1, "high": 4},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5},
        "lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    }
    toy_params: ClassVar[dict[str, Any]] = {**NeuralModel.toy_params, "ensemble": 2}

    def __init__(
        self,
        features: FeatureKeys = ("ecfp_count", "descriptors"),
        width: int = 256,
        depth: int = 2,
        dropout: float = 0.2,
        ensemble: int = 3,
        max_epochs: int = 40,
        patience: int = 15,
        batch_size: int = 64,
        lr: float = 4e-3,
        weight_decay: float = 0.1,
        accelerator: str = "auto",
        devices: int | str = 1,
        precision: str = "32-true",
        targets: str = "decorrelated",
        random_state: int | None = 0,
    ) -> None:
        self.features = features
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.ensemble = ensemble
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.accelerator = accelerator
        self.devices = devices
        self.precision = precision
        self.targets = targets
        self.random_state = random_state

    def _inputs(self, items: Sequence[str | RepeatUnit]) -> ArrayInputs:
        from polyml.features.batch import featurize
        from polyml.models.nn.inputs import ArrayInputs

        x = np.asarray(featurize(self.features, items), dtype=np.float32)
        return ArrayInputs(np.sign(x) * np.sqrt(np.abs(x)))

    def _shape(self, inputs: Inputs) -> dict[str, int]:
        x = inputs.x.numpy()  # type: ignore[union-attr]
        return {"columns": x.shape[1], "kept": len(informative_columns(x, _MIN_POLYMERS))}

    def _encoder(self, shape: dict[str, int]) -> Any:
        from polyml.models.nn.layers import ArrayEncoder

        return ArrayEncoder(shape["columns"], shape["kept"], self.width, self.depth, self.dropout)

    def _prepare_encoder(self, encoder: Any, inputs: Inputs) -> None:
        x = inputs.x  # type: ignore[union-attr]
        encoder.fit_columns(x, informative_columns(x.numpy(), _MIN_POLYMERS))
