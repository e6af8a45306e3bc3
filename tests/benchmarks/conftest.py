"""What the benchmarks of screening share: trained models, the bare loop, tables on the terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem, RDLogger
from rdkit.Chem import rdFingerprintGenerator
from rich.console import Console
from rich.table import Table

from polyml.bundle import Bundle
from polyml.data.catalog import embedded_table
from polyml.models.catalog import make_model


def bare_loop(texts: list[str]) -> int:
    """Parse and fingerprint with RDKit alone; what it cannot parse is passed over."""
    RDLogger.DisableLog("rdApp.*")
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    mols = (Chem.MolFromSmiles(text) for text in texts)
    return sum(morgan.GetFingerprint(mol) is not None for mol in mols if mol is not None)


@pytest.fixture
def bare_rate() -> Callable[[list[str], int], float]:
    """Return the candidates a second of the bare loop, on so many processes that are up before the clock starts."""

    def measure(texts: list[str], processes: int) -> float:
        chunks = [texts[i : i + 2000] for i in range(0, len(texts), 2000)]
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(bare_loop, chunks[:processes]))
            start = time.perf_counter()
            list(pool.map(bare_loop, chunks))
            return len(texts) / (time.perf_counter() - start)

    return measure


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that trains a model on the embedded gas set, of all gases or some, and gives its folder."""

    def train(key: str, targets: list[str] | None = None, **params: Any) -> Path:
        table = embedded_table("gas_permeability", targets)
        model = make_model(key, **params).fit(table.psmiles, table.y)
        seen = (tuple(table.keys), tuple(table.psmiles), table.values)
        folder = tmp_path / "models" / f"{key} {len(list(tmp_path.glob('models/*')))}"
        Bundle(model, table.properties, *seen, table.digest, seed=1).save(folder)
        return folder

    return train


@pytest.fixture
def show() -> Callable[[Table], None]:
    """Return what prints a table, with how busy the machine is meanwhile."""

    def write(table: Table) -> None:
        table.caption = f"load of the machine in the last minute {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
        Console(width=110).print(table)

    return write
