"""The common part of all networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from polyml.chem import RepeatUnit, ensure_units
from polyml.errors import UserError
from polyml.models.base import PolymerModel, Prediction
from polyml.models.inputs import as_psmiles, as_training_data, check_is_trained, draw_seed
from polyml.models.storage import read_model, write_model
from polyml.models.targets import TargetBasis

if TYPE_CHECKING:
    from polyml.models.nn.inputs import Inputs
    from polyml.models.nn.module import Optimisation, PropertyNetwork

_ROWS_AT_ONCE = 256


class NeuralModel(PolymerModel):
    """Networks for all targets at once, trained with Lightning.

    Each member of the ensemble sets other training polymers aside for early stopping, starts from other weights, and
    keeps the weights of its best epoch. A subclass names its parameters in ``__init__`` and writes :meth:`_inputs`
    (what the network reads) and :meth:`_encoder` (polymer to vector).

    Parameters
    ----------
    ensemble : int
        Networks; their mean is the prediction, their spread the standard deviation (none with one network).
    max_epochs, patience, batch_size, lr, weight_decay
        See :class:`polyml.models.nn.module.Optimisation`.
    accelerator, devices, precision
        See :class:`polyml.training.loop.Hardware`; ``devices="auto"`` uses all GPUs.
    targets : {"decorrelated", "separate"}
        See :class:`polyml.models.targets.TargetBasis`.
    random_state : int or None

    Attributes
    ----------
    history_ : list of dict
        One row an epoch of each member: member, epoch, train_loss, val_loss, lr.
    """

    multi_task = True
    toy_params: ClassVar[dict[str, Any]] = {"max_epochs": 30, "patience": 30, "batch_size": 8, "width": 16}

    width: int
    dropout: float
    ensemble: int
    max_epochs: int
    patience: int
    batch_size: int
    lr: float
    weight_decay: float
    accelerator: str
    devices: int | str
    precision: str
    targets: str
    random_state: int | None

    @abstractmethod
    def _inputs(self, items: Sequence[str | RepeatUnit]) -> Inputs:
        """Featurize polymers for the network."""

    @abstractmethod
    def _encoder(self, shape: dict[str, int]) -> Any:
        """Return an untrained encoder for inputs of this shape."""

    @abstractmethod
    def _shape(self, inputs: Inputs) -> dict[str, int]:
        """Return the dimensions of the inputs that :meth:`_encoder` needs."""

    def _prepare_encoder(self, encoder: Any, inputs: Inputs) -> None:
        """Give the encoder what it takes from the training inputs (scaling) or from elsewhere (pretrained weights)."""

    def _optimisation(self) -> Optimisation:
        from polyml.models.nn.module import Optimisation

        return Optimisation(
            lr=self.lr,
            weight_decay=self.weight_decay,
            max_epochs=self.max_epochs,
            patience=self.patience,
            batch_size=self.batch_size,
        )

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> NeuralModel:
        """Train the networks; ``y`` (n,) or (n, t) with NaN where not measured."""
        from polyml.training.loop import seeded

        if self.ensemble < 1 or self.max_epochs < 1 or self.batch_size < 1:
            raise UserError("ensemble, max_epochs and batch_size must be at least 1")
        items, values, self.single_ = as_training_data(psmiles, y)
        keys = [unit.key for unit in ensure_units(items)]
        inputs = self._inputs(items)
        self.shape_ = self._shape(inputs)
        seed = draw_seed(self.random_state)
        self.networks_ = []
        for member in range(self.ensemble):
            with seeded(seed + 1000003 * member):
                self.networks_.append(self._train_member(inputs, values, keys, seed + 1000003 * member))
        self.n_targets_ = values.shape[1]
        return self

    def _train_member(self, inputs: Inputs, y: np.ndarray, keys: list[str], seed: int) -> PropertyNetwork:
        from polyml.training.loop import Hardware, split_validation, train_network

        optimisation = self._optimisation()
        network = self._network(y.shape[1])
        self._prepare_encoder(network.encoder, inputs)
        network.targets.fit(y, TargetBasis.fit(y, self.targets))
        rows = split_validation(keys, optimisation.validation, seed)
        hardware = Hardware(self.accelerator, self.devices, self.precision)
        train_network(network, inputs, y, rows, optimisation, hardware)
        return network

    def _network(self, n_targets: int) -> PropertyNetwork:
        from polyml.models.nn.module import PropertyNetwork

        encoder = self._encoder(self.shape_)
        return PropertyNetwork(encoder, n_targets, self._optimisation(), hidden=self.width, dropout=self.dropout)

    @property
    def history_(self) -> list[dict[str, float]]:
        """Learning curves, one row an epoch of each member."""
        check_is_trained(self)
        return [
            {"member": member, "epoch": epoch, "train_loss": row[0], "val_loss": row[1], "lr": row[2]}
            for member, network in enumerate(self.networks_)
            for epoch, row in enumerate(network.history.tolist())
            if row[0] == row[0]  # NaN: training ended before
        ]

    def _member_predictions(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the predictions of each network, shape (members, n, t)."""
        import torch

        check_is_trained(self)
        items = as_psmiles(psmiles)
        if not items:
            return np.empty((len(self.networks_), 0, self.n_targets_))
        inputs = self._inputs(items)
        parts = []
        with torch.inference_mode():
            for at in range(0, len(items), _ROWS_AT_ONCE):
                batch = inputs.take(range(at, min(at + _ROWS_AT_ONCE, len(items))))
                parts.append(torch.stack([network(batch) for network in self.networks_]))
        return torch.cat(parts, dim=1).numpy().astype(np.float64)

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the mean over the networks, shape (n, t), or (n,) when ``y`` had shape (n,)."""
        mean = self._member_predictions(psmiles).mean(axis=0)
        return mean[:, 0] if self.single_ else mean

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean and, with an ensemble, the standard deviation over the networks; each (n, t)."""
        members = self._member_predictions(psmiles)
        std = members.std(axis=0, ddof=1) if len(members) > 1 else None
        return Prediction.gaussian(members.mean(axis=0), std)

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors, the rest as JSON."""
        check_is_trained(self)
        arrays = {
            f"{member}.{name}": value.numpy()
            for member, network in enumerate(self.networks_)
            for name, value in network.state_dict().items()
        }
        state = {"single": self.single_, "shape": self.shape_, "n_targets": self.n_targets_}
        write_model(Path(folder), self, state, arrays)

    @classmethod
    def load(cls, folder: Path) -> NeuralModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        import torch

        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model.single_, model.shape_ = stored.state["single"], stored.state["shape"]
        model.n_targets_ = stored.state["n_targets"]
        model.networks_ = []
        for member in range(model.ensemble):
            prefix = f"{member}."
            weights = {
                name.removeprefix(prefix): torch.from_numpy(array)
                for name, array in stored.arrays.items()
                if name.startswith(prefix)
            }
            network = model._network(model.n_targets_)
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                raise UserError(f"the weights do not fit the model: {error}", where=str(folder)) from error
            model.networks_.append(network.eval())
        return model
