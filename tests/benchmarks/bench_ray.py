"""Speed of screening on a Ray cluster of this machine, beside the engine for one machine on as many cores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from polyml.bundle import Bundle
from polyml.cluster import ray_cluster
from polyml.data.catalog import embedded_path, embedded_table
from polyml.models.catalog import make_model
from polyml.screening.screen import ScreenSpec, screen

pytest.importorskip("ray")
CORES = 2
ROWS = {100_000: 2, 500_000: 1}  # candidates, and rounds: what it takes to start weighs less in many
SPEC = ScreenSpec(objectives=['robeson("O2/N2")'], constraints=["O2 >= 10"])


@pytest.mark.benchmark
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(
    ("key", "params"),
    [("gp", {"features": ["ecfp_count"]}), ("extra_trees", {"features": ["ecfp_count"], "n_estimators": 300})],
)
def test_speed_of_screening_on_a_cluster(tmp_path: Path, key: str, params: dict[str, Any], rows: int) -> None:
    pd.read_parquet(embedded_path("candidates")).sample(rows, random_state=1).to_parquet(
        tmp_path / "candidates.parquet"
    )
    table = embedded_table("gas_permeability")
    model = make_model(key, **params).fit(table.psmiles, table.y)
    bundle = Bundle(
        model, table.properties, tuple(table.keys), tuple(table.psmiles), table.values, table.digest, seed=1
    )
    bundle.save(tmp_path / "model")
    rates: dict[str, float] = {}
    # In turns, and the best of each counts: the speed of a shared machine changes with the minute.
    for turn in range(ROWS[rows]):
        for engine in ("local", "ray"):
            rate = rows / seconds(tmp_path, engine, f"{engine}-{turn}")
            rates[engine] = max(rates.get(engine, 0.0), rate)
        with ray_cluster(jobs=CORES):
            rate = rows / seconds(tmp_path, "ray", f"up-{turn}")
            rates["ray, cluster up before"] = max(rates.get("ray, cluster up before", 0.0), rate)
    ranked = [(tmp_path / name / "ranked.csv").read_bytes() for name in ("local-0", "ray-0", "up-0")]
    assert ranked[0] == ranked[1] == ranked[2]
    show(key, rows, rates)


def seconds(folder: Path, engine: str, name: str) -> float:
    """Screen, and return the time it takes, all that there is to start included."""
    started = time.perf_counter()
    screen(folder / "candidates.parquet", folder / "model", SPEC, folder / name, jobs=CORES, engine=engine)  # type: ignore[arg-type]
    return time.perf_counter() - started


def show(key: str, rows: int, rates: dict[str, float]) -> None:
    shown = Table(f"{key}: {rows:,} candidates on {CORES} cores", "candidates/s", "share of local")
    for name, rate in rates.items():
        shown.add_row(name, f"{rate:,.0f}", f"{rate / rates['local']:.2f}")
    Console(width=100).print(shown)
