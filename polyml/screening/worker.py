"""The hot path: one chunk of candidates from text to the few rows that may end up in the ranked list.

Every candidate is parsed once and predicted once, in one batch. Only what meets the constraints pays for more: the
canonical key, and the spread or the neighbours if the ranking asks for them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyml.bundle import SCORE, Bundle
from polyml.data.properties import SPREAD_SUFFIXES
from polyml.models.base import Prediction
from polyml.row_faults import Parsed, describe, in_batches, parse_all
from polyml.screening.spec import SIMILARITY, Columns, ScreenSpec, plan_prefilter, plan_screen

Faults = Sequence[tuple[str, str]]
Rejected = dict[int, tuple[str, str]]  # position in the chunk -> reason and message


@dataclass(frozen=True)
class ChunkResult:
    """What is kept of one chunk.

    Attributes
    ----------
    counts : dict of str to int
        ``read``, ``valid``, ``shortlisted`` (the prefilter; all valid ones without a quick model), ``passing`` (the
        constraints), ``known`` (left out as training polymers), ``duplicate``, and ``no_value`` (no objective).
    rows : list of int
        Positions in the chunk of the kept candidates, best first; no more than the ranked list is long.
    keys : list of str
        Their canonical keys.
    columns : dict of str to ndarray
        ``score``, the predicted properties in user units, and the derived columns of the kept candidates; the spread
        of each property (``O2_std``, ``O2_lower``, ``O2_upper``) as well where it was computed on the way.
    rejects : str
        CSV lines ``line,psmiles,reason,message`` of the refused candidates.
    """

    counts: dict[str, int]
    rows: list[int]
    keys: list[str]
    columns: Columns
    rejects: str


class ChunkScreener:
    """Screens chunks with one model and one plan, behind a quick model if there is one."""

    def __init__(self, bundle: Bundle, spec: ScreenSpec, quick: Bundle | None = None) -> None:
        self.bundle, self.quick = bundle, quick
        self.plan = plan_screen(spec, bundle.properties, gives_std=bundle.model.gives_std)
        self.first = plan_prefilter(spec, quick.properties, bundle.properties) if quick else None
        self.known = frozenset(bundle.keys)

    def screen(self, lines: Sequence[int], psmiles: Sequence[str], faults: Faults) -> ChunkResult:
        """Predict, judge and thin out one chunk."""
        parsed, rejected = _parse(psmiles, faults)
        counted = ("valid", "shortlisted", "passing", "known", "duplicate", "no_value")
        counts = {"read": len(psmiles), **dict.fromkeys(counted, 0)}
        hopeless = 0
        if self.quick is not None and self.first is not None:
            parsed, columns = self._predict(self.quick, parsed, rejected)
            shortlist, _ = _select(parsed, {}, self.first.passes(columns, costly=False))
            hopeless, parsed = len(parsed) - len(shortlist), shortlist
        # Few are left behind a quick model, and their features are at hand: the spread costs next to nothing now.
        parsed, columns = self._predict(self.bundle, parsed, rejected, spread=self.quick is not None)
        counts["shortlisted"], counts["valid"] = len(parsed), len(parsed) + hopeless
        passing, columns = self._judge(parsed, columns)
        counts["passing"] = len(passing)
        counts["no_value"] = int((~np.isfinite(columns["score"])).sum())
        keep, keys = self._thin_out(passing, columns["score"], counts, rejected)
        return ChunkResult(
            counts=counts,
            rows=[passing[i][0] for i in keep],
            keys=keys,
            columns={name: values[keep] for name, values in columns.items()},
            rejects=_reject_lines(lines, psmiles, rejected),
        )

    def _predict(
        self, bundle: Bundle, parsed: Parsed, rejected: Rejected, *, spread: bool = False
    ) -> tuple[Parsed, Columns]:
        """Return the rows a model could predict and their properties; a row that fails is rejected, alone."""
        if spread:
            parsed, found, faults = in_batches(bundle.predict, parsed)
            columns = self._columns([part.mean for part in found]) | self._spread(found)
        else:
            parsed, means, faults = in_batches(bundle.predict_mean, parsed)
            columns = self._columns(means)
        rejected.update({row: ("prediction failed", str(fault)) for row, fault in faults.items()})
        return parsed, columns

    def _columns(self, parts: Sequence[np.ndarray], suffix: str = "") -> Columns:
        """Name the columns of a prediction that came in batches."""
        values = np.concatenate(parts) if parts else np.empty((0, len(self.plan.names)))
        return {name + suffix: values[:, i] for i, name in enumerate(self.plan.names)}

    def _spread(self, parts: Sequence[Prediction]) -> Columns:
        columns: Columns = {}
        for suffix, name in zip(SPREAD_SUFFIXES, ("std", "lower", "upper"), strict=True):
            columns |= self._columns([getattr(part, name) for part in parts], suffix)
        return {name: values for name, values in columns.items() if name in self.plan.spread_names}

    def _judge(self, parsed: Parsed, columns: Columns) -> tuple[Parsed, Columns]:
        """Return the rows that meet all constraints, and their columns with the score."""
        plan = self.plan
        plan.derive(columns, costly=False)
        parsed, columns = _select(parsed, columns, plan.passes(columns, costly=False))
        units = [unit for _, unit in parsed]
        if plan.needs_spread and not plan.spread_names <= set(columns):
            columns |= self._spread([self.bundle.predict(units)])
        if plan.needs_neighbours:
            found = self.bundle.domain.judge(units)
            columns = {SIMILARITY: found.similarity, SCORE: found.score} | columns  # a property keeps its name
        if plan.needs_spread or plan.needs_neighbours:
            plan.derive(columns, costly=True)
            parsed, columns = _select(parsed, columns, plan.passes(columns, costly=True))
        kept = [name for name in columns if name in plan.spread_names or name in (*plan.names, *plan.derived)]
        return parsed, {"score": plan.score(columns), **{name: columns[name] for name in kept}}

    def _thin_out(
        self, parsed: Parsed, score: np.ndarray, counts: dict[str, int], rejected: Rejected
    ) -> tuple[list[int], list[str]]:
        """Go down from the best score and keep new polymers until there are as many as the ranked list holds.

        Nothing below can be in the ranked list, so its canonical keys, the expensive part, are never made.
        """
        order = np.argsort(-score, kind="stable")  # equal scores stay in the order of the file, NaN goes last
        keys: dict[str, int] = {}
        for i in order[: int(np.isfinite(score).sum())].tolist():
            if len(keys) == self.plan.spec.top:
                break
            row, unit = parsed[i]
            try:
                key = unit.key
            except Exception as error:  # as above: one row, never the run
                rejected[row] = ("canonical key", describe(error))
                for name in ("valid", "shortlisted", "passing"):
                    counts[name] -= 1
                continue
            if self.plan.spec.skip_known and key in self.known:
                counts["known"] += 1
            elif key in keys:
                counts["duplicate"] += 1
            else:
                keys[key] = i
        return list(keys.values()), list(keys)


def _parse(psmiles: Sequence[str], faults: Faults) -> tuple[Parsed, Rejected]:
    parsed, refused = parse_all(psmiles)
    rejected = {row: (error.reason, error.what) for row, error in refused.items()}
    rejected.update({row: fault for row, fault in enumerate(faults) if fault[0]})
    return [item for item in parsed if item[0] not in rejected], rejected


def _select(parsed: Parsed, columns: Columns, mask: np.ndarray) -> tuple[Parsed, Columns]:
    return [item for item, keep in zip(parsed, mask, strict=True) if keep], {k: v[mask] for k, v in columns.items()}


_SHOWN = 500  # characters of a refused text that are worth keeping


def _reject_lines(lines: Sequence[int], psmiles: Sequence[str], rejected: Rejected) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for i in sorted(rejected):
        shown = psmiles[i] if len(psmiles[i]) <= _SHOWN else psmiles[i][:_SHOWN] + "..."
        writer.writerow([lines[i], shown, *rejected[i]])
    return text.getvalue()


# One screener a worker process, made once when the process starts.
_worker: dict[str, ChunkScreener] = {}


def start_worker(folder: Path, quick_folder: Path | None, spec: ScreenSpec) -> None:
    """Load the models into this process and keep its libraries to one thread."""
    from polyml.workers import keep_to_threads

    bundle, quick = Bundle.load(folder), Bundle.load(quick_folder) if quick_folder else None
    keep_to_threads(1)
    _worker["screener"] = ChunkScreener(bundle, spec, quick)


def screen_in_worker(lines: Sequence[int], psmiles: Sequence[str], faults: Faults) -> ChunkResult:
    """Screen one chunk with the process's own screener."""
    return _worker["screener"].screen(lines, psmiles, faults)
