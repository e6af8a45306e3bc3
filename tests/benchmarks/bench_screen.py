"""Speed of screening from file to ranked list, beside a bare RDKit loop on as many processes in the same run."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from rich.table import Table

from polyml.config import load_recipe
from polyml.data.catalog import embedded_path
from polyml.screening.screen import ScreenSpec, screen

PROCESSES = 2
FIVE_GASES, ONE = None, ["O2"]
SPEC = ScreenSpec(objectives=["log10(O2)"], constraints=["O2 >= 10"])
FINGERPRINT = {"features": ["ecfp_count"]}
# Many have measured one property; trees, of which each property has its own, cost as many times as much for five.
MODELS = [
    ("gp", FIVE_GASES, FINGERPRINT),
    ("mlp", FIVE_GASES, FINGERPRINT),
    ("lightgbm", ONE, FINGERPRINT),
    ("lightgbm", FIVE_GASES, FINGERPRINT),
    ("extra_trees", ONE, {**FINGERPRINT, "n_estimators": 300}),
    ("extra_trees", FIVE_GASES, {**FINGERPRINT, "n_estimators": 300}),
]


@pytest.fixture
def sample(tmp_path):
    """Write some rows of the embedded candidates; give the file and the texts."""

    def write(rows: int) -> tuple[Path, list[str]]:
        candidates = pd.read_parquet(embedded_path("candidates")).sample(rows, random_state=1)
        candidates.to_parquet(tmp_path / f"{rows}.parquet", index=False)
        return tmp_path / f"{rows}.parquet", candidates["psmiles"].tolist()

    return write


def shares(title: str, bare: list[float], rates: dict[str, float], aim: float) -> Table:
    """Lay out rates, each beside the mean of the bare loops right before and right after it."""
    table = Table("", "candidates/s", "bare, before and after", "share of bare", "aim", title=title)
    for (name, rate), (before, after) in zip(rates.items(), pairwise(bare), strict=True):
        share = rate / ((before + after) / 2)
        table.add_row(name, f"{rate:,.0f}", f"{before:,.0f}, {after:,.0f}", f"{share:.2f}", f">= {aim}")
    return table


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("rows", "models", "aim"), [(200_000, MODELS, 0.5), (40_000, [("gin", FIVE_GASES, {"max_epochs": 5})], 0.1)]
)
def test_speed_of_screening(sample, bare_rate, trained, show, tmp_path, rows, models, aim):
    file, texts = sample(rows)
    bare, rates = [bare_rate(texts[:60_000], PROCESSES)], {}
    for key, targets, params in models:
        model = trained(key, targets, **params)
        label = " ".join([key, targets[0] if targets else "5 gases", *(f"{k}={v}" for k, v in params.items())])
        start = time.perf_counter()
        summary = screen(file, model, SPEC, tmp_path / label, jobs=PROCESSES)
        rates[label] = summary.read / (time.perf_counter() - start)
        # The speed of a shared machine changes with the minute: the bare loop is measured around every screen.
        bare.append(bare_rate(texts[:60_000], PROCESSES))
        assert summary.read == rows
        assert summary.ranked > 0
    show(
        shares(
            f"{rows:,} candidates, {PROCESSES} processes, file to ranked list; bare: parse + Morgan", bare, rates, aim
        )
    )


@pytest.mark.benchmark
def test_the_whole_library_with_the_models_of_the_recipe(trained, show, tmp_path):
    recipe = load_recipe("gas_membranes")
    quick = trained(recipe.train.quick.key, **recipe.train.quick.params)
    accurate = trained(recipe.train.model, features=recipe.featurize.features)
    spec = recipe.screen.spec
    start = time.perf_counter()
    summary = screen("candidates", accurate, spec, tmp_path / "out", quick=quick, jobs=PROCESSES)
    seconds = time.perf_counter() - start
    table = Table("candidates", "shortlisted", "ranked", "seconds", "candidates/s", "aim", title="gas_membranes")
    cells = (summary.read, summary.shortlisted, summary.ranked, seconds, summary.read / seconds)
    table.add_row(*(f"{cell:,.0f}" for cell in cells), "< 180 s")
    show(table)
    assert summary.ranked == spec.top


@pytest.mark.benchmark
def test_time_of_help(show):
    def best(command: list[str]) -> float:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    bare = best([sys.executable, "-c", "pass"])
    shown = best([sys.executable, "-m", "polyml", "--help"])
    table = Table("", "seconds", title="start-up, best of 5")
    table.add_row("python -c pass", f"{bare:.3f}")
    table.add_row("polyml --help", f"{shown:.3f}")
    table.add_row("allowed: 3 x python + 0.3", f"{3 * bare + 0.3:.3f}")
    show(table)
    assert shown > 0
