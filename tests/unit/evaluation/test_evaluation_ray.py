"""A comparison on a Ray cluster gives the numbers of one process, whatever dies on the way."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyml.cluster import ray_cluster
from polyml.data.properties import Property
from polyml.data.splits import SplitSpec
from polyml.data.table_reader import read_table
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.evaluation.plan import make_plan
from polyml.evaluation.ray_execute import Rows, with_rows

pytest.importorskip("ray")
PROPERTIES = [Property(name="O2", unit="Barrer", transform="log10"), Property(name="Tg", unit="K")]
SPLIT = SplitSpec(folds=3)


@pytest.fixture(scope="module")
def on_ray():
    with ray_cluster(jobs=2):
        yield {"engine": "ray", "jobs": None}


@pytest.fixture
def table(tmp_path):
    texts = [f"*CC(*){'C' * i}{end}" for i in range(8) for end in ("O", "F", "Cl")]
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"psmiles": texts, "O2": 10 ** random.normal(size=24), "Tg": random.normal(400, 50, 24)})
    frame.loc[5, "O2"] = np.nan
    frame.to_csv(tmp_path / "data.csv", index=False)
    return read_table(str(tmp_path / "data.csv"), PROPERTIES)


def deadly_factory(mark):
    """Return a factory whose models end their process, once or, without a mark, again and again."""

    def make(key, **params):
        from polyml.models.catalog import make_model

        model = make_model("mean" if key == "deadly" else key, **params)

        def fit(psmiles, y):
            if mark is None:
                os._exit(1)
            if not os.path.exists(mark):  # noqa: PTH110
                open(mark, "w").close()  # noqa: PTH123
                os._exit(1)
            return type(model).fit(model, psmiles, y)

        if key == "deadly" and os.environ.get("RAY_RAYLET_PID"):  # in a worker alone
            object.__setattr__(model, "fit", fit)
        return model

    return make


def test_the_numbers_are_those_of_one_process_and_a_dead_worker_is_replaced(table, tmp_path, on_ray):
    specs = [Compared("deadly"), Compared("pca_ridge"), Compared("knn", "bad", {"n_neighbors": 1000})]
    make = deadly_factory(str(tmp_path / "died"))
    here = compare(table, specs, SPLIT, tmp_path / "here", jobs=1, factory=make)
    there = compare(table, specs, SPLIT, tmp_path / "there", factory=make, **on_ray)
    assert Path(tmp_path / "died").exists()
    pd.testing.assert_frame_equal(there.predictions, here.predictions)
    timed = ["fit_seconds", "predict_seconds", "run"]
    pd.testing.assert_frame_equal(there.frame.drop(columns=timed), here.frame.drop(columns=timed))
    told = {label: (item.repeat, item.fold, item.error) for label, item in here.failures.items()}
    assert {label: (item.repeat, item.fold, item.error) for label, item in there.failures.items()} == told
    again = compare(table, specs[:2], SPLIT, tmp_path / "there", jobs=1, factory=make)
    assert (again.reused, again.computed) == (6, 0)


def test_a_fold_that_is_lost_again_and_again_ends_the_comparison(table, tmp_path, on_ray, monkeypatch):
    monkeypatch.setattr("polyml.evaluation.ray_execute._RETRIES", 1)
    with pytest.raises(UserError, match="a fold was lost 2 times with its worker"):
        compare(table, [Compared("deadly")], SPLIT, tmp_path / "out", factory=deadly_factory(None), **on_ray)


def test_a_fold_that_needs_more_than_any_node_has_is_an_error(table, tmp_path, on_ray):
    with pytest.raises(UserError, match="no node fits a worker, which needs 64 CPUs"):
        compare(table, [Compared("mean")], SPLIT, tmp_path / "out", threads=64, **on_ray)


def test_rows_travel_once_and_come_back_as_they_were(table, tmp_path):
    given = {"metrics": None, "ratios": (), "seed": 1, "protocol": "honest", "known_properties": False}
    given |= {"allow_leaks": False, "name": None, "threads": 1, "factory": None, "train_size": None}
    plan = make_plan(
        table,
        [Compared("mean"), Compared("knn")],
        SplitSpec(kind="repeated_kfold", folds=3, repeats=2),
        tmp_path,
        **given,
    )
    rows = Rows(plan.tasks)
    assert len(rows.frame) == len(table.frame)
    for task in plan.tasks:
        light, places = rows.without(task)
        assert len(light.train) == len(light.y_test) == 0
        found = with_rows(light, rows.frame, rows.y, places)
        for name in ("train", "test"):
            pd.testing.assert_frame_equal(getattr(found, name), getattr(task, name))
            np.testing.assert_array_equal(getattr(found, f"y_{name}"), getattr(task, f"y_{name}"))
        assert found.path == task.path
