"""The real recipe, shrunk: fewer rows, folds and models, a sample of the candidates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from polyml.cli.main import app


@pytest.fixture
def shrunk(workdir: Path, gas_sample: Callable[..., Path]) -> list[str]:
    from polyml.data.catalog import embedded_path

    candidates = pd.read_parquet(embedded_path("candidates")).sample(300, random_state=1)
    candidates.to_parquet(workdir / "candidates.parquet")
    (workdir / "parts").mkdir()
    candidates[:200].to_parquet(workdir / "parts/1.parquet")
    candidates[200:].to_csv(workdir / "parts/2.csv.gz", index=False)
    gases = "[" + ", ".join(f"{{name: {gas}, unit: Barrer, transform: log10}}" for gas in ("CO2", "N2", "O2")) + "]"
    settings = {
        "data.source": str(gas_sample(80)),
        "data.targets": gases,
        "split.folds": "2",
        "featurize.features": "[ecfp_count]",
        "explore.methods": "[pca]",
        "explore.clusters": "3",
        "compare.models": "[mean, pca_ridge, {key: extra_trees, params: {n_estimators: 20, features: [ecfp_count]}}]",
        "compare.ratios": "[[O2, N2]]",
        "compare.jobs": "1",
        "train.model": "winner",
        "train.quick": "{key: pca_ridge, params: {features: [ecfp_count]}}",
        "screen.candidates": f"{workdir}/parts/*",
        "screen.derive": "{O2/N2: O2 / N2}",
        "screen.prefilter": "[O2 >= 0.01]",
        "screen.constraints": "[O2 >= 0.1]",
        "screen.objectives": '[robeson("O2/N2")]',
        "screen.top": "20",
    }
    return [item for key, value in settings.items() for item in ("--set", f"{key}={value}")]


def test_from_data_to_a_ranked_list(workdir: Path, shrunk: list[str]) -> None:
    result = CliRunner().invoke(app, ["run", "gas_membranes", *shrunk])
    assert result.exit_code == 0, result.output
    folder = workdir / "outputs/gas_membranes"
    for stage in ("prepare", "audit", "featurize", "explore", "compare", "train", "screen"):
        assert (folder / stage / "stage.json").is_file(), stage

    found = json.loads((folder / "audit/audit.json").read_text())
    assert [row["file"] for row in found["files"]] == ["gas"]
    assert {row["file"] for row in pd.read_csv(folder / "audit/tables/leaks.csv").to_dict("records")} == {"gas"}
    assert (folder / "audit/audit.html").is_file()

    board = pd.read_csv(folder / "compare/leaderboard.csv")
    assert set(board["model"]) == {"mean", "pca_ridge", "extra_trees"}
    assert set(board["status"]) == {"ok"}
    assert board["model"].iloc[0] != "mean"

    ranked = pd.read_csv(folder / "screen/ranked.csv")
    assert 0 < len(ranked) <= 20
    assert (ranked["O2"] >= 0.1).all()
    assert {"monomer_1", "polymer_class", "O2/N2"} <= set(ranked.columns)
    assert (workdir / "mlruns/mlflow.db").is_file()
    assert ranked[["O2_lower", "O2_upper"]].notna().all().all()
    trained = {part: json.loads((folder / "train" / part / "bundle.json").read_text()) for part in ("model", "quick")}
    assert trained["model"]["called"] == f"{board['model'].iloc[0]}, calibrated"
    assert trained["quick"]["called"] == "pca_ridge"  # its intervals are not read
    assert (folder / "compare/uncertainty.csv").is_file()

    again = CliRunner().invoke(app, ["run", "gas_membranes", *shrunk])
    assert again.exit_code == 0, again.output
    assert again.output.count("nothing changed") == 7

    predicted = CliRunner().invoke(
        app, ["predict", "models:/gas_membranes@champion", "candidates.parquet", "-o", "out.csv", "--quiet"]
    )
    assert predicted.exit_code == 0, predicted.output
    rows = pd.read_csv("out.csv")
    assert len(rows) == 300
    assert (rows["O2"].notna() | rows["error"].notna()).all()


def test_a_changed_screen_keeps_the_model(workdir: Path, shrunk: list[str]) -> None:
    quick = [*shrunk, "--set", "tracking.enabled=false", "--set", "train.model=pca_ridge", "--stage", "screen"]
    first = CliRunner().invoke(app, ["run", "gas_membranes", *quick])
    assert first.exit_code == 0, first.output
    folder = workdir / "outputs/gas_membranes"
    assert not (folder / "compare").exists()  # a named model needs no comparison
    assert not (workdir / "mlruns").exists()
    trained = (folder / "train/stage.json").stat().st_mtime_ns
    second = CliRunner().invoke(app, ["run", "gas_membranes", *quick, "--set", "screen.top=5"])
    assert second.exit_code == 0, second.output
    assert (folder / "train/stage.json").stat().st_mtime_ns == trained
    assert len(pd.read_csv(folder / "screen/ranked.csv")) == 5
    elsewhere = CliRunner().invoke(
        app, ["run", "gas_membranes", *quick, "--set", "screen.top=5", "--set", "screen.jobs=1"]
    )
    assert "screen: nothing changed" in elsewhere.output
    candidates = pd.read_csv(workdir / "parts/2.csv.gz")
    candidates[:50].to_csv(workdir / "parts/2.csv.gz", index=False)
    fewer = CliRunner().invoke(app, ["run", "gas_membranes", *quick, "--set", "screen.top=5"])
    assert fewer.exit_code == 0, fewer.output
    assert json.loads((folder / "screen/summary.json").read_text())["read"] == 250


def test_a_strict_recipe_stops_at_an_error_and_keeps_the_report(workdir: Path, shrunk: list[str]) -> None:
    source = Path(next(item for item in shrunk if item.startswith("data.source=")).removeprefix("data.source="))
    frame = pd.read_csv(source)
    frame.loc[0, "O2"] = 1e12
    frame.to_csv(source, index=False)
    stages = ["--stage", "audit", "--set", "audit.strict=true"]
    stopped = CliRunner().invoke(app, ["run", "gas_membranes", *shrunk, *stages])
    assert stopped.exit_code == 2
    assert "audit.strict=false" in stopped.output
    folder = workdir / "outputs/gas_membranes/audit"
    assert "outside range O2" in {item["check"] for item in json.loads((folder / "audit.json").read_text())["findings"]}
    assert not (folder / "stage.json").exists()
    going_on = CliRunner().invoke(app, ["run", "gas_membranes", *shrunk, "--stage", "audit"])
    assert going_on.exit_code == 0, going_on.output
    assert (folder / "stage.json").is_file()
