"""The order of the leaderboard and its verdicts, on predictions made up for the purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyml.evaluation.bootstrap import pool_scores
from polyml.evaluation.compared import Entry
from polyml.evaluation.metrics import METRICS, score
from polyml.evaluation.one_fold import Failure
from polyml.evaluation.results import Results
from polyml.evaluation.summary import Summary, verdict
from polyml.evaluation.text import as_json, render_leaderboard
from polyml.evaluation.track import pooled_metrics


def make_results(
    predictions: pd.DataFrame,
    metrics: Sequence[str] = ("rmse", "mae", "r2"),
    scales: dict[str, str] | None = None,
    failed: Sequence[str] = (),
) -> Results:
    properties = tuple(dict.fromkeys(predictions["property"])) if len(predictions) else ("x",)
    scales = scales or dict.fromkeys(properties, "K")
    frame = score(predictions, [METRICS[name] for name in metrics]) if len(predictions) else pd.DataFrame()
    if len(frame):
        frame = frame.assign(features="", fit_seconds=1.0, predict_seconds=0.1, n_train=4 * frame["n_test"])
    else:
        frame = pd.DataFrame(
            columns=["model", "repeat", "fold", "property", "metric", "score", "features", "fit_seconds"]
        )
        frame = frame.assign(predict_seconds=1.0, n_train=1, n_test=1)
    labels = [*dict.fromkeys(predictions["model"])] if len(predictions) else []
    options = {
        "name": "test", "protocol": {"honest": "words"}, "split": {"kind": "scaffold", "folds": 5, "repeats": 1},
        "properties": [{"name": name} for name in properties], "ratios": [], "metrics": list(metrics),
        "scales": scales, "folds_reused": 0, "folds_computed": 0,
    }  # fmt: skip
    empty = pd.DataFrame()
    return Results(
        frame, predictions, empty, empty, empty, empty, tuple(Entry(name, name) for name in [*labels, *failed]),
        {name: Failure(name, 0, 0, "it broke", "") for name in failed}, properties, (), scales, tuple(metrics), options,
    )  # fmt: skip


def predicted(
    truth: np.ndarray, folds: np.ndarray, models: dict[str, np.ndarray], prop: str = "x", repeat: int = 0
) -> pd.DataFrame:
    head = {"repeat": repeat, "fold": folds, "key": [f"k{i:03d}" for i in range(len(truth))], "property": prop}
    head |= {"std": np.nan, "lower": np.nan, "upper": np.nan, "domain_score": 0.5, "domain": "inside"}
    parts = [pd.DataFrame(head | {"y_true": truth, "y_pred": values, "model": name}) for name, values in models.items()]
    return pd.concat(parts, ignore_index=True)


def scaffolds() -> pd.DataFrame:
    """Return predictions by scaffold: in the third fold the measured values hardly differ.

    There the mean of the training values happens to be near, and the forest, better everywhere else, is a little off.
    """
    rng = np.random.default_rng(0)
    folds = np.repeat(np.arange(5), 20)
    levels, widths = np.array([-3.0, 2.0, 0.02, 4.0, -3.0]), np.array([1.0, 1.0, 0.01, 1.0, 1.0])
    truth = levels[folds] + widths[folds] * rng.normal(0, 1, 100)
    mean = np.array([truth[folds != fold].mean() for fold in range(5)])[folds]
    mean[folds == 2] = 0.0
    forest = truth + rng.normal(0, 0.7, 100)
    ridge = truth + rng.normal(0, 1.2, 100)
    return predicted(truth, folds, {"mean": mean, "forest": forest, "ridge": ridge})


def test_a_fold_without_spread_does_not_put_the_mean_first() -> None:
    results = make_results(scaffolds())
    board = results.leaderboard().set_index("model")
    assert board.loc["mean", "rmse"] > 2 * board.loc["forest", "rmse"]  # the forest is clearly better,
    assert board.loc["mean", "r2"] > board.loc["forest", "r2"] + 100  # but for the mean of the R² of single folds
    assert list(board.index) == ["forest", "ridge", "mean"]
    assert results.best() == "forest"
    assert board.loc["forest", "r2_pooled"] > board.loc["ridge", "r2_pooled"] > 0 > board.loc["mean", "r2_pooled"]
    tests = results.paired_tests().query("metric == 'r2' and model_a == 'forest'")
    assert (tests["better"] == "forest").all()  # tests and order speak of one number
    assert tests["difference"].to_numpy() == pytest.approx(tests["pooled_difference"].to_numpy())


def test_the_order_is_that_of_the_pooled_rmse_where_there_is_one_property() -> None:
    board = make_results(scaffolds()).leaderboard()
    assert board["rmse_pooled"].is_monotonic_increasing
    assert board["r2_pooled"].is_monotonic_decreasing


def test_errors_of_different_units_decide_by_the_spread_of_each_property() -> None:
    rng = np.random.default_rng(1)
    truth, folds = rng.normal(0, 1, 100), np.tile(np.arange(5), 20)
    # In x, of large numbers, a is a little better; in y, of small ones, b is far better.
    a = [predicted(truth * 1000, folds, {"a": truth * 1000 + 400 * rng.normal(0, 1, 100)})]
    a += [predicted(truth * 0.01, folds, {"a": truth * 0.01 + 0.02 * rng.normal(0, 1, 100)}, "y")]
    b = [predicted(truth * 1000, folds, {"b": truth * 1000 + 410 * rng.normal(0, 1, 100)})]
    b += [predicted(truth * 0.01, folds, {"b": truth * 0.01 + 0.001 * rng.normal(0, 1, 100)}, "y")]
    results = make_results(pd.concat([*a, *b]), metrics=("mae",), scales={"x": "K", "y": "eV"})
    board = results.leaderboard()
    assert list(board["model"]) == ["b", "a"]
    assert board[["mae", "mae_pooled", "mae_low"]].isna().all().all()  # kelvin and electronvolt have no mean
    assert list(board["against_best"]) == ["best", "worse"]
    assert "in units of their spread" in as_json(results)["order"]


def test_verdicts_against_the_best() -> None:
    rng = np.random.default_rng(2)
    truth, folds = rng.normal(0, 1, 300), np.tile(np.arange(5), 60)
    error, other, more = rng.normal(0, 1, (3, 300))
    models = {
        "best": truth + 0.3 * error,
        "twin": truth + 0.3 * error,
        "near": truth + 0.303 * error + 0.001 * more,
        "rival": truth + 0.31 * other,
        "far": truth + more,
    }
    results = make_results(predicted(truth, folds, models))
    told = results.leaderboard().set_index("model")["against_best"].to_dict()
    assert told == {
        "best": "best",
        "twin": "practically equal",
        "near": "practically equal",
        "rival": "undecided",
        "far": "worse",
    }
    # The pair that a t-test tells apart and nobody would care about: significant, and practically equal.
    test = results.paired_tests().query("metric == 'r2' and property == 'x' and model_b == 'near'").iloc[0]
    assert test["p"] < 0.01
    logs = results.paired_tests().query("metric == 'log_rmse' and model_b == 'far'").iloc[0]
    own = results.frame.query("metric == 'rmse'").pivot(index="fold", columns="model", values="score")
    assert logs["difference"] == pytest.approx(np.log(own["best"] / own["far"]).mean())
    strict = replace(results, rope=1e-6).leaderboard().set_index("model")["against_best"]
    assert strict["near"] == "worse"
    text = verdict(Summary.of(results))
    assert text.startswith(
        "best is practically equal to twin and near; it is undecided whether best is better than rival"
    )


def test_more_than_five_models_are_tested_against_the_best() -> None:
    rng = np.random.default_rng(3)
    truth, folds = rng.normal(0, 1, 100), np.tile(np.arange(5), 20)
    models = {f"m{i}": truth + (0.3 + 0.2 * i) * rng.normal(0, 1, 100) for i in range(9)}
    results = make_results(predicted(truth, folds, models), failed=["broken"])
    board = results.leaderboard()
    assert set(board["against_best"].iloc[1:9]) <= {"worse", "undecided"}
    assert (board["against_best"].iloc[4:9] == "worse").all()
    assert board["against_best"].iloc[9] == ""
    assert len(results.paired_tests(top=2).query("metric == 'mae'")) == 1 + 7


def test_an_interval_belongs_to_the_pooled_score() -> None:
    predictions = scaffolds()
    board = make_results(predictions).leaderboard().set_index("model")
    own = predictions[predictions["model"] == "ridge"]
    for name in ("rmse", "mae", "r2"):
        pooled = METRICS[name](own["y_true"].to_numpy(), own["y_pred"].to_numpy())
        assert board.loc["ridge", f"{name}_pooled"] == board.loc["ridge", f"{name}_pooled[x]"] == pytest.approx(pooled)
        assert board.loc["ridge", f"{name}_low"] < pooled < board.loc["ridge", f"{name}_high"]
    # What the tracker is told of one model alone is the same.
    alone = pooled_metrics(pool_scores(own, ["rmse"], {}), "ridge")
    assert alone == pytest.approx(
        {f"rmse_{end}/x": board.loc["ridge", f"rmse_{end}"] for end in ("pooled", "low", "high")}
    )


def test_repeats_are_scored_by_the_mean_of_their_pooled_scores() -> None:
    rng = np.random.default_rng(4)
    truth, folds = rng.normal(0, 1, 50), np.tile(np.arange(5), 10)
    parts = [predicted(truth, rng.permutation(folds), {"a": truth + rng.normal(0, 1, 50)}, repeat=r) for r in (0, 1, 2)]
    board = make_results(pd.concat(parts)).leaderboard()
    by_hand = [METRICS["r2"](part["y_true"].to_numpy(), part["y_pred"].to_numpy()) for part in parts]
    assert board["r2_pooled"].iloc[0] == pytest.approx(np.mean(by_hand))


def test_degenerate_comparisons_have_a_leaderboard(tmp_path: Path) -> None:
    from rich.console import Console

    rng = np.random.default_rng(5)
    truth = rng.normal(0, 1, 20)
    cases = {
        "one model": predicted(truth, np.arange(20) % 2, {"a": truth + 1}),
        "two folds": predicted(truth, np.arange(20) % 2, {"a": truth + 1, "b": truth + rng.normal(0, 1, 20)}),
        "constant": predicted(np.ones(20), np.arange(20) % 5, {"a": truth, "b": truth + 1}),
        "equal": predicted(truth, np.arange(20) % 5, {"a": truth + 0.1, "b": truth + 0.1}),
        "one fold": predicted(truth, np.zeros(20, dtype=int), {"a": truth + 1, "b": truth + 2}),
        "perfect": predicted(truth, np.arange(20) % 5, {"a": truth, "b": truth}),
    }
    told = {}
    for name, predictions in cases.items():
        results = make_results(predictions, failed=["broken"])
        results.write(tmp_path / name)
        summary = Summary.read(tmp_path / name)
        with Console(file=(tmp_path / "out.txt").open("w"), width=100) as console:
            console.print(render_leaderboard(summary))
        told[name] = list(summary.board["against_best"])
        assert verdict(summary)
        assert as_json(summary)["leaderboard"][-1]["status"] == "failed"
    assert told["one model"] == ["best", ""]
    assert told["equal"] == told["perfect"] == ["best", "practically equal", ""]
    assert told["one fold"] == ["best", "too few folds", ""]
    assert told["constant"] == ["best", "undecided", ""]  # R² is not defined, the errors are
    nothing = make_results(pd.DataFrame(), failed=["broken"])
    assert list(nothing.leaderboard()["status"]) == ["failed"]
    assert verdict(Summary.of(nothing)) == "No model has scores."
