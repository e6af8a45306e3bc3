"""Models over several data sets: average ranks, and which of their differences are more than luck.

References
----------
Friedman, M. The use of ranks to avoid the assumption of normality. J. Am. Stat. Assoc. 32, 675-701 (1937).
Pesarin, F., Salmaso, L. Permutation Tests for Complex Data. Wiley (2010).
Nemenyi, P. B. Distribution-free multiple comparisons. PhD thesis, Princeton University (1963).
Demsar, J. Statistical comparisons of classifiers over multiple data sets. Journal of Machine Learning Research 7, 1-30
(2006).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd

from polyml.evaluation.metrics import METRICS
from polyml.evaluation.stats import LEVEL

_ALL_ORDERS = 50_000  # orders up to which all are looked at
_DRAWS, _AT_ONCE = 20_000, 1_000  # else so many are drawn


@dataclass(frozen=True)
class RankComparison:
    """Average ranks of k models on N data sets.

    Attributes
    ----------
    ranks : Series
        Average rank by model, best (lowest) first; ties share the mean of their ranks.
    data_sets : int
    friedman, friedman_p : float
        Friedman's chi-squared, corrected for ties, and its p value over permutations of the ranks within each data
        set: right for any number of data sets, as that of the chi-squared distribution is not for a few. NaN for fewer
        than three models or two data sets.
    critical_difference : float
        Average ranks that are closer than this cannot be told apart (Nemenyi, level 5 %).
    left_out : tuple of str
        Models without a score on one of the data sets.
    """

    ranks: pd.Series
    data_sets: int
    friedman: float
    friedman_p: float
    critical_difference: float
    left_out: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether there is any difference among the models."""
        return self.friedman_p < LEVEL

    def groups(self) -> list[tuple[str, ...]]:
        """Return the largest sets of neighbours in the order whose ranks are closer than the critical difference.

        Examples
        --------
        >>> table = pd.DataFrame({"a": [1.0] * 9, "b": [2.0] * 9, "c": [3.0] * 9}, index=range(9)).T
        >>> compare_ranks(table, "rmse").groups()
        [('a', 'b'), ('b', 'c')]
        """
        names, values = list(self.ranks.index), self.ranks.to_numpy()
        found: list[tuple[int, int]] = []
        for first in range(len(names)):
            last = first + int((values[first:] - values[first] < self.critical_difference).sum()) - 1
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return [tuple(names[first : last + 1]) for first, last in found]

    def tied_with_best(self) -> tuple[str, ...]:
        """Return the models that cannot be told from the best, without it."""
        near = self.ranks[self.ranks - self.ranks.iloc[0] < self.critical_difference]
        return tuple(str(name) for name in near.index[1:])

    def table(self) -> pd.DataFrame:
        """Return model, average_rank, the distance to the best, and whether the two can be told apart."""
        ties = {str(self.ranks.index[0]), *self.tied_with_best()}
        return pd.DataFrame(
            {
                "model": list(self.ranks.index),
                "average_rank": self.ranks.to_numpy(),
                "behind_best": (self.ranks - self.ranks.iloc[0]).to_numpy(),
                "distinguishable_from_best": [name not in ties for name in self.ranks.index],
            }
        )


def compare_ranks(scores: pd.DataFrame, metric: str) -> RankComparison:
    """Rank models on several data sets and test whether the ranks differ.

    Parameters
    ----------
    scores : DataFrame
        Models (rows) by data sets (columns); models that lack a score are left out.
    metric : str
        Name of the score, which says whether more is better.

    Returns
    -------
    RankComparison

    Examples
    --------
    >>> errors = pd.DataFrame({"egc": [0.5, 0.6, 1.5], "egb": [0.5, 0.4, 2.0], "eea": [0.3, 0.4, 1.1]},
    ...                       index=["gp", "svm", "mean"])
    >>> found = compare_ranks(errors, "rmse")
    >>> found.ranks.round(3).to_dict(), round(found.friedman, 3)
    ({'gp': 1.333, 'svm': 1.667, 'mean': 3.0}, 4.667)
    """
    complete = scores.dropna()
    better_first = METRICS[metric].direction == "minimize"
    # Sixteen digits of a score decide nothing: a tie must not be broken by rounding errors.
    ranked = complete.map(lambda value: float(f"{value:.12g}")).rank(axis=0, ascending=better_first)
    ranks = ranked.mean(axis=1).sort_values(kind="stable")
    chi2, p = _friedman(ranked)
    left_out = tuple(str(name) for name in scores.index.difference(complete.index, sort=False))
    difference = critical_difference(*ranked.shape)
    return RankComparison(ranks, ranked.shape[1], chi2, p, difference, left_out)


def _friedman(ranked: pd.DataFrame) -> tuple[float, float]:
    from scipy.stats import friedmanchisquare

    models, data_sets = ranked.shape
    if models < 3 or data_sets < 2:
        return math.nan, math.nan
    if (ranked.nunique(axis=0) == 1).all():
        return 0.0, 1.0  # all models are tied everywhere, where the correction for ties divides by zero
    statistic = float(friedmanchisquare(*ranked.to_numpy()).statistic)
    return statistic, _permutation_p(ranked.to_numpy().T)


def _permutation_p(ranks: np.ndarray) -> float:
    """Return how often shuffled ranks (N data sets, k models) differ as much as these do: all orders, or many drawn.

    The chi-squared is a sum of squared rank sums but for a constant factor, so that these sums are compared. The order
    in one data set may stay, as only orders relative to it count.
    """
    data_sets, models = ranks.shape
    reached = _spread(ranks.sum(axis=0)) - 1e-9
    if math.factorial(models) ** (data_sets - 1) <= _ALL_ORDERS:
        orders = np.array(list(permutations(range(models))))
        sums = ranks[:1]
        for row in ranks[1:]:
            sums = (sums[:, None] + row[orders][None]).reshape(-1, models)
        return float(np.mean(_spread(sums) >= reached))
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(_DRAWS // _AT_ONCE):
        drawn = rng.permuted(np.broadcast_to(ranks, (_AT_ONCE, *ranks.shape)), axis=2)
        count += int((_spread(drawn.sum(axis=1)) >= reached).sum())
    return (count + 1) / (_DRAWS + 1)


def _spread(sums: np.ndarray) -> np.ndarray:
    """Return the sum of squares of rank sums, (..., k)."""
    squares: np.ndarray = (sums**2).sum(axis=-1)
    return squares


def critical_difference(models: int, data_sets: int, level: float = LEVEL) -> float:
    r"""Return the difference of average ranks from which on two models can be told apart (Nemenyi).

    .. math:: CD = q_\alpha \sqrt{k (k + 1) / (6 N)}

    with the quantile of the studentized range for k groups and infinite degrees of freedom, divided by the root of two.
    NaN for fewer than two models or no data set.

    Examples
    --------
    >>> round(critical_difference(4, 14), 2), round(critical_difference(4, 14, level=0.1), 2)
    (1.25, 1.12)
    """
    from scipy.stats import studentized_range

    if models < 2 or data_sets < 1:
        return math.nan
    quantile = float(studentized_range.ppf(1.0 - level, models, np.inf)) / math.sqrt(2.0)
    return quantile * math.sqrt(models * (models + 1) / (6.0 * data_sets))
