"""A comparison in plain words: tables for the terminal, and a dictionary for ``--json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from polyml.evaluation.metrics import MEAN, METRICS
from polyml.evaluation.results import Results

_LEVEL = 0.05  # of significance
_HOW = {
    "scaffold": " by scaffold",
    "cluster": " by cluster of similar polymers",
    "leave_one_cluster_out": ", each a cluster of similar polymers",
    "leave_one_group_out": " by source",
    "fixed": " as given",
}


@dataclass(frozen=True)
class Summary:
    """What a reader wants to know of a comparison, from its results or from the files it left.

    Attributes
    ----------
    board, tests : DataFrame
        :meth:`Results.leaderboard` and :meth:`Results.paired_tests`.
    options : mapping
        What ``compare.json`` holds.
    """

    board: pd.DataFrame
    tests: pd.DataFrame
    options: Mapping[str, Any]

    @classmethod
    def of(cls, results: Results) -> Summary:
        """Summarise results in memory."""
        return cls(results.leaderboard(), results.paired_tests(), results.options)

    @classmethod
    def read(cls, folder: str | Path) -> Summary:
        """Summarise the folder of a finished comparison."""
        folder = Path(folder)
        board = pd.read_csv(folder / "leaderboard.csv").astype({"rank": "Int64", "model": str})
        board["error"] = board["error"].astype(object).fillna("")
        options = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
        return cls(board, pd.read_csv(folder / "paired_tests.csv"), options)

    @property
    def properties(self) -> list[str]:
        """Names of the properties."""
        return [item["name"] for item in self.options["properties"]]

    @property
    def metric(self) -> str:
        """The metric that decides the order: R² if it was computed, else the first."""
        return "r2" if "r2" in self.options["metrics"] else self.options["metrics"][0]

    @property
    def averaged(self) -> list[str]:
        """Metrics that have a mean over properties (see :meth:`Results.averaged`)."""
        return [name for name in self.options["metrics"] if self.board[name].notna().any()]


def protocol_text(options: Mapping[str, Any]) -> str:
    """Say how the scores were made.

    Examples
    --------
    >>> split = {"kind": "kfold", "folds": 5, "repeats": 1}
    >>> protocol_text({"protocol": {"honest": "grouped by polymer"}, "split": split})
    'honest: 5-fold, grouped by polymer'
    """
    ((stamp, words),) = options["protocol"].items()
    split = options["split"]
    repeats = f" repeated {split['repeats']} times" if split["repeats"] > 1 else ""
    return f"{stamp}: {split['folds']}-fold{_HOW.get(split['kind'], '')}{repeats}, {words}"


def scale_text(options: Mapping[str, Any]) -> str:
    """Say in which scale the errors are given, or how many classes there are."""
    if options.get("classes"):
        return f"{len(options['classes'])} classes"
    scales = {item["name"]: options["scales"][item["name"]] or "as in the file" for item in options["properties"]}
    if len(set(scales.values())) == 1:
        return f"scale {next(iter(scales.values()))}"
    return "scales " + ", ".join(f"{name}: {scale}" for name, scale in scales.items())


def verdict(summary: Summary) -> str:
    """Say whether the best model is significantly better than those behind it."""
    board = summary.board
    models = list(board.loc[board["status"] == "ok", "model"])
    if len(models) < 2:
        return f"{models[0]} is the only model with scores." if models else "No model has scores."
    rows = _tests_of(summary, models[0])
    equal: list[str] = []
    behind: list[str] = []
    untested: list[str] = []
    for _, row in rows.iterrows():
        other = str(row["model_b"] if row["model_a"] == models[0] else row["model_a"])
        if math.isnan(row["p_holm"]):
            untested.append(other)
        else:
            (behind if row["p_holm"] < _LEVEL else equal).append(f"{other} ({_p_value(row['p_holm'])})")
    parts = []
    if equal:
        parts.append(f"{models[0]} does not differ significantly from {_listed(equal)}")
    if behind:
        parts.append(f"{models[0]} is significantly better than {_listed(behind)}")
    if untested:
        parts.append(f"no test is possible between {models[0]} and {_listed(untested)}")
    title = METRICS[summary.metric].title
    over = rows["property"].iloc[0] if len(rows) else ""
    over = f", {over}" if over == MEAN else ""
    return f"{'; '.join(parts)}. Corrected paired t-test of {title}{over}; p adjusted by Holm."


def _tests_of(summary: Summary, model: str) -> pd.DataFrame:
    """Choose the tests of one model: on the mean over properties if there is one, else on the first property."""
    tests = summary.tests
    tests = tests[(tests["metric"] == summary.metric) & ((tests["model_a"] == model) | (tests["model_b"] == model))]
    mean = tests[tests["property"] == MEAN]
    return mean if len(mean) else tests[tests["property"] == summary.properties[0]]


def _listed(items: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def _p_value(p: float) -> str:
    # No zero before the point: p cannot exceed one.
    return "p < .001" if p < 0.001 else "p = " + f"{p:.{2 if p >= 0.1 else 3}f}".removeprefix("0")


@dataclass(frozen=True)
class Leaderboard:
    """The tables of a comparison for ``rich.console.Console().print``, laid out for the width there is."""

    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the leaderboard, the scores by property, the failures and how all of it was made."""
        summary = self.summary
        yield _main_table(summary)
        for metric in summary.options["metrics"]:
            if metric == summary.metric or metric not in summary.averaged:
                for table in _property_tables(summary, metric, options.max_width):
                    yield from ("", table)
        yield ""
        for _, row in summary.board[summary.board["status"] == "failed"].iterrows():
            yield Text.assemble((f"failed: {row['model']}: ", "bold red"), (str(row["error"]), "red"))
        yield Text("mean ± standard deviation over folds; seconds per fold; best in bold", style="dim")
        yield Text(f"{protocol_text(summary.options)}; {scale_text(summary.options)}", style="dim")
        reused, computed = summary.options["folds_reused"], summary.options["folds_computed"]
        if reused and computed:
            yield Text(f"{reused} folds were finished before, {computed} were computed now", style="dim")
        yield Text(verdict(summary))


def render_leaderboard(results: Results | Summary) -> Leaderboard:
    """Lay the leaderboard out for a terminal; a second table has the score of each property and ratio."""
    return Leaderboard(results if isinstance(results, Summary) else Summary.of(results))


def _main_table(summary: Summary) -> Table:
    board = summary.board
    means = summary.averaged
    table = _table(f"Leaderboard, {len(board)} model{'s' * (len(board) > 1)}")
    for title in ("#", *(METRICS[name].title for name in means), "fit s", "predict s", "status"):
        table.add_column(title, justify="left" if title == "status" else "right", no_wrap=True)
        if title == "#":
            table.add_column("model", overflow="ellipsis", no_wrap=True, style="cyan")
    best = {name: _best(board[name], name) for name in means}
    for _, row in board.iterrows():
        if row["status"] != "ok":
            table.add_row("", Text(row["model"]), *("" for _ in means), "", "", Text("failed", style="bold red"))
            continue
        scores = []
        for name in means:
            spread = f" ± {_number(row[f'{name}_sd'])}" if name == summary.metric else ""
            scores.append(Text(_number(row[name]) + spread, style="bold" if row[name] == best[name] else ""))
        times = (_seconds(row["fit_seconds"]), _seconds(row["predict_seconds"]))
        table.add_row(str(row["rank"]), Text(row["model"]), *scores, *times, Text("ok", style="green"))
    return table


_PADDING = 2  # columns beside each cell
_MODEL_WIDTH = 24  # of the column of models in the tables of properties


def _property_tables(summary: Summary, metric: str, width: int) -> Iterator[Table]:
    """Give one score of each property and ratio; several tables where one is too wide."""
    names = [*summary.properties, *summary.options["ratios"]]
    board = summary.board[summary.board["status"] == "ok"]
    if board.empty or (len(names) == 1 and metric in summary.averaged):
        return  # the main table says it all
    cells = {name: [_number(value) for value in board[f"{metric}[{name}]"]] for name in names}
    widths = {name: max(map(len, (name, *cells[name]))) + _PADDING for name in names}
    models = min(_MODEL_WIDTH, max(map(len, ("model", *board["model"])))) + _PADDING
    for part in _split(names, widths, width - models, first=len(summary.properties)):
        kind = "ratio (log10)" if part[0] in summary.options["ratios"] else "property"
        table = _table(f"{METRICS[metric].title} by {kind}")
        table.add_column("model", overflow="ellipsis", no_wrap=True, style="cyan", max_width=_MODEL_WIDTH)
        for name in part:
            table.add_column(name, justify="right", overflow="ellipsis", no_wrap=True)
        best = {name: _best(board[f"{metric}[{name}]"], metric) for name in part}
        for position, (_, row) in enumerate(board.iterrows()):
            values = (
                Text(cells[name][position], style="bold" if row[f"{metric}[{name}]"] == best[name] else "")
                for name in part
            )
            table.add_row(Text(row["model"]), *values)
        yield table


def _split(names: list[str], widths: Mapping[str, int], room: int, *, first: int) -> Iterator[list[str]]:
    """Divide columns so that each part fits; properties and ratios (from position ``first``) part company first."""
    if sum(widths[name] for name in names) <= room:
        yield names
        return
    for group in (names[:first], names[first:]):
        part: list[str] = []
        for name in group:
            if part and sum(widths[item] for item in (*part, name)) > room:
                yield part
                part = []
            part.append(name)
        if part:
            yield part


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, padding=(0, 1))


def _best(values: pd.Series, metric: str) -> float:
    return float(values.max() if METRICS[metric].direction == "maximize" else values.min())


def _number(value: float) -> str:
    """Write a score with three significant decimals where it is small, fewer where it is large."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def _seconds(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.{2 if value < 10 else 0}f}"


def as_json(results: Results | Summary) -> dict[str, Any]:
    """Return the comparison as plain types for ``json.dumps``; NaN becomes None."""
    summary = results if isinstance(results, Summary) else Summary.of(results)
    failed = summary.board[summary.board["status"] == "failed"]
    return {
        "name": summary.options["name"],
        "protocol": protocol_text(summary.options),
        "scales": dict(summary.options["scales"]),
        "folds_reused": summary.options["folds_reused"],
        "folds_computed": summary.options["folds_computed"],
        "leaderboard": records(summary.board),
        "paired_tests": records(summary.tests),
        "failed": dict(zip(failed["model"], failed["error"], strict=True)),
        "verdict": verdict(summary),
    }


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into plain data, one dictionary a row, with None for what is missing."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(k): getattr(v, "item", lambda v=v: v)() for k, v in row.items()} for row in plain.to_dict("records")]
