"""Scaling for the models that measure distances: fitted on the training rows, safe far outside of them."""

from __future__ import annotations

from typing import Any


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
