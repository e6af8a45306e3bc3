"""Which parameters of a model are searched, and over which values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from polyml.errors import UserError, unknown_name
from polyml.models.space import Choice, Range, read_range

SpaceOption = Mapping[str, Any] | Sequence[str] | None
"""A search space as recipes and options write it."""


_COMBINATIONS = 200  # of the other parameters that are tried with a value, before a search


@dataclass(frozen=True)
class Space:
    """The ranges of a search, and the model's own values of the same parameters.

    Attributes
    ----------
    ranges : dict of str to Range
    defaults : dict
        Value of each of these parameters when it is not searched.
    outside : dict
        Defaults that the model's own range does not contain (None for "chosen by the model", say). The trial of the
        defaults takes them all the same; no other trial does.
    holds_defaults : bool
        Whether a trial of the defaults is among those that the user's ranges allow.
    """

    ranges: Mapping[str, Range]
    defaults: Mapping[str, Any]
    outside: Mapping[str, Any]
    holds_defaults: bool = True

    def draw(self, trial: Any) -> dict[str, Any]:
        """Draw the parameters of an Optuna trial."""
        fixed = self.outside if trial.user_attrs.get("defaults") else {}
        drawn = {name: item.suggest(trial, name) for name, item in self.ranges.items() if name not in fixed}
        return {**drawn, **fixed}

    def first(self) -> dict[str, Any]:
        """Return the defaults as Optuna stores them; a number outside of a range given by the user moves to its end."""
        found = {}
        for name, item in self.ranges.items():
            value = self.defaults[name]
            if name in self.outside:
                continue
            if not _contains(item, value):
                if isinstance(item, Choice) or not _is_number(value):
                    continue  # nothing near it: the sampler draws
                value = min(max(value, item.low), item.high)
                value = value if isinstance(item.low, float) else round(value)
            found[name] = _encode(item, value)
        return found

    def grid(self, budget: int) -> list[dict[str, Any]]:
        """Return the finest grid of at most ``budget`` points, as Optuna stores them.

        Every number gets equally many values, evenly spread; of a choice all values are taken.

        Raises
        ------
        UserError
            Two values of each number are too many already.
        """
        axes = self._axes(2)
        if math.prod(map(len, axes)) > budget:
            raise UserError(
                f"the smallest grid over {', '.join(self.ranges)} has {math.prod(map(len, axes))} points",
                where=f"grid within {budget} trials",
                fix="search fewer parameters, allow more trials, or use another sampler",
            )
        for points in range(3, budget + 1):
            finer = self._axes(points)
            if math.prod(map(len, finer)) > budget:
                break
            axes = finer
        return [dict(zip(self.ranges, values, strict=True)) for values in product(*axes)]

    def _axes(self, points: int) -> list[list[Any]]:
        axes = []
        for item in self.ranges.values():
            places = range(len(item.values)) if _by_place(item) else item.grid(points)  # type: ignore[union-attr]
            axes.append(list(dict.fromkeys(places)))
        return axes

    def decode(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the parameters that Optuna stores."""
        return {name: _decode(item, stored[name]) for name, item in self.ranges.items() if name in stored}

    def describe(self) -> dict[str, Any]:
        """Return the ranges as plain data."""
        return {
            name: list(item.values) if isinstance(item, Choice) else dict(vars(item))
            for name, item in self.ranges.items()
        }


def make_space(key: str, params: Mapping[str, Any], given: SpaceOption = None) -> Space:
    """Build the space of a search.

    Parameters
    ----------
    key : str
        Model of the catalog.
    params : mapping
        Parameters of the model that are fixed.
    given : mapping or sequence of str, optional
        The parameters to search, each with a list of values, ``{low, high, log}``, or None for the range that the
        model declares; names alone take the declared ranges. Without it every declared range is searched, but for
        those of fixed parameters.

    Raises
    ------
    UserError
        No model, parameter or range of this name; a parameter that is fixed and searched at once; nothing to search.

    Examples
    --------
    >>> list(make_space("svm", {"epsilon": 0.1}).ranges)
    ['C', 'gamma']
    >>> make_space("svm", {}, {"kernel": ["rbf", "linear"], "C": None}).describe()["kernel"]
    ['rbf', 'linear']
    """
    from polyml.models.catalog import make_model

    model = make_model(key, **params)
    declared, values = model.declared_space(), model.get_params(deep=False)
    where = f"search space of model '{key}'"
    if given is None:
        ranges: dict[str, Range] = {name: item for name, item in declared.items() if name not in params}
        own = set(ranges)
    else:
        wanted = dict(given) if isinstance(given, Mapping) else dict.fromkeys(_names(given, where))
        ranges = {name: _read(name, value, declared, values, where) for name, value in wanted.items()}
        own = {name for name, value in wanted.items() if value is None}
    for name in ranges:
        if name in params:
            raise UserError(f"'{name}' is fixed and searched at once", where=where, fix="leave one of the two out")
    if not ranges:
        left = " beside the fixed parameters" if declared else ""
        others = [name for name in values if name not in ("task", "class_weight", *model.without_effect)]
        fix = f"name ranges yourself, NAME={{low: 0.1, high: 10}}; its parameters: {', '.join(others)}"
        raise UserError(f"model '{key}' declares no search space{left}", fix=fix)
    _check_values(key, params, {name: item for name, item in ranges.items() if name not in own}, where)
    defaults = {name: values[name] for name in ranges}
    beside = [name for name in ranges if not _contains(ranges[name], defaults[name])]
    outside = {name: defaults[name] for name in beside if name in own}
    return Space(ranges, defaults, outside, holds_defaults=len(outside) == len(beside))


def _check_values(key: str, params: Mapping[str, Any], ranges: Mapping[str, Range], where: str) -> None:
    """Refuse a value, or an end of a range, with which no model can be made, whatever the other parameters are."""
    from polyml.models.catalog import make_model

    ends = {name: item.values if isinstance(item, Choice) else (item.low, item.high) for name, item in ranges.items()}
    for name, values in ends.items():
        others = {other: found for other, found in ends.items() if other != name}
        if math.prod(len(found) for found in others.values()) > _COMBINATIONS:
            continue
        for value in values:
            fault: UserError | None = None
            for combination in product(*others.values()):
                try:
                    make_model(key, **{**params, **dict(zip(others, combination, strict=True)), name: value})
                except UserError as error:
                    fault = fault or error
                else:
                    break
            else:
                what = f"no model can be made with {name}={value!r}"
                assert fault is not None  # there is one combination at least
                raise UserError(f"{what}: {fault.what}", where=where, fix=fault.fix)


def _names(given: Iterable[Any], where: str) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{given!r} is no list of parameters", where=where, fix="write {C: {low: 0.1, high: 10}}")
    return names


def _read(name: str, value: Any, declared: Mapping[str, Range], known: Mapping[str, Any], where: str) -> Range:
    if name not in known:
        raise unknown_name("parameter", name, known, where=where)
    if value is not None:
        return read_range(name, value)
    if name not in declared:
        raise UserError(f"the model declares no range for '{name}'", where=where, fix="give one: {low: 1, high: 9}")
    return declared[name]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _contains(item: Range, value: Any) -> bool:
    if isinstance(item, Choice):
        return any(_same(value, other) for other in item.values)
    whole = isinstance(item.low, float) or value == round(value) if _is_number(value) else False
    return whole and item.low <= value <= item.high


def _same(one: Any, other: Any) -> bool:
    as_list = [list(value) if isinstance(value, (list, tuple)) else value for value in (one, other)]
    return bool(as_list[0] == as_list[1])


def _by_place(item: Range) -> bool:
    """Tell whether Optuna stores the place of the value, as :meth:`polyml.models.space.Choice.suggest` does."""
    return isinstance(item, Choice) and not all(
        isinstance(value, (str, int, float, bool, type(None))) for value in item.values
    )


def _encode(item: Range, value: Any) -> Any:
    if isinstance(item, Choice):
        place = next(i for i, other in enumerate(item.values) if _same(value, other))
        return place if _by_place(item) else item.values[place]
    return value


def _decode(item: Range, stored: Any) -> Any:
    return item.values[stored] if isinstance(item, Choice) and _by_place(item) else stored
