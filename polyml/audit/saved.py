"""Saved folds that do not fit the file: rows that no fold tests or two do, polymers that the file does not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polyml.audit.divisions import Folds, as_in_data
from polyml.audit.findings import Finding, counted
from polyml.audit.sources import AuditedFile


def saved_findings(item: AuditedFile, path: Path, divisions: Sequence[Folds]) -> list[Finding]:
    """Compare folds from a file with the rows of a data file; rows of one polymer count once, as they are merged.

    Where a file has several properties, the folds may be those of the polymers with a value of one of them.

    Parameters
    ----------
    item : AuditedFile
    path : Path
        The file of folds.
    divisions : sequence of Folds
        What :func:`polyml.audit.splits.read_saved` made of it, one a repeat; others are passed over.
    """
    found = _numbering(item, path)
    keys = item.frame["key"]
    parts = [np.ones(len(keys), dtype=bool), *(~np.isnan(item.modelled(p)) for p in item.properties)]
    for division in (folds for folds in divisions if folds.kind == "saved"):
        present = set(keys[np.logical_or.reduce([division.number >= 0, *division.trained.values()])])
        if any(present == set(keys[part]) for part in parts):
            continue
        missing = keys[~keys.isin(present)]
        rows = item.frame.loc[missing.index, ["line", "text", "key"]].reset_index(drop=True)
        what = (
            f"split {division.name}: the folds are incomplete: {counted(missing.nunique(), 'polymer')} of the data "
            f"({counted(len(rows), 'row')}) in none of them"
        )
        found.append(_finding(item, f"incomplete folds {division.name}", what, rows))
    twice = _tested_twice(item, path)
    if len(twice):
        what = f"the folds overlap: {counted(len(twice), 'row')} of them in two test parts of one repeat"
        found.append(_finding(item, "overlapping folds", what, twice))
    unknown = _unknown(item, path)
    if len(unknown):
        what = f"the folds name {counted(len(unknown), 'row')} that the data do not have, or that cannot be used"
        found.append(_finding(item, "foreign folds", what, unknown))
    return found


def _finding(item: AuditedFile, check: str, what: str, rows: pd.DataFrame) -> Finding:
    return Finding(
        check, "error", (item.name,), what,
        "These folds were made for other data: scores on them are not comparable, and polyml compare refuses them.",
        "make the folds anew, or use the data they were made for", len(rows), rows,
    )  # fmt: skip


def _read(item: AuditedFile, path: Path) -> tuple[pd.DataFrame, str]:
    """Return the rows of a file of folds, with a repeat, and the column that names polymers or rows."""
    frame = as_in_data(pd.read_csv(path, dtype={"psmiles": str, "key": str}, keep_default_na=False), item)
    by = next(name for name in ("key", "psmiles", "line") if name in frame)
    return (frame if "repeat" in frame else frame.assign(repeat=0)), by


def _tests(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["part"] == "test"] if "part" in frame else frame


def _numbering(item: AuditedFile, path: Path) -> list[Finding]:
    """Find numbers between 0 and the last fold that no fold of a repeat has."""
    tests = _tests(_read(item, path)[0])
    gaps: list[dict[str, Any]] = [
        {"repeat": repeat, "fold": fold}
        for repeat, folds in tests.groupby("repeat")["fold"]
        for fold in sorted(set(range(int(folds.max()) + 1)) - set(folds.astype(int)))
    ]
    if not gaps:
        return []
    named = ", ".join(f"fold {gap['fold']} of repeat {gap['repeat']}" for gap in gaps[:5])
    what = f"the folds are incomplete: there is no {named}{' …' if len(gaps) > 5 else ''} (they count from 0)"
    return [_finding(item, "missing folds", what, pd.DataFrame(gaps))]


def _tested_twice(item: AuditedFile, path: Path) -> pd.DataFrame:
    """Return the rows of the folds that stand in more test parts of a repeat than the data have rows of them."""
    frame, by = _read(item, path)
    tests = _tests(frame)
    own = item.frame["text" if by == "psmiles" else by].value_counts().to_dict()
    folds = tests.groupby(["repeat", by])["fold"].nunique()
    allowed = folds.index.get_level_values(by).map(own).fillna(1).to_numpy()
    if len(tests) < len(frame) and "line" not in frame:
        allowed = np.ones(len(folds))  # with training parts spelled out, a name means all its rows
    twice = folds[folds.to_numpy() > allowed].index
    named = pd.MultiIndex.from_frame(tests[["repeat", by]])
    return tests[named.isin(twice)].sort_values(["repeat", by, "fold"], ignore_index=True)


def _unknown(item: AuditedFile, path: Path) -> pd.DataFrame:
    """Return the rows of the folds whose polymer is not in the data, by its key, else by its text or line."""
    frame, by = _read(item, path)
    named = frame[by].isin(item.frame["text" if by == "psmiles" else by])
    return frame[~named].drop_duplicates(by, ignore_index=True)
