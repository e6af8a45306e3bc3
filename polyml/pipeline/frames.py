"""A table of polymers as the files of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from polyml.data.properties import Property
from polyml.data.table import REPORTS, PolymerTable
from polyml.data.writers import write_frame


def save_table(table: PolymerTable, folder: Path) -> None:
    """Write a table of polymers: ``table.parquet`` to read again, and CSV files for people."""
    write_frame(table.frame, folder / "table.parquet")
    write_frame(table.frame, folder / "table.csv")
    table.save_reports(folder)


def load_table(folder: Path, properties: Sequence[Property], source: str) -> PolymerTable:
    """Read what :func:`save_table` wrote; ``source`` is the file the polymers came from."""
    frame = pd.read_parquet(folder / "table.parquet")
    parts = {part: pd.read_csv(folder / f"{part}.csv", keep_default_na=False) for part in REPORTS}
    known = tuple(item.with_classes(frame[item.name]) for item in properties)
    return PolymerTable(frame, known, **parts, source=source)
