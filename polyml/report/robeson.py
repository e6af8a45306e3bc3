"""The picture of a membrane search: selectivity against permeability, with the upper bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polyml.report.trade_off import Axis, trade_off

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


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
    colour_by, hover, max_points
        See :func:`polyml.report.trade_off.trade_off`.

    References
    ----------
    L. M. Robeson, The upper bound revisited, J. Membr. Sci. 320 (2008) 390-400.
    """
    gas, other = pair.split("/")
    permeability, selectivity = Axis(gas, f"{gas} permeability [Barrer]", True), Axis(pair, f"{pair} selectivity", True)
    data, candidates = (
        frame.assign(**{pair: frame[gas] / np.where(frame[other] > 0, frame[other], np.nan)})
        for frame in (data, candidates)
    )
    figure = trade_off(
        permeability,
        selectivity,
        candidates,
        data,
        title=f"{pair} separation",
        lines=bounds,
        colour_by=colour_by,
        hover=hover,
        max_points=max_points,
    )
    return figure.update_xaxes(dtick=1, exponentformat="power")
