"""Find the SMILES column of a file and stream its rows in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.data.catalog import data_path
from polyml.data.rows import SMILES_NAMES, Row, open_rows, plain_name
from polyml.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class CandidateChunk:
    """Consecutive rows of a candidate file.

    Attributes
    ----------
    first_row : int
        Number of rows before this chunk in the stream (0 for the first chunk).
    lines : list of int
        Line of each row in the file, where the header is line 1; the row's number, from 1, in Parquet.
    psmiles : list of str
        As written, without the blanks around; empty when missing.
    columns : dict of str to list
        The other columns, one value a row.
    faults : list of (str, str)
        Reason and detail of each row that cannot be read at all (bytes that are not UTF-8, a wrong number of fields);
        two empty strings for a good row; see :meth:`fault_texts`. The structures themselves are not looked at here.
    """

    first_row: int
    lines: list[int]
    psmiles: list[str]
    columns: dict[str, list[Any]]
    faults: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.lines)

    def fault_texts(self) -> dict[int, str]:
        """Say what is wrong with each row that cannot be read, by its position."""
        faults = ((row, reason, detail) for row, (reason, detail) in enumerate(self.faults) if reason)
        return {row: f"{reason}: {detail}" if detail else reason for row, reason, detail in faults}

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a table with columns line, psmiles, then the others."""
        import pandas as pd

        return pd.DataFrame({"line": self.lines, "psmiles": self.psmiles, **self.columns})


def find_smiles_column(columns: Iterable[str], smiles_column: str | None = None, *, where: str | None = None) -> str:
    """Find the column that holds the repeat units.

    Parameters
    ----------
    columns : iterable of str
        The header.
    smiles_column : str, optional
        The column a user named; nothing is guessed then.
    where : str, optional
        The file, for the message.

    Raises
    ------
    UserError
        No column fits, or several do; the message lists the columns.

    Examples
    --------
    >>> find_smiles_column(["name", "SMILES", "Tg"])
    'SMILES'
    """
    columns = list(columns)
    if smiles_column is not None:
        check_columns([smiles_column], columns, where=where)
        return smiles_column
    for name in SMILES_NAMES:
        found = [column for column in columns if plain_name(column) == name]
        if len(found) > 1:
            fix = "choose one with --smiles-column"
            raise UserError(f"several columns may hold the SMILES: {', '.join(found)}", where=where, fix=fix)
        if found:
            return found[0]
    fix = f"name it with --smiles-column; the columns are: {', '.join(columns)}"
    raise UserError("no column of SMILES found", where=where, fix=fix)


def check_columns(wanted: Iterable[str], columns: Iterable[str], *, where: str | None = None) -> None:
    """Check that all wanted columns are there.

    Raises
    ------
    UserError
        One is missing; the message names the nearest and lists all.
    """

    columns = list(columns)
    for name in wanted:
        if name not in columns:
            fix = f"{did_you_mean(name, columns)}the columns are: {', '.join(columns)}"
            raise UserError(f"no column '{name}'", where=where, fix=fix)


def cell_text(value: object) -> str:
    """Return a cell as stripped text; a missing one is empty."""
    return "" if value is None or value != value else str(value).strip()


def read_candidates(
    path: str | Path, smiles_column: str | None = None, *, chunk_size: int = 5000, keep_blank: bool = False
) -> Iterator[CandidateChunk]:
    """Stream the rows of a candidate file in chunks, in order, in constant memory.

    Parameters
    ----------
    path : str or Path
        CSV, TSV, .smi (plain or gzipped), Parquet, ``-`` for standard input, or the name of an embedded set.
    smiles_column : str, optional
        Where the repeat units stand; found by name when not given.
    chunk_size : int
        Rows in a chunk; the last one may be shorter.
    keep_blank : bool
        Give blank lines too, as rows with a fault.

    Yields
    ------
    CandidateChunk

    Raises
    ------
    UserError
        The file cannot be opened, holds no SMILES column or no rows (all at once), or a quote that never ends.
    """
    source = open_rows(data_path(path), smiles_column=smiles_column, keep_blank=keep_blank)
    column = find_smiles_column(source.columns, smiles_column, where=source.where)
    first = next(source.rows, None)
    if first is None:
        fix = "add at least one repeat unit"
        raise UserError("there are no rows below the header", where=source.where, fix=fix)
    return _chunks(chain([first], source.rows), source.columns, column, chunk_size)


def _chunks(rows: Iterator[Row], columns: tuple[str, ...], column: str, size: int) -> Iterator[CandidateChunk]:
    smiles = columns.index(column)
    names = free_names(columns, column, reserved=("line", "psmiles"))
    done = 0
    while batch := list(islice(rows, size)):
        yield CandidateChunk(
            first_row=done,
            lines=[row.line for row in batch],
            psmiles=[cell_text(row.cells[smiles]) for row in batch],
            columns={name: [row.cells[i] for row in batch] for i, name in names.items()},
            faults=[(row.reason, row.detail) for row in batch],
        )
        done += len(batch)


def free_names(columns: tuple[str, ...], column: str, *, reserved: Iterable[str]) -> dict[int, str]:
    """Name the columns beside the SMILES, by position; one that clashes with a name of ours gets ``_input`` added."""
    taken = {*reserved, *columns}
    names = {}
    for position, name in enumerate(columns):
        if name == column:
            continue
        while name in set(reserved) or (name != columns[position] and name in taken):
            name += "_input"
        names[position] = name
        taken.add(name)
    return names


def count_rows(path: str | Path) -> int | None:
    """Return the number of rows where the file says it (Parquet), else None: nothing is read for it.

    Examples
    --------
    >>> count_rows("candidates")
    574837
    """
    resolved = data_path(path)
    if resolved.suffix.lower() not in (".parquet", ".pq"):
        return None
    import pyarrow.parquet as pq

    return int(pq.read_metadata(resolved).num_rows)
