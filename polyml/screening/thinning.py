"""Of one chunk, the candidates that may be in the ranked list: the best, or those that no other beats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyml.screening.chunk_rows import Keys, Work
from polyml.screening.pareto import pareto_front

Chosen = dict[str, tuple[int, int]]
"""By canonical key: the first candidate with it, and how many have it."""
_SLACK = 1e-4  # one polymer in two chunks has two scores that differ in the last digits of single precision


def just_below(score: float) -> float:
    """Return a score that the copies of a candidate with this score are not below."""
    return score - _SLACK * max(1.0, abs(score))


def best_of(work: Work, score: np.ndarray, keys: Keys, *, top: int, floor: float) -> Chosen:
    """Go down from the best score and keep new polymers until there are as many as the ranked list holds.

    Nothing below can be in the ranked list, so its canonical keys, the expensive part, are never made. What has about
    the last score is kept too: it may be a copy of a polymer of another chunk. Known polymers on the way are kept
    beside them, so that they can be counted.

    Parameters
    ----------
    work : Work
    score : ndarray of shape (n,)
        Larger is better, NaN has no rank.
    keys : Keys
    top : int
        Length of the ranked list.
    floor : float
        Scores below it cannot be in the list any more.
    """
    order = np.argsort(-score, kind="stable")  # equal scores stay in the order of the file, NaN goes last
    found: Chosen = {}
    new, end = 0, -np.inf
    for i in order[: int((score >= floor).sum())].tolist():
        if score[i] < end:
            break
        key = keys.of_passing(work.parsed[i])
        if key is None:
            continue
        first, copies = found.get(key, (i, 0))
        new += not copies and not keys.is_known(key)
        found[key] = (min(first, i), copies + 1)
        if new == top and end == -np.inf:
            end = just_below(float(score[i]))
    keys.done()
    return found


def front_of(work: Work, values: np.ndarray, keys: Keys, *, maximize: Sequence[bool]) -> Chosen:
    """Keep the new candidates that no other new one of the chunk beats in every objective, in their order.

    A known polymer keeps no other out; those that come up are kept beside the front, to be counted.

    Parameters
    ----------
    work : Work
    values : ndarray of shape (n, m)
        The objectives.
    keys : Keys
    maximize : sequence of bool, length m
    """
    made: dict[int, str] = {}
    left = np.arange(len(work))
    while True:
        front = left[pareto_front(values[left], maximize)]
        out = set()
        for i in [i for i in front.tolist() if i not in made]:
            key = keys.of_passing(work.parsed[i])
            if key is not None:
                made[i] = key
            if key is None or keys.is_known(key):
                out.add(i)
        if not out:
            break
        left = np.array([i for i in left.tolist() if i not in out], dtype=int)
    keys.done()
    found: Chosen = {}
    for i in sorted({*front.tolist()} | {i for i, key in made.items() if keys.is_known(key)}):
        first, copies = found.get(made[i], (i, 0))
        found[made[i]] = (first, copies + 1)
    return found
