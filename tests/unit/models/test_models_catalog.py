from __future__ import annotations

import subprocess
import sys

import pytest

from polyml.errors import UserError
from polyml.models import catalog, list_models, make_model


def test_unknown_key_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'lightgbm'"):
        make_model("lightbgm")


def test_unknown_parameter_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'n_estimators'"):
        make_model("random_forest", n_estimator=5)


def test_parameters_given_beside_a_preset_have_the_last_word():
    model = make_model("mlp", preset="thorough", max_epochs=7)
    assert (model.ensemble, model.max_epochs, model.lr) == (5, 7, make_model("mlp").lr)
    with pytest.raises(UserError, match="did you mean 'thorough'"):
        make_model("mlp", preset="thorow")


def test_every_preset_can_be_made():
    for key in catalog.MODELS:
        for preset in catalog.model_class(key).presets:
            make_model(key, preset=preset)


@pytest.mark.parametrize(
    ("key", "params", "message"),
    [
        ("mlp", {"optimizer": "adagrat"}, "did you mean 'adagrad'"),
        ("mlp", {"schedule": "cosinus"}, "did you mean 'cosine'"),
        ("mlp", {"loss": "hubber"}, "did you mean 'huber'"),
        ("mlp", {"activation": "rely"}, "did you mean 'relu'"),
        ("mlp", {"norm": "layers"}, "did you mean 'layer'"),
        ("mlp", {"nesterov": True}, "needs optimizer='sgd'"),
        ("mlp", {"schedule": "plateau", "warmup": 0.1}, "no warm-up"),
        ("mlp", {"dropout": 1.5}, "between 0 and 0.95"),
        ("mlp", {"batch_size": 0}, "at least 1"),
        ("mlp", {"features": "periodic_graph"}, "are no array"),
        ("mlp", {"task": "classification", "loss": "gaussian_nll"}, "is for regression"),
        ("mlp", {"class_weight": "balanced"}, "need task='classification'"),
        ("gat", {"width": 30, "heads": 4}, "heads=4 does not divide width=30"),
        ("gps", {"heads": 7}, "does not divide"),
        ("gp", {"task": "classification"}, "does no classification"),
        ("svm", {"task": "clasification"}, "did you mean 'classification'"),
        ("svm", {"targets": "both"}, "not known"),
    ],
)
def test_impossible_parameters_are_refused_before_anything_trains(key, params, message):
    with pytest.raises(UserError, match=message):
        make_model(key, **params)


def test_rows_of_the_listing():
    rows = list_models()
    assert [row["key"] for row in rows] == list(catalog.MODELS)
    assert all(set(row) == {"key", "title", "family", "input", "tasks", "citation"} for row in rows)
    assert all(all(row.values()) for row in rows)


def test_listing_imports_no_heavy_library():
    code = (
        "import sys; from polyml.models import list_models; list_models();"
        "print([m for m in ('torch', 'sklearn.ensemble', 'lightgbm', 'mlflow') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
