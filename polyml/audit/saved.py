"""Saved folds that do not fit the file: rows that no fold tests, polymers that the file does not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from polyml.audit.findings import Finding, counted
from polyml.audit.sources import AuditedFile
from polyml.audit.splits import Folds


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
    found = []
    keys = item.frame["key"]
    parts = [np.ones(len(keys), dtype=bool), *(~np.isnan(item.modelled(p)) for p in item.properties)]
    for division in (folds for folds in divisions if folds.kind == "saved"):
        tested = set(keys[division.number >= 0])
        if any(tested == set(keys[part]) for part in parts):
            continue
        missing = keys[~keys.isin(tested)]
        rows = item.frame.loc[missing.index, ["line", "text", "key"]].reset_index(drop=True)
        what = (
            f"split {division.name}: the folds are incomplete: {counted(missing.nunique(), 'polymer')} of the data "
            f"({counted(len(rows), 'row')}) in none of them"
        )
        found.append(_finding(item, f"incomplete folds {division.name}", what, rows))
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


def _unknown(item: AuditedFile, path: Path) -> pd.DataFrame:
    """Return the rows of the folds whose polymer is not in the data, by its key, else by its text or line."""
    frame = pd.read_csv(path, dtype={"psmiles": str, "key": str}, keep_default_na=False)
    by = next(name for name in ("key", "psmiles", "line") if name in frame)
    own = item.frame["text" if by == "psmiles" else by]
    named = frame[by].isin(own)
    if by == "psmiles" and not named.all():
        named |= frame[by].map(_key).isin(item.frame["key"])
    return frame[~named].drop_duplicates(by, ignore_index=True)


def _key(psmiles: str) -> str | None:
    """Return the key of a text, None where it cannot be read: then it is in no data."""
    from polyml.data.table_reader import key_and_notes
    from polyml.errors import RepeatUnitError

    try:
        return key_and_notes(psmiles)[0]
    except RepeatUnitError:
        return None
