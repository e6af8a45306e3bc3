"""Files as they stand, for an audit: every usable row, nothing merged, with what identifies its polymer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polyml.audit.columns import Header, target_columns, text_columns
from polyml.audit.copolymers import beside_columns, identify_copolymers, structure_columns
from polyml.audit.placeholders import impossible_placeholders
from polyml.audit.spec import AuditSpec
from polyml.audit.spelling import canonical_smiles
from polyml.chem import constitution
from polyml.data.catalog import data_path, declared_properties
from polyml.data.known_properties import Recognised, recognise
from polyml.data.properties import Property
from polyml.data.readers import cell_text
from polyml.data.rows import plain_name
from polyml.data.table import PolymerTable
from polyml.data.table_reader import read_structures, read_table
from polyml.errors import UserError, did_you_mean
from polyml.progress import track

_SEVERAL = frozenset({"gas permeability", "band gap"})  # of several gases, of chain and bulk: the column's name decides


@dataclass(frozen=True, eq=False)
class AuditedProperty:
    """A column that is audited.

    Attributes
    ----------
    item : Property
        With its unit, the scale it is modelled on and its plausible range, as declared or as known.
    known : Recognised or None
        Which well-known property it is.
    declared : bool
        Whether the user, a recipe or the embedded set says how it is modelled.
    """

    item: Property
    known: Recognised | None
    declared: bool

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.item.name

    @property
    def quantity(self) -> str:
        """What makes it comparable with a column of another file: the well-known property, else the name."""
        if self.known is None or self.known.known.name in _SEVERAL:
            return plain_name(self.name)
        return self.known.known.name

    @property
    def is_temperature(self) -> bool:
        """Whether Celsius may be taken for kelvin."""
        return self.known is not None and self.known.known.is_temperature


@dataclass(frozen=True, eq=False)
class AuditedFile:
    """A file as it is audited.

    Attributes
    ----------
    name, where : str
        Short name, different for every file, and the path.
    frame : DataFrame
        Columns line, text (as written), canonical (RDKit), key, flat (key without configurations), position (of the row
        among all rows of the file), source; for copolymers also units, the keys of their repeat units.
    values : DataFrame
        The properties in the unit of the file, NaN (None for a class) where not measured; rows as in ``frame``.
    properties : tuple of AuditedProperty
    rejects : DataFrame
        Rows and values that are not used, with line and reason.
    n_rows : int
        Rows of the file, those included that are not used.
    columns : DataFrame
        The other columns that a split divides the rows by.
    texts : dict of str to DataFrame
        For columns of numbers the cells (line, text) that a person reads as a number and polyml does not.
    """

    name: str
    where: str
    frame: pd.DataFrame
    values: pd.DataFrame
    properties: tuple[AuditedProperty, ...]
    rejects: pd.DataFrame
    n_rows: int
    columns: pd.DataFrame
    texts: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def is_copolymer(self) -> bool:
        """Whether a row is made of several repeat units."""
        return "units" in self.frame

    @property
    def measured(self) -> tuple[AuditedProperty, ...]:
        """The properties that are numbers."""
        return tuple(item for item in self.properties if not item.item.is_class)

    def placeholders(self, item: AuditedProperty) -> np.ndarray:
        """Mark the values of a measured property that are placeholders beyond doubt, (n,)."""
        values = self.values[item.name].to_numpy(dtype=float)
        return impossible_placeholders(values, item.item, temperature=item.is_temperature)

    def believed(self, item: AuditedProperty) -> np.ndarray:
        """Return the values of a measured property in the unit of the file, (n,); NaN where a placeholder stands."""
        return np.where(self.placeholders(item), np.nan, self.values[item.name].to_numpy(dtype=float))

    def plausible(self, item: AuditedProperty) -> np.ndarray:
        """Return the modelled values that lie in the plausible range, (n,), the others as NaN: for spreads."""
        return np.where(item.item.outside_range(self.believed(item)), np.nan, self.modelled(item))

    def modelled(self, item: AuditedProperty) -> np.ndarray:
        """Return the values on the modelled scale, (n,).

        NaN where there is none, where it has no image, or where a placeholder stands: that is no value.
        """
        if item.item.is_class:
            return item.item.to_model(self.values[item.name])
        values = self.believed(item)
        return item.item.to_model(np.where(item.item.outside_domain(values), np.nan, values))

    def table(self, *, modelled: bool = False) -> PolymerTable:
        """Return the rows as a table of which folds can be made; its targets are the classes, or the modelled numbers.

        Raises
        ------
        UserError
            Numbers are asked for, and there are none.
        """
        head = self.frame[["line", "text", "key"]].rename(columns={"text": "psmiles"})
        none, values = pd.DataFrame({"count": []}), self.values
        properties = tuple(item.item for item in self.properties if item.item.is_class)
        if modelled:
            properties = tuple(Property(name=item.name) for item in self.measured)
            values = pd.DataFrame({item.name: self.modelled(item) for item in self.measured})
            if not properties:
                raise UserError(
                    "there is no number to divide the rows by", where=self.where, fix="name one with --target"
                )
        frame = pd.concat([head, values, self.columns], axis=1)
        return PolymerTable(frame, properties, none, none, none, self.where)


def read_files(
    files: Sequence[str | Path],
    spec: AuditSpec,
    *,
    targets: Sequence[str] | None = None,
    properties: Sequence[Property] = (),
    smiles_columns: Sequence[str] = (),
) -> tuple[list[AuditedFile], list[str]]:
    """Read files for an audit; parameters as in :func:`polyml.audit.run.audit`.

    Returns
    -------
    files : list of AuditedFile
    notes : list of str
        Which columns were taken, and as what.

    Raises
    ------
    UserError
        A file cannot be read or holds no repeat unit, or a target is in none of the files.
    """
    names = _short_names(files)
    notes: list[str] = []
    paths = [_regular(file) for file in files]
    headers = [Header.read(path) for path in paths]
    known = {column for header in headers for column in header.columns}
    wanted: dict[str, list[str | None]] = {
        "--target": [*(targets or ()), *(item.name for item in properties)],
        "--source": [spec.source_column],
        "--split-column": [split.column for split in spec.splits],
    }
    for option, named in wanted.items():
        for column in named:
            if column is not None and column not in known:
                fix = f"{did_you_mean(column, known)}the columns are: {', '.join(sorted(known))}"
                raise UserError(f"no file has a column '{column}'", where=option, fix=fix)
    structures = [
        structure_columns(h.columns, smiles_columns, where=str(f)) for h, f in zip(headers, files, strict=True)
    ]
    found = []
    for name, file, header, columns in zip(names, files, headers, structures, strict=True):
        embedded = {item.name: item for item in declared_properties(file)}
        declared = embedded | {item.name: item for item in properties}
        chosen = _chosen(name, header, columns, targets, embedded, notes)
        found.append(_read(name, file, header, columns, chosen, declared, spec, notes))
    return found, notes


def _regular(file: str | Path) -> Path:
    path = data_path(file)
    if not path.is_file():
        raise UserError("an audit reads its files twice", where=str(file), fix="save this input as a file first")
    return path


def _short_names(files: Sequence[str | Path]) -> list[str]:
    """Name each file without folder and ending; by its whole path where that does not tell it from the others."""
    if not files:
        raise UserError("no file is named", fix="give at least one data file")
    paths = [str(data_path(file).resolve()) for file in files]
    for file, path in zip(files, paths, strict=True):
        if paths.count(path) > 1:
            raise UserError("a file is named twice", where=str(file), fix="name each file once")
    ending = re.compile(r"(\.(csv|tsv|smi|smiles|txt|parquet|pq))?(\.gz)?$", re.IGNORECASE)
    stems = [ending.sub("", Path(file).name) for file in files]
    return [
        stem if stems.count(stem) == 1 else re.sub(r"[^\w.-]+", "_", str(file)).strip("_")
        for stem, file in zip(stems, files, strict=True)
    ]


def _chosen(
    name: str, header: Header, structures: Sequence[str], targets: Sequence[str] | None,
    embedded: Mapping[str, Property], notes: list[str],
) -> list[str]:  # fmt: skip
    """Return the columns of a file that are audited: those named, else those declared, else all that look like it."""
    if targets is not None:
        return [column for column in targets if column in header.columns]
    if embedded:
        return list(embedded)
    parts = beside_columns(header.columns, structures)
    chosen, left_out = target_columns(header, parts)
    told = f"; not taken for properties: {', '.join(left_out)}" if left_out else ""
    notes.append(f"{name}: audited columns: {', '.join(chosen) or 'none, only the structures'}{told}")
    return chosen


def _read(
    name: str, file: str | Path, header: Header, structures: Sequence[str], chosen: Sequence[str],
    declared: Mapping[str, Property], spec: AuditSpec, notes: list[str],
) -> AuditedFile:  # fmt: skip
    plain = [declared[item] if item in declared and declared[item].is_class else Property(name=item) for item in chosen]
    n_rows = len(header.lines)
    if plain:
        table = read_table(
            file, plain, smiles_column=structures[0], merge_duplicates=False, sample=spec.sample, n_rows=n_rows
        )
    else:
        table = read_structures(
            file, smiles_column=structures[0], merge_duplicates=False, sample=spec.sample, n_rows=n_rows
        )
    frame, rejects = _identified(table, structures, header.columns)
    rows = frame.index
    values = table.frame.loc[rows, table.names].reset_index(drop=True)
    frame["source"] = _sources(table.frame, spec.source_column, rows)
    frame = frame.reset_index(drop=True)
    sampled = spec.sample is not None
    frame["position"] = np.arange(len(frame)) if sampled else np.searchsorted(header.lines, frame["line"])
    audited = tuple(_audited(item, declared, values[item.name], name, notes) for item in table.properties)
    dividing = dict.fromkeys(split.column for split in spec.splits)
    columns = table.frame.loc[rows, [c for c in dividing if c in table.frame and c not in values]]
    texts = {
        column: pd.DataFrame(header.texts[column], columns=["line", "text"])
        for column in text_columns(header, structures, chosen)
    }
    total = len(frame) if sampled else n_rows
    dealt = columns.reset_index(drop=True)
    return AuditedFile(name, str(file), frame, values, audited, rejects, total, dealt, texts)


def _identified(
    table: PolymerTable, structures: Sequence[str], columns: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return line, text, canonical, key and flat of the rows, and all that was refused."""
    if len(structures) > 1:
        source = table.frame.rename(columns={"psmiles": structures[0]})
        frame, refused = identify_copolymers(source, structures, columns)
        if frame.empty:
            what = f"no row is usable: {refused['detail'].iloc[0]}"
            raise UserError(what, where=table.source, fix="check the columns of the repeat units (--smiles-column)")
        return frame, pd.concat([table.rejects, refused], ignore_index=True)
    frame = table.frame[["line", "psmiles", "key"]].rename(columns={"psmiles": "text"})
    texts = list(track(frame["text"].tolist(), "Canonical SMILES"))
    frame["canonical"] = [canonical_smiles(text) for text in texts]
    stereo = [any(mark in text for mark in "@/\\") for text in texts]
    frame["flat"] = [
        constitution(text) if marked else key for text, marked, key in zip(texts, stereo, frame["key"], strict=True)
    ]
    return frame, table.rejects


def _sources(frame: pd.DataFrame, column: str | None, rows: pd.Index) -> list[str]:
    if column is None or column not in frame:
        return [""] * len(rows)
    return [cell_text(cell) for cell in frame.loc[rows, column]]


def _audited(
    item: Property, declared: Mapping[str, Property], values: pd.Series, file: str, notes: list[str]
) -> AuditedProperty:
    """Add what is known of a property to what is declared: unit, plausible range, and the scale it is modelled on."""
    if item.is_class:
        return AuditedProperty(item, None, True)
    given = declared.get(item.name)
    numbers = values.to_numpy(dtype=float)
    known = recognise(item.name, numbers, given.unit if given else "")
    if known is None:
        return AuditedProperty(given or item, None, given is not None)
    if known.rival is not None:
        notes.append(f"{file}: {item.name} is taken for {known.known.name}; its unit cannot be told")
        return AuditedProperty(given or item, known, given is not None)
    update: dict[str, Any] = {"unit": known.scale.unit}
    if given is None or (given.lower is None and given.upper is None):
        update |= {"lower": known.scale.lower, "upper": known.scale.upper}
    if given is None and known.known.transform == "log10" and np.mean(numbers[np.isfinite(numbers)] <= 0) < _NEGATIVE:
        update["transform"] = "log10"
    made = (given or item).model_copy(update=update)
    scale = f" as {made.transform}" if made.transform == "log10" else ""
    notes.append(f"{file}: {item.name} is taken for {known.known.name}{scale} in {made.unit or 'no unit'}")
    return AuditedProperty(made, known, given is not None)


_NEGATIVE = 0.05  # share of values that are not positive, beyond which a column holds logarithms already
