"""Write tables to files, in one go or a part at a time, and always whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.data.files import whole_file
from polyml.data.places import DataFile, url_of
from polyml.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Write = Callable[["pd.DataFrame"], None]


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield lambda frame: frame.to_csv(file, index=False, header=file.tell() == 0, lineterminator="\n")


@contextmanager
def _csv_gz(path: Path) -> Iterator[Write]:
    import gzip

    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
        first = True

        def write(frame: pd.DataFrame) -> None:
            nonlocal first
            text = frame.to_csv(index=False, header=first, lineterminator="\n")
            packed.write(text.encode("utf-8", errors="backslashreplace"))
            first = False

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writers: list[pq.ParquetWriter] = []

        def write(frame: pd.DataFrame) -> None:
            # Every part has the columns' types of the first one, even where all its cells are missing.
            schema = writers[0].schema if writers else None
            table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
            if not writers:
                writers.append(stack.enter_context(pq.ParquetWriter(path, table.schema)))
            writers[0].write_table(table)

        yield write


@contextmanager
def _npz(path: Path) -> Iterator[Write]:
    """Collect the parts: the numbers become one array, the columns that tell the rows apart arrays of their own."""
    import numpy as np
    import pandas as pd

    parts: list[pd.DataFrame] = []
    yield parts.append
    first = parts[0]
    rows = [name for name in first if name == "line" or not pd.api.types.is_numeric_dtype(first[name])]
    arrays: dict[str, Any] = {}
    for name in rows:
        cells = np.concatenate([part[name].to_numpy() for part in parts])
        arrays[str(name)] = cells if name == "line" else cells.astype(str)
    names = [str(name) for name in first.columns if name not in rows]
    arrays["features"] = np.concatenate([part.drop(columns=rows).to_numpy(dtype=np.float32) for part in parts])
    with path.open("wb") as handle:
        np.savez_compressed(handle, **arrays, names=np.array(names))


_WRITERS = {".csv": _csv, ".csv.gz": _csv_gz, ".parquet": _parquet, ".npz": _npz}
TABLES = (".csv", ".csv.gz", ".parquet")


def _ending(path: str | Path) -> str:
    """Return what the name of a table ends in, in lower case: ``.csv``, ``.csv.gz``, ``.parquet``."""
    name = Path(path).name.lower()
    return ".csv.gz" if name.endswith(".csv.gz") else Path(name).suffix


def check_not_input(output: str | Path, source: str | DataFile) -> None:
    """Refuse to write over the file that is read.

    Raises
    ------
    UserError
    """
    place = str(source).removeprefix("local://")
    if place != "-" and Path(output).resolve() == Path(place).resolve():
        raise UserError("this is the input file", where=f"-o {output}", fix="name another file for the output")


def check_replaceable_table(path: str | Path, columns: Sequence[str], what: str) -> None:
    """Refuse to write over a table that somebody else has made.

    Parameters
    ----------
    path : str or Path
        CSV, Parquet or npz, by the end of its name; there need be no such file.
    columns : sequence of str
        Columns that every table of this kind has.
    what : str
        What such a table holds, for the message.

    Raises
    ------
    UserError
        The file lacks one of these columns.
    """
    path = Path(path)
    if not path.exists() or {*columns} <= {*_columns_of(path)}:
        return
    raise UserError(f"here is something else than {what}", where=str(path), fix="name another file, or remove this one")


def _columns_of(path: Path) -> list[str]:
    """Return the columns of a table that was written here; none where it cannot be read as one."""
    import csv
    import gzip
    import zipfile
    import zlib

    import numpy as np
    import pyarrow.parquet as pq

    packed = _ending(path) == ".csv.gz"
    try:
        if path.suffix.lower() == ".parquet":
            return list(pq.read_schema(path).names)
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return [*arrays.files]
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if packed
            else path.open(encoding="utf-8", newline="") as file
        ):
            return next(csv.reader(file), [])
    except (OSError, EOFError, ValueError, csv.Error, zlib.error, zipfile.BadZipFile):  # pyarrow's are values errors
        return []


def check_suffix(path: str | Path, known: Sequence[str] = TABLES) -> None:
    """Check that a table can be written to a file of this name.

    Raises
    ------
    UserError
        The name ends in something else, or is a URL.
    """
    if url_of(path) is not None:
        fix = "name a file of this machine, and bring it there yourself"
        raise UserError("a table is written to a disk, and not to a URL", where=str(path), fix=fix)
    if _ending(path) not in known:
        fix = f"let its name end in {' or '.join(known)}"
        raise UserError("unknown kind of output file", where=str(path), fix=fix)


@contextmanager
def frame_writer(path: str | Path, known: Sequence[str] = TABLES) -> Iterator[Write]:
    """Give a function that appends the rows of a table to a file, which appears when the block ends well.

    Parameters
    ----------
    path : str or Path
        CSV, packed CSV (.csv.gz), Parquet or npz, by the end of its name. CSV and Parquet are written as they come; npz
        is collected.
    known : sequence of str
        Endings to accept.

    Raises
    ------
    UserError
        The name ends in something else, or the file cannot be written.
    """
    check_suffix(path, known)
    with whole_file(path) as temporary, _WRITERS[_ending(path)](temporary) as write:
        yield write


DIGITS = 10
"""Significant digits of what is predicted: 339.8775, not 339.87750000000017."""


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose floating-point numbers have :data:`DIGITS` significant digits.

    Examples
    --------
    >>> import pandas as pd
    >>> rounded(pd.DataFrame({"Tg": [339.87750000000017, 2e-7 / 3, -1e30, None]}))["Tg"].tolist()
    [339.8775, 6.666666667e-08, -1e+30, nan]
    """
    frame = frame.copy(deep=False)
    for name in [name for name in frame if frame[name].dtype.kind == "f"]:
        frame[name] = [float(f"{value:.{DIGITS}g}") for value in frame[name].tolist()]
    return frame


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a whole table as CSV, packed CSV or Parquet, by the end of its name."""
    with frame_writer(path) as write:
        write(frame)
