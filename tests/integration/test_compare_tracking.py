"""What a comparison leaves in MLflow: a parent run, a child a model, the same runs when it is continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyml.data import PolymerTable, Property, SplitSpec, read_table
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.models.baselines import MeanModel
from polyml.tracking import Tracker, make_tracker


class Failing(MeanModel):
    def fit(self, psmiles: Any, y: np.ndarray) -> MeanModel:
        raise RuntimeError("no solution")


class Learning(MeanModel):
    """Has a training history of two members, as networks have."""

    def fit(self, psmiles: Any, y: np.ndarray) -> MeanModel:
        self.history_ = [{"member": m, "epoch": e, "train_loss": 1.0 / (1 + e)} for m in (0, 1) for e in range(3)]
        return super().fit(psmiles, y)


def factory(key: str, **params: Any) -> MeanModel:
    return {"mean": MeanModel, "failing": Failing, "learning": Learning}[key](**params)


@pytest.fixture
def table(tmp_path: Path) -> PolymerTable:
    texts = ["*" + "C" * n + "O*" for n in range(1, 13)]
    path = tmp_path / "gas.csv"
    pd.DataFrame({"psmiles": texts, "O2": np.arange(1.0, 13.0), "N2": np.arange(2.0, 14.0)}).to_csv(path, index=False)
    return read_table(path, [Property(name=name, unit="Barrer", transform="log10") for name in ("O2", "N2")])


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    return make_tracker("comparisons", uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def runs(tracker: Tracker) -> dict[str, Any]:
    client = tracker._client
    experiment = client.get_experiment_by_name("comparisons")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def artifacts(tracker: Tracker, run: Any) -> set[str]:
    return {item.path for item in tracker._client.list_artifacts(run.info.run_id)}


def test_one_parent_a_child_a_model_and_the_same_run_when_continued(
    table: PolymerTable, tracker: Tracker, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    options: dict[str, Any] = {"tracker": tracker, "jobs": 1, "factory": factory, "ratios": ["O2/N2"]}
    first = compare(table, [Compared("mean"), Compared("failing")], SplitSpec(folds=3), folder, **options)
    found = runs(tracker)
    assert {name: run.info.status for name, run in found.items()} == {
        "out": "FINISHED", "mean": "FINISHED", "failing": "FAILED"
    }  # fmt: skip
    parent, mean, failing = found["out"], found["mean"], found["failing"]
    assert mean.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert failing.data.tags["error"] == "RuntimeError: no solution"
    assert mean.data.metrics["rmse/O2"] == pytest.approx(first.leaderboard()["rmse[O2]"].iloc[0])
    assert "rmse/O2_over_N2" in mean.data.metrics
    board = first.leaderboard().iloc[0]
    for end in ("pooled", "low", "high"):
        assert mean.data.metrics[f"rmse_{end}/O2"] == pytest.approx(board[f"rmse_{end}[O2]"])
        assert parent.data.metrics[f"best/rmse_{end}/O2"] == pytest.approx(board[f"rmse_{end}[O2]"])
    steps = tracker._client.get_metric_history(mean.info.run_id, "folds/rmse/O2")
    assert [metric.step for metric in steps] == [0, 1, 2]
    scores = first.frame.query("property == 'O2' and metric == 'rmse'")["score"]
    assert [metric.value for metric in steps] == pytest.approx(list(scores))
    spread = first.uncertainty().set_index("property").loc["O2"]
    assert mean.data.metrics["coverage/O2"] == pytest.approx(spread["coverage"])
    assert mean.data.metrics["miscalibration_area/O2"] == pytest.approx(spread["miscalibration_area"])
    assert "coverage/O2_over_N2" not in mean.data.metrics  # a ratio has no spread
    assert {"plots.html", "predictions.csv"} <= artifacts(tracker, mean)
    page = Path(tracker._client.download_artifacts(mean.info.run_id, "plots.html", str(tmp_path))).read_text()
    assert "Calibration, O2" in page
    assert "Calibration, O2/N2" not in page
    assert {"leaderboard.csv", "leaderboard.html", "tables"} <= artifacts(tracker, parent)
    assert json.loads((folder / "tracking.json").read_text())["run_id"] == parent.info.run_id

    more = [Compared("mean"), Compared("learning")]
    compare(table, more, SplitSpec(folds=3), folder, **options)
    again = runs(tracker)
    assert set(again) == {"out", "mean", "failing", "learning"}
    assert again["out"].info.run_id == parent.info.run_id
    assert again["mean"].info.end_time == mean.info.end_time  # finished before: reported once
    history = tracker._client.get_metric_history(
        again["learning"].info.run_id, "training/repeat0_fold1_member1/train_loss"
    )
    assert {metric.step: metric.value for metric in history} == pytest.approx({0: 1.0, 1: 0.5, 2: 1 / 3})


def test_a_new_store_gets_a_new_run(table: PolymerTable, tracker: Tracker, tmp_path: Path) -> None:
    folder, split = tmp_path / "out", SplitSpec(folds=3)
    compare(table, [Compared("mean")], split, folder, tracker=tracker, jobs=1, factory=factory)
    other = make_tracker("comparisons", uri=f"sqlite:///{tmp_path / 'other.db'}")
    results = compare(table, [Compared("mean")], split, folder, tracker=other, jobs=1, factory=factory)
    assert results.computed == 0
    assert set(runs(other)) == {"out", "mean"}
    assert runs(other)["out"].info.run_id != runs(tracker)["out"].info.run_id


def test_a_comparison_where_every_model_failed_is_a_failed_run(
    table: PolymerTable, tracker: Tracker, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="every model failed"):
        compare(
            table,
            [Compared("failing")],
            SplitSpec(folds=3),
            tmp_path / "out",
            tracker=tracker,
            jobs=1,
            factory=factory,
        )
    assert {run.info.status for run in runs(tracker).values()} == {"FAILED"}


def test_a_tracker_that_records_nothing_leaves_no_note(table: PolymerTable, tmp_path: Path) -> None:
    silent = make_tracker("comparisons", enabled=False)
    compare(table, [Compared("mean")], SplitSpec(folds=3), tmp_path / "out", tracker=silent, jobs=1, factory=factory)
    assert not (tmp_path / "out" / "tracking.json").exists()
