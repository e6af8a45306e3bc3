"""``polyml canonicalize``: the canonical form of each line or row."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from polyml.cli import common, stdout
from polyml.errors import UserError

if TYPE_CHECKING:
    from polyml.data.readers import CandidateChunk

EXAMPLES = common.examples(
    "polyml canonicalize tg.csv > canonical.csv",
    "polyml canonicalize units.txt > canonical.csv",
    "echo '*OCC*' | polyml canonicalize -",
)
CHUNK = 1000
Row = tuple[str, str, str]


def canonicalize(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-",
            help="Tables (CSV, TSV, .smi, Parquet; file, folder or quoted pattern), or a text with one pSMILES a "
            "line; - reads such a text from standard input.",
        ),
    ],
    smiles_column: common.SmilesColumn = None,
) -> None:
    """Write the canonical pSMILES of each row or line as CSV: psmiles, canonical, error.

    Shifted, reversed and multiplied units get one canonical text: rows that share it are one polymer. One row each, in
    order, blank ones too.
    """
    if not _is_plain_text(file):
        from polyml.data.readers import read_candidates

        chunks = read_candidates(file, smiles_column, chunk_size=CHUNK, keep_blank=True)
        stdout.until_closed(lambda: _write(_row(text, fault) for chunk in chunks for text, fault in _texts(chunk)))
        return
    if smiles_column is not None:
        raise UserError("only a table has columns", where="--smiles-column", fix="name a CSV, TSV or Parquet file")
    with ExitStack() as stack:
        stream: BinaryIO = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        stdout.until_closed(lambda: _write(rows(stream)))


def _texts(chunk: CandidateChunk) -> Iterator[tuple[str, str]]:
    faults = chunk.fault_texts()
    return ((text, faults.get(row, "")) for row, text in enumerate(chunk.psmiles))


def _is_plain_text(file: str) -> bool:
    """Tell whether a file holds nothing but a pSMILES on each line: any text that is no table by its name."""
    from polyml.data.sources import is_parquet
    from polyml.data.streams import text_format

    kind = text_format(Path(file))
    return file == "-" or ((kind is None or kind == ("guess", "")) and not is_parquet(Path(file)) and _is_file(file))


def _is_file(file: str) -> bool:
    try:
        return Path(file).is_file()
    except OSError:  # no path at all
        return False


def _write(found: Iterable[Row]) -> None:
    sys.stdout.write("psmiles,canonical,error\n")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    interactive, number = sys.stdout.isatty(), 0
    for number, row in enumerate(found, start=1):
        writer.writerow(row)
        if interactive or number % CHUNK == 0:
            _flush(buffer)
    _flush(buffer)
    if not number:
        common.note("the input holds no line")


def _flush(buffer: io.StringIO) -> None:
    stdout.write_text(buffer.getvalue())
    buffer.seek(0)
    buffer.truncate()


def rows(lines: Iterable[bytes]) -> Iterator[Row]:
    """Yield ``(psmiles, canonical, error)`` for each line.

    Examples
    --------
    >>> list(rows([b"*OCC*\\r\\n", b"\\n", b"C"]))[1:]
    [('', '', 'the line is blank'), ('C', '', ...)]
    """
    for number, raw in enumerate(lines):
        line = raw.removeprefix(b"\xef\xbb\xbf") if number == 0 else raw
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            yield line.decode("utf-8", errors="replace").strip(), "", "the line is not UTF-8"
            continue
        yield _row(text, "" if text else "the line is blank")


def _row(text: str, fault: str) -> Row:
    from polyml.chem import canonicalize as canonical_psmiles
    from polyml.errors import RepeatUnitError

    if fault:
        return text, "", fault
    try:
        return text, canonical_psmiles(text), ""
    except RepeatUnitError as error:
        return text, "", error.what
