"""How probable it is that a candidate meets every constraint, and what it scores if luck is against it.

A predicted value is the middle of a distribution: a normal one in the modelled scale, so a log-normal one of a property
that is modelled as log10. The constraints and the score are computed for the same 1024 draws of the errors of every
candidate, so that what is said of a candidate does not depend on its company.

The errors of related properties go together. A model that takes a polymer for more permeable to oxygen than it is takes
it for more permeable to nitrogen as well, and their ratio is far more certain than each. The correlation of the errors
(:func:`polyml.models.conditioning.error_correlation`) says how far; without it they are taken for independent.

The draws are quasi-random: Sobol's points, which fill the cube evenly, scrambled with a fixed seed. Owen: Scrambled net
variance for integrals of smooth functions. Ann. Stat. 25, 1541 (1997).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polyml.data.properties import Property
from polyml.errors import UserError
from polyml.models.base import LEVEL
from polyml.screening.expressions import Columns, Expression

if TYPE_CHECKING:
    from polyml.screening.plan import ScreenPlan

DRAWS = 1024
PESSIMISTIC = 0.05
_VALUES = 1 << 22  # numbers held at once; bounds the memory
_WHERE = "probability of the constraints"


@dataclass(frozen=True)
class Criteria:
    """What is asked of a candidate: the checked expressions of a screen.

    Attributes
    ----------
    derived : mapping of str to Expression
        Columns that are computed from the others, each after those that it reads.
    constraints : sequence of Expression
        Comparisons that must all hold.
    objectives : sequence of Expression
    weights : sequence of float
        Factor of each objective in the score, negative where less is better.
    """

    derived: Mapping[str, Expression]
    constraints: Sequence[Expression]
    objectives: Sequence[Expression]
    weights: Sequence[float]

    @classmethod
    def of(cls, plan: ScreenPlan) -> Criteria:
        """Return those of a plan; see :func:`polyml.screening.plan.plan_screen`."""
        return cls(plan.derived, plan.constraints, plan.objectives, plan.weights)

    def reads(self, expressions: Sequence[Expression]) -> frozenset[str]:
        """Return every column that the expressions need, the derived ones on the way among them."""
        found: set[str] = set()
        waiting = {name for item in expressions for name in item.names}
        while waiting:
            found |= waiting
            waiting = {name for item in waiting if item in self.derived for name in self.derived[item].names} - found
        return frozenset(found)


@dataclass(frozen=True)
class Chances:
    """What the errors of the predictions leave of ``n`` candidates.

    Attributes
    ----------
    probability : ndarray of shape (n,)
        That every constraint holds; 1 without constraints, NaN where the spread of a property they read is not known.
    pessimistic : ndarray of shape (n,)
        The score that is exceeded with probability 0.95; NaN where the spread of a property it
        reads is not known, or the score is not defined for so many draws.
    """

    probability: np.ndarray
    pessimistic: np.ndarray


def chances(
    criteria: Criteria,
    properties: Sequence[Property],
    mean: np.ndarray,
    std: np.ndarray,
    *,
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
    correlation: np.ndarray | None = None,
    fixed: Mapping[str, np.ndarray] | None = None,
) -> Chances:
    """Judge candidates by the whole distribution of their predictions.

    A draw for which a constraint or the score is not defined (the logarithm of a negative number) counts as a failure.
    The error of a probability is about 0.001 for one property, and below 0.01 for a few.

    Parameters
    ----------
    criteria : Criteria
    properties : sequence of Property, length t
        What is predicted, in the order of the columns.
    mean, std : ndarray of shape (n, t)
        As :meth:`polyml.bundle.Bundle.predict` returns them: the median in user units, and the standard deviation in
        the modelled scale, decades for log10.
    lower, upper : ndarray of shape (n, t), optional
        Ends of the 90 % interval in user units. The two halves of the distribution are then as wide as they say, and
        ``std`` is not looked at: an end beyond the median has the probability it claims, even when the two differ.
    correlation : ndarray of shape (t, t), optional
        Of the errors of the properties in the modelled scale.
    fixed : mapping of str to ndarray of shape (n,), optional
        Other columns that the expressions read and that have no error: similarity, ends of intervals.

    Raises
    ------
    UserError
        For arrays that do not fit each other, a column that is not there, a class among the properties, or a matrix
        that is no correlation.

    Examples
    --------
    >>> from polyml.screening.expressions import parse_expression
    >>> oxygen = Property(name="O2", unit="Barrer", transform="log10")
    >>> demand = parse_expression("O2 >= 100", ["O2"])
    >>> criteria = Criteria({}, [demand], [parse_expression("log10(O2)", ["O2"])], [1.0])
    >>> found = chances(criteria, [oxygen], mean=np.array([[100.0], [200.0]]), std=np.array([[0.3], [0.3]]))
    >>> found.probability.round(2).tolist()  # the normal distribution at 0 and at log10(2) / 0.3 = 1.00
    [0.5, 0.84]
    >>> found.pessimistic.round(1).tolist()  # 2 - 1.645 * 0.3, and a factor of two above
    [1.5, 1.8]
    """
    spread = _Spread.of(properties, mean, std, (lower, upper))
    errors = normal_draws(len(properties), correlation=correlation)
    given = {name: np.asarray(column, dtype=float).reshape(-1, 1) for name, column in (fixed or {}).items()}
    demanded, ranked = criteria.reads(criteria.constraints), criteria.reads(criteria.objectives)
    used = _check_columns(criteria, demanded | ranked, properties, given, len(spread.centre))
    probability, score = np.ones(len(spread.centre)), np.full(len(spread.centre), np.nan)
    step = max(1, _VALUES // (DRAWS * (len(used) + 3)))
    for start in range(0, len(spread.centre), step):
        rows = slice(start, start + step)
        columns = {name: column[rows] for name, column in given.items() if name in used}
        columns |= {
            item.name: spread.draw(i, rows, errors[i]) for i, item in enumerate(properties) if item.name in used
        }
        for name, expression in criteria.derived.items():
            if name in used:
                columns[name] = expression.evaluate(columns)
        if criteria.constraints:
            probability[rows] = _all_hold(criteria.constraints, columns).mean(axis=-1)
        if criteria.objectives:
            score[rows] = _low_score(criteria, columns, PESSIMISTIC)
    known = [_known(names, properties, spread, given) for names in (demanded, ranked)]
    return Chances(np.where(known[0], probability, np.nan), np.where(known[1] & np.isfinite(score), score, np.nan))


def normal_draws(properties: int, draws: int = DRAWS, correlation: np.ndarray | None = None) -> np.ndarray:
    """Return quasi-random draws of correlated standard normal errors, shape (properties, draws), always the same.

    Raises
    ------
    UserError
        ``draws`` is no power of two, or ``correlation`` is no correlation matrix of so many properties.

    Examples
    --------
    >>> first, second = normal_draws(2, 1024, np.array([[1.0, 0.9], [0.9, 1.0]]))
    >>> bool(abs(first.std() - 1) < 0.01), bool(abs(np.corrcoef(first, second)[0, 1] - 0.9) < 0.01)
    (True, True)
    """
    from scipy.stats import qmc

    if draws < 2 or draws & (draws - 1):
        raise UserError(f"{draws} draws", where=_WHERE, fix="take a power of two, such as 1024")
    engine = qmc.Sobol(properties, scramble=True, seed=0)
    if correlation is not None:
        correlation = _checked(np.asarray(correlation, dtype=float), properties)
    try:
        normal = qmc.MultivariateNormalQMC(np.zeros(properties), correlation, engine=engine)
    except ValueError as error:  # no positive semidefinite matrix
        fix = "take what error_correlation gives"
        raise UserError(f"this is no correlation matrix: {error}", where=_WHERE, fix=fix) from None
    return np.ascontiguousarray(normal.random(draws).T)


def _checked(correlation: np.ndarray, properties: int) -> np.ndarray:
    if correlation.shape != (properties, properties):
        what = f"correlations of shape {correlation.shape} for {properties} properties"
        raise UserError(what, where=_WHERE, fix="give one row and one column a property")
    ones = np.allclose(np.diag(correlation), 1.0)
    if not (ones and np.allclose(correlation, correlation.T) and (np.abs(correlation) <= 1 + 1e-9).all()):
        raise UserError("this is no correlation matrix", where=_WHERE, fix="take what error_correlation gives")
    return correlation


@dataclass(frozen=True)
class _Spread:
    """Medians in the modelled scale, and the standard deviations of the halves below and above, each (n, t)."""

    is_log: Sequence[bool]
    centre: np.ndarray
    below: np.ndarray
    above: np.ndarray

    @classmethod
    def of(
        cls,
        properties: Sequence[Property],
        mean: np.ndarray,
        std: np.ndarray,
        ends: tuple[np.ndarray | None, np.ndarray | None],
    ) -> _Spread:
        from scipy.stats import norm

        for item in properties:
            if item.is_class:
                raise UserError(f"'{item.name}' is a class", where=_WHERE, fix="judge candidates by numbers")
        if (ends[0] is None) != (ends[1] is None):
            raise UserError("one end of the interval is missing", where=_WHERE, fix="give both, or none")
        shape = (len(mean), len(properties))
        for part in (mean, std, *ends):
            if part is not None and np.shape(part) != shape:
                what = f"predictions of shape {np.shape(part)} where {shape} is expected"
                raise UserError(what, where=_WHERE, fix="give a row a candidate and a column a property")
        is_log = [item.transform == "log10" for item in properties]
        centre = _modelled(mean, is_log)
        if ends[0] is None or ends[1] is None:
            std = np.asarray(std, dtype=float)
            return cls(is_log, centre, std, std)
        factor = norm.ppf((1.0 + LEVEL) / 2.0)
        below, above = centre - _modelled(ends[0], is_log), _modelled(ends[1], is_log) - centre
        return cls(is_log, centre, np.maximum(below, 0.0) / factor, np.maximum(above, 0.0) / factor)

    def draw(self, target: int, rows: slice, errors: np.ndarray) -> np.ndarray:
        """Return the values (rows, draws) of one property in user units."""
        below, above = self.below[rows, target, None], self.above[rows, target, None]
        width = below if self.below is self.above else np.where(errors < 0, below, above)
        values = self.centre[rows, target, None] + width * errors
        with np.errstate(over="ignore"):
            return np.power(10.0, values) if self.is_log[target] else values


def _modelled(values: np.ndarray, is_log: Sequence[bool]) -> np.ndarray:
    """Return columns in the modelled scale; what has no logarithm is NaN or infinite, and is not known later."""
    values = np.array(values, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        values[:, is_log] = np.log10(values[:, is_log])
    return values


def _check_columns(
    criteria: Criteria,
    needed: frozenset[str],
    properties: Sequence[Property],
    fixed: Columns,
    length: int,
) -> frozenset[str]:
    """Return the columns that are needed, once all are known to be there."""
    for name in sorted(needed - {item.name for item in properties} - set(fixed) - set(criteria.derived)):
        raise UserError(f"the column '{name}' is not given", where=_WHERE, fix="add it to the fixed columns")
    for name in needed & set(fixed):
        if len(fixed[name]) != length:
            what = f"{len(fixed[name])} values of '{name}' for {length} candidates"
            raise UserError(what, where=_WHERE, fix="give one value a candidate")
    return needed


def _all_hold(constraints: Sequence[Expression], columns: Columns) -> np.ndarray:
    """Return whether all constraints hold, for every row and draw; without an error of any kind (rows, 1)."""
    result = constraints[0].evaluate(columns)
    for expression in constraints[1:]:
        result &= expression.evaluate(columns)
    return result


def _low_score(criteria: Criteria, columns: Columns, share: float) -> np.ndarray:
    """Return the score that this share of the draws do not exceed; minus infinity where too many are not defined."""
    parts = [w * item.evaluate(columns) for w, item in zip(criteria.weights, criteria.objectives, strict=True)]
    total = np.sum(parts, axis=0)
    total = np.where(np.isfinite(total), total, -np.inf)
    if total.ndim < 2:  # objectives without a property
        total = np.full((len(next(iter(columns.values()))), 1), total)
    place = max(1, math.ceil(share * total.shape[1])) - 1
    low: np.ndarray = np.partition(total, place, axis=1)[:, place]
    return low


def _known(names: frozenset[str], properties: Sequence[Property], spread: _Spread, fixed: Columns) -> np.ndarray:
    """Return for which candidates every one of the columns has a value, and every property a spread, shape (n,)."""
    known = np.ones(len(spread.centre), dtype=bool)
    for i, item in enumerate(properties):
        if item.name in names:
            known &= np.isfinite(spread.centre[:, i] + spread.below[:, i] + spread.above[:, i])
    for name in names & set(fixed):
        known &= ~np.isnan(fixed[name][:, 0])
    return known
