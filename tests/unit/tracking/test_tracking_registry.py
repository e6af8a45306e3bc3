import numpy as np
import pandas as pd
import pytest

from polyml.bundle import Bundle
from polyml.data.properties import Property
from polyml.errors import UserError
from polyml.models.catalog import make_model
from polyml.settings import sqlite_uri
from polyml.tracking import Tracker, resolve_model
from polyml.tracking.store import connect, current_store

PROPERTIES = (Property(name="O2", unit="Barrer", transform="log10"), Property(name="N2", unit="Barrer"))
PSMILES = ("*CC*", "*OCC*", "*CC(C)*", "*CC(c1ccccc1)*")
VALUES = np.array([[1.0, 0.5], [2.0, 0.25], [4.0, np.nan], [8.0, 1.0]])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    model = make_model("mean").fit(list(PSMILES), np.column_stack([np.log10(VALUES[:, 0]), VALUES[:, 1]]))
    bundle = Bundle(
        model=model, properties=PROPERTIES, keys=PSMILES, psmiles=PSMILES, values=VALUES, data_digest="d", seed=1
    )
    bundle.save(tmp_path_factory.mktemp("models") / "bundle")
    return bundle


@pytest.fixture(scope="module")
def bundle_folder(bundle):
    return bundle.folder


@pytest.fixture(scope="module")
def registered_store(bundle, tmp_path_factory):
    """A model that is registered twice: version 1 has lost the alias to version 2."""
    tracker = Tracker("gas", uri=sqlite_uri(tmp_path_factory.mktemp("registered") / "mlruns" / "mlflow.db"))
    names = []
    for _ in range(2):
        with tracker.parent_run("train") as run_id:
            names.append(
                tracker.log_bundle(bundle.folder, bundle.output_columns, PSMILES[:2], registered_name="membranes")
            )
            tracker.log_metrics({"after": 1.0})  # the run is still open
    return tracker, run_id, names


@pytest.fixture
def registered(registered_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered_store[0].store.uri)
    return registered_store


def test_a_registered_model_is_found_by_every_name(registered, bundle_folder):
    tracker, run_id, names = registered
    assert names == ["models:/membranes/1", "models:/membranes/2"]
    expected = Bundle.load(bundle_folder).predict(["*OCC*"]).mean
    for name in (*names, "models:/membranes@champion", "models:/membranes", f"runs:/{run_id}/model", f"runs:/{run_id}"):
        found = Bundle.load(resolve_model(name)).predict(["*OCC*"]).mean
        np.testing.assert_array_equal(found, expected, err_msg=name)
    client = connect(tracker.store)
    assert str(client.get_model_version_by_alias("membranes", "champion").version) == "2"
    assert client.get_run(run_id).info.status == "FINISHED"
    assert client.get_run(run_id).data.metrics["after"] == 1.0


def test_the_pyfunc_predicts_row_by_row_and_holds_no_pickle(registered):
    import mlflow

    tracker, _, _ = registered
    with current_store(tracker.store):
        model = mlflow.pyfunc.load_model("models:/membranes@champion")
    found = model.predict(pd.DataFrame({"psmiles": ["*CC*", "CC", "*OCC*"]}))
    assert list(found.columns) == [item.name for item in model.metadata.signature.outputs.inputs]
    np.testing.assert_allclose(found["O2"], [8**0.5, np.nan, 8**0.5])
    assert [bool(error) for error in found["error"]] == [False, True, False]
    assert [item.name for item in model.metadata.signature.inputs.inputs] == ["psmiles"]
    assert model.input_example["psmiles"].tolist() == list(PSMILES[:2])
    assert not [
        path for path in tracker.store.database.parent.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")
    ]


def test_the_choice_of_a_store_is_put_back(registered, monkeypatch):
    import mlflow

    tracker, _, _ = registered
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with current_store(tracker.store):
        assert mlflow.get_tracking_uri() == tracker.store.uri
    assert mlflow.get_tracking_uri() == "http://127.0.0.1:9"


def test_a_folder_is_taken_as_it_is(bundle_folder):
    assert resolve_model(str(bundle_folder)) == bundle_folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models:/membrane@champion", "did you mean 'membranes'"),
        ("models:/membranes@best", "did you mean|known: champion"),
        ("models:/membranes/7", "known: 1, 2"),
        ("models:/", "is not a model's name"),
        ("models:/membranes@", "is not a model's name"),
        (f"runs:/{'0' * 32}/model", "there is no run"),
        ("no/such/folder", "there is no model"),
    ],
)
def test_a_wrong_name_says_what_there_is(registered, name, message):
    with pytest.raises(UserError, match=message):
        resolve_model(name)


def test_a_run_without_a_model_is_told(store_folder):
    tracker = Tracker("gas")
    with tracker.parent_run("compare") as run_id:
        pass
    with pytest.raises(UserError, match="'compare' holds no model"):
        resolve_model(f"runs:/{run_id}")


def test_without_a_store_nothing_is_made(empty_folder):
    with pytest.raises(UserError, match="no tracking store"):
        resolve_model("models:/membranes@champion")
    assert list(empty_folder.iterdir()) == []


def test_a_folder_of_another_mlflow_model_is_refused(store_folder):
    (store_folder / "MLmodel").write_text("flavors: {sklearn: {}}\n")
    with pytest.raises(UserError, match="not made by polyml"):
        resolve_model(str(store_folder))


@pytest.mark.parametrize("name", ["a/b", "a:b", "a@b", " "])
def test_a_name_that_could_not_be_found_again_is_refused(store_folder, bundle, name):
    tracker = Tracker("gas")
    with tracker.parent_run("train"), pytest.raises(UserError, match="cannot name a registered model"):
        tracker.log_bundle(bundle.folder, bundle.output_columns, PSMILES[:1], registered_name=name)
