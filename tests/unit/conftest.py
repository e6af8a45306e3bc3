"""A small trained bundle, and the end of a process: what several rooms work with."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import numpy as np
import psutil
import pytest

from polyml.bundle import Bundle
from polyml.chem import RepeatUnit
from polyml.data.properties import Property
from polyml.models.catalog import make_model

POLYMERS = ["*CC*", "*OCC*", "*CC(*)c1ccccc1", "*CC(*)C", "*CC(*)Cl", "*[Si](C)(C)O*", "*CC(*)C#N"]
PROPERTIES = (Property(name="O2", unit="Barrer", transform="log10"), Property(name="Tg", unit="K"))


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    """Return a function that trains a model of the catalog on seven polymers with two properties."""

    def make(model: str = "pca_ridge") -> Bundle:
        y = np.column_stack([np.linspace(-1, 2, len(POLYMERS)), np.linspace(200, 400, len(POLYMERS))])
        y[1, 0] = np.nan
        return Bundle(
            model=make_model(model).fit(POLYMERS, y),
            properties=PROPERTIES,
            keys=tuple(RepeatUnit.parse(text).key for text in POLYMERS),
            psmiles=tuple(POLYMERS),
            values=np.column_stack([item.from_model(y[:, i]) for i, item in enumerate(PROPERTIES)]),
            data_digest="abc",
            seed=7,
            scores={"rmse": 0.5, "folds": 5},
        )

    return make


@pytest.fixture
def kill() -> Callable[[subprocess.Popen], tuple[int, list[psutil.Process]]]:
    """Return a function that kills a process alone: how many it had started, and which of these live on."""

    def act(process: subprocess.Popen) -> tuple[int, list[psutil.Process]]:
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(timeout=10)
        _, alive = psutil.wait_procs(started, timeout=10)
        for left in alive:
            left.kill()
        return len(started), alive

    return act
