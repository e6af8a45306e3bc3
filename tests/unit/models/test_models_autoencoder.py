"""Embeddings by autoencoders."""

from __future__ import annotations

import numpy as np
import pytest

from polyml.errors import UserError
from polyml.models import load_model, make_model
from polyml.models.checks import TOY_POLYMERS, toy_labels, toy_targets
from polyml.models.embedding import KINDS

torch = pytest.importorskip("torch")

SMALL = {"n_components": 8, "width": 32, "batch_size": 8, "max_epochs": 12}
TRAINED = [f"*{'C' * n}{x}*" for n in range(1, 13) for x in ("O", "C(=O)O", "C(=O)N", "C(C)", "C(CC)")]


@pytest.mark.parametrize("key", ["autoencoder", "sequence_autoencoder"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_to_rebuild(key, kind):
    model = make_model(key, kind=kind, **{**SMALL, "max_epochs": 25, "lr": 5e-3}).fit(TOY_POLYMERS, toy_targets())
    losses = [row["train_loss"] for row in model.history_]
    assert losses[-1] < 0.8 * losses[0]
    assert model._embed(TOY_POLYMERS).shape == (len(TOY_POLYMERS), 8)


def test_values_of_the_polymers_do_not_reach_the_embedding():
    first = make_model("autoencoder", **SMALL).fit(TOY_POLYMERS, toy_targets())
    other = make_model("autoencoder", **SMALL).fit(TOY_POLYMERS, toy_targets()[::-1])
    np.testing.assert_array_equal(first._embed(TOY_POLYMERS), other._embed(TOY_POLYMERS))


@pytest.mark.parametrize(
    "regressor",
    ["ridge", "lightgbm", {"key": "extra_trees", "n_estimators": 10}, {"key": "knn", "metric": "euclidean"}],
)
def test_any_model_of_arrays_reads_the_embedding(regressor, tmp_path):
    model = make_model("autoencoder", regressor=regressor, **SMALL).fit(TOY_POLYMERS, toy_targets())
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(TOY_POLYMERS), model.predict(TOY_POLYMERS))
    assert model.gives_std == bool(np.isfinite(model.predict_dist(TOY_POLYMERS).std).all())
    labelled = make_model("autoencoder", regressor=regressor, task="classification", **SMALL)
    assert set(labelled.fit(TOY_POLYMERS, toy_labels()).predict(TOY_POLYMERS)) <= set(toy_labels())


def test_the_regressor_reads_the_embedding_alone():
    model = make_model("autoencoder", regressor="ridge", **SMALL).fit(TOY_POLYMERS, toy_targets())
    assert len(model.regressor_.columns_) <= 8
    embedding = model._embed(TOY_POLYMERS)
    model.regressor_.read_from(lambda items: embedding[: len(items)][::-1])
    assert np.abs(model.predict(TOY_POLYMERS) - model.predict(TOY_POLYMERS)[::-1]).max() > 0


@pytest.mark.parametrize("key", ["autoencoder", "sequence_autoencoder"])
def test_strange_polymers_are_rebuilt_worse(key, tmp_path):
    options = {"n_components": 16, "width": 64, "batch_size": 8, "max_epochs": 60, "lr": 5e-3, "kind": "plain"}
    if key == "autoencoder":
        options["features"] = "ecfp_count"
    model = make_model(key, **options).fit(TRAINED, np.arange(len(TRAINED), dtype=float))
    alike = model.novelty(["*CCCCC(C)*", "*CCCCCCO*"])
    strange = model.novelty(["*c1ccc(S(=O)(=O)c2ccc(Oc3ccc(*)cc3)cc2)cc1", "*[Si](C)(C)O[Si](*)(C)c1ccccc1"])
    assert strange.min() > 1.5 * alike.max()
    assert np.median(model.novelty(TRAINED)) == pytest.approx(1.0, rel=0.05)
    model.save(tmp_path / "model")
    np.testing.assert_allclose(load_model(tmp_path / "model").novelty(TRAINED), model.novelty(TRAINED), rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "params", "message"),
    [
        ("autoencoder", {"kind": "noising"}, "did you mean 'denoising'"),
        ("autoencoder", {"regressor": "gp"}, "'gp' cannot read an embedding"),
        ("autoencoder", {"regressor": "svm_tanimoto"}, "compares counts"),
        ("autoencoder", {"regressor": "knn"}, "compares counts"),
        ("autoencoder", {"regressor": "mlp"}, "'mlp' cannot read an embedding"),
        ("autoencoder", {"regressor": "lihgtgbm"}, "did you mean 'lightgbm'"),
        ("autoencoder", {"regressor": {"key": "svm", "features": "maccs"}}, "cannot read an embedding"),
        ("autoencoder", {"noise": 1.5}, "between 0 and 0.95"),
        ("autoencoder", {"loss": "mae"}, "no loss 'mae'"),
        ("sequence_autoencoder", {"width": 33}, "not even"),
        ("sequence_autoencoder", {"variants": 0}, "variants"),
    ],
)
def test_wrong_parameters_are_refused_before_training(key, params, message):
    with pytest.raises(UserError, match=message):
        make_model(key, **params)
