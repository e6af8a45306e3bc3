"""Pretrain an encoder on polymers by a pretext task, and keep it for models to start from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.chem import ensure_units
from polyml.data.files import check_replaceable, replaced_folder, write_json
from polyml.errors import UserError, unknown_name
from polyml.models.pretrained import CARD, LABELLED, WEIGHTS, labelled_text
from polyml.versions import installed_versions

if TYPE_CHECKING:
    import torch

    from polyml.models.joint import JointModel
    from polyml.models.nn.autoencoder import SequenceAutoencoder
    from polyml.models.nn.inputs import Inputs
    from polyml.models.nn.module import PropertyNetwork, TrainedInMemory
    from polyml.models.nn.options import Optimisation
    from polyml.models.nn.pretext import MaskedPart
    from polyml.training.loop import Hardware

_CLIP = 4.0  # standard deviations; a rare huge descriptor must not rule the loss
_VALIDATION = 0.1
_ROWS_AT_ONCE = 256

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
        model = make_model(self.encoder, **{**self.params, "features": None})
        assert isinstance(model, JointModel)
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


def pretrain(
    psmiles: Sequence[str],
    folder: Path | str,
    spec: PretrainSpec | None = None,
    *,
    y: np.ndarray | None = None,
    properties: Sequence[str] = (),
    hardware: Hardware | None = None,
    jobs: int = 1,
    data: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train an encoder by a pretext task, and save it.

    Hu et al., ICLR 2020 (graphs); Xu et al., npj Comput. Mater. 9, 64 (2023) (sequences). A tenth of the polymers,
    grouped by key, is set aside for the best epoch and for the check in the card.

    Parameters
    ----------
    psmiles : sequence of str
    folder : Path
        Where the encoder goes; made as a whole or not at all.
    spec : PretrainSpec, optional
    y : ndarray of shape (n, t), optional
        The properties, for the pretext task "property"; NaN where not measured. Which polymers have a value is kept
        beside the card, so that none of them is tested with this encoder.
    properties : sequence of str
        Names of the columns of ``y``, for the card.
    hardware : Hardware, optional
    jobs : int
        Processes for the descriptors.
    data : mapping, optional
        What the card is to tell of the polymers besides their number and digest: source, how they were drawn, what
        was left out.

    Returns
    -------
    dict
        The card: encoder, params, pretext, data (digest, polymers, and what is given), labels (properties, polymers,
        digest) where it has learned any, seed, epochs, steps, checks, versions.

    Raises
    ------
    UserError
        Fewer than ten polymers, one that is no repeat unit, a task that does not fit the network, or a property
        without values.
    """
    from polyml.training.loop import Hardware, seeded

    spec, hardware = spec or PretrainSpec(), hardware or Hardware()
    model = spec.make_model()
    if len(psmiles) < 10:
        raise UserError(f"{len(psmiles)} polymers are too few to pretrain on", fix="give at least ten")
    if (spec.pretext == "property") != (y is not None):
        raise UserError("the pretext task 'property' and measured values go together", fix="give both or neither")
    labelled = None if y is None else labelled_text(_labelled_keys(psmiles, y, properties))
    with seeded(spec.seed):
        network, checks = _train(psmiles, spec, model, y, hardware, jobs)
    epochs = network.epochs()
    rows = len(psmiles) - round(_VALIDATION * len(psmiles))
    params = {name: value for name, value in model.get_params(deep=False).items() if name in _structure(model)}
    card = {
        "encoder": spec.encoder,
        "params": params,
        "pretext": spec.pretext,
        "task": PRETEXTS[spec.pretext],
        "data": {**(data or {}), "polymers": len(psmiles), "digest": polymer_digest(psmiles)},
        **({} if labelled is None else {"labels": _labels(properties, labelled)}),
        "seed": spec.seed,
        "epochs": len(epochs),
        "steps": len(epochs) * -(-rows // spec.batch_size),
        "training": {"batch_size": spec.batch_size, "lr": spec.lr, "descriptors": spec.descriptors},
        "checks": checks,
        "history": [{name: round(value, 6) for name, value in row.items()} for row in epochs],
        "versions": {name: installed_versions()[name] for name in ("polyml", "rdkit", "torch")},
    }
    _write(Path(folder), network.encoder, card, labelled)
    return card


def _labelled_keys(psmiles: Sequence[str], y: np.ndarray, properties: Sequence[str]) -> list[str]:
    """Return the keys of the polymers that have a value; each property is to have some."""
    known = ~np.isnan(np.asarray(y, dtype=float))
    if properties and len(properties) != known.shape[1]:
        raise UserError(f"{len(properties)} properties are named, and there are values of {known.shape[1]}")
    for column in np.flatnonzero(~known.any(axis=0)).tolist():
        name = properties[column] if properties else f"column {column + 1}"
        raise UserError(f"no polymer has a value of '{name}'", where="pretraining", fix="leave this target out")
    return [unit.key for unit, has in zip(ensure_units(psmiles), known.any(axis=1), strict=True) if has]


def _labels(properties: Sequence[str], labelled: str) -> dict[str, Any]:
    """Return what the card tells of labels: of which properties and how many polymers, and the digest of their list."""
    digest = hashlib.sha256(labelled.encode()).hexdigest()
    return {"properties": list(properties), "polymers": labelled.count("\n"), "digest": digest}


def _structure(model: JointModel) -> set[str]:
    names = {"width", "depth", "activation", "norm", "heads", "dropout", "variants"}
    return names & set(model._get_param_names())


def _train(
    psmiles: Sequence[str],
    spec: PretrainSpec,
    model: JointModel,
    y: np.ndarray | None,
    hardware: Hardware,
    jobs: int,
) -> tuple[TrainedInMemory, dict[str, float]]:
    from polyml.models.nn.options import Optimisation
    from polyml.training.loop import split_validation, train_network

    units = ensure_units(psmiles)
    inputs = model._main_inputs(units)
    encoder = model._main_encoder(model._main_shape(inputs))
    rows = split_validation([unit.key for unit in units], _VALIDATION, spec.seed)
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


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else; see :func:`polyml.data.files.check_replaceable`."""
    check_replaceable(folder, CARD, "a pretrained encoder")


def _write(folder: Path, encoder: Any, card: dict[str, Any], labelled: str | None) -> None:
    from safetensors.torch import save_file

    check_folder(folder)
    with replaced_folder(folder, "the encoder") as new:
        save_file({name: value.contiguous() for name, value in encoder.state_dict().items()}, new / WEIGHTS)
        if labelled is not None:
            (new / LABELLED).write_text(labelled, encoding="utf-8", newline="\n")
        write_json(new / CARD, card)


def polymer_digest(psmiles: Sequence[str]) -> str:
    """Return a digest of the polymers in order."""
    return hashlib.sha256("\n".join(psmiles).encode()).hexdigest()
