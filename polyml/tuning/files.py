"""What a search leaves in its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyml.data.files import whole_file, write_json
from polyml.errors import UserError
from polyml.tuning.trials import FINISHED, SearchResult

FILES = ["best_params.yaml", "best_params.json", "trials.csv", "tuning.html"]


def write_files(study: Any, result: SearchResult, folder: Path, described: Mapping[str, Any]) -> None:
    """Write the outcome into the folder, each file whole or not at all."""
    from polyml.report.html import figures_page
    from polyml.tuning.pictures import search_figures

    spec = {"key": result.problem.key, "params": _plain(result.best_params)}
    with whole_file(folder / "best_params.yaml") as temporary:
        temporary.write_text(recipe_line(spec, result), "utf-8")
    facts = spec | {
        "inner_score": result.best.score,
        "defaults_inner_score": None if result.defaults is None else result.defaults.score,
        "trial": result.best.number,
        "search": dict(described),
        "trials": {state: result.count(state) for state in FINISHED},
    }
    write_json(folder / "best_params.json", facts)
    with whole_file(folder / "trials.csv") as temporary:
        result.frame().to_csv(temporary, index=False, lineterminator="\n")
    with whole_file(folder / "tuning.html") as temporary:
        page = figures_page(f"tune {result.problem.key}", search_figures(study, result))
        temporary.write_text(page, "utf-8")


def read_best_params(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the model of a search and its best parameters, as :func:`write_files` left them.

    Raises
    ------
    UserError
        The folder holds no finished search.
    """
    path = folder / "best_params.json"
    try:
        facts = json.loads(path.read_text("utf-8"))
        return str(facts["key"]), dict(facts["params"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "name a folder in which polyml tune has ended"
        raise UserError("there are no best parameters to read", where=str(path), fix=fix) from error


def check_model(folder: Path, key: str) -> None:
    """Refuse a folder that holds the outcome of a search of another model.

    Raises
    ------
    UserError
    """
    if not (folder / "best_params.json").is_file():
        return
    found = read_best_params(folder)[0]
    if found != key:
        fix = "name another folder with -o, or replace it with --force"
        raise UserError(f"the folder holds the search of '{found}', not of '{key}'", where=str(folder), fix=fix)


def recipe_line(spec: Mapping[str, Any], result: SearchResult) -> str:
    """Return the best parameters as a line for the list of models in a recipe, with what is known of them."""
    import yaml

    metric, best, own = result.problem.metric, result.best.score, result.defaults
    gain = f", with the defaults {own.score:.4f}" if own is not None else ""
    line = yaml.safe_dump(dict(spec), default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True)
    return f"# inner {metric} {best:.4f}{gain}; {result.count(*FINISHED)} trials\n- {line}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
