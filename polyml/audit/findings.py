"""Findings of an audit: what was found, why it matters, how to mend it, and the rows it stands in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from polyml.audit.spelling import HIDDEN

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""From worst to mildest.

An error makes a score false or a label wrong beyond doubt: a polymer on both sides of a fold that is meant to keep it
on one, a test polymer in another task's training fold, labels in two units, labels of one polymer that are farther
apart than the bound, impossible values. A warning is to be looked at; an info is good to know.
"""
_HEADINGS = {
    "rows": "usable rows", "refused": "refused rows", "texts": "texts", "canonical": "RDKit SMILES",
    "polymers": "polymers", "frame_duplicates": "hidden repeats",
}  # fmt: skip
"""Columns of the table of files, as people read them."""
_SHOWN = 5  # rows of a finding that are shown; the files hold all


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    check : str
        Short name of the check, also of the CSV file with the rows.
    severity : {"error", "warning", "info"}
    files : tuple of str
        Short names of the files it concerns.
    what, why, fix : str
        What was found, why it matters, and how to mend it.
    count : int
        How many rows, values or polymers.
    rows : DataFrame
        The places; empty where there is nothing to list.
    """

    check: str
    severity: Severity
    files: tuple[str, ...]
    what: str
    why: str
    fix: str
    count: int
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)

    def to_json(self, shown: int = _SHOWN) -> dict[str, Any]:
        """Return the finding as plain data, with the first of its rows."""
        return {
            "check": self.check,
            "severity": self.severity,
            "files": list(self.files),
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
            "count": self.count,
            "rows": records(self.rows.head(shown)),
        }


@dataclass(frozen=True, eq=False)
class Audit:
    """Everything an audit found.

    Attributes
    ----------
    files : DataFrame
        One row a file: what was read, and how many different polymers it holds by text, by RDKit canonical SMILES and
        by the key that is the same for every frame.
    findings : tuple of Finding
        The worst first.
    tables : dict of str to DataFrame
        The numbers behind them: spellings, overlap, noise, shift, folds, similarity, distributions, leaks.
    notes : tuple of str
        What was taken for granted, and what could not be audited.
    """

    files: pd.DataFrame
    findings: tuple[Finding, ...]
    tables: dict[str, pd.DataFrame]
    notes: tuple[str, ...] = ()

    def count(self, severity: Severity) -> int:
        """Return the number of findings of a severity."""
        return sum(item.severity == severity for item in self.findings)

    @property
    def has_errors(self) -> bool:
        """Whether a finding is an error, on which ``--strict`` fails."""
        return self.count("error") > 0

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold; missing numbers are None."""
        return {
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "files": records(self.files),
            "findings": [item.to_json() for item in self.findings],
            "notes": list(self.notes),
            "tables": {name: records(table) for name, table in self.tables.items()},
        }


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the singular or the plural.

    Examples
    --------
    >>> counted(1, "value"), counted(2, "value")
    ('1 value', '2 values')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def severity_count(number: int, severity: Severity) -> str:
    """Return how many findings are of a severity.

    Examples
    --------
    >>> severity_count(2, "error"), severity_count(1, "warning"), severity_count(3, "info")
    ('2 errors', '1 warning', '3 info')
    """
    return f"{number:,} {severity}" if severity == "info" else counted(number, severity)


def files_table(audit: Audit) -> pd.DataFrame:
    """Return the table of files for people: plain headings, and no column of spellings that do not occur."""
    kinds = [name for name in audit.files if name not in _HEADINGS and name != "file" and audit.files[name].any()]
    kinds.sort(key=lambda name: name not in HIDDEN)  # beside their sum
    table = audit.files[["file", *_HEADINGS, *kinds]].rename(columns=_HEADINGS)
    return table.rename(columns=lambda name: str(name).replace("_", " "))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain data; NaN and infinite numbers are None."""
    return list(json.loads(frame.to_json(orient="records", double_precision=12, default_handler=str)))


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings, the worst first and those of one severity as they came."""
    return tuple(sorted(findings, key=lambda item: SEVERITIES.index(item.severity)))
