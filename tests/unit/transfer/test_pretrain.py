"""Pretraining, and models that start from what it gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polyml.errors import UserError
from polyml.models import load_model, make_model
from polyml.models.checks import TOY_POLYMERS, toy_targets
from polyml.models.pretrained import encoder_folder, load_encoder, read_encoder_card
from polyml.transfer.pretexts import PretrainSpec
from polyml.transfer.pretrain import pretrain

torch = pytest.importorskip("torch")

SIZE = {"width": 16, "depth": 2}
SHORT = {**SIZE, "max_epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "gin"
    pretrain(
        TOY_POLYMERS, folder, PretrainSpec(encoder="gin", params=SIZE, epochs=3, batch_size=8), data={"source": "toy"}
    )
    return folder


@pytest.mark.parametrize(
    ("key", "pretext"),
    [
        ("dmpnn", "descriptors"), ("transformer", "descriptors"),
        *((key, "masked_atom") for key in ("gcn", "gat", "gin", "dmpnn", "attentivefp", "gps")),
        *((key, pretext) for key in ("cnn", "lstm", "transformer") for pretext in ("masked_token", "autoencoding")),
    ],
)  # fmt: skip
def test_every_pretext_task_trains_and_its_encoder_is_taken(key, pretext, tmp_path):
    spec = PretrainSpec(encoder=key, pretext=pretext, params=SIZE, epochs=4, batch_size=8, lr=5e-3)
    card = pretrain(TOY_POLYMERS, tmp_path / "encoder", spec)
    assert {path.name for path in (tmp_path / "encoder").iterdir()} == {"card.json", "encoder.safetensors"}
    losses = [row["train_loss"] for row in card["history"]]
    assert min(losses[1:]) < losses[0]
    (check,) = card["checks"].values()
    assert check <= 1
    model = make_model(key, pretrained=str(tmp_path / "encoder"), **SHORT).fit(TOY_POLYMERS, toy_targets())
    assert np.isfinite(model.predict(TOY_POLYMERS)).all()


def test_another_property_is_a_pretext_task(tmp_path):
    spec = PretrainSpec(encoder="gin", pretext="property", params=SIZE, epochs=30, batch_size=8, lr=0.01)
    card = pretrain(TOY_POLYMERS, tmp_path / "encoder", spec, y=toy_targets())
    assert card["history"][-1]["train_loss"] < 0.5 * card["history"][0]["train_loss"]
    with pytest.raises(UserError, match="go together"):
        pretrain(TOY_POLYMERS, tmp_path / "encoder", spec)


def test_the_seed_decides_the_weights_and_the_card_tells_the_data(encoder, tmp_path):
    card = pretrain(
        TOY_POLYMERS,
        tmp_path / "again",
        PretrainSpec(encoder="gin", params=SIZE, epochs=3, batch_size=8),
        data={"source": "toy"},
    )
    first, second = ((place / "encoder.safetensors").read_bytes() for place in (encoder, tmp_path / "again"))
    assert first == second
    assert json.loads((encoder / "card.json").read_text())["data"] == card["data"]
    assert card["data"]["polymers"] == len(TOY_POLYMERS)
    assert card["steps"] == 3 * 3
    assert card["params"]["width"] == 16


def test_a_model_starts_from_the_pretrained_weights(encoder):
    # A vanishing learning rate leaves the weights where training started.
    model = make_model("gin", pretrained=str(encoder), lr=1e-14, **SHORT).fit(TOY_POLYMERS, toy_targets())
    fresh = model._encoder(model.shape_)
    load_encoder(fresh, encoder)
    for name, value in fresh.state_dict().items():
        torch.testing.assert_close(model.networks_[0].encoder.state_dict()[name], value)


def moved(model, start: dict) -> dict[str, bool]:
    state = model.networks_[0].state_dict()
    return {name: not torch.equal(state[name], value) for name, value in start.items()}


@pytest.fixture
def start(encoder) -> dict:
    fresh = make_model("gin", **SHORT)
    inputs = fresh._inputs(TOY_POLYMERS)
    module = fresh._encoder(fresh._shape(inputs))
    load_encoder(module, encoder)
    return {f"encoder.{name}": value for name, value in module.state_dict().items()}


def test_a_frozen_encoder_stays_as_it_is_and_the_head_learns(encoder, start):
    options = {**SHORT, "max_epochs": 4}
    model = make_model("gin", pretrained=str(encoder), finetune="frozen", **options).fit(TOY_POLYMERS, toy_targets())
    assert not any(moved(model, start).values())
    losses = [row["train_loss"] for row in model.history_]
    assert losses[-1] < losses[0]


def test_gradual_unfreezing_goes_from_the_top_down(encoder, start, monkeypatch):
    from polyml.models.nn.layers import stages
    from polyml.training.module import NetworkTraining

    seen: list[list[bool]] = []
    honest = NetworkTraining.on_train_epoch_start

    def watch(module):
        honest(module)
        seen.append([all(weight.requires_grad for weight in stage) for stage in stages(module.network.encoder)])

    monkeypatch.setattr(NetworkTraining, "on_train_epoch_start", watch)
    options = {**SHORT, "max_epochs": 12, "patience": 12}
    model = make_model("gin", pretrained=str(encoder), finetune="gradual", **options).fit(TOY_POLYMERS, toy_targets())
    free = [sum(epoch) for epoch in seen]
    assert free[0] == 0
    assert free == sorted(free)
    assert all(seen[6])  # by half of the epochs
    assert all(epoch == sorted(epoch) for epoch in seen)  # the stages near the output first
    assert any(moved(model, start).values())


def test_discriminative_learning_rates(encoder, start):
    slow = make_model("gin", pretrained=str(encoder), encoder_lr=0.0, **SHORT).fit(TOY_POLYMERS, toy_targets())
    assert not any(moved(slow, start).values())
    groups = slow.networks_[0].parameter_groups()
    assert [group.get("share", 1.0) for group in groups] == [0.0, 1.0]
    assert sum(len(group["params"]) for group in groups) == len(list(slow.networks_[0].parameters()))


def test_descriptors_beside_a_pretrained_encoder_are_trained_too(encoder, tmp_path):
    options = {**SHORT, "features": "maccs", "finetune": "frozen"}
    model = make_model("gin", pretrained=str(encoder), **options).fit(TOY_POLYMERS, toy_targets())
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load_model(tmp_path / "model").predict(TOY_POLYMERS), model.predict(TOY_POLYMERS))


@pytest.mark.parametrize(
    ("key", "params", "message"),
    [
        ("gin", {"width": 32, "depth": 2}, r"another size\n.*width=16"),
        ("dmpnn", SIZE, "is a 'gin', not a 'dmpnn'"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused_before_training(encoder, key, params, message):
    with pytest.raises(UserError, match=message):
        make_model(key, pretrained=str(encoder), **params)


def test_wrong_names_and_combinations(tmp_path, encoder):
    with pytest.raises(UserError, match="no pretrained encoder can be read"):
        make_model("gin", pretrained=str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="for a pretrained encoder"):
        make_model("gin", finetune="frozen")
    with pytest.raises(UserError, match="did you mean 'gradual'"):
        make_model("gin", pretrained=str(encoder), finetune="gradually", **SIZE)
    with pytest.raises(UserError, match="did you mean 'masked_atom'"):
        PretrainSpec(pretext="masked_atoms").make_model()
    with pytest.raises(UserError, match="needs a model that reads graph"):
        PretrainSpec(encoder="lstm", pretext="masked_atom").make_model()
    with pytest.raises(UserError, match="needs a model that reads tokens"):
        PretrainSpec(encoder="gin", pretext="autoencoding").make_model()
    with pytest.raises(UserError, match="reads no structures"):
        PretrainSpec(encoder="svm", params={}).make_model()
    with pytest.raises(UserError, match=r"max_epochs has no effect on pretraining(.|\n)*depth, dropout"):
        PretrainSpec(encoder="gin", params={"max_epochs": 1}).make_model()
    with pytest.raises(UserError, match=r"lr=-3\.0 is out of range"):
        PretrainSpec(encoder="gin", lr=-3.0).make_model()
    with pytest.raises(UserError, match="too few"):
        pretrain(TOY_POLYMERS[:3], tmp_path / "few")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(UserError, match="something else than a pretrained encoder"):
        pretrain(TOY_POLYMERS, tmp_path / "notes", PretrainSpec(encoder="gin", params=SIZE, epochs=1))


def test_a_damaged_file_of_weights_is_refused(encoder, tmp_path):
    (tmp_path / "card.json").write_text((encoder / "card.json").read_text())
    (tmp_path / "encoder.safetensors").write_bytes(b"nonsense")
    model = make_model("gin", pretrained=str(tmp_path), **SHORT)
    with pytest.raises(UserError, match="cannot be used"):
        model.fit(TOY_POLYMERS, toy_targets())


def test_the_foundation_comes_with_polyml_and_has_its_card():
    card = read_encoder_card("foundation")
    assert card["encoder"] == "dmpnn"
    assert card["pretext"] == "descriptors"
    assert card["data"]["polymers"] > 10_000
    assert card["checks"]["validation R2"] > 0.8
    assert (encoder_folder("foundation") / "encoder.safetensors").stat().st_size < 5e6
    assert make_model("foundation").width == card["params"]["width"]
