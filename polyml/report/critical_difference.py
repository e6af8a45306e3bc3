"""The critical-difference diagram: average ranks of models, and which of them cannot be told apart.

References
----------
Demsar, J. Statistical comparisons of classifiers over multiple data sets. Journal of Machine Learning Research 7, 1-30
(2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from polyml.report.theme import INK, MUTED, colour, new_figure, plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_BAR = 0.35  # height of a step between bars, where a row of models is 1 high


def critical_difference_diagram(
    ranks: pd.Series, groups: Sequence[Sequence[str]], difference: float, title: str = ""
) -> Figure:
    """Draw average ranks on a line, the best at the left; a thick bar joins models that cannot be told apart.

    Parameters
    ----------
    ranks : Series
        Average rank by model, best first.
    groups : sequence of sequence of str
        Models that are closer than the critical difference, best first.
    difference : float
        The critical difference, drawn above the line; NaN draws none.
    title : str

    Returns
    -------
    Figure
    """
    import plotly.graph_objects as go

    figure = new_figure(title)
    left = (len(ranks) + 1) // 2
    low, high = math.floor(ranks.min()), math.ceil(ranks.max())
    high = max(high, low + 1)
    margin = 0.04 * (high - low)
    top = -1.0 - _BAR * len(groups)  # the first row of names stands below all bars
    for place, (model, rank) in enumerate(ranks.items()):
        on_left = place < left
        row = top - (place if on_left else len(ranks) - 1 - place)
        end = low - margin if on_left else high + margin
        figure.add_trace(
            go.Scatter(
                x=[rank, rank, end],
                y=[0, row, row],
                mode="lines",
                line={"color": MUTED, "width": 1},
                name=plain(model),
                hovertemplate=f"{plain(model)}: average rank {rank:.3f}<extra></extra>",
            )
        )
        side = {"xanchor": "right", "xshift": -4} if on_left else {"xanchor": "left", "xshift": 4}
        figure.add_annotation(x=end, y=row, text=f"{plain(model)} ({rank:.2f})", showarrow=False, **side)
    for step, group in enumerate(groups):
        y = -0.5 - _BAR * step
        line = {"color": INK, "width": 5}
        ends = [ranks[group[0]] - margin / 4, ranks[group[-1]] + margin / 4]
        names = plain(", ".join(group))
        hover = f"cannot be told apart: {names}<extra></extra>"
        figure.add_trace(go.Scatter(x=ends, y=[y, y], mode="lines", line=line, name=names, hovertemplate=hover))
    _draw_axis(figure, low, high, difference)
    bottom = top - max(left, len(ranks) - left)
    shown = 0.0 if math.isnan(difference) else difference
    side_width = 40 + 7 * max(len(f"{name} (00.00)") for name in ranks.index)
    figure.update_xaxes(visible=False, range=[low - margin, max(high, low + shown) + margin])
    figure.update_yaxes(visible=False, range=[bottom, 2.2])
    margins = {"l": side_width, "r": side_width, "t": 60, "b": 20}
    return figure.update_layout(showlegend=False, margin=margins, height=int(140 + 24 * (2.2 - bottom)))


def _draw_axis(figure: Figure, low: int, high: int, difference: float) -> None:
    """Draw the scale of ranks, and above it the length of the critical difference."""
    figure.add_shape(type="line", x0=low, x1=high, y0=0, y1=0, line={"color": INK, "width": 1.5})
    step = max(1, round((high - low) / 12))
    for rank in range(low, high + 1, step):
        figure.add_shape(type="line", x0=rank, x1=rank, y0=0, y1=0.2, line={"color": INK, "width": 1.5})
        figure.add_annotation(x=rank, y=0.2, yanchor="bottom", text=str(rank), showarrow=False)
    if math.isnan(difference):
        return
    ends = {"color": colour(0), "width": 2}
    figure.add_shape(type="line", x0=low, x1=low + difference, y0=1.4, y1=1.4, line=ends)
    for x in (low, low + difference):
        figure.add_shape(type="line", x0=x, x1=x, y0=1.3, y1=1.5, line=ends)
    text = f"critical difference {difference:.2f}"
    figure.add_annotation(x=low, y=1.5, xanchor="left", yanchor="bottom", text=text, showarrow=False)
