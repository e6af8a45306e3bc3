"""The report of a screen: what became of the candidates, the best of them, and where they stand."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polyml.data.properties import Property
from polyml.report.html import embedded_figures, format_number, page
from polyml.report.structures import candidate_cards
from polyml.report.theme import INK, colour, new_figure, plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_WIDE = 50  # ratio of two stages of a funnel from which a linear axis shows one of them only


def funnel(counts: Mapping[str, int], title: str = "") -> Figure:
    """Draw how many candidates are left after each stage, with the share of the stage before.

    Parameters
    ----------
    counts : mapping of str to int
        Stage to candidates, the first stage first. The axis is logarithmic where a linear one would show nothing.
    title : str

    Examples
    --------
    >>> [text.strip() for text in funnel({"read": 1000, "valid": 990, "in the domain": 0}).data[1].text]
    ['1,000', '990 (99 %)', '0 (0 %)']
    """
    import plotly.graph_objects as go

    numbers = list(counts.values())
    stages = [plain(name) for name in counts]
    before = [None, *numbers[:-1]]
    texts = [f" {n:,}" + (f" ({_share(n, last)})" if last else "") for n, last in zip(numbers, before, strict=True)]
    positive = [number for number in numbers if number > 0]
    wide = bool(positive) and max(positive) > _WIDE * min(positive)
    figure = new_figure(title, "candidates (logarithmic)" if wide else "candidates")
    bar = {"color": colour(0), "opacity": 0.75}
    figure.add_trace(go.Bar(x=numbers, y=stages, orientation="h", marker=bar, hoverinfo="skip"))
    ends = [max(number, 0.5) if wide else number for number in numbers]  # nothing has no place on a logarithmic axis
    figure.add_trace(
        go.Scatter(x=ends, y=stages, text=texts, mode="text", textposition="middle right", hoverinfo="skip")
    )
    top = max(positive, default=1)
    figure.update_xaxes(**({"type": "log", "range": [np.log10(0.5), np.log10(top) * 1.2]} if wide else {}))
    if not wide:
        figure.update_xaxes(range=[0, 1.2 * top])
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return figure.update_layout(showlegend=False, height=140 + 42 * len(counts), margin={"t": 60 if title else 40})


def prediction_histogram(
    item: Property, edges: np.ndarray, predicted: np.ndarray, training: np.ndarray, title: str = ""
) -> Figure:
    """Draw how the predictions of one property are spread, beside the training values: shares of each, bin by bin.

    What lies beyond the first and the last edge stands in a bin of its own.

    Parameters
    ----------
    item : Property
    edges : ndarray of shape (bins + 1,)
        In the modelled scale, equally spaced.
    predicted, training : ndarray of int, shape (bins + 2,)
        Values below the first edge, in each bin, and beyond the last edge, as
        :class:`polyml.screening.histogram.StreamedHistogram` counts them.
    title : str

    Examples
    --------
    >>> item = Property(name="O2", unit="Barrer", transform="log10")
    >>> figure = prediction_histogram(item, np.array([0.0, 1.0, 2.0]), np.array([0, 3, 1, 4]), np.array([0, 1, 1, 0]))
    >>> figure.data[0].customdata[2]
    '100 or more: 4 (50 %)'
    """
    import plotly.graph_objects as go

    edges = np.asarray(edges, dtype=float)
    width = edges[1] - edges[0]
    places = np.concatenate([edges[:1] - width, edges])  # the lower end of every bin
    counts = {"candidates, predicted": np.asarray(predicted), "training data": np.asarray(training)}
    kept = slice(
        int(all(part[0] == 0 for part in counts.values())), -1 if all(p[-1] == 0 for p in counts.values()) else None
    )
    names = _bin_names(item, edges)
    figure = new_figure(title, item.label, "share of the values")
    for name, part in counts.items():
        total = max(int(part.sum()), 1)
        share, start = part[kept] / total, places[kept]
        labels = [f"{text}: {n:,} ({_share(n, total)})" for text, n in zip(names[kept], part[kept], strict=True)]
        legend = f"{name} ({int(part.sum()):,})"
        if part is counts["training data"]:
            line = {"color": INK, "width": 1.8, "shape": "hv"}
            x, y = np.append(start, start[-1] + width), np.append(share, share[-1])
            figure.add_trace(go.Scatter(x=x, y=y, mode="lines", name=legend, line=line, hoverinfo="skip"))
            continue
        figure.add_trace(
            go.Bar(
                x=start + width / 2,
                y=share,
                width=width,
                name=legend,
                marker={"color": colour(4), "opacity": 0.8},
                customdata=labels,
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    if item.transform == "log10":
        figure.update_xaxes(**_decades(places[0], places[-1] + width))
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure.update_layout(height=420, legend={"x": 1, "y": 1, "xanchor": "right"})


def screening_page(
    title: str,
    ranked: pd.DataFrame,
    properties: Sequence[Property],
    counts: Mapping[str, int],
    *,
    trade_offs: Mapping[str, Figure] | None = None,
    histograms: Mapping[str, Figure] | None = None,
    shortlist: pd.DataFrame | None = None,
    notes: str = "",
    words: str = "",
    columns: Sequence[str] = (),
    most: int = 24,
) -> str:
    """Return the report of a screen as one HTML page that works offline.

    Parameters
    ----------
    title : str
    ranked, properties, columns, most
        The best candidates; see :func:`polyml.report.structures.candidate_cards`.
    counts : mapping of str to int
        Candidates after each stage; see :func:`funnel`.
    trade_offs, histograms : mapping of str to Figure, optional
        Heading to figure.
    shortlist : DataFrame, optional
        The candidates that were chosen because they differ: rows of ``ranked``.
    notes : str
        Plain text under the title: the model, what was demanded, and what the candidates are ranked by.
    words : str
        Plain text above the candidates: what the columns mean.
    """
    figures = {"What became of the candidates": funnel(counts), **(trade_offs or {}), **(histograms or {})}
    charts, head = embedded_figures(figures)
    lead = f"<p>{html.escape(notes)}</p>" if notes else ""
    number = min(most, len(ranked))
    best = f"<h2>The best {number} of {len(ranked):,} ranked candidates</h2>" if number else "<h2>No candidate</h2>"
    if number and any(f"{item.name}_lower" in ranked for item in properties):
        words = f"In brackets: the ends of the 90 % interval of a new measurement. {words}"
    best += f"<p>{html.escape(words)}</p>" if number and words else ""
    best += candidate_cards(ranked, properties, columns=columns, most=most)
    if shortlist is not None and len(shortlist):
        best += f"<h2>The shortlist: {len(shortlist):,} that differ, in the order in which they were chosen</h2>"
        best += candidate_cards(shortlist, properties, columns=columns, most=len(shortlist))
    return page(title, f"{lead}{best}{charts}", head)


def _share(number: int, whole: int) -> str:
    """Return a share in per cent; what is not all of it does not become 100 %."""
    percent = 100.0 * number / whole
    return f"{percent:.3g} %" if number == whole or percent < 99.95 else "> 99.9 %"


def _bin_names(item: Property, edges: np.ndarray) -> list[str]:
    ends = [format_number(float(value)) for value in item.from_model(edges)]
    inside = [f"{low} to {high}" for low, high in pairwise(ends)]
    return [f"below {ends[0]}", *inside, f"{ends[-1]} or more"]


def _decades(low: float, high: float) -> dict[str, list[float] | list[str]]:
    """Return ticks in user units for an axis of logarithms: decades, with 2 and 5 between where there are few."""
    steps = [0.0] if high - low > 3 else [0.0, np.log10(2.0), np.log10(5.0)]
    ticks = [decade + step for decade in range(int(np.floor(low)), int(np.ceil(high)) + 1) for step in steps]
    return {"tickvals": ticks, "ticktext": [format_number(10.0**tick) for tick in ticks]}
