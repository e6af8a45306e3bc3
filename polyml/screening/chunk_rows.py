"""The candidates of one chunk on their way: those still in the race, those that are kept, those that are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.data.readers import CandidateChunk, cell_text
from polyml.row_faults import Parsed, describe, parse_all
from polyml.screening.pool import WHOLE, Marks
from polyml.screening.spec import Columns

if TYPE_CHECKING:
    import pyarrow as pa

Rejected = dict[int, tuple[str, str]]  # position in the chunk -> reason and message
REFUSED, DISCARDED, FAILS, NO_VALUE, KNOWN, PASSES = "refused", "prefilter", "fails", "no value", "known", "passes"
"""What becomes of a candidate; see :class:`polyml.screening.shards.ChunkResult`."""
_SHOWN = 500  # characters of a refused text that are worth keeping


@dataclass
class Work:
    """The candidates of a chunk that are still in the race, with their columns."""

    parsed: Parsed
    columns: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.parsed)

    @property
    def units(self) -> list[Any]:
        """Their repeat units."""
        return [unit for _, unit in self.parsed]

    def select(self, mask: np.ndarray) -> Work:
        """Return those that a mask of shape (n,) lets pass."""
        kept = [item for item, keep in zip(self.parsed, mask.tolist(), strict=True) if keep]
        return Work(kept, {name: values[mask] for name, values in self.columns.items()})


@dataclass
class Kept:
    """Rows of a chunk that go into its table.

    Attributes
    ----------
    rows : list of int
        Positions in the chunk.
    columns : dict of str to ndarray
        Values of the first of them, of all or as many as were predicted.
    keys, outcomes, reasons : list of str
    copies : list of int
        Rows of the chunk that are the same polymer.
    passing : list of int
        All rows that meet the constraints, whether they are kept or not.
    """

    rows: list[int]
    columns: dict[str, Any]
    keys: list[str]
    outcomes: list[str]
    reasons: list[str]
    copies: list[int]
    passing: list[int]


@dataclass
class Keys:
    """Makes canonical keys, the expensive part, and rejects the candidates that have none.

    Attributes
    ----------
    rejected : dict
        Gets the rows that are refused.
    marks : Marks
        Gets the row that is worked on.
    counts : dict of str to int
        Those that are refused had been counted.
    is_known : callable
        Whether a key is that of a polymer that is not to be ranked.
    passed : sequence of str
        Names of the counts that a candidate is in which meets all constraints.
    """

    rejected: Rejected
    marks: Marks
    counts: dict[str, int]
    is_known: Callable[[str], bool]
    passed: Sequence[str]

    def of(self, item: tuple[int, Any]) -> str | None:
        """Return the key of a candidate, None where it is refused."""
        row, unit = item
        self.marks[0] = row
        try:
            return str(unit.key)
        except Exception as error:  # one row, never the run
            self.rejected[row] = ("canonical key", describe(error))
            return None

    def of_passing(self, item: tuple[int, Any]) -> str | None:
        """Return the key of a candidate that meets all constraints, None where it is refused and not counted more."""
        key = self.of(item)
        for name in self.passed if key is None else ():
            self.counts[name] -= 1
        return key

    def done(self) -> None:
        """Tell that no single row is worked on any more."""
        self.marks[0] = WHOLE

    def readable(self, work: Work) -> Work:
        """Return the candidates that have a key, which is known from here on."""
        readable = [self.of(item) is not None for item in work.parsed]
        self.done()
        return work.select(np.array(readable, dtype=bool))


def parsed_chunk(chunk: CandidateChunk, excluded: Mapping[int, tuple[str, str]], marks: Marks) -> tuple[Work, Rejected]:
    """Read the structures of a chunk; return those that can be read, and why the others cannot."""
    rejected = {row: fault for row, fault in enumerate(chunk.faults) if fault[0]} | dict(excluded)
    parsed, refused = parse_all(chunk.psmiles, skip=rejected, mark=marks.__setitem__)
    marks[0] = WHOLE
    return Work(parsed), rejected | {row: (error.reason, error.what) for row, error in refused.items()}


def chunk_table(chunk: CandidateChunk, kept: Kept, rejected: Rejected, names: list[str], *, in_order: bool) -> pa.Table:
    """Lay out the kept and the refused rows.

    Parameters
    ----------
    chunk, kept, rejected
    names : list of str
        Columns with values, the same for every chunk.
    in_order : bool
        Whether the rows stand as in the input; else the kept ones come first.
    """
    import pyarrow as pa

    refused = sorted(rejected)
    rows = [*kept.rows, *refused]
    gap = len(refused)
    texts = [chunk.psmiles[row] for row in kept.rows] + [_shown(chunk.psmiles[row]) for row in refused]
    columns: dict[str, Any] = {
        "row": pa.array([chunk.first_row + row for row in rows], pa.int64()),
        **({"file": _texts([chunk.file_of_row[row] for row in rows])} if chunk.file_of_row else {}),
        "line": pa.array([chunk.lines[row] for row in rows], pa.int64()),
        "psmiles": _texts(texts),
        "key": pa.array([*kept.keys, *[None] * gap], pa.string()),
        "outcome": pa.array([*kept.outcomes, *[REFUSED] * gap], pa.string()),
        "reason": _texts([*kept.reasons, *(rejected[row][0] for row in refused)]),
        "message": _texts([*[""] * len(kept.rows), *(rejected[row][1] for row in refused)]),
        "copies": pa.array([*kept.copies, *[1] * gap], pa.int32()),
    }
    columns |= {f"value:{name}": _padded(kept.columns.get(name), len(kept.rows), gap) for name in names}
    columns |= {f"input:{n}": _texts([cell_text(cells[row]) for row in rows]) for n, cells in chunk.columns.items()}
    table = pa.table(columns)
    return table.sort_by("row") if in_order else table


def _padded(values: Any, length: int, gap: int) -> pa.Array:
    """Return a column whose last ``gap`` rows, or all, have no value."""
    import pyarrow as pa

    cells = np.full(length, np.nan) if values is None else np.asarray(values)
    if cells.dtype.kind == "f":
        return pa.array(np.concatenate([cells, np.full(length + gap - len(cells), np.nan)]), pa.float64())
    return pa.array([*cells.tolist(), *[None] * (length + gap - len(cells))], pa.string())


def _texts(cells: list[str]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(cells, pa.string())
    except UnicodeEncodeError:  # half a surrogate pair has no UTF-8
        return pa.array([cell.encode("utf-8", "backslashreplace").decode() for cell in cells], pa.string())


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
