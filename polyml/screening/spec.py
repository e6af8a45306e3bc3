"""What a screen is asked to do: derived columns, constraints, objectives, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from polyml.data.properties import Property
from polyml.screening.robeson import UPPER_BOUNDS

Columns = dict[str, np.ndarray]
SIMILARITY = "similarity"
"""Column of the similarity to the nearest training polymer."""
PROBABILITY = "probability"
"""Column of the probability that a candidate meets all constraints."""


class Objective(BaseModel):
    """One quantity to rank by.

    Attributes
    ----------
    expression : str
        In the language of :mod:`polyml.screening.expressions`.
    direction : {"maximize", "minimize"}
    weight : float
        Factor in the sum when there are several objectives; bring them to one scale with ``log10``, say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    expression: str
    direction: Literal["maximize", "minimize"] = "maximize"
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        word, _, rest = value.strip().partition(" ")
        return {"expression": rest, "direction": word} if word in ("maximize", "minimize") else {"expression": value}


class ScreenSpec(BaseModel):
    """How candidates are judged and ranked.

    Attributes
    ----------
    derive : dict of str to str
        New columns by name, each an expression; one may use those above it.
    constraints : list of str
        Comparisons that a candidate must all meet.
    prefilter : list of str
        Comparisons on the predictions of a quick model: only candidates that meet them all are predicted by the model
        proper. Only with a quick model.
    prefilter_check : float
        Share of the discarded candidates that the model proper predicts all the same, to estimate what the prefilter
        loses; see :mod:`polyml.screening.recall`. They are not ranked.
    objectives : list of Objective
        What to rank by; a bare expression is maximized, ``minimize X`` is short for the other direction. The score is
        the weighted sum, larger is better.
    top : int
        Length of the ranked list.
    skip_known : bool
        Whether polymers of the training set are left out.
    rank_by : {"score", "pareto"}
        ``pareto`` ranks only candidates that no other beats in every objective at once; they are ordered by the score.
    pessimistic : bool
        Rank by the score that is exceeded with probability 0.95, given the uncertainty of the predictions.
    min_probability : float, optional
        Leave out candidates that meet all constraints with a lower probability, given the uncertainty.
    shortlist : int
        Number of candidates in ``shortlist.csv``, chosen from the ranked list so that they differ; none by default.
    shortlist_by : {"maxmin", "leader", "clusters"}
        ``maxmin`` takes what is least similar to all before, ``leader`` goes down the list and passes over variations
        of what it has, ``clusters`` takes the best of each cluster; see :mod:`polyml.screening.shortlist`.
    trade_offs : list of str
        Pairs of columns to draw against each other in the report: ``"O2 vs Tg"``. Some are drawn without being asked.
    keep : {"ranked", "all"}
        What is written: the ranked list alone, or every candidate as well, with its canonical key, predictions,
        intervals, domain and what became of it. The latter costs several times as much.
    unique : bool
        Whether the polymers of the whole library are counted, each once however often and in whatever spelling it comes
        (``distinct`` and ``distinct_passing`` of the summary). With ``keep="all"``, rows whose polymer stands in an
        earlier row get the outcome "duplicate". Asks for the canonical key of every valid candidate, about 0.15 ms
        each. The ranked list holds each polymer once in any case.
    format : {"csv", "parquet"}
        Of the ranked list and the table of all candidates.
    chunk_size : int
        Candidates that are predicted at once; finished chunks are not lost when a run is interrupted.
    time_limit : float
        Seconds that a single candidate may take before it is refused, where processes are watched.

    Examples
    --------
    >>> spec = ScreenSpec(constraints=["O2 >= 100"], objectives=['robeson("O2/N2")', "minimize CH4"])
    >>> [(item.expression, item.direction) for item in spec.objectives]
    [('robeson("O2/N2")', 'maximize'), ('CH4', 'minimize')]
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    derive: dict[str, str] = Field(default_factory=dict)
    constraints: list[str] = Field(default_factory=list)
    prefilter: list[str] = Field(default_factory=list)
    prefilter_check: float = Field(default=0.005, ge=0, le=1)
    objectives: list[Objective] = Field(default_factory=list)
    top: int = Field(default=1000, ge=1)
    skip_known: bool = True
    rank_by: Literal["score", "pareto"] = "score"
    pessimistic: bool = False
    min_probability: float | None = Field(default=None, gt=0, le=1)
    shortlist: int = Field(default=0, ge=0)
    shortlist_by: Literal["maxmin", "leader", "clusters"] = "maxmin"
    trade_offs: list[str] = Field(default_factory=list)
    keep: Literal["ranked", "all"] = "ranked"
    unique: bool = False
    format: Literal["csv", "parquet"] = "csv"
    chunk_size: int = Field(default=5000, ge=1)
    time_limit: float = Field(default=30.0, gt=0, allow_inf_nan=False)

    @field_validator("derive")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not name.strip() or "`" in name:
                raise ValueError(f"'{name}' cannot name a column")
        return value

    @classmethod
    def default(cls, properties: Sequence[Property], *, top: int = 1000) -> ScreenSpec:
        """Return what is done when a user asks for nothing: the selectivities, ranked by the first Robeson bound.

        A model without a gas pair of Robeson's is ranked by its first property, from high to low.
        """
        names = [item.name for item in properties]
        pairs = available_pairs(names)
        first = f'robeson("{pairs[0]}")' if pairs else f"`{names[0]}`"
        derive = {pair: pair.replace("/", " / ") for pair in pairs}
        return cls(derive=derive, objectives=[Objective(expression=first)], top=top)


def available_pairs(names: Sequence[str]) -> list[str]:
    """Return the gas pairs with a Robeson bound whose two permeabilities are among the names."""
    return [pair for pair, bound in UPPER_BOUNDS.items() if {bound.fast, bound.slow} <= set(names)]
