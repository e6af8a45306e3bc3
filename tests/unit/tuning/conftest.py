"""A small table of polymers to tune on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from polyml.data import PolymerTable, Property, read_table
from polyml.models.checks import TOY_POLYMERS, toy_targets


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "toy.csv"
    pd.DataFrame({"psmiles": TOY_POLYMERS, "a": toy_targets()[:, 0], "b": toy_targets()[:, 1]}).to_csv(
        path, index=False
    )
    return path


@pytest.fixture
def table(csv: Path) -> PolymerTable:
    return read_table(csv, [Property(name="a"), Property(name="b")])
