"""What a comparison found: tidy scores, a leaderboard, paired tests, and the files they are kept in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from polyml.data.files import whole_file, write_json
from polyml.evaluation.bootstrap import PooledScores, pool_scores
from polyml.evaluation.compared import Entry
from polyml.evaluation.domain import error_by_domain
from polyml.evaluation.metrics import MEAN, METRICS, deciding_metric
from polyml.evaluation.one_fold import Failure
from polyml.evaluation.pairs import (
    ROPE,
    TOP,
    add_bootstrap,
    add_wilcoxon,
    fold_scores,
    log_errors,
    paired_tests,
    polymer_errors,
)
from polyml.evaluation.standing import standing
from polyml.evaluation.uncertainty import uncertainty_table
from polyml.report.html import companion_column

COLUMNS = [
    "run", "model", "features", "split", "fold", "repeat", "property", "metric", "score", "seed",
    "fit_seconds", "predict_seconds", "n_train", "n_test",
]  # fmt: skip


@dataclass(frozen=True)
class ModelOutcome:
    """All folds of one model: scores and predictions as in :class:`Results`, or why there are none.

    ``history`` has one row an epoch with repeat, fold and what the model recorded; ``chosen`` has the parameters that a
    search found, by fold; ``fits`` what a fold explains of its training and of its test polymers, where the history
    holds no validation loss.
    """

    entry: Entry
    params: Mapping[str, Any]
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None
    fingerprints: tuple[str, ...] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict)
    fits: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Results:
    """Outcome of a comparison.

    Attributes
    ----------
    frame : DataFrame
        Tidy scores: run, model, features, split, fold, repeat, property, metric, score, seed, fit_seconds,
        predict_seconds, n_train, n_test (measured values). Models that failed are not in it.
    predictions : DataFrame
        Out-of-fold predictions in the modelled scale: model, repeat, fold, key, psmiles, property, y_true, y_pred,
        std, lower, upper; ratios are rows of their own. nearest_similarity, domain_score and domain tell how near the
        polymer is to the training polymers of its fold.
    splits, rejects, warnings, duplicates : DataFrame
        Which polymer is in which test part; what was left out, doubted or merged when the table was read.
    entries : tuple of Entry
        The models in the order they were given.
    failures : dict
        Why a model was not scored, by label.
    properties, ratios : tuple of str
        ``properties`` count in the means, ``ratios`` do not.
    scales : dict
        The modelled scale of each property and ratio, ``log10(Barrer)`` say.
    metrics : tuple of str
    options : dict
        Everything the comparison was made with, and the versions of the libraries.
    classes : tuple of str
        The labels behind ``y_true`` and ``y_pred`` of a classification, whose ``predictions`` have the probability of
        each class as ``p[LABEL]`` besides.
    reused, computed : int
        Folds taken from an earlier call, and folds trained in this one.
    rope : float
        Region of practical equivalence: differences that do not matter; see :data:`polyml.evaluation.pairs.ROPE`.
    """

    frame: pd.DataFrame
    predictions: pd.DataFrame
    splits: pd.DataFrame
    rejects: pd.DataFrame
    warnings: pd.DataFrame
    duplicates: pd.DataFrame
    entries: tuple[Entry, ...]
    failures: dict[str, Failure]
    properties: tuple[str, ...]
    ratios: tuple[str, ...]
    scales: dict[str, str]
    metrics: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    reused: int = 0
    computed: int = 0
    rope: float = ROPE

    def averaged(self, metric: str) -> tuple[str, ...]:
        """Return the properties a mean of this metric may be taken over.

        A score with a unit is not averaged over properties of different scales; ratios are never averaged in.
        """
        same_scale = len({self.scales[name] for name in self.properties}) == 1
        return self.properties if same_scale or METRICS[metric].unit == "none" else ()

    @property
    def decisive(self) -> tuple[str, str]:
        """The metric and property (or mean over properties) whose pooled score decides the order."""
        return deciding_metric(self.metrics), MEAN if len(self.properties) > 1 else self.properties[0]

    @cached_property
    def spreads(self) -> dict[str, float]:
        """Standard deviation of the measured values of each property and ratio, in the modelled scale."""
        if self.predictions.empty:
            return {}
        rows = self.predictions[self.predictions["model"] == self.predictions["model"].iloc[0]]
        rows = rows[rows["repeat"] == rows["repeat"].iloc[0]]
        return {str(name): float(part.std()) for name, part in rows.groupby("property")["y_true"]}

    @cached_property
    def means(self) -> dict[str, dict[str, float]]:
        """The weights of the properties in the mean of each metric; none for a metric that has no mean.

        Where the deciding metric is an error and the scales differ, its weights are those of errors in units of the
        spread of each property.
        """
        weights = {}
        for metric in self.metrics:
            names = self.averaged(metric)
            weights[metric] = dict.fromkeys(names, 1.0 / len(names)) if len(names) > 1 else {}
            if not names and metric == self.decisive[0] and self.spreads:
                weights[metric] = {prop: 1.0 / (len(self.properties) * self.spreads[prop]) for prop in self.properties}
        return weights

    @cached_property
    def pooled(self) -> PooledScores:
        """The scores of all out-of-fold predictions together; see :mod:`polyml.evaluation.bootstrap`."""
        return pool_scores(self.predictions, self.metrics, self.means)

    def leaderboard(self) -> pd.DataFrame:
        """Rank the models, one row each.

        The order is by the **pooled** R² (or the first metric, where R² is none of them): the predictions of all folds
        are scored together, property by property, and averaged over the properties. R² has no unit, so that properties
        of any scale count alike, and it does not depend on which other models take part (a mean rank does). The mean
        of the R² of single folds would not do: it divides the errors of each fold by the spread within that fold, and
        in a fold of one scaffold or cluster that spread may be almost nothing. One such fold outweighs all others, and
        the model that always predicts the mean has come first in this way. Pooled scores divide the errors of every
        model by one and the same spread.

        Failed models stand at the end, with no scores.

        Returns
        -------
        DataFrame
            rank, model, key, family, features, status ("ok" or "failed"); against_best ("best", "practically equal",
            "undecided", "too few folds", "probably worse" or "worse", see :meth:`standing`); for each metric
            ``rmse`` and ``rmse_sd`` (mean over properties, then mean and standard deviation over folds),
            ``rmse_pooled`` with its 95 % bootstrap interval ``rmse_low`` to ``rmse_high``, and the same per property
            as ``rmse[O2]``, ``rmse_sd[O2]``, ``rmse_pooled[O2]`` and so on; fit_seconds and predict_seconds (mean per
            fold); error.
        """
        return self._board.copy()

    @cached_property
    def _board(self) -> pd.DataFrame:
        entries = {entry.label: entry for entry in self.entries}
        standing_of = self.standing()
        rows: list[dict[str, Any]] = []
        for label in [*self.ranking, *self.failures]:
            failure, entry = self.failures.get(label), entries[label]
            own = self.frame[self.frame["model"] == label]
            head = {"rank": None if failure else len(rows) + 1, "model": label, "key": entry.key}
            head |= {"family": entry.family, "features": own["features"].iloc[0] if len(own) else ""}
            head |= {"status": "failed" if failure else "ok", "against_best": standing_of.get(label, "")}
            folds = own.drop_duplicates(["repeat", "fold"])
            times = {name: folds[name].mean() for name in ("fit_seconds", "predict_seconds")}
            rows.append(head | self._scores_of(label, own) | times | {"error": failure.error if failure else ""})
        return pd.DataFrame(rows).astype({"rank": "Int64"})

    def _scores_of(self, label: str, own: pd.DataFrame) -> dict[str, float]:
        row: dict[str, float] = {}
        for metric in self.metrics:
            wide = own[own["metric"] == metric].pivot(index=["repeat", "fold"], columns="property", values="score")
            wide = wide.reindex(columns=[*self.properties, *self.ratios])
            averaged = self.averaged(metric)
            mean = wide[list(averaged)].mean(axis=1, skipna=False)
            row |= {metric: mean.mean(), f"{metric}_sd": mean.std()}
            row |= self._pooled_columns(metric, MEAN if len(averaged) > 1 else "".join(averaged), label, metric)
            for name in wide.columns:
                column = f"{metric}[{name}]"
                row |= {column: wide[name].mean(), companion_column(column, "sd"): wide[name].std()}
                row |= self._pooled_columns(metric, name, label, column)
        return row

    def _pooled_columns(self, metric: str, prop: str, label: str, column: str) -> dict[str, float]:
        low, high = self.pooled.interval(metric, prop, label)
        values = {"pooled": self.pooled.score(metric, prop, label), "low": low, "high": high}
        return {companion_column(column, suffix): value for suffix, value in values.items()}

    @cached_property
    def ranking(self) -> tuple[str, ...]:
        """Labels of the models that have scores, best first."""
        labels = [entry.label for entry in self.entries if entry.label not in self.failures]
        first, prop = self.decisive
        names = [first, *(name for name in self.metrics if name != first)]

        def place(label: str) -> tuple[list[float], str]:
            scores = [self.pooled.score(name, prop, label) for name in names]
            signs = [-1.0 if METRICS[name].direction == "maximize" else 1.0 for name in names]
            costs = [sign * score for sign, score in zip(signs, scores, strict=True)]
            return [math.inf if math.isnan(cost) else cost for cost in costs], label

        return tuple(sorted(labels, key=place))

    def best(self) -> str:
        """Return the label of the model at the top."""
        return str(self._board["model"].iloc[0])

    def standing(self) -> dict[str, str]:
        """Say how each model stands against the best; see :func:`polyml.evaluation.standing.standing`."""
        return standing(self._tests, self.ranking[0], *self.decisive) if self.ranking else {}

    def paired_tests(self, top: int = TOP) -> pd.DataFrame:
        """Test the best model against every other, and the ``top`` models pair by pair.

        See :func:`polyml.evaluation.pairs.paired_tests`, ``add_bootstrap`` and ``add_wilcoxon`` for the columns, and
        :func:`polyml.evaluation.pairs.fold_scores` for what is tested of R².
        """
        return self._tests.copy() if top == TOP else self._tested(top)

    @cached_property
    def _tests(self) -> pd.DataFrame:
        return self._tested(TOP)

    def _tested(self, top: int) -> pd.DataFrame:
        deciding = self.decisive[0]
        logs = log_errors(self.frame, self.predictions, deciding)
        scores = pd.concat([fold_scores(self.frame, self.predictions), logs], ignore_index=True)
        means = self.means | {name: dict.fromkeys(self.properties, 1 / len(self.properties)) for name in logs["metric"]}
        tests = paired_tests(scores, self.ranking, means, spreads=self.spreads, rope=self.rope, top=top)
        errors = polymer_errors(self.predictions, self.properties, self.spreads, classes=bool(self.classes))
        return add_wilcoxon(add_bootstrap(tests, self.pooled), errors, self.ranking, top)

    def error_by_domain(self) -> pd.DataFrame:
        """Score near and far polymers apart; see :func:`polyml.evaluation.domain.error_by_domain`."""
        return error_by_domain(self.predictions, classes=bool(self.classes))

    def uncertainty(self) -> pd.DataFrame:
        """Measure the predicted spreads; see :func:`polyml.evaluation.uncertainty.uncertainty_table`. No classes."""
        return uncertainty_table(self.predictions.iloc[:0] if self.classes else self.predictions)

    def write(self, folder: Path) -> None:
        """Write the tables and ``compare.json``, each file whole or not at all."""
        tables = {
            "results.csv": self.frame,
            "leaderboard.csv": self.leaderboard(),
            "paired_tests.csv": self.paired_tests(),
            "domain.csv": self.error_by_domain(),
            "uncertainty.csv": self.uncertainty(),
            "splits.csv": self.splits,
            "rejects.csv": self.rejects,
            "warnings.csv": self.warnings,
            "duplicates.csv": self.duplicates,
        }
        for name, table in tables.items():
            with whole_file(folder / name) as temporary:
                table.to_csv(temporary, index=False, lineterminator="\n")
        with whole_file(folder / "predictions.parquet") as temporary:
            with_labels(self.predictions, self.classes).to_parquet(temporary, index=False)
        write_json(folder / "compare.json", self.options)


def with_labels(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return tidy predictions with labels for people beside the codes: label_true and label_pred."""
    if not classes or predictions.empty:
        return predictions
    labels = {
        f"label_{part}": [classes[int(code)] if code == code else None for code in predictions[f"y_{part}"]]
        for part in ("true", "pred")
    }
    return pd.concat(
        [predictions.drop(columns=["std", "lower", "upper"]), pd.DataFrame(labels, predictions.index)], axis=1
    )
