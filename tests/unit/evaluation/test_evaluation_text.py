from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
from rich.console import Console

from polyml.evaluation.folds import Failure
from polyml.evaluation.results import Entry, Results
from polyml.evaluation.text import as_json, render_leaderboard, verdict


def make_results(gap: float = 0.3, scales: tuple[str, str] = ("log10(Barrer)", "log10(Barrer)")) -> Results:
    rng = np.random.default_rng(0)
    rows = [
        {"run": "gas", "model": model, "features": "ecfp", "split": "kfold", "fold": fold, "repeat": 0}
        | {"property": prop, "metric": metric, "score": base + sign * gap * i + rng.normal(0, 0.02)}
        | {"seed": 1, "fit_seconds": 1.5, "predict_seconds": 0.25, "n_train": 80, "n_test": 20}
        for i, model in enumerate(["forest", "mean [x]"])
        for fold in range(5)
        for prop in ("O2", "N2")
        for metric, base, sign in (("rmse", 0.4, 1), ("r2", 0.8, -1))
    ]
    return Results(
        frame=pd.DataFrame(rows),
        predictions=pd.DataFrame(),
        splits=pd.DataFrame(),
        rejects=pd.DataFrame(),
        duplicates=pd.DataFrame(),
        entries=(Entry("mean [x]", "mean", "baseline"), Entry("net", "mlp"), Entry("forest", "rf", "forest")),
        failures={"net": Failure("net", 0, 0, "ImportError: no module [torch]", "Traceback ...")},
        histories={},
        properties=("O2", "N2"),
        ratios=(),
        scales=dict(zip(("O2", "N2"), scales, strict=True)),
        metrics=("rmse", "r2"),
        options={"name": "gas", "protocol": {"honest": "words"}, "split": {"kind": "kfold", "folds": 5, "repeats": 1}},
        reused=3,
        computed=7,
    )


def rendered(results: Results) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=160).print(render_leaderboard(results))
    return buffer.getvalue()


def test_the_table_says_who_is_first_who_failed_and_how_scores_were_made() -> None:
    text = rendered(make_results())
    assert text.index("forest") < text.index("mean [x]")
    assert "ImportError: no module [torch]" in text
    assert "honest: 5 kfold folds; words" in text
    assert "errors in log10(Barrer)" in text
    assert "3 folds were finished before and reused, 7 computed now" in text
    assert "±" in text


def test_the_verdict_follows_the_tests() -> None:
    assert verdict(make_results(gap=0.3)).startswith("forest is ahead of the next 1 in R²")
    assert "not clearly ahead of" in verdict(make_results(gap=0.005))


def test_errors_of_different_scales_are_not_averaged() -> None:
    results = make_results(scales=("log10(Barrer)", "K"))
    board = results.leaderboard()
    assert board["rmse"].isna().all()
    assert board["r2"].notna().sum() == 2
    assert board["rmse[O2]"].notna().sum() == 2
    assert "RMSE" not in rendered(results)


def test_json_has_plain_types_and_no_nan() -> None:
    value = json.loads(json.dumps(as_json(make_results()), allow_nan=False))
    assert [row["model"] for row in value["leaderboard"]] == ["forest", "mean [x]", "net"]
    assert value["leaderboard"][2]["rmse"] is None
    assert value["leaderboard"][0]["rank"] == 1
    assert value["failed"] == {"net": "ImportError: no module [torch]"}
