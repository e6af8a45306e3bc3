"""Two quantities against each other: training data, ranked candidates, and where the best of them end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from polyml.data.properties import Property
from polyml.report.theme import INK, SEQUENTIAL, colour, hover_texts, new_figure, plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter


@dataclass(frozen=True)
class Axis:
    """What stands on an axis: a column of the ranked table, its name for people, and whether the axis is logarithmic.

    Examples
    --------
    >>> Axis.of("O2", [Property(name="O2", unit="Barrer", transform="log10")])
    Axis(column='O2', label='O2 (Barrer)', log=True)
    >>> Axis.of("similarity", [])
    Axis(column='similarity', label='similarity', log=False)
    """

    column: str
    label: str
    log: bool = False

    @classmethod
    def of(cls, column: str, properties: Sequence[Property]) -> Axis:
        """Return the axis of a property, logarithmic where it is modelled as log10, or of any other column."""
        found = next((item for item in properties if item.name == column), None)
        return cls(column, column) if found is None else cls(column, found.label, found.transform == "log10")


def trade_off(
    x: Axis,
    y: Axis,
    candidates: pd.DataFrame,
    data: pd.DataFrame | None = None,
    *,
    title: str = "",
    front: np.ndarray | None = None,
    maximize_x: bool = True,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    colour_by: str | None = None,
    hover: Sequence[str] = ("rank",),
    max_points: int = 4000,
) -> Figure:
    """Draw predicted candidates in two quantities, with the measured polymers where they have both.

    A row without one of the two, or without its logarithm on a logarithmic axis, is left out.

    Parameters
    ----------
    x, y : Axis
    candidates : DataFrame
        Predicted polymers, best first: psmiles, the columns of the axes, and those named below.
    data : DataFrame, optional
        Measured polymers: psmiles and the columns of the axes. Nothing is drawn of them where a column is not there.
    title : str
    front : ndarray of bool, shape (n,), optional
        Which candidates no other beats in both quantities; they are joined by the line that nothing lies beyond.
    maximize_x : bool
        Whether more of ``x`` is better, which decides on which side of a point the line turns.
    lines : mapping, optional
        Name of a line, ``"upper bound 2008"`` say, to its x and y.
    colour_by : str, optional
        Column of ``candidates`` to colour by, a similarity or an uncertainty; not used where it is not there.
    hover : sequence of str
        Columns of ``candidates`` to show in the hover box.
    max_points : int
        Candidates drawn; a browser crawls with many more. The legend says how many of how many.

    Examples
    --------
    >>> ranked = pd.DataFrame({"psmiles": ["*CC*", "*OCC*"], "O2": [9.0, 3.0], "Tg": [200.0, 300.0]})
    >>> figure = trade_off(Axis("O2", "O2 (Barrer)", log=True), Axis("Tg", "Tg (K)"), ranked)
    >>> figure.layout.xaxis.type, [trace.name for trace in figure.data]
    ('log', ['ranked candidates, predicted (2)'])
    """
    figure = new_figure(title, x.label, y.label)
    inside = _drawable(candidates, x, y)
    shown = candidates[inside]
    drawn = shown.iloc[:max_points]
    number = f"{len(drawn):,}" if len(drawn) == len(shown) else f"first {len(drawn):,} of {len(shown):,}"
    if data is not None and {x.column, y.column} <= set(data.columns):
        known = data[_drawable(data, x, y)]
        marker = {"color": "white", "size": 7, "opacity": 0.6, "line": {"color": INK, "width": 1.2}}
        figure.add_trace(_points(x, y, known, f"measured ({len(known):,})", (), marker))
    marker = _colours(drawn, colour_by)
    figure.add_trace(_points(x, y, drawn, f"ranked candidates, predicted ({number})", hover, marker))
    if front is not None:
        figure.add_trace(_front_line(x, y, shown[np.asarray(front, dtype=bool)[inside]], maximize_x))
    _draw_lines(figure, lines or {})
    for update, axis in ((figure.update_xaxes, x), (figure.update_yaxes, y)):
        if axis.log:
            update(type="log")
    return figure.update_layout(height=680, legend={"x": 1, "y": 1, "xanchor": "right"})


def _drawable(frame: pd.DataFrame, x: Axis, y: Axis) -> np.ndarray:
    mask = np.ones(len(frame), dtype=bool)
    for axis in (x, y):
        values = frame[axis.column].to_numpy(dtype=float)
        mask &= np.isfinite(values) & (values > 0 if axis.log else True)
    return mask


def _colours(frame: pd.DataFrame, column: str | None) -> dict[str, Any]:
    if column is None or column not in frame.columns:
        return {"color": colour(0), "size": 6, "opacity": 0.7}
    # The colour bar stands left of nothing else: the legend lies inside the axes.
    bar = {"title": {"text": plain(column), "side": "right"}, "thickness": 14}
    return {"color": frame[column], "colorscale": SEQUENTIAL, "colorbar": bar, "size": 6, "opacity": 0.8}


def _points(x: Axis, y: Axis, frame: pd.DataFrame, name: str, hover: Sequence[str], marker: dict[str, Any]) -> Scatter:
    import plotly.graph_objects as go

    labels = hover_texts(frame["psmiles"])
    for column in [column for column in hover if column in frame.columns]:
        values = frame[column]
        shown = values.map(lambda value: f"{value:.3g}") if pd.api.types.is_float_dtype(values) else values
        labels = [f"{label}<br>{plain(column)}: {text}" for label, text in zip(labels, hover_texts(shown), strict=True)]
    return go.Scatter(
        x=frame[x.column].to_numpy(dtype=float),
        y=frame[y.column].to_numpy(dtype=float),
        mode="markers",
        name=name,
        marker=marker,
        customdata=labels,
        hovertemplate=f"{plain(x.label)} %{{x:.3g}}, {plain(y.label)} %{{y:.3g}}<br>%{{customdata}}<extra></extra>",
    )


def _front_line(x: Axis, y: Axis, frame: pd.DataFrame, maximize_x: bool) -> Scatter:
    """Return the line around all candidates: between two points of the front nothing better is known than either."""
    import plotly.graph_objects as go

    frame = frame.sort_values([x.column, y.column])
    return go.Scatter(
        x=frame[x.column],
        y=frame[y.column],
        mode="lines",
        name=f"Pareto front ({len(frame):,})",
        line={"color": colour(6), "width": 1.5, "shape": "vh" if maximize_x else "hv"},
        hoverinfo="skip",
    )


def _draw_lines(figure: Figure, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    import plotly.graph_objects as go

    for index, (name, (x, y)) in enumerate(lines.items()):
        line = {"color": colour(5 + index), "width": 2.5, "dash": "solid" if index == 0 else "dash"}
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines", name=plain(name), line=line))
