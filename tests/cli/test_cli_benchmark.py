from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from polyml.cli.main import app
from polyml.data.catalog import embedded_path
from polyml.settings import benchmark_folder

SUITE = """\
name: oxygen
title: Oxygen
sets: [{name: oxygen, files: [oxygen.csv], targets: [{name: O2, transform: log10}]}]
comparisons:
  - {name: single, title: One, sets: [oxygen], split: {folds: 3}, models: [mean, pca_ridge], reference: mean}
"""


@pytest.fixture
def here(workdir: Path) -> Path:
    (workdir / "data").mkdir()
    table = pd.read_csv(embedded_path("gas_permeability")).head(60)[["psmiles", "O2"]]
    table.dropna().to_csv(workdir / "data" / "oxygen.csv", index=False)
    (workdir / "suite.yaml").write_text(SUITE)
    return workdir


def test_a_suite_writes_a_report_and_runs_in_mlflow(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYML_BENCHMARKS", "data")
    options = ("--models", "pca_ridge", "--jobs", "1", "--report", "docs/results.md", "--set", "title=Oxygen alone")
    result = CliRunner().invoke(app, ["benchmark", "suite.yaml", *options])
    assert result.exit_code == 0, result.output
    out = here / "outputs" / "benchmarks" / "oxygen"
    text = (out / "report.md").read_text("utf-8")
    assert text == (here / "docs" / "results.md").read_text("utf-8")
    command = re.search("Made by `polyml (.*?)`", text)[1]
    assert command == "benchmark suite.yaml --data FOLDER --models pca_ridge --set 'title=Oxygen alone'"
    assert set(pd.read_csv(out / "scores.csv")["model"]) == {"mean", "pca_ridge"}
    assert "pca_ridge" in result.output

    import mlflow

    runs = mlflow.MlflowClient(f"sqlite:///{here}/mlruns/mlflow.db")
    experiment = runs.get_experiment_by_name("benchmark oxygen")
    assert len(runs.search_runs([experiment.experiment_id])) == 3  # the comparison and its two models

    again = CliRunner().invoke(app, shlex.split(command.replace("FOLDER", "data")))
    assert again.exit_code == 0, again.output
    assert (out / "report.md").read_text("utf-8") == text


def test_json_for_scripts(here: Path) -> None:
    options = ("--data", "data", "--no-track", "--json", "--jobs", "1")
    result = CliRunner().invoke(app, ["benchmark", "suite.yaml", *options])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["scores"]
    assert {row["model"] for row in rows} == {"mean", "pca_ridge"}
    assert not (here / "mlruns").exists()


def test_what_is_missing_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYML_BENCHMARKS", raising=False)
    result = CliRunner().invoke(app, ["benchmark", "suite.yaml"])
    assert result.exit_code == 2
    assert "--data, or set POLYML_BENCHMARKS" in result.output
    result = CliRunner().invoke(app, ["benchmark", "dtf", "--data", "data"])
    assert result.exit_code == 2
    assert "did you mean 'dft'" in result.output


def test_the_benchmark_sets_of_this_machine(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = benchmark_folder()
    if folder is None or not (folder / "dft_eea.csv").is_file():
        pytest.skip("POLYML_BENCHMARKS names no folder with the benchmark data")
    options = ("--data", str(folder), "--sets", "eea", "--models", "mean", "--no-track", "--json", "--jobs", "1")
    result = CliRunner().invoke(app, ["benchmark", "dft", *options])
    assert result.exit_code == 0, result.output
    rows = {(row["model"], row["metric"]): row["score"] for row in json.loads(result.stdout)["scores"]}
    # KFold(5, shuffle=True, random_state=1) over the rows of the file, by scikit-learn's DummyRegressor and Ridge.
    assert rows["mean", "rmse"] == pytest.approx(1.0880, abs=1e-4)
    assert 0.43 < rows["ridge_ecfp", "rmse"] < 0.45
