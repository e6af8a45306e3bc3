import inspect
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

import polyml
from polyml.errors import PolymlError, UserError
from polyml.tracking import NullTracker, Tracker, make_tracker
from polyml.tracking.limits import key


def client(tracker: Tracker) -> MlflowClient:
    return MlflowClient(tracker.store.uri)


def test_a_comparison_is_a_parent_with_a_child_per_model(store_folder):
    tracker = Tracker("gas/permeability")
    with tracker.parent_run("compare", {"split": {"kind": "kfold", "folds": 5}}, {"protocol": "kfold"}) as parent_id:
        for model in ("ridge", "forest"):
            with tracker.child_run(model, {"alpha": 1.0}):
                tracker.log_metrics({"rmse[O2/N2]": 0.25, "r2": None, "mae": float("nan")})
    parent = client(tracker).get_run(parent_id)
    children = client(tracker).search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent_id}'", order_by=["attributes.run_name"]
    )
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"split.kind": "kfold", "split.folds": "5"}
    assert parent.data.tags["protocol"] == "kfold"
    assert {"version.rdkit", "version.polyml", "device", "mlflow.user"} <= set(parent.data.tags)
    assert [run.info.run_name for run in children] == ["forest", "ridge"]
    assert all(run.data.metrics == {"rmse_O2/N2": 0.25} for run in children)
    assert client(tracker).get_experiment(parent.info.experiment_id).name == "gas/permeability"


def test_artifacts_lie_beside_the_database_wherever_the_process_moves(empty_folder, tmp_path, monkeypatch):
    tracker = Tracker("gas")
    with tracker.parent_run("compare") as run_id:
        monkeypatch.chdir(tmp_path)
        tracker.log_table(pd.DataFrame({"a": [1, 2]}), "tables/t.csv")
        tracker.log_text("hello", "note.txt")
        (tmp_path / "part").mkdir()
        (tmp_path / "part" / "x.txt").write_text("x")
        tracker.log_files([tmp_path / "part", tmp_path / "part" / "x.txt"], "files")
    artifacts = empty_folder / "mlruns" / "artifacts" / "gas" / run_id / "artifacts"
    assert (artifacts / "tables" / "t.csv").read_bytes() == b"a\n1\n2\n"
    assert (artifacts / "note.txt").read_text() == "hello"
    assert (artifacts / "files" / "part" / "x.txt").exists()
    assert (artifacts / "files" / "x.txt").exists()
    assert sorted(path.name for path in empty_folder.rglob("*") if path.parent == empty_folder) == ["mlruns"]


def test_a_history_is_written_in_batches(store_folder, monkeypatch):
    tracker = Tracker("gas")
    sizes = []
    real = MlflowClient.log_batch

    def counting(self, run_id, metrics=(), params=(), tags=(), **more):
        sizes.append(len(metrics))
        return real(self, run_id, metrics=metrics, params=params, tags=tags, **more)

    history = [{"epoch": e, "phase": "fit", "train_loss": 1 / (e + 1), "val_loss": None} for e in range(1500)]
    with tracker.parent_run("compare") as run_id:
        monkeypatch.setattr(MlflowClient, "log_batch", counting)
        tracker.log_history(history, prefix="fold 0/")
    assert sizes == [1000, 500]
    written = client(tracker).get_metric_history(run_id, "fold 0/train_loss")
    assert [(item.step, item.value) for item in written] == [(row["epoch"], row["train_loss"]) for row in history]
    assert set(client(tracker).get_run(run_id).data.metrics) == {"fold 0/train_loss"}


def test_long_values_are_cut_to_what_mlflow_takes(store_folder):
    tracker = Tracker("gas")
    many = {f"p{number}": number for number in range(150)}
    with tracker.parent_run("compare", {"long": "x" * 9000, **many}, {"note": "y" * 20000}) as run_id:
        pass
    run = client(tracker).get_run(run_id)
    assert len(run.data.params) == 151
    assert len(run.data.params["long"]) == 6000
    assert run.data.params["long"].endswith("(cut, 9000 characters)")
    assert len(run.data.tags["note"]) == 8000


def test_the_dataset_carries_name_digest_and_source(store_folder):
    tracker = Tracker("gas")
    with tracker.parent_run("compare") as run_id:
        tracker.log_dataset(pd.DataFrame({"psmiles": ["*CC*"], "O2": [1.5]}), "gas", "ab" * 32, "data/gas.csv")
    [entry] = client(tracker).get_run(run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("gas", ("ab" * 32)[:36])
    assert "data/gas.csv" in entry.dataset.source
    assert "psmiles" in entry.dataset.schema


def test_a_failed_model_fails_alone(store_folder):
    tracker = Tracker("gas")
    with tracker.parent_run("compare") as parent_id:
        with pytest.raises(ValueError, match="singular"), tracker.child_run("svm") as raised_id:
            raise ValueError("singular matrix")
        with tracker.child_run("gin") as marked_id:
            tracker.mark_failed("out of memory")
    runs = {run_id: client(tracker).get_run(run_id) for run_id in (parent_id, raised_id, marked_id)}
    assert {key: run.info.status for key, run in runs.items()} == {
        parent_id: "FINISHED", raised_id: "FAILED", marked_id: "FAILED",
    }  # fmt: skip
    assert runs[raised_id].data.tags["error"] == "ValueError: singular matrix"
    assert runs[marked_id].data.tags["error"] == "out of memory"


def test_an_interrupted_comparison_goes_on_in_the_same_runs(store_folder):
    tracker = Tracker("gas")
    with (
        pytest.raises(KeyboardInterrupt),
        tracker.parent_run("compare", {"folds": 5, "jobs": 1}) as parent_id,
        tracker.child_run("ridge", {"alpha": 1}) as child_id,
    ):
        raise KeyboardInterrupt
    assert client(tracker).get_run(child_id).info.status == "KILLED"

    again = Tracker("gas")
    with again.parent_run("compare", {"folds": 5, "jobs": 2, "new": 1}, run_id=parent_id) as resumed_id:
        with again.child_run("ridge", {"alpha": 1}) as resumed_child:
            pass
        with again.child_run("forest") as other:
            pass
    run = client(again).get_run(parent_id)
    assert (resumed_id, resumed_child) == (parent_id, child_id)
    assert other != child_id
    assert run.info.status == client(again).get_run(child_id).info.status == "FINISHED"
    assert run.data.params == {"folds": "5", "jobs": "1", "new": "1"}
    assert run.data.tags["resumed.jobs"] == "2"


def test_a_run_that_is_gone_cannot_be_continued(store_folder):
    tracker = Tracker("gas")
    assert not tracker.has_run("0" * 32)
    with pytest.raises(UserError, match="not in the tracking store"), tracker.parent_run("compare", run_id="0" * 32):
        pass


def test_a_deleted_experiment_says_how_to_bring_it_back(store_folder):
    tracker = Tracker("gas")
    with tracker.parent_run("compare"):
        pass
    client(tracker).delete_experiment(client(tracker).get_experiment_by_name("gas").experiment_id)
    with pytest.raises(UserError, match="mlflow experiments restore"), Tracker("gas").parent_run("compare"):
        pass


def test_a_locked_database_is_a_user_error(store_folder, monkeypatch):
    with Tracker("gas").parent_run("compare"):
        pass
    monkeypatch.setattr("mlflow.store.db.utils.sql.text", _impatient)
    lock = sqlite3.connect(store_folder / "mlruns" / "mlflow.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        with (
            pytest.raises(UserError, match=r"mlflow\.db: the tracking database is locked"),
            Tracker("gas").parent_run("b"),
        ):
            pass
    finally:
        lock.close()


def _impatient(statement):
    from sqlalchemy import text

    return text(statement.replace("20000", "100"))  # mlflow would wait 20 s


def test_a_file_that_is_no_database_is_a_user_error(empty_folder):
    (empty_folder / "mlruns").mkdir()
    (empty_folder / "mlruns" / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match="not an SQLite file"), Tracker("gas").parent_run("compare"):
        pass


def test_a_folder_in_the_way_is_a_user_error(empty_folder):
    (empty_folder / "mlruns").write_text("a file")
    with pytest.raises(UserError, match="mlruns"), Tracker("gas").parent_run("compare"):
        pass


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_user_error(empty_folder):
    empty_folder.chmod(0o500)
    try:
        with pytest.raises(UserError, match="no permission"), Tracker("gas").parent_run("compare"):
            pass
    finally:
        empty_folder.chmod(0o700)


def test_a_server_that_does_not_answer_is_a_user_error(empty_folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = Tracker("gas", uri="http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(UserError, match="does not answer"), tracker.parent_run("compare"):
        pass


def test_the_first_error_is_shown_when_the_store_fails_too(store_folder, monkeypatch):
    tracker = Tracker("gas")

    def broken(*args, **kwargs):
        raise OSError(28, "No space left on device")

    def fill_the_disk():
        with tracker.parent_run("compare"):
            monkeypatch.setattr(MlflowClient, "set_terminated", broken)
            monkeypatch.setattr(MlflowClient, "log_batch", broken)
            with pytest.raises(UserError, match="disk is full"):
                tracker.log_metrics({"rmse": 1.0})
            raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause"):
        fill_the_disk()


def test_writing_without_a_run_is_refused(empty_folder):
    with pytest.raises(PolymlError, match="no run is open"):
        Tracker("gas").log_metrics({"a": 1.0})
    assert list(empty_folder.iterdir()) == []


def test_the_null_tracker_takes_every_call_and_writes_nothing(empty_folder):
    public = {name for name, _ in inspect.getmembers(Tracker, inspect.isfunction) if not name.startswith("_")}
    assert public <= set(vars(NullTracker)), "NullTracker must override every public method"
    tracker = make_tracker("gas", enabled=False)
    with tracker.parent_run("compare", {"a": 1}, run_id="gone"), tracker.child_run("ridge"):
        tracker.log_metrics({"rmse": 0.1})
        tracker.log_figures({}, "plots.html")
        assert tracker.log_bundle(empty_folder, (["O2"], []), ["*C*"]) == tracker.run_id == ""
    assert list(empty_folder.iterdir()) == []


def test_mlflow_is_imported_only_when_a_run_is_opened():
    code = (
        "import sys, polyml.tracking as t\n"
        "tracker = t.make_tracker('gas', enabled=False)\n"
        "with tracker.parent_run('x'): tracker.log_metrics({'a': 1})\n"
        "t.Tracker('gas')\n"
        "print([name for name in ('mlflow', 'torch', 'plotly') if name in sys.modules])"
    )
    home = Path(polyml.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=home)
    assert done.stdout.strip() == "[]"


def test_git_and_missing_packages_never_fail_a_run(store_folder, monkeypatch):
    from polyml import versions
    from polyml.tracking import provenance

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(versions, "LIBRARIES", ("no-such-distribution",))
    versions.installed_versions.cache_clear()
    assert provenance.git_commit() == {}
    assert set(versions.installed_versions()) == {"polyml", "python"}
    versions.installed_versions.cache_clear()


def test_the_commit_is_that_of_the_current_checkout(empty_folder):
    from polyml.tracking import provenance

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    (empty_folder / "a.txt").write_text("1")
    git("add", "a.txt")
    git("commit", "-qm", "first")
    assert provenance.git_commit() == {"commit": git("rev-parse", "HEAD"), "state": "clean"}
    (empty_folder / "a.txt").write_text("2")
    assert provenance.git_commit()["state"] == "changed"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("rmse[O2/N2]", "rmse_O2/N2"), ("/a//b/../c", "a/b/c"), ("Tg (°C)", "Tg _C"), ("", "_"), ("x" * 300, "x" * 250)],
)
def test_names_become_ones_mlflow_accepts(name, expected):
    assert key(name) == expected


def test_the_members_of_an_ensemble_have_curves_of_their_own(store_folder):
    tracker = Tracker("gas")
    rows = [{"member": member, "epoch": epoch, "loss": 1.0 + member + epoch} for member in (0, 1) for epoch in (0, 1)]
    with tracker.parent_run("train") as run_id:
        tracker.log_history(rows)
    written = {
        member: [item.value for item in client(tracker).get_metric_history(run_id, f"member {member}/loss")]
        for member in (0, 1)
    }
    assert written == {0: [1.0, 2.0], 1: [2.0, 3.0]}


def test_nothing_is_printed_on_standard_output(store_folder, capfd):
    tracker = Tracker("gas")
    with tracker.parent_run("compare"), tracker.child_run("ridge"):
        tracker.log_metrics({"rmse": 1.0})
    assert capfd.readouterr().out == ""
