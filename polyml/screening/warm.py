"""Start the server that worker processes are forked from while this process still loads the models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from polyml.screening.pool import process_context

_SKOPS = ("skops.io", "sklearn.ensemble")
_NETWORK = ("polyml.models.nn.module", "polyml.models.nn.predict", "polyml.models.nn.serving")
_GRAPH = ("polyml.models.nn.graphs",)


def warm_up(folders: Iterable[str | Path]) -> None:
    """Let the server read the libraries that the models in these folders need, beside this process.

    It is no more than a head start: whatever is missing or wrong in the folders is told when the models are loaded.

    Parameters
    ----------
    folders : iterable of str or Path
        Of trained models.
    """
    if sys.platform != "linux":
        return
    from multiprocessing.forkserver import ensure_running

    process_context([name for folder in folders for name in _libraries(Path(folder))])
    ensure_running()


def _libraries(folder: Path) -> list[str]:
    """Name the libraries that a model needs, by its files."""
    from polyml.models.catalog import model_class
    from polyml.models.trained import TrainedModel

    names = [*_SKOPS] if any(folder.rglob("*.skops")) else []
    with suppress(OSError, ValueError, KeyError, TypeError):
        keys = {json.loads(path.read_text(encoding="utf-8"))["model"] for path in folder.rglob("model.json")}
        models = [model_class(key) for key in keys]
        if any(issubclass(model, TrainedModel) for model in models):
            names += _NETWORK
        if any(model.input_kind == "graph" for model in models):
            names += _GRAPH
    return names
