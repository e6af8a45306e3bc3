"""Embeddings by autoencoders."""

from __future__ import annotations

import numpy as np
import pytest

from polyml.data.properties import Property
from polyml.data.table_reader import read_table
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


def test_new_polymers_like_the_training_ones_are_no_strangers():
    # Far more numbers than polymers: those trained on are known by heart, which says nothing of new ones.
    keys = read_table("gas_permeability", [Property(name="O2", transform="log10")]).keys
    shuffled = [keys[place] for place in np.random.default_rng(0).permutation(len(keys))]
    model = make_model("autoencoder", features="ecfp_count", max_epochs=60, kind="plain")
    model.fit(shuffled[:200], np.arange(200.0))
    known, new = (float(np.median(model.novelty(part))) for part in (shuffled[:200], shuffled[200:400]))
    assert 0.4 < new < 2.0
    assert known < 0.7 * new
    first = model.errors_
    model.fit(shuffled[200:300], np.arange(100.0))
    model.novelty(shuffled[:1])
    assert len(model.errors_) < len(first)  # measured anew, on a fifth of the new training polymers


@pytest.mark.parametrize("key", ["autoencoder", "sequence_autoencoder"])
def test_strange_polymers_are_rebuilt_worse(key, tmp_path):
    options = {"n_components": 16, "width": 64, "batch_size": 8, "max_epochs": 60, "lr": 5e-3, "kind": "plain"}
    if key == "autoencoder":
        options["features"] = "ecfp_count"
    model = make_model(key, **options).fit(TRAINED, np.arange(len(TRAINED), dtype=float))
    alike = model.novelty(["*CCCCC(C)*", "*CCCCCCO*"])
    strange = model.novelty(["*c1ccc(S(=O)(=O)c2ccc(Oc3ccc(*)cc3)cc2)cc1", "*[Si](C)(C)O[Si](*)(C)c1ccccc1"])
    assert strange.min() > 1.5 * alike.max()
    assert np.median(model.novelty(TRAINED)) < 1.5
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
