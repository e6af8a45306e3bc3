"""Pictures of a model comparison: parity, residuals, confusion matrix, learning curves, leaderboard.

The functions take the tables of :class:`polyml.evaluation.results.Results` and return plotly figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polyml.errors import PolymlError
from polyml.report.html import companion_column
from polyml.report.theme import INK, MUTED, colour, hover_texts, new_figure, plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def parity(predictions: pd.DataFrame, title: str = "", scale: str = "") -> Figure:
    """Draw predicted against measured values of one property, a colour a fold, with the 1:1 line.

    Parameters
    ----------
    predictions : DataFrame
        Columns psmiles, y_true, y_pred, fold; optionally repeat and std. Rows with a NaN value are left out.
    title : str
        Model and property, say.
    scale : str
        Name of the scale of the values, ``log10(Barrer)`` say.
    """
    import plotly.graph_objects as go

    frame = _measured(predictions)
    suffix = f" [{scale}]" if scale else ""
    figure = new_figure(f"{title} — {_scores(frame)}", f"measured{suffix}", f"predicted{suffix}")
    low, high = _range(frame[["y_true", "y_pred"]].to_numpy())
    line = {"color": INK, "dash": "dash", "width": 1}
    figure.add_trace(go.Scatter(x=[low, high], y=[low, high], mode="lines", name="1:1", line=line, hoverinfo="skip"))
    for index, (fold, part) in enumerate(frame.groupby("fold")):
        figure.add_trace(
            go.Scatter(
                x=part["y_true"],
                y=part["y_pred"],
                mode="markers",
                name=f"fold {fold}",
                marker={"color": colour(index), "size": 7, "opacity": 0.75},
                customdata=np.column_stack([hover_texts(part["psmiles"]), _spreads(part)]),
                hovertemplate="measured %{x:.3f}<br>predicted %{y:.3f}%{customdata[1]}<br>%{customdata[0]}",
            )
        )
    # The same scale on both axes, or the distance to the line would deceive.
    figure.update_xaxes(range=[low, high])
    figure.update_yaxes(range=[low, high], scaleanchor="x", scaleratio=1)
    return figure.update_layout(height=640, width=880)


def residuals(predictions: pd.DataFrame, title: str = "", scale: str = "") -> Figure:
    """Draw the residuals (predicted minus measured) of one property: against the prediction, and as a histogram.

    Parameters are those of :func:`parity`.
    """
    import plotly.graph_objects as go

    frame = _measured(predictions)
    errors = frame["y_pred"] - frame["y_true"]
    suffix = f" [{scale}]" if scale else ""
    head = f"{title} — mean {errors.mean():+.3f}, standard deviation {errors.std():.3f}"
    figure = new_figure(head, f"predicted{suffix}", f"predicted − measured{suffix}")
    figure.add_trace(
        go.Scatter(
            x=frame["y_pred"],
            y=errors,
            mode="markers",
            name="polymers",
            marker={"color": colour(0), "size": 6, "opacity": 0.6},
            customdata=hover_texts(frame["psmiles"]),
            hovertemplate="predicted %{x:.3f}<br>residual %{y:+.3f}<br>%{customdata}<extra></extra>",
        )
    )
    bars = go.Histogram(y=errors, xaxis="x2", name="count", marker={"color": colour(4)}, nbinsy=40)
    figure.add_trace(bars).add_hline(y=0, line={"color": INK, "dash": "dash", "width": 1})
    figure.update_layout(
        showlegend=False,
        bargap=0.05,
        xaxis={"domain": [0, 0.74]},
        xaxis2={"domain": [0.78, 1], "anchor": "y", "title": {"text": "polymers"}},
    )
    return figure


def learning_curves(history: pd.DataFrame, title: str = "") -> Figure:
    """Draw the losses of every fold against the epoch: training dashed, validation solid, on a log axis.

    Parameters
    ----------
    history : DataFrame
        Columns epoch, fold, optionally repeat, and one or more losses such as train_loss and val_loss.
    """
    import plotly.graph_objects as go

    names = [name for name in history.columns if name.endswith("loss")]
    if not names:
        raise PolymlError("the history holds no column that ends in 'loss'")
    figure = new_figure(title or "Learning curves", "epoch", "loss")
    by = [name for name in ("repeat", "fold") if name in history.columns]
    parts = history.groupby(by) if by else [((), history)]
    for index, (place, part) in enumerate(parts):
        label = "".join(f", {name} {value}" for name, value in zip(by, place, strict=True))
        for name in names:
            curve = part[["epoch", name]].dropna()
            style = {"color": colour(index), "dash": "dot" if name.startswith("train") else "solid", "width": 1.5}
            figure.add_trace(
                go.Scatter(x=curve["epoch"], y=curve[name], mode="lines", name=plain(f"{name}{label}"), line=style)
            )
    losses = history[names].to_numpy(dtype=float)
    if np.nanmin(losses, initial=np.inf) > 0:
        figure.update_yaxes(type="log")
    return figure


def confusion(predictions: pd.DataFrame, classes: Sequence[str], title: str = "") -> Figure:
    """Draw which classes are taken for which: polymers of a true class (row) by predicted class (column).

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold predictions with the codes y_true and y_pred.
    classes : sequence of str
    title : str
    """
    import plotly.graph_objects as go
    from sklearn.metrics import confusion_matrix

    known = predictions.dropna(subset=["y_true", "y_pred"])
    codes = list(range(len(classes)))
    counts = confusion_matrix(known["y_true"].astype(int), known["y_pred"].astype(int), labels=codes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [plain(name) for name in classes]
    figure = new_figure(title or "Confusion matrix", "predicted class", "true class")
    figure.add_trace(
        go.Heatmap(
            z=share,
            x=names,
            y=names,
            text=counts,
            texttemplate="%{text}",
            colorscale="Blues",
            zmin=0.0,
            zmax=1.0,
            colorbar={"title": "share of the true class", "tickformat": ".0%"},
            hovertemplate="%{y} taken for %{x}: %{text} (%{z:.1%})<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return figure.update_xaxes(type="category").update_layout(height=220 + 40 * len(classes))


def size_curves(summary: pd.DataFrame, label: str) -> Figure:
    """Draw scores over the number of training polymers, a line a model, with the spread over the folds.

    Parameters
    ----------
    summary : DataFrame
        Columns model, polymers, score, score_sd.
    label : str
        Name of the score for people.
    """
    import plotly.graph_objects as go

    figure = new_figure("", "training polymers", label)
    for index, (model, part) in enumerate(summary.groupby("model", sort=False)):
        figure.add_trace(
            go.Scatter(
                x=part["polymers"],
                y=part["score"],
                error_y={"type": "data", "array": part["score_sd"], "thickness": 1},
                mode="lines+markers",
                name=plain(model),
                line={"color": colour(index), "width": 1.5},
            )
        )
    return figure.update_xaxes(type="log", tickvals=sorted(set(summary["polymers"])))


def leaderboard_bars(leaderboard: pd.DataFrame, metric: str, label: str = "", *, maximize: bool = False) -> Figure:
    """Draw the pooled score of every model with its 95 % interval, the best on top; failed models have no bar.

    Parameters
    ----------
    leaderboard : DataFrame
        Columns model, family, status, against_best, and ``metric`` with ``metric_sd``, ``metric_pooled``,
        ``metric_low`` and ``metric_high`` (also in the form ``rmse[O2]``).
    metric : str
    label : str
        Name and unit of the metric for people.
    maximize : bool
        Whether more is better.
    """
    import plotly.graph_objects as go

    pooled, spread, low, high = (companion_column(metric, suffix) for suffix in ("pooled", "sd", "low", "high"))
    ranked = leaderboard[leaderboard[pooled].notna()].sort_values(pooled, ascending=maximize)  # last drawn on top
    families = {name: colour(index) for index, name in enumerate(dict.fromkeys(leaderboard["family"]))}
    figure = new_figure(label or metric, f"{label or metric}, all folds together, with 95 % interval")
    for family, part in ranked.groupby("family", sort=False):
        ends = {"array": part[high] - part[pooled], "arrayminus": part[pooled] - part[low]}
        figure.add_trace(
            go.Bar(
                x=part[pooled],
                y=[plain(name) for name in part["model"]],
                error_x={"type": "data", "symmetric": False, **ends, "color": MUTED, "thickness": 1.5},
                orientation="h",
                name=plain(family),
                marker={"color": families[family]},
                customdata=part[[low, high, metric, spread, "against_best"]].to_numpy(dtype=object),
                hovertemplate="%{y}: %{x:.4f} (%{customdata[0]:.4f} to %{customdata[1]:.4f})<br>over folds "
                "%{customdata[2]:.4f} ± %{customdata[3]:.4f}<br>against the best: %{customdata[4]}<extra></extra>",
            )
        )
    order = [plain(name) for name in ranked["model"]]
    figure.update_yaxes(categoryorder="array", categoryarray=order, automargin=True, type="category")
    return figure.update_layout(height=200 + 30 * len(ranked), legend={"traceorder": "reversed"})


def _measured(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.dropna(subset=["y_true", "y_pred"])


def _spreads(part: pd.DataFrame) -> list[str]:
    if "std" not in part.columns:
        return [""] * len(part)
    return ["" if np.isnan(value) else f" ± {value:.3f}" for value in part["std"].to_numpy(dtype=float)]


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the range of the values with a margin of 5 %; (0, 1) where there are none."""
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _scores(frame: pd.DataFrame) -> str:
    """Describe all drawn points at once; the leaderboard has the means over folds, which differ a little."""
    from polyml.evaluation.metrics import METRICS

    if frame.empty:
        return "no measured values"
    truth, predicted = frame["y_true"].to_numpy(), frame["y_pred"].to_numpy()
    values = [f"{METRICS[name].title} {METRICS[name](truth, predicted):.3f}" for name in ("r2", "rmse", "mae")]
    return f"{', '.join(values)} over all {len(frame)} test points"
