"""Rows of Parquet files, row group by row group: a damaged group costs its own rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyml.data.blocks import Block, BlockSource, Fault, check_names, lost_rows
from polyml.data.places import DataFile
from polyml.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH = 16384
"""Rows that are decoded at once; damage is told to as many, so all who read a file use this number."""

_BUFFER = 1 << 20  # bytes of a column that are read from a disk at once

Batch = tuple[int, "pa.RecordBatch | None", str]
"""Rows, the rows themselves (None where they cannot be read), and why they cannot."""


def open_file(path: DataFile) -> pq.ParquetFile:
    """Open a file and read its footer.

    Raises
    ------
    UserError
        There is no sound footer.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if isinstance(path, Path):
            # Read as it is decoded: a row group fetched whole would fill the memory.
            return pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False, buffer_size=_BUFFER)
        return pq.ParquetFile(path.open(), page_checksum_verification=True, pre_buffer=True)
    except (pa.ArrowException, OSError, ValueError) as error:  # a name of a column that is not UTF-8 is a ValueError
        fix = "check how it was made, or get it again"
        raise UserError(f"not a Parquet file: {first_line(error)}", where=str(path), fix=fix) from error


def row_counts(file: pq.ParquetFile, path: DataFile) -> list[int]:
    """Return the rows of each row group.

    Raises
    ------
    UserError
        The footer contradicts itself.
    """
    counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    if min(counts, default=0) < 0 or sum(counts) != file.metadata.num_rows:
        fix = "check how it was made, or get it again"
        raise UserError("the row groups do not add up to the rows of the file", where=str(path), fix=fix)
    return counts


def column_names(file: pq.ParquetFile, path: DataFile) -> tuple[str, ...]:
    """Return the names of the columns, checked as those of a CSV file are."""
    return check_names(list(file.schema_arrow.names), str(path))


def open_parquet(path: DataFile, columns: Sequence[str] | None = None) -> BlockSource:
    """Open a Parquet file.

    Parameters
    ----------
    path : Path or StoreFile
    columns : sequence of str, optional
        What to read; all columns when not given.

    Raises
    ------
    UserError
        There is no sound footer.
    """
    file = open_file(path)
    names = column_names(file, path)
    wanted = list(range(len(names))) if columns is None else [names.index(name) for name in columns]

    row_counts(file, path)

    def blocks() -> Iterator[Block]:
        line = 1
        for group in range(file.num_row_groups):
            for rows, batch, reason in group_batches(file, group, wanted):
                lines = range(line, line + rows)
                yield lost_rows(lines, len(wanted), reason) if batch is None else block_of(batch, lines)
                line += rows

    return BlockSource(str(path), tuple(names[at] for at in wanted), blocks(), file.close)


def group_batches(file: pq.ParquetFile, group: int, wanted: Sequence[int]) -> Iterator[Batch]:
    """Yield the rows of a row group, exactly as many as the footer says, ``BATCH`` at a time at most.

    Their columns are in the order of ``wanted``.
    """
    import pyarrow as pa

    left = file.metadata.row_group(group).num_rows
    reason = f"row group {group + 1} holds fewer rows than the footer says"
    names = file.schema_arrow.names
    ask = [names[at] for at in wanted]
    try:
        batches = file.iter_batches(batch_size=BATCH, row_groups=[group], columns=ask, use_threads=False)
        for batch in batches if left else ():
            batch = batch.select(ask).slice(0, left)
            left -= batch.num_rows
            if batch.num_rows:
                yield batch.num_rows, batch, ""
            if not left:
                return
    except (pa.ArrowException, OSError) as error:
        reason = f"row group {group + 1} cannot be read: {first_line(error)}"
    while left:
        rows = min(left, BATCH)
        left -= rows
        yield rows, None, reason


def block_of(batch: pa.RecordBatch, lines: Sequence[int]) -> Block:
    """Turn a batch into plain values; a row with text that is not UTF-8 gets a fault."""
    cells: list[list[Any]] = []
    faults: dict[int, Fault] = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        try:
            cells.append(_values(array))
        except (UnicodeDecodeError, OverflowError, ValueError):
            cells.append(_one_by_one(array, name, faults))
    return Block(lines, cells, faults)


def _values(array: pa.Array) -> list[Any]:
    import numpy as np
    import pyarrow as pa

    if not pa.types.is_dictionary(array.type):
        return array.to_pylist()
    # Each value of the dictionary is made once; a missing cell takes the None behind them.
    values = np.empty(len(array.dictionary) + 1, dtype=object)
    values[:-1] = array.dictionary.to_pylist()
    indices = array.indices.fill_null(len(values) - 1) if array.null_count else array.indices
    return values[indices.to_numpy(zero_copy_only=False)].tolist()


def _one_by_one(array: pa.Array, name: str, faults: dict[int, Fault]) -> list[Any]:
    """Make the values of a column of which one cannot be made: text that is not UTF-8, a date beyond Python's."""
    found: list[Any] = []
    for row, scalar in enumerate(array):
        try:
            found.append(scalar.as_py())
        except UnicodeDecodeError as error:
            found.append(error.object.decode("utf-8", errors="backslashreplace"))
            byte = error.object[error.start]
            faults.setdefault(row, ("not UTF-8", f"column {name}: byte {error.start + 1} (0x{byte:02x}) is not UTF-8"))
        except (OverflowError, ValueError):
            found.append(f"{getattr(scalar, 'value', '')} ({scalar.type}, out of range)")
    return found


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says."""
    return (str(error).splitlines() or [type(error).__name__])[0]
