"""The common part of all networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from polyml.chem import RepeatUnit
from polyml.errors import DAMAGED, UserError
from polyml.models.base import Prediction
from polyml.models.inputs import as_psmiles, check_is_trained, draw_seed, fold_names
from polyml.models.limits import check_name
from polyml.models.nn.options import ACTIVATIONS, NOISE_LOSSES, NORMS
from polyml.models.space import Float, Int
from polyml.models.storage import read_model, write_model
from polyml.models.targets import TargetBasis
from polyml.models.trained import TrainedModel

if TYPE_CHECKING:
    from polyml.models.nn.inputs import Inputs
    from polyml.models.nn.module import PropertyNetwork
    from polyml.models.nn.targets import ClassTargets, TargetScaler

_Rows = tuple[np.ndarray, np.ndarray]  # those that are trained on, and those that the epoch is chosen on


class NeuralModel(TrainedModel):
    """Networks for all targets at once, trained with Lightning.

    Each member of the ensemble starts from other weights and, where some polymers are set aside (``validation``), sets
    others aside. A subclass writes :meth:`_inputs` (what the network reads), :meth:`_shape`
    (its dimensions) and :meth:`_encoder` (polymer to vector).

    Parameters
    ----------
    width : int
        Length of the hidden vectors.
    depth : int
        Hidden layers, or message passing steps.
    dropout : float
    activation : {"silu", "relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid"}
    norm : {"layer", "batch", "none"}
    ensemble : int
        Networks (Lakshminarayanan et al., NIPS 2017); their mean is the prediction, their spread the standard
        deviation. One network alone has one by ``mc_dropout``, or by a loss that learns the noise.
    mc_dropout : int
        Monte Carlo dropout (Gal and Ghahramani, ICML 2016): so many thinned networks for each member, with units
        dropped as in training, whose spread adds to the standard deviation. The prediction stays that of the whole
        network. 0 for none; it needs ``dropout``.
    max_epochs, patience, batch_size, optimizer, lr, schedule, loss, swa, accelerator, precision, targets, ...
        See :class:`polyml.models.trained.TrainedModel`.
    task, class_weight
        See :class:`polyml.models.base.PolymerModel`.

    Attributes
    ----------
    history_ : list of dict
        One row an epoch of each member: member, epoch, train_loss, val_loss, lr, grad_norm, grad_ratio,
        constant_loss; see :data:`polyml.models.nn.module.HISTORY`.
    """

    tasks = ("regression", "classification")
    multi_task = True
    regression_only = ("targets", "mc_dropout")
    bounds = {
        "width": (1, np.inf), "depth": (0, np.inf), "dropout": (0.0, 0.95), "ensemble": (1, np.inf),
        "mc_dropout": (0, np.inf),
    }  # fmt: skip
    presets = {
        "quick": {"max_epochs": 15, "patience": 5, "ensemble": 1},
        "thorough": {"max_epochs": 200, "patience": 40, "ensemble": 5},
        "deep_ensemble": {"ensemble": 5, "loss": "gaussian_nll"},
        "swa": {"swa": True, "schedule": "cosine", "validation": 0.0},
        "classic_sgd": {
            "optimizer": "sgd", "nesterov": True, "lr": 0.02, "schedule": "step", "warmup": 0.05, "weight_decay": 1e-4,
        },
    }  # fmt: skip
    search_space = {
        "width": Int(64, 256, log=True),
        "depth": Int(1, 6),
        "dropout": Float(0.0, 0.4),
        "lr": Float(3e-4, 1e-2, log=True),
        "weight_decay": Float(1e-4, 0.3, log=True),
    }
    toy_params: ClassVar[dict[str, Any]] = {"max_epochs": 30, "patience": 30, "batch_size": 8, "width": 16}

    overfit_params: ClassVar[dict[str, Any]] = {
        "max_epochs": 150, "patience": 150, "dropout": 0.0, "width": 32, "lr": 0.01,
    }  # fmt: skip

    width: int = 128
    depth: int = 2
    dropout: float = 0.1
    activation: str = "silu"
    norm: str = "layer"
    ensemble: int = 1
    mc_dropout: int = 0

    @property
    def gives_std(self) -> bool:  # type: ignore[override]
        """Whether there is a standard deviation: of an ensemble, of dropout, or of the noise that the loss learns."""
        spreads = self.ensemble > 1 or self.mc_dropout > 0 or self.loss in NOISE_LOSSES
        return not self._classifies and spreads

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        where = f"model '{self.key}'"
        check_name("activation", self.activation, ACTIVATIONS, where)
        check_name("norm", self.norm, NORMS, where)
        if self._classifies and self.loss != "mse":
            what = f"the loss '{self.loss}' is for regression; classes are learned by cross-entropy"
            raise UserError(what, where=where, fix="leave loss out")
        if self.mc_dropout and self.dropout == 0:
            fix = "set dropout=0.1, say, or leave mc_dropout out"
            raise UserError("mc_dropout needs dropout, and this network drops nothing", where=where, fix=fix)
        if self.mc_dropout == 1:
            raise UserError("one sample has no spread: mc_dropout=1", where=where, fix="set mc_dropout=30, say")
        if self.norm == "batch" and self.batch_size == 1:
            raise UserError("a batch of one polymer has no norm over the batch", where=where, fix="use norm='layer'")

    @abstractmethod
    def _inputs(self, items: Sequence[str | RepeatUnit]) -> Inputs:
        """Featurize polymers for the network."""

    @abstractmethod
    def _shape(self, inputs: Inputs) -> dict[str, int]:
        """Return the dimensions of the inputs that :meth:`_encoder` needs."""

    @abstractmethod
    def _encoder(self, shape: dict[str, int]) -> Any:
        """Return an untrained encoder for inputs of this shape."""

    def _prepare_encoder(self, encoder: Any, inputs: Inputs) -> None:
        """Give the encoder what it takes from the training inputs (scaling) or from elsewhere (pretrained weights)."""

    def _pretrained_part(self, encoder: Any) -> Any:
        """Return the part of the encoder that :meth:`_prepare_encoder` gave pretrained weights; None for none."""
        return None

    def _head_width(self) -> int:
        """Width of the hidden layer behind the encoder; 0 for none."""
        return self.width

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> NeuralModel:
        """Train the networks; ``y`` (n,) or (n, t) with NaN where not measured, or labels (n,)."""
        from polyml.training.loop import split_validation

        self.check_params()
        items, values = self._training_data(psmiles, y)
        keys = fold_names(items)
        part = self._optimisation().validation_part(len(set(keys)))
        return self._train(items, values, lambda seed: split_validation(keys, part, seed))

    def fit_watching(
        self, psmiles: Sequence[str], y: np.ndarray, watched: Sequence[str], y_watched: np.ndarray
    ) -> NeuralModel:
        """Train the networks and keep the epoch that is best on other polymers, in place of a part set aside.

        Scores on these polymers are too good: this is how published figures are reproduced, and nothing else. Features
        are scaled by all polymers, targets by the first alone.

        Parameters
        ----------
        psmiles, y
            As for :meth:`fit`.
        watched, y_watched
            The other polymers and their values, of the same shapes.
        """
        self.check_params()
        items, values = self._training_data([*psmiles, *watched], np.concatenate([y, y_watched]))
        rows = np.arange(len(psmiles)), np.arange(len(psmiles), len(items))
        return self._train(items, values, lambda seed: rows, taught=len(psmiles))

    def _train(
        self, items: list[Any], values: np.ndarray, rows: Callable[[int], _Rows], taught: int | None = None
    ) -> NeuralModel:
        """Train every member on the training and validation rows that ``rows`` gives for its seed.

        Targets are scaled by the first ``taught`` rows, all by default.
        """
        from polyml.training.loop import seeded

        inputs = self._inputs(items)
        self.shape_ = self._shape(inputs)
        self.n_targets_ = values.shape[1]
        first = draw_seed(self.random_state)
        self.networks_ = []
        for seed in (first + 1000003 * member for member in range(self.ensemble)):
            with seeded(seed):
                self.networks_.append(self._train_member(inputs, values, rows(seed), taught))
        return self

    def _train_member(self, inputs: Inputs, y: np.ndarray, rows: _Rows, taught: int | None) -> PropertyNetwork:
        from polyml.training.loop import train_network

        network = self._network()
        self._prepare_encoder(network.encoder, inputs)
        pretrained = self._pretrained_part(network.encoder)
        if pretrained is not None:
            network.start_from(pretrained)
        self._fit_targets(network.targets, y[:taught])
        train_network(network, inputs, y, rows, self._optimisation(), self._hardware())
        return network

    def _fit_targets(self, targets: Any, y: np.ndarray) -> None:
        if self._classifies:
            targets.fit(y, self.class_weight == "balanced")
        else:
            targets.fit(y, TargetBasis.fit(y, self.targets))

    def _network(self) -> PropertyNetwork:
        from polyml.models.nn.module import PropertyNetwork

        encoder = self._encoder(self.shape_)
        return PropertyNetwork(
            encoder, self._network_targets(), self._optimisation(), self._head_width(), self.dropout, self.activation
        )

    def _network_targets(self) -> TargetScaler | ClassTargets:
        from polyml.models.nn.targets import ClassTargets, TargetScaler

        return ClassTargets(len(self.classes_)) if self._classifies else TargetScaler(self.n_targets_, self.loss)

    @property
    def history_(self) -> list[dict[str, float]]:
        """Learning curves, one row an epoch of each member."""
        check_is_trained(self)
        return [{"member": member, **row} for member, network in enumerate(self.networks_) for row in network.epochs()]

    def _member_predictions(self, psmiles: Sequence[str], samples: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of each network, each (members, n, t); see ``nn.predict.member_predictions``."""
        from polyml.models.nn.predict import member_predictions

        check_is_trained(self)
        items = as_psmiles(psmiles)
        if not items:
            empty = np.empty((len(self.networks_), 0, len(self.classes_) if self._classifies else self.n_targets_))
            return empty, empty
        return member_predictions(self.networks_, self._inputs(items), samples, self.accelerator)

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the mean over the networks, shape (n, t) or (n,) as ``y`` had; for classification the labels, (n,)."""
        mean = self._member_predictions(psmiles)[0].mean(axis=0)
        if self._classifies:
            return self._likeliest(mean)
        return self._as_given(mean)

    def predict_proba(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the mean over the networks of the probability of each class, shape (n, classes)."""
        if not self._classifies:
            return super().predict_proba(psmiles)
        mean: np.ndarray = self._member_predictions(psmiles)[0].mean(axis=0)
        return mean

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return mean, standard deviation and interval, each (n, t).

        By the law of total variance, the spread of the networks and the mean of what each says of its own: the noise
        it predicts, and its spread under dropout.
        """
        self._check_regresses()
        means, variances = self._member_predictions(psmiles, self.mc_dropout)
        if not self.gives_std:
            return Prediction.gaussian(means.mean(axis=0))
        spread = means.var(axis=0, ddof=1) if len(means) > 1 else 0.0
        return Prediction.gaussian(means.mean(axis=0), np.sqrt(spread + variances.mean(axis=0)))

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors, the rest as JSON."""
        check_is_trained(self)
        arrays = {
            f"{member}.{name}": value.numpy()
            for member, network in enumerate(self.networks_)
            for name, value in network.state_dict().items()
        }
        state = {"shape": self.shape_, "n_targets": self.n_targets_, **self._target_state()}
        write_model(Path(folder), self, state, arrays)

    @classmethod
    def load(cls, folder: Path) -> NeuralModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        import torch

        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model._load_target_state(stored.state)
        model.shape_, model.n_targets_ = stored.state["shape"], stored.state["n_targets"]
        model.networks_ = []
        for member in range(model.ensemble):
            prefix = f"{member}."
            weights = {
                name.removeprefix(prefix): torch.from_numpy(array)
                for name, array in stored.arrays.items()
                if name.startswith(prefix)
            }
            network = model._network()
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                raise UserError(f"the weights do not fit the model: {error}", where=str(folder), fix=DAMAGED) from error
            model.networks_.append(network.eval())
        return model
