"""Small files of polymers for audits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyml.audit import Audit, AuditSpec, Finding, audit
from polyml.chem import RepeatUnit

SIDES = ("", "C", "CC", "CCC", "C(C)C", "OC", "OCC", "F", "Cl", "c1ccccc1", "C(=O)OC", "C(=O)OCC", "C#N", "CO")
CHAINS = ("*CC({})*", "*CCC({})*", "*OCC({})*", "*NC(=O)C({})*", "*C(=O)OCC({})*", "*Oc1ccc({})c(*)c1", "*SCC({})*")


def _polymers(n: int) -> list[str]:
    """Return ``n`` different polymers."""
    texts = [chain.format(side) if side else chain.replace("({})", "") for chain in CHAINS for side in SIDES]
    texts += [f"*{'C' * k}O*" for k in range(3, 40)] + [f"*{'C' * k}C(C)S*" for k in range(3, 60)]
    by_key = {RepeatUnit.parse(text).key: text for text in texts}
    assert len(by_key) >= n
    return list(by_key.values())[:n]


def _homologues() -> tuple[list[str], np.ndarray]:
    """Return 150 polymers in series of five that are much alike, with values that differ little within a series."""
    backbones, ends = ("CC", "OC", "SC", "NC(=O)CC", "C(=O)OCC"), ("C", "O", "F", "Cl", "C#N", "OC")
    series = [(b, e, k) for b in range(len(backbones)) for e in range(len(ends)) for k in range(4, 9)]
    noise = np.random.default_rng(1).normal(0, 3, len(series))
    values = [350 + 15 * b + 8 * e - 3 * k for b, e, k in series] + noise
    return [f"*{backbones[b]}({'C' * k}{ends[e]})*" for b, e, k in series], values.round(2)


def _smooth_tg(texts: Sequence[str], seed: int = 1, noise: float = 3.0) -> np.ndarray:
    """Return glass transition temperatures in kelvin that depend on the structure, with noise."""
    rng = np.random.default_rng(seed)
    rings = np.array([text.count("c1") for text in texts])
    size = np.array([RepeatUnit.parse(text).n_atoms for text in texts])
    values: np.ndarray = 330 + 20 * rings - 2.5 * size + rng.normal(0, noise, len(texts))
    return values.round(2)


@pytest.fixture(scope="session")
def polymers() -> Callable[[int], list[str]]:
    return _polymers


@pytest.fixture(scope="session")
def homologues() -> tuple[list[str], np.ndarray]:
    return _homologues()


@pytest.fixture(scope="session")
def smooth_tg() -> Callable[..., np.ndarray]:
    return _smooth_tg


@pytest.fixture(scope="session")
def checks() -> Callable[..., dict[str, Finding]]:
    return _checks


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes columns to a CSV file."""

    def call(name: str = "data.csv", **columns: Any) -> Path:
        path = tmp_path / name
        pd.DataFrame(columns).to_csv(path, index=False)
        return path

    return call


@pytest.fixture
def look() -> Callable[..., Audit]:
    """Return a function that audits files with three folds."""

    def call(*files: Path, **options: Any) -> Audit:
        from polyml.data.splits import SplitSpec

        spec = options.pop("spec", {})
        splits = (SplitSpec(folds=3), SplitSpec(kind="rows", folds=3))
        return audit(files, AuditSpec(**{"splits": splits, **spec}), **options)

    return call


def _checks(found: Audit, *severities: str) -> dict[str, Finding]:
    """Return findings by their check, of these severities or of all."""
    return {item.check: item for item in found.findings if not severities or item.severity in severities}
