"""The best candidates of many chunks, or their Pareto front, in whatever order the chunks are finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from polyml.screening.chunk_rows import KNOWN, PASSES
from polyml.screening.pareto import pareto_front
from polyml.screening.screener import objective_name
from polyml.screening.thinning import just_below

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class BestList:
    """The best polymers so far, each once; its memory is that of the ranked list.

    A polymer stands with the first of its rows. Equal scores stay in the order of the input.

    Parameters
    ----------
    top : int
        Length of the ranked list. Known polymers that come up above its last place are counted beside it.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._best: pd.DataFrame | None = None
        self._is_full = False

    @property
    def floor(self) -> float:
        """A score below which no candidate can be in the list any more."""
        if self._best is None or not self._is_full:
            return -np.inf
        return just_below(float(self._best["value:score"].iloc[-1]))

    def add(self, table: pa.Table) -> None:
        """Take in the candidates of a chunk that may be in the list, whatever else stands in its table."""
        import pandas as pd

        new = _rows(table, [PASSES, KNOWN], self.floor)
        if self._best is not None and new.empty:
            return
        both = _each_once(new if self._best is None else pd.concat([self._best, new], ignore_index=True))
        both = both.sort_values(["value:score", "row"], ascending=[False, True], kind="stable", ignore_index=True)
        passing = np.flatnonzero((both["outcome"] == PASSES).to_numpy())
        self._is_full = len(passing) >= self._top
        self._best = both.iloc[: passing[self._top - 1] + 1] if self._is_full else both

    def result(self) -> tuple[pd.DataFrame, dict[str, int]]:
        """Return the list, best first, and how many rows it passed over: known polymers, and copies of better rows."""
        import pandas as pd

        if self._best is None:
            return pd.DataFrame(), {"known": 0, "duplicate": 0}
        passing = self._best["outcome"] == PASSES
        known = int(self._best.loc[~passing, "copies"].sum())
        duplicate = int((self._best.loc[passing, "copies"] - 1).sum())
        return self._best[passing].reset_index(drop=True), {"known": known, "duplicate": duplicate}


class FrontList:
    """The Pareto front so far: the polymers that no other beats in every objective, each once.

    Parameters
    ----------
    maximize : sequence of bool
        Whether more is better, for each objective.
    top : int
        Length of the ranked list, which is ordered by the score; the front itself is kept whole.
    """

    floor = -np.inf

    def __init__(self, maximize: Sequence[bool], top: int) -> None:
        self._maximize, self._top = maximize, top
        self._front: pd.DataFrame | None = None
        self._known: pd.DataFrame | None = None  # training polymers that nothing on the front beats

    def add(self, table: pa.Table) -> None:
        """Take in the front of a chunk, whatever else stands in its table."""
        import pandas as pd

        new = _rows(table, [PASSES])
        both = new if self._front is None else pd.concat([self._front, new], ignore_index=True)
        both = _each_once(both)
        front = pareto_front(self._values(both), self._maximize)
        self._front = both[front].reset_index(drop=True)
        known = _rows(table, [KNOWN])
        known = known if self._known is None else pd.concat([self._known, known], ignore_index=True)
        self._known = known[self._unbeaten(known)].reset_index(drop=True)

    def _values(self, rows: pd.DataFrame) -> np.ndarray:
        names = [f"value:{objective_name(i)}" for i in range(len(self._maximize))]
        return np.asarray(rows[names].to_numpy(dtype=float))

    def _unbeaten(self, known: pd.DataFrame) -> np.ndarray:
        """Return which rows nothing on the front beats, each by itself."""
        sign = np.where(self._maximize, 1.0, -1.0)
        front = self._values(known.iloc[:0] if self._front is None else self._front) * sign
        values = self._values(known) * sign
        beaten = [bool(((front >= row).all(axis=1) & (front > row).any(axis=1)).any()) for row in values]
        return ~np.array(beaten, dtype=bool)

    def result(self) -> tuple[pd.DataFrame, dict[str, int]]:
        """Return the front, best score first, and how many rows it passed over; see :meth:`BestList.result`."""
        import pandas as pd

        if self._front is None:
            return pd.DataFrame(), {"known": 0, "duplicate": 0, "front": 0}
        ranked = self._front.sort_values(
            ["value:score", "row"], ascending=[False, True], kind="stable", ignore_index=True
        )
        duplicate = int((ranked["copies"] - 1).sum())
        known = 0 if self._known is None else int(self._known["copies"].sum())
        counts = {"known": known, "duplicate": duplicate, "front": len(ranked)}
        return ranked.head(self._top), counts


def _rows(table: pa.Table, outcomes: Sequence[str], floor: float = -np.inf) -> pd.DataFrame:
    """Return the rows of these outcomes whose score has a value, and is not below the floor."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pc.is_in(table["outcome"], pa.array(outcomes))
    wanted = pc.and_(wanted, pc.is_finite(table["value:score"]))
    wanted = pc.and_(wanted, pc.greater_equal(table["value:score"], floor))
    return table.filter(wanted).drop_columns(["reason", "message"]).to_pandas(types_mapper=text_types)


def _each_once(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first row of each polymer, in the order of the input, with the number of its copies."""
    rows = rows.sort_values("row", kind="stable", ignore_index=True)
    copies = rows.groupby("key", sort=False)["copies"].sum()
    rows = rows.drop_duplicates("key", ignore_index=True)
    return rows.assign(copies=rows["key"].map(copies).astype("int64"))


def text_types(kind: pa.DataType) -> object:
    """Return the type that pandas is to give to a column of text: missing cells stay missing."""
    import pandas as pd
    import pyarrow as pa

    return pd.StringDtype(na_value=np.nan) if pa.types.is_string(kind) else None
