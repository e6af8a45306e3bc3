"""Folds that test what a random division never asks: another source, a later time, values beyond the known ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from polyml.chem import constitution_names
from polyml.data.splits import Fold
from polyml.errors import UserError, unknown_name

if TYPE_CHECKING:
    from polyml.data.splits import SplitSpec
    from polyml.data.table import PolymerTable

MAX_GROUPS = 50
"""Values of a column beyond which a fold for each is more likely a slip than a wish."""


def held_out_folds(table: PolymerTable | Sequence[str], spec: SplitSpec) -> list[Fold]:
    """Divide the rows of a table by one of its columns, or by a target; see :class:`polyml.data.splits.SplitSpec`.

    A polymer of the test part is taken out of the training part, whichever rows it stands in.

    Raises
    ------
    UserError
        There is no table, no such column or target, or it does not divide the rows.
    """
    from polyml.data.table import PolymerTable

    if not isinstance(table, PolymerTable):
        raise UserError(f"a split of kind {spec.kind} needs a table", where="split", fix="use kind: kfold")
    if spec.kind == "extrapolation":
        pairs = _by_target(table, spec)
    else:
        column = _column(table, str(spec.column))
        pairs = _by_group(column, str(spec.column)) if spec.kind == "leave_one_group_out" else _by_time(column, spec)
    keys = np.asarray(constitution_names(table.keys), dtype=object)
    folds = []
    for number, (train, test) in enumerate(pairs):
        tested = set(keys[test])
        kept = np.array([row for row in train if keys[row] not in tested], dtype=int)
        if not len(kept):
            what = f"nothing is left to train on in fold {number}: its polymers are those of all other rows"
            raise UserError(what, where="split", fix="use another column, or kind: kfold")
        folds.append(Fold(0, number, kept, np.asarray(test, dtype=int)))
    return folds


def _column(table: PolymerTable, name: str) -> pd.Series:
    if name not in table.frame:
        others = [column for column in table.frame.columns if column not in ("line", "key", "psmiles")]
        raise unknown_name("column", name, others, where="split.column")
    column = table.frame[name].reset_index(drop=True)
    empty = column.isna() | (column.astype(str).str.strip() == "")
    if empty.any():
        what = f"{int(empty.sum())} rows have no value in column '{name}'"
        raise UserError(what, where="split.column", fix="fill it in, or leave these rows out")
    return column


def _by_group(column: pd.Series, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Test each value of a column in a fold of its own."""
    groups = column.astype(str).str.strip()
    values = sorted(groups.unique())
    if not 2 <= len(values) <= MAX_GROUPS:
        what = f"column '{name}' has {len(values)} different values; a fold for each needs 2 to {MAX_GROUPS}"
        raise UserError(what, where="split.column", fix="use a column with the names of a few sources")
    found = groups.to_numpy()
    return [(np.flatnonzero(found != value), np.flatnonzero(found == value)) for value in values]


def _by_time(column: pd.Series, spec: SplitSpec) -> list[tuple[np.ndarray, np.ndarray]]:
    """Test each part of the rows, in order of time, on models of all earlier parts; equal times stay together."""
    times = _times(column, str(spec.column))
    different = np.unique(times)
    parts = spec.folds + 1
    if len(different) < parts:
        what = f"column '{spec.column}' has {len(different)} different times; {spec.folds} folds need {parts}"
        raise UserError(what, where="split.column", fix="use fewer folds")
    edges = sorted({float(np.quantile(times, part / parts, method="higher")) for part in range(1, parts)})
    bounds = [*edges, np.inf]
    pairs = [
        (np.flatnonzero(times < low), np.flatnonzero((times >= low) & (times < high))) for low, high in pairwise(bounds)
    ]
    pairs = [(train, test) for train, test in pairs if len(train) and len(test)]
    if len(pairs) < spec.folds:
        what = f"the times of column '{spec.column}' are too unevenly spread for {spec.folds} folds"
        raise UserError(what, where="split.column", fix=f"use {max(len(pairs), 1)} folds or another column")
    return pairs


def _times(column: pd.Series, name: str) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce").replace([np.inf, -np.inf], np.nan)
    if numbers.isna().any():
        dates = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)  # zones may differ
        if dates.isna().any():
            neither = dates.isna() & numbers.isna()  # where numbers and dates are mixed, a number is the odd one
            first = column[neither if neither.any() else dates.isna()].iloc[0]
            what = f"'{first}' in column '{name}' is neither a number nor a date"
            raise UserError(what, where="split.column", fix="write years, or dates such as 2024-05-31")
        numbers = dates.astype("int64")
    return numbers.to_numpy(dtype=float)


def _by_target(table: PolymerTable, spec: SplitSpec) -> list[tuple[np.ndarray, np.ndarray]]:
    """Test the lowest values of a target on models of the others, then the highest."""
    name = spec.target or table.names[0]
    if name not in table.names:
        raise unknown_name("target", name, table.names, where="split.target")
    if table.task == "classification":
        raise UserError("classes have no highest and lowest", where="split", fix="use kind: kfold")
    values = table.y[:, table.names.index(name)]
    known = values[~np.isnan(values)]
    if len(known) < 2 * spec.folds:
        what = f"'{name}' has {len(known)} values, too few for one part in {spec.folds} to be held out"
        raise UserError(what, where="split", fix="use fewer folds, or kind: kfold")
    low, high = np.quantile(known, [1 / spec.folds, 1 - 1 / spec.folds])
    everyone = np.arange(len(values))
    pairs = []
    for chosen in (values <= low, values >= high):
        pairs.append((everyone[~chosen], everyone[chosen]))
    if any(not len(train) or not len(test) for train, test in pairs):
        raise UserError(f"the values of '{name}' do not differ enough", where="split", fix="use kind: kfold")
    return pairs
