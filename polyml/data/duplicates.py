"""Rows of one polymer: report how far their values agree, and merge them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from polyml.data.properties import Property


def _model_values(frame: pd.DataFrame, properties: Sequence[Property]) -> pd.DataFrame:
    return pd.DataFrame({item.name: item.to_model(frame[item.name]) for item in properties}, index=frame.index)


def find_duplicates(frame: pd.DataFrame, properties: Sequence[Property], tolerance: float) -> pd.DataFrame:
    """Report the polymers that were written more than once.

    Parameters
    ----------
    frame : DataFrame
        Columns line, psmiles, key and the properties in user units.
    properties : sequence of Property
    tolerance : float
        Values conflict when they spread by more than ``tolerance`` standard deviations of the property over the whole
        table, on the modelled scale; different classes always conflict.

    Returns
    -------
    DataFrame
        Columns key, psmiles, lines, count, conflict, conflicts and ``spread_<name>``, in the order of the first rows.
    """
    y = _model_values(frame, properties)
    groups = y.groupby(frame["key"], sort=False)
    spread = groups.max() - groups.min()
    scale = y.std(ddof=0)
    scale[[item.name for item in properties if item.is_class]] = 0.0
    conflict = spread.gt(tolerance * scale, axis=1)
    rows = frame.groupby("key", sort=False)
    report = pd.DataFrame(
        {
            "psmiles": rows["psmiles"].first(),
            "lines": rows["line"].agg(lambda lines: ";".join(str(line) for line in lines)),
            "count": rows.size(),
            "conflict": conflict.any(axis=1),
            "conflicts": [";".join(conflict.columns[row]) for row in conflict.to_numpy(dtype=bool)],
        }
    )
    report = report.join(spread.add_prefix("spread_"))
    return report[report["count"] > 1].rename_axis("key").reset_index()


def merge_rows(frame: pd.DataFrame, properties: Sequence[Property]) -> pd.DataFrame:
    """Keep one row a polymer: the first, with the mean of all measured values on the modelled scale.

    Under ``log10`` this is the geometric mean in user units. A polymer written once keeps its value to the last digit.
    Of classes the most frequent one is kept, the first of those equally frequent.
    """
    first = frame.drop_duplicates("key", ignore_index=True)
    if len(first) == len(frame):
        return first
    means = _model_values(frame, properties).groupby(frame["key"], sort=False).mean()
    repeated = frame["key"].value_counts()[first["key"]].to_numpy() > 1
    merged = first.copy()
    for item in properties:
        if item.is_class:
            commonest = frame.groupby("key", sort=False)[item.name].agg(_commonest)
            merged[item.name] = commonest[first["key"]].to_numpy(dtype=object)
            continue
        values = item.from_model(means.loc[first["key"], item.name])
        merged[item.name] = np.where(repeated, values, first[item.name].to_numpy(dtype=float))
    return merged


def _commonest(labels: pd.Series) -> str | None:
    counts = labels.dropna().value_counts(sort=False)  # in the order of their first rows
    return str(counts.idxmax()) if len(counts) else None
