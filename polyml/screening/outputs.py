"""From finished chunks to what a chemist reads: the ranked list, the refused rows, all predictions, Robeson plots."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.bundle import NOVELTY, SCORE, VERDICT, warning
from polyml.chem import RepeatUnit
from polyml.data.files import whole_file
from polyml.data.properties import SPREAD_SUFFIXES
from polyml.data.writers import frame_writer, rounded, write_frame
from polyml.domain import fingerprints
from polyml.errors import UserError
from polyml.screening.best import text_types
from polyml.screening.chunk_rows import REFUSED
from polyml.screening.duplicates import Copies
from polyml.screening.plan import ScreenPlan
from polyml.screening.predictors import Predictors
from polyml.screening.probability import Criteria
from polyml.screening.robeson import UPPER_BOUNDS, bound_line, distance
from polyml.screening.screener import chances_of
from polyml.screening.shards import ShardStore
from polyml.screening.spec import PROBABILITY, SIMILARITY, ScreenSpec, available_pairs

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from plotly.graph_objects import Figure

NEAREST = "nearest_training"
NEAREST_WARNING = "nearest_warning"
WARNING = "warning"
_OF_SHORTLIST = ("pick", "distance", "cluster_size")
REJECT_COLUMNS = ("file", "line", "psmiles", "reason", "message")


def write_ranked(best: pd.DataFrame, models: Predictors, plan: ScreenPlan, path: Path) -> pd.DataFrame:
    """Write the ranked list, with what was not computed for every candidate: spread, domain, nearest polymer."""
    ranked = _ranked_frame(best, models, plan)
    write_frame(rounded(ranked), path)
    return ranked


def write_shortlist(ranked: pd.DataFrame, spec: ScreenSpec, path: Path) -> pd.DataFrame:
    """Write those of the ranked candidates that differ from each other, and return them."""
    from polyml.screening.shortlist import MOST_CLUSTERED, cluster_picks, leader_picks, maxmin_picks

    pick = {"maxmin": maxmin_picks, "leader": leader_picks, "clusters": cluster_picks}[spec.shortlist_by]
    pool = ranked.head(MOST_CLUSTERED) if spec.shortlist_by == "clusters" else ranked
    found = pick(fingerprints(pool["psmiles"].tolist()), spec.shortlist)
    chosen = pool.iloc[found.rows]
    chosen.insert(0, "pick", np.arange(1, len(chosen) + 1))
    chosen.insert(2, "distance", found.distance)
    if spec.shortlist_by != "maxmin":
        chosen.insert(3, "cluster_size", found.size)
    write_frame(rounded(chosen), path)
    return chosen


def write_rejects(store: ShardStore, chunks: int, path: Path) -> None:
    """Join the refused rows of all chunks, a chunk at a time: there may be millions."""
    import pyarrow.compute as pc

    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        for number, table in enumerate(_tables(store, chunks)):
            # The file is told only where there are several.
            names = [name for name in REJECT_COLUMNS if name in table.column_names]
            refused = table.filter(pc.equal(table["outcome"], REFUSED)).select(names)
            refused.to_pandas().to_csv(out, index=False, header=not number, lineterminator="\n")


def write_predictions(store: ShardStore, chunks: int, path: Path, copies: Copies | None = None) -> None:
    """Join all rows of all chunks, in the order of the input; only where every row is kept."""
    import pandas as pd

    with frame_writer(path) as write:
        for table in _tables(store, chunks):
            table = table if copies is None else copies.marked(table)
            # The objectives of a Pareto front are kept for the front alone.
            inner = [name for name in table.column_names if name.startswith("value:objective ")]
            frame = table.drop_columns(["copies", *inner]).to_pandas(types_mapper=text_types)
            columns: dict[str, Any] = {}
            for name in [name for name in frame.columns if not name.startswith("input:")]:
                columns["canonical" if name == "key" else name.removeprefix("value:")] = frame[name]
            columns["row"] = columns["row"] + 1
            for name in [name for name in frame.columns if name.startswith("input:")]:
                columns[_free(name.removeprefix("input:"), columns)] = frame[name]
            write(rounded(pd.DataFrame(columns)))


def _tables(store: ShardStore, chunks: int) -> Iterator[pa.Table]:
    for number in range(chunks):
        shard = store.read(number)
        if shard is None:
            where = str(store.path(number))
            raise UserError("a finished chunk is gone or damaged", where=where, fix="run again with --resume")
        yield shard.table


def _ranked_frame(best: pd.DataFrame, models: Predictors, plan: ScreenPlan) -> pd.DataFrame:
    """Lay out the ranked list: identity, predictions in user units with their spread, derived, domain, input."""
    import pandas as pd

    columns: dict[str, Any] = {"rank": np.arange(1, len(best) + 1), "score": best["value:score"]}
    columns |= {name: best[name] for name in ("file", "line", "psmiles") if name in best}
    columns["canonical"] = best["key"]
    units = [RepeatUnit.parse(text) for text in best["psmiles"]]
    spread = _spread_columns(best, units, models, plan)
    for name in plan.names:
        columns[name] = best[f"value:{name}"]
        columns |= {name + suffix: spread[name + suffix] for suffix in SPREAD_SUFFIXES if name + suffix in spread}
    columns |= {name: best[f"value:{name}"] for name in plan.derived}
    for pair in available_pairs(plan.names):
        bound = UPPER_BOUNDS[pair]
        columns[f"robeson {pair}"] = distance(pair, columns[bound.fast], columns[bound.slow])
    neighbours, texts, warnings = models.judge_and_describe(units)
    columns[WARNING] = [warning(unit) for unit in units]
    columns |= {SIMILARITY: neighbours.similarity, SCORE: neighbours.score, VERDICT: neighbours.verdict}
    if plan.constraints and models.gives_std:
        columns[PROBABILITY] = chances_of(models, Criteria.of(plan), {**columns, **spread}).probability
    if models.gives_novelty:
        columns[NOVELTY] = models.novelty(units)
    columns |= {NEAREST_WARNING: warnings, NEAREST: texts}
    for name in best.columns:
        if name.startswith("input:"):
            columns[_free(name.removeprefix("input:"), {*columns, *_OF_SHORTLIST})] = best[name]
    return pd.DataFrame(columns)


def _spread_columns(
    best: pd.DataFrame, units: Sequence[RepeatUnit], models: Predictors, plan: ScreenPlan
) -> Mapping[str, Any]:
    if {f"value:{name}" for name in plan.spread_names} <= set(best.columns):
        return {name: best[f"value:{name}"] for name in plan.spread_names}
    found = models.predict(units)
    parts = zip(SPREAD_SUFFIXES, (found.std, found.lower, found.upper), strict=True)
    columns = {name + suffix: part[:, i] for suffix, part in parts for i, name in enumerate(plan.names)}
    return {name: values for name, values in columns.items() if name in plan.spread_names}


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_input"
    return name


def given_columns(ranked: pd.DataFrame) -> list[str]:
    """Return what came with the candidates (monomers, polymer class): it stands after the last column of ours.

    Numbers of rows that pandas has put into Parquet are nothing to look at.
    """
    columns = list(ranked.columns)
    return [name for name in columns[columns.index(NEAREST) + 1 :] if not name.startswith("__index_level_")]


def robeson_figures(ranked: pd.DataFrame, models: Predictors) -> dict[str, Figure]:
    """Draw data and ranked candidates against the bound, one figure a gas pair; nothing without such a pair."""
    from polyml.report.robeson import robeson

    data = models.training_frame()
    figures = {}
    for pair in available_pairs(models.names):
        fast, slow = UPPER_BOUNDS[pair].fast, UPPER_BOUNDS[pair].slow
        known = data[(data[fast] > 0) & (data[slow] > 0)]
        both = np.concatenate([known[fast], ranked[fast]])
        low, high = (both.min() / 2, both.max() * 2) if len(both) else (1.0, 1e4)
        permeability, selectivity = bound_line(pair, float(low), float(high))
        line = {"upper bound 2008": (permeability.tolist(), selectivity.tolist())}
        hover = ["rank", f"robeson {pair}", SIMILARITY, *given_columns(ranked)]
        figures[pair] = robeson(pair, known, ranked, line, colour_by=SIMILARITY, hover=hover)
    return figures
