"""One look for every picture: colours that colour-blind people can tell apart, and a quiet template."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Okabe and Ito's set without yellow, which is too pale on white: https://jfly.uni-koeln.de/color/
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#000000")
SEQUENTIAL = "Viridis"
INK, MUTED, GRID = "#1f2933", "#52606d", "#e4e7eb"


def new_figure(title: str = "", x: str = "", y: str = "") -> Figure:
    """Return an empty figure in the house style; title and axis names are taken as plain text."""
    import plotly.graph_objects as go

    axis = {"gridcolor": GRID, "linecolor": MUTED, "ticks": "outside", "tickcolor": MUTED, "zeroline": False}
    figure = go.Figure()
    figure.update_layout(
        template="none",
        colorway=PALETTE,
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14, "color": INK},
        title={"text": plain(title), "x": 0.02, "xanchor": "left"},
        plot_bgcolor="white",
        paper_bgcolor="white",
        hoverlabel={"bgcolor": "white", "font": {"size": 12, "color": INK}, "align": "left"},
        legend={"bgcolor": "rgba(255,255,255,0.8)"},
        margin={"l": 80, "r": 30, "t": 60, "b": 70},
        height=560,
    )
    figure.update_xaxes(title_text=plain(x), **axis)
    figure.update_yaxes(title_text=plain(y), **axis)
    return figure


def colour(index: int) -> str:
    """Return the colour of the ``index``-th series, from the start again after the last."""
    return PALETTE[index % len(PALETTE)]


def plain(text: object) -> str:
    """Escape text for plotly, which reads a part of HTML in titles, legends and hover boxes.

    Examples
    --------
    >>> plain("<b>O2</b>")
    '&lt;b&gt;O2&lt;/b&gt;'
    """
    return html.escape(str(text), quote=False)


def hover_text(text: object, width: int = 60) -> str:
    """Escape text for a hover box and break it, so that a long pSMILES stays readable; the rest is cut.

    Examples
    --------
    >>> hover_text("*" + "C" * 8 + "*", width=5)
    '*CCCC<br>CCCC*'
    """
    whole = str(text)
    lines = [whole[start : start + width] for start in range(0, min(len(whole), 5 * width), width)]
    return "<br>".join(plain(line) for line in lines) + (" …" if len(whole) > 5 * width else "")


def hover_texts(texts: Iterable[object]) -> list[str]:
    """Apply :func:`hover_text` to each."""
    return [hover_text(text) for text in texts]
