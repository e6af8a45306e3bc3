"""Parts of an open file: some rows, column by column, with the line of each and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from polyml.data.places import DataFile
from polyml.errors import UserError

NO_FAULT = ("", "")
"""What stands for a row without a fault."""
BLANK = "blank line"
"""Reason of a row that is a line without anything in it."""
DAMAGED = "damaged"
"""Reason of a row that stands for what a damaged file has lost."""
OPEN_QUOTE = "open quote"
"""Reason of a row whose quote is not closed where it should be."""
Fault = tuple[str, str]
Close = Callable[[], object]


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive rows of a file.

    Attributes
    ----------
    lines : sequence of int
        Line of each row in the file (its number, from 1, in Parquet).
    cells : sequence of sequences
        One for each column of the file, with a cell for each row.
    faults : dict of int to (str, str)
        By position in the block: reason and detail of the rows that cannot be read.
    """

    lines: Sequence[int]
    cells: Sequence[Sequence[Any]]
    faults: dict[int, Fault] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)


@dataclass(frozen=True, eq=False)
class BlockSource:
    """An open file: its name, its columns, its rows (to be read once), and how to close it before its end."""

    where: str
    columns: tuple[str, ...]
    blocks: Iterator[Block]
    close: Close


def lost_rows(lines: Sequence[int], width: int, detail: str) -> Block:
    """Return a block of empty rows that cannot be read for one reason."""
    empty = [""] * len(lines)
    return Block(lines, [empty] * width, dict.fromkeys(range(len(lines)), (DAMAGED, detail)))


def check_names(header: list[str], where: str) -> tuple[str, ...]:
    """Strip and check column names; an empty one is named by its position."""
    names = [name.strip() or f"column_{position}" for position, name in enumerate(header, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"columns named twice: {', '.join(twice)}", where=where, fix="rename or remove one of each")
    return tuple(names)


@dataclass(frozen=True)
class Stamp:
    """What tells that a file has changed: its size, place on disk and time (seconds, as some file systems round)."""

    size: int
    inode: int
    time: int

    @classmethod
    def of(cls, path: DataFile) -> Stamp:
        """Look at a file.

        Raises
        ------
        UserError
            It is not there any more.
        """
        try:
            found = path.stat()
        except OSError as error:
            fix = "keep the input where it is until the end, and run again"
            raise UserError("the file has gone while it was read", where=str(path), fix=fix) from error
        return cls(found.st_size, found.st_ino, int(found.st_mtime))

    def check(self, path: DataFile) -> None:
        """Check that a file is still the one that was looked at.

        Raises
        ------
        UserError
            It has changed, or is not there any more.
        """
        now = Stamp.of(path)
        if now == self:
            return
        change = f"from {self.size} to {now.size} bytes" if now.size != self.size else "and was written anew"
        fix = "let nothing write to the input, and run again"
        raise UserError(f"the file has changed while it was read ({change})", where=str(path), fix=fix)


def watched(path: DataFile, source: BlockSource, stamp: Stamp) -> BlockSource:
    """Let a file close at its end, and tell when it is not the file any more that was opened."""

    def blocks() -> Iterator[Block]:
        try:
            yield from source.blocks
        finally:
            source.close()
        stamp.check(path)

    return BlockSource(source.where, source.columns, blocks(), source.close)
