"""The best candidates of many chunks, whatever the order in which the chunks are finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polyml.screening.worker import KNOWN, PASSES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SLACK = 1e-4  # one polymer in two chunks has two scores that differ in the last digits of single precision


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
        last = float(self._best["value:score"].iloc[-1])
        return last - _SLACK * max(1.0, abs(last))

    def add(self, table: pa.Table) -> None:
        """Take in the candidates of a chunk that may be in the list, whatever else stands in its table."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pc.is_in(table["outcome"], pa.array([PASSES, KNOWN]))
        if self._best is not None:
            if not pc.any(wanted).as_py():
                return
            wanted = pc.and_(wanted, pc.greater_equal(table["value:score"], self.floor))
        wanted = pc.and_(wanted, pc.is_finite(table["value:score"]))
        new = table.filter(wanted).drop_columns(["reason", "message"]).to_pandas(types_mapper=_types)
        both = new if self._best is None else pd.concat([self._best, new], ignore_index=True)
        both = both.sort_values("row", kind="stable", ignore_index=True)
        copies = both.groupby("key", sort=False)["copies"].sum()
        both = both.drop_duplicates("key")
        both["copies"] = both["key"].map(copies).astype("int64")
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


def _types(kind: pa.DataType) -> object:
    import pandas as pd
    import pyarrow as pa

    return pd.StringDtype(na_value=np.nan) if pa.types.is_string(kind) else None
