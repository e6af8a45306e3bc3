"""Tables in files, whole or not at all, and the columns people look at first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polyml.data.files import whole_file
from polyml.data.properties import Property
from polyml.data.table import PolymerTable
from polyml.errors import UserError

_TABLE_PARTS = ("rejects", "warnings", "duplicates")


def _write_npz(frame: pd.DataFrame, path: Path) -> None:
    """Write the features as one array, and the columns that tell the rows apart as arrays of their own."""
    rows = [name for name in frame if name == "line" or not pd.api.types.is_numeric_dtype(frame[name])]
    numbers = frame.drop(columns=rows)
    arrays: dict[str, Any] = {
        str(name): frame[name].to_numpy() if name == "line" else frame[name].astype(str).to_numpy(dtype=str)
        for name in rows
    }
    arrays |= {"features": numbers.to_numpy(dtype=np.float32), "names": np.array([str(name) for name in numbers])}
    with path.open("wb") as handle:
        np.savez_compressed(handle, **arrays)


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
    ".npz": _write_npz,
}


def check_suffix(path: Path, known: tuple[str, ...] = (".csv", ".parquet")) -> None:
    """Check that a table can be written to a file of this name.

    Raises
    ------
    UserError
        The name ends in something else.
    """
    if path.suffix not in known:
        raise UserError("unknown kind of output file", where=str(path), fix=f"let its name end in {', '.join(known)}")


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, Parquet or npz, by the end of its name."""
    check_suffix(path, tuple(_WRITERS))
    with whole_file(path) as temporary:
        _WRITERS[path.suffix](frame, temporary)


def save_table(table: PolymerTable, folder: Path) -> None:
    """Write a table of polymers: ``table.parquet`` to read again, and CSV files for people."""
    write_frame(table.frame, folder / "table.parquet")
    write_frame(table.frame, folder / "table.csv")
    for part in _TABLE_PARTS:
        write_frame(getattr(table, part), folder / f"{part}.csv")


def load_table(folder: Path, properties: Sequence[Property], source: str) -> PolymerTable:
    """Read what :func:`save_table` wrote; ``source`` is the file the polymers came from."""
    frame = pd.read_parquet(folder / "table.parquet")
    parts = {part: pd.read_csv(folder / f"{part}.csv", keep_default_na=False) for part in _TABLE_PARTS}
    return PolymerTable(frame, tuple(properties), **parts, source=source)


def summarize_leaderboard(board: pd.DataFrame) -> pd.DataFrame:
    """Choose the columns of a leaderboard that fit a terminal: the means, R² by property, the time to fit."""
    scores = [name for name in board if name in ("rmse", "mae", "r2", "r2_sd") or str(name).startswith("r2[")]
    table = board[["rank", "model", "family", *scores, "fit_seconds"]].dropna(axis="columns", how="all")
    failed = board["status"] != "ok"
    return (
        table.assign(status=board["status"].where(~failed, "failed: " + board["error"].astype(str)))
        if failed.any()
        else table
    )


def summarize_ranked(ranked: pd.DataFrame) -> pd.DataFrame:
    """Choose the columns of a ranked list that fit a terminal: the polymer, its properties, its class."""
    names = list(ranked.columns)
    first, last = names.index("canonical") + 1, names.index("similarity") + 1
    spread = {f"{name}{end}" for name in names for end in ("_std", "_lower", "_upper")}
    values = [name for name in names[first:last] if name not in spread]
    return ranked[["rank", "score", "psmiles", *values, *(name for name in ("polymer_class",) if name in names)]]
