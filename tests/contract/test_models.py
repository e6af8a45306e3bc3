from __future__ import annotations

import pytest

from polyml.models.catalog import MODELS, model_class
from polyml.models.checks import check_learns, check_model

KEYS = [entry.key for entry in MODELS]

# Mean absolute error on the toy set when it is learned by heart; the spread of its targets is about 1.2.
LEARNS = {
    "svm": ({}, 0.25),
    "gp": ({}, 0.3),
    "pca_ridge": ({}, 0.3),
    "lightgbm": ({"n_estimators": 200}, 0.3),
    "random_forest": ({}, 0.3),
    "extra_trees": ({}, 0.05),
    "mlp": ({"max_epochs": 150, "patience": 150, "dropout": 0.0, "width": 64, "lr": 0.01}, 0.3),
    "gnn": ({"max_epochs": 150, "patience": 150, "dropout": 0.0, "width": 32, "lr": 0.01}, 0.35),
}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYML_CACHE", str(tmp_path_factory.getbasetemp() / "models_cache"))


@pytest.mark.parametrize("key", KEYS)
def test_model_keeps_the_contract(key):
    check_model(key)


@pytest.mark.parametrize("key", list(LEARNS))
def test_model_learns_a_tiny_set(key):
    params, error = LEARNS[key]
    check_learns(key, error, **params)


@pytest.mark.parametrize("entry", MODELS, ids=KEYS)
def test_catalog_agrees_with_the_class(entry):
    cls = model_class(entry.key)
    assert (cls.key, cls.family, cls.title) == (entry.key, entry.family, entry.title)
    assert cls.__doc__
    assert set(cls.search_space) <= set(cls._get_param_names())
