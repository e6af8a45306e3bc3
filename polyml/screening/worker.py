"""The hot path: one chunk of candidates from text to the rows that are kept of it.

Every candidate is parsed once and predicted once, in one batch. Only what meets the constraints pays for more: the
canonical key, and the spread or the neighbours if the ranking asks for them. Where all rows are to be kept, all of them
get everything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.bundle import SCORE, VERDICT, Bundle
from polyml.data.parquet_index import ParquetChunk, read_parquet_chunk
from polyml.data.properties import SPREAD_SUFFIXES
from polyml.data.readers import CandidateChunk, cell_text
from polyml.domain import VERDICTS
from polyml.models.base import Prediction
from polyml.row_faults import Parsed, describe, in_batches, parse_all
from polyml.screening.histogram import StreamedHistogram
from polyml.screening.pareto import pareto_front
from polyml.screening.pool import WAITING, WHOLE, Marks, NoMarks
from polyml.screening.predictors import Predictors
from polyml.screening.probability import Chances, Criteria, chances
from polyml.screening.shards import ChunkResult, ShardStore
from polyml.screening.spec import PROBABILITY, SIMILARITY, Columns, ScreenSpec, plan_prefilter, plan_screen

if TYPE_CHECKING:
    import pyarrow as pa

    from polyml.models.nn.serving import Address, Asker

Rejected = dict[int, tuple[str, str]]  # position in the chunk -> reason and message
REFUSED, DISCARDED, FAILS, NO_VALUE, KNOWN, PASSES = "refused", "prefilter", "fails", "no value", "known", "passes"
"""What becomes of a candidate; see :class:`ChunkResult`."""
_SHOWN = 500  # characters of a refused text that are worth keeping
_COUNTED = ("valid", "shortlisted", "passing", "no_value")


@dataclass
class _Work:
    """The candidates of a chunk that are still in the race, with their columns."""

    parsed: Parsed
    columns: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.parsed)

    @property
    def units(self) -> list[Any]:
        return [unit for _, unit in self.parsed]

    def select(self, mask: np.ndarray) -> _Work:
        kept = [item for item, keep in zip(self.parsed, mask.tolist(), strict=True) if keep]
        return _Work(kept, {name: values[mask] for name, values in self.columns.items()})


@dataclass
class _Kept:
    """Rows of a chunk that go into its table."""

    rows: list[int]
    columns: dict[str, Any]
    keys: list[str]
    outcomes: list[str]
    reasons: list[str]
    copies: list[int]


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
        marks = marks or NoMarks()
        work, rejected = _parse(chunk, excluded or {}, marks)
        marks[0] = WHOLE
        counts = {"read": len(chunk), **dict.fromkeys(_COUNTED, 0)}
        hopeless = _Work([])
        if self.quick is not None and self.first is not None:
            work = self._predict(self.quick, work, rejected, self.first.names)
            passes = self.first.passes(work.columns, costly=False)
            hopeless, work = _Work(work.select(~passes).parsed), _Work(work.select(passes).parsed)
        keep_all = self.plan.spec.keep == "all"
        # Few are left behind a quick model, and their features are at hand: the spread costs next to nothing now.
        spread = keep_all or self.quick is not None
        work = self._predict(self.models, work, rejected, self.plan.names, spread=spread)
        counts["shortlisted"], counts["valid"] = len(work), len(work) + len(hopeless)
        histograms = self.histograms()
        for histogram, name in zip(histograms, self.plan.names, strict=True):
            histogram.add(work.columns[name])
        kept = (
            self._keep_all(work, hopeless, counts, rejected, marks)
            if keep_all
            else self._keep_best(work, counts, rejected, floor, marks)
        )
        return ChunkResult(counts, self._table(chunk, kept, rejected), [item.to_dict() for item in histograms])

    def _predict(
        self, models: Predictors, work: _Work, rejected: Rejected, names: Sequence[str], *, spread: bool = False
    ) -> _Work:
        """Return the rows the models could predict, with their properties; a row that fails is rejected, alone."""
        if spread:
            parsed, found, faults = in_batches(models.predict, work.parsed)
            columns = _columns([part.mean for part in found], names) | self._spread(found)
        else:
            parsed, means, faults = in_batches(models.predict_mean, work.parsed)
            columns = _columns(means, names)
        rejected.update({row: ("prediction failed", str(fault)) for row, fault in faults.items()})
        return _Work(parsed, columns)

    def _spread(self, parts: Sequence[Prediction]) -> Columns:
        columns: Columns = {}
        for suffix, name in zip(SPREAD_SUFFIXES, ("std", "lower", "upper"), strict=True):
            columns |= _columns([getattr(part, name) for part in parts], self.plan.names, suffix)
        return {name: values for name, values in columns.items() if name in self.plan.spread_names}

    def _add_costly(self, work: _Work, *, spread: bool, neighbours: bool) -> None:
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

    def _judge_by_chances(self, work: _Work) -> tuple[np.ndarray, np.ndarray]:
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

    def _keep_best(self, work: _Work, counts: dict[str, int], rejected: Rejected, floor: float, marks: Marks) -> _Kept:
        """Keep of the candidates that meet all constraints those that may be in the ranked list."""
        plan = self.plan
        plan.derive(work.columns, costly=False)
        work = work.select(plan.passes(work.columns, costly=False))
        if plan.needs_spread or plan.needs_neighbours:
            self._add_costly(work, spread=plan.needs_spread, neighbours=plan.needs_neighbours)
            work = work.select(plan.passes(work.columns, costly=True))
        score, likely = self._judge_by_chances(work)
        work, score = work.select(likely), score[likely]
        counts["passing"], counts["no_value"] = len(work), int(np.isnan(score).sum())
        if plan.spec.rank_by == "pareto":
            values = plan.objective_values(work.columns)
            work.columns |= {objective_name(i): values[:, i] for i in range(values.shape[1])}
            chosen = self._front(work, values, counts, rejected, marks)
        else:
            chosen = self._thin_out(work, score, counts, rejected, floor, marks)
        at = list(chosen.values())
        columns = {"score": score, **work.columns}
        kept = {name: values[[i for i, _ in at]] for name, values in columns.items()}
        outcomes = [KNOWN if self._is_known(key) else PASSES for key in chosen]
        return _Kept(
            [work.parsed[i][0] for i, _ in at],
            kept,
            list(chosen),
            outcomes,
            [""] * len(at),
            [copies for _, copies in at],
        )

    def _is_known(self, key: str) -> bool:
        return self.plan.spec.skip_known and key in self.models.known

    def _thin_out(
        self, work: _Work, score: np.ndarray, counts: dict[str, int], rejected: Rejected, floor: float, marks: Marks
    ) -> dict[str, tuple[int, int]]:
        """Go down from the best score and keep new polymers until there are as many as the ranked list holds.

        Nothing below can be in the ranked list, so its canonical keys, the expensive part, are never made. Known
        polymers on the way are kept beside them, so that they can be counted.

        Returns
        -------
        dict of str to (int, int)
            By key, the first row of ``work`` with it, and how many rows have it.
        """
        order = np.argsort(-score, kind="stable")  # equal scores stay in the order of the file, NaN goes last
        found: dict[str, tuple[int, int]] = {}
        new = 0
        for i in order[: int((score >= floor).sum())].tolist():
            if new == self.plan.spec.top:
                break
            key = _key(work.parsed[i], rejected, marks)
            if key is None:
                for name in ("valid", "shortlisted", "passing"):
                    counts[name] -= 1
                continue
            first, copies = found.get(key, (i, 0))
            new += not copies and not self._is_known(key)
            found[key] = (min(first, i), copies + 1)
        marks[0] = WHOLE
        return found

    def _front(
        self, work: _Work, values: np.ndarray, counts: dict[str, int], rejected: Rejected, marks: Marks
    ) -> dict[str, tuple[int, int]]:
        """Keep the new candidates that no other new one of the chunk beats in every objective, in their order.

        A known polymer keeps no other out; those that come up are kept beside the front, to be counted.
        """
        keys: dict[int, str] = {}
        left = np.arange(len(work))
        while True:
            front = left[pareto_front(values[left], self.plan.maximize)]
            out = set()
            for i in [i for i in front.tolist() if i not in keys]:
                key = _key(work.parsed[i], rejected, marks)
                if key is None:
                    for name in ("valid", "shortlisted", "passing"):
                        counts[name] -= 1
                    out.add(i)
                    continue
                keys[i] = key
                if self._is_known(key):
                    out.add(i)
            if not out:
                break
            left = np.array([i for i in left.tolist() if i not in out], dtype=int)
        marks[0] = WHOLE
        found: dict[str, tuple[int, int]] = {}
        wanted = {*front.tolist()} | {i for i, key in keys.items() if self._is_known(key)}
        for i in sorted(wanted):
            first, copies = found.get(keys[i], (i, 0))
            found[keys[i]] = (first, copies + 1)
        return found

    def _keep_all(
        self, work: _Work, hopeless: _Work, counts: dict[str, int], rejected: Rejected, marks: Marks
    ) -> _Kept:
        """Keep every candidate with all that can be told of it, and with the first constraint that it fails."""
        plan = self.plan
        keys = {row: _key((row, unit), rejected, marks) for row, unit in (*work.parsed, *hopeless.parsed)}
        marks[0] = WHOLE
        readable = np.array([keys[row] is not None for row, _ in work.parsed], dtype=bool)
        work = work.select(readable)
        hopeless = hopeless.select(np.array([keys[row] is not None for row, _ in hopeless.parsed], dtype=bool))
        counts["shortlisted"], counts["valid"] = len(work), len(work) + len(hopeless)
        plan.derive(work.columns, costly=False)
        self._add_costly(work, spread=True, neighbours=True)
        score, likely = self._judge_by_chances(work)
        reasons = plan.first_failure(work.columns)
        doubtful = f"probability < {plan.spec.min_probability}"
        reasons = [why or ("" if good else doubtful) for why, good in zip(reasons, likely.tolist(), strict=True)]
        outcomes = [
            FAILS if reason else KNOWN if self._is_known(str(keys[row])) else NO_VALUE if np.isnan(value) else PASSES
            for (row, _), reason, value in zip(work.parsed, reasons, score.tolist(), strict=True)
        ]
        counts["passing"] = sum(not reason for reason in reasons)
        new = np.array([str(keys[row]) not in self.models.known for row, _ in work.parsed], dtype=bool)
        inside = new & (work.columns[VERDICT] == VERDICTS[0])
        counts["new"], counts["new_inside"] = int(new.sum()), int(inside.sum())
        counts["new_inside_passing"] = int((inside & np.array([not why for why in reasons], dtype=bool)).sum())
        if plan.spec.rank_by == "pareto":
            values = plan.objective_values(work.columns)
            work.columns |= {objective_name(i): values[:, i] for i in range(values.shape[1])}
        counts["no_value"] = sum(not why and value != value for why, value in zip(reasons, score.tolist(), strict=True))
        rows = [row for row, _ in (*work.parsed, *hopeless.parsed)]
        return _Kept(
            rows,
            {"score": score, **work.columns},
            [str(keys[row]) for row in rows],
            [*outcomes, *[DISCARDED] * len(hopeless)],
            [*reasons, *[""] * len(hopeless)],
            [1] * len(rows),
        )

    def _table(self, chunk: CandidateChunk, kept: _Kept, rejected: Rejected) -> pa.Table:
        """Lay out the kept and the refused rows, in the order of the input where all are kept."""
        import pyarrow as pa

        refused = sorted(rejected)
        rows = [*kept.rows, *refused]
        gap = len(refused)
        texts = [chunk.psmiles[row] for row in kept.rows] + [_shown(chunk.psmiles[row]) for row in refused]
        columns: dict[str, Any] = {
            "row": pa.array([chunk.first_row + row for row in rows], pa.int64()),
            **({"file": _texts([chunk.file_of_row[row] for row in rows])} if chunk.file_of_row else {}),
            "line": pa.array([chunk.lines[row] for row in rows], pa.int64()),
            "psmiles": _texts(texts),
            "key": pa.array([*kept.keys, *[None] * gap], pa.string()),
            "outcome": pa.array([*kept.outcomes, *[REFUSED] * gap], pa.string()),
            "reason": _texts([*kept.reasons, *(rejected[row][0] for row in refused)]),
            "message": _texts([*[""] * len(kept.rows), *(rejected[row][1] for row in refused)]),
            "copies": pa.array([*kept.copies, *[1] * gap], pa.int32()),
        }
        columns |= {f"value:{name}": _padded(kept.columns.get(name), len(kept.rows), gap) for name in self._valued()}
        columns |= {f"input:{n}": _texts([cell_text(cells[row]) for row in rows]) for n, cells in chunk.columns.items()}
        table = pa.table(columns)
        return table.sort_by("row") if self.plan.spec.keep == "all" else table

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


def _padded(values: Any, length: int, gap: int) -> pa.Array:
    """Return a column whose last ``gap`` rows, or all, have no value."""
    import pyarrow as pa

    cells = np.full(length, np.nan) if values is None else np.asarray(values)
    if cells.dtype.kind == "f":
        return pa.array(np.concatenate([cells, np.full(length + gap - len(cells), np.nan)]), pa.float64())
    return pa.array([*cells.tolist(), *[None] * (length + gap - len(cells))], pa.string())


def _texts(cells: list[str]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(cells, pa.string())
    except UnicodeEncodeError:  # half a surrogate pair has no UTF-8
        return pa.array([cell.encode("utf-8", "backslashreplace").decode() for cell in cells], pa.string())


def _columns(parts: Sequence[np.ndarray], names: Sequence[str], suffix: str = "") -> Columns:
    """Name the columns of a prediction that came in batches."""
    values = np.concatenate(parts) if parts else np.empty((0, len(names)))
    return {name + suffix: values[:, i] for i, name in enumerate(names)}


def _parse(chunk: CandidateChunk, excluded: Mapping[int, tuple[str, str]], marks: Marks) -> tuple[_Work, Rejected]:
    rejected = {row: fault for row, fault in enumerate(chunk.faults) if fault[0]} | dict(excluded)
    parsed, refused = parse_all(chunk.psmiles, skip=rejected, mark=marks.__setitem__)
    return _Work(parsed), rejected | {row: (error.reason, error.what) for row, error in refused.items()}


def _key(item: tuple[int, Any], rejected: Rejected, marks: Marks) -> str | None:
    """Return the canonical key of a candidate, or reject it."""
    row, unit = item
    marks[0] = row
    try:
        return str(unit.key)
    except Exception as error:  # one row, never the run
        rejected[row] = ("canonical key", describe(error))
        return None


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


@dataclass(frozen=True)
class Task:
    """One chunk to be screened, or some of its rows to be tried.

    Attributes
    ----------
    number : int
    chunk : CandidateChunk or ParquetChunk
        Its rows, or where they lie.
    excluded : mapping of int to (str, str)
        Rows that must not be touched, with the reason and the message they are refused with.
    tried : (int, int), optional
        Only these rows are screened, and nothing is kept: to find the one that takes its process down.
    floor : float
    """

    number: int
    chunk: CandidateChunk | ParquetChunk
    excluded: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    tried: tuple[int, int] | None = None
    floor: float = -np.inf


@dataclass(frozen=True)
class _Duty:
    screener: ChunkScreener
    store: ShardStore
    asker: Asker | None = None


# What a worker process does, made once when it starts.
_worker: dict[str, _Duty] = {}


def load_screener(folders: Sequence[Path], quick_folders: Sequence[Path], spec: ScreenSpec) -> ChunkScreener:
    """Load the models of a screen from their folders."""
    quick = Predictors([Bundle.load(folder) for folder in quick_folders]) if quick_folders else None
    return ChunkScreener(Predictors([Bundle.load(folder) for folder in folders]), spec, quick)


def start_worker(
    folders: Sequence[Path],
    quick_folders: Sequence[Path],
    spec: ScreenSpec,
    store: ShardStore,
    owner: Address | None = None,
) -> None:
    """Load the models into this process and keep its libraries to one thread.

    Where another process owns a GPU, networks predict there; this one never opens it.
    """
    from polyml.workers import keep_to_threads

    os.environ |= {"POLYML_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    screener = load_screener(folders, quick_folders, spec)
    keep_to_threads(1)
    _worker["duty"] = _Duty(screener, store, None if owner is None else _ask_at(owner))


def _ask_at(owner: Address) -> Asker:
    from polyml.models.nn.predict import run_elsewhere
    from polyml.models.nn.serving import Asker

    asker = Asker(owner)
    run_elsewhere(asker)
    return asker


def _show_waiting(asker: Asker, marks: Marks) -> None:
    turns = cycle((WAITING, WHOLE))
    asker.waiting = lambda: marks.__setitem__(0, next(turns))


def screen_in_worker(task: Task, marks: Marks) -> int:
    """Screen one chunk with the process's own screener, write its shard, and return the number of its rows."""
    duty = _worker["duty"]
    if duty.asker is not None:
        _show_waiting(duty.asker, marks)
    chunk = loaded(task.chunk)
    excluded = dict(task.excluded)
    if task.tried is not None:
        first, last = task.tried
        excluded |= {row: ("", "") for row in range(len(chunk)) if not first <= row < last}
    result = duty.screener.screen(chunk, excluded=excluded, floor=task.floor, marks=marks)
    if task.tried is None:
        duty.store.write(task.number, result)
    return len(chunk)


def loaded(chunk: CandidateChunk | ParquetChunk) -> CandidateChunk:
    """Return a chunk itself, read from its file where it says only where it lies."""
    return chunk if isinstance(chunk, CandidateChunk) else read_parquet_chunk(chunk)
