"""What a comparison found: tidy scores, a leaderboard, paired tests, and the files they are kept in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from polyml.data.files import whole_file, write_json
from polyml.evaluation.metrics import METRICS
from polyml.evaluation.one_fold import Failure
from polyml.evaluation.stats import paired_tests
from polyml.evaluation.uncertainty import uncertainty_table

COLUMNS = [
    "run", "model", "features", "split", "fold", "repeat", "property", "metric", "score", "seed",
    "fit_seconds", "predict_seconds", "n_train", "n_test",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One model of a comparison, as the leaderboard names it."""

    label: str
    key: str
    family: str = ""
    features: tuple[str, ...] = ()


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
        std, lower, upper; ratios are rows of their own.
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

    def averaged(self, metric: str) -> tuple[str, ...]:
        """Return the properties a mean of this metric may be taken over.

        A score with a unit is not averaged over properties of different scales; ratios are never averaged in.
        """
        same_scale = len({self.scales[name] for name in self.properties}) == 1
        return self.properties if same_scale or METRICS[metric].unit == "none" else ()

    def leaderboard(self) -> pd.DataFrame:
        """Rank the models, one row each.

        The order is by R² averaged over properties: it has no unit, so that properties of any scale count alike, and
        it does not depend on which other models take part (a mean rank does). Without R² the first metric decides.
        Failed models stand at the end, with no scores.

        Returns
        -------
        DataFrame
            rank, model, key, family, features, status ("ok" or "failed"); for each metric ``rmse`` and ``rmse_sd``
            (mean over properties, then mean and standard deviation over folds) and the same per property as
            ``rmse[O2]``, ``rmse_sd[O2]``; fit_seconds and predict_seconds (mean per fold); error.
        """
        scores = {entry.label: self._scores_of(entry.label) for entry in self.entries}
        rows = []
        for entry in self.entries:
            failure = self.failures.get(entry.label)
            own = self.frame[self.frame["model"] == entry.label]
            head = {"rank": None, "model": entry.label, "key": entry.key, "family": entry.family}
            head |= {"features": own["features"].iloc[0] if len(own) else "", "status": "failed" if failure else "ok"}
            folds = own.drop_duplicates(["repeat", "fold"])
            times = {name: folds[name].mean() for name in ("fit_seconds", "predict_seconds")}
            rows.append(head | scores[entry.label] | times | {"error": failure.error if failure else ""})
        rows.sort(key=self._order)
        for rank, row in enumerate((row for row in rows if row["status"] == "ok"), start=1):
            row["rank"] = rank
        table = pd.DataFrame(rows)
        table["rank"] = table["rank"].astype("Int64")
        return table

    def _scores_of(self, label: str) -> dict[str, float]:
        own = self.frame[self.frame["model"] == label]
        row: dict[str, float] = {}
        for metric in self.metrics:
            wide = own[own["metric"] == metric].pivot(index=["repeat", "fold"], columns="property", values="score")
            wide = wide.reindex(columns=[*self.properties, *self.ratios])
            mean = wide[list(self.averaged(metric))].mean(axis=1, skipna=False)
            row |= {metric: mean.mean(), f"{metric}_sd": mean.std()}
            for name in wide.columns:
                row |= {f"{metric}[{name}]": wide[name].mean(), f"{metric}_sd[{name}]": wide[name].std()}
        return row

    def _order(self, row: dict[str, Any]) -> tuple[bool, list[float], str]:
        """Sort key of a leaderboard row: failed last, then R² (or the first metric), then the other metrics."""
        names = sorted(self.metrics, key=lambda name: name != "r2")
        signed = [row[name] * (-1.0 if METRICS[name].direction == "maximize" else 1.0) for name in names]
        return row["status"] == "failed", [math.inf if math.isnan(s) else s for s in signed], row["model"]

    def best(self) -> str:
        """Return the label of the model at the top."""
        return str(self.leaderboard()["model"].iloc[0])

    def paired_tests(self, top: int = 5) -> pd.DataFrame:
        """Test each pair of the ``top`` models; see :func:`polyml.evaluation.stats.paired_tests`."""
        board = self.leaderboard()
        models = list(board.loc[board["status"] == "ok", "model"])[:top]
        return paired_tests(self.frame, models, {metric: self.averaged(metric) for metric in self.metrics})

    def uncertainty(self) -> pd.DataFrame:
        """Measure the predicted spreads; see :func:`polyml.evaluation.uncertainty.uncertainty_table`. No classes."""
        return uncertainty_table(self.predictions.iloc[:0] if self.classes else self.predictions)

    def write(self, folder: Path) -> None:
        """Write the tables and ``compare.json``, each file whole or not at all."""
        tables = {
            "results.csv": self.frame,
            "leaderboard.csv": self.leaderboard(),
            "paired_tests.csv": self.paired_tests(),
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
