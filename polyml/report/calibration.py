"""Picture of how far the predicted spread of a model can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from polyml.report.theme import INK, colour, new_figure

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def calibration(
    curve: pd.DataFrame, bins: pd.DataFrame, interval: tuple[float, float], title: str = "", scale: str = ""
) -> Figure:
    """Draw the calibration curve of one property, and the error found beside the one that was promised.

    Parameters
    ----------
    curve : DataFrame
        Columns expected and observed, as :func:`polyml.evaluation.uncertainty.calibration_curve` returns.
    bins : DataFrame
        Columns std, rmse and n, as :func:`polyml.evaluation.uncertainty.error_by_std` returns.
    interval : pair of float
        Share that the interval is meant to hold, and the share that it holds.
    title : str
    scale : str
        Name of the scale of the values, ``log10(Barrer)`` say.
    """
    import plotly.graph_objects as go

    suffix = f" [{scale}]" if scale else ""
    meant, held = interval
    figure = new_figure(f"{title} — the {meant:.0%} interval holds {held:.1%}", "share promised", "share found")
    diagonal = {"mode": "lines", "line": {"color": INK, "dash": "dash", "width": 1}, "hoverinfo": "skip"}
    line = {"color": colour(0), "width": 2}
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1], showlegend=False, **diagonal))
    figure.add_trace(
        go.Scatter(
            x=curve["expected"],
            y=curve["observed"],
            mode="lines",
            name="standard deviation",
            line=line,
            hovertemplate="promised %{x:.0%}, found %{y:.1%}",
        )
    )
    marker = {"color": colour(5), "size": 12, "symbol": "diamond"}
    point = go.Scatter(x=[meant], y=[held], mode="markers", name="interval", marker=marker)
    figure.add_trace(point)
    top = 1.05 * float(bins[["std", "rmse"]].to_numpy().max(initial=0.0)) or 1.0
    second = {"xaxis": "x2", "yaxis": "y2"}
    figure.add_trace(go.Scatter(x=[0, top], y=[0, top], showlegend=False, **diagonal, **second))
    figure.add_trace(
        go.Scatter(
            x=bins["std"],
            y=bins["rmse"],
            mode="lines+markers",
            name="tenths of the polymers, by standard deviation",
            line={"color": colour(2), "width": 1.5},
            customdata=bins["n"],
            hovertemplate="promised %{x:.3f}, found %{y:.3f}<br>%{customdata} values",
            **second,
        )
    )
    axis = figure.layout.xaxis.to_plotly_json()
    figure.update_layout(
        xaxis={"domain": [0, 0.45], "range": [0, 1]},
        yaxis={"range": [0, 1]},
        xaxis2={**axis, "domain": [0.57, 1], "range": [0, top], "title": {"text": f"standard deviation{suffix}"}},
        yaxis2={**axis, "anchor": "x2", "range": [0, top], "title": {"text": f"error found (RMSE){suffix}"}},
        legend={"orientation": "h", "y": -0.22},
    )
    return figure
