"""The verbs on a user's own file, from comparison to ranked list, without a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from polyml.cli.main import app


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def csv(workdir: Path, gas_sample: Callable[..., Path]) -> str:
    return gas_sample(60).name


TARGETS = (
    "--target",
    "O2",
    "--target",
    "N2",
    "--log10",
    "O2",
    "--log10",
    "N2",
    "--unit",
    "O2=Barrer",
    "--unit",
    "N2=Barrer",
)


def test_compare_writes_tables_and_json(csv: str) -> None:
    options = ("--models", "mean,pca_ridge", "--folds", "2", "--jobs", "1", "--no-track", "--json", "-o", "out")
    result = run("compare", csv, *TARGETS, *options, "--ratio", "O2/N2")
    found = json.loads(result.stdout)
    assert {row["model"] for row in found["leaderboard"]} == {"mean", "pca_ridge"}
    tidy = pd.read_csv("out/results.csv")
    assert set(tidy["property"]) == {"O2", "N2", "O2/N2"}
    assert set(tidy["fold"]) == {0, 1}
    assert Path("out/leaderboard.csv").is_file()
    assert "R² O2/N2" in Path("out/leaderboard.html").read_text("utf-8")  # whether tracked or not
    assert Path("out/plots.html").is_file()
    assert not Path("mlruns").exists()


def test_compare_says_what_a_reader_must_know_unless_quiet(csv: str) -> None:
    options = ("--models", "mean", "--folds", "2", "--jobs", "1", "--no-track", "-o", "out")
    text = " ".join(run("compare", csv, *TARGETS, *options).output.split())
    assert "intervals are the models' own, not calibrated" in text
    assert "Property completion" not in text
    text = " ".join(run("compare", csv, *TARGETS, *options, "--known-properties").output.split())
    assert "Property completion: each model is given the other measured properties" in text
    assert "each model is fitted about six times a fold" in text
    assert "not calibrated" not in text  # the intervals of completion are
    assert "not calibrated" not in run("compare", csv, *TARGETS, *options, "--quiet").output


def test_train_predict_and_screen(csv: str, workdir: Path) -> None:
    trained = run("train", csv, *TARGETS, "--model", "pca_ridge", "--no-track", "--json", "-o", "model")
    assert json.loads(trained.stdout)["model"] == "pca_ridge"

    rows = pd.read_csv(csv)[["psmiles", "O2"]].head(5)
    rows.loc[5] = ["not a polymer", 1.0]
    rows.to_csv("new.csv", index=False)
    run("predict", "model", "new.csv", "-o", "predicted.csv")
    predicted = pd.read_csv("predicted.csv", keep_default_na=False)
    assert list(predicted["psmiles"]) == list(rows["psmiles"])
    assert list(predicted["line"]) == [2, 3, 4, 5, 6, 7]
    assert list(predicted["error"] != "") == [False] * 5 + [True]
    assert (predicted["O2"].iloc[:5].astype(float) > 0).all()
    assert np.allclose(predicted["O2_input"].astype(float), rows["O2"])
    assert run("predict", "model", "new.csv", "-o", "-").stdout == Path("predicted.csv").read_text("utf-8")

    arguments = ("screen", "new.csv", "--model", "model", "--keep-known", "--no-track", "--jobs", "1", "-o", "screened")
    run(*arguments, "--constraint", "O2 > 0", "--objective", "O2")
    ranked = pd.read_csv("screened/ranked.csv")
    assert 1 <= len(ranked) <= 5
    assert ranked["O2"].is_monotonic_decreasing
    assert len(pd.read_csv("screened/rejects.csv")) == 1


def test_a_bad_expression_says_where_before_anything_is_read(csv: str) -> None:
    run("train", csv, *TARGETS, "--model", "mean", "--no-track", "--quiet", "-o", "model")
    arguments = ["screen", csv, "-m", "model", "--no-track", "-o", "out", "--constraint", "O2 >= * 3"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "constraint 1" in result.output
    assert "^" in result.output
    assert not Path("out/ranked.csv").exists()


@pytest.mark.parametrize("suffix", ["parquet", "csv", "npz"])
def test_featurize_gives_a_row_a_row(workdir: Path, suffix: str) -> None:
    Path("in.smi").write_text("*OCC*\n*CCO*\nCC\n")
    output = f"out.{suffix}"
    run("featurize", "in.smi", "--features", "maccs", "-o", output, "--jobs", "1")
    if suffix == "npz":
        found = np.load(output)
        values, errors = found["features"], found["error"]
        assert values.shape[0] == 3
        assert values.shape[1] == len(found["names"])
        assert list(found["line"]) == [1, 2, 3]
    else:
        frame = pd.read_parquet(output) if suffix == "parquet" else pd.read_csv(output, keep_default_na=False)
        values, errors = frame.drop(columns=["line", "psmiles", "error"]), frame["error"].to_numpy()
        values = values.replace("", np.nan).to_numpy(dtype=float)
    assert [bool(error) for error in errors] == [False, False, True]
    assert np.array_equal(values[0], values[1])
    assert values[0].sum() > 0
    assert np.isnan(values[2]).all()


def test_explore_draws_maps(csv: str) -> None:
    run("explore", csv, *TARGETS, "--clusters", "3", "--methods", "pca", "--no-track", "-o", "maps")
    assert set(pd.read_csv("maps/map.csv")["cluster"]) == {1, 2, 3}


def test_explore_takes_other_clusterings(csv: str) -> None:
    options = ("--methods", "pca", "--no-track", "-o", "maps")
    run("explore", csv, *TARGETS, "--clusters", "3", "--clustering", "hierarchical", *options)
    assert set(pd.read_csv("maps/map.csv")["cluster"]) == {1, 2, 3}
    run("explore", csv, *TARGETS, "--clustering", "dbscan", *options)
    assert len(pd.read_csv("maps/map.csv")) > 50


def test_data_lists_and_exports(workdir: Path) -> None:
    listed = json.loads(run("data", "--json").stdout)
    assert {"gas_permeability", "candidates", "monomers"} <= {row["name"] for row in listed["sets"]}
    assert "gas_membranes" in listed["recipes"]
    run("data", "gas_permeability", "-o", "gas.parquet")
    assert len(pd.read_parquet("gas.parquet")) == 786
    assert run("data", "monomers").stdout.count("\n") >= 1083


def test_models_are_listed_and_described(workdir: Path) -> None:
    listed = json.loads(run("models", "--json").stdout)
    assert {"mean", "extra_trees", "gin"} <= {row["key"] for row in listed}
    described = json.loads(run("models", "extra_trees", "--json").stdout)
    assert "n_estimators" in described["params"]
    assert "gives standard deviation" in run("models", "extra_trees").output
    assert "gives no uncertainty" in run("models", "svm").output
    assert CliRunner().invoke(app, ["models", "extra_tree"]).exit_code == 2


def test_trained_models_have_calibrated_intervals(csv: str) -> None:
    calibrated = json.loads(run("train", csv, *TARGETS, "-m", "ridge", "--no-track", "--json", "-o", "both").stdout)
    plain = run("train", csv, *TARGETS, "-m", "ridge", "--no-track", "--no-calibrate", "--json", "-o", "plain")
    assert (calibrated["model"], calibrated["calibrated"]) == ("ridge", True)
    assert json.loads(plain.stdout)["calibrated"] is False
    assert json.loads(Path("both/bundle.json").read_text())["called"] == "ridge, calibrated"
    assert "trained ridge, calibrated, on" in run("train", csv, *TARGETS, "-m", "ridge", "--no-track", "-o", "x").output
    found = {}
    for folder in ("both", "plain"):
        run("predict", folder, csv, "-o", f"{folder}.csv")
        found[folder] = pd.read_csv(f"{folder}.csv")
    np.testing.assert_array_equal(found["both"]["O2"], found["plain"]["O2"])
    assert found["plain"]["O2_lower"].isna().all()
    assert (found["both"]["O2_lower"] < found["both"]["O2"]).all()
    assert (found["both"]["O2"] < found["both"]["O2_upper"]).all()
    options = ("--objective", "O2", "--constraint", "O2_std < 5", "--top", "3", "--keep-known", "-o", "screened")
    run("screen", csv, "-m", "both", *options, "--no-track")
    assert pd.read_csv("screened/ranked.csv")["O2_upper"].notna().all()


def test_what_has_no_interval_of_its_own_is_trained_as_it_is(csv: str) -> None:
    options = ("-m", "completion", "--param", "base=knn", "--no-track", "--json", "-o", "model")
    assert json.loads(run("train", csv, *TARGETS, *options).stdout)["calibrated"] is False


def test_what_is_replaced_and_what_is_doubtful_is_said(workdir: Path) -> None:
    Path("in.csv").write_text("psmiles,Tg\n*OCCO*,200\n*CC*,195\n*CC(*)C,260\n*CCO*,206\n*CC(*)Cl,354\n")
    arguments = ("in.csv", "-t", "Tg", "--no-track", "-o")
    first = run("compare", *arguments, "out", "--models", "mean", "--folds", "2")
    assert "one attachment point misplaced? (line 2)" in " ".join(first.output.split())
    assert "peroxide" in Path("out/warnings.csv").read_text()
    assert "is replaced" not in first.output
    again = run("compare", *arguments, "out", "--models", "mean", "--folds", "2", "--seed", "2")
    assert "none of its folds could be kept" in again.output
    assert "(replaced)" not in run("train", *arguments, "model", "-m", "mean", "--no-calibrate").output
    assert "(replaced)" in run("train", *arguments, "model", "-m", "mean", "--no-calibrate").output


def test_train_and_explore_keep_what_became_of_the_other_rows(workdir: Path) -> None:
    Path("in.csv").write_text(
        "psmiles,Tg\n*CC*,195\n*CC(*)C,260\nCC,206\n*CC(*)Cl,354\n*C*,195\n*CCO*,206\n*CCC*O,\n*CCCO*,190\n"
    )
    run("train", "in.csv", "-t", "Tg", "--no-track", "-m", "mean", "--no-calibrate", "-o", "model")
    run("explore", "in.csv", "-t", "Tg", "--no-track", "--methods", "pca", "--clusters", "2", "-o", "maps")
    for folder in ("model", "maps"):
        assert pd.read_csv(f"{folder}/rejects.csv")["line"].tolist() == [4, 8]
        assert len(pd.read_csv(f"{folder}/duplicates.csv")) == 1
        assert Path(folder, "warnings.csv").is_file()
    run("predict", "model", "in.csv", "-o", "out.csv")
    assert len(pd.read_csv("out.csv")) == 8


def test_an_empty_library_leaves_nothing_behind(csv: str) -> None:
    run("train", csv, *TARGETS, "--model", "mean", "--no-track", "--quiet", "-o", "model")
    Path("none.csv").write_text("psmiles\n")
    result = CliRunner().invoke(app, ["screen", "none.csv", "-m", "model", "-o", "out", "--objective", "O2"])
    assert result.exit_code == 2
    assert "no rows below the header" in result.output
    assert not Path("out").exists()
    assert not Path("mlruns").exists()


def test_a_learning_curve_of_models_with_the_same_parameters(csv: str) -> None:
    options = ("--folds", "2", "--repeats", "2", "--jobs", "1", "--no-track", "--json", "-o", "curve")
    found = json.loads(
        run("learning-curve", csv, "--target", "O2", "--log10", "O2", "--models", "svm,svm_linear", "--sizes", "12",
            "--param", "C=2", *options).stdout
    )  # fmt: skip
    assert {row["model"] for row in found["curve"]} == {"svm", "svm_linear"}
    assert sorted({row["polymers"] for row in found["curve"]})[0] == 12
    curve = pd.read_csv("curve/learning_curve.csv")
    assert set(curve["repeat"]) == {0, 1}
    told = json.loads(Path("curve/n12/compare.json").read_text())
    assert [model["params"] for model in told["models"]] == [{"C": 2}, {"C": 2}]


def test_parameters_of_all_compared_models(csv: str) -> None:
    options = ("--folds", "2", "--jobs", "1", "--no-track", "-o", "out")
    run("compare", csv, *TARGETS, "--models", "svm,svm_linear", "--param", "C=2", *options)
    told = json.loads(Path("out/compare.json").read_text())
    assert [model["params"] for model in told["models"]] == [{"C": 2}, {"C": 2}]
    wrong = ["compare", csv, *TARGETS, "--models", "svm,ridge", "--param", "C=2", *options]
    result = CliRunner().invoke(app, wrong)
    assert result.exit_code == 2
    assert "'C'" in result.output
