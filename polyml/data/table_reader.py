"""Read a file into a table of polymers, noting every row and value that is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polyml.chem import RepeatUnit
from polyml.data.catalog import data_path
from polyml.data.duplicates import find_duplicates, merge_rows
from polyml.data.known_properties import recognise
from polyml.data.properties import SPREAD_SUFFIXES, WRITTEN_COLUMNS, Property
from polyml.data.readers import cell_text, check_columns, find_smiles_column, free_names
from polyml.data.rows import Row, open_rows
from polyml.data.sample import SampleSpec, choose_rows
from polyml.data.table import NOTE_COLUMNS, PolymerTable
from polyml.errors import RepeatUnitError, UserError
from polyml.progress import track

MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none", "-"})
IMPLAUSIBLE = "outside the plausible range"
"""Reason of a warning of a value that is more often a slip than a discovery."""
_DOUBTFUL = 0.5  # share of values outside the range, beyond which a column of this name is something else
_LOGARITHMS = 0.05  # share of values that are not positive, beyond which a column holds logarithms
_OWN_COLUMNS = ("line", "psmiles", "key")
_FEW = 5  # polymers of a class, for as many folds
_SHOWN = 1000  # characters of a refused structure that are kept; real repeat units are shorter


class _Notes:
    """Collect rejects or warnings as rows of one table."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, str, str, str]] = []

    def add(self, line: int, psmiles: str, column: str, reason: str, detail: str) -> None:
        shown = psmiles if len(psmiles) <= _SHOWN else f"{psmiles[:_SHOWN]}…"
        self.rows.append((line, shown, column, reason, detail))

    @property
    def frame(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.rows, columns=NOTE_COLUMNS)
        return frame.astype({"line": int}).sort_values("line", kind="stable", ignore_index=True)


def read_table(
    path: str | Path,
    properties: Sequence[Property],
    *,
    smiles_column: str | None = None,
    merge_duplicates: bool = True,
    conflict_tolerance: float = 0.5,
    sample: SampleSpec | None = None,
    n_rows: int | None = None,
) -> PolymerTable:
    """Read polymers and their measured properties from a file.

    A row whose structure is refused, and a row without any value, goes to the rejects. A value that is no
    finite number, or not positive where the property is modelled as ``log10``, goes to the rejects with its column and
    counts as not measured; its row stays when another property is measured. A value outside the plausible range, the
    declared one or that of the well-known property a column is named after, is used and listed as a warning.

    Parameters
    ----------
    path : str or Path
        CSV, TSV, plain or gzipped, Parquet, ``-`` for standard input, or the name of an embedded set.
    properties : sequence of Property
        The targets; their names are columns of the file.
    smiles_column : str, optional
        Where the repeat units stand; found by name when not given.
    merge_duplicates : bool
        Merge the rows of one polymer, whatever frame, direction or multiple it is written in: the mean on the modelled
        scale. They are reported either way.
    conflict_tolerance : float
        Duplicates conflict when their values spread by more than this many standard deviations of the property
        (modelled scale).
    sample : SampleSpec, optional
        Read some of the rows only.
    n_rows : int, optional
        Rows of the file where they have been counted, for the progress bar.

    Raises
    ------
    UserError
        The file cannot be read, a column is missing, bytes are not UTF-8, or no row is usable.
    """
    if not properties:
        raise UserError("no target is named", where=str(path), fix="name the columns to predict, as --target COL")
    return _read(path, properties, smiles_column, merge_duplicates, conflict_tolerance, sample, n_rows)


def read_structures(
    path: str | Path,
    *,
    smiles_column: str | None = None,
    merge_duplicates: bool = True,
    sample: SampleSpec | None = None,
    n_rows: int | None = None,
) -> PolymerTable:
    """Read polymers without values: each polymer once unless told otherwise, and no property.

    Parameters
    ----------
    path, smiles_column, merge_duplicates, sample, n_rows
        See :func:`read_table`.

    Raises
    ------
    UserError
        The file cannot be read, or holds no repeat unit.
    """
    return _read(path, (), smiles_column, merge_duplicates, 0.0, sample, n_rows)


def _read(
    path: str | Path,
    properties: Sequence[Property],
    smiles_column: str | None,
    merge_duplicates: bool,
    conflict_tolerance: float,
    sample: SampleSpec | None,
    n_rows: int | None,
) -> PolymerTable:
    source = open_rows(data_path(path), smiles_column=smiles_column)
    _check_properties(properties, source.where)
    column = find_smiles_column(source.columns, smiles_column, where=source.where)
    drawn_from = [] if sample is None or sample.class_column is None else [sample.class_column]
    check_columns([*(item.name for item in properties), *drawn_from], source.columns, where=source.where)
    reader = _TableReader(source.columns, column, properties, source.where)
    rows = source.rows if sample is None else choose_rows(source.rows, sample, properties, source.columns)
    for row in track(rows, "Reading polymers", total=n_rows if sample is None else None):
        reader.add(row)
    frame = reader.frame()
    reader.note_implausible(frame)
    properties = [item.with_classes(frame[item.name]) for item in properties]
    duplicates = find_duplicates(frame, properties, conflict_tolerance)
    if merge_duplicates:
        frame = merge_rows(frame, properties)
    reader.note_rare_classes(frame, properties)
    rejects, warnings = reader.rejects.frame, reader.warnings.frame
    return PolymerTable(frame, tuple(properties), rejects, warnings, duplicates, source.where)


def _check_properties(properties: Sequence[Property], where: str) -> None:
    names = [item.name for item in properties]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"a target is named twice: {', '.join(twice)}", where=where, fix="name each target once")
    written = {name + suffix for name in names for suffix in SPREAD_SUFFIXES}
    reserved = sorted(set(names) & {*_OWN_COLUMNS, *WRITTEN_COLUMNS, *written})
    if reserved:
        what = f"'{reserved[0]}' cannot be the name of a target: polyml writes a column of this name"
        raise UserError(what, where=where, fix="rename the column")
    labels = [item.name for item in properties if item.is_class]
    if labels and len(properties) > 1:
        what = f"the class '{labels[0]}' stands beside other targets"
        raise UserError(what, where=where, fix="predict a class alone, the other targets in a run of their own")


@lru_cache(maxsize=100_000)
def key_and_notes(psmiles: str) -> tuple[str, tuple[str, ...]]:
    """Return the canonical key of a text, and what is doubtful about its structure; remembered across files.

    Raises
    ------
    RepeatUnitError
        The text is no repeat unit.
    """
    unit = RepeatUnit.parse(psmiles)
    return unit.key, unit.notes


class _TableReader:
    """Turn rows into polymers with values, noting what is refused."""

    def __init__(self, columns: tuple[str, ...], column: str, properties: Sequence[Property], where: str) -> None:
        self.where, self.smiles_column, self.properties = where, column, properties
        self.smiles_at = columns.index(column)
        self.value_at = [columns.index(item.name) for item in properties]
        names = free_names(columns, column, reserved=_OWN_COLUMNS)
        self.others = {name: at for at, name in names.items() if at not in self.value_at}
        self.rejects, self.warnings = _Notes(), _Notes()
        self.records: list[dict[str, Any]] = []

    def add(self, row: Row) -> None:
        psmiles = cell_text(row.cells[self.smiles_at])
        if row.reason == "not UTF-8":
            raise UserError(row.detail, where=f"{self.where}, line {row.line}", fix="save the file as UTF-8")
        if row.reason:
            self.rejects.add(row.line, psmiles, "", row.reason, row.detail)
            return
        try:
            key, notes = key_and_notes(psmiles)
        except RepeatUnitError as error:
            self.rejects.add(row.line, psmiles, self.smiles_column, error.reason, error.what)
            return
        for note in notes:
            self.warnings.add(row.line, psmiles, self.smiles_column, "structure", note)
        told = len(self.rejects.rows)
        values = {
            item.name: self._value(row, psmiles, item, at)
            for item, at in zip(self.properties, self.value_at, strict=True)
        }
        if values and all(value is None or value != value for value in values.values()):
            if len(self.rejects.rows) == told:  # else its cells have said why
                self.rejects.add(row.line, psmiles, "", "no value", "no target has a value in this row")
            return
        others = {name: row.cells[at] for name, at in self.others.items()}
        self.records.append({"line": row.line, "psmiles": psmiles, "key": key, **values, **others})

    def _value(self, row: Row, psmiles: str, item: Property, at: int) -> float | str | None:
        """Return the number in a cell, NaN when it is missing or refused; of a class the label or None."""
        cell = row.cells[at]
        text = cell_text(cell)
        if text.lower() in MISSING:
            return None if item.is_class else math.nan
        if item.is_class:
            return text
        value = None if isinstance(cell, bool) else parse_number(text)
        if value is None:
            self.rejects.add(row.line, psmiles, item.name, "not a number", f"'{text[:60]}' is not a number")
            return math.nan
        if item.outside_domain(value):
            infinite = math.isinf(value)
            reason = "infinite" if infinite else "not positive"
            detail = "is no finite number" if infinite else f"has no {item.transform}"
            self.rejects.add(row.line, psmiles, item.name, reason, f"{text[:60]} {detail}")
            return math.nan
        if item.outside_range(value):
            detail = f"{value:g} lies outside {_range(item)}"
            self.warnings.add(row.line, psmiles, item.name, IMPLAUSIBLE, detail)
        return value

    def note_implausible(self, frame: pd.DataFrame) -> None:
        """Warn of values outside the range of a well-known property, where none is declared; the values stay.

        A column is taken for such a property by its name and, unless it or the user says the unit, only where most of
        its values lie in the range.
        """
        for item in self.properties:
            if item.is_class or item.lower is not None or item.upper is not None:
                continue
            values = frame[item.name].to_numpy(dtype=float)
            known = recognise(item.name, values, item.unit)
            if known is None or known.rival is not None:
                continue
            outside = (values < known.scale.lower) | (values > known.scale.upper)
            given = np.count_nonzero(np.isfinite(values))
            if not known.certain and outside.sum() > _DOUBTFUL * given:
                continue
            if known.known.transform == "log10" and np.count_nonzero(values <= 0) > _LOGARITHMS * given:
                continue
            for row in frame.loc[outside, ["line", "psmiles", item.name]].itertuples(index=False, name=None):
                range_ = f"the plausible range {known.scale.lower:g} to {known.scale.upper:g} {known.scale.unit}"
                detail = f"{row[2]:g} lies outside {range_.rstrip()} for {known.known.name}"
                self.warnings.add(int(row[0]), row[1], item.name, IMPLAUSIBLE, detail)

    def note_rare_classes(self, frame: pd.DataFrame, properties: Sequence[Property]) -> None:
        """Warn of classes too small to be in every fold."""
        for item in properties:
            if not item.is_class:
                continue
            for label, rows in frame.groupby(item.name, sort=True):
                if len(rows) < _FEW:
                    first, detail = rows.iloc[0], f"only {len(rows)} polymers are '{label}'"
                    self.warnings.add(int(first["line"]), first["psmiles"], item.name, "rare class", detail)

    def frame(self) -> pd.DataFrame:
        """Return the polymers as a table.

        Raises
        ------
        UserError
            There are none.
        """
        columns = ["line", "psmiles", "key", *(item.name for item in self.properties), *self.others]
        if self.records:
            return pd.DataFrame(self.records, columns=columns)
        if not self.rejects.rows:
            raise UserError("there are no rows below the header", where=self.where, fix="add at least one polymer")
        counts = self.rejects.frame["reason"].value_counts()
        text = ", ".join(f"{reason} ({n})" for reason, n in counts.items())
        line, _, column, _, detail = self.rejects.rows[0]
        first = f"the first one, line {line}{f', column {column}' if column else ''}: {detail}"
        if (
            column
            and set(counts.index) == {"not a number"}
            and not self.rejects.frame["detail"].str.contains(r"\d").any()
        ):
            first += (
                f"\n  → if {column} holds classes, learn their labels with --class {column} (recipe: transform: class)"
            )
        raise UserError(f"no row is usable: {text}", where=self.where, fix=first)


def parse_number(text: str) -> float | None:
    """Read a number as people write it in tables; None for anything else.

    Examples
    --------
    >>> parse_number("1.5e3"), parse_number("1,5"), parse_number("1_000")
    (1500.0, None, None)
    """
    try:
        # Python reads 1_000 as a number; in a table it is a slip.
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _range(item: Property) -> str:
    low = "-∞" if item.lower is None else f"{item.lower:g}"
    high = "∞" if item.upper is None else f"{item.upper:g}"
    return f"the plausible range {low} to {high} {item.unit}".rstrip()
