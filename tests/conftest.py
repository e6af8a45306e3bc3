"""What every test gets: one thread, caches and tracking stores of its own, and no progress bars."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before any numerical library is imported: tests run side by side, and more threads only get in each other's way.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests out of the user's cache and tracking store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYML_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("POLYML_JOBS", raising=False)
        yield


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gas_sample(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes ``rows`` of the embedded gas set to a CSV file."""

    def write(rows: int = 60, name: str = "gas.csv") -> Path:
        from polyml.data.catalog import load_embedded

        path = tmp_path / name
        load_embedded("gas_permeability").sample(rows, random_state=1).to_csv(path, index=False)
        return path

    return write
