"""What finished folds, studies and stages depend on: the content of encoders, and nothing new where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from polyml.config import Recipe, parse_recipe
from polyml.data import PolymerTable, Property, read_table
from polyml.data.splits import SplitSpec
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.evaluation.plan import make_plan
from polyml.pipeline.stages import STAGES
from polyml.tracking import make_tracker
from polyml.tuning import SearchSettings
from polyml.tuning.storage import load, storage_url
from polyml.tuning.tune import tune

SPLIT = SplitSpec(folds=2)
SIZE = {"width": 16, "depth": 2}


@pytest.fixture
def table(tmp_path: Path) -> PolymerTable:
    values = {"Tg": [1.0, 2.0, 4.0, 3.0, 7.0, 5.0], "Tm": [2.0, 1.0, 4.0, 4.0, 6.0, 5.0]}
    psmiles = ["*CC*", "*CC(*)C", "*CC(*)Cl", "*CC(*)F", "*CCO*", "*CC(*)O"]
    pd.DataFrame({"psmiles": psmiles, **values}).to_csv(tmp_path / "toy.csv", index=False)
    return read_table(tmp_path / "toy.csv", [Property(name=name, unit="K") for name in values])


@pytest.fixture(autouse=True)
def _version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyml.__version__", "0.1.0")  # it is a part of what is checked here


def fingerprints(table: PolymerTable, spec: Compared, known: bool = False) -> list[str]:
    plan = make_plan(
        table, [spec], SPLIT, Path("out"), metrics=None, ratios=(), seed=1, protocol="honest", name=None, threads=1,
        factory=None, known_properties=known,
    )  # fmt: skip
    return [task.fingerprint for task in plan.tasks]


@pytest.mark.parametrize(
    ("spec", "known", "expected"),
    [
        (
            Compared("svm", params={"C": 10.0}), False,
            "d4a6892924aa4a4111f668a4f4f56eb51f9c9e4b789f3b79888c73beef7e1656",
        ),
        (
            Compared("dmpnn", params={"width": 16}), False,
            "07c944ed706198ab8fdf6c7922fd75a76d95fc3c08f871542654f687607092f5",
        ),
        (
            Compared("voting", params={"members": ["ridge", {"key": "gin", "width": 16}]}), False,
            "7daa0cdb4617bb5f2e0e3336ee0ceb8eec2be9bea3780d0a2ac0dd9c3cb41e99",
        ),
        (
            Compared("tuned", params={"base": "gin", "base_params": {"width": 16}, "trials": 3}), False,
            "1f98355ae70427a402ea0c295252df1d91c9921790156ab038f3439bddb85f8f",
        ),
        (Compared("ridge"), True, "93ca484c57acd09c154cfe60e271cc59153e893fd07bdea05a87891cf462f7c2"),
    ],
    ids=lambda value: value.key if isinstance(value, Compared) else "",
)  # fmt: skip
def test_folds_that_were_finished_before_encoders_counted_stay_valid(table, spec, known, expected) -> None:
    assert fingerprints(table, spec, known)[0] == expected


def test_a_study_without_an_encoder_has_the_basis_it_had(table: PolymerTable, tmp_path: Path) -> None:
    search(table, tmp_path / "out", "ridge", params={"features": "maccs"}, space=["alpha"])
    assert load(storage_url(None, tmp_path / "out"), "s", {}).user_attrs["polyml"] == {
        "model": "ridge",
        "set of fixed parameters": '{"features": "maccs"}',
        "set of data": "c7a772ed937ce248adc7d4d5429854d9cba0b4d3b104450e28eb66def2eb3d21",
        "search space": '{"alpha": {"high": 100.0, "log": true, "low": 0.001}}',
        "seed": 0,
        "number of inner folds": 2,
        "division into folds": "ca5790e61c452dce",
        "version of polyml": "0.1.0",
    }


def search(table: PolymerTable, folder: Path, key: str, **more: Any) -> None:
    tracker, settings = make_tracker("x", enabled=False), SearchSettings(trials=1, folds=2)
    tune(key, table, table.y, folder, tracker=tracker, settings=settings, study="s", **more)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    pytest.importorskip("torch")
    return write_encoder(tmp_path / "encoder", 1)


def write_encoder(folder: Path, seed: int) -> Path:
    from polyml.models.checks import TOY_POLYMERS
    from polyml.transfer.pretexts import PretrainSpec
    from polyml.transfer.pretrain import pretrain

    pretrain(TOY_POLYMERS, folder, PretrainSpec(encoder="gin", params=SIZE, epochs=1, batch_size=8, seed=seed))
    return folder


def test_a_comparison_with_an_encoder_that_was_overwritten_is_computed_anew(
    table: PolymerTable, encoder: Path, tmp_path: Path
) -> None:
    specs = [Compared("mean"), Compared("gin", params={"pretrained": str(encoder), "max_epochs": 1, **SIZE})]
    first = compare(table, specs, SPLIT, tmp_path / "out", jobs=1)
    write_encoder(encoder, 1)  # the same weights once more
    assert compare(table, specs, SPLIT, tmp_path / "out", jobs=1).reused == 4
    write_encoder(encoder, 2)
    again = compare(table, specs, SPLIT, tmp_path / "out", jobs=1)
    assert (again.reused, again.computed) == (2, 2)
    predicted = [found.predictions.query("model == 'gin'")["y_pred"] for found in (first, again)]
    assert not predicted[0].equals(predicted[1])


def test_an_encoder_inside_another_model_counts_too(table: PolymerTable, encoder: Path) -> None:
    gin = {"pretrained": str(encoder), **SIZE}
    specs = [
        (Compared("voting", params={"members": ["ridge", {"key": "gin", **gin}]}), "honest"),
        (Compared("tuned", params={"base": "gin", "base_params": gin, "trials": 3}), "honest"),
        (Compared("gin", params=gin), "completion"),
    ]
    before = [fingerprints(table, *item) for item in specs]
    assert [fingerprints(table, *item) for item in specs] == before
    write_encoder(encoder, 2)
    after = [fingerprints(table, *item) for item in specs]
    assert not {text for part in before for text in part} & {text for part in after for text in part}


def test_a_study_does_not_go_on_with_another_encoder(table: PolymerTable, encoder: Path, tmp_path: Path) -> None:
    params = {"pretrained": str(encoder), "max_epochs": 1, **SIZE}
    search(table, tmp_path / "out", "gin", params=params, space=["lr"])
    search(table, tmp_path / "out", "gin", params=params, space=["lr"], resume=True)
    write_encoder(encoder, 2)
    with pytest.raises(UserError, match="made with another content of pretrained encoders"):
        search(table, tmp_path / "out", "gin", params=params, space=["lr"], resume=True)


def recipe(models: list[Any], **train: Any) -> Recipe:
    return parse_recipe(
        {"name": "x", "data": {"source": "d.csv", "targets": ["Tg"]}, "compare": {"models": models}, "train": train}
    )


def test_stages_of_a_recipe_depend_on_the_content_of_its_encoders(encoder: Path) -> None:
    config = {stage.name: stage.config for stage in STAGES}
    plain = recipe(["mean", "gin"], model="gin", params=SIZE)
    assert not any("encoders" in config[name](plain) for name in ("compare", "train"))
    gin = {"pretrained": str(encoder), **SIZE}
    used = recipe(["mean", {"key": "gin", "params": gin, "tune": {"trials": 2}}], model="gin", params=gin)
    before = [config[name](used)["encoders"] for name in ("compare", "train")]
    write_encoder(encoder, 2)
    after = [config[name](used)["encoders"] for name in ("compare", "train")]
    assert all(old.keys() == new.keys() and old != new for old, new in zip(before, after, strict=True))


def test_an_encoder_without_weights_is_refused_before_anything_trains(table: PolymerTable, encoder: Path) -> None:
    (encoder / "encoder.safetensors").unlink()
    with pytest.raises(UserError, match="weights of the pretrained encoder cannot be read"):
        fingerprints(table, Compared("gin", params={"pretrained": str(encoder), **SIZE}))
