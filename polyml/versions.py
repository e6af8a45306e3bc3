"""Versions of what the numbers depend on."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import polyml

LIBRARIES = (
    *("numpy", "pandas", "scipy", "scikit-learn", "rdkit", "torch", "torch-geometric", "lightning", "lightgbm"),
    *("xgboost", "optuna", "mlflow"),
)
"""The libraries behind features, models and runs."""
NUMERICAL = ("polyml", "numpy", "scipy", "scikit-learn", "rdkit", "torch", "torch-geometric", "lightgbm", "xgboost")
"""Those whose version can change the last digit of a prediction; the others only report, store or search."""


@cache
def installed_versions() -> dict[str, str]:
    """Return the versions of polyml, of Python and of :data:`LIBRARIES`, as far as they are installed."""
    found = {"polyml": polyml.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an extra, or one that a slim environment does without
            continue
    return found
