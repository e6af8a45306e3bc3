"""What a screen is asked to do, checked against the properties its models predict, and ready to be computed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyml.bundle import SCORE
from polyml.data.properties import SPREAD_SUFFIXES, WRITTEN_COLUMNS, Property
from polyml.errors import UserError, unknown_name
from polyml.screening.expressions import FUNCTION_NAMES, Expression, parse_expression
from polyml.screening.spec import PROBABILITY, SIMILARITY, Columns, ScreenSpec

_ALSO_DRAWN = ("score", PROBABILITY)
_TAKEN = frozenset(
    {PROBABILITY, "outcome", "reason", "message", "row", "file", "line", "psmiles", "pick", "distance", "cluster_size"}
)
"""Columns of the tables beside those of the properties and :data:`polyml.data.properties.WRITTEN_COLUMNS`."""
_ALSO_TAKEN = re.compile(r"objective \d+|robeson .*")
LEFT = "left after constraint "
"""What the names of counts begin with that tell how many candidates are left after a constraint."""
_NEIGHBOURS = frozenset({SIMILARITY, SCORE})  # what the comparison with the training polymers gives


@dataclass(frozen=True)
class ScreenPlan:
    """A spec whose expressions were all checked, split into what is cheap and what needs the spread or the neighbours.

    ``costly`` holds the names that are known only for candidates that met every cheap constraint: standard deviations,
    ends of intervals, similarity and domain score, and whatever is derived from them.
    """

    spec: ScreenSpec
    names: tuple[str, ...]
    derived: dict[str, Expression]
    constraints: tuple[Expression, ...]
    objectives: tuple[Expression, ...]
    costly: frozenset[str]

    @property
    def spread_names(self) -> frozenset[str]:
        """Names of the standard deviations and ends of intervals, as far as no property has such a name itself."""
        return _spread_names(self.names)

    @property
    def needs_chances(self) -> bool:
        """Whether the ranking itself asks what the uncertainty of the predictions leaves of a candidate."""
        return self.spec.pessimistic or self.spec.min_probability is not None

    @property
    def needs_spread(self) -> bool:
        """Whether the ranking itself needs more than the mean predictions."""
        used = self._used()
        return self.needs_chances or bool(used & self.costly - _NEIGHBOURS)

    @property
    def needs_neighbours(self) -> bool:
        """Whether the ranking itself needs the comparison with the training polymers."""
        return bool(self._used() & self.costly & _NEIGHBOURS)

    def _used(self) -> frozenset[str]:
        expressions = [*self.derived.values(), *self.constraints, *self.objectives]
        return frozenset[str]().union(*(item.names for item in expressions))

    def derive(self, columns: Columns, *, costly: bool) -> None:
        """Add the derived columns that are (not) costly to ``columns``."""
        for name, expression in self.derived.items():
            if (name in self.costly) == costly:
                columns[name] = expression.evaluate(columns)

    @property
    def steps(self) -> dict[str, Expression]:
        """The constraints in the order in which they are looked at, by what counts the candidates left after each."""
        last = [bool(item.names & self.costly) for item in self.constraints]
        order = sorted(range(len(last)), key=last.__getitem__)
        return {f"{LEFT}{i + 1}": self.constraints[i] for i in order}

    def passes(self, columns: Columns, *, costly: bool, counts: dict[str, int] | None = None) -> np.ndarray:
        """Return which rows meet every constraint that is (not) costly, shape (n,); count what is left after each."""
        result = np.ones(len(columns[self.names[0]]), dtype=bool)
        for name, expression in self.steps.items():
            if bool(expression.names & self.costly) == costly:
                result &= expression.evaluate(columns)
                if counts is not None:
                    counts[name] = int(result.sum())
        return result

    def objective_values(self, columns: Columns) -> np.ndarray:
        """Return every objective, shape (n, m); NaN where it has no value."""
        values = [expression.evaluate(columns) for expression in self.objectives]
        table = np.column_stack(values) if values else np.empty((len(columns[self.names[0]]), 0))
        return np.where(np.isfinite(table), table, np.nan)

    @property
    def maximize(self) -> list[bool]:
        """Whether more is better, for each objective."""
        return [item.direction == "maximize" for item in self.spec.objectives]

    @property
    def weights(self) -> list[float]:
        """Factor of each objective in the score, negative where less is better."""
        return [item.weight if item.direction == "maximize" else -item.weight for item in self.spec.objectives]

    @property
    def trade_offs(self) -> list[tuple[str, str]]:
        """The pairs of columns that are to be drawn against each other."""
        known = [*self.names, *self.derived, *sorted(self.costly - set(self.derived)), *_ALSO_DRAWN]
        return [split_trade_off(text, known) for text in self.spec.trade_offs]

    def first_failure(self, columns: Columns, counts: dict[str, int]) -> list[str]:
        """Return the first constraint that each row fails, empty where it meets them all, (n,).

        They are taken in the order of :attr:`steps`; ``counts`` gets how many rows are left after each.
        """
        failed = np.full(len(columns[self.names[0]]), "", dtype=object)
        for name, expression in self.steps.items():
            failed[(failed == "") & ~expression.evaluate(columns)] = expression.text
            counts[name] = int((failed == "").sum())
        return [str(text) for text in failed]

    def score(self, columns: Columns) -> np.ndarray:
        """Return the weighted sum of the objectives, shape (n,): larger is better, NaN has no rank."""
        values = self.objective_values(columns)
        total = np.zeros(len(values))
        for column, weight in zip(values.T, self.weights, strict=True):
            total = total + weight * column
        return np.where(np.isfinite(total), total, np.nan)


def plan_prefilter(spec: ScreenSpec, quick: Sequence[Property], properties: Sequence[Property]) -> ScreenPlan:
    """Check the prefilter against the quick model's properties; the result only judges, by :meth:`ScreenPlan.passes`.

    Raises
    ------
    UserError
        For no comparison, a bad one, one that asks for more than mean predictions, or a quick model that predicts other
        properties than the model proper.
    """
    if not spec.prefilter:
        raise UserError(
            "a quick model is given and no prefilter",
            where="prefilter",
            fix='add one, such as robeson("O2/N2") >= -0.3',
        )
    ours = {(item.name, item.unit) for item in properties}
    if strange := [item.name for item in quick if (item.name, item.unit) not in ours]:
        what = f"the quick model predicts {', '.join(strange)}, which the model proper does not (in this unit)"
        raise UserError(what, where="--quick", fix=f"name one of {', '.join(item.name for item in properties)} alone")
    names = tuple(item.name for item in quick)
    constraints = _parse_all(spec.prefilter, names, "prefilter", is_condition=True)
    _check_units(constraints, quick)
    return ScreenPlan(spec, names, {}, constraints, (), frozenset())


def plan_screen(spec: ScreenSpec, properties: Sequence[Property], *, gives_std: bool = True) -> ScreenPlan:
    """Check every expression of a spec against the properties a model predicts.

    Raises
    ------
    UserError
        For no objective, an unknown name, a constraint that is no comparison, an objective that is one, an interval of
        a model that gives none, or a Robeson distance of permeabilities that are not in Barrer.
    """
    names = tuple(item.name for item in properties)
    spread = _spread_names(names)
    costly = set(spread) | (_NEIGHBOURS - set(names))
    known = [*names, *sorted(costly)]
    for name in filter(_is_taken, names):
        fix = "rename the column and train again"
        raise UserError(f"a property is called '{name}', as a column of the results is", where="model", fix=fix)
    if not spec.objectives:
        raise UserError(
            "there is no objective to rank by", where="objectives", fix=f"add one, such as maximize {names[0]}"
        )
    derived: dict[str, Expression] = {}
    for name, text in spec.derive.items():
        if name in known or name in FUNCTION_NAMES or name in WRITTEN_COLUMNS or _is_taken(name):
            raise UserError(f"the name '{name}' is taken", where="derive", fix="choose another name")
        derived[name] = parse_expression(text, known, where=f"derive {name}")
        _demand(derived[name], is_condition=False, where=f"derive {name}")
        known.append(name)
        if derived[name].names & costly:
            costly.add(name)
    constraints = _parse_all(list(dict.fromkeys(spec.constraints)), known, "constraint", is_condition=True)
    objectives = _parse_all([item.expression for item in spec.objectives], known, "objective", is_condition=False)
    used = [*derived.values(), *constraints, *objectives]
    if not gives_std and any(item.names & spread for item in used):
        raise UserError("this model gives no uncertainty", where="screen", fix="leave out _std, _lower and _upper")
    _check_ranking(spec, gives_std=gives_std)
    _check_units(used, properties)
    plan = ScreenPlan(spec, names, derived, constraints, objectives, frozenset(costly))
    _check_trade_offs(plan, gives_std=gives_std)
    return plan


def _check_trade_offs(plan: ScreenPlan, *, gives_std: bool) -> None:
    """Refuse pairs with a column that will not be there."""
    where = "--plot (trade_offs)"
    for text, pair in zip(plan.spec.trade_offs, plan.trade_offs, strict=True):
        if not gives_std and {*pair} & {*plan.spread_names, PROBABILITY}:
            what = f"'{text}' cannot be drawn: this model gives no uncertainty"
            raise UserError(what, where=where, fix="draw other columns")
        if PROBABILITY in pair and not plan.constraints:
            what = f"'{text}' cannot be drawn: there is no constraint to meet"
            raise UserError(what, where=where, fix="add a constraint, or draw other columns")


def _check_ranking(spec: ScreenSpec, *, gives_std: bool) -> None:
    """Refuse ways to rank that do not go together, or that the model cannot serve."""
    if not gives_std and (spec.pessimistic or spec.min_probability is not None):
        fix = "leave out pessimistic and min_probability, or train another model"
        raise UserError("this model gives no uncertainty", where="screen", fix=fix)
    if spec.min_probability is not None and not spec.constraints:
        raise UserError("there is no constraint to meet", where="--min-probability", fix="add a constraint")
    if spec.rank_by == "pareto" and len(spec.objectives) < 2:
        raise UserError("a Pareto front needs two objectives", where="--pareto (rank_by)", fix="add another objective")
    if spec.rank_by == "pareto" and spec.pessimistic:
        fix = "use the pessimistic ends themselves as objectives: maximize O2_lower"
        raise UserError("a Pareto front has no single score", where="--pessimistic", fix=fix)


def split_trade_off(text: str, known: Sequence[str]) -> tuple[str, str]:
    """Return the two columns of ``"O2 vs Tg"``.

    Raises
    ------
    UserError
        It is no such pair, or there is no such column.

    Examples
    --------
    >>> split_trade_off("O2 vs O2/N2", ["O2", "O2/N2"])
    ('O2', 'O2/N2')
    """
    x, _, y = (part.strip(" `") for part in text.partition(" vs "))
    if not x or not y:
        raise UserError(f"'{text}' is no pair of columns", where="--plot (trade_offs)", fix="write: O2 vs Tg")
    for name in (x, y):
        if name not in known:
            raise unknown_name("column", name, known, where="--plot (trade_offs)")
    return x, y


def _is_taken(name: str) -> bool:
    return name in _TAKEN or _ALSO_TAKEN.fullmatch(name) is not None


def _spread_names(names: Sequence[str]) -> frozenset[str]:
    return frozenset(name + suffix for name in names for suffix in SPREAD_SUFFIXES) - set(names)


def _parse_all(texts: Sequence[str], known: Sequence[str], what: str, *, is_condition: bool) -> tuple[Expression, ...]:
    found = []
    for number, text in enumerate(texts):
        where = f"{what} {number + 1}"
        found.append(parse_expression(text, known, where=where))
        _demand(found[-1], is_condition=is_condition, where=where)
    return tuple(found)


def _demand(expression: Expression, *, is_condition: bool, where: str) -> None:
    if is_condition and not expression.is_condition:
        raise UserError(
            f"'{expression.text}' is not a comparison", where=where, fix=f"write {expression.text} >= 100, say"
        )
    if expression.is_condition and not is_condition:
        raise UserError(f"'{expression.text}' is a comparison, not a number", where=where, fix="move it to constraints")


def _check_units(expressions: Sequence[Expression], properties: Sequence[Property]) -> None:
    units = {item.name: item.unit for item in properties}
    for pair in {pair for expression in expressions for pair in expression.pairs}:
        for gas in pair.split("/"):
            if units.get(gas, "").lower() not in ("", "barrer"):
                raise UserError(
                    f"the Robeson bound of {pair} is in Barrer, and '{gas}' is in {units[gas]}",
                    where="screen",
                    fix="give the permeabilities in Barrer",
                )
