"""A comparison in plain words: a table for the terminal, and a dictionary for ``--json``."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from polyml.evaluation.metrics import METRICS
from polyml.evaluation.results import Results


def protocol_text(results: Results) -> str:
    """Say how the scores were made, in one line.

    For example ``honest: 5 folds (kfold) grouped by polymer, the same for every model; test folds are never seen by
    training or selection``.
    """
    ((name, words),) = results.options["protocol"].items()
    split = results.options["split"]
    repeats = f", {split['repeats']} repeats" if split.get("repeats", 1) > 1 else ""
    return f"{name}: {split['folds']} {split['kind']} folds{repeats}; {words}"


def scale_text(results: Results) -> str:
    """Say in which scale the errors are given."""
    scales = {results.scales[name] for name in results.properties}
    if len(scales) == 1:
        return f"errors in {scales.pop() or 'the unit of the column'}"
    return "errors in " + ", ".join(f"{name}: {results.scales[name] or 'as given'}" for name in results.properties)


def render_leaderboard(results: Results, *, metric: str | None = None) -> Group:
    """Lay the leaderboard out for a terminal.

    Means stand with their standard deviation over folds; one column a property and ratio gives ``metric`` (R² if it
    was computed, else the first). Failed models are shown with their error.

    Returns
    -------
    rich.console.Group
        Print it with ``rich.console.Console().print``.
    """
    detail = metric or ("r2" if "r2" in results.metrics else results.metrics[0])
    board = results.leaderboard()
    table = Table(title=f"Leaderboard, {len(board)} models", title_justify="left", header_style="bold")
    for title in ("#", "model", "family"):
        table.add_column(title, no_wrap=title == "#")
    means = [name for name in results.metrics if results.averaged(name)]
    names = [*results.properties, *results.ratios]
    for title in [METRICS[name].title for name in means] + [f"{METRICS[detail].title} {name}" for name in names]:
        table.add_column(title, justify="right")
    for title in ("fit s", "predict s"):
        table.add_column(title, justify="right")
    for _, row in board.iterrows():
        if row["status"] == "ok":
            cells = [_plus_minus(row[name], row[f"{name}_sd"]) for name in means]
            cells += [_number(row[f"{detail}[{name}]"]) for name in names]
            cells += [_number(row["fit_seconds"], 3), _number(row["predict_seconds"], 3)]
            table.add_row(str(row["rank"]), Text(row["model"]), Text(row["family"]), *cells)
    notes = [f"mean ± standard deviation over folds; {scale_text(results)}; seconds per fold", protocol_text(results)]
    if results.reused:
        notes.append(f"{results.reused} folds were finished before and reused, {results.computed} computed now")
    failed = [
        Text.assemble((f"failed  {row['model']}: ", "bold red"), str(row["error"]))
        for _, row in board[board["status"] == "failed"].iterrows()
    ]
    return Group(table, *failed, *(Text(note, style="dim") for note in notes), Text(verdict(results)))


def verdict(results: Results) -> str:
    """Say in one sentence whether the best model is clearly ahead of the others."""
    board = results.leaderboard()
    models = list(board.loc[board["status"] == "ok", "model"])
    if len(models) < 2:
        return f"{models[0]} is the only model with scores." if models else "No model has scores."
    metric = "r2" if "r2" in results.metrics else results.metrics[0]
    tests = results.paired_tests()
    tests = tests[(tests["metric"] == metric) & ((tests["model_a"] == models[0]) | (tests["model_b"] == models[0]))]
    properties = len(results.averaged(metric))
    tests = tests[tests["property"].isin([*results.properties])] if properties < 2 else tests
    last = tests["property"].iloc[-1] if len(tests) else ""
    rows = tests[tests["property"] == last]
    title = METRICS[metric].title
    untold = [_other(row, models[0]) for _, row in rows.iterrows() if not row["p_holm"] < 0.05]
    if not untold:
        return (
            f"{models[0]} is ahead of the next {len(rows)} in {title} ({last}; corrected paired t-test, Holm p < 0.05)."
        )
    return (
        f"{models[0]} is first in {title}, but not clearly ahead of {', '.join(untold)} "
        f"({last}; corrected paired t-test, Holm p ≥ 0.05 or no test)."
    )


def _other(row: pd.Series, model: str) -> str:
    return str(row["model_b"] if row["model_a"] == model else row["model_a"])


def _number(value: float, digits: int = 3) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _plus_minus(mean: float, spread: float) -> str:
    return _number(mean) if math.isnan(spread) else f"{_number(mean)} ± {_number(spread)}"


def as_json(results: Results) -> dict[str, Any]:
    """Return the comparison as plain types for ``json.dumps``; NaN becomes None."""
    return {
        "name": results.options["name"],
        "protocol": protocol_text(results),
        "scales": dict(results.scales),
        "folds_reused": results.reused,
        "folds_computed": results.computed,
        "leaderboard": _records(results.leaderboard()),
        "paired_tests": _records(results.paired_tests()),
        "failed": {label: failure.error for label, failure in results.failures.items()},
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(k): getattr(v, "item", lambda v=v: v)() for k, v in row.items()} for row in plain.to_dict("records")]
