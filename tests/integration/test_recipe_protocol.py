"""What a recipe's numbers are worth stands in its run: a leaky one is stamped, fixed folds are kept to."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from polyml.chem import RepeatUnit
from polyml.chem.variants import frames
from polyml.cli.main import app


@pytest.fixture
def recipe(workdir: Path) -> dict:
    """A recipe on polymers that stand in the file in two frames each: shuffled rows put them on both sides."""
    chains = [f"*{'C' * n}{hetero}*" for n in range(2, 9) for hetero in ("O", "S", "N")]
    rows = [(text, len(text)) for chain in chains for text in (chain, frames(RepeatUnit.parse(chain))[1])]
    pd.DataFrame(rows, columns=["psmiles", "Tg"]).to_csv("data.csv", index=False)
    return {
        "name": "frames",
        "data": {"source": "data.csv", "targets": ["Tg"]},
        "split": {"kind": "rows", "folds": 3},
        "featurize": {"features": ["ecfp_count"]},
        "compare": {"models": ["mean", {"key": "knn", "params": {"features": ["ecfp_count"]}}], "jobs": 1},
    }


def run(recipe: dict, *options: str, stage: str = "compare") -> str:
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    result = CliRunner().invoke(app, ["run", "recipe.yaml", "--stage", stage, *options])
    assert result.exit_code == 0, result.output
    return result.output


def options_of_run() -> dict:
    return json.loads(Path("outputs/frames/compare/compare.json").read_text())


def tags_of_run(stage: str = "compare") -> dict[str, str]:
    from mlflow.tracking import MlflowClient

    from polyml.settings import tracking_store

    client = MlflowClient(tracking_store().uri)
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
    return next(run.data.tags for run in runs if run.data.tags.get("polyml.stage") == stage)


def test_a_leaky_recipe_is_stamped_and_mended_by_grouped_folds(recipe: dict) -> None:
    output = " ".join(run(recipe).split())
    options = options_of_run()
    assert list(options["protocol"]) == ["leaky"]
    assert "tested polymers stand in the training part of the same fold" in options["leaks"][0]
    assert "leaky: 3-fold" in output
    tags = tags_of_run()
    assert tags["polyml.protocol"] == "leaky"
    assert options["leaks"][0] in tags["polyml.protocol_words"]
    leaky = pd.read_csv("outputs/frames/compare/leaderboard.csv").set_index("model")["rmse"]

    run(recipe | {"split": {"kind": "kfold", "folds": 3}}, "--set", "tracking.enabled=false")
    assert list(options_of_run()["protocol"]) == ["honest"]
    honest = pd.read_csv("outputs/frames/compare/leaderboard.csv").set_index("model")["rmse"]
    assert leaky["knn"] < honest["knn"]  # the neighbour in another frame gave the answer away


def test_the_model_that_a_leaky_comparison_chose_says_so(recipe: dict) -> None:
    run(recipe, "--set", "train.calibrate=false", stage="train")
    scores = json.loads(Path("outputs/frames/train/model/bundle.json").read_text())["scores"]
    assert scores["model"] == "knn"
    assert scores["protocol"] == options_of_run()["protocol"]
    assert list(scores["protocol"]) == ["leaky"]
    assert tags_of_run("train")["polyml.protocol"] == "leaky"


def test_fixed_folds_are_taken_from_a_file_and_a_change_of_it_is_seen(recipe: dict) -> None:
    quiet = ("--set", "tracking.enabled=false")
    grouped = recipe | {"split": {"kind": "kfold", "folds": 3}}
    run(grouped, *quiet)
    digest = options_of_run()["split"]["digest"]
    Path("outputs/frames/compare/splits.csv").rename("splits.csv")

    fixed = recipe | {"split": {"kind": "fixed", "file": "splits.csv", "digest": digest[:16]}}
    run(fixed, *quiet)
    assert options_of_run()["split"]["digest"] == digest
    assert options_of_run()["folds_computed"] == 0  # the same folds

    frame = pd.read_csv("splits.csv")
    frame.loc[frame["fold"] == 2, "fold"] = 1
    frame.to_csv("splits.csv", index=False)
    Path("recipe.yaml").write_text(yaml.safe_dump(fixed))
    refused = CliRunner().invoke(app, ["run", "recipe.yaml", "--stage", "compare", *quiet])
    assert refused.exit_code == 2
    assert "the folds have the digest" in " ".join(refused.output.split())


def test_the_runs_with_the_scores_carry_the_stamp_too(recipe: dict) -> None:
    from mlflow.tracking import MlflowClient

    from polyml.settings import tracking_store

    run(recipe)
    client = MlflowClient(tracking_store().uri)
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
    children = [item.data.tags for item in runs if "polyml.model" in item.data.tags]
    assert len(children) == 2
    assert {tags["polyml.protocol"] for tags in children} == {"leaky"}


def test_a_strict_audit_refuses_a_split_that_leaks_and_binds_every_stage(recipe: dict) -> None:
    strict = recipe | {"audit": {"strict": True}}
    for stage in ("audit", "compare", "explore"):
        Path("recipe.yaml").write_text(yaml.safe_dump(strict))
        result = CliRunner().invoke(app, ["run", "recipe.yaml", "--stage", stage])
        assert result.exit_code == 2
        assert "the audit of the data found" in " ".join(result.output.split())
    grouped = strict | {"split": {"kind": "kfold", "folds": 3}}
    run(grouped, "--set", "tracking.enabled=false")
    assert Path("outputs/frames/audit/audit.json").is_file()
