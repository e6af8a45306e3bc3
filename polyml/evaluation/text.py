"""A comparison in plain words: tables for the terminal, and a dictionary for ``--json``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from polyml.evaluation.metrics import METRICS
from polyml.evaluation.results import Results
from polyml.evaluation.standing import BEST, PROBABLY_WORSE, WORSE
from polyml.evaluation.stats import EQUAL
from polyml.evaluation.summary import Summary, doubt_text, order_text, protocol_text, scale_text, title_text, verdict
from polyml.report.html import companion_column


@dataclass(frozen=True)
class Leaderboard:
    """The tables of a comparison for ``rich.console.Console().print``, laid out for the width there is."""

    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the leaderboard, the scores by property, the failures and how all of it was made."""
        summary = self.summary
        if title := title_text(summary.options):
            yield Text(title, style="bold")
        yield _main_table(summary, options.max_width)
        for metric in summary.options["metrics"]:
            if metric == summary.metric or metric not in summary.averaged:
                for table in _property_tables(summary, metric, options.max_width):
                    yield from ("", table)
        yield ""
        for _, row in summary.board[summary.board["status"] == "failed"].iterrows():
            yield Text.assemble((f"failed: {row['model']}: ", "bold red"), (str(row["error"]), "red"))
        yield Text(order_text(summary), style="dim")
        yield Text("over folds: mean ± standard deviation; seconds per fold; best in bold", style="dim")
        yield Text(f"{protocol_text(summary.options)}; {scale_text(summary.options)}", style="dim")
        reused, computed = summary.options["folds_reused"], summary.options["folds_computed"]
        if reused and computed:
            yield Text(f"{reused} folds were finished before, {computed} were computed now", style="dim")
        yield Text(verdict(summary))
        if doubt := doubt_text(summary.options):
            yield Text(doubt, style="yellow")


def render_leaderboard(results: Results | Summary) -> Leaderboard:
    """Lay the leaderboard out for a terminal; a second table has the score of each property and ratio."""
    return Leaderboard(results if isinstance(results, Summary) else Summary.of(results))


_STYLES = {BEST: "bold green", EQUAL: "green", PROBABLY_WORSE: "yellow", WORSE: "red", "failed": "bold red"}


def _main_table(summary: Summary, width: int) -> Table:
    """Lay out the leaderboard; where it is too wide, times and then all scores but the first are left to the file."""
    columns = _columns(summary)
    deciding = METRICS[summary.ordered_by].title
    others = [METRICS[name].title for name in reversed(summary.averaged)]
    for title in ("predict s", "fit s", *(title for title in others if title != deciding)):
        if _width(columns) > width:
            del columns[title]
    table = _table(f"Leaderboard, {len(summary.board)} model{'s' * (len(summary.board) > 1)}")
    for title in columns:
        left = title in ("model", "against best")
        style = "cyan" if title == "model" else ""
        table.add_column(title, justify="left" if left else "right", overflow="ellipsis", no_wrap=True, style=style)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table


def _columns(summary: Summary) -> dict[str, list[Text]]:
    """Return the cells of the leaderboard by heading; of a failed model there are the name and "failed"."""
    board = summary.board
    ok = board["status"] == "ok"
    columns = {"#": [str(rank) for rank in board["rank"]], "model": list(board["model"])}
    best: dict[str, pd.Series] = {}
    for name in sorted(summary.averaged, key=lambda name: name != summary.ordered_by):
        pooled = board[companion_column(name, "pooled")]
        columns[METRICS[name].title] = [_number(value) for value in pooled]
        best[METRICS[name].title] = pooled == _best(pooled, name)
        if name == summary.ordered_by:
            ends = (board[companion_column(name, end)] for end in ("low", "high"))
            columns["95 % interval"] = [_interval(*pair) for pair in zip(*ends, strict=True)]
            folds = zip(board[name], board[companion_column(name, "sd")], strict=True)
            columns["over folds"] = [f"{_number(mean)} ± {_number(spread)}" for mean, spread in folds]
    columns["against best"] = list(board["against_best"].where(ok, "failed"))
    columns["fit s"] = [_seconds(value) for value in board["fit_seconds"]]
    columns["predict s"] = [_seconds(value) for value in board["predict_seconds"]]
    always = ("model", "against best")
    return {
        title: [
            Text(text if ok.iloc[place] or title in always else "", style=_style(title, text, best, place))
            for place, text in enumerate(texts)
        ]
        for title, texts in columns.items()
    }


def _style(title: str, text: str, best: Mapping[str, pd.Series], place: int) -> str:
    if title == "against best":
        return _STYLES.get(text, "")
    return "bold" if title in best and best[title].iloc[place] else ""


def _width(columns: Mapping[str, list[Text]]) -> int:
    return sum(max(len(title), *(text.cell_len for text in texts)) + _PADDING for title, texts in columns.items())


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{_number(low)} to {_number(high)}"


_PADDING = 2  # columns beside each cell
_MODEL_WIDTH = 24  # of the column of models in the tables of properties


def _property_tables(summary: Summary, metric: str, width: int) -> Iterator[Table]:
    """Give one score of each property and ratio; several tables where one is too wide."""
    names = [*summary.properties, *summary.options["ratios"]]
    board = summary.board[summary.board["status"] == "ok"]
    if board.empty or (len(names) == 1 and metric in summary.averaged):
        return  # the main table says it all
    scores = {name: board[companion_column(f"{metric}[{name}]", "pooled")] for name in names}
    cells = {name: [_number(value) for value in scores[name]] for name in names}
    widths = {name: max(map(len, (name, *cells[name]))) + _PADDING for name in names}
    models = min(_MODEL_WIDTH, max(map(len, ("model", *board["model"])))) + _PADDING
    for part in _split(names, widths, width - models, first=len(summary.properties)):
        kind = "ratio (log10)" if part[0] in summary.options["ratios"] else "property"
        table = _table(f"{METRICS[metric].title} by {kind}, all folds together")
        table.add_column("model", overflow="ellipsis", no_wrap=True, style="cyan", max_width=_MODEL_WIDTH)
        for name in part:
            table.add_column(name, justify="right", overflow="ellipsis", no_wrap=True)
        best = {name: _best(scores[name], metric) for name in part}
        for position, model in enumerate(board["model"]):
            values = (
                Text(cells[name][position], style="bold" if scores[name].iloc[position] == best[name] else "")
                for name in part
            )
            table.add_row(Text(model), *values)
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


_CALIBRATED = ("conformal", "completion")  # models whose intervals are fitted to errors on polymers they have not seen


def interval_notes(results: Results) -> list[str]:
    """Say what the intervals of a comparison are, and which spreads are no spreads; nothing where no model has any."""
    if results.classes:
        return ["uncertainty.csv is empty, as classes have no intervals; predictions.parquet has their probabilities"]
    found = results.uncertainty()
    keys = {entry.label: entry.key for entry in results.entries}
    told = []
    if any(keys[model] not in _CALIBRATED for model in found.loc[found["n"] > 0, "model"]):
        told.append(
            "intervals are the models' own, not calibrated: polyml train calibrates them, and "
            "--models conformal --param base=KEY compares calibrated ones"
        )
    if zero := found.groupby("model", sort=False)["n_zero_std"].sum().loc[lambda counts: counts > 0].to_dict():
        listed = ", ".join(f"{model} for {count}" for model, count in zero.items())
        told.append(
            f"a spread of (nearly) zero is predicted by {listed} of the values: uncertainty.csv gives no nll there"
        )
    return told


def as_json(results: Results | Summary) -> dict[str, Any]:
    """Return the comparison as plain types for ``json.dumps``; NaN becomes None."""
    summary = results if isinstance(results, Summary) else Summary.of(results)
    failed = summary.board[summary.board["status"] == "failed"]
    return {
        "name": summary.options["name"],
        "title": title_text(summary.options),
        "protocol": protocol_text(summary.options),
        "scales": dict(summary.options["scales"]),
        "folds_reused": summary.options["folds_reused"],
        "folds_computed": summary.options["folds_computed"],
        "leaderboard": records(summary.board),
        "paired_tests": records(summary.tests),
        "failed": dict(zip(failed["model"], failed["error"], strict=True)),
        "order": order_text(summary),
        "verdict": verdict(summary),
        "doubt": doubt_text(summary.options),
    }


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into plain data, one dictionary a row, with None for what is missing."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(k): getattr(v, "item", lambda v=v: v)() for k, v in row.items()} for row in plain.to_dict("records")]
