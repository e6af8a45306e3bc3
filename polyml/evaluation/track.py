"""What a comparison tells the tracker: one parent run, one child run a model.

The id of the parent run and the models already reported stand in ``tracking.json`` in the comparison's folder, so that
a continued comparison goes on in the same run and reports no model twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from polyml.bundle import NOVELTY
from polyml.data.files import write_json
from polyml.evaluation.bootstrap import PooledScores, pool_scores
from polyml.evaluation.domain import error_by_domain
from polyml.evaluation.one_fold import fingerprint
from polyml.evaluation.pages import calibration_figure
from polyml.evaluation.protocol import run_tags
from polyml.evaluation.results import ModelOutcome, Results, with_labels
from polyml.evaluation.standing import TOO_FEW
from polyml.evaluation.stats import EQUAL, UNDECIDED
from polyml.evaluation.uncertainty import (
    TITLES,
    uncertainty_table,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from polyml.data.table import PolymerTable
    from polyml.tracking import Tracker

FILES = (
    "compare.json",
    "results.csv",
    "paired_tests.csv",
    "domain.csv",
    "uncertainty.csv",
    "splits.csv",
    "rejects.csv",
    "warnings.csv",
    "duplicates.csv",
)
"""Files of the folder that are kept with the parent run, besides the leaderboard."""


class ComparisonTracking:
    """Report a comparison to a tracker, or to nobody when there is none.

    Parameters
    ----------
    tracker : Tracker or None
    folder : Path
        The comparison's folder.
    """

    def __init__(self, tracker: Tracker | None, folder: Path) -> None:
        self.tracker, self.folder = tracker, folder
        self._state: dict[str, Any] = {"run_id": None, "models": {}}
        self._stamp: dict[str, str] = {}

    @contextmanager
    def comparison(self, table: PolymerTable, options: Mapping[str, Any]) -> Iterator[ComparisonTracking]:
        """Open the parent run, the one of an earlier call if the store still knows it."""
        if self.tracker is None:
            yield self
            return
        self._state |= _read_state(self.folder / "tracking.json")
        known = self._state["run_id"]
        if known and not self.tracker.has_run(known):
            known = None  # another store, or deleted there: begin anew
        stamped = run_tags(options)
        params = {name: options[name] for name in ("seed", "split", "metrics", "ratios", "threads", "jobs")}
        params |= {"protocol": stamped["polyml.protocol"], "models": [m["label"] for m in options["models"]]}
        tags = {"polyml.stage": "compare", "polyml.data_digest": options["data"]["digest"]}
        tags |= stamped
        self._stamp = stamped
        with self.tracker.parent_run(options["name"], params, tags, run_id=known) as run_id:
            if run_id != known:  # a new run knows none of the models
                self._state = {"run_id": run_id, "models": {}}
                self.tracker.log_dataset(table.frame, options["name"], table.digest, table.source)
            self._save()
            yield self

    def log_model(self, outcome: ModelOutcome, scales: Mapping[str, str], classes: Sequence[str] = ()) -> None:
        """Report one model in a child run: scores per fold and their means, parameters, curves and plots."""
        label = outcome.entry.label
        mark = fingerprint(folds=outcome.fingerprints, failed=outcome.failure is not None)
        if self.tracker is None or self._state["models"].get(label) == mark:
            return
        params = {"model": outcome.entry.key, "family": outcome.entry.family, **outcome.params}
        tags = {"polyml.model": outcome.entry.key, "polyml.family": outcome.entry.family, **self._stamp}
        with self.tracker.child_run(label, params, tags):
            if outcome.failure is not None:
                self.tracker.log_text(outcome.failure.traceback, "error.txt")
                self.tracker.mark_failed(outcome.failure.error)
            else:
                self._log_scores(self.tracker, outcome, classes)
                self._log_curves(self.tracker, outcome, scales, classes)
        self._state["models"][label] = mark
        self._save()

    def _log_scores(self, tracker: Tracker, outcome: ModelOutcome, classes: Sequence[str]) -> None:
        scores = outcome.scores
        tracker.log_metrics(mean_scores(scores))
        pooled = pool_scores(outcome.predictions, list(dict.fromkeys(scores["metric"])), {})
        tracker.log_metrics(pooled_metrics(pooled, outcome.entry.label))
        folds = scores.drop_duplicates(["repeat", "fold"])
        tracker.log_metrics({name: float(folds[name].mean()) for name in ("fit_seconds", "predict_seconds")})
        for step, (_, part) in enumerate(scores.groupby(["repeat", "fold"], sort=True)):
            rows = zip(part["metric"], part["property"], part["score"], strict=True)
            tracker.log_metrics({f"folds/{metric_name(m, prop)}": float(s) for m, prop, s in rows}, step=step)
        if not classes:
            tracker.log_metrics(spread_scores(outcome.predictions))
        tracker.log_table(with_labels(outcome.predictions, classes), "predictions.csv")
        if outcome.chosen:
            tracker.log_text(json.dumps(outcome.chosen, indent=1, default=str), "chosen_params.json")
        if outcome.warnings:
            tracker.log_text("\n".join(outcome.warnings), "warnings.txt")

    def _log_curves(
        self, tracker: Tracker, outcome: ModelOutcome, scales: Mapping[str, str], classes: Sequence[str]
    ) -> None:
        from polyml.report.domain import error_against_similarity
        from polyml.report.plots import confusion, learning_curves, parity, residuals
        from polyml.training.diagnosis import diagnose, diagnosis_text

        findings = diagnose(outcome.history, outcome.fits)
        if findings:
            tracker.set_tags({"polyml.diagnosis": ", ".join(findings)})
            tracker.log_text(diagnosis_text(findings), "diagnosis.txt")
        figures: dict[str, Figure] = {}
        near = error_by_domain(outcome.predictions, classes=bool(classes))
        tracker.log_table(near, "domain.csv")
        measured = outcome.predictions.dropna(subset=["y_true"])
        for prop, part in measured.groupby("property", sort=False):
            title, scale = f"{outcome.entry.label}: {prop}", scales.get(str(prop), "")
            if classes:
                figures[f"Confusion matrix, {prop}"] = confusion(part, classes, title)
                continue
            figures[f"Parity, {prop}"] = parity(part, title, scale)
            figures[f"Residuals, {prop}"] = residuals(part, title, scale)
            own = near[near["property"] == prop]
            figures[f"Error against similarity, {prop}"] = error_against_similarity(part, own, title, scale)
            if (own["by"] == NOVELTY).any():
                drawn = error_against_similarity(part, own, title, scale, by=NOVELTY)
                figures[f"Error against novelty, {prop}"] = drawn
            figures |= calibration_figure(part, str(prop), title, scale)
        for where, rows in _curves(outcome.history, ["repeat", "fold", "member"]):
            steps = [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
            tracker.log_history(steps, prefix=f"training/{where}/")
        for where, rows in _curves(outcome.history, ["member"]):
            if "epoch" in rows and any(str(name).endswith("loss") for name in rows):
                figures[f"Learning curves {where}".strip()] = learning_curves(rows, f"{outcome.entry.label} {where}")
        tracker.log_figures(figures, "plots.html", title=outcome.entry.label)

    def finish(self, results: Results) -> None:
        """Add the tables, the leaderboard and the best scores to the parent run."""
        if self.tracker is None:
            return
        from polyml.evaluation.pages import comparison_figures, leaderboard_html
        from polyml.evaluation.summary import Summary

        board = results.leaderboard()
        self.tracker.log_table(board, "leaderboard.csv")
        self.tracker.log_text(leaderboard_html(Summary.of(results)), "leaderboard.html")
        self.tracker.log_files([self.folder / name for name in FILES], "tables")
        if len(results.failures) == len(results.entries):
            return
        best = results.best()
        ties = board.loc[board["against_best"].isin([EQUAL, UNDECIDED, TOO_FEW]), "model"]
        self.tracker.set_tags({"polyml.best_model": best, "polyml.ties_with_best": ", ".join(ties)})
        scores = mean_scores(results.frame[results.frame["model"] == best])
        scores |= pooled_metrics(results.pooled, best)
        self.tracker.log_metrics({f"best/{name}": value for name, value in scores.items()})
        self.tracker.log_figures(comparison_figures(results), "plots.html", title=results.options["name"])

    def _save(self) -> None:
        if self._state["run_id"]:  # a tracker that records nothing has no run to come back to
            write_json(self.folder / "tracking.json", self._state)


def mean_scores(scores: pd.DataFrame) -> dict[str, float]:
    """Average scores over folds, named ``rmse/O2``; scores that are not defined are left out."""
    means = scores.groupby(["metric", "property"], sort=False)["score"].mean().dropna().reset_index()
    rows = zip(means["metric"], means["property"], means["score"], strict=True)
    return {metric_name(metric, prop): float(value) for metric, prop, value in rows}


def pooled_metrics(pooled: PooledScores, model: str) -> dict[str, float]:
    """Return the pooled scores of a model and their intervals, named ``rmse_pooled/O2``, ``rmse_low/O2`` and so on."""
    found = {}
    for metric, prop in pooled.scores:
        ends = pooled.interval(metric, prop, model)
        for suffix, value in zip(("pooled", "low", "high"), (pooled.score(metric, prop, model), *ends), strict=True):
            if value == value:
                found[metric_name(f"{metric}_{suffix}", prop)] = value
    return found


def spread_scores(predictions: pd.DataFrame) -> dict[str, float]:
    """Measure the spreads of one model, named ``coverage/O2``; what is not defined or has no bound is left out."""
    rows = uncertainty_table(predictions).to_dict("records")
    found = {metric_name(name, str(row["property"])): float(row[name]) for row in rows for name in TITLES}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def metric_name(metric: str, prop: str) -> str:
    """Name a score for the tracker, which groups by what stands before a slash.

    Examples
    --------
    >>> metric_name("rmse", "O2/N2")
    'rmse/O2_over_N2'
    """
    return f"{metric}/{prop.replace('/', '_over_')}"


def _curves(history: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Divide a history by the columns it has of ``by``; the columns that are no numbers are left out."""
    present = [name for name in by if name in history.columns]
    numbers = history.select_dtypes("number")
    if not present:  # a history without members is one curve; no history is none
        yield from [("", numbers)] if len(numbers) else []
        return
    for values, rows in numbers.groupby(present, sort=True):
        where = "_".join(f"{name}{value}" for name, value in zip(present, values, strict=True))
        yield where, rows.drop(columns=present)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text("utf-8"))
        return {"run_id": state["run_id"], "models": dict(state["models"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # the first call, or a damaged note: a new run is begun
