"""Chunks of candidates: consecutive rows of one file or several, put together from the blocks of the files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from polyml.data.blocks import NO_FAULT, Block, Fault
from polyml.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 40  # characters of a cell in a fault


@dataclass(frozen=True, eq=False)
class CandidateChunk:
    """Consecutive rows of candidates, from one file or several.

    Attributes
    ----------
    first_row : int
        Number of rows before this chunk in the stream (0 for the first chunk).
    lines : list of int
        Line of each row in the file, where the header is line 1; the row's number, from 1, in Parquet.
    psmiles : list of str
        As written, without the blanks around; empty when missing.
    columns : dict of str to list
        The other columns, one value a row as the file has it: text, or what Parquet holds, which differs between files
        that are made differently. :func:`cell_text` makes text of it. Empty where a file lacks the column.
    faults : list of (str, str)
        Reason and detail of each row that cannot be read at all (bytes that are not UTF-8, a wrong number of fields);
        two empty strings for a good row; see :meth:`fault_texts`. The structures themselves are not looked at here.
    file_of_row : list of str
        Name of the file of each row, relative to the folder or pattern; empty where there is one file only.
    """

    first_row: int
    lines: list[int]
    psmiles: list[str]
    columns: dict[str, list[Any]]
    faults: list[Fault]
    file_of_row: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def fault_texts(self) -> dict[int, str]:
        """Say what is wrong with each row that cannot be read, by its position."""
        faults = ((row, reason, detail) for row, (reason, detail) in enumerate(self.faults) if reason)
        return {row: f"{reason}: {detail}" if detail else reason for row, reason, detail in faults}

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a table with columns file (where there are several), line, psmiles, then the others."""
        import pandas as pd

        files = {"file": self.file_of_row} if self.file_of_row else {}
        return pd.DataFrame({**files, "line": self.lines, "psmiles": self.psmiles, **self.columns})


class Piece(NamedTuple):
    """A block of one file, with the places of what a chunk holds in it.

    Attributes
    ----------
    block : Block
    smiles : int
        Position of the repeat units among the columns of the block.
    others : sequence of int
        Position of each of the chunk's other columns; -1 where this file lacks it.
    file : str
        Name of the file; empty where there is only one.
    """

    block: Block
    smiles: int
    others: Sequence[int]
    file: str


@dataclass(frozen=True)
class Layout:
    """The other columns of all chunks: their names in the files, and those in the chunks."""

    columns: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, headers: Sequence[tuple[Sequence[str], str]], wanted: Sequence[str] | None = None) -> Layout:
        """Find the columns of several files, in the order in which they come up.

        Parameters
        ----------
        headers : sequence of (columns, str)
            The columns of each file, and which of them holds the repeat units.
        wanted : sequence of str, optional
            The columns to keep; all when not given.

        Raises
        ------
        UserError
            No file has one of those that are wanted.
        """
        others = tuple(dict.fromkeys(name for columns, smiles in headers for name in columns if name != smiles))
        reserved = ("line", "psmiles", "file") if len(headers) > 1 else ("line", "psmiles")
        named = free_names(("", *others), "", reserved=reserved)
        if wanted is not None:
            check_columns(wanted, others)
        keep = [at for at, name in enumerate(others) if wanted is None or name in wanted]
        return cls(tuple(others[at] for at in keep), tuple(named[at + 1] for at in keep))

    def places(self, columns: Sequence[str], smiles: str) -> tuple[int, ...]:
        """Return where the columns stand among those of a file; -1 for one that it lacks."""
        known = {name: at for at, name in enumerate(columns) if name != smiles}
        return tuple(known.get(name, -1) for name in self.columns)

    def read_of(self, columns: Sequence[str], smiles: str) -> list[str]:
        """Return the columns that are needed of a file."""
        return [smiles, *(name for name in self.columns if name in columns and name != smiles)]


def assemble(pieces: Iterable[Piece], names: Sequence[str], size: int, first_row: int = 0) -> Iterator[CandidateChunk]:
    """Cut pieces into chunks of ``size`` rows; the last one may be shorter."""
    chunk = _empty(first_row, names)
    for piece in pieces:
        block = piece.block
        psmiles, faults = _structures(block, block.cells[piece.smiles])
        at = 0
        while at < len(block):
            stop = min(len(block), at + size - len(chunk))
            chunk.lines.extend(block.lines[at:stop])
            chunk.psmiles.extend(psmiles[at:stop])
            chunk.faults.extend(faults[at:stop])
            for cells, place in zip(chunk.columns.values(), piece.others, strict=True):
                cells.extend(block.cells[place][at:stop] if place >= 0 else [""] * (stop - at))
            if piece.file:
                chunk.file_of_row.extend([piece.file] * (stop - at))
            at = stop
            if len(chunk) == size:
                yield chunk
                chunk = _empty(chunk.first_row + size, names)
    if len(chunk):
        yield chunk


def _empty(first_row: int, names: Sequence[str]) -> CandidateChunk:
    return CandidateChunk(first_row, [], [], {name: [] for name in names}, [])


def _structures(block: Block, cells: Sequence[Any]) -> tuple[list[str], list[Fault]]:
    """Return the structures as text, and the fault of each row."""
    faults = [NO_FAULT] * len(block)
    for position, fault in block.faults.items():
        faults[position] = fault
    kinds = set(map(type, cells))
    if kinds <= {str}:
        psmiles = [cell.strip() for cell in cells]
    else:
        psmiles = [_as_text(cell, position, faults) for position, cell in enumerate(cells)]
    if "\0" in "".join(psmiles):
        for position, text in enumerate(psmiles):
            if "\0" in text:
                psmiles[position] = text.replace("\0", "\\x00")
                faults[position] = ("NUL byte", f"character {text.index(chr(0)) + 1} of the structure is NUL")
    return psmiles, faults


def _as_text(cell: Any, position: int, faults: list[Fault]) -> str:
    """Return a structure as text; what is no text, in Parquet, is a fault."""
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            faults[position] = ("not UTF-8", f"byte {error.start + 1} (0x{cell[error.start]:02x}) is not UTF-8")
            return cell.decode("utf-8", errors="backslashreplace").strip()
    text = cell_text(cell)
    if text and not isinstance(cell, str):
        faults[position] = ("not text", f"{text[:_SHOWN]} is no text but of type {type(cell).__name__}")
    return text


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
