"""The hot path: one chunk of candidates from text to the rows that are kept of it.

Every candidate is parsed once and predicted once, in one batch. Only what meets the constraints pays for more: the
canonical key, and the spread or the neighbours if the ranking asks for them. Where all rows are to be kept, all of them
get everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from polyml.bundle import SCORE, VERDICT, Bundle
from polyml.data.properties import SPREAD_SUFFIXES
from polyml.data.readers import CandidateChunk
from polyml.domain import VERDICTS
from polyml.errors import RepeatUnitError
from polyml.models.base import Prediction
from polyml.row_faults import Parsed, in_batches
from polyml.screening.chunk_rows import (
    DISCARDED,
    FAILS,
    KNOWN,
    NO_VALUE,
    PASSES,
    Kept,
    Keys,
    Rejected,
    Work,
    chunk_table,
    parsed_chunk,
)
from polyml.screening.duplicates import key_records
from polyml.screening.histogram import StreamedHistogram
from polyml.screening.plan import plan_prefilter, plan_screen
from polyml.screening.pool import Marks, NoMarks
from polyml.screening.predictors import Predictors
from polyml.screening.probability import Chances, Criteria, chances
from polyml.screening.recall import drawn
from polyml.screening.shards import ChunkResult
from polyml.screening.spec import PROBABILITY, SIMILARITY, Columns, ScreenSpec
from polyml.screening.thinning import best_of, front_of
from polyml.workers import collecting_later

REFUSED_FOR = "refused for "
"""What the names of counts begin with that tell how many candidates are refused for a reason."""
_COUNTED = ("valid", "shortlisted", "passing", "no_value", "checked", "checked_passing")


class ChunkScreener:
    """Screens chunks with one plan and one or several models, behind a quick model if there is one."""

    def __init__(self, models: Predictors, spec: ScreenSpec, quick: Predictors | None = None) -> None:
        self.models, self.quick = models, quick
        self.plan = plan_screen(spec, models.properties, gives_std=models.gives_std)
        self.first = plan_prefilter(spec, quick.properties, models.properties) if quick else None
        self.criteria = Criteria.of(self.plan)
        training = models.training_frame()
        self._bins = [
            StreamedHistogram.of_training(p, training[p.name].to_numpy()).to_dict() for p in models.properties
        ]

    @property
    def bundles(self) -> list[Bundle]:
        """All models that are asked: those proper, then the quick ones."""
        return [bundle for part in (self.models, self.quick) if part is not None for bundle in part.bundles]

    def histograms(self) -> list[StreamedHistogram]:
        """Return an empty histogram for each property."""
        return [StreamedHistogram.from_dict(item) for item in self._bins]

    def screen(
        self,
        chunk: CandidateChunk,
        *,
        excluded: Mapping[int, tuple[str, str]] | None = None,
        floor: float = -np.inf,
        marks: Marks | None = None,
    ) -> ChunkResult:
        """Predict and judge one chunk, and thin it out.

        Parameters
        ----------
        chunk : CandidateChunk
        excluded : mapping of int to (str, str), optional
            Rows of the chunk that must not be touched, with the reason and message they are refused with.
        floor : float
            Candidates with a lower score cannot be in the ranked list any more.
        marks : Marks, optional
            Gets the row that is worked on.
        """
        with collecting_later():
            return self._screened(chunk, excluded or {}, floor, marks or NoMarks())

    def _screened(
        self, chunk: CandidateChunk, excluded: Mapping[int, tuple[str, str]], floor: float, marks: Marks
    ) -> ChunkResult:
        work, rejected = parsed_chunk(chunk, excluded, marks)
        counts = {"read": len(chunk), **dict.fromkeys(_COUNTED, 0)}
        keys = Keys(rejected, marks, counts, self._is_known, ("valid", "shortlisted", "passing", *self.plan.steps))
        hopeless = Work([])
        if self.quick is not None and self.first is not None:
            work = self._predict(self.quick, work, rejected, self.first.names)
            passes = self.first.passes(work.columns, costly=False)
            hopeless, work = Work(work.select(~passes).parsed), Work(work.select(passes).parsed)
        checked = self._check(hopeless, chunk.first_row, counts, floor)
        keep_all = self.plan.spec.keep == "all"
        # Few are left behind a quick model, and their features are at hand: the spread costs next to nothing now.
        spread = keep_all or self.quick is not None
        work = self._predict(self.models, work, rejected, self.plan.names, spread=spread)
        if self.plan.spec.unique:
            work, hopeless = (keys.readable(part) for part in (work, hopeless))
        counts["shortlisted"], counts["valid"] = len(work), len(work) + len(hopeless)
        histograms = self.histograms()
        for histogram, name in zip(histograms, self.plan.names, strict=True):
            histogram.add(work.columns[name])
        kept = self._keep_all(work, hopeless, counts, keys) if keep_all else self._keep_best(work, counts, keys, floor)
        for reason, _ in rejected.values():
            counts[REFUSED_FOR + reason] = counts.get(REFUSED_FOR + reason, 0) + 1
        return ChunkResult(
            counts,
            chunk_table(chunk, kept, rejected, self._valued(), in_order=keep_all),
            [item.to_dict() for item in histograms],
            checked,
            self._records(chunk, [*work.parsed, *hopeless.parsed], kept),
        )

    def _check(self, hopeless: Work, first_row: int, counts: dict[str, int], floor: float) -> list[tuple[float, str]]:
        """Ask the model proper about some of what the quick one discards.

        Returns scores and keys of those that pass and that could be ranked: new, and not below the floor.
        """
        rows = np.array([row for row, _ in hopeless.parsed], dtype=np.int64) + first_row
        work = hopeless.select(drawn(rows, self.plan.spec.prefilter_check))
        if not len(work):
            return []
        work = self._predict(self.models, work, {}, self.plan.names)
        score, passing = self._scored(work)
        counts["checked"] += len(work)
        counts["checked_passing"] += len(passing)
        if self.plan.spec.rank_by == "pareto":
            return []
        found = []
        for value, unit in zip(score.tolist(), passing.units, strict=True):
            if value >= floor:  # not where there is no value
                with suppress(RepeatUnitError):
                    found += [] if self._is_known(unit.key) else [(value, unit.key)]
        return found

    def _records(self, chunk: CandidateChunk, valid: Parsed, kept: Kept) -> np.ndarray | None:
        if not self.plan.spec.unique:
            return None
        passing = (chunk.first_row + row for row in kept.passing)
        return key_records([chunk.first_row + row for row, _ in valid], [unit.key for _, unit in valid], passing)

    def _predict(
        self, models: Predictors, work: Work, rejected: Rejected, names: Sequence[str], *, spread: bool = False
    ) -> Work:
        """Return the rows the models could predict, with their properties; a row that fails is rejected, alone."""
        if spread:
            parsed, found, faults = in_batches(models.predict, work.parsed, sound=models.some_training_units)
            columns = _columns([part.mean for part in found], names) | self._spread(found)
        else:
            parsed, means, faults = in_batches(models.predict_mean, work.parsed, sound=models.some_training_units)
            columns = _columns(means, names)
        rejected.update({row: ("prediction failed", str(fault)) for row, fault in faults.items()})
        return Work(parsed, columns)

    def _spread(self, parts: Sequence[Prediction]) -> Columns:
        columns: Columns = {}
        for suffix, name in zip(SPREAD_SUFFIXES, ("std", "lower", "upper"), strict=True):
            columns |= _columns([getattr(part, name) for part in parts], self.plan.names, suffix)
        return {name: values for name, values in columns.items() if name in self.plan.spread_names}

    def _add_costly(self, work: Work, *, spread: bool, neighbours: bool) -> None:
        """Add the spread and the neighbours where they are wanted and not there yet, and what is derived from them."""
        plan, columns = self.plan, work.columns
        if spread and not plan.spread_names <= set(columns):
            columns |= self._spread([self.models.predict(work.units)])
        if neighbours:
            found = self.models.judge(work.units)
            # A property of such a name keeps it.
            work.columns = {SIMILARITY: found.similarity, SCORE: found.score} | columns
            work.columns[VERDICT] = found.verdict
        if spread or neighbours:
            plan.derive(work.columns, costly=True)

    def _judge_by_chances(self, work: Work) -> tuple[np.ndarray, np.ndarray]:
        """Return the score of each candidate, and whether it meets the constraints with the probability asked for.

        Where the ranking does not ask for it, the predictions are taken as they are.
        """
        plan = self.plan
        if not plan.needs_chances:
            return plan.score(work.columns), np.ones(len(work), dtype=bool)
        found = chances_of(self.models, self.criteria, work.columns)
        work.columns[PROBABILITY] = found.probability
        likely = np.ones(len(work), dtype=bool)
        if plan.spec.min_probability is not None:
            likely = found.probability >= plan.spec.min_probability
        return found.pessimistic if plan.spec.pessimistic else plan.score(work.columns), likely

    def _scored(self, work: Work, counts: dict[str, int] | None = None) -> tuple[np.ndarray, Work]:
        """Return the candidates that meet all constraints, and their scores; count what is left after each of them."""
        plan = self.plan
        plan.derive(work.columns, costly=False)
        work = work.select(plan.passes(work.columns, costly=False, counts=counts))
        if plan.needs_spread or plan.needs_neighbours:
            self._add_costly(work, spread=plan.needs_spread, neighbours=plan.needs_neighbours)
            work = work.select(plan.passes(work.columns, costly=True, counts=counts))
        score, likely = self._judge_by_chances(work)
        return score[likely], work.select(likely)

    def _keep_best(self, work: Work, counts: dict[str, int], keys: Keys, floor: float) -> Kept:
        """Keep of the candidates that meet all constraints those that may be in the ranked list."""
        plan = self.plan
        score, work = self._scored(work, counts)
        counts["passing"], counts["no_value"] = len(work), int(np.isnan(score).sum())
        if plan.spec.rank_by == "pareto":
            values = self._add_objectives(work)
            chosen = front_of(work, values, keys, maximize=plan.maximize)
        else:
            chosen = best_of(work, score, keys, top=plan.spec.top, floor=floor)
        at = list(chosen.values())
        columns = {"score": score, **work.columns}
        kept = {name: values[[i for i, _ in at]] for name, values in columns.items()}
        outcomes = [KNOWN if self._is_known(key) else PASSES for key in chosen]
        return Kept(
            [work.parsed[i][0] for i, _ in at],
            kept,
            list(chosen),
            outcomes,
            [""] * len(at),
            [copies for _, copies in at],
            [row for row, _ in work.parsed],
        )

    def _add_objectives(self, work: Work) -> np.ndarray:
        """Add the columns of the objectives, one each, and return them, (n, m)."""
        values = self.plan.objective_values(work.columns)
        work.columns |= {objective_name(i): values[:, i] for i in range(values.shape[1])}
        return values

    def _is_known(self, key: str) -> bool:
        return self.plan.spec.skip_known and key in self.models.known

    def _keep_all(self, work: Work, hopeless: Work, counts: dict[str, int], keys: Keys) -> Kept:
        """Keep every candidate with all that can be told of it, and with the first constraint that it fails."""
        plan = self.plan
        work, hopeless = keys.readable(work), keys.readable(hopeless)
        counts["shortlisted"], counts["valid"] = len(work), len(work) + len(hopeless)
        plan.derive(work.columns, costly=False)
        self._add_costly(work, spread=True, neighbours=True)
        score, likely = self._judge_by_chances(work)
        reasons = plan.first_failure(work.columns, counts)
        doubtful = f"probability < {plan.spec.min_probability}"
        reasons = [why or ("" if good else doubtful) for why, good in zip(reasons, likely.tolist(), strict=True)]
        outcomes = [
            FAILS if reason else KNOWN if self._is_known(unit.key) else NO_VALUE if np.isnan(value) else PASSES
            for (_, unit), reason, value in zip(work.parsed, reasons, score.tolist(), strict=True)
        ]
        counts["passing"] = sum(not reason for reason in reasons)
        new = np.array([unit.key not in self.models.known for unit in work.units], dtype=bool)
        inside = new & (work.columns[VERDICT] == VERDICTS[0])
        counts["new"], counts["new_inside"] = int(new.sum()), int(inside.sum())
        counts["new_inside_passing"] = int((inside & np.array([not why for why in reasons], dtype=bool)).sum())
        if plan.spec.rank_by == "pareto":
            self._add_objectives(work)
        counts["no_value"] = sum(not why and value != value for why, value in zip(reasons, score.tolist(), strict=True))
        rows = [row for row, _ in (*work.parsed, *hopeless.parsed)]
        return Kept(
            rows,
            {"score": score, **work.columns},
            [unit.key for unit in (*work.units, *hopeless.units)],
            [*outcomes, *[DISCARDED] * len(hopeless)],
            [*reasons, *[""] * len(hopeless)],
            [1] * len(rows),
            [row for (row, _), reason in zip(work.parsed, reasons, strict=True) if not reason],
        )

    def _valued(self) -> list[str]:
        """Name the columns with values, the same for every chunk."""
        plan = self.plan
        keeps_all = plan.spec.keep == "all"
        spread = keeps_all or plan.needs_spread or self.quick is not None
        names = [name + suffix for name in plan.names for suffix in ("", *SPREAD_SUFFIXES)]
        chosen = [name for name in names if name in plan.names or (spread and name in plan.spread_names)]
        objectives = [objective_name(i) for i in range(len(plan.objectives))] if plan.spec.rank_by == "pareto" else []
        told = [PROBABILITY] if plan.needs_chances else []
        neighbours = [SIMILARITY, SCORE, VERDICT] if keeps_all else []
        return ["score", *chosen, *plan.derived, *told, *neighbours, *objectives]


def objective_name(number: int) -> str:
    """Return the column of an objective, where a Pareto front needs them one by one."""
    return f"objective {number + 1}"


def chances_of(models: Predictors, criteria: Criteria, columns: Columns) -> Chances:
    """Return what the uncertainty leaves of candidates with these columns, the spread of all properties among them."""
    mean, std, lower, upper = (
        np.column_stack([columns[name + suffix] for name in models.names]) for suffix in ("", *SPREAD_SUFFIXES)
    )
    read = criteria.reads([*criteria.constraints, *criteria.objectives]) - {*models.names, *criteria.derived}
    fixed = {name: np.asarray(columns[name], dtype=float) for name in read}
    known = not np.isnan(lower).all()
    return chances(
        criteria,
        models.properties,
        mean,
        std,
        lower=lower if known else None,
        upper=upper if known else None,
        correlation=models.error_correlation,
        fixed=fixed,
    )


def _columns(parts: Sequence[np.ndarray], names: Sequence[str], suffix: str = "") -> Columns:
    """Name the columns of a prediction that came in batches."""
    values = np.concatenate(parts) if parts else np.empty((0, len(names)))
    return {name + suffix: values[:, i] for i, name in enumerate(names)}
