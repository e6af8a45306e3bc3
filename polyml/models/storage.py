"""Fitted models on disk without pickle: JSON, safetensors, and skops with an explicit list of types."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyml.errors import DAMAGED, UserError
from polyml.models.base import PolymerModel
from polyml.workers import collecting_later

FORMAT = 1
_CARD, _ARRAYS = "model.json", "arrays.safetensors"


@dataclass(frozen=True)
class Stored:
    """What :func:`write_model` wrote.

    Attributes
    ----------
    params : dict
        Parameters of the model's constructor.
    state : dict
        What the model learned and JSON can hold.
    arrays : dict of str to ndarray
        What the model learned as arrays.
    """

    params: dict[str, Any]
    state: dict[str, Any]
    arrays: dict[str, np.ndarray]


def write_model(
    folder: Path, model: PolymerModel, state: dict[str, Any], arrays: dict[str, np.ndarray] | None = None
) -> None:
    """Write parameters and state of a model as JSON, arrays as safetensors.

    Raises
    ------
    UserError
        A parameter that JSON cannot hold (a RandomState object, say).
    """
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    card = {"model": model.key, "format": FORMAT, "params": model.get_params(deep=False), "state": state}
    try:
        text = json.dumps(card, indent=1, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the parameters of model '{model.key}' cannot be saved: {error}",
            fix="use numbers and strings as parameters; random_state must be an integer",
        ) from error
    (folder / _CARD).write_text(text, encoding="utf-8")
    contiguous = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    (folder / _ARRAYS).write_bytes(save(contiguous))  # save_file would keep it from everybody else


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not a plain value")


def read_card(folder: Path) -> dict[str, Any]:
    """Read ``model.json`` of a saved model: its key, parameters and state.

    Raises
    ------
    UserError
        The folder holds no model, or one of another format.
    """
    path = Path(folder) / _CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("no model is saved here", where=str(folder), fix=f"name a folder with {_CARD}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"not readable as JSON: {error}", where=str(path), fix=DAMAGED) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise UserError("the model was saved in another format", where=str(path), fix="train the model again")
    return card


def read_model(folder: Path, key: str) -> Stored:
    """Read what :func:`write_model` wrote for the model ``key``."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    card = read_card(folder)
    if card["model"] != key:
        raise UserError(
            f"this is a model '{card['model']}', not '{key}'",
            where=str(folder),
            fix="name the folder of the right model",
        )
    try:
        arrays = load_file(Path(folder) / _ARRAYS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"the arrays of the model cannot be read: {error}", where=str(folder), fix=DAMAGED) from error
    return Stored(params=card["params"], state=card["state"], arrays=arrays)


def write_estimators(folder: Path, estimators: Sequence[Any]) -> None:
    """Write scikit-learn estimators as ``estimator_0.skops`` and so on."""
    import skops.io

    for number, estimator in enumerate(estimators):
        skops.io.dump(
            estimator, folder / f"estimator_{number}.skops", compression=zipfile.ZIP_DEFLATED, compresslevel=6
        )


def read_estimators(folder: Path, count: int, trusted: Iterable[str] = ()) -> list[Any]:
    """Read scikit-learn estimators, refusing every type that is not expected.

    Parameters
    ----------
    folder : Path
    count : int
    trusted : iterable of str
        Types beyond those that skops holds safe, by full name.

    Raises
    ------
    UserError
        A file is missing or damaged, or it holds another type.
    """
    with collecting_later():
        return [_read_estimator(Path(folder) / f"estimator_{number}.skops", list(trusted)) for number in range(count)]


def _read_estimator(path: Path, trusted: list[str]) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=trusted)
    except UntrustedTypesFoundException as error:
        unexpected = sorted(set(skops.io.get_untrusted_types(file=path)) - set(trusted))
        raise UserError(
            f"the file holds types that no model of polyml writes: {', '.join(unexpected)}",
            where=str(path),
            fix="use only models from a source you trust",
        ) from error
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"the model cannot be read: {error}", where=str(path), fix=DAMAGED) from error
