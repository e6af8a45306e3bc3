"""Rows of a file with their exact line numbers: CSV, TSV, .smi, plain or gzipped, Parquet, standard input.

Rows are streamed: no file is held in memory. A row that cannot be read is passed on with its reason, so that whoever
reads decides whether it is an error (a table of measurements) or a refused row (a list of candidates).
"""

from __future__ import annotations

import csv
import gzip
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from polyml.errors import UserError

TEXT_FORMATS = {".csv": "csv", ".tsv": "tsv", ".smi": "smi", ".smiles": "smi", ".txt": "guess"}
FORMATS = "*.csv, *.tsv, *.smi, *.txt (also with .gz), *.parquet, or - for standard input"
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
_BOM = b"\xef\xbb\xbf"
BLANK = "blank line"
"""Reason of a row that is a line without anything in it."""
Close = Callable[[], object]


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


def open_rows(path: str | Path, *, smiles_column: str | None = None, keep_blank: bool = False) -> Source:
    """Open a file and read its header.

    Parameters
    ----------
    path : str or Path
        See ``FORMATS``; ``-`` reads standard input as CSV or TSV when its first line is a header with a SMILES column,
        else as one pSMILES a line.
    smiles_column : str, optional
        Helps to recognise that header.
    keep_blank : bool
        Pass blank lines on as rows of empty cells with the reason ``BLANK``; without it they are not rows.

    Raises
    ------
    UserError
        The file is missing, empty, of an unknown format, or its header is broken.
    """
    source = _open(path, smiles_column)
    if keep_blank:
        return source
    return replace(source, rows=(row for row in source.rows if row.reason != BLANK))


def _open(path: str | Path, smiles_column: str | None) -> Source:
    if str(path) == "-":
        return _open_text(sys.stdin.buffer, "standard input", "guess", smiles_column, close=lambda: None)
    path = Path(path)
    _check_file(path)
    if not path.is_file():  # a pipe, as the shell's <(command)
        handle: Any = path.open("rb")
        return _open_text(handle, str(path), "guess", smiles_column, close=handle.close)
    if path.suffix.lower() in (".parquet", ".pq"):
        return _open_parquet(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    ending = (suffixes[-2:-1] if zipped else suffixes[-1:]) or [""]
    if ending[0] not in TEXT_FORMATS:
        raise UserError(f"unknown format '{''.join(suffixes[-2:])}'", where=str(path), fix=f"polyml reads {FORMATS}")
    handle = gzip.open(path, "rb") if zipped else path.open("rb")  # noqa: SIM115 - closed when the rows end
    return _open_text(handle, str(path), TEXT_FORMATS[ending[0]], smiles_column, close=handle.close)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UserError("this is a folder, not a data file", where=str(path), fix="give the path of a file in it")
    if not path.exists():
        raise UserError("there is no such file", where=str(path), fix="check the path")
    if not path.is_file():
        return
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path), fix="check its permissions") from error
    if path.stat().st_size == 0:
        raise UserError("the file is empty", where=str(path), fix="give a header line and at least one row")


class _Lines:
    """Lines of a binary stream as text, which remembers the lines that are not UTF-8."""

    def __init__(self, handle: BinaryIO, where: str) -> None:
        self.handle, self.where, self.number = handle, where, 0
        self.bad: dict[int, str] = {}

    def __iter__(self) -> Iterator[str]:
        while True:
            try:
                raw = self.handle.readline()
            except (OSError, EOFError, zlib.error) as error:
                where = f"{self.where}, after line {self.number}"
                raise UserError(f"cannot be read: {error}", where=where, fix="the file may be damaged") from error
            if not raw:
                return
            self.number += 1
            if self.number == 1:
                raw = raw.removeprefix(_BOM)
            yield self._decode(raw)

    def _decode(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            self.bad[self.number] = f"byte {error.start + 1} (0x{raw[error.start]:02x}) is not UTF-8"
            return raw.decode("utf-8", errors="backslashreplace")

    def fault(self, first: int, last: int) -> str:
        """Return the fault of the first undecodable line between two lines, and forget the ones before."""
        found = ""
        for number in [number for number in self.bad if number <= last]:
            text = self.bad.pop(number)
            found = found or (text if number >= first else "")
        return found


def _open_text(handle: BinaryIO, where: str, kind: str, smiles_column: str | None, close: Close) -> Source:
    lines = _Lines(handle, where)
    stream = iter(lines)
    first = next(stream, None)
    if first is None:
        raise UserError("the file is empty", where=where, fix="give a header line and at least one row")
    kind = _guess(first, smiles_column) if kind == "guess" else kind
    if kind == "smi":
        return _open_smi(chain([first], stream), lines, close)
    return _open_csv(chain([first], stream), lines, _DELIMITERS[kind], close)


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


def _open_smi(stream: Iterator[str], lines: _Lines, close: Close) -> Source:
    def rows() -> Iterator[Row]:
        for text in stream:
            number = lines.number
            fault = lines.fault(number, number)
            words = text.split(maxsplit=1)
            if number == 1 and words and plain_name(words[0]) in SMILES_NAMES:
                continue
            if not words:
                yield Row(number, ("", ""), BLANK)
                continue
            cells = (words[0], words[1].strip() if len(words) > 1 else "")
            yield Row(number, cells, "not UTF-8" if fault else "", fault)

    return Source(lines.where, ("psmiles", "name"), _closing(rows(), close))


def _open_csv(stream: Iterator[str], lines: _Lines, delimiter: str, close: Close) -> Source:
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    header: list[str] = []
    try:
        while not header:
            header = next(reader)
    except StopIteration:
        raise UserError("the file holds only blank lines", where=lines.where, fix="give a header and rows") from None
    except csv.Error as error:
        fix = "check its quotes, and save the file with usual line ends"
        raise UserError(f"the header cannot be read: {error}", where=f"{lines.where}, line 1", fix=fix) from error
    fault = lines.fault(1, lines.number)
    if fault:
        raise UserError(fault, where=f"{lines.where}, line 1", fix="save the file as UTF-8")
    columns = _check_columns(header, f"{lines.where}, line {lines.number}")
    if len(columns) == 1 and ";" in columns[0]:
        fix = "save the table with commas, or with tabs as .tsv"
        raise UserError("the columns are separated by semicolons", where=f"{lines.where}, line 1", fix=fix)
    return Source(lines.where, columns, _closing(_csv_rows(reader, lines, len(columns)), close))


def _csv_rows(reader: Any, lines: _Lines, width: int) -> Iterator[Row]:
    while True:
        start = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _broken_row(error, start, lines, width)
            continue
        if not cells or (len(cells) < width and not "".join(cells).strip()):
            yield Row(start, ("",) * width, BLANK)
            continue
        fault = lines.fault(start, lines.number)
        if fault:
            yield Row(start, tuple(_fit(cells, width)), "not UTF-8", fault)
        elif len(cells) != width and (len(cells) < width or any(cells[width:])):
            detail = f"{len(cells)} fields, the header has {width}"
            yield Row(start, tuple(_fit(cells, width)), "field count", detail)
        else:
            yield Row(start, tuple(cells[:width]))


def _broken_row(error: csv.Error, start: int, lines: _Lines, width: int) -> Row:
    """Pass on a row that is broken in itself; a quote left open swallows the rows after it and ends the reading."""
    if lines.number == start and "end of data" not in str(error):
        long = "field limit" in str(error)
        detail = f"a field is longer than {csv.field_size_limit()} characters" if long else str(error)
        return Row(start, ("",) * width, "too long" if long else "quotes", detail)
    fix = "close the quote, or double it inside a field"
    raise UserError(f"a quote is not balanced ({error})", where=f"{lines.where}, line {start}", fix=fix)


def _fit(cells: list[str], width: int) -> list[str]:
    return (cells + [""] * width)[:width]


def _check_columns(header: list[str], where: str) -> tuple[str, ...]:
    """Strip and check column names; an empty one is named by its position."""
    names = [name.strip() or f"column_{position}" for position, name in enumerate(header, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"columns named twice: {', '.join(twice)}", where=where, fix="rename or remove one of each")
    return tuple(names)


def _open_parquet(path: Path) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"not a Parquet file: {reason}", where=str(path), fix="check how it was made") from error
    columns = _check_columns(list(file.schema_arrow.names), str(path))

    def rows() -> Iterator[Row]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=16384):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield Row(number, cells)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"damaged after row {number}: {str(error).splitlines()[0]}",
                where=str(path),
                fix="get the file again, or write it anew",
            ) from error

    return Source(str(path), columns, _closing(rows(), file.close))


def _closing(rows: Iterator[Row], close: Close) -> Generator[Row, None, None]:
    try:
        yield from rows
    finally:
        close()
