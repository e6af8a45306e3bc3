"""Models inside models: the members of an ensemble, and what a wrapper wraps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polyml.errors import UserError, unknown_name

if TYPE_CHECKING:
    from polyml.models.base import PolymerModel

Member = str | Mapping[str, Any]


def member_params(member: Member, where: str) -> tuple[str, dict[str, Any]]:
    """Return key and parameters of a model named inside another: ``"svm"``, or ``{"key": "svm", "C": 10}``.

    Raises
    ------
    UserError
        It is neither, or no model has this key; the message names the nearest one.

    Examples
    --------
    >>> member_params({"key": "svm", "C": 10}, "members")
    ('svm', {'C': 10})
    """
    from polyml.models.catalog import MODELS

    key, params = (member, {}) if isinstance(member, str) else (None, {})
    if isinstance(member, Mapping):
        key, params = member.get("key"), {name: value for name, value in member.items() if name != "key"}
    if not isinstance(key, str):
        raise UserError(f"{member!r} is no model", where=where, fix="name a model, or write {key: svm, C: 10}")
    if key not in MODELS:
        raise unknown_name("model", key, MODELS, where=where)
    return key, params


def make_member(member: Member, where: str, seed: int, **shared: Any) -> PolymerModel:
    """Build a model named inside another one.

    Parameters
    ----------
    member : str or mapping
    where : str
        What to call it in messages.
    seed : int
        Its ``random_state``, unless it has none or names its own.
    **shared
        Parameters that it takes over from the outer model unless it names its own.
    """
    from polyml.models.catalog import make_model, model_class

    key, params = member_params(member, where)
    if "random_state" in model_class(key)._get_param_names():
        params = {"random_state": seed, **params}
    return make_model(key, **{**shared, **params})
