from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from polyml.evaluation.one_fold import Failure
from polyml.evaluation.results import Entry, Results
from polyml.evaluation.text import Summary, _p_value, as_json, render_leaderboard, verdict


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
        warnings=pd.DataFrame(),
        duplicates=pd.DataFrame(),
        entries=(Entry("mean [x]", "mean", "baseline"), Entry("net", "mlp"), Entry("forest", "rf", "forest")),
        failures={"net": Failure("net", 0, 0, "ImportError: no module [torch]", "Traceback ...")},
        properties=("O2", "N2"),
        ratios=(),
        scales=dict(zip(("O2", "N2"), scales, strict=True)),
        metrics=("rmse", "r2"),
        options={
            "name": "gas",
            "protocol": {"honest": "words"},
            "split": {"kind": "kfold", "folds": 5, "repeats": 1},
            "properties": [{"name": "O2"}, {"name": "N2"}],
            "ratios": [],
            "metrics": ["rmse", "r2"],
            "scales": dict(zip(("O2", "N2"), scales, strict=True)),
            "folds_reused": 3,
            "folds_computed": 7,
        },
        reused=3,
        computed=7,
    )


def rendered(results: Results | Summary, width: int = 160) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=width).print(render_leaderboard(results))
    return buffer.getvalue()


def test_the_table_says_who_is_first_who_failed_and_how_scores_were_made() -> None:
    text = rendered(make_results())
    assert text.index("forest") < text.index("mean [x]")
    assert "failed: net: ImportError: no module [torch]" in text
    assert "5-fold, words; scale log10(Barrer)" in text
    assert "3 folds were finished before, 7 were computed now" in text
    assert "±" in text


@pytest.mark.parametrize("width", [72, 80, 100])
def test_tables_fit_the_terminal_and_lose_no_column(width: int) -> None:
    results = make_results()
    board, names = results.leaderboard(), [f"P{i}/N{i}" for i in range(30)]
    for name in names:
        board[f"r2[{name}]"] = board["r2"]
    options = results.options | {"ratios": names}
    text = rendered(Summary(board, results.paired_tests(), options), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert all(f" {name} " in text for name in ["O2", "N2", *names])
    assert text.count("R² by ratio (log10)") >= 3


def test_the_files_of_a_comparison_tell_the_same(tmp_path: Path) -> None:
    results = make_results()
    results.write(tmp_path)
    assert rendered(Summary.read(tmp_path)) == rendered(results)
    assert as_json(Summary.read(tmp_path))["verdict"] == as_json(results)["verdict"]


def test_the_verdict_follows_the_tests() -> None:
    text = verdict(Summary.of(make_results(gap=0.3)))
    assert text.startswith("forest is significantly better than mean [x] (p < .001).")
    text = verdict(Summary.of(make_results(gap=0.005)))
    assert re.match(r"(.+) does not differ significantly from (.+) \(p = \.\d+\)\.", text)


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.2149, "p = .21"), (1.0, "p = 1.00"), (0.0496, "p = .050"), (0.004, "p = .004"), (1e-9, "p < .001")],
)
def test_p_values_are_written_as_papers_do(p: float, text: str) -> None:
    assert _p_value(p) == text


def test_errors_of_different_scales_are_not_averaged() -> None:
    results = make_results(scales=("log10(Barrer)", "K"))
    board = results.leaderboard()
    assert board["rmse"].isna().all()
    assert board["r2"].notna().sum() == 2
    assert board["rmse[O2]"].notna().sum() == 2
    text = rendered(results)
    assert "RMSE" not in text[: text.index("RMSE by property")]  # no mean, but each property's own


def test_json_has_plain_types_and_no_nan() -> None:
    value = json.loads(json.dumps(as_json(make_results()), allow_nan=False))
    assert [row["model"] for row in value["leaderboard"]] == ["forest", "mean [x]", "net"]
    assert value["leaderboard"][2]["rmse"] is None
    assert value["leaderboard"][0]["rank"] == 1
    assert value["failed"] == {"net": "ImportError: no module [torch]"}
