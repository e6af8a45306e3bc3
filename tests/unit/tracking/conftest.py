import shutil

import pytest


@pytest.fixture(scope="session")
def new_database(tmp_path_factory):
    """A store as mlflow makes it, once: making the tables is what takes the time."""
    from polyml.settings import sqlite_uri, tracking_store
    from polyml.tracking.store import connect

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(tracking_store(sqlite_uri(path))).search_experiments()
    return path


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """An empty current folder, with a space in its name, that the default store is made in."""
    folder = tmp_path / "my project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("POLYML_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def store_folder(empty_folder, new_database):
    """A current folder with a store that holds no runs yet."""
    (empty_folder / "mlruns").mkdir()
    shutil.copy(new_database, empty_folder / "mlruns" / "mlflow.db")
    return empty_folder
