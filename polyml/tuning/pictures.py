"""Pictures of a search."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from polyml.report.theme import INK, MUTED, colour, new_figure, plain
from polyml.tuning.trials import SearchResult

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_ENOUGH = 10  # complete trials; with fewer, importances are noise
_STATES = {"complete": 0, "pruned": 4, "failed": 5}


def search_figures(study: Any, result: SearchResult) -> dict[str, Figure]:
    """Return the pictures of a study by heading: history, importances, parallel coordinates, slices."""
    from optuna.visualization import plot_parallel_coordinate, plot_slice

    figures = {"Optimisation history": history(result)}
    figures |= {importance_heading(result): importances(study, result)} if len(result.problem.space.ranges) > 1 else {}
    if sum(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False)) < 2:
        return figures
    name = f"inner {result.problem.metric}"
    figures["Parallel coordinates"] = _house_style(plot_parallel_coordinate(study, target_name=name), 560)
    figures["Slices"] = _house_style(plot_slice(study, target_name=name), 480)
    return figures


def history(result: SearchResult) -> Figure:
    """Draw the score of every trial in the order they were begun, and the best so far."""
    import plotly.graph_objects as go

    metric = result.problem.metric
    figure = new_figure(
        f"best {metric} {result.best.score:.4f}, trial {result.best.number}", "trial", f"inner {metric}"
    )
    for state, number in _STATES.items():
        part = [trial for trial in result.trials if trial.state == state and not math.isnan(trial.score)]
        texts = [plain(", ".join(f"{name}={value}" for name, value in trial.params.items())) for trial in part]
        figure.add_trace(
            go.Scatter(
                x=[trial.number for trial in part],
                y=[trial.score for trial in part],
                mode="markers",
                name=state,
                marker={"color": colour(number), "size": 8, "symbol": "circle" if state == "complete" else "x"},
                customdata=texts,
                hovertemplate="trial %{x}: %{y:.4f}<br>%{customdata}",
            )
        )
    best, steps = -math.inf, []
    for trial in result.trials:
        if trial.state == "complete" and trial.score > best:
            best = trial.score
        steps.append(best if best > -math.inf else None)
    line = {"color": INK, "width": 1.5, "shape": "hv"}
    numbers = [trial.number for trial in result.trials]
    figure.add_trace(go.Scatter(x=numbers, y=steps, mode="lines", name="best so far", line=line))
    if result.defaults is not None:
        dash = {"color": MUTED, "dash": "dash", "width": 1}
        figure.add_hline(
            y=result.defaults.score, line=dash, annotation_text="defaults", annotation_position="bottom left"
        )
    known = [trial.score for trial in result.trials if trial.state == "complete" and not math.isnan(trial.score)]
    # A hopeless trial may score -10; the axis shows where the good ones are, and a double click shows all.
    low = sorted(known)[len(known) // 4]
    margin = 0.1 * (max(known) - low) or 0.05
    return figure.update_yaxes(range=[low - 3 * margin, max(known) + margin])


def importance_heading(result: SearchResult) -> str:
    """Return the heading of the importances, which says what they are worth."""
    few = result.count("complete") < _ENOUGH
    return "Importance of the parameters" + (
        f" — only {result.count('complete')} complete trials, at least {_ENOUGH} are needed" if few else ""
    )


def importances(study: Any, result: SearchResult) -> Figure:
    """Draw the part of the scores' variance that each parameter explains (fANOVA, Hutter et al., ICML 2014)."""
    import plotly.graph_objects as go
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    figure = new_figure("", "importance")
    if result.count("complete") < _ENOUGH:
        text = f"too few complete trials ({result.count('complete')}) to tell"
        note = {"text": text, "showarrow": False, "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
        return figure.add_annotation(**note).update_layout(height=200)
    try:
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (RuntimeError, ValueError):  # all scores are equal, or a parameter took one value
        found = {}
    ordered = sorted(found, key=found.__getitem__)
    figure.add_trace(
        go.Bar(
            x=[found[name] for name in ordered],
            y=[plain(name) for name in ordered],
            orientation="h",
            marker={"color": colour(0)},
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    return figure.update_yaxes(automargin=True, type="category").update_layout(height=180 + 36 * len(ordered))


def _house_style(figure: Figure, height: int) -> Figure:
    look = new_figure().layout
    return figure.update_layout(
        template="none", font=look.font, paper_bgcolor=look.paper_bgcolor, plot_bgcolor=look.plot_bgcolor,
        hoverlabel=look.hoverlabel, title=None, height=height,
    )  # fmt: skip
