"""The pretext tasks: what an encoder learns before it meets the property that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.chem import ensure_units
from polyml.errors import UserError, unknown_name
from polyml.models.inputs import fold_names
from polyml.models.limits import check_number

if TYPE_CHECKING:
    import torch

    from polyml.models.joint import JointModel
    from polyml.models.nn.autoencoder import SequenceAutoencoder
    from polyml.models.nn.inputs import Inputs
    from polyml.models.nn.module import Network, PropertyNetwork
    from polyml.models.nn.options import Optimisation
    from polyml.models.nn.pretext import MaskedPart
    from polyml.training.loop import Hardware

_CLIP = 4.0  # standard deviations; a rare huge descriptor must not rule the loss
VALIDATION = 0.1
"""Part of the polymers set aside for the best epoch and for the check."""
_ROWS_AT_ONCE = 256
STRUCTURE = frozenset({"width", "depth", "activation", "norm", "heads", "dropout", "variants"})
"""The parameters of a model that are those of its encoder."""

PRETEXTS: Mapping[str, str] = {
    "descriptors": "predict the periodic descriptors of a polymer, which its structure gives for nothing",
    "masked_atom": "guess the elements of masked atoms of the periodic graph",
    "masked_token": "guess masked tokens of the pSMILES",
    "autoencoding": "write the canonical pSMILES from the vector of any spelling",
    "property": "predict properties that have been measured or calculated",
}
"""Every pretext task, in words."""


@dataclass(frozen=True)
class PretrainSpec:
    """What decides the numbers of a pretrained encoder, besides its polymers.

    Attributes
    ----------
    encoder : str
        Catalog key of the network whose encoder is trained: a graph or sequence model.
    pretext : {"descriptors", "masked_atom", "masked_token", "autoencoding", "property"}
        See :data:`PRETEXTS`.
    params : mapping
        Parameters of the network: width, depth, ...
    epochs, batch_size : int
    lr : float
    descriptors : str
        Key of the featurizer whose columns are predicted.
    seed : int
    """

    encoder: str = "dmpnn"
    pretext: str = "descriptors"
    params: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 10
    batch_size: int = 64
    lr: float = 2e-3
    descriptors: str = "descriptors"
    seed: int = 1

    def make_model(self) -> JointModel:
        """Return the model whose encoder is to be trained.

        Raises
        ------
        UserError
            An unknown pretext task, one that does not fit the network, or a model without an encoder of structures.
        """
        from polyml.models.catalog import make_model, model_class
        from polyml.models.joint import JointModel

        where = "pretraining"
        if self.pretext not in PRETEXTS:
            raise unknown_name("pretext task", self.pretext, PRETEXTS, where=where)
        if not issubclass(model_class(self.encoder), JointModel):
            raise UserError(f"'{self.encoder}' reads no structures", where=where, fix="take dmpnn or transformer, say")
        for name, value, low in (
            ("lr", self.lr, 1e-15),
            ("epochs", self.epochs, 1),
            ("batch_size", self.batch_size, 1),
        ):
            check_number(name, value, low, np.inf, where)
        model = make_model(self.encoder, **{**self.params, "features": None})
        assert isinstance(model, JointModel)
        others = sorted(set(self.params) - STRUCTURE)
        if others:
            taken = ", ".join(sorted(STRUCTURE & set(model._get_param_names())))
            fix = f"the encoder takes {taken}; epochs, batch size and learning rate are options of their own"
            raise UserError(f"{others[0]} has no effect on pretraining", where=where, fix=fix)
        kind = {"masked_atom": "graph", "masked_token": "tokens", "autoencoding": "tokens"}.get(
            self.pretext, model.input_kind
        )
        if model.input_kind != kind:
            raise UserError(
                f"the pretext task '{self.pretext}' needs a model that reads {kind}, '{self.encoder}' reads "
                f"{model.input_kind}",
                where=where,
                fix="take another network, or the task 'descriptors', which suits all",
            )
        return model


def train_encoder(
    psmiles: Sequence[str],
    spec: PretrainSpec,
    model: JointModel,
    y: np.ndarray | None,
    hardware: Hardware,
    jobs: int,
) -> tuple[Network, dict[str, float]]:
    """Train the encoder of a model by a pretext task.

    Parameters
    ----------
    psmiles : sequence of str
    spec : PretrainSpec
    model : JointModel
        What :meth:`PretrainSpec.make_model` gives.
    y : ndarray of shape (n, t) or None
        The properties of the task "property".
    hardware : Hardware
    jobs : int
        Processes for the descriptors.

    Returns
    -------
    network : Network
        Its ``encoder`` is what was trained.
    checks : dict
        How well it does on the polymers set aside.
    """
    from polyml.models.nn.options import Optimisation
    from polyml.training.loop import split_validation, train_network

    units = ensure_units(psmiles)
    inputs = model._main_inputs(units)
    encoder = model._main_encoder(model._main_shape(inputs))
    rows = split_validation(fold_names(units), VALIDATION, spec.seed)
    optimisation = Optimisation(
        lr=spec.lr, max_epochs=spec.epochs, patience=spec.epochs, batch_size=spec.batch_size, weight_decay=0.01
    )
    if spec.pretext in ("masked_atom", "masked_token"):
        masked = _masked_network(spec.pretext, encoder, optimisation)
        train_network(masked, inputs, np.zeros((len(units), 1)), rows, optimisation, hardware)
        return masked, _masked_checks(masked, inputs, rows[1])
    if spec.pretext == "autoencoding":
        writer = _writing_network(encoder, optimisation)
        canonical = inputs.take(list(range(len(units)))).tokens.numpy()
        train_network(writer, inputs, canonical, rows, optimisation, hardware)
        return writer, _writing_checks(writer, inputs, canonical, rows[1])
    targets = np.asarray(y, dtype=float) if y is not None else _descriptors(psmiles, spec, rows[0], jobs)
    network = _property_network(encoder, targets, rows[0], optimisation, 2 * model.width)
    train_network(network, inputs, targets, rows, optimisation, hardware)
    return network, {"validation R2": _r2(network, inputs, targets, rows[1])}


def _descriptors(psmiles: Sequence[str], spec: PretrainSpec, train: np.ndarray, jobs: int) -> np.ndarray:
    from polyml.features.batch import featurize

    raw = np.asarray(featurize(spec.descriptors, [str(text) for text in psmiles], jobs=jobs), dtype=np.float64)
    raw = raw[:, raw[train].std(axis=0) > 0]
    scaled = (raw - raw[train].mean(axis=0)) / np.maximum(raw[train].std(axis=0), 1e-9)
    return np.clip(scaled, -_CLIP, _CLIP)


def _property_network(
    encoder: Any, y: np.ndarray, train: np.ndarray, optimisation: Optimisation, hidden: int
) -> PropertyNetwork:
    from polyml.models.nn.module import PropertyNetwork
    from polyml.models.nn.targets import TargetScaler
    from polyml.models.targets import TargetBasis

    targets = TargetScaler(y.shape[1]).fit(y[train], TargetBasis.separate(y.shape[1]))
    return PropertyNetwork(encoder, targets, optimisation, hidden=hidden, dropout=0.0)


def _masked_network(pretext: str, encoder: Any, optimisation: Optimisation) -> MaskedPart:
    from polyml.models.nn.pretext import MaskedAtoms, MaskedTokens

    if pretext == "masked_atom":
        from polyml.features.graphs import ELEMENTS

        return MaskedAtoms(encoder, len(ELEMENTS) + 1, optimisation)
    from polyml.features.tokens import MASK, VOCABULARY

    return MaskedTokens(encoder, len(VOCABULARY), optimisation, MASK)


def _writing_network(encoder: Any, optimisation: Optimisation) -> SequenceAutoencoder:
    from polyml.features.tokens import MASK, VOCABULARY
    from polyml.models.nn.autoencoder import SequenceAutoencoder

    return SequenceAutoencoder(encoder, len(VOCABULARY), MASK, "plain", encoder.width, 0.0, 0.0, optimisation)


def _batches(inputs: Inputs, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[at : at + _ROWS_AT_ONCE]
        yield part, inputs.take(part.tolist())


def _masked_checks(network: MaskedPart, inputs: Inputs, rows: np.ndarray) -> dict[str, float]:
    import torch

    with torch.inference_mode():
        return _accuracy([network.accuracy(batch) for _, batch in _batches(inputs, rows)])


def _writing_checks(
    network: SequenceAutoencoder, inputs: Inputs, canonical: np.ndarray, rows: np.ndarray
) -> dict[str, float]:
    import torch

    with torch.inference_mode():
        return _accuracy(
            [network.accuracy(batch, torch.as_tensor(canonical[part])) for part, batch in _batches(inputs, rows)]
        )


def _accuracy(counts: Sequence[tuple[int, int]]) -> dict[str, float]:
    right, total = (sum(part) for part in zip(*counts, strict=True))
    return {"validation accuracy": right / total}


def _r2(network: PropertyNetwork, inputs: Inputs, y: np.ndarray, rows: np.ndarray) -> float:
    """Return the variance explained over all targets of the polymers set aside, each target counted alike."""
    import torch

    with torch.inference_mode():
        parts: list[torch.Tensor] = [network(batch) for _, batch in _batches(inputs, rows)]
    truth, predicted = y[rows], torch.cat(parts).numpy()
    scale = np.nanvar(y, axis=0)
    scale[~(scale > 0)] = 1.0
    residual = np.nansum((truth - predicted) ** 2 / scale)
    total = np.nansum((truth - np.nanmean(truth, axis=0)) ** 2 / scale)
    return float(1 - residual / total) if total > 0 else float("nan")
