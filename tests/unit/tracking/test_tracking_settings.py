from pathlib import Path

import pytest

from polyml.errors import UserError
from polyml.settings import cache_folder, default_jobs, sqlite_uri, tracking_store


def test_the_default_store_lies_in_the_current_folder(tmp_path, monkeypatch):
    folder = tmp_path / "my runs #1 50%"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = tracking_store()
    assert store.database == folder / "mlruns" / "mlflow.db"
    assert store.artifacts == folder / "mlruns" / "artifacts"
    assert not store.is_remote
    assert list(folder.iterdir()) == []  # looking creates nothing


def test_the_environment_names_the_store(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    store = tracking_store()
    assert (store.uri, store.is_remote, store.database, store.artifacts) == ("http://127.0.0.1:5000", True, None, None)


def test_an_argument_wins_over_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    store = tracking_store(sqlite_uri(tmp_path / "a.db"))
    assert store.database == tmp_path / "a.db"
    assert store.artifacts == tmp_path / "artifacts"


@pytest.mark.parametrize("uri", ["sqlite:///:memory:", "postgresql://user@host/db", "file:///runs"])
def test_other_stores_have_no_file(uri):
    assert tracking_store(uri).database is None


def test_a_question_mark_in_the_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"\?"):
        sqlite_uri(tmp_path / "why?" / "mlflow.db")


def test_cache_and_jobs_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYML_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POLYML_JOBS", "3")
    assert cache_folder() == tmp_path / "cache"
    assert default_jobs() == 3
    monkeypatch.delenv("POLYML_CACHE")
    monkeypatch.delenv("POLYML_JOBS")
    assert cache_folder() == Path.home() / ".cache" / "polyml"
    assert default_jobs() >= 1


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5"])
def test_a_bad_number_of_jobs_is_refused(value, monkeypatch):
    monkeypatch.setenv("POLYML_JOBS", value)
    with pytest.raises(UserError, match="POLYML_JOBS"):
        default_jobs()
