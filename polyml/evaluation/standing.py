"""How models stand against the best of a comparison, read off the paired tests."""

from __future__ import annotations

import math

import pandas as pd

from polyml.evaluation.pairs import LOG_ERRORS
from polyml.evaluation.stats import BETTER, EQUAL, LEVEL, UNDECIDED

BEST, WORSE, PROBABLY_WORSE, TOO_FEW = "best", "worse", "probably worse", "too few folds"
"""What is said of a model besides "practically equal" and "undecided"."""
FEWEST = 3
"""Folds below which a test that sees no difference says nothing: two scores have hardly a spread to compare with."""


def standing(tests: pd.DataFrame, best: str, metric: str, prop: str) -> dict[str, str]:
    """Say how each model stands against the best, on the score that decides the order.

    "worse": the corrected resampled t-test finds a difference in favour of the best (p < .05, adjusted by Holm over
    all models). Where R² or an error decides, the logarithm of the error is tested, see
    :data:`polyml.evaluation.pairs.LOG_ERRORS`. "practically equal": the Bayesian test finds the difference of the
    deciding score negligible (P > .95), even where a t-test sees it. "probably worse": the Bayesian test of what
    the t-test is of finds the best ahead (P > .95), but among so many models some would be by luck. "undecided":
    none of these; the folds cannot tell. "too few folds": the same of fewer than :data:`FEWEST`, with which
    only the bootstrap intervals are left to look at. Empty where no test can be made.

    Parameters
    ----------
    tests : DataFrame
        From :func:`polyml.evaluation.pairs.paired_tests`.
    best, metric, prop : str
        The first model, and the score that decides the order: of a property, or the mean.
    """
    chosen = tests[(tests["model_a"] == best) & (tests["property"] == prop)]
    own = chosen[chosen["metric"] == metric].set_index("model_b")
    logs = chosen[chosen["metric"] == LOG_ERRORS.get(metric, metric)].set_index("model_b")
    return {best: BEST} | {str(label): _standing(own.loc[label], logs.loc[label]) for label in own.index}


def _standing(own: pd.Series, logs: pd.Series) -> str:
    """Read the tests of the best model (A) against another (B): of the deciding score, and of what the t-test is of."""
    undecided = TOO_FEW if logs["folds"] < FEWEST else UNDECIDED
    if own["verdict"] == EQUAL:
        return EQUAL
    if math.isnan(logs["p_holm_best"]):
        return TOO_FEW if undecided == TOO_FEW else ""
    if logs["better"] != logs["model_a"]:
        return undecided
    return WORSE if logs["p_holm_best"] < LEVEL else PROBABLY_WORSE if logs["verdict"] == BETTER else undecided
