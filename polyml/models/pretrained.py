"""Pretrained encoders on disk, as :func:`polyml.transfer.pretrain.pretrain` writes them: weights and a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.errors import UserError

if TYPE_CHECKING:
    from torch import nn

CARD, WEIGHTS = "card.json", "encoder.safetensors"
FOUNDATION = "foundation"
"""The name of the encoder that comes with polyml."""

_STRUCTURE = ("width", "depth", "activation", "norm", "heads")


def encoder_folder(name: str | Path) -> Path:
    """Return the folder of a pretrained encoder: a path, or ``foundation`` for the one that comes with polyml.

    Examples
    --------
    >>> encoder_folder("foundation").name
    'foundation'
    """
    if str(name) == FOUNDATION and not Path(name).is_dir():
        return Path(__file__).with_name(FOUNDATION)
    return Path(name)


def read_encoder_card(name: str | Path) -> dict[str, Any]:
    """Read the card of a pretrained encoder: what it is, what it was trained on, and how well it did.

    Raises
    ------
    UserError
        The folder holds no pretrained encoder.
    """
    folder = encoder_folder(name)
    fix = f"name a folder that polyml pretrain has written, or '{FOUNDATION}'"
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        known = {"encoder": str(card["encoder"]), "params": dict(card["params"])}
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"no pretrained encoder can be read: {error}", where=str(folder), fix=fix) from error
    return {**card, **known}


def check_encoder(name: str | Path, key: str, params: dict[str, Any], where: str) -> None:
    """Check that a pretrained encoder fits a model.

    Parameters
    ----------
    name : str or Path
    key : str
        Architecture of the model's encoder.
    params : dict
        The model's parameters.
    where : str
        What to call the model in messages.

    Raises
    ------
    UserError
        There is none, or it is of another architecture or size.
    """
    card = read_encoder_card(name)
    if card["encoder"] != key:
        raise UserError(
            f"the pretrained encoder is a '{card['encoder']}', not a '{key}'",
            where=where,
            fix=f"take the model '{card['encoder']}', or an encoder pretrained for '{key}'",
        )
    wrong = {part: card["params"][part] for part in _STRUCTURE if params.get(part) != card["params"].get(part)}
    if wrong:
        told = ", ".join(f"{part}={value!r}" for part, value in wrong.items())
        raise UserError("the pretrained encoder has another size", where=where, fix=f"set {told}")


def load_encoder(encoder: nn.Module, name: str | Path) -> None:
    """Put pretrained weights into ``encoder``.

    Raises
    ------
    UserError
        The folder holds no encoder, or one of another size.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = encoder_folder(name)
    try:
        encoder.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"the weights of the pretrained encoder cannot be used: {error}", where=str(folder)) from error
