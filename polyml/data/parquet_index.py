"""Chunks of Parquet files by number, each read by itself: for many readers at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, overload

from polyml.data.blocks import Stamp, lost_rows
from polyml.data.chunks import CandidateChunk, Layout, Piece, assemble
from polyml.data.parquet import Batch, block_of, column_names, group_batches, open_file, row_counts
from polyml.data.places import DataFile
from polyml.data.readers import find_smiles_column
from polyml.data.sources import Source, SourceFile, is_parquet, source_files
from polyml.errors import UserError

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class ParquetPart:
    """Consecutive rows of one row group.

    Attributes
    ----------
    path : Path or StoreFile
    name : str
        Name of the file in ``file_of_row``; empty where there is only one file.
    smiles : str
        Column of the repeat units.
    group : int
        Row group, from 0.
    first, rows : int
        First row in the group, from 0, and number of rows.
    line : int
        Number of the group's first row in the file, from 1.
    stamp : Stamp
        What the file looked like when its footer was read.
    """

    path: DataFile
    name: str
    smiles: str
    group: int
    first: int
    rows: int
    line: int
    stamp: Stamp


@dataclass(frozen=True)
class ParquetChunk:
    """Where the rows of one chunk lie; small, and can be pickled.

    Attributes
    ----------
    number, first_row, rows : int
        Number of the chunk, number of rows before it, and in it.
    layout : Layout
        Its other columns.
    parts : tuple of ParquetPart
        The row groups that it takes rows from, in order.
    """

    number: int
    first_row: int
    rows: int
    layout: Layout
    parts: tuple[ParquetPart, ...]

    def __len__(self) -> int:
        return self.rows


class _Group(NamedTuple):
    """A row group: its file, its number, the number of its first row in the file, and its rows."""

    file: int
    group: int
    line: int
    rows: int


class ParquetChunks(Sequence[ParquetChunk]):
    """The chunks of Parquet files as a sequence; made by :func:`parquet_chunks`."""

    def __init__(
        self, files: list[tuple[SourceFile, str, Stamp]], layout: Layout, groups: list[_Group], chunk_size: int
    ) -> None:
        self.layout, self.chunk_size = layout, chunk_size
        self._files, self._groups = files, [group for group in groups if group.rows]
        self._starts = [0]
        for group in self._groups:
            self._starts.append(self._starts[-1] + group.rows)

    @property
    def n_rows(self) -> int:
        """Rows of all files together."""
        return self._starts[-1]

    @property
    def longest_group(self) -> int:
        """Rows of the longest row group: to read its last rows, those before them are gone through."""
        return max((group.rows for group in self._groups), default=0)

    def __len__(self) -> int:
        return -(-self.n_rows // self.chunk_size)

    @overload
    def __getitem__(self, number: int) -> ParquetChunk: ...
    @overload
    def __getitem__(self, number: slice) -> list[ParquetChunk]: ...
    def __getitem__(self, number: int | slice) -> ParquetChunk | list[ParquetChunk]:
        if isinstance(number, slice):
            return [self[at] for at in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        first = number * self.chunk_size
        stop = min(first + self.chunk_size, self.n_rows)
        return ParquetChunk(number, first, stop - first, self.layout, tuple(self._parts(first, stop)))

    def _parts(self, first: int, stop: int) -> Iterator[ParquetPart]:
        at = bisect_right(self._starts, first) - 1
        while first < stop:
            group, start = self._groups[at], self._starts[at]
            rows = min(stop, start + group.rows) - first
            file, smiles, stamp = self._files[group.file]
            name = file.name if len(self._files) > 1 else ""
            yield ParquetPart(file.path, name, smiles, group.group, first - start, rows, group.line, stamp)
            first, at = first + rows, at + 1


def parquet_chunks(
    source: Source, smiles_column: str | None = None, *, chunk_size: int = 5000, columns: Sequence[str] | None = None
) -> ParquetChunks:
    """Tell where the rows of each chunk lie, from the footers of Parquet files alone.

    Parameters
    ----------
    source, smiles_column, chunk_size, columns
        See :func:`polyml.data.readers.read_candidates`; its chunk k is the one that ``read_parquet_chunk`` reads for
        item k.

    Returns
    -------
    ParquetChunks
        A sequence of :class:`ParquetChunk`.

    Raises
    ------
    UserError
        A file is not Parquet, its footer is broken, or it has no SMILES column.

    Examples
    --------
    >>> chunks = parquet_chunks("candidates", chunk_size=100_000)
    >>> len(chunks), chunks[5].first_row, chunks[5].rows
    (6, 500000, 74837)
    >>> read_parquet_chunk(chunks[5]).lines[:2]
    [500001, 500002]
    """
    files: list[tuple[SourceFile, str, Stamp]] = []
    headers: list[tuple[tuple[str, ...], str]] = []
    groups: list[_Group] = []
    for number, file in enumerate(source_files(source)):
        if not is_parquet(file.path):
            fix = "read it from its beginning, with read_candidates"
            raise UserError("only Parquet can be read from the middle", where=str(file.path), fix=fix)
        stamp = Stamp.of(file.path)
        with open_file(file.path) as opened:
            names = column_names(opened, file.path)
            rows = row_counts(opened, file.path)
        lines = accumulate(rows, initial=1)
        smiles = find_smiles_column(names, smiles_column, where=str(file.path))
        files.append((file, smiles, stamp))
        headers.append((names, smiles))
        groups += [
            _Group(number, group, line, count) for group, (line, count) in enumerate(zip(lines, rows, strict=False))
        ]
    if not any(group.rows for group in groups):
        raise UserError("there are no rows", where=str(source), fix="add at least one repeat unit")
    return ParquetChunks(files, Layout.of(headers, columns), groups, chunk_size)


def read_parquet_chunk(chunk: ParquetChunk) -> CandidateChunk:
    """Read one chunk; only the row groups that it lies in, and the columns that it has."""
    return next(read_parquet_chunks([chunk]))


def read_parquet_chunks(chunks: Iterable[ParquetChunk]) -> Iterator[CandidateChunk]:
    """Read chunks; quickest in order, where each row group is gone through once.

    Raises
    ------
    UserError
        A file has changed since its footer was read, or has gone.
    """
    reader = _GroupReader()
    try:
        for chunk in chunks:
            pieces = (piece for part in chunk.parts for piece in reader.pieces(part, chunk.layout))
            yield next(assemble(pieces, chunk.layout.names, chunk.rows, chunk.first_row))
    finally:
        reader.close()


class _GroupReader:
    """Keep a row group open, so that the next rows of it are at hand."""

    def __init__(self) -> None:
        self._file: pq.ParquetFile | None = None
        self._opened: tuple[DataFile, Layout, Stamp] | None = None
        self._columns: list[str] = []
        self._wanted: list[int] = []
        self._group = -1
        self._batches: Iterator[Batch] = iter(())
        self._start = self._stop = 0  # rows of the group in the batch at hand
        self._batch: Batch = (0, None, "")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._opened = None, None

    def pieces(self, part: ParquetPart, layout: Layout) -> Iterator[Piece]:
        """Yield the rows of a part, batch by batch."""
        self._open(part, layout)
        others = layout.places(self._columns, part.smiles)
        at, stop = part.first, part.first + part.rows
        while at < stop:
            while at >= self._stop:
                self._advance()
            rows = min(stop, self._stop) - at
            lines = range(part.line + at, part.line + at + rows)
            _, batch, reason = self._batch
            if batch is None:
                block = lost_rows(lines, len(self._columns), reason)
            else:
                block = block_of(batch.slice(at - self._start, rows), lines)
            yield Piece(block, 0, others, part.name)
            at += rows

    def _open(self, part: ParquetPart, layout: Layout) -> None:
        path = part.path
        if self._opened != (part.path, layout, part.stamp):
            self.close()
            part.stamp.check(path)
            self._file = open_file(path)
            names = column_names(self._file, path)
            self._columns = layout.read_of(names, part.smiles)
            self._wanted = [names.index(name) for name in self._columns]
            self._opened, self._group = (part.path, layout, part.stamp), -1
        if part.group != self._group or part.first < self._start:
            assert self._file is not None
            self._group, self._start, self._stop = part.group, 0, 0
            self._batches = group_batches(self._file, part.group, self._wanted)

    def _advance(self) -> None:
        self._batch = next(self._batches)
        self._start, self._stop = self._stop, self._stop + self._batch[0]
