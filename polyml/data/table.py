"""A table of polymers with measured properties, and what was refused on the way to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from polyml.data.files import whole_file
from polyml.data.properties import Property, task_of
from polyml.errors import UserError

REPORTS = ("rejects", "warnings", "duplicates")
REPORT_FILES = tuple(f"{name}.csv" for name in REPORTS)
NOTE_COLUMNS = ["line", "psmiles", "column", "reason", "detail"]


@dataclass(frozen=True, eq=False)
class PolymerTable:
    """Polymers with measured properties; one row a polymer once duplicates are merged.

    Attributes
    ----------
    frame : DataFrame
        Columns line, psmiles, key, the properties in user units (NaN where not measured), then the other columns of
        the file. A merged row carries the line, spelling and other columns of its first row.
    properties : tuple of Property
        The targets, in the order of ``y``.
    rejects : DataFrame
        Columns line, psmiles, column, reason, detail: rows and single values that are not used. ``reason`` is a short
        code to count by.
    warnings : DataFrame
        Same columns: values that are used but lie outside the plausible range, and notes on structures.
    duplicates : DataFrame
        One row a polymer that was written more than once: key, psmiles, lines, count, conflict, conflicts, and for
        each property ``spread_<name>`` (largest minus smallest, modelled scale).
    source : str
        The file.
    """

    frame: pd.DataFrame
    properties: tuple[Property, ...]
    rejects: pd.DataFrame
    warnings: pd.DataFrame
    duplicates: pd.DataFrame
    source: str = ""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        """Names of the properties."""
        return [item.name for item in self.properties]

    @property
    def psmiles(self) -> list[str]:
        """Repeat units as written."""
        return list(self.frame["psmiles"])

    @property
    def keys(self) -> list[str]:
        """Canonical keys: equal for two spellings of one polymer."""
        return list(self.frame["key"])

    @property
    def values(self) -> np.ndarray:
        """Measured values ``(n, t)`` in user units, the code of a class; NaN where not measured."""
        columns = [
            item.to_model(self.frame[item.name]) if item.is_class else self.frame[item.name].to_numpy(dtype=float)
            for item in self.properties
        ]
        return np.column_stack(columns) if columns else np.empty((len(self), 0))

    @property
    def y(self) -> np.ndarray:
        """Measured values ``(n, t)`` on the modelled scale, NaN where not measured."""
        columns = [item.to_model(self.frame[item.name]) for item in self.properties]
        return np.column_stack(columns) if columns else np.empty((len(self), 0))

    @property
    def task(self) -> str:
        """What is to be learned: "regression", or "classification" when the target is a class."""
        return task_of(self.properties)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over keys, values, units and transforms; the order of the rows does not matter."""
        head = ["|".join([item.name, item.unit, item.transform, *item.classes]) for item in self.properties]
        rows = zip(self.keys, self.values.tolist(), strict=True)
        body = sorted("\t".join([key, *(repr(value) for value in values)]) for key, values in rows)
        return hashlib.sha256("\n".join([*head, *body]).encode()).hexdigest()

    @property
    def reject_counts(self) -> dict[str, int]:
        """How many rows or values were refused for each reason, most frequent first."""
        return {str(reason): int(n) for reason, n in self.rejects["reason"].value_counts().items()}

    def save_reports(self, folder: str | Path) -> None:
        """Write what happened on the way to the table: rejects.csv, warnings.csv and duplicates.csv."""
        for name, report in zip(REPORTS, (self.rejects, self.warnings, self.duplicates), strict=True):
            with whole_file(Path(folder) / f"{name}.csv") as temporary:
                report.to_csv(temporary, index=False, lineterminator="\n")

    def check_targets(self, minimum: int = 2) -> None:
        """Check that there is something to learn in every property.

        Raises
        ------
        UserError
            A property has fewer than ``minimum`` values, or all its values are equal.
        """
        for name, column in zip(self.names, self.values.T, strict=True):
            measured = column[~np.isnan(column)]
            if len(measured) < minimum:
                what = f"the target '{name}' has {len(measured)} usable values, at least {minimum} are needed"
                raise UserError(what, where=self.source or None, fix=self._why_unusable(name))
            if np.ptp(measured) == 0:
                value = self.properties[self.names.index(name)].from_model(measured[:1])[0]
                shown = f"'{value}'" if isinstance(value, str) else f"{measured[0]:g}"
                what = f"the target '{name}' is constant: all {len(measured)} values are {shown}"
                raise UserError(what, where=self.source or None, fix="leave this target out: there is nothing to learn")

    def _why_unusable(self, name: str) -> str:
        """Say which values of a property were refused, as far as any were."""
        refused = self.rejects[self.rejects["column"] == name]
        if refused.empty:
            return "measure more polymers, or leave this target out"
        first = refused.iloc[0]
        return f"{len(refused)} of its cells were refused; the first, line {first['line']}: {first['detail']}"
