"""``polyml canonicalize``: the canonical form of each line."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from polyml.cli import common
from polyml.errors import UserError

EXAMPLES = common.examples(
    "polyml canonicalize units.smi > canonical.csv",
    "echo '*OCC*' | polyml canonicalize -",
)
CHUNK = 1000


def canonicalize(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="One pSMILES a line; - reads standard input.")],
) -> None:
    """Write the canonical pSMILES of each line as CSV: psmiles, canonical, error.

    Shifted, reversed and multiplied units get one canonical text. One row a line, in order, blank lines too.
    """
    if file.lower().endswith((".csv", ".tsv")):
        common.note(f"{file} is read as one pSMILES a line, without columns: cut the column out first")
    with ExitStack() as stack:
        stream = sys.stdin.buffer if file == "-" else stack.enter_context(_open(file))
        common.stdout_lines(lambda: _write(stream))


def _open(file: str) -> BinaryIO:
    path = Path(file)
    if not path.is_file():
        fix = "give the path of a text file with one pSMILES a line, or - for standard input"
        raise UserError("this is a folder" if path.is_dir() else "there is no such file", where=file, fix=fix)
    return path.open("rb")


def _write(stream: BinaryIO) -> None:
    sys.stdout.write("psmiles,canonical,error\n")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    interactive, number = sys.stdout.isatty(), 0
    for number, row in enumerate(rows(stream), start=1):
        writer.writerow(row)
        if interactive or number % CHUNK == 0:
            _flush(buffer)
    _flush(buffer)
    if not number:
        common.note("the input holds no line")


def _flush(buffer: io.StringIO) -> None:
    # As bytes in UTF-8 whatever the terminal's encoding: a file that is redirected must not depend on the locale.
    text = buffer.getvalue()
    if hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write(text)
    buffer.seek(0)
    buffer.truncate()


def rows(lines: Iterable[bytes]) -> Iterator[tuple[str, str, str]]:
    """Yield ``(psmiles, canonical, error)`` for each line.

    Examples
    --------
    >>> list(rows([b"*OCC*\\r\\n", b"\\n", b"C"]))[1:]
    [('', '', 'the line is blank'), ('C', '', ...)]
    """
    from polyml.chem import canonicalize as canonical_psmiles
    from polyml.errors import RepeatUnitError

    for number, raw in enumerate(lines):
        line = raw.removeprefix(b"\xef\xbb\xbf") if number == 0 else raw
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            yield line.decode("utf-8", errors="replace").strip(), "", "the line is not UTF-8"
            continue
        if not text:
            yield "", "", "the line is blank"
            continue
        try:
            yield text, canonical_psmiles(text), ""
        except RepeatUnitError as error:
            yield text, "", error.what
