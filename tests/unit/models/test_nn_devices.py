"""How networks are given to a device: in batches as large as its memory takes, with the same answers as the CPU's."""

from __future__ import annotations

import numpy as np
import pytest

from polyml.errors import UserError
from polyml.models import make_model
from polyml.models.checks import TOY_POLYMERS, toy_targets

torch = pytest.importorskip("torch")

from polyml.models.nn import devices, predict  # noqa: E402
from polyml.models.nn.devices import BatchSize, BatchTooLarge, inference_device, moved, resident  # noqa: E402

POLYMERS = [f"*{'C' * (1 + i % 17)}O{'C' * (i % 5)}c1ccc({'C' * (i % 3)}*)cc1" for i in range(300)]


class SmallDevice:
    """Stands for a GPU whose memory holds so many atoms or tokens, padding included."""

    device = torch.device("cuda")

    def __init__(self, parts: int, memory: int) -> None:
        self.size, self.memory = BatchSize(parts), memory
        self.taken: list[int] = []

    def batch_size(self, networks):
        return self.size

    def run(self, networks, views, samples):
        view = views[0][0] if type(views[0]) is tuple else views[0]
        room = view.tokens.numel() if hasattr(view, "tokens") else len(view.x if hasattr(view, "x") else view)
        if room > self.memory:
            raise BatchTooLarge
        self.taken.append(room)
        return predict.predict_batch(networks, views, samples)


@pytest.fixture
def elsewhere():
    yield predict.run_elsewhere
    predict.run_elsewhere(None)


def fitted(key: str, **params):
    small = {"max_epochs": 2, "width": 16, "depth": 2, "accelerator": "auto"}
    return make_model(key, **{**small, **params}).fit(TOY_POLYMERS, toy_targets())


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("mlp", {}),
        ("gin", {}),
        ("gps", {}),
        ("dmpnn", {"features": "maccs", "ensemble": 2}),
        ("gru", {"loss": "gaussian_nll"}),
        ("transformer", {"mc_dropout": 3}),
    ],
)
def test_a_device_gives_what_the_cpu_gives(key, params, elsewhere) -> None:
    model = fitted(key, **params)
    there = SmallDevice(1000, 100_000)
    expected = model.predict_dist(POLYMERS)
    elsewhere(there)
    found = model.predict_dist(POLYMERS)
    assert len(there.taken) > 1
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.std, expected.std, rtol=1e-3, atol=1e-5)


def test_what_was_too_much_is_halved_and_not_tried_again(elsewhere) -> None:
    model = fitted("gin")
    expected = model.predict(POLYMERS)
    there = SmallDevice(100_000, 700)
    elsewhere(there)
    np.testing.assert_allclose(model.predict(POLYMERS), expected, rtol=1e-4, atol=1e-5)
    assert 0 < max(there.taken) <= 700
    learned = there.size.parts
    assert learned <= 700
    model.predict(POLYMERS)
    assert learned <= there.size.parts <= 700


def test_one_polymer_that_is_too_large_is_named(elsewhere) -> None:
    model = fitted("gin")
    elsewhere(SmallDevice(1000, 3))
    with pytest.raises(UserError, match="too small for one polymer"):
        model.predict(["*CCCCCCCC*"])


def test_a_model_kept_on_the_cpu_stays_there(elsewhere) -> None:
    there = SmallDevice(1000, 0)
    elsewhere(there)
    fitted("mlp", accelerator="cpu").predict(POLYMERS)


def test_sizes_grow_carefully() -> None:
    size = BatchSize(1000)
    for _ in range(3):
        size.worked(900)
    size.worked(10)  # tells nothing
    assert size.parts == 1000
    size.worked(900)
    assert size.parts == 1500
    size.failed(1500)
    for _ in range(50):
        size.worked(size.parts)
    assert 750 < size.parts < 0.9 * 1500
    steady = BatchSize(1000, grows=False)
    for _ in range(50):
        steady.worked(1000)
    assert steady.parts == 1000


def test_out_of_memory_in_torch_is_a_batch_too_large(monkeypatch) -> None:
    model = fitted("mlp")
    runner = predict.LocalRunner(torch.device("cpu"))
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")):
        monkeypatch.setattr(predict, "predict_batch", raising(error))
        with pytest.raises(BatchTooLarge):
            runner.run(model.networks_, [torch.zeros(1, 1)], 0)
    monkeypatch.setattr(predict, "predict_batch", raising(RuntimeError("sizes differ")))
    with pytest.raises(RuntimeError, match="sizes differ"):
        runner.run(model.networks_, [torch.zeros(1, 1)], 0)


def raising(error: Exception):
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_network_is_moved_once_and_anew_when_its_weights_change() -> None:
    network, there = torch.nn.Linear(3, 2), torch.device("meta")
    with torch.inference_mode():
        copy = resident(network, there)
        assert resident(network, there) is copy
    assert {value.device.type for value in copy.parameters()} == {"meta"}
    assert {value.device.type for value in network.parameters()} == {"cpu"}
    assert resident(network, torch.device("cpu")) is network
    with torch.no_grad():
        network.weight.add_(1.0)
    assert resident(network, there) is not copy


def test_batches_of_every_form_are_moved() -> None:
    model = fitted("dmpnn", features="maccs")
    graph, array = moved(model._inputs(TOY_POLYMERS).take([0, 1]), torch.device("meta"))
    assert {value.device.type for value in (*graph, array)} == {"meta"}
    assert graph.size.shape == (2, 1)


def test_the_device_follows_the_accelerator_and_the_environment(monkeypatch) -> None:
    monkeypatch.delenv("POLYML_DEVICE", raising=False)
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: True)
    assert inference_device("auto").type == inference_device("gpu").type == "cuda"
    assert inference_device("cpu").type == "cpu"
    monkeypatch.setenv("POLYML_DEVICE", "cpu")
    assert inference_device("auto").type == "cpu"
    monkeypatch.setenv("POLYML_DEVICE", "cuda:1")
    assert inference_device("auto") == torch.device("cuda:1")
    assert inference_device("cpu").type == "cpu"
    monkeypatch.setenv("POLYML_DEVICE", "gpus")
    with pytest.raises(UserError, match="POLYML_DEVICE"):
        inference_device("auto")


def test_arithmetic_on_a_cuda_device_is_exact_and_restored() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision, torch.are_deterministic_algorithms_enabled()
    with devices.exact_arithmetic(torch.device("cuda")):
        assert matmul.fp32_precision == "ieee"
        assert torch.are_deterministic_algorithms_enabled()
    assert (matmul.fp32_precision, torch.are_deterministic_algorithms_enabled()) == before
