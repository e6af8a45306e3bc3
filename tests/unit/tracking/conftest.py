import pytest


@pytest.fixture
def store_folder(tmp_path, monkeypatch):
    """An empty current folder, with a space in its name, that the default store is made in."""
    folder = tmp_path / "my project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("POLYML_CACHE", str(tmp_path / "cache"))
    return folder
