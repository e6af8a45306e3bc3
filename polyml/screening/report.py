"""The report of a screen: one page, and the plots that are logged beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.data.files import whole_file
from polyml.screening.histogram import StreamedHistogram
from polyml.screening.outputs import NEAREST, given_columns, robeson_figures
from polyml.screening.pareto import pareto_front
from polyml.screening.plan import ScreenPlan
from polyml.screening.predictors import Predictors
from polyml.screening.spec import PROBABILITY, SIMILARITY, available_pairs

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_DRAWN = 3  # trade-offs that are drawn without being asked for
_WIDE = 0.3  # of an interval of recall that says little
_TOLD = 6  # columns of the input that a card shows


def write_report(
    path: Path,
    ranked: pd.DataFrame,
    models: Predictors,
    plan: ScreenPlan,
    counts: Mapping[str, Any],
    histograms: Sequence[StreamedHistogram],
    title: str,
    *,
    shortlist: pd.DataFrame | None = None,
) -> None:
    """Write ``report.html``, and for gases ``robeson.html`` with the Robeson plots alone."""
    from polyml.report.html import figures_page
    from polyml.report.screening import screening_page

    bounds = robeson_figures(ranked, models)
    drawn = {f"{pair}: selectivity against permeability": figure for pair, figure in bounds.items()}
    drawn |= _trade_offs(ranked, models, plan)
    page = screening_page(
        title,
        ranked,
        models.properties,
        stages(counts, plan),
        trade_offs=drawn,
        histograms=_histograms(models, histograms, "all candidates" if not plan.spec.prefilter else "those passed on"),
        notes=_notes(plan) + (f" {recall_words(counts['prefilter'])}" if plan.spec.prefilter else ""),
        shortlist=shortlist,
        words=_words(plan, ranked),
        columns=[*_score(plan), *plan.derived, PROBABILITY, SIMILARITY, *given_columns(ranked)[:_TOLD], NEAREST],
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    if bounds:
        with whole_file(path.with_name("robeson.html")) as temporary:
            temporary.write_text(figures_page("Robeson plots", bounds), encoding="utf-8")


def _score(plan: ScreenPlan) -> list[str]:
    """Name the score where it is what candidates are ranked by; on a front it adds up whatever units there are."""
    return [] if plan.spec.rank_by == "pareto" else ["score"]


def stages(counts: Mapping[str, Any], plan: ScreenPlan) -> dict[str, int]:
    """Return the stages of the funnel and how many candidates are left after each.

    Whether a candidate is new, and inside the domain, is known of all of them where all are kept; else of those in the
    ranked list.
    """
    found = {"read": counts["read"], "repeat units": counts["valid"]}
    if plan.spec.prefilter:
        found["passed on by the quick model"] = counts["shortlisted"]
    found |= {f"meeting {text}": left for text, left in counts["constraints"].items()}
    if plan.spec.keep == "all":
        found["of these new, in the domain"] = counts["new_inside_passing"]
        return found
    if counts["no_value"]:
        found["with a value of the objective"] = counts["passing"] - counts["no_value"]
    if plan.spec.rank_by == "pareto":
        found["on the Pareto front"] = counts["front"]
    inside = counts["ranked"] - counts["outside"] - counts["edge"]
    return found | {"ranked": counts["ranked"], "ranked, in the domain": inside}


def _notes(plan: ScreenPlan) -> str:
    spec = plan.spec
    goals = ", ".join(f"{item.direction} {item.expression}" for item in spec.objectives)
    text = f"Ranked by: {goals}{' (Pareto front)' if spec.rank_by == 'pareto' else ''}"
    text += ", by the value that is exceeded with probability 0.95." if spec.pessimistic else "."
    if spec.constraints:
        text += f" Constraints: {', '.join(spec.constraints)}."
    if spec.min_probability is not None:
        text += f" Probability to meet them all: {spec.min_probability:g} or more."
    return text


def _words(plan: ScreenPlan, ranked: pd.DataFrame) -> str:
    """Say what the columns of a card mean."""
    words = {
        "score": "score: what is ranked by, larger is better",
        PROBABILITY: "probability: that all constraints hold",
        SIMILARITY: "similarity: to nearest_training, the nearest training polymer; 1 is the same surroundings",
    }
    told = [text for name, text in words.items() if name in ranked and name in (*_score(plan), PROBABILITY, SIMILARITY)]
    return f"{'; '.join(told)}.".capitalize() if told else ""


def recall_words(recall: Mapping[str, Any]) -> str:
    """Say what a prefilter costs."""
    text = f"The quick model discarded {recall['discarded']:,} candidates"
    if not recall["checked"]:
        return f"{text}; none of them was checked."
    of = {"passing": "of what meets the constraints", "ranked": "of the ranked list"}
    parts = [
        f"{found['estimate']:.1%} {what} ({found['lower']:.1%} to {found['upper']:.1%})"
        for name, what in of.items()
        if (found := recall[name])
    ]
    share = f"; by {recall['checked']:,} of them that were checked, it passed on an estimated {' and '.join(parts)}"
    is_wide = any((found := recall[name]) and found["upper"] - found["lower"] > _WIDE for name in of)
    hint = ". A larger share of checked ones (--prefilter-check) would narrow the interval" if is_wide else ""
    return f"{text}{share if parts else ''}{hint}."


def _trade_offs(ranked: pd.DataFrame, models: Predictors, plan: ScreenPlan) -> dict[str, Figure]:
    """Draw the pairs that are asked for; else the objectives, or the first properties, as far as no bound is drawn."""
    from polyml.report.trade_off import Axis, trade_off

    data = models.training_frame()
    figures = {}
    for x, y in _pairs(plan):
        better = [_is_better(name, plan) for name in (x, y)]
        front = pareto_front(ranked[[x, y]].to_numpy(dtype=float), better)
        figures[f"{y} against {x}"] = trade_off(
            Axis.of(x, models.properties),
            Axis.of(y, models.properties),
            ranked,
            data,
            front=front,
            maximize_x=better[0],
            colour_by=SIMILARITY,
            hover=["rank", *given_columns(ranked)],
        )
    return figures


def _pairs(plan: ScreenPlan) -> list[tuple[str, str]]:
    if plan.trade_offs or available_pairs(plan.names):
        return plan.trade_offs
    aims = [item.text.strip("`") for item in plan.objectives]
    names = [name for name in dict.fromkeys([*aims, *plan.names]) if name in (*plan.names, *plan.derived)]
    return [(names[0], name) for name in names[1 : 1 + _DRAWN]]


def _is_better(name: str, plan: ScreenPlan) -> bool:
    """Return whether more of a column is better: what an objective says of it, else yes."""
    aims = zip(plan.objectives, plan.maximize, strict=True)
    return next((up for item, up in aims if item.text.strip("`") == name), True)


def _histograms(models: Predictors, histograms: Sequence[StreamedHistogram], whose: str) -> dict[str, Figure]:
    from polyml.report.screening import prediction_histogram

    training = models.training_frame()
    figures = {}
    for item, predicted in zip(models.properties, histograms, strict=True):
        measured = StreamedHistogram(predicted.edges, predicted.transform)
        measured.add(np.asarray(training[item.name], dtype=float))
        figure = prediction_histogram(item, predicted.edges, predicted.counts, measured.counts)
        figures[f"{item.name}: predictions of {whose}"] = figure
    return figures


def log_report(tracker: Any, folder: Path, summary: Mapping[str, Any]) -> None:
    """Log the counts as metrics, and the tables and pages as files."""
    metrics = {f"screening/{name}": float(value) for name, value in summary.items() if isinstance(value, int | float)}
    recall = summary["prefilter"] or {}
    metrics |= {f"screening/recall_{of}": recall[of]["estimate"] for of in ("passing", "ranked") if recall.get(of)}
    tracker.log_metrics(metrics)
    tables = ("ranked.csv", "ranked.parquet", "shortlist.csv", "rejects.csv")
    names = (*tables, "summary.json", "report.html", "robeson.html")
    tracker.log_files([folder / name for name in names if (folder / name).is_file()], "screening")
