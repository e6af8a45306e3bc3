"""Polymers of the embedded sets, read once."""

from __future__ import annotations

import pandas as pd
import pytest

from polyml.chem import RepeatUnit
from polyml.data.catalog import embedded_path
from polyml.errors import RepeatUnitError


def read_units(texts: list[str]) -> list[RepeatUnit]:
    """Parse texts and leave out the refused ones."""
    units = []
    reasons = set()
    for text in texts:
        try:
            units.append(RepeatUnit.parse(text))
        except RepeatUnitError as error:
            reasons.add(error.reason)
    assert reasons <= {"attachment points", "network"}
    return units


@pytest.fixture(scope="session")
def gas_texts() -> list[str]:
    return pd.read_csv(embedded_path("gas_permeability"))["psmiles"].tolist()


@pytest.fixture(scope="session")
def gas_units(gas_texts: list[str]) -> list[RepeatUnit]:
    return read_units(gas_texts)


@pytest.fixture(scope="session")
def candidate_texts() -> pd.Series:
    return pd.read_parquet(embedded_path("candidates"), columns=["psmiles"])["psmiles"]
