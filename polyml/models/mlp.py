"""Fully connected networks on fingerprints and descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.chem import RepeatUnit
from polyml.models.neural import NeuralModel
from polyml.models.scaling import signed_root
from polyml.models.space import Float, Int
from polyml.models.tabular import FeatureKeys, check_features, informative_columns

if TYPE_CHECKING:
    from polyml.models.nn.inputs import ArrayInputs, Inputs

MIN_POLYMERS = 5  # a column that fewer training polymers share invites learning them by heart


class MLPModel(NeuralModel):
    """Deep fully connected network on fingerprints and descriptors, for all targets at once.

    Ma et al.: Deep neural nets as a method for quantitative structure-activity relationships. J. Chem. Inf. Model. 55,
    263 (2015). Features are compressed by the square root, clipped to their training range and standardised inside the
    network.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    skip : bool
        Skip connections around the hidden layers.
    width, depth, dropout, activation, norm, ensemble, optimizer, lr, schedule, loss, ...
        See :class:`polyml.models.neural.NeuralModel`.
    """

    key = "mlp"
    family = "deep network"
    title = "Deep network on fingerprints"
    citation = "Ma et al. 2015; Lightning"
    search_space = {
        **NeuralModel.search_space,
        "width": Int(64, 512, log=True),
        "depth": Int(1, 4),
        "dropout": Float(0.0, 0.5),
    }
    toy_params = {**NeuralModel.toy_params, "ensemble": 2}

    features: FeatureKeys = ("ecfp_count", "descriptors")
    skip: bool = False
    width: int = 256
    dropout: float = 0.2
    ensemble: int = 3
    max_epochs: int = 40
    patience: int = 15
    batch_size: int = 64
    validation: float | None = 0.12
    lr: float = 4e-3
    weight_decay: float = 0.1

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        check_features(self.features, "array", f"model '{self.key}'")

    def _inputs(self, items: Sequence[str | RepeatUnit]) -> ArrayInputs:
        return array_inputs(self.features, items)

    def _shape(self, inputs: Inputs) -> dict[str, int]:
        return array_shape(inputs)

    def _encoder(self, shape: dict[str, int]) -> Any:
        from polyml.models.nn.layers import ArrayEncoder

        return ArrayEncoder(
            shape["columns"], shape["kept"], self.width, self.depth, self.dropout, self.activation, self.norm, self.skip
        )

    def _prepare_encoder(self, encoder: Any, inputs: Inputs) -> None:
        fit_array_encoder(encoder, inputs)


class Perceptron(MLPModel):
    """Perceptron: one layer from the features to the targets, trained by stochastic gradient descent.

    Rosenblatt: The perceptron. Psychol. Rev. 65, 386 (1958); Widrow and Hoff: Adaptive switching circuits (1960), for
    its linear output. Parameters as in :class:`MLPModel`.
    """

    key = "perceptron"
    family = "perceptron"
    title = "Perceptron (one linear layer)"
    citation = "Rosenblatt 1958; Lightning"
    search_space = {"lr": Float(1e-4, 1e-2, log=True), "l1": Float(1e-6, 1e-3, log=True), "dropout": Float(0.0, 0.5)}
    without_effect = ("depth", "width", "activation", "norm", "skip")  # it has no hidden layer
    toy_params = {"max_epochs": 30, "patience": 30, "batch_size": 8, "ensemble": 2}
    overfit_params = {"max_epochs": 150, "patience": 150, "dropout": 0.0, "lr": 0.01}

    depth: int = 0
    ensemble: int = 1
    max_epochs: int = 100
    validation: float | None = None
    optimizer: str = "sgd"
    lr: float = 1e-3

    def _head_width(self) -> int:
        return 0


def array_inputs(features: FeatureKeys, items: Sequence[str | RepeatUnit]) -> ArrayInputs:
    """Return the features of polymers as the networks read them: their signed square roots."""
    from polyml.features.batch import featurize
    from polyml.models.nn.inputs import ArrayInputs

    x = np.asarray(featurize(features, items), dtype=np.float32)
    return ArrayInputs(signed_root(x))


def array_shape(inputs: Any) -> dict[str, int]:
    """Return the number of columns, and of those that tell the training polymers apart."""
    x = inputs.x.numpy()
    return {"columns": x.shape[1], "kept": len(informative_columns(x, MIN_POLYMERS))}


def fit_array_encoder(encoder: Any, inputs: Any) -> None:
    """Let an encoder of arrays choose its columns and learn their scaling."""
    encoder.fit_columns(inputs.x, informative_columns(inputs.x.numpy(), MIN_POLYMERS))
