"""A table of polymers as the files of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from polyml.data.properties import Property
from polyml.data.table import PolymerTable
from polyml.data.writers import write_frame

_TABLE_PARTS = ("rejects", "warnings", "duplicates")


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
