"""The pages of a comparison for people: the leaderboard, and pictures of the scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from polyml.data.files import whole_file
from polyml.evaluation.metrics import METRICS
from polyml.evaluation.summary import (
    Summary,
    doubt_text,
    order_text,
    protocol_text,
    scale_text,
    title_text,
    verdict,
)
from polyml.evaluation.uncertainty import calibration_curve, error_by_std, measures, with_spread
from polyml.models.base import LEVEL
from polyml.report.html import companion_column, figures_page, leaderboard_page

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from polyml.evaluation.results import Results

_CALIBRATED = 5  # models whose calibration is drawn


def write_pages(results: Results, folder: Path) -> None:
    """Write ``leaderboard.html`` and ``plots.html`` into the folder of a comparison; both work offline."""
    pages = {"leaderboard.html": leaderboard_html(Summary.of(results))}
    if figures := comparison_figures(results):
        pages["plots.html"] = figures_page(results.options["name"], figures)
    for name, text in pages.items():
        with whole_file(Path(folder) / name) as temporary:
            temporary.write_text(text, "utf-8")


def leaderboard_html(summary: Summary) -> str:
    """Return the leaderboard as a page: how the scores were made, the models, and which differences are real."""
    options, order = summary.options, order_text(summary)
    lines = [
        title_text(options),
        f"{protocol_text(options)}. {options['data']['polymers']} polymers; {scale_text(options)}.",
        f"{order[0].upper()}{order[1:]}; ± is the standard deviation over folds.",
        verdict(summary),
        doubt_text(options),
    ]
    return leaderboard_page(summary.board, options["name"], "\n".join(filter(None, lines)), headings(summary))


def headings(summary: Summary) -> dict[str, str]:
    """Return the columns of the leaderboard that a page shows, from left to right, with their headings.

    The score that orders the table stands next to the name of the model. Scores by property have columns of their own
    where there are several, or where no mean over them is taken.
    """
    first = {"rank": "#", "model": "model"}
    metrics = sorted(summary.options["metrics"], key=lambda name: name != summary.ordered_by)
    names = [*summary.properties, *summary.options["ratios"]]
    means: dict[str, str] = {}
    single: dict[str, str] = {}
    for metric in metrics:
        title = METRICS[metric].title
        if metric in summary.averaged:
            means |= {companion_column(metric, "pooled"): title, metric: f"{title} over folds"}
        if len(names) > 1 or metric not in summary.averaged:
            for name in names:
                column = f"{metric}[{name}]"
                single |= {companion_column(column, "pooled"): f"{title} {name}", column: f"{title} {name} over folds"}
    leading = dict(list(means.items())[:2])
    rest = {"key": "key", "family": "family", "features": "features", "fit_seconds": "fit s"}
    rest |= {"predict_seconds": "predict s"}
    shown = first | leading | {"against_best": "against best"} | means | single | rest
    return {column: heading for column, heading in shown.items() if column in summary.board.columns}


def comparison_figures(results: Results) -> dict[str, Figure]:
    """Draw the scores of all models, and how their errors grow away from the training polymers, by heading."""
    from polyml.report.domain import error_by_similarity
    from polyml.report.plots import leaderboard_bars

    if len(results.failures) == len(results.entries):
        return {}
    board = results.leaderboard()
    bars = {
        METRICS[name].title: leaderboard_bars(
            board, name, METRICS[name].title, maximize=METRICS[name].direction == "maximize"
        )
        for name in results.metrics
        if results.averaged(name)
    }
    if not results.classes:
        for prop, part in results.error_by_domain().groupby("property", sort=False):
            label = f"{prop} [{results.scales[str(prop)]}]" if results.scales.get(str(prop)) else str(prop)
            bars[f"Error against similarity, {prop}"] = error_by_similarity(part, label)
        bars |= _calibrations(results, list(board["model"]))
    return bars


def _calibrations(results: Results, order: list[str]) -> dict[str, Figure]:
    """Draw how far the spreads of the first models can be trusted that have one, by heading."""
    spread = with_spread(results.predictions)
    shown = [name for name in order if (spread["model"] == name).any()][:_CALIBRATED]
    figures: dict[str, Figure] = {}
    for prop, part in spread.groupby("property", sort=False, observed=True):
        for name in shown:
            own = part[part["model"] == name]
            found = calibration_figure(own, str(prop), f"{name}: {prop}", results.scales.get(str(prop), ""))
            figures |= {f"{heading}, {name}": figure for heading, figure in found.items()}
    return figures


def calibration_figure(predictions: pd.DataFrame, prop: str, title: str, scale: str) -> dict[str, Figure]:
    """Draw the calibration of one property by its heading; nothing for a model without a spread."""
    from polyml.report.calibration import calibration

    known = with_spread(predictions)
    if known.empty:
        return {}
    errors, std = (known["y_true"] - known["y_pred"]).to_numpy(float), known["std"].to_numpy(float)
    interval = (LEVEL, measures(known)["coverage"])
    curve, bins = calibration_curve(errors, std), error_by_std(errors, std)
    return {f"Calibration, {prop}": calibration(curve, bins, interval, title, scale)}
