"""Scores over the number of training polymers: would more data help, and which model makes most of few?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from polyml.data.files import whole_file, write_json
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.evaluation.metrics import METRICS, make_metrics
from polyml.evaluation.protocol import run_tags
from polyml.evaluation.stats import corrected_resampled_ttest

if TYPE_CHECKING:
    from polyml.data.splits import SplitSpec
    from polyml.data.table import PolymerTable
    from polyml.tracking import Tracker

SIZES = (25, 50, 100, 200, 400, 800, 1600, 3200)
"""Numbers of training polymers taken by default, as far as there are so many; all of them come last."""

_LEVEL = 0.05  # of significance
_SMALL = 0.02  # of a score up to one


@dataclass(frozen=True)
class LearningCurve:
    """Scores of models on the same test parts after training on more and more polymers.

    Attributes
    ----------
    frame : DataFrame
        model, polymers, repeat, fold, score, fit_seconds: the mean over properties of one metric.
    metric : str
    test_train : dict
        Rows in a test part over those in a training part, by number of polymers.
    protocol : mapping
        The stamp of the comparisons with its words, see :mod:`polyml.evaluation.protocol`.
    """

    frame: pd.DataFrame
    metric: str
    test_train: dict[int, float]
    protocol: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> pd.DataFrame:
        """Return mean and standard deviation over folds: model, polymers, score, score_sd, fit_seconds."""
        groups = self.frame.groupby(["model", "polymers"], sort=False)
        table = groups["score"].agg(["mean", "std"]).rename(columns={"mean": "score", "std": "score_sd"})
        return table.assign(fit_seconds=groups["fit_seconds"].mean()).reset_index()

    def words(self) -> list[str]:
        """Say in plain words where each curve stands, where one model is ahead of the first, and how it was scored."""
        models = list(dict.fromkeys(self.frame["model"]))
        trends = [self._trend(model) for model in models]
        stamped = [f"{stamp}: {words}" for stamp, words in self.protocol.items()]
        return [*trends, *(self._against(models[0], other) for other in models[1:]), *stamped]

    def _sizes(self, model: str) -> list[int]:
        return sorted(set(self.frame.loc[self.frame["model"] == model, "polymers"]))

    def _scores(self, model: str, size: int) -> pd.Series:
        rows = self.frame[(self.frame["model"] == model) & (self.frame["polymers"] == size)]
        return rows.set_index(["repeat", "fold"])["score"]

    def _trend(self, model: str) -> str:
        sizes, title = self._sizes(model), METRICS[self.metric].title
        before = [size for size in sizes if size <= 0.6 * sizes[-1]]
        if not before:
            return f"{model}: too few sizes to see a trend."
        gain, p = self._difference(model, sizes[-1], model, before[-1])
        told = f"{title} {self._scores(model, sizes[-1]).mean():.3f} with {sizes[-1]} polymers"
        step = f"{gain:+.3f} from {before[-1]} to {sizes[-1]}"
        if p < _LEVEL and gain > 0:
            return f"{model}: {told}, still rising ({step}): more polymers will help."
        if gain > _SMALL:
            return f"{model}: {told}, probably still rising ({step}, which the spread over the folds does not confirm)."
        return f"{model}: {told}, levelled out ({step}): more polymers of this kind will help little."

    def _against(self, first: str, other: str) -> str:
        better: list[str] = []
        worse: list[str] = []
        equal: list[str] = []
        for size in self._sizes(other):
            gain, p = self._difference(other, size, first, size)
            (equal if not p < _LEVEL else better if gain > 0 else worse).append(f"{size} ({gain:+.3f})")
        parts = [
            f"{word} with {', '.join(sizes)}"
            for word, sizes in (("better", better), ("worse", worse), ("not told apart", equal))
            if sizes
        ]
        return f"{other} against {first}: {'; '.join(parts)} polymers (corrected paired t-test, p < .05)."

    def _difference(self, model: str, size: int, other: str, other_size: int) -> tuple[float, float]:
        """Return by how much the first is better, and the p value of a corrected paired t-test."""
        sign = 1.0 if METRICS[self.metric].direction == "maximize" else -1.0
        gap = sign * (self._scores(model, size) - self._scores(other, other_size))
        test = corrected_resampled_ttest(gap.to_numpy(), self.test_train[size])
        return float(gap.mean()), math.inf if math.isnan(test.p) else test.p


def learning_curve(
    table: PolymerTable,
    specs: Sequence[Compared],
    split: SplitSpec,
    folder: Path,
    *,
    sizes: Sequence[int] | None = None,
    metric: str | None = None,
    tracker: Tracker | None = None,
    jobs: int | None = None,
    seed: int = 1,
    name: str | None = None,
) -> LearningCurve:
    """Train every model on more and more polymers of each training part, and score it on the whole test part.

    Parameters
    ----------
    table : PolymerTable
    specs : sequence of Compared
        The first is the one that the others are compared with.
    split : SplitSpec
    folder : Path
        One comparison a size in ``n25`` and so on, with finished folds kept; learning_curve.csv, summary.csv,
        learning_curve.html and words.txt.
    sizes : sequence of int, optional
        Numbers of polymers; :data:`SIZES` by default. All training polymers come last in any case.
    metric : str, optional
        R² by default, MCC for classes.
    tracker : Tracker, optional
    jobs, seed, name
        As for :func:`polyml.evaluation.compare.compare`.

    Raises
    ------
    UserError
        A size is below five, or as for ``compare``.
    """
    from polyml.data.splits import make_folds

    chosen = make_metrics([metric or ("mcc" if table.task == "classification" else "r2")], table.task)[0].name
    parts = make_folds(table, split)
    largest = min(len({table.keys[row] for row in fold.train}) for fold in parts)
    if beyond := [size for size in sizes or () if size > largest]:
        text = ", ".join(map(str, beyond))
        warnings.warn(f"a fold trains on {largest} polymers at most, in place of {text}", UserWarning, stacklevel=2)
    wanted = sorted({size for size in (sizes or SIZES) if size < largest} | {largest})
    if wanted[0] < 5:
        raise UserError(f"{wanted[0]} polymers are too few to learn from", where="sizes", fix="begin at five or more")
    frames, folder = [], Path(folder)
    for size in wanted:
        results = compare(
            table, specs, split, folder / f"n{size}", jobs=jobs, metrics=[chosen], seed=seed, train_size=size
        )
        if results.failures:
            label, failure = next(iter(results.failures.items()))
            raise UserError(f"model '{label}' failed with {size} polymers: {failure.error}", fix="leave it out")
        by = ["model", "repeat", "fold"]
        scores = results.frame[results.frame["property"].isin(results.properties)]
        means = scores.groupby(by, sort=False)[["score", "fit_seconds"]].mean().reset_index()
        frames.append(means.assign(polymers=size))
    test = sum(len(fold.test) for fold in parts) / len(parts)
    frame = pd.concat(frames, ignore_index=True)[["model", "polymers", "repeat", "fold", "score", "fit_seconds"]]
    order = {spec.label: place for place, spec in enumerate(specs)}
    frame = frame.sort_values("model", key=lambda column: column.map(order), kind="stable", ignore_index=True)
    made = {name: results.options[name] for name in ("split", "protocol", "leaks")}  # the same for all sizes
    curve = LearningCurve(frame, chosen, {size: test / size for size in wanted}, made["protocol"])
    _write(curve, folder, {"metric": chosen, "sizes": wanted, "seed": seed, **made})
    if tracker is not None:
        _log(curve, folder, tracker, table, name or folder.name, specs, seed)
    return curve


def _write(curve: LearningCurve, folder: Path, options: dict[str, object]) -> None:
    from polyml.report.html import figures_page
    from polyml.report.plots import size_curves

    for name, table in (("learning_curve.csv", curve.frame), ("summary.csv", curve.summary())):
        with whole_file(folder / name) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    title = METRICS[curve.metric].title
    with whole_file(folder / "learning_curve.html") as temporary:
        page = figures_page("Learning curve", {title: size_curves(curve.summary(), title)})
        temporary.write_text(page, encoding="utf-8")
    with whole_file(folder / "words.txt") as temporary:
        temporary.write_text("\n".join(curve.words()) + "\n", encoding="utf-8")
    write_json(folder / "learning_curve.json", options)


def _log(
    curve: LearningCurve,
    folder: Path,
    tracker: Tracker,
    table: PolymerTable,
    name: str,
    specs: Sequence[Compared],
    seed: int,
) -> None:
    tags = {"polyml.stage": "learning curve", "polyml.data_digest": table.digest}
    stamped = run_tags({"protocol": curve.protocol})
    tags |= stamped
    params = {"models": [spec.label for spec in specs], "metric": curve.metric, "seed": seed}
    with tracker.parent_run(f"learning curve {name}", params, tags):
        for spec in specs:
            rows = curve.summary()
            rows = rows[rows["model"] == spec.label]
            with tracker.child_run(spec.label, {"model": spec.key, **spec.params}, stamped):
                for size, score in zip(rows["polymers"], rows["score"], strict=True):
                    tracker.log_metrics({curve.metric: float(score)}, step=int(size))
        tracker.log_text("\n".join(curve.words()), "words.txt")
        tracker.log_files([folder / part for part in ("learning_curve.csv", "summary.csv", "learning_curve.html")])
