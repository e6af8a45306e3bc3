"""Pretrain an encoder on polymers by a pretext task, and keep it for models to start from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.chem import ensure_units
from polyml.data.files import check_replaceable, replaced_folder, write_json
from polyml.data.table import REPORT_FILES
from polyml.errors import UserError
from polyml.models.pretrained import CARD, LABELLED, WEIGHTS, labelled_text
from polyml.transfer.pretexts import PRETEXTS, STRUCTURE, VALIDATION, PretrainSpec, train_encoder
from polyml.versions import installed_versions

if TYPE_CHECKING:
    from polyml.training.loop import Hardware


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
        network, checks = train_encoder(psmiles, spec, model, y, hardware, jobs)
    epochs = network.epochs()
    rows = len(psmiles) - round(VALIDATION * len(psmiles))
    params = {name: value for name, value in model.get_params(deep=False).items() if name in STRUCTURE}
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
        raise UserError(
            f"{len(properties)} properties are named, and there are values of {known.shape[1]}",
            fix="name each column once",
        )
    for column in np.flatnonzero(~known.any(axis=0)).tolist():
        name = properties[column] if properties else f"column {column + 1}"
        raise UserError(f"no polymer has a value of '{name}'", where="pretraining", fix="leave this target out")
    return [unit.key for unit, has in zip(ensure_units(psmiles), known.any(axis=1), strict=True) if has]


def _labels(properties: Sequence[str], labelled: str) -> dict[str, Any]:
    """Return what the card tells of labels: of which properties and how many polymers, and the digest of their list."""
    digest = hashlib.sha256(labelled.encode()).hexdigest()
    return {"properties": list(properties), "polymers": labelled.count("\n"), "digest": digest}


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else; see :func:`polyml.data.files.check_replaceable`."""
    check_replaceable(folder, CARD, "a pretrained encoder", whole=True)


def _write(folder: Path, encoder: Any, card: dict[str, Any], labelled: str | None) -> None:
    from safetensors.torch import save

    check_folder(folder)
    with replaced_folder(folder, "the encoder", (CARD, WEIGHTS, LABELLED, *REPORT_FILES)) as new:
        weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
        (new / WEIGHTS).write_bytes(save(weights))
        if labelled is not None:
            (new / LABELLED).write_text(labelled, encoding="utf-8", newline="\n")
        write_json(new / CARD, card)


def polymer_digest(psmiles: Sequence[str]) -> str:
    """Return a digest of the polymers in order."""
    return hashlib.sha256("\n".join(psmiles).encode()).hexdigest()
