"""Networks on a CUDA device: ``make test-gpu``. Without one these tests are skipped."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyml.models import load_model, make_model
from polyml.models.base import PolymerModel
from polyml.models.catalog import model_class
from polyml.models.checks import TOY_POLYMERS, toy_targets

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: torch.cuda.is_available() is False"),
]

ACCELERATOR = "gpu"
NETWORKS = ("mlp", "gru", "transformer", "dmpnn", "gps")  # arrays, tokens, graphs


def build(key: str, **params: Any) -> PolymerModel:
    """Return a small network that can learn a few polymers by heart."""
    cls = model_class(key)
    return make_model(key, **{**cls.toy_params, **cls.overfit_params, "accelerator": ACCELERATOR, **params})


def explained(model: PolymerModel) -> float:
    """Return the share of the variance of the toy targets that a model explains."""
    y = toy_targets(missing=False)
    return 1.0 - float(((y - model.predict(TOY_POLYMERS)) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum())


def devices_of_training(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return a set that fills with the kinds of device on which losses are computed."""
    from polyml.models.nn.module import PropertyNetwork

    seen: set[str] = set()
    honest = PropertyNetwork.batch_loss

    def watch(network, inputs, y):
        loss = honest(network, inputs, y)
        seen.add(loss.device.type)
        return loss

    monkeypatch.setattr(PropertyNetwork, "batch_loss", watch)
    return seen


@pytest.mark.parametrize("key", NETWORKS)
def test_a_network_trains_on_the_gpu_and_is_saved_for_any_device(key: str, tmp_path: Path, monkeypatch) -> None:
    devices = devices_of_training(monkeypatch)
    model = build(key).fit(TOY_POLYMERS, toy_targets(missing=False))
    assert devices == {"cuda"}
    assert explained(model) > 0.8
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert {value.device.type for value in again.networks_[0].state_dict().values()} == {"cpu"}
    np.testing.assert_allclose(again.predict(TOY_POLYMERS), model.predict(TOY_POLYMERS), rtol=1e-5)


@pytest.mark.parametrize("key", [*NETWORKS, "gin", "gcn", "gat", "attentivefp", "cnn", "lstm"])
def test_predictions_on_the_gpu_are_those_of_the_cpu(key: str, monkeypatch) -> None:
    model = build(key, mc_dropout=3, dropout=0.1, max_epochs=5).fit(TOY_POLYMERS, toy_targets())
    polymers = [f"*{'C' * (1 + i % 9)}O{'C' * (i // 9)}*" for i in range(90)]
    there, again = model.predict_dist(polymers), model.predict_dist(polymers)
    np.testing.assert_array_equal(again.mean, there.mean)
    assert torch.cuda.memory_allocated() > 0
    monkeypatch.setenv("POLYML_DEVICE", "cpu")
    here = model.predict_dist(polymers)
    np.testing.assert_allclose(there.mean, here.mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(there.std, here.std, rtol=1e-2, atol=1e-4)


def test_a_gpu_is_taken_where_there_is_one(monkeypatch) -> None:
    devices = devices_of_training(monkeypatch)
    build("mlp", accelerator="auto", max_epochs=2).fit(TOY_POLYMERS, toy_targets())
    assert devices == {"cuda"}


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("key", NETWORKS)
def test_half_the_precision_learns_too(key: str, precision: str) -> None:
    model = build(key, precision=precision).fit(TOY_POLYMERS, toy_targets(missing=False))
    assert all(np.isfinite(row["train_loss"]) for row in model.history_)
    assert explained(model) > 0.8


def test_an_autoencoder_trains_on_the_gpu() -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    model = build("autoencoder").fit(TOY_POLYMERS, toy_targets())
    assert torch.cuda.max_memory_allocated() > before
    assert np.isfinite(model.predict(TOY_POLYMERS)).all()


def test_batches_that_do_not_fit_are_halved_until_they_do(monkeypatch) -> None:
    from polyml.models.nn.module import PropertyNetwork

    honest = PropertyNetwork.batch_loss

    def greedy(network, inputs, y):
        if network.training and len(y) > 4:
            ask_for_too_much()
        return honest(network, inputs, y)

    monkeypatch.setattr(PropertyNetwork, "batch_loss", greedy)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = build("mlp", batch_size=16).fit(TOY_POLYMERS, toy_targets(missing=False))
    said = [str(item.message) for item in caught if "out of GPU memory" in str(item.message)]
    members = model.ensemble
    assert [text.rsplit(" ", 1)[1] for text in said] == ["8", "4"] * members
    assert explained(model) > 0.8


def ask_for_too_much() -> None:
    """Allocate twice the memory of the device."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.empty(2 * total, dtype=torch.uint8, device="cuda")
