"""Pretrain a graph encoder on unlabelled polymers: predict their descriptors from their graphs."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyml import __version__
from polyml.chem import ensure_units
from polyml.errors import UserError
from polyml.models.nn.inputs import GraphInputs
from polyml.models.nn.layers import GraphEncoder
from polyml.models.nn.module import Optimisation, PropertyNetwork
from polyml.models.targets import TargetBasis
from polyml.training.loop import Hardware, seeded, split_validation, train_network

_CARD, _WEIGHTS = "card.json", "encoder.safetensors"
_CLIP = 4.0  # standard deviations; a rare huge value must not rule the loss


@dataclass(frozen=True)
class PretrainSpec:
    """What decides the numbers of a pretrained encoder, besides its polymers.

    Attributes
    ----------
    width, depth : int
        Of the encoder.
    epochs, batch_size : int
    lr : float
    descriptors : str
        Key of the featurizer whose columns are predicted.
    seed : int
    """

    width: int = 96
    depth: int = 4
    epochs: int = 10
    batch_size: int = 64
    lr: float = 3e-3
    descriptors: str = "descriptors"
    seed: int = 1


def pretrain_graph_encoder(
    psmiles: Sequence[str],
    folder: Path | str,
    spec: PretrainSpec | None = None,
    hardware: Hardware | None = None,
) -> Path:
    """Train an encoder to predict the descriptors of polymers, and save it.

    Hu et al., ICLR 2020 (graph-level property prediction as a pretraining task). Descriptors are standardised and
    clipped to four standard deviations. A tenth of the polymers, grouped by key, is set aside for the best epoch and
    for the R2 in the card.

    Parameters
    ----------
    psmiles : sequence of str
        Unlabelled polymers.
    folder : Path
        Where the encoder goes; made as a whole or not at all.
    spec : PretrainSpec, optional
    hardware : Hardware, optional

    Returns
    -------
    Path
        The folder, with ``encoder.safetensors`` and ``card.json`` (data digest, number of polymers, epochs, seed, R2).

    Raises
    ------
    UserError
        Fewer than ten polymers, or one that is no repeat unit.
    """
    spec, hardware = spec or PretrainSpec(), hardware or Hardware()
    if len(psmiles) < 10:
        raise UserError(f"{len(psmiles)} polymers are too few to pretrain on", fix="give at least ten")
    with seeded(spec.seed):
        network, r2 = _train(psmiles, spec, hardware)
    card = {
        "digest": polymer_digest(psmiles),
        "n": len(psmiles),
        "spec": asdict(spec),
        "validation_r2": r2,
        "history": [row for row in network.history.tolist() if row[0] == row[0]],
        "polyml": __version__,
        "torch": torch.__version__,
    }
    return _write(Path(folder), network.encoder, card)


def _train(psmiles: Sequence[str], spec: PretrainSpec, hardware: Hardware) -> tuple[PropertyNetwork, float]:
    from polyml.features.batch import featurize

    units = ensure_units(psmiles)
    inputs = GraphInputs(featurize("periodic_graph", units))
    raw = np.asarray(featurize(spec.descriptors, units), dtype=np.float64)
    raw = raw[:, raw.std(axis=0) > 0]
    train, validation = rows = split_validation([unit.key for unit in units], 0.1, spec.seed)
    y = np.clip((raw - raw[train].mean(axis=0)) / np.maximum(raw[train].std(axis=0), 1e-9), -_CLIP, _CLIP)
    optimisation = Optimisation(
        lr=spec.lr, max_epochs=spec.epochs, patience=spec.epochs, batch_size=spec.batch_size, weight_decay=0.01
    )
    graph = inputs.graphs[0]
    encoder = GraphEncoder(graph.x.shape[1], graph.edge_attr.shape[1], spec.width, spec.depth, dropout=0.0)
    network = PropertyNetwork(encoder, y.shape[1], optimisation, hidden=2 * spec.width, dropout=0.0)
    network.targets.fit(y[train], TargetBasis.separate(y.shape[1]))
    train_network(network, inputs, y, rows, optimisation, hardware)
    return network, _r2(network, inputs, y, validation)


def _r2(network: PropertyNetwork, inputs: GraphInputs, y: np.ndarray, rows: np.ndarray) -> float:
    """Return the variance explained over all descriptors of the polymers set aside."""
    parts = [rows[at : at + 256] for at in range(0, len(rows), 256)]
    with torch.inference_mode():
        predicted = torch.cat([network(inputs.take(part.tolist())) for part in parts]).numpy()
    residual = ((y[rows] - predicted) ** 2).sum()
    total = ((y[rows] - y[rows].mean(axis=0)) ** 2).sum()
    return float(1 - residual / total) if total > 0 else 0.0


def _write(folder: Path, encoder: Any, card: dict[str, Any]) -> Path:
    from safetensors.torch import save_file

    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        save_file({name: value.contiguous() for name, value in encoder.state_dict().items()}, work / _WEIGHTS)
        (work / _CARD).write_text(json.dumps(card, indent=1, default=str), encoding="utf-8")
        try:
            work.replace(folder)
        except OSError:
            # Another process has put the same encoder there, or an older one is to be replaced.
            if not (folder / _CARD).is_file():
                raise
            for name in (_WEIGHTS, _CARD):
                (work / name).replace(folder / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def load_encoder(encoder: GraphEncoder, folder: Path) -> None:
    """Put pretrained weights into ``encoder``.

    Raises
    ------
    UserError
        The folder holds no encoder, or one of another size.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        encoder.load_state_dict(load_file(Path(folder) / _WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"no pretrained encoder can be read: {error}", where=str(folder), fix="name a folder with card.json"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"the pretrained encoder has another size: {error}", where=str(folder), fix="set width and depth to its own"
        ) from error


def cached_encoder(n_unlabelled: int, spec: PretrainSpec, hardware: Hardware) -> Path:
    """Return the folder of an encoder pretrained on embedded candidates, training it when it is not in the cache."""
    from filelock import FileLock

    from polyml.settings import cache_folder

    psmiles = sample_candidates(n_unlabelled, spec.seed)
    recipe = json.dumps([polymer_digest(psmiles), asdict(spec), __version__], sort_keys=True)
    folder = cache_folder() / "encoders" / hashlib.sha256(recipe.encode()).hexdigest()[:24]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Folds run in several processes: the first one trains, the others wait for its encoder.
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / _CARD).is_file():
            pretrain_graph_encoder(psmiles, folder, spec, hardware)
    return folder


def sample_candidates(n: int, seed: int) -> list[str]:
    """Draw ``n`` of the embedded candidate polymers; those that are no repeat unit are passed over."""
    import pyarrow.parquet

    from polyml.chem import RepeatUnit
    from polyml.data.catalog import embedded_path
    from polyml.errors import RepeatUnitError

    column = pyarrow.parquet.read_table(embedded_path("candidates"), columns=["psmiles"]).column("psmiles")
    order = np.random.default_rng(seed).permutation(len(column))
    chosen: list[str] = []
    for row in order:
        if len(chosen) == n:
            break
        try:
            chosen.append(RepeatUnit.parse(column[int(row)].as_py()).psmiles)
        except RepeatUnitError:
            continue
    return chosen


def polymer_digest(psmiles: Sequence[str]) -> str:
    """Return a digest of the polymers in order."""
    return hashlib.sha256("\n".join(psmiles).encode()).hexdigest()
