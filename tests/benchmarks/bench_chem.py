"""Speed of the chemistry on one core, beside bare RDKit on the same polymers in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable

import pandas as pd
import pytest
from rdkit import Chem, RDLogger
from rdkit.Chem import rdFingerprintGenerator
from rich.console import Console
from rich.table import Table

from polyml.chem import RepeatUnit
from polyml.data.catalog import embedded_path
from polyml.errors import RepeatUnitError
from polyml.features import make_featurizer

ROWS = 4000
ROUNDS = 5


def readable(texts: list[str]) -> list[str]:
    kept = []
    for text in texts:
        try:
            RepeatUnit.parse(text)
        except RepeatUnitError:
            continue
        kept.append(text)
    return kept


def best_rates(works: dict[str, Callable[[], object]], rows: int) -> dict[str, float]:
    """Return rows a second of the fastest of a few rounds, the works in turns: a shared machine changes its speed."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: rows / min(found) for name, found in seconds.items()}


@pytest.mark.benchmark
def test_speed_of_periodic_chemistry() -> None:
    RDLogger.DisableLog("rdApp.*")
    column = pd.read_parquet(embedded_path("candidates"), columns=["psmiles"])["psmiles"]
    texts = readable(column.sample(ROWS, random_state=1).tolist())
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    ecfp = make_featurizer("ecfp_count")
    works: dict[str, Callable[[], object]] = {
        "bare RDKit: parse": lambda: [Chem.MolFromSmiles(text) for text in texts],
        "bare RDKit: parse + Morgan": lambda: [
            morgan.GetCountFingerprintAsNumPy(Chem.MolFromSmiles(text)) for text in texts
        ],
        "RepeatUnit.parse": lambda: [RepeatUnit.parse(text) for text in texts],
        "canonical key (parse included)": lambda: [RepeatUnit.parse(text).key for text in texts],
        "periodic ECFP (parse included)": lambda: ecfp.transform(texts),
    }
    rates = best_rates(works, len(texts))
    table = Table("", "units/s", "share of bare parse", title=f"{len(texts)} candidates, one core, best of {ROUNDS}")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / rates['bare RDKit: parse']:.2f}")
    Console().print(table)
    assert all(rate > 0 for rate in rates.values())
