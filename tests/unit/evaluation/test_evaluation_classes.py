"""Comparisons of classifiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from polyml.data.properties import Property
from polyml.data.splits import SplitSpec
from polyml.data.table import PolymerTable
from polyml.data.table_reader import read_table
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.evaluation.metrics import METRICS, make_metrics
from polyml.models.base import PolymerModel
from polyml.report.plots import confusion


@pytest.fixture
def table(tmp_path: Path) -> PolymerTable:
    rows = [f"*{'C' * n}{x}*,{label}" for n in range(1, 13) for x, label in
            (("O", "ether"), ("C(=O)N", "amide"), ("C(=O)O", "ester"))]  # fmt: skip
    rows.append("*[Si](C)(C)O*,siloxane")  # one polymer: in one test part, in no training part of that fold
    (tmp_path / "families.csv").write_text("\n".join(["smiles,family", *rows]))
    return read_table(tmp_path / "families.csv", [Property(name="family", transform="class")])


def test_metrics_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    truth, proba = rng.integers(0, 3, 200).astype(float), rng.dirichlet([1, 1, 1], 200)
    codes = proba.argmax(axis=1).astype(float)
    expected = {
        "accuracy": reference.accuracy_score(truth, codes),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, codes),
        "f1": reference.f1_score(truth, codes, average="macro"),
        "mcc": reference.matthews_corrcoef(truth, codes),
        "roc_auc": reference.roc_auc_score(truth, proba, multi_class="ovr"),
    }
    for name, value in expected.items():
        metric = METRICS[name]
        assert metric(truth, proba if metric.reads == "probability" else codes) == pytest.approx(value), name
    binary, second = truth % 2, np.column_stack([proba[:, 0], 1 - proba[:, 0]])
    assert METRICS["roc_auc"](binary, second) == pytest.approx(reference.roc_auc_score(binary, second[:, 1]))
    gap = np.where(np.arange(200) < 50, np.nan, truth)
    assert METRICS["accuracy"](gap, codes) == pytest.approx(reference.accuracy_score(truth[50:], codes[50:]))
    assert np.isnan(METRICS["roc_auc"](np.zeros(5), second[:5]))


def test_metrics_belong_to_a_task():
    assert make_metrics(None, "classification")[0].name == "mcc"
    with pytest.raises(UserError, match="unknown metric of a classification 'rmse'"):
        make_metrics(["rmse"], "classification")


def test_classifiers_are_compared(table, tmp_path):
    results = compare(
        table, [Compared("extra_trees", params={"n_estimators": 30}), Compared("svm")],
        SplitSpec(folds=3), tmp_path / "out", jobs=1,
    )  # fmt: skip
    board = results.leaderboard()
    assert list(board["status"]) == ["ok", "ok"]
    assert board["mcc"].is_monotonic_decreasing
    assert board["accuracy"].iloc[0] > 0.7
    assert results.classes == ("amide", "ester", "ether", "siloxane")
    saved = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert set(saved["label_true"]) == set(results.classes)
    probabilities = saved[[f"p[{name}]" for name in results.classes]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
    lonely = saved[saved["label_true"] == "siloxane"]
    assert (lonely["p[siloxane]"] == 0).all()  # no polymer of its class was in that training part
    options = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert options["task"] == "classification"
    assert set(results.paired_tests()["metric"]) == {"mcc", "balanced_accuracy", "f1", "accuracy", "roc_auc"}


def test_a_model_that_does_no_classification_is_refused_before_training(table, tmp_path):
    with pytest.raises(UserError, match="does no classification"):
        compare(table, [Compared("gp")], SplitSpec(folds=3), tmp_path / "out", jobs=1)


class _Spy(PolymerModel):
    """Notes the labels it is given, and predicts the first class."""

    key, family, title = "spy", "stand-in", "Stand-in"
    tasks = ("regression", "classification")
    seen: ClassVar[list] = []

    def fit(self, psmiles, y):
        self.seen.append(np.asarray(y).ravel())
        self.classes_ = np.unique(y[~np.isnan(y)])
        return self

    def predict_proba(self, psmiles):
        return np.eye(len(self.classes_))[np.zeros(len(psmiles), dtype=int)]


def test_a_model_sees_the_labels_of_its_training_part_alone(table, tmp_path):
    _Spy.seen.clear()
    results = compare(
        table, [Compared("spy")], SplitSpec(folds=3), tmp_path / "out", jobs=1, factory=lambda key, **p: _Spy(**p)
    )
    assert [len(labels) for labels in _Spy.seen] == [
        len(table) - n for n in results.predictions.groupby("fold")["key"].size()
    ]
    assert results.leaderboard()["mcc"].iloc[0] == 0.0


def test_confusion_matrix_counts():
    frame = pd.DataFrame({"y_true": [0, 0, 1, 1, np.nan], "y_pred": [0, 1, 1, 1, 0]}, dtype=float)
    heat = confusion(frame, ["a", "b"]).data[0]
    np.testing.assert_array_equal(heat.text, [[1, 1], [0, 2]])
    np.testing.assert_allclose(heat.z, [[0.5, 0.5], [0.0, 1.0]])
