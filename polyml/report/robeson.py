"""The picture of a membrane search: selectivity against permeability, with the upper bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from polyml.report.theme import INK, SEQUENTIAL, colour, hover_texts, new_figure, plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter


def robeson(
    pair: str,
    data: pd.DataFrame,
    candidates: pd.DataFrame,
    bounds: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    colour_by: str | None = None,
    hover: Sequence[str] = (),
    max_points: int = 4000,
) -> Figure:
    """Draw a Robeson plot: measured polymers, predicted candidates and upper bounds, both axes logarithmic.

    Parameters
    ----------
    pair : str
        ``"O2/N2"``: selectivity of the first gas over the second, against the permeability of the first in Barrer.
    data : DataFrame
        Measured polymers: psmiles and a column a gas, in Barrer.
    candidates : DataFrame
        Predicted polymers, best first: psmiles, a column a gas in Barrer, and the columns named below.
    bounds : mapping
        Name of a bound, ``"upper bound 2008"`` say, to its permeabilities and selectivities.
    colour_by : str, optional
        Column of ``candidates`` to colour by, a similarity or an uncertainty.
    hover : sequence of str
        Columns of ``candidates`` to show in the hover box: monomers, polymer class, uncertainty.
    max_points : int
        Candidates drawn; a browser crawls with many more. The legend says how many of how many.

    References
    ----------
    L. M. Robeson, The upper bound revisited, J. Membr. Sci. 320 (2008) 390-400.
    """
    import plotly.graph_objects as go

    gas, other = pair.split("/")
    # Both gases known, and with a logarithm.
    data, candidates = (frame[(frame[gas] > 0) & (frame[other] > 0)] for frame in (data, candidates))
    figure = new_figure(f"{pair} separation", f"{gas} permeability [Barrer]", f"{pair} selectivity")
    drawn = candidates.iloc[:max_points]
    number = f"{len(drawn):,}" if len(drawn) == len(candidates) else f"first {len(drawn):,} of {len(candidates):,}"
    known = {"color": "white", "size": 7, "opacity": 0.6, "line": {"color": INK, "width": 1.2}}
    figure.add_trace(_points(pair, data, f"measured ({len(data):,})", (), known))
    figure.add_trace(
        _points(pair, drawn, f"ranked candidates, predicted ({number})", hover, _colours(drawn, colour_by))
    )
    for index, (name, (permeability, selectivity)) in enumerate(bounds.items()):
        line = {"color": colour(5 + index), "width": 2.5, "dash": "solid" if index == 0 else "dash"}
        figure.add_trace(go.Scatter(x=permeability, y=selectivity, mode="lines", name=plain(name), line=line))
    figure.update_xaxes(type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(type="log")
    return figure.update_layout(height=680, legend={"x": 1, "y": 1, "xanchor": "right"})


def _colours(frame: pd.DataFrame, column: str | None) -> dict[str, Any]:
    if column is None:
        return {"color": colour(0), "size": 6, "opacity": 0.7}
    # The colour bar stands left of nothing else: the legend lies inside the axes.
    bar = {"title": {"text": plain(column), "side": "right"}, "thickness": 14}
    return {"color": frame[column], "colorscale": SEQUENTIAL, "colorbar": bar, "size": 6, "opacity": 0.8}


def _points(pair: str, frame: pd.DataFrame, name: str, hover: Sequence[str], marker: dict[str, Any]) -> Scatter:
    import plotly.graph_objects as go

    first, second = pair.split("/")
    permeability = frame[first].to_numpy(dtype=float)
    columns = [column for column in hover if column in frame.columns]
    labels = hover_texts(frame["psmiles"])
    for column in columns:
        values = frame[column]
        shown = values.map(lambda value: f"{value:.3g}") if pd.api.types.is_float_dtype(values) else values
        labels = [f"{label}<br>{plain(column)}: {text}" for label, text in zip(labels, hover_texts(shown), strict=True)]
    return go.Scatter(
        x=permeability,
        y=permeability / frame[second].to_numpy(dtype=float),
        mode="markers",
        name=name,
        marker=marker,
        customdata=labels,
        hovertemplate=f"{plain(first)} %{{x:.3g}} Barrer, {plain(pair)} %{{y:.3g}}<br>%{{customdata}}<extra></extra>",
    )
