"""Maps of a data set: each polymer a point, coloured by cluster or by a property."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polyml.data.properties import Property
from polyml.report.theme import SEQUENTIAL, colour, hover_texts, new_figure, plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter

_SYMBOLS = ("circle", "diamond", "square", "cross", "triangle-up", "star")
_PALETTE_LENGTH = 8


def projection_map(
    frame: pd.DataFrame, x: str, y: str, properties: Sequence[Property], title: str = "", note: str = ""
) -> Figure:
    """Draw a two-dimensional map with a menu that chooses the colour: cluster, or one of the properties.

    Parameters
    ----------
    frame : DataFrame
        Columns psmiles, cluster (from 1; 0 for none), ``x``, ``y`` and the properties in user units (NaN where not
        measured).
    x, y : str
        Columns of the coordinates.
    properties : sequence of Property
        Coloured in the modelled scale, shown in user units.
    title, note : str
        Heading, and what stands behind it (the share of the variance, the perplexity).
    """
    figure = new_figure(f"{title} — {note}" if note else title, x.replace("_", " "), y.replace("_", " "))
    labels = _labels(frame, properties)
    clusters = sorted(frame["cluster"].unique())
    for index, cluster in enumerate(clusters):
        rows = (frame["cluster"] == cluster).to_numpy()
        # After eight clusters the colours come again, with another symbol.
        symbol = _SYMBOLS[index // _PALETTE_LENGTH % len(_SYMBOLS)]
        marker = {"color": colour(index), "symbol": symbol, "size": 7, "opacity": 0.8}
        figure.add_trace(_points(frame[rows], x, y, f"{_cluster_name(cluster)} ({rows.sum()})", labels[rows], marker))
    for item in properties:
        values = item.to_model(frame[item.name])
        rows = ~np.isnan(values)
        if item.is_class:
            marker = {"color": [colour(int(code)) for code in values[rows]], "size": 7, "opacity": 0.85}
        else:
            bar = {"title": {"text": plain(item.model_label), "side": "right"}, "thickness": 14}
            marker = {"color": values[rows], "colorscale": SEQUENTIAL, "colorbar": bar, "size": 7, "opacity": 0.85}
        figure.add_trace(
            _points(frame[rows], x, y, f"{item.name} ({rows.sum()} measured)", labels[rows], marker, False)
        )
    _add_menu(figure, len(clusters), [item.name for item in properties])
    figure.update_xaxes(showticklabels=False, ticks="")  # the unit of such an axis means nothing
    figure.update_yaxes(showticklabels=False, ticks="")
    return figure.update_layout(height=660, margin={"t": 100})


def _cluster_name(number: int) -> str:
    return f"cluster {number}" if number else "no cluster"


def _add_menu(figure: Figure, n_clusters: int, names: Sequence[str]) -> None:
    choices = {"cluster": [*([True] * n_clusters), *([False] * len(names))]}
    for place, name in enumerate(names):
        choices[name] = [False] * n_clusters + [index == place for index in range(len(names))]
    buttons = [
        {"label": plain(f"colour: {name}"), "method": "update", "args": [{"visible": shown}]}
        for name, shown in choices.items()
    ]
    position = {"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "direction": "down"}
    figure.update_layout(updatemenus=[{"buttons": buttons, "showactive": True, **position}])


def _points(
    frame: pd.DataFrame, x: str, y: str, name: str, labels: np.ndarray, marker: dict[str, object], visible: bool = True
) -> Scatter:
    import plotly.graph_objects as go

    return go.Scatter(
        x=frame[x],
        y=frame[y],
        mode="markers",
        name=plain(name),
        marker=marker,
        visible=visible,
        customdata=labels,
        hovertemplate="%{customdata}<extra></extra>",
    )


def _labels(frame: pd.DataFrame, properties: Sequence[Property]) -> np.ndarray:
    labels = np.array(hover_texts(frame["psmiles"]), dtype=object)
    labels += [f"<br>{_cluster_name(cluster)}" for cluster in frame["cluster"]]
    for item in properties:
        if item.is_class:
            labels += ["" if pd.isna(name) else f"<br>{plain(item.label)}: {plain(name)}" for name in frame[item.name]]
            continue
        values = frame[item.name].to_numpy(dtype=float)
        labels += ["" if np.isnan(value) else f"<br>{plain(item.label)}: {value:.3g}" for value in values]
    return labels
