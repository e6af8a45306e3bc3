"""What a prefilter costs: the accurate model is asked about some of the candidates that the quick one discards.

They are drawn by their row number, so that a run that is resumed draws the same ones. How many of them meet the
constraints, or would stand in the ranked list, says how many were lost among all that were discarded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.screening.spec import ScreenSpec

if TYPE_CHECKING:
    import pandas as pd

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
    {'estimate': 0.9, 'lower': 0.6201, 'upper': 0.9961}
    """
    if not checked or (not found and not wanted):
        return None
    lost = lost_ones(discarded, checked, wanted)
    recall = {name: found / max(found + lost[other], 1e-300) for name, other in _ENDS.items()}
    return {name: round(value, 4) for name, value in recall.items()}


_ENDS = {"estimate": "estimate", "lower": "upper", "upper": "lower"}  # the more are lost, the lower is the recall


def lost_ones(discarded: int, checked: int, wanted: int) -> dict[str, float]:
    """Estimate how many candidates of the wanted kind are among the discarded ones, with the ends of the interval."""
    from scipy.stats import binomtest

    interval = binomtest(wanted, checked).proportion_ci(LEVEL, method="exact")
    share = {"estimate": wanted / checked, "lower": float(interval.low), "upper": float(interval.high)}
    # What was checked is known; the shares are about the others.
    return {name: wanted + value * (discarded - checked) for name, value in share.items()}


def recall_of_top(
    scores: np.ndarray, ranked: np.ndarray, top: int, discarded: int, checked: int
) -> dict[str, float] | None:
    """Estimate which part of the list that the model proper alone would have ranked is in the ranked list.

    Had nothing been discarded, the list would go down to the score above which there are ``top`` candidates, those that
    were lost among them; what the ranked list holds down to there was found.

    Parameters
    ----------
    scores : ndarray of shape (m,)
        Of the checked candidates that would be ranked, each polymer once.
    ranked : ndarray of shape (n,)
        Of the ranked list, best first.
    top : int
        Length of the list; with fewer in it, it would have taken in every candidate.
    discarded, checked : int
        See :func:`estimate`.

    Examples
    --------
    >>> recall_of_top(np.array([9.0, 1.0]), np.array([10.0, 8.0, 7.0]), top=3, discarded=2, checked=2)["estimate"]
    0.6667
    """
    if not checked or not (len(ranked) or len(scores)):
        return None
    wanted = np.searchsorted(np.sort(-scores), -ranked, side="left")  # checked ones better than each of the ranked list
    recall = {}
    for name, other in _ENDS.items():
        everyone = lost_ones(discarded, checked, len(scores))[other]
        if len(ranked) + everyone <= top:
            recall[name] = len(ranked) / (len(ranked) + everyone)
            continue
        # How many candidates are as good as each of the ranked list: the more, the further down.
        reached = partial(_reached, wanted, discarded, checked, other)
        recall[name] = bisect_right(range(len(ranked)), float(top), key=reached) / top
    return {name: round(value, 4) for name, value in recall.items()}


def _reached(wanted: np.ndarray, discarded: int, checked: int, end: str, place: int) -> float:
    return place + 1 + lost_ones(discarded, checked, int(wanted[place]))[end]


def recall_of(
    counts: Mapping[str, int], checked: Sequence[tuple[float, str]], ranked: pd.DataFrame, spec: ScreenSpec
) -> dict[str, Any]:
    """Return what the summary of a screen says of its prefilter.

    Parameters
    ----------
    counts : mapping of str to int
        ``valid``, ``shortlisted``, ``passing``, ``checked`` and ``checked_passing``.
    checked : sequence of (float, str)
        Scores and keys of the checked candidates that would be ranked.
    ranked : DataFrame
        The ranked list, best first: ``score`` and ``canonical``.
    spec : ScreenSpec
        Of a Pareto front nothing is estimated.

    Notes
    -----
    Of the ranked list polymers are counted, of what passes rows. Where a library holds its polymers many times and few
    discarded rows are checked, their copies make the recall of the ranked list look worse than it is.
    """
    discarded, seen = counts["valid"] - counts["shortlisted"], counts["checked"]
    there = set(ranked["canonical"])
    lost = {key: score for score, key in checked if key not in there}  # a polymer that is ranked is not lost
    scores = np.array(list(lost.values()), dtype=float)
    of_list = recall_of_top(scores, ranked["score"].to_numpy(dtype=float), spec.top, discarded, seen)
    return {
        "discarded": discarded,
        "checked": seen,
        "passing": estimate(counts["passing"], discarded, seen, counts["checked_passing"])
        if spec.constraints
        else None,
        "ranked": None if spec.rank_by == "pareto" else of_list,
    }
