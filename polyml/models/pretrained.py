"""Pretrained encoders on disk, as :func:`polyml.transfer.pretrain.pretrain` writes them: weights and a card.

An encoder that has learned labels keeps a list of the polymers that had them, so that none of these is tested later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.chem import constitution_of_key
from polyml.data.files import sha256_file
from polyml.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from polyml.models.base import PolymerModel

CARD, WEIGHTS, LABELLED = "card.json", "encoder.safetensors", "labelled.txt"
FOUNDATION = "foundation"
"""The name of the encoder that comes with polyml."""
WITHOUT_LABELS = ("descriptors", "masked_atom", "masked_token", "autoencoding")
"""The pretext tasks that read structures alone."""

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
        what = f"there is no {CARD}" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"no pretrained encoder can be read: {what}", where=str(folder), fix=fix) from error
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
        raise UserError(
            f"the weights of the pretrained encoder cannot be used: {error}",
            where=str(folder),
            fix="pretrain it anew, or name another",
        ) from error


def polymer_mark(key: str) -> str:
    """Return what stands for a polymer, configurations apart, in the list of those whose labels an encoder has learned.

    Examples
    --------
    >>> polymer_mark("*CC*")
    '1289de2a75eda556'
    """
    return hashlib.sha256(constitution_of_key(key).encode()).hexdigest()[:16]


def labelled_text(keys: Iterable[str]) -> str:
    """Return the list of labelled polymers as it is written: one mark a line, sorted."""
    return "".join(f"{mark}\n" for mark in sorted(map(polymer_mark, set(keys))))


def read_labelled(name: str | Path) -> frozenset[str]:
    """Read which polymers an encoder has learned labels of; none where its pretext task reads structures alone.

    Returns
    -------
    frozenset of str
        Their :func:`polymer_mark`.

    Raises
    ------
    UserError
        It has learned labels, and the list is missing or is not the one that its card tells of.
    """
    card, path = read_encoder_card(name), encoder_folder(name) / LABELLED
    if card.get("pretext") in WITHOUT_LABELS and "labels" not in card:
        return frozenset()
    labels = card.get("labels")
    expected = labels.get("digest") if isinstance(labels, dict) else None
    if expected is None or not path.is_file() or sha256_file(path) != expected:
        what = "no longer fits its card" if expected is not None and path.is_file() else "is missing"
        raise UserError(
            f"this encoder has learned labels of polymers, and the list of these polymers {what}",
            where=str(path),
            fix="pretrain the encoder anew: models that start from it cannot be scored",
        )
    return frozenset(path.read_text(encoding="utf-8").split())


def encoders_of(model: PolymerModel) -> tuple[str, ...]:
    """Return the names of the pretrained encoders that a model starts from, or that a search in it may choose.

    Those of the models inside it are among them.
    """
    params = model.get_params(deep=False)
    own = named_encoders({name: params[name] for name in ("pretrained", "space") if name in params})
    return tuple(dict.fromkeys([*own, *(name for inner in model.inner_models() for name in encoders_of(inner))]))


def named_encoders(params: Any) -> Iterator[str]:
    """Yield the pretrained encoders that parameters or search spaces name, at any depth.

    Examples
    --------
    >>> list(named_encoders({"members": ["svm", {"key": "gin", "pretrained": "mine"}]}))
    ['mine']
    >>> list(named_encoders({"pretrained": ["mine", None, "foundation"]}))
    ['mine', 'foundation']
    """
    if isinstance(params, Mapping):
        for name, value in params.items():
            if name == "pretrained":
                found = value if isinstance(value, list | tuple) else [value]
                yield from (str(item) for item in found if item is not None)
            else:
                yield from named_encoders(value)
    elif isinstance(params, list | tuple):
        for item in params:
            yield from named_encoders(item)


def encoder_digests(names: Iterable[str]) -> dict[str, str]:
    """Return a digest of the weights of each pretrained encoder: what scores depend on besides its name.

    Raises
    ------
    UserError
        An encoder has no weights.
    """
    digests = {}
    for name in names:
        path = encoder_folder(name) / WEIGHTS
        try:
            digests[name] = sha256_file(path)
        except OSError as error:
            what = f"the weights of the pretrained encoder cannot be read: {error.strerror or error}"
            raise UserError(what, where=str(path), fix="pretrain it anew, or name another") from error
    return digests


def check_unseen(names: Iterable[str], tested: Iterable[str], *, where: str, source: str) -> None:
    """Refuse to test polymers whose labels a pretrained encoder has learned, whichever property it was.

    Parameters
    ----------
    names : iterable of str
        The encoders.
    tested : iterable of str
        Canonical keys of the polymers that are to be tested.
    where : str
        What to call the model in messages.
    source : str
        The file of these polymers, for the message.

    Raises
    ------
    UserError
        There are such polymers, or an encoder has learned labels and does not tell of which polymers.
    """
    marks: set[str] = set()
    for name in names:
        seen = read_labelled(name)
        if not seen:
            continue
        marks = marks or set(map(polymer_mark, tested))
        common = len(seen & marks)
        if common:
            learned = ", ".join(read_encoder_card(name)["labels"].get("properties", ())) or "labels"
            raise UserError(
                f"the pretrained encoder '{name}' has learned {learned} of {common} of the {len(marks)} polymers that "
                "are to be tested: the scores would be better than on new polymers",
                where=where,
                fix=f"pretrain it without them: polyml pretrain ... --without {source or 'FILE'}",
            )
