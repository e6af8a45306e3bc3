"""Count each polymer of a library once, whatever the number of rows, in memory that does not grow with it.

Every valid candidate leaves a *record*: the 128-bit hash of its canonical key, the number of its row, and whether it
meets all constraints. Records lie in the shards until all chunks are finished. Then they are spread over files by the
first bits of the hash, so that all rows of one polymer meet in one file, and one file after the other is sorted. Pairs
of a later row and the first row of the same polymer are spread once more, by the row, so that they can be looked up
while the rows are written in order. Everything is kept in one folder, which goes away at the end.

Two polymers would count as one if their hashes agreed. That is neglected: among a billion polymers it has a chance of
less than 1 in 10²⁰.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.errors import UserError
from polyml.progress import progress_bar
from polyml.screening.shards import ShardStore
from polyml.screening.spec import ScreenSpec

if TYPE_CHECKING:
    import pyarrow as pa

DUPLICATE = "duplicate"
"""Outcome of a row whose polymer stands in an earlier row."""
_BUCKET = 1 << 19  # records that a file should hold: 12 MiB, of which sorting takes some copies
_MOST_FILES = 1 << 12  # two billion records fill as many files; beyond, files get larger
_BUFFERED = 2  # buckets' worth of records that wait in memory to be written


def key_records(rows: Sequence[int], keys: Sequence[str], passing: Iterable[int]) -> np.ndarray:
    """Return what is kept of candidates to recognise their polymers by.

    Parameters
    ----------
    rows : sequence of int, length n
        Number of each row in the input, from 0.
    keys : sequence of str, length n
        Its canonical key.
    passing : iterable of int
        The rows that meet all constraints.

    Returns
    -------
    ndarray of uint64, shape (n, 3)
        The two halves of the hash of the key, and twice the number of the row, plus one where it is passing; ordered by
        the row.

    Examples
    --------
    >>> records = key_records([7, 4], ["*CC*", "*CO*"], passing=[7])
    >>> records[:, 2].tolist()
    [8, 15]
    """
    digests = b"".join(hashlib.blake2b(key.encode("utf-8"), digest_size=16).digest() for key in keys)
    places = np.asarray(rows, dtype=np.uint64)
    is_passing = np.isin(places, np.fromiter(passing, dtype=np.uint64))
    records = np.empty((len(keys), 3), dtype="<u8")
    records[:, :2] = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
    records[:, 2] = places * np.uint64(2) + is_passing
    return records[np.argsort(places)]


@dataclass(frozen=True)
class Once:
    """The polymers of a library, each counted once.

    Attributes
    ----------
    counts : dict of str to int
        ``distinct``: different polymers; ``distinct_passing``: those of which at least one row meets all constraints.
        Empty where nobody asked.
    copies : Copies, optional
        The rows whose polymer stands in an earlier row, where they were asked for.
    """

    counts: Mapping[str, int]
    copies: Copies | None = None


def counted_once(store: ShardStore, chunks: int, counts: Mapping[str, int], spec: ScreenSpec) -> Any:
    """Count the polymers of a finished screen; a context manager that gives :class:`Once`.

    Parameters
    ----------
    store : ShardStore
    chunks : int
        Number of finished chunks.
    counts : mapping of str to int
        ``read`` and ``valid``: rows of the input, and how many of them are valid.
    spec : ScreenSpec
        Nothing is counted without ``unique``, and the copies are kept where ``keep`` is "all".

    Raises
    ------
    UserError
        The disk is full, or a shard is gone or damaged.
    """
    if not spec.unique:
        return nullcontext(Once({}))
    records = (store.read_records(number) for number in range(chunks))
    rows, valid = counts.get("read", 0), counts.get("valid", 0)
    return count_once(records, store.scratch, rows=rows, valid=valid, keep_copies=spec.keep == "all")


@contextmanager
def count_once(
    records: Iterable[np.ndarray], folder: Path, *, rows: int, valid: int, keep_copies: bool, bucket: int = _BUCKET
) -> Iterator[Once]:
    """Count the polymers behind records of any number.

    Parameters
    ----------
    records : iterable of ndarray of uint64, shape (any, 3)
        As :func:`key_records` makes them, by ascending row.
    folder : Path
        Where files may be written meanwhile: about 24 bytes a record, and 16 for each copy. It is removed at the end.
    rows, valid : int
        Rows of the input, and number of records.
    keep_copies : bool
        Whether the rows of later copies are kept, to be looked up inside the context.
    bucket : int
        Records that are sorted at a time; the memory is about 200 bytes for each.

    Raises
    ------
    UserError
        The disk is full; nothing is left behind.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> records = key_records([0, 1, 2], ["*CC*", "*CO*", "*CC*"], passing=[2])
    >>> with (
    ...     TemporaryDirectory() as folder,
    ...     count_once([records], Path(folder) / "x", rows=3, valid=3, keep_copies=True) as once,
    ... ):
    ...     print(once.counts, once.copies.first_rows(np.arange(3)).tolist())
    {'distinct': 2, 'distinct_passing': 1} [-1, -1, 0]
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        try:
            once = _count(records, folder, rows, valid, bucket, keep_copies=keep_copies)
        except OSError as error:
            fix = "free some space, and go on with --resume: the finished chunks are kept"
            what = f"the polymers cannot be counted: {error.strerror or error}"
            raise UserError(what, where=str(folder), fix=fix) from error
        yield once
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _count(
    records: Iterable[np.ndarray], folder: Path, rows: int, valid: int, bucket: int, *, keep_copies: bool
) -> Once:
    bits = min(max(0, (valid - 1) // bucket).bit_length(), _MOST_FILES.bit_length() - 1)
    by_hash = _Spill(folder / "hashes", columns=3, most=_BUFFERED * bucket)
    size = max(bucket, -(-rows // _MOST_FILES))
    by_row = _Spill(folder / "copies", columns=2, most=_BUFFERED * bucket) if keep_copies else None
    distinct = passing = 0
    with progress_bar("counting polymers", 2 * valid) as bar:
        for part in records:
            by_hash.add(_leading(part[:, 0], bits), part)
            bar.advance(bar.task_ids[0], len(part))
        by_hash.flush()
        for number in range(1 << bits):
            seen = np.empty((0, 3), dtype="<u8")
            for block in by_hash.take(number, 2 * bucket):
                seen, copies = _merged(seen, block)
                if by_row is not None:
                    by_row.add(copies[:, 0] // np.uint64(size), copies)
                bar.advance(bar.task_ids[0], len(block))
            distinct, passing = distinct + len(seen), passing + int((seen[:, 2] & np.uint64(1)).sum())
    if by_row is not None:
        by_row.flush()
    return Once(
        {"distinct": distinct, "distinct_passing": passing}, Copies(by_row, size) if by_row is not None else None
    )


def _leading(hashes: np.ndarray, bits: int) -> np.ndarray:
    return (hashes >> np.uint64(63 - bits)) >> np.uint64(1)  # a shift by all 64 bits would not be defined


def _merged(seen: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge records with those of earlier rows.

    Parameters
    ----------
    seen : ndarray of uint64, shape (g, 3)
        A record a polymer, with its first row; its last bit says whether any of its rows is passing.
    block : ndarray of uint64, shape (b, 3)
        Records of later rows.

    Returns
    -------
    seen : ndarray of uint64, shape (g', 3)
    copies : ndarray of uint64, shape (c, 2)
        The rows of ``block`` that are no first ones, each with the first row of its polymer.
    """
    records = np.concatenate([seen, block])
    records = records[np.argsort(records[:, 0])]
    high, low = records[:, 0], records[:, 1]
    if np.any((high[1:] == high[:-1]) & (low[1:] < low[:-1])):  # rows of two polymers with one half of the hash
        records = records[np.lexsort((low, high))]
        high, low = records[:, 0], records[:, 1]
    starts = np.flatnonzero(np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    rows, passes = records[:, 2] >> np.uint64(1), records[:, 2] & np.uint64(1)
    first = np.minimum.reduceat(rows, starts)
    places = first << np.uint64(1) | np.maximum.reduceat(passes, starts)
    firsts = np.repeat(first, np.diff(np.append(starts, len(records))))
    later = rows != firsts
    return np.column_stack([records[starts, :2], places]), np.column_stack([rows[later], firsts[later]])


class Copies:
    """The rows whose polymer stands in an earlier row, looked up range by range.

    Memory is that of one range of rows, whatever their number; it is quick as long as rows are asked for in order.
    """

    def __init__(self, spill: _Spill, size: int) -> None:
        self._spill, self._size = spill, size
        self._number, self._first = -1, np.empty(0, dtype=np.int64)

    def first_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the first row of each row's polymer, or -1 where it is the row itself.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            From 0.

        Returns
        -------
        ndarray of int64, shape (n,)
        """
        found = np.full(len(rows), -1, dtype=np.int64)
        numbers = rows // self._size
        for number in np.unique(numbers).tolist():
            if number != self._number:
                self._load(number)
            here = numbers == number
            found[here] = self._first[rows[here] - number * self._size]
        return found

    def _load(self, number: int) -> None:
        self._number, self._first = number, np.full(self._size, -1, dtype=np.int64)
        for pairs in self._spill.read(number, self._size):
            self._first[pairs[:, 0].astype(np.int64) - number * self._size] = pairs[:, 1].astype(np.int64)

    def marked(self, table: pa.Table) -> pa.Table:
        """Return the rows of a shard, those that are later copies with the outcome "duplicate" and the first row.

        The reason is emptied with them: what became of the polymer stands in its first row.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        first = self.first_rows(table["row"].to_numpy())
        is_copy = pa.array(first >= 0)
        texts = pa.array([f"row {row + 1}" if row >= 0 else "" for row in first.tolist()], pa.string())
        for name, cells in (("outcome", DUPLICATE), ("reason", ""), ("message", texts)):
            at = table.column_names.index(name)
            table = table.set_column(at, name, pc.if_else(is_copy, cells, table[name]))
        return table


class _Spill:
    """Records spread over files by a number; they wait in memory until there are many, and one file is open at a time.

    Parameters
    ----------
    folder : Path
        Is made.
    columns : int
        Numbers of 8 bytes in a record.
    most : int
        Records that wait in memory.
    """

    def __init__(self, folder: Path, *, columns: int, most: int) -> None:
        self._folder, self._columns, self._most = folder, columns, most
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = 0
        folder.mkdir(parents=True)

    def add(self, numbers: np.ndarray, records: np.ndarray) -> None:
        """Take in records, shape (n, columns), with the numbers of their files, all below 65,536."""
        self._waiting.append((numbers.astype(np.uint16), records))
        self._count += len(records)
        if self._count >= self._most:
            self.flush()

    def flush(self) -> None:
        """Write what waits in memory."""
        if not self._waiting:
            return
        numbers, records = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._count = [], 0
        records = records[np.argsort(numbers, kind="stable")]  # two bytes are sorted digit by digit, in linear time
        ends = np.cumsum(np.bincount(numbers)).tolist()
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            if end > start:
                with self._path(number).open("ab") as file:
                    file.write(records[start:end].data)

    def read(self, number: int, most: int) -> Iterator[np.ndarray]:
        """Yield the records of a file in the order in which they came, at most so many at a time."""
        if self._path(number).exists():
            with self._path(number).open("rb") as file:
                while content := file.read(most * self._columns * 8):
                    yield np.frombuffer(content, dtype="<u8").reshape(-1, self._columns)

    def take(self, number: int, most: int) -> Iterator[np.ndarray]:
        """Yield the records of a file, and remove it."""
        yield from self.read(number, most)
        self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}"
