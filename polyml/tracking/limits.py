"""What MLflow takes: names, lengths of values, sizes of batches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# The limits of mlflow's own validation, within which a write is never refused.
MAX_METRICS, MAX_ITEMS, MAX_KEY = 1000, 100, 250
MAX_PARAM, MAX_TAG, MAX_DIGEST = 6000, 8000, 36


def flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings, named ``outer.inner``."""
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def key(name: object) -> str:
    """Return a name mlflow accepts on every system: ``[O2]``, ``%``, ``°`` and the like become ``_``.

    Examples
    --------
    >>> key("rmse[O2/N2]"), key("../fold 1//loss")
    ('rmse_O2/N2', 'fold 1/loss')
    """
    text = re.sub(r"[^/\w.\- ]+", "_", str(name)).strip("_ ")
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[:MAX_KEY] or "_"


def cut(value: object, limit: int) -> str:
    """Return the text of a value, cut with a note where it is too long."""
    text = str(value)
    if len(text) <= limit:
        return text
    note = f" ... (cut, {len(text)} characters)"
    return text[: limit - len(note)] + note


def chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield slices of at most ``size`` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
