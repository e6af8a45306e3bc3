"""From finished chunks to what a chemist reads: ranked.csv, rejects.csv and the Robeson plots."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.bundle import NOVELTY, SCORE, VERDICT, Bundle, warning
from polyml.chem import RepeatUnit
from polyml.data.files import whole_file
from polyml.data.properties import SPREAD_SUFFIXES
from polyml.screening.robeson import UPPER_BOUNDS, bound_line, distance
from polyml.screening.shards import ShardStore
from polyml.screening.spec import SIMILARITY, ScreenPlan, available_pairs

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

NEAREST = "nearest_training"
NEAREST_WARNING = "nearest_warning"
WARNING = "warning"
REJECT_COLUMNS = "line,psmiles,reason,message\n"


@dataclass(frozen=True)
class Outcome:
    """The totals over all chunks, and the ranked list."""

    counts: dict[str, int]
    ranked: pd.DataFrame


def write_outputs(store: ShardStore, chunks: int, bundle: Bundle, plan: ScreenPlan, folder: Path) -> Outcome:
    """Write ``ranked.csv`` and ``rejects.csv`` from the finished chunks.

    The comparison with the training polymers, and the spread where no chunk needed it, are computed here, for the
    ranked candidates alone.
    """
    best, counts = _merge(store, chunks, plan.spec.top)
    ranked = _ranked_frame(best, bundle, plan)
    with whole_file(folder / "ranked.csv") as temporary:
        ranked.to_csv(temporary, index=False, lineterminator="\n")
    _write_rejects(store, chunks, folder / "rejects.csv")
    counts |= {"rejected": counts["read"] - counts["valid"], "ranked": len(ranked)}
    return Outcome({**counts, "outside": int((ranked[VERDICT] == "outside").sum())}, ranked)


def _merge(store: ShardStore, chunks: int, top: int) -> tuple[pd.DataFrame, dict[str, int]]:
    """Merge the best of every chunk into the best of all: a chunk's list is as long as the ranked list can be."""
    import pandas as pd

    counts: Counter[str] = Counter()
    best = pd.DataFrame()
    for shard in store.read(chunks):
        counts.update(shard.counts)
        if shard.frame.empty and not best.empty:
            continue
        both = pd.concat([best, shard.frame], ignore_index=True) if len(best) else shard.frame
        both = both.sort_values(["value:score", "row"], ascending=[False, True], kind="stable")
        distinct = both.drop_duplicates("key")
        counts["duplicate"] += len(both) - len(distinct)
        best = distinct.head(top)
    return best.reset_index(drop=True), dict(counts)


def _ranked_frame(best: pd.DataFrame, bundle: Bundle, plan: ScreenPlan) -> pd.DataFrame:
    """Lay out the ranked list: identity, predictions in user units with their spread, derived, domain, input."""
    import pandas as pd

    columns: dict[str, Any] = {"rank": np.arange(1, len(best) + 1), "score": best["value:score"]}
    columns |= {name: best[name] for name in ("line", "psmiles")}
    columns["canonical"] = best["key"]
    units = [RepeatUnit.parse(text) for text in best["psmiles"]]
    spread = _spread_columns(best, units, bundle, plan)
    for name in plan.names:
        columns[name] = best[f"value:{name}"]
        columns |= {name + suffix: spread[name + suffix] for suffix in SPREAD_SUFFIXES if name + suffix in spread}
    columns |= {name: best[f"value:{name}"] for name in plan.derived}
    for pair in available_pairs(plan.names):
        bound = UPPER_BOUNDS[pair]
        columns[f"robeson {pair}"] = distance(pair, columns[bound.fast], columns[bound.slow])
    neighbours = bundle.domain.judge(units)
    texts, warnings = bundle.describe(units, neighbours)
    columns[WARNING] = [warning(unit) for unit in units]
    columns |= {SIMILARITY: neighbours.similarity, SCORE: neighbours.score, VERDICT: neighbours.verdict}
    if bundle.model.gives_novelty:
        columns[NOVELTY] = bundle.novelty(units)
    columns |= {NEAREST_WARNING: warnings, NEAREST: texts}
    for name in best.columns:
        if name.startswith("input:"):
            columns[_free(name.removeprefix("input:"), columns)] = best[name]
    return pd.DataFrame(columns)


def _spread_columns(
    best: pd.DataFrame, units: Sequence[RepeatUnit], bundle: Bundle, plan: ScreenPlan
) -> Mapping[str, Any]:
    if {f"value:{name}" for name in plan.spread_names} <= set(best.columns):
        return {name: best[f"value:{name}"] for name in plan.spread_names}
    found = bundle.predict(units)
    parts = zip(SPREAD_SUFFIXES, (found.std, found.lower, found.upper), strict=True)
    columns = {name + suffix: part[:, i] for suffix, part in parts for i, name in enumerate(plan.names)}
    return {name: values for name, values in columns.items() if name in plan.spread_names}


def _free(name: str, taken: dict[str, Any]) -> str:
    while name in taken:
        name += "_input"
    return name


def _write_rejects(store: ShardStore, chunks: int, path: Path) -> None:
    """Join the refused rows of all chunks, a block at a time: there may be millions."""
    with whole_file(path) as temporary, temporary.open("wb") as out:
        out.write(REJECT_COLUMNS.encode())
        for number in range(chunks):
            with store.rejects_path(number).open("rb") as part:
                shutil.copyfileobj(part, out)


def robeson_figures(outcome: Outcome, bundle: Bundle) -> dict[str, Figure]:
    """Draw data and ranked candidates against the bound, one figure a gas pair; nothing without such a pair."""
    import pandas as pd

    from polyml.report.robeson import robeson

    data = pd.DataFrame({"psmiles": list(bundle.psmiles), **dict(zip(bundle.names, bundle.values.T, strict=True))})
    ranked = outcome.ranked
    # What came with the candidates (monomers, polymer class) stands after the last column of ours.
    given = list(ranked.columns)[list(ranked.columns).index(NEAREST) + 1 :]
    figures = {}
    for pair in available_pairs(bundle.names):
        fast, slow = UPPER_BOUNDS[pair].fast, UPPER_BOUNDS[pair].slow
        known = data[(data[fast] > 0) & (data[slow] > 0)]
        both = np.concatenate([known[fast], ranked[fast]])
        low, high = (both.min() / 2, both.max() * 2) if len(both) else (1.0, 1e4)
        permeability, selectivity = bound_line(pair, float(low), float(high))
        line = {"upper bound 2008": (permeability.tolist(), selectivity.tolist())}
        hover = ["rank", f"robeson {pair}", SIMILARITY, *given]
        figures[pair] = robeson(pair, known, ranked, line, colour_by=SIMILARITY, hover=hover)
    return figures
