"""What a prefilter costs: the accurate model is asked about some of the candidates that the quick one discards.

They are drawn by their row number, so that a run that is resumed draws the same ones. How many of them meet the
constraints, or would stand in the ranked list, says how many were lost among all that were discarded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyml.screening.spec import ScreenSpec

LEVEL = 0.95


def drawn(rows: np.ndarray, share: float) -> np.ndarray:
    """Return which rows are drawn, bool of shape (n,), about ``share`` of them: by a hash of the row number.

    Examples
    --------
    >>> float(drawn(np.arange(100_000), 0.01).mean().round(3)), bool(drawn(np.arange(10), 1.0).all())
    (0.01, True)
    """
    mixed = (np.asarray(rows, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    result: np.ndarray = (mixed >> np.uint64(11)).astype(float) / 2.0**53 < share
    return result


def estimate(found: int, discarded: int, checked: int, wanted: int) -> dict[str, float] | None:
    """Estimate the recall of a prefilter.

    Parameters
    ----------
    found : int
        Candidates of the wanted kind that it passed on.
    discarded, checked, wanted : int
        Candidates that it discarded, how many of these the accurate model has seen, and how many of those were of the
        wanted kind.

    Returns
    -------
    dict of str to float, optional
        ``estimate``, and the ends of its 95 % interval, ``lower`` and ``upper``; None where nothing was checked, or
        there is nothing to find.

    References
    ----------
    Clopper and Pearson: The use of confidence or fiducial limits illustrated in the case of the binomial.
    Biometrika 26, 404 (1934).

    Examples
    --------
    >>> estimate(found=900, discarded=100_000, checked=1000, wanted=1)
    {'estimate': 0.9, 'lower': 0.6182, 'upper': 0.9972}
    """
    from scipy.stats import binomtest

    if not checked or (not found and not wanted):
        return None
    interval = binomtest(wanted, checked).proportion_ci(LEVEL, method="exact")
    # What was checked is known; the shares are about the others.
    lost = {
        "estimate": wanted / checked,
        "lower": float(interval.high),
        "upper": float(interval.low),
    }
    recall = {name: found / max(found + max(share * discarded, wanted), 1e-300) for name, share in lost.items()}
    return {name: round(value, 4) for name, value in recall.items()}


def recall_of(
    counts: Mapping[str, int], scores: Sequence[float], ranked: Sequence[float], spec: ScreenSpec
) -> dict[str, Any]:
    """Return what the summary of a screen says of its prefilter.

    Parameters
    ----------
    counts : mapping of str to int
        ``valid``, ``shortlisted``, ``passing``, ``checked`` and ``checked_passing``.
    scores : sequence of float
        Of the checked candidates that meet the constraints.
    ranked : sequence of float
        Scores of the ranked list, best first.
    spec : ScreenSpec
        A list shorter than ``top`` would have taken in every candidate. Of a Pareto front nothing is estimated.
    """
    discarded, checked = counts["valid"] - counts["shortlisted"], counts["checked"]
    last = ranked[-1] if len(ranked) >= spec.top else -np.inf
    better = int(np.sum(np.asarray(scores, dtype=float) > last))
    return {
        "discarded": discarded,
        "checked": checked,
        "passing": estimate(counts["passing"], discarded, checked, counts["checked_passing"]),
        "ranked": None if spec.rank_by == "pareto" else estimate(len(ranked), discarded, checked, better),
    }
