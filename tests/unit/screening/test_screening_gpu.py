"""Networks in a screen predict in one process that owns the device; the CPU stands for the GPU here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress

import numpy as np
import pandas as pd
import psutil
import pytest

from polyml.bundle import Bundle
from polyml.errors import PolymlError, UserError
from polyml.models.catalog import make_model
from polyml.models.inspect import network_accelerators
from polyml.screening import gpu
from polyml.screening.gpu import OwnedDevice, extra_workers, owned_device
from polyml.screening.screen import ScreenSpec, screen

torch = pytest.importorskip("torch")

from polyml.models.nn import predict, serving  # noqa: E402

SPEC = ScreenSpec(objectives=["log10(O2)"], top=10, chunk_size=10, keep="all", skip_known=False)
SMALL = {"max_epochs": 2, "width": 16, "depth": 2, "accelerator": "auto"}


def networks_of(bundle, model):
    y = np.column_stack([p.to_model(bundle.values[:, i]) for i, p in enumerate(bundle.properties)])
    return Bundle(
        model.fit(list(bundle.psmiles), y), bundle.properties, bundle.keys, bundle.psmiles, bundle.values, "0" * 64, 1
    )


@pytest.fixture(scope="module")
def gin(bundle, tmp_path_factory):
    return networks_of(bundle, make_model("gin", **SMALL)).save(tmp_path_factory.mktemp("gin") / "model")


@pytest.fixture
def many(write_many):
    return write_many(400)


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


@pytest.fixture
def owners(monkeypatch):
    """Return the list of all owners of devices that are started; the CPU is the device."""
    monkeypatch.setenv("POLYML_SCREEN_DEVICE", "cpu")
    started = []
    enter = OwnedDevice.__enter__

    def remember(self):
        started.append(self)
        return enter(self)

    monkeypatch.setattr(OwnedDevice, "__enter__", remember)
    return started


def test_predictions_through_the_owner_are_the_same_bytes(bundle, gin, many, tmp_path, owners, monkeypatch) -> None:
    dropout = networks_of(bundle, make_model("mlp", dropout=0.2, mc_dropout=3, ensemble=2, **SMALL))
    renamed = [p.model_copy(update={"name": f"{p.name} again"}) for p in dropout.properties]
    other = Bundle(**{**vars(dropout), "properties": tuple(renamed)}).save(tmp_path / "mlp")
    embedding = networks_of(bundle, make_model("sequence_autoencoder", max_epochs=2, width=16, accelerator="auto"))
    thrice = [p.model_copy(update={"name": f"{p.name} thrice"}) for p in embedding.properties]
    third = Bundle(**{**vars(embedding), "properties": tuple(thrice)}).save(tmp_path / "autoencoder")
    screen(many, [gin, other, third], SPEC, tmp_path / "owned", jobs=2)
    assert len(owners) == 1
    assert not psutil.pid_exists(owners[0].pid)
    assert not owners[0]._folder.exists()
    monkeypatch.setenv("POLYML_SCREEN_DEVICE", "none")
    screen(many, [gin, other, third], SPEC, tmp_path / "workers", jobs=2)
    screen(many, [gin, other, third], SPEC, tmp_path / "here", jobs=1)
    assert len(owners) == 1
    assert everything(tmp_path / "owned") == everything(tmp_path / "workers") == everything(tmp_path / "here")


def kill_meanwhile(is_under_way, chosen, times):
    """Kill processes while a screen is under way, in a thread; return the list of those that were killed."""
    killed: list[int] = []

    def work():
        end = time.monotonic() + 120
        while len(killed) < times and time.monotonic() < end:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                for pid in chosen() if is_under_way() else []:
                    if pid not in killed and len(killed) < times:
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
            time.sleep(0.3)

    threading.Thread(target=work, daemon=True).start()
    return killed


def test_an_owner_or_a_worker_that_is_killed_changes_nothing(gin, many, tmp_path, owners) -> None:
    screen(many, gin, SPEC, tmp_path / "whole", jobs=2)
    owners.clear()

    def is_under_way():
        return owners and any((tmp_path / "out" / "shards").glob("[0-9]*.shard"))

    def chosen():
        owner = psutil.Process(owners[0].pid)
        others = [child.pid for child in owner.parent().children() if child.pid != owner.pid]
        return [owner.pid, *others[:1]]

    killed = kill_meanwhile(is_under_way, chosen, 4)
    screen(many, gin, SPEC, tmp_path / "out", jobs=2)
    assert len(killed) >= 2
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_a_device_that_is_not_there_is_a_user_error(gin, many, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("POLYML_SCREEN_DEVICE", "cuda:77")
    with pytest.raises(UserError, match="cuda:77' cannot be used") as caught:
        screen(many, gin, SPEC, tmp_path / "out", jobs=2)
    assert "POLYML_SCREEN_DEVICE=none" in str(caught.value.fix)


@pytest.mark.slow
def test_the_parent_is_killed_and_nothing_stays(gin, many, tmp_path) -> None:
    script = f"""
        from polyml.screening.screen import ScreenSpec, screen
        if __name__ == "__main__":
            spec = ScreenSpec.model_validate_json({SPEC.model_dump_json()!r})
            screen({str(many)!r}, {str(gin)!r}, spec, {str(tmp_path / "out")!r}, jobs=2)
    """
    (tmp_path / "run.py").write_text(textwrap.dedent(script))
    environment = {**os.environ, "POLYML_SCREEN_DEVICE": "cpu"}
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen([sys.executable, tmp_path / "run.py"], env=environment, stderr=subprocess.DEVNULL)
        while not any((tmp_path / "out" / "shards").glob("[0-9]*.shard")):
            assert process.poll() is None
            time.sleep(0.05)
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 4  # server of processes, owner, workers
        process.send_signal(number)
        process.wait(timeout=60)
        assert not psutil.wait_procs(started, timeout=60)[1]
        (tmp_path / "out").rename(tmp_path / f"out {number}")


@pytest.fixture
def asked():
    """Return an owner of the CPU and someone who asks it."""
    with OwnedDevice("cpu") as owned:
        yield owned, serving.Asker(owned.address)


class Doubling(torch.nn.Module):
    """Stands for a network; kills its process at some inputs, and finds others too large."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1,), 2.0))
        self.asked_too_much = torch.nn.Buffer(torch.tensor([7.0]))

    def mean_and_variance(self, batch):
        if bool((batch == 13).any()):
            os.kill(os.getpid(), signal.SIGKILL)
        if bool((batch == self.asked_too_much).any()):
            raise torch.OutOfMemoryError("CUDA out of memory")
        if bool((batch == 17).any()):
            raise ValueError("17 is no polymer")
        return batch * self.weight, torch.zeros_like(batch)


def test_the_owner_answers_and_says_what_went_wrong(asked) -> None:
    _, asker = asked
    network = Doubling().eval()
    batch = torch.arange(6.0).reshape(3, 2)
    for _ in range(2):
        mean, variance = asker.run([network, network], [batch, batch + 20], 0)
        np.testing.assert_array_equal(mean.numpy(), np.stack([2 * batch.numpy() + 20] * 2))
        np.testing.assert_array_equal(variance.numpy(), np.full((2, 3, 2), 20.0**2))
    with pytest.raises(predict.BatchTooLarge):
        asker.run([network], [torch.full((1, 1), 7.0)], 0)
    with pytest.raises(PolymlError, match="ValueError: 17 is no polymer"):
        asker.run([network], [torch.full((1, 1), 17.0)], 0)
    asker.run([network], [batch], 0)


def test_batches_for_a_gpu_come_back_in_the_order_of_the_polymers(asked, gin) -> None:
    _, asker = asked
    model = Bundle.load(gin).model
    polymers = [f"*{'C' * (1 + i * 7 % 23)}O*" for i in range(200)]
    expected = model.predict(polymers)
    asker.device = torch.device("cuda")  # from here on it is given what a GPU would be
    asker.batch_size(model.networks_).failed(600)
    predict.run_elsewhere(asker)
    try:
        np.testing.assert_allclose(model.predict(polymers), expected, rtol=1e-5)
    finally:
        predict.run_elsewhere(None)


def test_a_batch_that_takes_the_owner_down_is_given_up(asked) -> None:
    owned, asker = asked
    network, waited = Doubling().eval(), []
    asker.waiting = lambda: waited.append(1)
    first = owned.pid
    asker.run([network], [torch.ones(1, 1)], 0)
    with pytest.raises(PolymlError, match="died of this batch 3 times"):
        asker.run([network], [torch.full((1, 1), 13.0)], 0)
    assert waited
    assert owned.pid != first
    np.testing.assert_array_equal(asker.run([network], [torch.ones(2, 1)], 0)[0], np.full((1, 2, 1), 2.0))
    owned.check()


def test_an_owner_that_never_predicts_is_given_up(asked, monkeypatch) -> None:
    owned, _ = asked
    monkeypatch.setattr(gpu, "_DEATHS", 2)
    end, seen = time.monotonic() + 60, set()
    while time.monotonic() < end and owned._error is None:
        if owned.pid not in seen:
            seen.add(owned.pid)
            os.kill(owned.pid, signal.SIGKILL)
        time.sleep(0.05)
    assert len(seen) == 2
    with pytest.raises(UserError, match="died 2 times"):
        owned.check()


def test_a_network_is_packed_alike_every_time() -> None:
    assert serving.pack(Doubling()) == serving.pack(Doubling())
    other = Doubling()
    with torch.no_grad():
        other.weight.add_(1)
    assert serving.pack(other) != serving.pack(Doubling())


def test_an_owner_is_there_only_for_networks_that_may_use_a_gpu(monkeypatch) -> None:
    monkeypatch.delenv("POLYML_SCREEN_DEVICE", raising=False)
    network, trees = make_model("gin"), make_model("extra_trees")
    calibrated = make_model("conformal", base="gin")
    assert network_accelerators(calibrated) == {"auto"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert owned_device([trees]) is None
    assert owned_device([trees, calibrated]) == "cuda"
    assert owned_device([make_model("gin", accelerator="cpu")]) is None
    monkeypatch.setenv("POLYML_DEVICE", "cuda:1")
    assert owned_device([network]) == "cuda:1"
    monkeypatch.setenv("POLYML_SCREEN_DEVICE", "none")
    assert owned_device([network]) is None
    monkeypatch.setenv("POLYML_SCREEN_DEVICE", "gpus")
    with pytest.raises(UserError, match="POLYML_SCREEN_DEVICE"):
        owned_device([network])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_screen_on_the_gpu_finds_what_one_on_the_cpu_finds(gin, many, tmp_path, monkeypatch) -> None:
    for name, device in (("gpu", "cuda"), ("again", "cuda"), ("cpu", "none")):
        monkeypatch.setenv("POLYML_SCREEN_DEVICE", device)
        screen(many, gin, SPEC, tmp_path / name, jobs=2)
    assert everything(tmp_path / "gpu") == everything(tmp_path / "again")
    found, expected = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("gpu", "cpu"))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4)


def test_a_few_more_workers_than_cores() -> None:
    assert [extra_workers(jobs) for jobs in (1, 2, 9, 10, 16)] == [0, 1, 1, 2, 2]
