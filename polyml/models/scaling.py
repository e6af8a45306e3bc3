"""Scaling for the models that measure distances: fitted on the training rows, safe far outside of them."""

from __future__ import annotations

from typing import Any

import numpy as np


def signed_root(x: np.ndarray) -> np.ndarray:
    """Return the square root with the sign of ``x``: tames counts and heavy-tailed descriptors.

    Examples
    --------
    >>> signed_root(np.array([4.0, -9.0]))
    array([ 2., -3.])
    """
    root: np.ndarray = np.sqrt(np.abs(x))
    return np.copysign(root, x, out=root)


def scaling_steps() -> list[Any]:
    """Return the steps that clip each feature to its training range and standardise it.

    Candidates of a screen can lie a hundred standard deviations away in one descriptor; clipped, such a value says no
    more than "beyond anything seen", and a linear model does not shoot off.
    """
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    return [MinMaxScaler(clip=True), StandardScaler()]


def with_scaled_target(*steps: Any) -> Any:
    """Chain ``steps`` into a regressor that sees its target standardised, so that penalties mean the same for all."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return TransformedTargetRegressor(regressor=make_pipeline(*steps), transformer=StandardScaler())


def chain(task: str, *steps: Any) -> Any:
    """Chain ``steps`` for a task: for regression with a standardised target, for classification as they are."""
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*steps) if task == "classification" else with_scaled_target(*steps)
