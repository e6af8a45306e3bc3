"""Rows of a file with their exact line numbers: CSV, TSV, .smi, plain or compressed, Parquet, standard input.

Rows are streamed: no file is held in memory. A row that cannot be read is passed on with its reason, so that whoever
reads decides whether it is an error (a table of measurements) or a refused row (a list of candidates).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from polyml.data.blocks import (
    BLANK,
    DAMAGED,
    NO_FAULT,
    OPEN_QUOTE,
    Block,
    BlockSource,
    Fault,
    Stamp,
    check_names,
    lost_rows,
    watched,
)
from polyml.data.delimited import RowReader, csv_blocks, smi_blocks
from polyml.data.lines import LineReader
from polyml.data.parquet import open_parquet
from polyml.data.places import DataFile, data_file
from polyml.data.streams import FORMATS, PARQUET_ENDINGS, Stream, open_stream, text_format
from polyml.errors import UserError

__all__ = ["BLANK", "FORMATS", "SMILES_NAMES", "Row", "Source", "open_blocks", "open_rows", "plain_name"]

SMILES_NAMES = (
    "psmiles",
    "p_smiles",
    "polymer_smiles",
    "repeat_unit",
    "repeat_unit_smiles",
    "polymer_repeat_unit",
    "smiles",
    "smiles_polymer",
    "smiles_repeat_unit",
    "canonical_psmiles",
    "canonical_smiles",
)
_DELIMITERS = {"csv": ",", "tsv": "\t"}


class Row(NamedTuple):
    """One row: its line in the file (the row's number in Parquet), its cells, and a fault with a short code."""

    line: int
    cells: tuple[Any, ...]
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Source:
    """An open file: where it came from, its column names and its rows, to be read once."""

    where: str
    columns: tuple[str, ...]
    rows: Iterator[Row]


def open_rows(path: str | Path, *, smiles_column: str | None = None) -> Source:
    """Open a file and read its header; its rows are read strictly.

    Parameters
    ----------
    path : str or Path
        See ``FORMATS``; ``-`` reads standard input as CSV or TSV when its first line is a header with a SMILES column,
        else as one pSMILES a line.
    smiles_column : str, optional
        Helps to recognise that header.

    Raises
    ------
    UserError
        The file is missing, empty, of an unknown format, or its header is broken; while the rows are read, a quote that
        is not closed, or damage.
    """
    source = open_blocks(path, smiles_column=smiles_column, strict=True)
    return Source(source.where, source.columns, _strict_rows(source))


def _strict_rows(source: BlockSource) -> Iterator[Row]:
    for block in source.blocks:
        for position, (line, *cells) in enumerate(zip(block.lines, *block.cells, strict=True)):
            fault = block.faults.get(position, NO_FAULT)
            if fault[0] in (OPEN_QUOTE, DAMAGED):
                source.close()
                raise _strict_error(source.where, line, fault)
            yield Row(line, tuple(cells), *fault)


def _strict_error(where: str, line: int, fault: Fault) -> UserError:
    if fault[0] == OPEN_QUOTE:
        fix = "close the quote, or double it inside a field"
        return UserError(fault[1], where=f"{where}, line {line}", fix=fix)
    return UserError(fault[1], where=f"{where}, line {line}", fix="the file is damaged: get it again, or write it anew")


def open_blocks(
    path: str | DataFile,
    *,
    smiles_column: str | None = None,
    keep_blank: bool = False,
    stamp: Stamp | None = None,
    columns: Sequence[str] | None = None,
    strict: bool = False,
) -> BlockSource:
    """Open a file and read its header; nothing that is wrong below it ends the reading.

    Parameters
    ----------
    path, smiles_column
        See :func:`open_rows`.
    keep_blank : bool
        Pass blank lines on as rows of empty cells with the reason ``BLANK``; without it they are not rows.
    stamp : Stamp, optional
        What the file looked like earlier.
    columns : sequence of str, optional
        What to read of a Parquet file; all columns when not given, and of text.
    strict : bool
        Take a row of several lines for one row even when its number of fields is wrong; otherwise only its first line
        is refused, and the others are rows.

    Raises
    ------
    UserError
        The file is missing, empty, of an unknown format, or its header is broken; at its end, when it has changed
        meanwhile.
    """
    options: dict[str, Any] = {"smiles_column": smiles_column, "keep_blank": keep_blank, "strict": strict}
    if str(path) == "-":
        return _open_text(Stream(sys.stdin.buffer, "standard input"), "guess", **options)
    path = data_file(path)
    _check_file(path)
    if not path.is_file():  # a pipe, as the shell's <(command)
        return _open_text(open_stream(path), "guess", **options)
    if stamp is None:
        stamp = Stamp.of(path)
    else:
        stamp.check(path)
    if path.suffix.lower() in PARQUET_ENDINGS:
        return watched(path, open_parquet(path, columns), stamp)
    found = text_format(path)
    if found is None:
        ending = "".join(path.suffixes[-2:])
        raise UserError(f"unknown format '{ending}'", where=str(path), fix=f"polyml reads {FORMATS}")
    return watched(path, _open_text(open_stream(path, found[1]), found[0], **options), stamp)


def _check_file(path: DataFile) -> None:
    if path.is_dir():
        raise UserError("this is a folder, not a data file", where=str(path), fix="give the path of a file in it")
    if not path.exists():
        raise UserError("there is no such file", where=str(path), fix="check the path")
    if isinstance(path, Path) and path.is_file() and path.stat().st_size == 0:
        raise UserError("the file is empty", where=str(path), fix="give a header line and at least one row")


def _open_text(stream: Stream, kind: str, *, smiles_column: str | None, keep_blank: bool, strict: bool) -> BlockSource:
    lines = LineReader(stream)
    first = lines.next()
    if first is None:
        stream.close()
        if lines.damage:
            raise _unreadable(lines)
        raise UserError("the file is empty", where=stream.where, fix="give a header line and at least one row")
    lines.give_back(first)
    if kind == "guess":
        kind = _guess(next(filter(str.strip, first.bare), ""), smiles_column)
    try:
        if kind == "smi":
            columns: tuple[str, ...] = ("psmiles", "name")
            words = first.bare[0].split(maxsplit=1)
            is_header = bool(words) and plain_name(words[0]) in SMILES_NAMES
            blocks = smi_blocks(lines, keep_blank=keep_blank, is_header=is_header)
        else:
            columns = _read_header(lines, _DELIMITERS[kind])
            blocks = csv_blocks(lines, _DELIMITERS[kind], len(columns), keep_blank=keep_blank, strict=strict)
    except UserError:
        stream.close()
        raise
    return BlockSource(stream.where, columns, _to_the_damage(blocks, lines, len(columns)), stream.close)


def _to_the_damage(blocks: Iterator[Block], lines: LineReader, width: int) -> Iterator[Block]:
    """End with one row for all that a stream that breaks off has lost."""
    try:
        yield from blocks
    finally:
        lines.stream.close()
    if lines.damage:
        what = f"{lines.where} breaks off after line {lines.number}, and the rest is missing: {lines.damage}"
        warnings.warn(what, UserWarning, stacklevel=2)
        yield lost_rows([lines.number + 1], width, f"the rest of the file cannot be read: {lines.damage}")


def _unreadable(lines: LineReader) -> UserError:
    where = f"{lines.where}, after line {lines.number}"
    return UserError(f"cannot be read: {lines.damage}", where=where, fix="the file may be damaged")


def _guess(first: str, smiles_column: str | None) -> str:
    """Tell a table from one pSMILES a line: only a header line holds the name of a SMILES column."""
    for kind, delimiter in _DELIMITERS.items():
        names = [name.strip().strip('"') for name in first.split(delimiter)]
        if smiles_column in names or any(plain_name(name) in SMILES_NAMES for name in names):
            return kind
    return "smi"


def plain_name(name: str) -> str:
    """Return a column name in lower case with underscores, to compare by."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _read_header(lines: LineReader, delimiter: str) -> tuple[str, ...]:
    reader = RowReader(lines, delimiter)
    while (part := lines.next()) is not None:
        reader.take(part)
        for row in reader.rows(part.first + len(part.listed)):
            where = f"{lines.where}, line {row.line}"
            if row.reason in ("not UTF-8", "NUL byte"):
                raise UserError(row.detail, where=where, fix="save the file as UTF-8")
            if row.reason:
                fix = "check its quotes, and save the file with usual line ends"
                raise UserError(f"the header cannot be read: {row.detail}", where=where, fix=fix)
            if row.cells:
                reader.give_back()
                return _checked_header(row.cells, where)
    if lines.damage:
        raise _unreadable(lines)
    raise UserError("the file holds only blank lines", where=lines.where, fix="give a header and rows")


def _checked_header(header: list[str], where: str) -> tuple[str, ...]:
    columns = check_names(header, where)
    if len(columns) == 1 and ";" in columns[0]:
        fix = "save the table with commas, or with tabs as .tsv"
        raise UserError("the columns are separated by semicolons", where=where, fix=fix)
    return columns
