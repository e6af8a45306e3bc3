"""Pictures of the error against the similarity to the training polymers.

The functions take tables of :mod:`polyml.evaluation.domain` and return plotly figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polyml.report.theme import INK, colour, hover_texts, new_figure, plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_X = "domain score: mean similarity to the nearest training polymers"
_BY = {"domain_score": ("score", _X), "novelty": ("novelty", "novelty: error of what the autoencoder rebuilds")}


def error_against_similarity(
    predictions: pd.DataFrame, groups: pd.DataFrame, title: str = "", scale: str = "", by: str = "domain_score"
) -> Figure:
    """Draw the errors of one model on one property against the domain score, and the RMSE of each fifth as steps.

    Parameters
    ----------
    predictions : DataFrame
        Columns psmiles, y_true, y_pred, and ``by``. Rows with a NaN value are left out.
    groups : DataFrame
        The rows of :func:`polyml.evaluation.domain.error_by_domain` for them.
    title : str
        Model and property, say.
    scale : str
        Name of the scale of the values.
    by : {"domain_score", "novelty"}
        What the errors are drawn against.
    """
    import plotly.graph_objects as go

    groups = groups[groups["by"] == _BY[by][0]]
    frame = predictions.dropna(subset=["y_true", "y_pred", by])
    correlation = float(groups["rank_correlation"].iloc[0]) if "rank_correlation" in groups and len(groups) else np.nan
    head = f"{title} — rank correlation {correlation:+.2f}" if np.isfinite(correlation) else title
    figure = new_figure(head, _BY[by][1], f"absolute error [{scale}]" if scale else "absolute error")
    figure.add_trace(
        go.Scatter(
            x=frame[by],
            y=(frame["y_pred"] - frame["y_true"]).abs(),
            mode="markers",
            name="polymers",
            marker={"color": colour(0), "size": 6, "opacity": 0.5},
            customdata=hover_texts(frame["psmiles"]),
            hovertemplate="%{x:.3f}<br>error %{y:.3f}<br>%{customdata}<extra></extra>",
        )
    )
    x, y = groups[["score_from", "score_to"]].to_numpy().ravel(), np.repeat(groups["rmse"].to_numpy(), 2)
    steps = {"color": INK, "width": 2}
    figure.add_trace(go.Scatter(x=x, y=y, mode="lines", name="RMSE of each part", line=steps, hoverinfo="y"))
    return figure


def error_by_similarity(groups: pd.DataFrame, label: str) -> Figure:
    """Draw the RMSE of one property in each fifth of the domain score, a line a model.

    Parameters
    ----------
    groups : DataFrame
        The rows of :func:`polyml.evaluation.domain.error_by_domain` for one property.
    label : str
        Name and scale of the property.
    """
    import plotly.graph_objects as go

    figure = new_figure(f"{label}: error against similarity to the training polymers", _X, "RMSE")
    for index, (model, part) in enumerate(groups[groups["by"] == "score"].groupby("model", sort=False)):
        figure.add_trace(
            go.Scatter(
                x=(part["score_from"] + part["score_to"]) / 2,
                y=part["rmse"],
                mode="lines+markers",
                name=plain(model),
                customdata=part["n"],
                line={"color": colour(index), "width": 1.5},
                hovertemplate="%{y:.4f} (%{customdata} values)",
            )
        )
    return figure
