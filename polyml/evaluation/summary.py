"""What a reader wants to know of a comparison: its tables, how they were made, and which differences are real."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from polyml.errors import UserError
from polyml.evaluation.bootstrap import LEVEL as INTERVAL
from polyml.evaluation.metrics import MEAN, METRICS, deciding_metric
from polyml.evaluation.pairs import LOG_ERRORS
from polyml.evaluation.results import Results
from polyml.evaluation.standing import PROBABLY_WORSE, TOO_FEW, WORSE
from polyml.evaluation.stats import EQUAL, SURE, UNDECIDED
from polyml.report.html import companion_column

_HOW = {
    "scaffold": " by scaffold",
    "cluster": " by cluster of similar polymers",
    "leave_one_cluster_out": ", each a cluster of similar polymers",
    "leave_one_group_out": " by source",
    "fixed": " as given",
}
_LOGARITHMS = {"log_rmse": "the logarithm of RMSE", "log_mae": "the logarithm of MAE"}
FEW_POLYMERS = 20
"""Polymers below which a score is luck more than anything: of 20, the 95 % interval of a squared correlation of 0.5
reaches from 0.15 to 0.77 (Fisher's z)."""
_NAMED = 8  # models in a sentence; the leaderboard names them all


@dataclass(frozen=True)
class Summary:
    """What a reader wants to know of a comparison, from its results or from the files it left.

    Attributes
    ----------
    board, tests : DataFrame
        :meth:`Results.leaderboard` and :meth:`Results.paired_tests`.
    options : mapping
        What ``compare.json`` holds.
    """

    board: pd.DataFrame
    tests: pd.DataFrame
    options: Mapping[str, Any]

    @classmethod
    def of(cls, results: Results) -> Summary:
        """Summarise results in memory."""
        return cls(results.leaderboard(), results.paired_tests(), results.options)

    @classmethod
    def read(cls, folder: str | Path) -> Summary:
        """Summarise the folder of a finished comparison.

        Raises
        ------
        UserError
            It was written before leaderboards had intervals and verdicts.
        """
        folder = Path(folder)
        board = pd.read_csv(folder / "leaderboard.csv").astype({"rank": "Int64", "model": str})
        if "against_best" not in board.columns:
            raise UserError(
                "the tables of this comparison are of an earlier version, without intervals and verdicts",
                where=str(folder),
                fix="give the command that made it again (polyml run: with --force); its finished folds are kept",
            )
        board["against_best"] = board["against_best"].astype(object).fillna("")
        board["error"] = board["error"].astype(object).fillna("")
        options = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
        return cls(board, pd.read_csv(folder / "paired_tests.csv"), options)

    @property
    def properties(self) -> list[str]:
        """Names of the properties."""
        return [item["name"] for item in self.options["properties"]]

    @property
    def metric(self) -> str:
        """The metric that decides the order: R² if it was computed, else the first."""
        return deciding_metric(self.options["metrics"])

    @property
    def averaged(self) -> list[str]:
        """Metrics that have a mean over properties (see :meth:`Results.averaged`), over folds or of all together.

        Where every fold tests one polymer, R² has no value on any fold, and one of all folds together.
        """
        columns = {name: [name, companion_column(name, "pooled")] for name in self.options["metrics"]}
        return [name for name, own in columns.items() if self.board[own].notna().any(axis=None)]

    @property
    def ordered_by(self) -> str:
        """The metric by which the models are in order: :attr:`metric`, or the first that has a value where it has none.

        R² has none where all measured values that were tested are the same.
        """
        pooled = [name for name in self.averaged if self.board[companion_column(name, "pooled")].notna().any()]
        several = len(self.properties) > 1  # then the deciding metric has a mean that has no column
        return self.metric if several or self.metric in pooled or not pooled else pooled[0]


COMPLETION = "Property completion: each model is given the other measured properties of a test polymer."
"""What stands above the scores of models that were told other properties of the polymers that they are tested on."""


def title_text(options: Mapping[str, Any]) -> str:
    """Say what stands above the scores, where they are of another task than to predict from structures alone.

    Examples
    --------
    >>> title_text({"known_properties": False})
    ''
    """
    return COMPLETION if options.get("known_properties") else ""


def protocol_text(options: Mapping[str, Any]) -> str:
    """Say how the scores were made.

    Examples
    --------
    >>> split = {"kind": "kfold", "folds": 5, "repeats": 1}
    >>> protocol_text({"protocol": {"honest": "grouped by polymer"}, "split": split})
    'honest: 5-fold, grouped by polymer'
    """
    ((stamp, words),) = options["protocol"].items()
    split = options["split"]
    repeats = f" repeated {split['repeats']} times" if split["repeats"] > 1 else ""
    return f"{stamp}: {split['folds']}-fold{_HOW.get(split['kind'], '')}{repeats}, {words}"


def scale_text(options: Mapping[str, Any]) -> str:
    """Say in which scale the errors are given, or how many classes there are."""
    if options.get("classes"):
        return f"{len(options['classes'])} classes"
    scales = {item["name"]: options["scales"][item["name"]] or "as in the file" for item in options["properties"]}
    if len(set(scales.values())) == 1:
        return f"scale {next(iter(scales.values()))}"
    return "scales " + ", ".join(f"{name}: {scale}" for name, scale in scales.items())


def order_text(summary: Summary) -> str:
    """Say what decides the order of the leaderboard and what the columns show."""
    title = METRICS[summary.ordered_by].title
    several = len(summary.properties) > 1
    mean = f", {MEAN}" if several else ""
    if several and summary.ordered_by not in summary.averaged:
        mean = ", mean over properties in units of their spread"
    return (
        f"ordered by pooled {title}{mean}: the predictions of all folds scored together, with its "
        f"{INTERVAL * 100:.0f} % bootstrap interval over polymers"
    )


def doubt_text(options: Mapping[str, Any]) -> str:
    """Say that there are too few polymers for scores that mean much; nothing where there are enough.

    Examples
    --------
    >>> doubt_text({"data": {"polymers": 5}})
    'only 5 polymers: scores of so few mean little'
    >>> doubt_text({"data": {"polymers": 500}})
    ''
    """
    polymers = options.get("data", {}).get("polymers", FEW_POLYMERS)
    return f"only {polymers} polymers: scores of so few mean little" if polymers < FEW_POLYMERS else ""


def verdict(summary: Summary) -> str:
    """Say which models are worse than the best, which are practically equal, and which the folds cannot tell apart."""
    board = summary.board[summary.board["status"] == "ok"]
    models = list(board["model"])
    if len(models) < 2:
        return f"{models[0]} is the only model with scores." if models else "No model has scores."
    tests = _tests_against(summary, models[0], LOG_ERRORS.get(summary.metric, summary.metric))
    p = dict(zip(tests["model_b"], tests["p_holm_best"], strict=True))
    told = {word: list(part["model"]) for word, part in board.groupby("against_best")}
    said = {
        EQUAL: f"{models[0]} is practically equal to",
        TOO_FEW: f"too few folds to decide ({_folds(tests)}) whether {models[0]} is better than",
        UNDECIDED: f"it is undecided whether {models[0]} is better than",
        PROBABLY_WORSE: f"{models[0]} is probably better than",
        WORSE: f"{models[0]} is significantly better than",
        "": f"no test is possible between {models[0]} and",
    }
    numbers = {UNDECIDED: p, PROBABLY_WORSE: p, WORSE: p}
    tails = {TOO_FEW: ": see the bootstrap intervals"}
    text = "; ".join(
        f"{head} {listed(told[word], numbers.get(word))}{tails.get(word, '')}"
        for word, head in said.items()
        if word in told
    )
    if not text.startswith(models[0]):  # a name stays as it is
        text = text[0].upper() + text[1:]
    return f"{text}. {_how_tested(summary, tests)}"


def _folds(tests: pd.DataFrame) -> int:
    """Count the folds, those of every repeat, in which the best model and another one both have a score."""
    return int(tests["folds"].max()) if len(tests) else 0


def _how_tested(summary: Summary, tests: pd.DataFrame) -> str:
    """Say which tests are behind the verdicts."""
    title = METRICS[summary.metric].title
    own = _tests_against(summary, str(tests["model_a"].iloc[0]), summary.metric) if len(tests) else tests
    if not len(own):
        return "There is nothing to test."
    over = f" ({MEAN})" if tests["property"].iloc[0] == MEAN else ""
    tested, rope = tests["metric"].iloc[0], tests["rope"].iloc[0]
    ahead = f"its error is smaller by more than {100 * rope:.3g} %" if tested in _LOGARITHMS else "it is further ahead"
    return (
        f"Significant is what a corrected paired t-test over folds of {_LOGARITHMS.get(tested, title)}{over} against "
        f"the best finds, with p adjusted by Holm. Two models are practically equal where a Bayesian correlated t-test "
        f"finds with a probability above {SURE * 100:.0f} % that their {title} differs by at most "
        f"{own['rope'].iloc[0]:.3g}, the region of practical equivalence (rope). The best is probably better where "
        f"that test finds with the same probability that {ahead}."
    )


def _tests_against(summary: Summary, best: str, metric: str) -> pd.DataFrame:
    """Choose the tests of the best model: on the mean over properties if there is one, else on the first property."""
    tests = summary.tests
    tests = tests[(tests["metric"] == metric) & (tests["model_a"] == best)]
    mean = tests[tests["property"] == MEAN]
    return mean if len(mean) else tests[tests["property"] == summary.properties[0]]


def listed(names: Sequence[str], p: Mapping[str, float] | None = None) -> str:
    """List names with their p values; of many the first ones and how many there are."""
    items = [f"{name} ({p_value(p[name])})" if p else name for name in names[:_NAMED]]
    if len(names) > _NAMED:
        items.append(f"{len(names) - _NAMED} more")
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def p_value(p: float) -> str:
    """Write a p value as papers do.

    Examples
    --------
    >>> p_value(0.2149), p_value(1e-9)
    ('p = .21', 'p < .001')
    """
    # No zero before the point: p cannot exceed one.
    return "p < .001" if p < 0.001 else "p = " + f"{p:.{2 if p >= 0.1 else 3}f}".removeprefix("0")
