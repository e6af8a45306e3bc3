from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from polyml.errors import UserError
from polyml.evaluation.compared import Entry
from polyml.evaluation.metrics import METRICS, score
from polyml.evaluation.one_fold import Failure
from polyml.evaluation.pages import headings, leaderboard_html, write_pages
from polyml.evaluation.results import Results
from polyml.evaluation.standing import standing
from polyml.evaluation.summary import Summary, p_value, verdict
from polyml.evaluation.text import as_json, interval_notes, render_leaderboard


def make_results(
    errors: tuple[float, float] = (0.3, 1.0), scales: tuple[str, str] = ("log10(Barrer)", "log10(Barrer)")
) -> Results:
    """Return the results of two models whose errors have these sizes, and of one that failed."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (100, 2))
    heads = [
        {"model": model, "repeat": 0, "fold": i % 5, "key": f"k{i:02d}", "property": prop, "y_true": truth[i, j]}
        | {"y_pred": truth[i, j] + rng.normal(0, size)}
        for model, size in zip(("forest", "mean [x]"), errors, strict=True)
        for i in range(100)
        for j, prop in enumerate(("O2", "N2"))
    ]
    predictions = pd.DataFrame(heads).sort_values("fold", kind="stable")
    predictions = predictions.assign(std=np.nan, lower=np.nan, upper=np.nan, domain_score=0.5, domain="inside")
    frame = score(predictions, [METRICS["rmse"], METRICS["r2"]])
    frame = frame.assign(features="ecfp", fit_seconds=1.5, predict_seconds=0.25, n_train=80)
    return Results(
        frame=frame,
        predictions=predictions,
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
    results = make_results()
    text = rendered(results)
    assert text.index("forest") < text.index("mean [x]")
    assert "failed: net: ImportError: no module [torch]" in text
    assert "5-fold, words; scale log10(Barrer)" in text
    assert "3 folds were finished before, 7 were computed now" in text
    assert "±" in text
    assert "ordered by pooled R², mean over properties" in text
    board = results.leaderboard().set_index("model")
    row = next(line for line in text.splitlines() if "forest" in line)
    low, high = board.loc["forest", "r2_low"], board.loc["forest", "r2_high"]
    assert f"{board.loc['forest', 'r2_pooled']:.3f} {low:.3f} to {high:.3f}" in " ".join(row.split())
    assert row.split()[-3] == "best"


@pytest.mark.parametrize("width", [72, 80, 100])
def test_tables_fit_the_terminal_and_lose_no_column(width: int) -> None:
    results = make_results()
    board, names = results.leaderboard(), [f"P{i}/N{i}" for i in range(30)]
    for name in names:
        board[f"r2_pooled[{name}]"] = board["r2_pooled"]
    options = results.options | {"ratios": names}
    text = rendered(Summary(board, results.paired_tests(), options), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert all(f" {name} " in text for name in ["O2", "N2", *names])
    assert text.count("R² by ratio (log10)") >= 3


def test_completion_is_announced_above_the_scores() -> None:
    results = make_results()
    assert "completion" not in rendered(results)
    assert as_json(results)["title"] == ""
    given = replace(results, options=results.options | {"known_properties": True})
    words = "Property completion: each model is given the other measured properties of a test polymer."
    assert rendered(given).startswith(words)
    assert as_json(given)["title"] == words


def test_the_files_of_a_comparison_tell_the_same(tmp_path: Path) -> None:
    results = make_results()
    results.write(tmp_path)
    assert rendered(Summary.read(tmp_path)) == rendered(results)
    assert as_json(Summary.read(tmp_path))["verdict"] == as_json(results)["verdict"]


def test_the_verdict_follows_the_tests() -> None:
    text = verdict(Summary.of(make_results((0.3, 1.0))))
    assert text.startswith("forest is significantly better than mean [x] (p < .001).")
    assert "(mean over properties) against the best" in text
    assert "their R² differs by at most 0.01, the region of practical equivalence (rope)." in text
    assert text.endswith("that its error is smaller by more than 1 %.")
    wide = verdict(Summary.of(replace(make_results((0.3, 1.0)), rope=0.025)))
    assert "at most 0.025," in wide
    assert wide.endswith("by more than 2.5 %.")
    text = verdict(Summary.of(make_results((0.3, 0.31))))
    assert re.match(r"It is undecided whether (.+) is better than (.+) \(p = \.\d+\)\.", text)
    text = verdict(Summary.of(replace(make_results((0.01, 0.011)), rope=0.01)))
    assert text.startswith("forest is practically equal to mean [x]. ")


@pytest.mark.parametrize("folds", [1, 2])
def test_fewer_than_three_folds_leave_nothing_undecided(folds: int) -> None:
    results = make_results((0.6, 0.65))
    few = replace(
        results,
        frame=results.frame[results.frame["fold"] < folds],
        predictions=results.predictions[results.predictions["fold"] < folds],
    )
    assert set(few.leaderboard()["against_best"].iloc[1:2]) == {"too few folds"}
    text = verdict(Summary.of(few))
    best, other = few.leaderboard()["model"].iloc[:2]
    words = f"Too few folds to decide ({folds}) whether {best} is better than {other}: see the bootstrap intervals."
    assert text.startswith(words)
    assert "undecided" not in text


def test_two_folds_that_do_tell_are_heard() -> None:
    tests = pd.DataFrame(
        {
            "model_a": "a", "model_b": ["b", "c", "d"], "property": "Tg", "metric": "log_rmse", "better": "a",
            "verdict": ["better", "undecided", "undecided"], "p_holm_best": [0.01, 0.3, 0.3], "folds": [2, 2, 3],
        }
    )  # fmt: skip
    assert standing(tests, "a", "log_rmse", "Tg") == {
        "a": "best", "b": "worse", "c": "too few folds", "d": "undecided"
    }  # fmt: skip


def of_few(polymers: int, truth: float | None = None) -> Results:
    """Return results of one property and as many folds as polymers, all measured as ``truth`` if given."""
    results = make_results()
    kept = [f"k{i:02d}" for i in range(polymers)]
    rows = results.predictions
    rows = rows[rows["key"].isin(kept) & (rows["property"] == "O2")]
    rows = rows.assign(fold=[kept.index(key) for key in rows["key"]])
    if truth is not None:
        rows = rows.assign(y_true=truth)
    frame = score(rows, [METRICS["rmse"], METRICS["r2"]])
    frame = frame.assign(features="ecfp", fit_seconds=1.5, predict_seconds=0.25, n_train=polymers - 1)
    own = {"properties": [{"name": "O2"}], "scales": {"O2": "K"}, "data": {"polymers": polymers}}
    options = results.options | own | {"split": {"kind": "kfold", "folds": polymers, "repeats": 1}}
    return replace(
        results, frame=frame, predictions=rows, properties=("O2",), scales={"O2": "K"}, options=options, failures={},
        entries=results.entries[::2],
    )  # fmt: skip


def test_few_polymers_are_called_few_and_the_score_of_the_order_is_shown() -> None:
    five = of_few(5)
    assert five.leaderboard()["r2"].isna().all()  # a fold of one polymer has none
    text = rendered(five)
    assert "only 5 polymers: scores of so few mean little" in text
    assert as_json(five)["doubt"].startswith("only 5 polymers")
    assert "ordered by pooled R²:" in text
    head = next(line for line in text.splitlines() if "95 % interval" in line).split()
    assert head[:3] == ["#", "model", "R²"]
    assert f"{five.leaderboard()['r2_pooled'].iloc[0]:.3f}" in text
    assert "mean little" not in rendered(of_few(20))
    assert as_json(of_few(20))["doubt"] == ""


def test_where_r2_has_no_value_the_score_that_orders_is_named() -> None:
    text = rendered(of_few(6, truth=1.0))
    assert "ordered by pooled RMSE:" in text
    head = next(line for line in text.splitlines() if "95 % interval" in line).split()
    assert head[:5] == ["#", "model", "RMSE", "95", "%"]


def test_a_long_list_of_models_is_cut() -> None:
    results = make_results()
    frame = pd.concat([results.frame, *(results.frame.replace("mean [x]", f"m{i}") for i in range(12))])
    predictions = pd.concat(
        [results.predictions, *(results.predictions.replace("mean [x]", f"m{i}") for i in range(12))]
    )
    entries = (Entry("forest", "rf"), *(Entry(f"m{i}", "mean") for i in range(12)))
    many = replace(
        results,
        frame=frame[frame["model"].isin([e.label for e in entries])].drop_duplicates(),
        predictions=predictions[predictions["model"].isin([e.label for e in entries])].drop_duplicates(),
        entries=entries,
        failures={},
    )
    assert (many.leaderboard()["against_best"].iloc[1:] == "worse").all()
    assert " and 4 more." in verdict(Summary.of(many))


def test_tables_of_an_earlier_version_are_refused_with_the_way_out(tmp_path: Path) -> None:
    make_results().write(tmp_path)
    board = pd.read_csv(tmp_path / "leaderboard.csv").drop(columns="against_best")
    board.to_csv(tmp_path / "leaderboard.csv", index=False)
    with pytest.raises(UserError, match=r"earlier version(.|\n)*--force"):
        Summary.read(tmp_path)


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.2149, "p = .21"), (1.0, "p = 1.00"), (0.0496, "p = .050"), (0.004, "p = .004"), (1e-9, "p < .001")],
)
def test_p_values_are_written_as_papers_do(p: float, text: str) -> None:
    assert p_value(p) == text


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


def test_whose_intervals_they_are_is_said() -> None:
    results = make_results()
    assert interval_notes(results) == []  # no model has any
    predictions = results.predictions.assign(lower=-1.0, upper=1.0)
    predictions["std"] = np.where(predictions["model"] == "forest", 0.5, np.nan)
    (text,) = interval_notes(replace(results, predictions=predictions))
    assert text.startswith("intervals are the models' own, not calibrated")
    assert "--models conformal --param base=KEY" in text
    calibrated = (Entry("forest", "conformal"), *results.entries[:2])
    assert interval_notes(replace(results, predictions=predictions, entries=calibrated)) == []
    predictions.loc[predictions.index[predictions["model"] == "forest"][:3], "std"] = 1e-12
    text = interval_notes(replace(results, predictions=predictions, entries=calibrated))[0]
    assert "forest for 3 of the values" in text
    assert "classes have no intervals" in interval_notes(replace(results, classes=("a", "b")))[0]


def paged(results: Results) -> Results:
    """Return results with what a page says of the data."""
    return replace(results, options=results.options | {"data": {"polymers": 100}})


def test_the_page_puts_the_score_of_the_order_next_to_the_model() -> None:
    several = headings(Summary.of(paged(make_results())))
    assert list(several.values())[:7] == [
        "#",
        "model",
        "R²",
        "R² over folds",
        "against best",
        "RMSE",
        "RMSE over folds",
    ]
    assert several["r2_pooled[N2]"] == "R² N2"
    assert list(several.values())[-5:] == ["key", "family", "features", "fit s", "predict s"]
    one = headings(Summary.of(of_few(30)))
    assert [name for name in one if "[" in name] == []  # or every number would stand there twice
    page = leaderboard_html(Summary.of(of_few(30)))
    assert page.index(">R²<") < page.index(">RMSE<")
    board = of_few(30).leaderboard().iloc[0]
    assert f'data-value="{float(board["r2_pooled"])!r}">' in page
    assert 'class="spread">(' in page  # its interval


def test_the_page_of_a_completion_says_so() -> None:
    results = paged(make_results())
    given = replace(results, options=results.options | {"known_properties": True})
    assert "<p>Property completion: each model" in leaderboard_html(Summary.of(given))
    assert "Property completion" not in leaderboard_html(Summary.of(results))


def test_pages_stand_in_the_folder(tmp_path: Path) -> None:
    write_pages(paged(make_results()), tmp_path)
    assert "practical equivalence" in (tmp_path / "leaderboard.html").read_text("utf-8")
    plots = (tmp_path / "plots.html").read_text("utf-8")
    assert "<h2>R²</h2>" in plots
    assert "<h2>Error against similarity, N2</h2>" in plots
