"""compare() with models of the catalog on a part of the gas permeability set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyml.data import PolymerTable, Property, SplitSpec, embedded_path, read_table
from polyml.evaluation.compare import Compared, compare

TIMES = ["fit_seconds", "predict_seconds"]
SPECS = [
    Compared("mean"),
    Compared("pca_ridge"),
    Compared("kmeans", name="five clusters", params={"n_clusters": 5}),
]


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = pd.read_csv(embedded_path("gas_permeability")).sample(90, random_state=0)
    path = tmp_path_factory.mktemp("data") / "gas.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def table(csv: Path) -> PolymerTable:
    return read_table(csv, [Property(name=name, unit="Barrer", transform="log10") for name in ("O2", "N2")])


def test_cheap_models_beat_the_mean_on_real_data(table: PolymerTable, tmp_path: Path) -> None:
    results = compare(table, SPECS, SplitSpec(folds=3), tmp_path / "out", jobs=2, ratios=["O2/N2"])
    assert results.failures == {}
    board = results.leaderboard().set_index("model")
    # The mean of the training part explains nothing of the test part.
    assert board.loc["mean", "r2"] <= 0.0
    assert board.loc["pca_ridge", "r2"] > board.loc["mean", "r2"] + 0.2
    assert results.best() != "mean"
    assert board.loc["mean", "features"] == ""
    assert board.loc["pca_ridge", "features"] != ""
    truth = results.predictions.query("model == 'mean' and property == 'O2'")
    by_fold = truth.groupby("fold")["y_pred"].nunique()
    assert (by_fold == 1).all()
    for fold, rows in truth.groupby("fold"):
        others = truth.loc[truth["fold"] != fold, "y_true"].dropna()
        assert rows["y_pred"].iloc[0] == pytest.approx(others.mean())


def test_jobs_and_order_of_models_do_not_change_the_numbers(table: PolymerTable, tmp_path: Path) -> None:
    one = compare(table, SPECS, SplitSpec(folds=3), tmp_path / "a" / "out", jobs=1)
    two = compare(table, SPECS[::-1], SplitSpec(folds=3), tmp_path / "b" / "out", jobs=2)
    order = ["model", "fold", "property", "metric"]
    frames = [r.frame.drop(columns=TIMES).sort_values(order, ignore_index=True) for r in (one, two)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


_SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores Ctrl-C
from pathlib import Path
import numpy as np
from polyml.data import Property, SplitSpec, read_table
from polyml.evaluation.compare import Compared, compare
from polyml.models.baselines import MeanModel
import time

class Slow(MeanModel):
    def fit(self, psmiles, y):
        time.sleep(0.3 if self.quick else 60)
        return super().fit(psmiles, y)

def factory(key, **params):
    model = Slow()
    model.quick = key == "quick"
    return model

table = read_table(sys.argv[1], [Property(name="O2", unit="Barrer", transform="log10")])
specs = [Compared("quick"), Compared("slow")]
try:
    compare(table, specs, SplitSpec(folds=4), Path(sys.argv[2]), jobs=int(sys.argv[3]), factory=factory)
except KeyboardInterrupt as stop:
    print(stop)
    sys.exit(130)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_stops_soon_and_keeps_the_finished_folds(csv: Path, tmp_path: Path, jobs: int) -> None:
    command = [sys.executable, "-c", _SCRIPT, str(csv), str(tmp_path / "out"), str(jobs)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 90
        while len(list((tmp_path / "out").glob("folds/[!.]*.parquet"))) < 4:  # one that is being written has a dot
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
        out, err = process.communicate(timeout=50)  # the slow folds would take a minute each
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, err
    assert "4 of 8 folds are finished" in out
    assert "Traceback" not in err
    assert len(list((tmp_path / "out").glob("folds/*.parquet"))) == 4
    assert not (tmp_path / "out" / "results.csv").exists()


def test_predictions_are_those_of_a_plain_loop(table: PolymerTable, tmp_path: Path) -> None:
    """The folds and scores, computed here by hand, are the ones compare() reports."""
    from sklearn.metrics import r2_score

    from polyml.data import make_folds
    from polyml.evaluation.one_fold import fold_seed
    from polyml.models.catalog import make_model

    split = SplitSpec(kind="repeated_kfold", folds=3, repeats=2, seed=4)
    results = compare(table, [Compared("pca_ridge")], split, tmp_path / "out", jobs=1, seed=7)
    scores = results.frame.query("metric == 'r2' and property == 'N2'").set_index(["repeat", "fold"])["score"]
    psmiles = np.asarray(table.psmiles, dtype=object)
    for fold in make_folds(table, split):
        model = make_model("pca_ridge")
        if "random_state" in model.get_params():
            model.set_params(random_state=fold_seed(7, fold.repeat, fold.fold))
        predicted = model.fit(list(psmiles[fold.train]), table.y[fold.train]).predict(list(psmiles[fold.test]))[:, 1]
        truth = table.y[fold.test][:, 1]
        measured = ~np.isnan(truth)
        expected = r2_score(truth[measured], predicted[measured])
        assert scores[(fold.repeat, fold.fold)] == pytest.approx(expected, abs=1e-5)


def test_workers_follow_to_another_folder(csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_table(csv, [Property(name="O2", unit="Barrer", transform="log10")])
    for name in ("first", "second"):  # the workers of the first comparison are kept for the second
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        compare(table, [Compared("mean"), Compared("kmeans")], SplitSpec(folds=3), Path("out"), jobs=2)
        assert len(list((tmp_path / name / "out" / "folds").iterdir())) == 6
