"""YAML as recipes use it: safe, with lines for messages, and with keys set from the command line."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from polyml.errors import UserError


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads ``1e-3`` as a number (YAML 1.1 as PyYAML reads it wants ``1.0e-3``) and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_value(text: str, where: str) -> Any:
    """Read YAML text into plain data: numbers, booleans, text, lists."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(
            f"not valid YAML: {error.problem or error.context}",
            where=f"{where}{line}",
            fix="mend this line; a text with a colon or a star wants quotes",
        ) from None
    except yaml.YAMLError as error:
        raise UserError(
            f"not valid YAML: {error}", where=where, fix="mend the file; a text with a colon or a star wants quotes"
        ) from None
    finally:
        loader.dispose()


def key_lines(text: str) -> dict[tuple, int]:
    """Map the path of each key to its line (from 1).

    Examples
    --------
    >>> lines = key_lines("{name: tg, split: {folds: 3}}")
    >>> lines["split", "folds"]
    1
    """
    lines: dict[tuple, int] = {}

    def walk(node: yaml.Node | None, place: tuple) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[(*place, key.value)] = key.start_mark.line + 1
                walk(value, (*place, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                lines[(*place, index)] = value.start_mark.line + 1
                walk(value, (*place, index))

    walk(yaml.compose(text, Loader=_Loader), ())
    return lines


def set_value(tree: dict[str, Any], override: str) -> tuple[str | int, ...]:
    """Set one ``a.b.c=value`` in the plain data of a recipe, and return the path of its key.

    A number in the path picks an item of a list.
    """
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise UserError("expected key=value", where=where, fix="for example --set split.folds=3")
    node: Any = tree
    place: tuple[str | int, ...] = ()
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise UserError(
                    f"'{part}' is not an item of a list of {len(node)}", where=where, fix="items count from 0"
                )
            index: Any = int(part)
        elif isinstance(node, dict):
            index = part
            if not last and node.get(part) is None:
                node[part] = {}
        else:
            raise UserError(
                f"'{'.'.join(parts[:depth])}' has no keys below it",
                where=where,
                fix="give a key of the section above it",
            )
        place += (index,)
        if last:
            node[index] = parse_value(text, where)
        else:
            node = node[index]
    return place
