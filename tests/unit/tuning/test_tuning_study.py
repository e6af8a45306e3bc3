"""A study on disk: resumed, shared by processes, killed, refused where it does not fit, and tracked."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from polyml.config import ModelSpec
from polyml.data import PolymerTable
from polyml.errors import UserError
from polyml.models.catalog import make_model
from polyml.tracking import make_tracker
from polyml.tuning import SearchSettings
from polyml.tuning.storage import load, open_study, queue_lost, storage_url, this_process
from polyml.tuning.trials import SearchResult, read_trials
from polyml.tuning.tune import tune


def run(table: PolymerTable, folder: Path, trials: int = 4, **more: Any) -> SearchResult:
    settings = SearchSettings(trials=trials, folds=3, **more.pop("settings", {}))
    tracker = more.pop("tracker", make_tracker("x", enabled=False))
    key = more.pop("key", "svm")
    return tune(key, table, more.pop("y", table.y), folder, tracker=tracker, settings=settings, **more)


def test_the_folder_has_the_table_the_pictures_and_a_line_for_a_recipe(table: PolymerTable, tmp_path: Path) -> None:
    found = run(table, tmp_path / "out", 12, params={"gamma": 0.5}, settings={"pruner": "none"})
    trials = pd.read_csv(tmp_path / "out" / "trials.csv")
    assert len(trials) == 12
    assert {"C", "epsilon", "score", "score[2]", "seconds"} <= set(trials)
    specs = [ModelSpec(**item) for item in yaml.safe_load((tmp_path / "out" / "best_params.yaml").read_text())]
    assert (
        make_model(specs[0].key, **specs[0].params).get_params() == make_model("svm", **found.best_params).get_params()
    )
    facts = json.loads((tmp_path / "out" / "best_params.json").read_text())
    assert facts["inner_score"] == found.best.score >= facts["defaults_inner_score"]
    page = (tmp_path / "out" / "tuning.html").read_text()
    assert all(word in page for word in ("Optimisation history", "Importance", "Parallel coordinates", "Slices"))


def test_a_study_goes_on_as_if_it_had_not_been_stopped(table: PolymerTable, tmp_path: Path) -> None:
    whole = run(table, tmp_path / "whole", 8)
    run(table, tmp_path / "parts", 5)
    with pytest.raises(UserError, match="exists already, with 5 trials"):
        run(table, tmp_path / "parts", 8)
    resumed = run(table, tmp_path / "parts", 8, resume=True)
    assert [t.params for t in resumed.trials] == [t.params for t in whole.trials]
    assert [t.scores for t in resumed.trials] == [t.scores for t in whole.trials]
    assert len(run(table, tmp_path / "parts", 3, force=True).trials) == 3


def test_another_basis_is_refused(table: PolymerTable, tmp_path: Path) -> None:
    run(table, tmp_path / "out", 1, study="s")
    changes: dict[str, dict[str, Any]] = {
        "another set of data": {"y": table.y * 2},
        "another set of fixed parameters": {"params": {"kernel": "linear"}},
        "another seed": {"settings": {"seed": 5}},
        "another number of inner folds": {"settings": {"repeats": 2}},
        "another search space": {"space": ["C"]},
        "another model": {"key": "ridge"},
    }
    for words, change in changes.items():
        with pytest.raises(UserError, match=words):
            run(table, tmp_path / "out", 2, study="s", resume=True, **change)


def test_storages_that_cannot_be_used(table: PolymerTable, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database" * 100)
    (tmp_path / "file").write_text("mine")
    cases = {
        str(tmp_path / "text.db"): "no SQLite file",
        "nonsense://x/y": "not known",
        "://": "no database URL",
        str(tmp_path / "file" / "study.db"): "cannot write",
    }
    for storage, words in cases.items():
        with pytest.raises(UserError, match=words):
            run(table, tmp_path / "out", 1, storage=storage)
    assert not (tmp_path / "out").exists()


def test_a_trial_of_a_dead_process_is_queued_again(table: PolymerTable, tmp_path: Path) -> None:
    run(table, tmp_path / "out", 2)
    study = load(storage_url(None, tmp_path / "out"), "toy_svm", {})
    trial = study.ask()
    drawn = {"C": trial.suggest_float("C", 0.3, 100.0, log=True)}
    trial.set_user_attr("process", this_process() | {"pid": 2**22 + 1})
    alive = study.ask()
    alive.set_user_attr("process", this_process())
    queue_lost(study)
    assert [t.state for t in read_trials(study, _Space())][2:] == ["lost", "running", "waiting"]  # type: ignore[arg-type]
    queue_lost(study)
    assert len(study.trials) == 5
    study.tell(alive, state=_failed())
    alive_again = run(table, tmp_path / "out", 4, resume=True)
    assert alive_again.count("complete", "pruned") == 4
    assert alive_again.trials[4].params["C"] == drawn["C"]


class _Space:
    outside: dict[str, Any] = {}  # noqa: RUF012

    def decode(self, params: dict[str, Any]) -> dict[str, Any]:
        return params


def _failed() -> Any:
    import optuna

    return optuna.trial.TrialState.FAIL


START = """
import sys, time
from pathlib import Path
import optuna, sklearn.svm
from polyml.cli.main import app
import polyml.pipeline.steps, polyml.tuning.tune
Path(sys.argv[1]).touch()
while not Path(sys.argv[2]).exists():
    time.sleep(0.01)
app(sys.argv[3:])
"""


def start(csv: Path, folder: Path, number: int, trials: int, *more: str) -> subprocess.Popen[bytes]:
    """Start ``polyml tune`` in a process that waits, once everything is imported, for the file ``go``."""
    options = [
        "-t",
        "a",
        "-t",
        "b",
        "-m",
        "svm",
        "-n",
        str(trials),
        "--folds",
        "3",
        "--no-track",
        "-q",
        "-o",
        str(folder),
    ]
    files = [str(folder.parent / name) for name in (f"ready{number}", "go")]
    words = [sys.executable, "-c", START, *files, "tune", str(csv), *options, *more]
    return subprocess.Popen(words, stderr=subprocess.PIPE)


def wait_for(reached: Callable[[], bool]) -> None:
    until = time.time() + 120
    while not reached():
        assert time.time() < until
        time.sleep(0.01)


def count(folder: Path, *states: str) -> int:
    try:
        with sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True) as database:
            rows = database.execute("select state from trials").fetchall()
    except sqlite3.Error:
        return 0
    return sum(state in states for (state,) in rows)


def test_two_processes_share_a_study(csv: Path, table: PolymerTable, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    started = [start(csv, folder, number, 24, "--resume") for number in range(2)]
    wait_for(lambda: all((tmp_path / f"ready{number}").exists() for number in range(2)))
    (tmp_path / "go").touch()
    errors = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    assert 24 <= count(folder, "COMPLETE", "PRUNED") <= 25  # both may begin the last one
    assert count(folder, "RUNNING", "WAITING", "FAIL") == 0
    study = load(storage_url(None, folder), "toy_svm", {})
    assert len({trial.user_attrs["process"]["pid"] for trial in study.trials}) == 2
    assert len({tuple(trial.params.values()) for trial in study.trials}) == len(study.trials)


def test_a_process_that_joins_while_a_study_is_made_queues_nothing_twice(tmp_path: Path) -> None:
    made, url = threading.Event(), storage_url(None, tmp_path)

    def queue_first(study: Any, seconds: float) -> None:
        if not study.trials:
            made.set()
            time.sleep(seconds)  # what another process does between the look and the queue
            study.enqueue_trial({"C": 5.0})

    def join(seconds: float) -> Any:
        return open_study(url, "s", {"data": 1}, {}, partial(queue_first, seconds=seconds), resume=True, force=False)

    maker = threading.Thread(target=join, args=(0.5,))
    maker.start()
    assert made.wait(60)
    joined = join(0.0)
    maker.join()
    assert len(joined.trials) == 1


def test_a_killed_process_loses_nothing(
    csv: Path, table: PolymerTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A trial cut off before it named its process is given up after a while; no other process is at work here.
    monkeypatch.setattr("polyml.tuning.storage._NAMELESS", 0.0)
    folder = tmp_path / "out"
    (tmp_path / "go").touch()
    process = start(csv, folder, 0, 10_000)
    wait_for(lambda: count(folder, "COMPLETE", "PRUNED") >= 5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = count(folder, "COMPLETE", "PRUNED")
    cut_off = count(folder, "RUNNING")
    total = before + 4
    found = run(table, folder, total, resume=True, settings={"seed": 1})
    assert found.count("complete", "pruned") == total
    assert found.count("running", "waiting", "failed") == 0
    assert found.count("lost") == cut_off


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    table: PolymerTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polyml.models.svm import SupportVectorModel

    fit, calls = SupportVectorModel.fit, []

    def stop_in_the_third_trial(self: Any, psmiles: Any, y: Any) -> Any:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return fit(self, psmiles, y)

    monkeypatch.setattr(SupportVectorModel, "fit", stop_in_the_third_trial)
    with pytest.raises(KeyboardInterrupt, match=r"(?s)2 of 5 trials are finished.*--resume"):
        run(table, tmp_path / "out", 5)
    assert len(pd.read_csv(tmp_path / "out" / "trials.csv")) == 3
    assert (tmp_path / "out" / "best_params.yaml").is_file()
    found = run(table, tmp_path / "out", 5, resume=True)
    assert [t.state for t in found.trials] == ["complete", "complete", "lost", "complete", "complete", "complete"]
    assert found.trials[3].params == found.trials[2].params


def test_no_trial_begins_after_the_time(table: PolymerTable, tmp_path: Path) -> None:
    run(table, tmp_path / "out", 1)
    assert len(run(table, tmp_path / "out", 100_000, resume=True, timeout=0.3).trials) < 1000
    with pytest.raises(UserError, match="time limit"):
        run(table, tmp_path / "out", 1, timeout=0)


def test_jobs_share_a_grid_and_the_best_is_no_worse_than_the_defaults(table: PolymerTable, tmp_path: Path) -> None:
    space = {"C": [1.0, 3.0, 5.0, 27.0], "kernel": ["rbf", "linear"]}
    settings = {"pruner": "none", "sampler": "grid"}
    found = run(table, tmp_path / "out", 30, jobs=2, settings=settings, space=space)
    assert [trial.state for trial in found.trials] == ["complete"] * 8
    points = {(trial.params["C"], trial.params["kernel"]) for trial in found.trials}
    assert points == {(c, k) for c in space["C"] for k in space["kernel"]}
    assert found.defaults is not None
    assert found.best.score >= found.defaults.score


def test_one_parent_run_a_child_a_trial_and_the_same_runs_when_it_goes_on(table: PolymerTable, tmp_path: Path) -> None:
    tracker = make_tracker("tuning", uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    run(table, tmp_path / "out", 2, tracker=tracker)
    found = run(table, tmp_path / "out", 3, tracker=tracker, resume=True)
    client = tracker._client
    experiment = client.get_experiment_by_name("tuning")
    runs = {item.info.run_name: item for item in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"tune svm", "trial 0", "trial 1", "trial 2"}
    parent, child = runs["tune svm"], runs["trial 1"]
    assert parent.data.metrics["best_inner_score"] == found.best.score
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert float(child.data.params["C"]) == found.trials[1].params["C"]
    scores = client.get_metric_history(child.info.run_id, "folds/inner_score")
    assert [metric.value for metric in scores] == list(found.trials[1].scores)
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"best_params.yaml", "best_params.json", "trials.csv", "tuning.html"} <= names
