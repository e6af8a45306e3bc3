"""``polyml tune`` and ``polyml compare --tune``: what they print and write, and how they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner, Result

from polyml.bundle import Bundle
from polyml.cli.main import app

GOOD = "psmiles,Tg\n" + "".join(f"*{'C' * n}O*,{200 + 7 * n}\n*{'C' * n}S*,{220 + 9 * n}\n" for n in range(1, 9))
TUNE = ("tune", "in.csv", "-t", "Tg", "-m", "ridge", "--folds", "3", "--no-track", "-o", "out")


@pytest.fixture(autouse=True)
def _data(workdir: Path) -> None:
    Path("in.csv").write_text(GOOD)


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_tune_prints_json_goes_on_and_says_what_next() -> None:
    first = json.loads(run(*TUNE, "--trials", "4", "--json").stdout)
    assert first["trials"] == {"complete": 4, "pruned": 0, "failed": 0}
    assert first["best_score"] >= first["defaults_score"]
    assert not Path("mlruns").exists()
    assert "exists already, with 4 trials" in run(*TUNE, "--trials", "6", code=2).output
    resumed = run(*TUNE, "--trials", "6", "--resume")
    assert "(defaults)" in resumed.output
    assert len(pd.read_csv("out/trials.csv")) == 6
    other = ("tune", "in.csv", "-t", "Tg", "-m", "lasso", "--folds", "3", "--no-track", "-o", "out", "--trials", "2")
    assert "the folder holds the search of 'ridge', not of 'lasso'" in run(*other, code=2).output
    line = yaml.safe_load(Path("out/best_params.yaml").read_text())[0]
    assert line["key"] == "ridge"
    params = ("--param", f"alpha={line['params']['alpha']}") if line["params"]["alpha"] is not None else ()
    run("train", "in.csv", "-t", "Tg", "-m", "ridge", "--no-calibrate", "--no-track", "-o", "model", *params)


def test_ranges_and_fixed_parameters_come_from_options() -> None:
    options = ("--space", "alpha={low: 0.01, high: 1, log: true}", "--param", "features=[maccs]", "--sampler", "grid")
    run(*TUNE, *options, "--trials", "5", "--quiet")
    trials = pd.read_csv("out/trials.csv")
    assert trials["alpha"].iloc[1:].tolist() == pytest.approx([0.01, 0.0464159, 0.215443, 1.0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sampler", "tpee"), "did you mean 'tpe'"),
        (("--pruner", "media"), "did you mean 'median'"),
        (("--space", "alhpa"), "did you mean 'alpha'"),
        (("--space", "alpha={low: 1"), "--space alpha"),
        (("--space", "alpha=3"), "no range"),
        (("--space", "alpha={low: 2, high: 1}"), "empty"),
        (("--param", "alpha=1", "--space", "alpha"), "fixed and searched"),
        (("--model", "mean"), "declares no search space"),
        (("--model", "rigde"), "did you mean 'ridge'"),
        (("--trials", "0"), "--trials"),
        (("--folds", "1"), "--folds"),
        (("--folds", "99"), "99 inner folds"),
        (("--timeout", "-1"), "time limit"),
        (("--storage", "nonsense://x"), "database"),
        (("--resume", "--force"), "give one of the two"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(options: tuple[str, ...], words: str) -> None:
    output = run(*TUNE, *options, code=2).output
    assert words in " ".join(output.split())
    assert not Path("out").exists()


def test_compare_tunes_the_models_that_can_be_tuned() -> None:
    arguments = ("compare", "in.csv", "-t", "Tg", "--folds", "2", "--jobs", "1", "--no-track", "--json", "-o", "out")
    found = json.loads(run(*arguments, "--models", "mean,ridge", "--tune", "2").stdout)
    assert {row["model"] for row in found["leaderboard"]} == {"mean", "ridge_tuned"}
    refused = run(*arguments, "--models", "mean", "--tune", "2", code=2)
    assert "nothing to tune" in refused.output


def test_a_wrong_key_of_a_search_in_a_recipe_names_the_nearest() -> None:
    override = "compare.models=[{key: svm, tune: {trails: 3}}]"
    output = run("run", "gas_membranes", "--set", override, code=2).output
    assert "'compare.models.0.tune.trials'" in " ".join(output.split())
    override = "compare.models=[{key: svm, tune: {space: {gama: }}}]"
    output = run("run", "gas_membranes", "--set", override, "--set", "tracking.enabled=false", code=2).output
    assert "did you mean 'gamma'" in " ".join(output.split())
    assert not Path("outputs").exists()


def test_train_takes_what_a_search_found() -> None:
    run(*TUNE, "--trials", "2", "--quiet")
    best = json.loads(Path("out/best_params.json").read_text())["params"]
    given = ("train", "in.csv", "-t", "Tg", "--no-track", "-o", "model", "--tuned")
    run(*given, "out", "--no-calibrate")
    bundle = Bundle.load("model")
    assert bundle.model.key == "ridge"
    assert {name: getattr(bundle.model, name) for name in best} == best
    assert "not those of 'svm'" in run(*given, "out", "-m", "svm", code=2).output
    assert "no best parameters" in run(*given, "nowhere", code=2).output
    assert "no model is named" in run("train", "in.csv", "-t", "Tg", "-o", "other", code=2).output
