"""Sections of YAML documents: what may stand in a recipe or a benchmark suite, and what is said of what may not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from polyml.errors import UserError, did_you_mean
from polyml.recipe_yaml import key_lines, parse_value, set_value

Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A part of a document: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def load_document(document: type[Model], path: Path, overrides: Sequence[str] = (), *, kind: str) -> Model:
    """Read a YAML file as a document of a kind ("recipe").

    Parameters
    ----------
    document : type
    path : Path
    overrides : sequence of str
        ``key=value`` with dots in the key; the value is read as YAML.
    kind : str
        What messages call it.

    Raises
    ------
    UserError
        For a file that cannot be read, bad YAML (with its line), or a key or value that does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"the {kind} is not UTF-8 text", where=str(path), fix="save it as UTF-8") from error
    tree = parse_value(text, str(path))
    if not isinstance(tree, dict):
        raise UserError(
            f"a {kind} is a list of keys such as 'name:' and 'seed:'",
            where=str(path),
            fix="pipelines/README.md explains the keys",
        )
    places = {place: f"{path}, line {line}" for place, line in key_lines(text).items()}
    for override in overrides:
        place = set_value(tree, override)
        places[place] = f"--set {override}"
        for depth in range(1, len(place)):  # a section that only the option names
            places.setdefault(place[:depth], f"--set {override}")
    return parse_document(document, tree, where=str(path), kind=kind, places=places)


def parse_document(
    document: type[Model],
    tree: Mapping[str, Any],
    *,
    where: str,
    kind: str,
    places: Mapping[tuple, str] | None = None,
) -> Model:
    """Check a document given as plain data; ``places`` says where each key stands, by its path."""
    try:
        return document.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, document, where, kind, places or {}) from None


_OPTIONS = {
    "kind": "split", "column": "split-column", "digest": "split-digest", "constraints": "constraint",
    "objectives": "objective",
}  # fmt: skip
"""Fields that have another name as options."""


def check_section(section: type[Model], **values: Any) -> Model:
    """Build one section from the options of a verb.

    Raises
    ------
    UserError
        A value does not fit; the message names the option.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        if fault["loc"]:
            name, got = str(fault["loc"][0]), f" (got {fault.get('input')!r})"
            raise UserError(f"{_message(fault)}{got}", where=_option(name), fix=_remedy(fault)) from None
        # A fault of several fields together calls them by their names in a recipe.
        quoted = re.compile("|".join(f"'{field}'" for field in section.model_fields))
        what = quoted.sub(lambda field: _option(field.group().strip("'")), _message(fault))
        raise UserError(what, fix=_remedy(fault)) from None


def _option(field: str) -> str:
    """Return the option that sets a field."""
    return f"--{_OPTIONS.get(field, field).replace('_', '-')}"


def _explain(
    error: ValidationError, document: type[BaseModel], where: str, kind: str, places: Mapping[tuple, str]
) -> UserError:
    """Turn the first fault that pydantic found into a message for the document's writer."""
    faults = error.errors(include_url=False)
    fault = next((item for item in faults if item["type"] == "extra_forbidden"), faults[0])
    place = tuple(fault["loc"])
    dotted = ".".join(str(part) for part in place) or f"the {kind}"
    at = next((places[place[:end]] for end in range(len(place), 0, -1) if place[:end] in places), where)
    if fault["type"] == "extra_forbidden":
        known = sorted(_fields_at(document, place[:-1]))
        hint = did_you_mean(place[-1], known, prefix="".join(f"{part}." for part in place[:-1]))
        return UserError(f"unknown {kind} key '{dotted}'", where=at, fix=f"{hint}known here: {', '.join(known)}")
    if fault["type"] == "missing":
        return UserError(
            f"the {kind} key '{dotted}' is missing", where=at, fix="add it; pipelines/README.md explains the keys"
        )
    got = fault.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) or got is None else ""
    return UserError(f"{dotted}: {_message(fault)}{shown}", where=at, fix=_remedy(fault))


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text", "list": "a list",
          "dict": "a section of keys", "tuple": "a list", "model": "a section of keys"}  # fmt: skip
_LIMITS = {
    "greater_than_equal": "give a number of at least {ge}", "greater_than": "give a number above {gt}",
    "less_than_equal": "give a number of at most {le}", "less_than": "give a number below {lt}",
    "string_too_short": "give at least {min_length} characters", "too_short": "give at least {min_length}",
}  # fmt: skip


def _message(fault: Mapping[str, Any]) -> str:
    """Say what is wrong with a value, in words of polyml's."""
    kind = _KINDS.get(str(fault["type"]).split("_")[0])
    if fault["type"] == "literal_error":
        return "no such value"
    if fault["type"] in _LIMITS:
        return "the value is out of range" if "too_short" not in fault["type"] else "the value is too short"
    return f"the value is not {kind}" if kind else fault["msg"].removeprefix("Value error, ")


def _remedy(fault: Mapping[str, Any]) -> str | None:
    """Return how to mend a value: the names it may be with the nearest first, its range, or its kind."""
    context = fault.get("ctx", {})
    if fault["type"] in _LIMITS:
        return _LIMITS[fault["type"]].format(**context)
    if names := re.findall(r"'([^']+)'", str(context.get("expected", ""))):
        return f"{did_you_mean(fault.get('input'), names)}known: {', '.join(names)}"
    kind = _KINDS.get(str(fault["type"]).split("_")[0])
    return f"write {kind}" if kind else None


def _fields_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Names of the keys that may stand at a place of a document."""
    for part in place:
        if isinstance(part, int):  # an item of a list
            continue
        field = model.model_fields.get(part) or next(f for f in model.model_fields.values() if f.alias == part)
        model = _section_class(field.annotation) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _section_class(annotation: Any) -> type[BaseModel] | None:
    """Find the section inside ``Section``, ``Section | None`` or ``list[Section]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_class(arg))), None)
