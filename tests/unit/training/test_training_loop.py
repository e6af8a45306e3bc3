from __future__ import annotations

import warnings

import numpy as np
import pytest

from polyml.errors import UserError
from polyml.models import make_model
from polyml.models.checks import TOY_POLYMERS, toy_labels, toy_targets
from polyml.models.nn.options import LOSSES, NOISE_LOSSES, OPTIMIZERS, SCHEDULES, Optimisation

torch = pytest.importorskip("torch")

SMALL = {"width": 16, "ensemble": 1, "batch_size": 8, "max_epochs": 8, "patience": 8}


def rates(steps: int = 100, **options) -> np.ndarray:
    """Learning rate before each of ``steps`` batches."""
    from polyml.models.nn.optimizers import make_optimizer, make_schedule

    spec = Optimisation(lr=1.0, **options)
    optimizer = make_optimizer(spec, [{"params": [torch.nn.Parameter(torch.zeros(1))]}])
    schedule = make_schedule(spec, optimizer, steps, "val_loss")["scheduler"]
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step(1.0) if spec.schedule == "plateau" else schedule.step()
    return np.array(found)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_the_one_of_torch_and_lowers_the_loss(optimizer):
    from polyml.models.nn.optimizers import make_optimizer

    weight = torch.nn.Parameter(torch.ones(1))
    made = make_optimizer(Optimisation(optimizer=optimizer, lr=0.05), [{"params": [weight]}])
    assert type(made).__name__.lower() == optimizer
    for _ in range(20):
        made.zero_grad()
        (weight**2).sum().backward()
        made.step()
    assert abs(weight.item()) < 0.7


def test_courses_of_the_learning_rate():
    one_cycle, cosine, step = rates(schedule="one_cycle"), rates(schedule="cosine"), rates(schedule="step")
    assert 0.1 < np.argmax(one_cycle) / 100 < 0.2
    assert one_cycle[-1] < 0.01
    np.testing.assert_allclose(cosine[50], (1 + 0.01) / 2, atol=0.02)
    assert (np.diff(cosine) < 0).all()
    assert sorted(set(step.round(6)), reverse=True) == pytest.approx(
        [1.0, 0.01 ** (1 / 3), 0.01 ** (2 / 3), 0.01], rel=1e-4
    )
    np.testing.assert_allclose(rates(schedule="exponential"), 0.01 ** (np.arange(100) / 100))
    plateau = rates(schedule="plateau", patience=9)
    assert plateau[0] == 1.0
    assert plateau[-1] == pytest.approx(0.01)
    assert set(rates(schedule="constant")) == {1.0}
    rise = rates(schedule="warmup", warmup=0.2)
    assert (np.diff(rise[:20]) > 0).all()
    assert (rise[21:] == 1.0).all()
    late = rates(schedule="cosine", warmup=0.2)
    assert np.argmax(late) == 20


@pytest.mark.parametrize(
    "options",
    [
        *({"schedule": name} for name in SCHEDULES),
        *({"loss": name} for name in LOSSES),
        {"optimizer": "sgd", "nesterov": True, "lr": 0.02},
        {"optimizer": "adagrad", "schedule": "one_cycle"},
        {"l1": 1e-3},
        {"clip": 0.0},
        {"norm": "batch"},
        {"norm": "none", "skip": True, "activation": "gelu"},
        {"depth": 0},
    ],
    ids=str,
)
def test_every_option_trains(options):
    model = make_model("mlp", **{**SMALL, "max_epochs": 25, "lr": 0.01, **options})
    history = model.fit(TOY_POLYMERS, toy_targets()).history_
    losses = [row["train_loss"] for row in history]
    assert min(losses[1:]) < losses[0]
    assert all(row["grad_norm"] > 0 for row in history)
    dist = model.predict_dist(TOY_POLYMERS)
    assert np.isfinite(dist.mean).all()
    assert np.isfinite(dist.std).all() == (options.get("loss") in NOISE_LOSSES)


def test_plateau_follows_the_training_loss_where_nothing_is_set_aside():
    options = {**SMALL, "lr": 1e-7, "patience": 3, "max_epochs": 12, "dropout": 0.0}
    model = make_model("mlp", schedule="plateau", **options)
    rates_seen = [row["lr"] for row in model.fit(TOY_POLYMERS[:8], toy_targets(missing=False)[:8]).history_]
    assert len(rates_seen) == 12
    assert rates_seen[-1] < rates_seen[0]  # the loss stands still at such a rate


def test_the_training_loss_is_the_mean_over_the_polymers(monkeypatch):
    from polyml.models.nn.module import PropertyNetwork

    seen = []
    honest = PropertyNetwork.batch_loss

    def watch(network, inputs, y):
        loss = honest(network, inputs, y)
        if network.training:
            seen.append((len(network.epochs()), float(loss.detach()), len(y)))
        return loss

    monkeypatch.setattr(PropertyNetwork, "batch_loss", watch)
    history = make_model("mlp", **{**SMALL, "max_epochs": 3}).fit(TOY_POLYMERS, toy_targets()).history_
    for row in history:
        own = [(loss, size) for epoch, loss, size in seen if epoch == row["epoch"]]
        losses, sizes = zip(*own, strict=True)
        assert row["train_loss"] == pytest.approx(np.average(losses, weights=sizes), rel=1e-5)


def test_losses_are_those_of_torch():
    from polyml.models.nn.targets import ClassTargets, TargetScaler
    from polyml.models.targets import TargetBasis

    y = np.array([[1.0], [2.0], [4.0]])
    out, truth = torch.tensor([[0.5], [0.0], [-2.0]]), torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    functions = {"mse": torch.nn.MSELoss(), "mae": torch.nn.L1Loss(), "huber": torch.nn.HuberLoss()}
    for name, function in functions.items():
        scaler = TargetScaler(1, name).fit(y, TargetBasis.separate(1))
        # With one target the modelled quantity and the target itself are the same: its error counts twice.
        assert scaler.loss(out, torch.tensor(y).float()) == pytest.approx(2 * float(function(out, truth)), rel=1e-5)
    scaler = TargetScaler(1, "gaussian_nll").fit(y, TargetBasis.separate(1))
    log_variance = torch.tensor([[0.1], [-0.3], [0.7]])
    expected = torch.nn.GaussianNLLLoss()(out, truth, log_variance.exp())
    found = scaler.loss(torch.cat([out, log_variance], dim=1), torch.tensor(y).float())
    assert found == pytest.approx(2 * float(expected), rel=1e-5)
    np.testing.assert_allclose(
        scaler.variance(torch.cat([out, log_variance], dim=1)), log_variance.exp() * y.var(), rtol=1e-5
    )
    codes = np.array([[0.0], [2.0], [np.nan], [2.0], [1.0]])
    logits = torch.randn(5, 3)
    known = torch.tensor([0, 1, 3, 4])
    for balanced in (False, True):
        targets = ClassTargets(3).fit(codes, balanced)
        expected = torch.nn.CrossEntropyLoss(weight=targets.weight)(logits[known], torch.tensor([0, 2, 2, 1]))
        assert targets.loss(logits, torch.tensor(codes).float()) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(targets.weight, [4 / 3, 4 / 3, 2 / 3], rtol=1e-6)


def test_gaussian_noise_is_found():
    rng = np.random.default_rng(0)
    polymers = [f"*{'C' * n}{x}*" for n in range(1, 21) for x in ("O", "S", "C(=O)O", "N(C)")] * 3
    y = rng.normal(scale=2.0, size=(len(polymers), 1))  # nothing to learn but the noise
    model = make_model("mlp", loss="gaussian_nll", dropout=0.0, **{**SMALL, "max_epochs": 40})
    std = model.fit(polymers, y).predict_dist(polymers).std
    assert 1.4 < np.median(std) < 2.6


def test_averaged_weights_differ_from_the_best_epoch_and_every_epoch_is_run():
    plain = make_model("mlp", **SMALL).fit(TOY_POLYMERS, toy_targets())
    averaged = make_model("mlp", swa=True, **SMALL).fit(TOY_POLYMERS, toy_targets())
    assert len(averaged.history_) == SMALL["max_epochs"]
    assert not np.allclose(plain.predict(TOY_POLYMERS), averaged.predict(TOY_POLYMERS))
    assert np.isfinite(averaged.predict(TOY_POLYMERS)).all()


class _Poisoned:
    """A loss that becomes NaN in the epoch ``poison``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, poison: int) -> None:
        from polyml.models.nn.module import PropertyNetwork

        honest = PropertyNetwork.batch_loss
        monkeypatch.setattr(
            PropertyNetwork,
            "batch_loss",
            lambda net, x, y: honest(net, x, y) * (float("nan") if len(net.epochs()) >= poison else 1.0),
        )


@pytest.mark.parametrize("validation", [0.12, 0.0])
def test_a_loss_that_becomes_nan_stops_and_keeps_good_weights(monkeypatch, validation):
    with monkeypatch.context() as patch:
        _Poisoned(patch, 3)
        model = make_model("mlp", **{**SMALL, "max_epochs": 30, "validation": validation})
        with pytest.warns(UserWarning, match="stopped in epoch 3: the loss or a weight became NaN"):
            model.fit(TOY_POLYMERS, toy_targets(missing=False))
    assert len(model.history_) == 4
    assert model.history_[-1]["train_loss"] == np.inf
    assert np.isfinite(model.predict(TOY_POLYMERS)).all()


def _ruin_the_weights(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Let the last step of an epoch make the weights infinite; its loss was taken before."""
    from polyml.training.module import NetworkTraining

    def ruin(module, outputs, batch, index):
        if module.current_epoch == epoch and module.trainer.is_last_batch:
            with torch.no_grad():
                module.network.head[-1].weight.fill_(float("inf"))

    monkeypatch.setattr(NetworkTraining, "on_train_batch_end", ruin)


@pytest.mark.parametrize("validation", [0.12, 0.0])
@pytest.mark.parametrize("swa", [False, True])
def test_a_step_that_ruins_the_weights_is_undone(monkeypatch, validation, swa):
    last = SMALL["max_epochs"] - 1
    with monkeypatch.context() as patch:
        _ruin_the_weights(patch, last)
        model = make_model("mlp", validation=validation, swa=swa, **SMALL)
        with pytest.warns(UserWarning, match=f"stopped in epoch {last}: the loss or a weight became NaN"):
            model.fit(TOY_POLYMERS, toy_targets())
    assert np.isfinite(model.predict(TOY_POLYMERS)).all()
    _ruin_the_weights(monkeypatch, 0)
    with pytest.raises(UserError, match="NaN or infinite in epoch 0"):
        make_model("mlp", validation=validation, swa=swa, **{**SMALL, "max_epochs": 1}).fit(TOY_POLYMERS, toy_targets())


@pytest.mark.parametrize("key", ["mlp", "gcn", "cnn"])
def test_averaged_weights_learn_the_norms_of_batches_anew(key):
    model = make_model(key, swa=True, norm="batch", validation=0.0, **SMALL).fit(TOY_POLYMERS, toy_targets())
    assert len(model.history_) == SMALL["max_epochs"]
    assert np.isfinite(model.predict(TOY_POLYMERS)).all()


def test_ctrl_c_during_training_is_ctrl_c(monkeypatch):
    import signal

    from polyml.models.nn.module import PropertyNetwork

    def interrupted(network, inputs, y):
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(PropertyNetwork, "batch_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_model("mlp", **SMALL).fit(TOY_POLYMERS, toy_targets())
    assert signal.getsignal(signal.SIGINT) == handler


def test_a_loss_that_is_nan_from_the_start_is_an_error(monkeypatch):
    _Poisoned(monkeypatch, 0)
    with pytest.raises(UserError, match=r"NaN or infinite in epoch 0\n.*lower lr"):
        make_model("mlp", **SMALL).fit(TOY_POLYMERS, toy_targets())


def test_out_of_gpu_memory_tries_smaller_batches(monkeypatch):
    from polyml.models.nn.module import PropertyNetwork

    honest = PropertyNetwork.batch_loss

    def small_memory(network, inputs, y):
        if network.training and len(y) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(network, inputs, y)

    monkeypatch.setattr(PropertyNetwork, "batch_loss", small_memory)
    model = make_model("mlp", **{**SMALL, "batch_size": 16})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(TOY_POLYMERS, toy_targets())
    said = [str(item.message) for item in caught if "out of GPU memory" in str(item.message)]
    assert [text.rsplit(" ", 1)[1] for text in said] == ["8", "4"]
    expected = make_model("mlp", **{**SMALL, "batch_size": 4}).fit(TOY_POLYMERS, toy_targets())
    assert [sorted(row) for row in model.history_] == [sorted(row) for row in expected.history_]
    assert model.history_[0]["train_loss"] == pytest.approx(expected.history_[0]["train_loss"], rel=0.3)
    monkeypatch.setattr(PropertyNetwork, "batch_loss", lambda *a: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    warnings.simplefilter("ignore")
    with pytest.raises(UserError, match="too small for one polymer"):
        make_model("mlp", **SMALL).fit(TOY_POLYMERS, toy_targets())


def test_judging_takes_smaller_batches_too_where_memory_is_short(monkeypatch):
    from polyml.models.nn.module import PropertyNetwork

    honest, judged = PropertyNetwork.batch_loss, []

    def small_memory(network, inputs, y):
        if not network.training:
            judged.append(len(y))
            if len(y) > 10:
                raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
        return honest(network, inputs, y)

    monkeypatch.setattr(PropertyNetwork, "batch_loss", small_memory)
    options = {**SMALL, "batch_size": 256, "max_epochs": 2, "validation": 0.9}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_model("mlp", **options).fit(TOY_POLYMERS, toy_targets())
    assert judged[0] > 10 >= max(judged[-4:])


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "plateau"])
def test_groups_of_weights_keep_their_share_of_the_learning_rate(schedule):
    from polyml.models.nn.optimizers import make_optimizer, make_schedule

    spec = Optimisation(lr=0.1, schedule=schedule, patience=3)
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "share": share} for share in (1.0, 0.01, 0.0)]
    optimizer = make_optimizer(spec, groups)
    plan = make_schedule(spec, optimizer, 40, "val_loss")["scheduler"]
    for _ in range(40):
        rates_now = [group["lr"] for group in optimizer.param_groups]
        np.testing.assert_allclose(rates_now, np.array([1.0, 0.01, 0.0]) * rates_now[0], atol=1e-12)
        optimizer.step()
        plan.step(1.0) if schedule == "plateau" else plan.step()


def test_momentum_runs_around_what_was_asked_for():
    from polyml.models.nn.optimizers import make_optimizer, make_schedule

    spec = Optimisation(optimizer="sgd", momentum=0.5)
    optimizer = make_optimizer(spec, [{"params": [torch.nn.Parameter(torch.zeros(1))]}])
    plan = make_schedule(spec, optimizer, 40, "val_loss")["scheduler"]
    seen = []
    for _ in range(40):
        seen.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        plan.step()
    assert (min(seen), max(seen)) == (pytest.approx(0.45), pytest.approx(0.55))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_targets_are_not_rounded_in_mixed_precision(dtype):
    from polyml.models.nn.targets import TargetScaler
    from polyml.models.targets import TargetBasis

    for mean, spread in ((1.55, 0.03), (1e5, 1e4)):
        y = np.random.default_rng(0).normal(mean, spread, size=(64, 1))
        scaler = TargetScaler(1).fit(y, TargetBasis.separate(1))
        perfect = torch.as_tensor((y - y.mean()) / y.std(), dtype=torch.float32)
        with torch.autocast("cpu", dtype):
            loss, found = scaler.loss(perfect, torch.as_tensor(y, dtype=torch.float32)), scaler(perfect)
        assert float(loss) < 1e-6
        np.testing.assert_allclose(found, y, rtol=1e-6)


def test_class_weights_lift_the_rare_class():
    labels = ["rare" if text.count("F") else "common" for text in TOY_POLYMERS]
    options = {**SMALL, "task": "classification", "dropout": 0.0, "max_epochs": 4}
    plain = make_model("mlp", **options).fit(TOY_POLYMERS, labels)
    weighed = make_model("mlp", class_weight="balanced", **options).fit(TOY_POLYMERS, labels)
    assert weighed.predict_proba(TOY_POLYMERS)[:, 1].mean() > plain.predict_proba(TOY_POLYMERS)[:, 1].mean()


def test_descriptors_beside_a_graph_are_read():
    options = {**SMALL, "depth": 2, "max_epochs": 4}
    plain = make_model("gin", **options).fit(TOY_POLYMERS, toy_targets())
    joint = make_model("gin", features="descriptors", **options).fit(TOY_POLYMERS, toy_targets())
    n = {name: sum(value.numel() for value in model.networks_[0].encoder.parameters()) for name, model in
         (("plain", plain), ("joint", joint))}  # fmt: skip
    assert n["joint"] > n["plain"]
    assert set(joint.shape_) == {"atom_dim", "bond_dim", "columns", "kept"}


def test_labels_of_every_network_are_learned():
    labels = toy_labels()
    model = make_model("mlp", task="classification", **{**SMALL, "max_epochs": 60, "patience": 60, "lr": 0.01})
    found = model.fit(TOY_POLYMERS, labels).predict(TOY_POLYMERS)
    known = [i for i, label in enumerate(labels) if label is not None]
    assert np.mean([found[i] == labels[i] for i in known]) > 0.8
