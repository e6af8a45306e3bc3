"""Encoders that have learned labels: which polymers these were, and where such encoders are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from polyml.benchmark import Suite, run_suite
from polyml.chem import canonicalize
from polyml.cli.main import app
from polyml.data import PolymerTable, Property, read_structures, read_table
from polyml.data.sample import SampleSpec
from polyml.data.splits import SplitSpec
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.evaluation.learning_curve import learning_curve
from polyml.models.catalog import make_model
from polyml.models.checks import TOY_POLYMERS, toy_targets
from polyml.models.pretrained import WITHOUT_LABELS, encoders_of, polymer_mark, read_encoder_card, read_labelled
from polyml.sections import parse_document
from polyml.tracking import make_tracker
from polyml.transfer.pretexts import PRETEXTS, PretrainSpec
from polyml.transfer.pretrain import polymer_digest, pretrain
from polyml.tuning import SearchSettings
from polyml.tuning.tune import tune

pytest.importorskip("torch")

SIZE = {"width": 16, "depth": 2}
SHORT = {**SIZE, "max_epochs": 1, "batch_size": 8}
BY_LABELS = PretrainSpec(encoder="gin", pretext="property", params=SIZE, epochs=1, batch_size=8)
OTHERS = ["*" + "C" * n + "OC(=O)*" for n in range(1, 13)]
"""Polymers that are not among the toy ones."""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an encoder that has learned a property of all toy polymers but the first."""
    folder = tmp_path_factory.mktemp("encoders") / "learned"
    y = np.sin(np.arange(len(TOY_POLYMERS)))[:, None]
    y[0] = np.nan
    pretrain(TOY_POLYMERS, folder, BY_LABELS, y=y, properties=["Egc"], data={"source": "toy"})
    return folder


@pytest.fixture
def make_table(tmp_path: Path) -> Callable[..., PolymerTable]:
    def make(psmiles: list[str]) -> PolymerTable:
        path = tmp_path / "tg.csv"
        frame = pd.DataFrame({"psmiles": psmiles, "Tg": np.arange(len(psmiles), dtype=float)})
        frame.assign(Tm=frame["Tg"] * 2).to_csv(path, index=False)
        return read_table(path, [Property(name="Tg"), Property(name="Tm")])

    return make


def test_the_folder_keeps_which_polymers_had_labels(learned: Path, tmp_path: Path) -> None:
    card = read_encoder_card(learned)
    assert card["labels"]["properties"] == ["Egc"]
    assert card["labels"]["polymers"] == len(TOY_POLYMERS) - 1
    assert "other" not in card["task"]
    marks = {polymer_mark(canonicalize(text)) for text in TOY_POLYMERS}
    assert read_labelled(learned) == marks - {polymer_mark(canonicalize(TOY_POLYMERS[0]))}
    again = Path(shutil.copytree(learned, tmp_path / "again"))
    pretrain(TOY_POLYMERS, again, PretrainSpec(encoder="gin", params=SIZE, epochs=1, batch_size=8))
    assert {path.name for path in again.iterdir()} == {"card.json", "encoder.safetensors"}
    assert read_labelled(again) == frozenset()
    assert "labels" not in read_encoder_card(again)


def test_a_property_without_values_is_refused(tmp_path: Path) -> None:
    y = toy_targets()[:, :2].copy()
    y[:, 1] = np.nan
    with pytest.raises(UserError, match="no polymer has a value of 'Egb'"):
        pretrain(TOY_POLYMERS, tmp_path / "encoder", BY_LABELS, y=y, properties=["Egc", "Egb"])


def test_every_other_pretext_task_reads_structures_alone() -> None:
    assert set(PRETEXTS) - {"property"} == set(WITHOUT_LABELS)
    assert read_labelled("foundation") == frozenset()


def nested(encoder: Path) -> dict[str, Compared]:
    """Return models that start from an encoder, or may."""
    gin = {"key": "gin", "pretrained": str(encoder), **SHORT}
    own = {name: value for name, value in gin.items() if name != "key"}
    return {
        "gin": Compared("gin", params=own),
        "voting": Compared("voting", params={"members": ["ridge", gin]}),
        "stacking": Compared("stacking", params={"members": ["ridge", {"key": "voting", "members": ["ridge", gin]}]}),
        "completion": Compared("completion", params={"base": gin}),
        "tuned": Compared("tuned", params={"base": "gin", "base_params": own, "trials": 2}),
        "space": Compared(
            "tuned",
            params={
                "base": "gin", "base_params": SHORT, "trials": 2,
                "space": {"pretrained": [str(encoder)]},
            },
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", nested(Path()))
def test_a_comparison_that_would_test_them_is_refused(
    name: str, learned: Path, make_table: Callable[..., PolymerTable], tmp_path: Path
) -> None:
    spec = nested(learned)[name]
    assert str(learned) in encoders_of(make_model(spec.key, **spec.params))
    # Another property, and two units in place of one: it is the polymer that counts. The first one had no label.
    assert canonicalize("*CC(C)CC(C)*") == canonicalize(TOY_POLYMERS[1])
    table = make_table([*OTHERS, TOY_POLYMERS[0], "*CC(C)CC(C)*"])
    message = rf"learned Egc of 1 of the {len(OTHERS) + 2} polymers(.|\n)*--without .*tg\.csv"
    with pytest.raises(UserError, match=message):
        compare(table, [Compared("mean"), spec], SplitSpec(folds=3), tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_other_polymers_are_tested_and_training_is_free(
    learned: Path, make_table: Callable[..., PolymerTable], tmp_path: Path
) -> None:
    table = make_table([*OTHERS, TOY_POLYMERS[0]])  # the first one had no label
    spec = Compared("gin", params={"pretrained": str(learned), **SHORT})
    results = compare(table, [spec], SplitSpec(folds=2), tmp_path / "out", jobs=1)
    assert not results.failures
    model = make_model("gin", **spec.params).fit(TOY_POLYMERS, toy_targets())
    assert np.isfinite(model.predict(TOY_POLYMERS)).all()


def test_curves_searches_and_suites_are_refused_too(
    learned: Path, make_table: Callable[..., PolymerTable], tmp_path: Path
) -> None:
    table, params, out = make_table(TOY_POLYMERS), {"pretrained": str(learned), **SHORT}, tmp_path / "out"
    with pytest.raises(UserError, match="learned Egc"):
        learning_curve(table, [Compared("mean"), Compared("gin", params=params)], SplitSpec(folds=2), out, jobs=1)
    searches: list[dict[str, Any]] = [
        {"params": params, "space": ["lr"]},
        {"params": SHORT, "space": {"pretrained": [str(learned)]}},
    ]
    for search in searches:
        settings = SearchSettings(trials=1, folds=2)
        with pytest.raises(UserError, match="learned Egc"):
            tune("gin", table, table.y, out, tracker=make_tracker("x", enabled=False), settings=settings, **search)
    # The comparison that is refused comes last, and nothing trains before.
    make_table(OTHERS).frame[["psmiles", "Tg"]].to_csv(tmp_path / "others.csv", index=False)
    table.frame[["psmiles", "Tg"]].to_csv(tmp_path / "toy.csv", index=False)
    comparison = {"title": "One", "split": {"folds": 2}, "models": ["mean"], "reference": "mean"}
    tree = {
        "name": "two",
        "title": "Two",
        "sets": [{"name": name, "files": [f"{name}.csv"], "targets": ["Tg"]} for name in ("others", "toy")],
        "comparisons": [
            {"name": "free", "sets": ["others"], **comparison},
            {"name": "leaky", "sets": ["toy"], **comparison, "models": ["mean", {"key": "gin", "params": params}]},
        ],
    }
    with pytest.raises(UserError, match="learned Egc"):
        run_suite(parse_document(Suite, tree, where="suite", kind="suite"), tmp_path, out, jobs=1)
    assert not out.exists()


@pytest.mark.parametrize("fault", ["old", "lost", "changed"])
def test_an_encoder_whose_list_is_missing_or_wrong_is_not_scored(
    fault: str, learned: Path, make_table: Callable[..., PolymerTable], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(learned, tmp_path / "encoder"))
    if fault == "changed":
        marks = (folder / "labelled.txt").read_text().splitlines()
        (folder / "labelled.txt").write_text("\n".join(marks[1:]) + "\n")
    else:
        (folder / "labelled.txt").unlink()
    if fault == "old":  # as polyml wrote it before there was a list
        card = json.loads((folder / "card.json").read_text())
        del card["labels"]
        (folder / "card.json").write_text(json.dumps(card))
    spec = Compared("gin", params={"pretrained": str(folder), **SHORT})
    with pytest.raises(UserError, match=r"labelled.txt: .*list of these polymers(.|\n)*pretrain the encoder anew"):
        compare(make_table(OTHERS), [spec], SplitSpec(folds=2), tmp_path / "out", jobs=1)
    make_model("gin", **spec.params).fit(TOY_POLYMERS, toy_targets())


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_pretraining_without_a_file_makes_the_comparison_possible(
    make_table: Callable[..., PolymerTable], workdir: Path
) -> None:
    make_table(["*CCCC*", *OTHERS[1:]]).frame[["psmiles", "Tg"]].to_csv("tg.csv", index=False)
    frame = pd.DataFrame({"polymer": [*TOY_POLYMERS, *OTHERS], "Egc": 1.0})
    frame.assign(Egc=np.sin(np.arange(len(frame)))).to_csv("gaps.csv", index=False)
    pretrained = ("pretrain", "gaps.csv", "--pretext", "property", "-t", "Egc", "--smiles-column", "polymer")
    options = ("--encoder", "gin", "--param", "width=16", "--param", "depth=2", "--epochs", "1", "--no-track")
    params = {**SHORT, "pretrained": "encoder"}
    compared = (
        "compare", "tg.csv", "-t", "Tg", "--models", "gin", "--folds", "2", "--jobs", "1", "--no-track", "-o", "out",
        *(part for name, value in params.items() for part in ("--param", f"{name}={value}")),
    )  # fmt: skip
    run(*pretrained, *options, "-o", "encoder")
    refused = run(*compared, code=2)
    assert f"learned Egc of {len(OTHERS)} of the {len(OTHERS)} polymers" in refused
    assert "polyml pretrain ... --without tg.csv" in refused
    told = run(*pretrained, *options, "--without", "tg.csv", "-o", "encoder")
    assert f"{len(OTHERS)} of them left out" in told
    card = read_encoder_card("encoder")
    assert card["data"]["without"] == ["tg.csv"]
    assert card["data"]["polymers"] == card["labels"]["polymers"] == len(frame) - len(OTHERS)
    run(*compared)


def test_files_are_left_out_of_pretraining_without_labels_too(workdir: Path) -> None:
    pd.DataFrame({"psmiles": TOY_POLYMERS}).to_csv("toy.csv", index=False)
    pd.DataFrame({"psmiles": TOY_POLYMERS[:2]}).to_csv("a.csv", index=False)
    pd.DataFrame({"psmiles": [*TOY_POLYMERS[1:3], "no polymer"]}).to_csv("b.csv", index=False)
    options = ("--encoder", "gin", "--param", "width=16", "--epochs", "1", "--no-track", "-o", "encoder")
    run("pretrain", "toy.csv", *options, "--without", "a.csv", "--without", "b.csv")
    assert read_encoder_card("encoder")["data"]["polymers"] == len(TOY_POLYMERS) - 3
    refused = run("pretrain", "toy.csv", *options, "--without", "nothing.csv", code=2)
    assert "there is no such file" in refused
    refused = run("pretrain", "toy.csv", *options, "--without", "toy.csv", code=2)
    assert "0 polymers are too few" in refused


def test_the_card_tells_how_the_rows_were_drawn_and_the_reports_what_became_of_them(workdir: Path) -> None:
    frame = pd.DataFrame({"psmiles": [*TOY_POLYMERS, TOY_POLYMERS[0], "*CC", "no polymer"], "family": "toy"})
    frame.to_csv("toy.csv", index=False)
    options = ("--encoder", "gin", "--param", "width=16", "--epochs", "1", "--no-track", "--seed", "3")
    told = run("pretrain", "toy.csv", *options, "--per-class", "99", "--class", "family", "-o", "encoder")
    assert "2 rows or values not used: " in told
    data = read_encoder_card("encoder")["data"]
    assert data["sample"] == {"per_class": 99, "class_column": "family", "seed": 3}
    assert data["polymers"] == len(TOY_POLYMERS)
    assert sorted(pd.read_csv("encoder/rejects.csv")["line"]) == [len(TOY_POLYMERS) + 3, len(TOY_POLYMERS) + 4]
    assert list(pd.read_csv("encoder/duplicates.csv")["count"]) == [2]
    for wrong, message in (
        (("--class", "family"), "how many rows of each class"),
        (("--per-class", "9"), "name the column of the classes"),
        (("--per-class", "9", "--class", "famly"), "family"),
    ):
        assert message in run("pretrain", "toy.csv", *options, *wrong, "-o", "other", code=2)


@pytest.mark.slow
def test_the_polymers_of_the_encoder_that_comes_with_polyml_can_be_drawn_again() -> None:
    data = read_encoder_card("foundation")["data"]
    table = read_structures(data["source"], sample=SampleSpec(**data["sample"]))
    assert polymer_digest(table.psmiles) == data["digest"]


def test_an_encoder_is_replaced_whole_or_not_at_all(learned: Path, tmp_path: Path, monkeypatch) -> None:
    folder = Path(shutil.copytree(learned, tmp_path / "encoder"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("polyml.transfer.pretrain.write_json", full)
    with pytest.raises(UserError, match="cannot write the encoder: No space left"):
        pretrain(TOY_POLYMERS, folder, PretrainSpec(encoder="gin", params=SIZE, epochs=1, batch_size=8))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]
