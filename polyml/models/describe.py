"""What the parameters of a model mean, from the docstrings where they are explained."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from polyml.models.base import PolymerModel

_ENTRY = re.compile(r"^(\w+(?:, \w+)*)(?:, \.\.\.)?(?: : (.+))?$")
_POINTER = re.compile(r"(?:[Ss]ee|[Pp]arameters as\s+in|parameters of) :class:`~?([\w.]+)`")
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`|``(.+?)``")


def describe_model(key: str) -> dict[str, Any]:
    """Return what is known of a model, with its parameters and their defaults."""
    from polyml.models.catalog import make_model

    model = make_model(key)
    params = {k: v for k, v in model.get_params(deep=False).items() if k not in model.without_effect}
    if len(model.tasks) == 1:
        params = {k: v for k, v in params.items() if k not in ("task", "class_weight")}
    texts = parameter_texts(type(model))
    return {
        "key": model.key,
        "family": model.family,
        "title": model.title,
        "citation": model.citation,
        "input": model.input_kind,
        "tasks": list(model.tasks),
        "multi_task": model.multi_task,
        "gives_std": model.gives_std,
        "params": params,
        "meaning": {name: texts[name] for name in params if name in texts},
        "presets": {name: dict(params) for name, params in model.presets.items()},
        "search_space": {name: str(values) for name, values in model.search_space.items()},
    }


def parameter_texts(cls: type[PolymerModel]) -> dict[str, str]:
    """Return what each parameter of a model means: its values, then a sentence or two where there is more to say.

    Examples
    --------
    >>> from polyml.models.catalog import model_class
    >>> texts = parameter_texts(model_class("dmpnn"))
    >>> texts["norm"]
    '{"layer", "batch", "none"}'
    >>> texts["clip"]
    'float; Largest norm of the gradient; 0 for no limit.'
    """
    kinds: dict[str, str] = {}
    words: dict[str, str] = {}
    for doc in _docs(cls):
        for names, kind, text in _entries(doc):
            for name in names:
                if kind:
                    kinds.setdefault(name, kind)
                if text and not text.startswith("See "):  # else it is explained elsewhere
                    words.setdefault(name, text)
    return {name: "; ".join(filter(None, (kinds.get(name), words.get(name)))) for name in {**kinds, **words}}


def _docs(cls: type[PolymerModel]) -> Iterator[str]:
    """Yield the docstrings of a class and its bases, the nearest first, then of the classes that they point to."""
    waiting: list[Any] = [base for base in cls.__mro__ if issubclass(base, PolymerModel)]
    seen: set[Any] = set()
    while waiting:
        source = waiting.pop(0)
        if source in seen:
            continue
        seen.add(source)
        doc = inspect.getdoc(source) or ""
        yield doc
        waiting += [_find(name, source) for name in _POINTER.findall(doc)]


def _find(name: str, source: Any) -> Any:
    module, _, own = name.rpartition(".")
    return getattr(import_module(module) if module else sys.modules[source.__module__], own)


def _entries(doc: str) -> Iterator[tuple[list[str], str, str]]:
    """Yield names, kind and text of the entries under Parameters and Attributes."""
    lines, inside = doc.splitlines(), False
    found: list[tuple[list[str], str, list[str]]] = []
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if below and set(below) == {"-"}:
            inside = line in ("Parameters", "Attributes")
        elif inside and line.startswith(" ") and found:
            found[-1][2].append(line.strip())
        elif inside and (match := _ENTRY.match(line)):
            found.append((match[1].split(", "), match[2] or "", []))
    for names, kind, text in found:
        yield names, kind, _ROLE.sub(lambda match: match[1] or match[2], " ".join(text))
