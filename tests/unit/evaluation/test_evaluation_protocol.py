"""The stamp: honest unless test polymers are known to the models, paper where it was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from polyml.chem import RepeatUnit
from polyml.data.properties import Property
from polyml.data.splits import Fold, SplitSpec
from polyml.data.table import PolymerTable
from polyml.data.table_reader import read_table
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.evaluation.protocol import PROTOCOLS, TOLERATED, stamp
from polyml.models.catalog import make_model

KEYS = [f"key {n}" for n in range(400)]
TINY = {"max_epochs": 4, "patience": 4, "width": 8, "depth": 1, "features": ["ecfp_count"], "dropout": 0.0}


def folds_sharing(count: int) -> list[Fold]:
    return [Fold(0, 0, np.arange(200, 400), np.concatenate([np.arange(200), np.arange(200, 200 + count)]))]


def test_grouped_folds_are_honest():
    judged = stamp("honest", SplitSpec(), folds_sharing(0), KEYS)
    assert (judged.stamp, judged.reasons) == ("honest", ())
    assert judged.words == f"grouped by polymer; {PROTOCOLS['honest']}"


def test_a_few_shared_polymers_of_published_folds_are_counted_and_many_are_a_leak():
    few = int(200 * TOLERATED)
    judged = stamp("honest", SplitSpec(kind="rows"), folds_sharing(few), KEYS)
    assert judged.stamp == "honest"
    assert f"{few} of {200 + few} polymers on both sides of a fold; honest up to 1 %" in judged.words
    judged = stamp("honest", SplitSpec(kind="rows"), folds_sharing(20), KEYS)
    assert judged.stamp == "leaky"
    assert judged.reasons == ("20 of 220 tested polymers stand in the training part of the same fold",)
    assert PROTOCOLS["honest"] not in judged.words


def test_paper_is_stamped_and_never_hides_a_leak():
    assert stamp("paper", SplitSpec(kind="rows"), folds_sharing(0), KEYS).stamp == "paper"
    leaky = stamp("paper", SplitSpec(kind="rows"), folds_sharing(99), KEYS, leaks=["an encoder knows them"])
    assert leaky.stamp == "leaky"
    assert "an encoder knows them" in leaky.words
    assert PROTOCOLS["paper"] in leaky.words


@pytest.fixture
def table(tmp_path: Path) -> PolymerTable:
    rows = [f"*{'C' * n}{x}*,{n}" for n in range(1, 13) for x in ("O", "S")]
    (tmp_path / "data.csv").write_text("\n".join(["smiles,Tg", *rows]))
    return read_table(tmp_path / "data.csv", [Property(name="Tg")])


def test_a_network_that_watches_keeps_the_epoch_that_is_best_on_the_test_fold(table):
    train, test = np.arange(16), np.arange(16, 24)
    items, y = np.array(table.psmiles, dtype=object), table.y
    model = make_model("mlp", **TINY).fit_watching(list(items[train]), y[train], list(items[test]), y[test])
    losses = [row["val_loss"] for row in model.history_]
    assert all(np.isfinite(losses))
    # What is kept has, on the test polymers, the lowest of the losses.
    batch = model._inputs(list(items[test])).take(range(len(test)))
    with torch.inference_mode():
        kept = model.networks_[0].batch_loss(batch, torch.as_tensor(y[test], dtype=torch.float32))
    assert float(kept) == pytest.approx(min(losses), rel=1e-4)


def test_the_paper_protocol_reaches_the_folds_and_the_leaderboard(table, tmp_path):
    spec = [Compared("mlp", params=TINY)]
    honest = compare(table, spec, SplitSpec(folds=3), tmp_path / "out", jobs=1)
    paper = compare(table, spec, SplitSpec(folds=3), tmp_path / "out", jobs=1, protocol="paper")
    assert (list(honest.options["protocol"]), list(paper.options["protocol"])) == (["honest"], ["paper"])
    assert paper.reused == 0  # the folds of the honest one are not taken for these
    assert not np.allclose(honest.predictions["y_pred"], paper.predictions["y_pred"])


def test_models_without_epochs_are_the_same_under_both(table, tmp_path):
    runs = [
        compare(table, [Compared("ridge")], SplitSpec(folds=3), tmp_path / name, jobs=1, protocol=name)
        for name in PROTOCOLS
    ]
    assert np.array_equal(runs[0].predictions["y_pred"], runs[1].predictions["y_pred"])


def test_an_encoder_that_knows_tested_polymers_is_refused_or_stamped(table, tmp_path, monkeypatch):
    what = "the pretrained encoder 'enc' has learned Tg of 5 of the 24 polymers that are to be tested"

    def knows(names, tested, *, where, source):
        raise UserError(what, where=where, fix="pretrain it without them")

    monkeypatch.setattr("polyml.evaluation.plan.check_unseen", knows)
    with pytest.raises(UserError, match="has learned Tg"):
        compare(table, [Compared("ridge")], SplitSpec(folds=3), tmp_path / "refused", jobs=1)
    found = compare(table, [Compared("ridge")], SplitSpec(folds=3), tmp_path / "out", jobs=1, allow_leaks=True)
    assert list(found.options["protocol"]) == ["leaky"]
    assert found.options["leaks"] == [f"model 'ridge': {what}"]


def test_what_does_not_matter_is_for_the_user_to_say(table, tmp_path):
    specs = [Compared("ridge"), Compared("ridge", "stiffer", {"alpha": 1.2})]
    options = {"split": SplitSpec(kind="repeated_kfold", folds=3, repeats=3), "folder": tmp_path / "out", "jobs": 1}

    def verdict(rope: float) -> str:
        return str(compare(table, specs, rope=rope, **options).leaderboard()["against_best"].iloc[1])

    assert verdict(0.5) == "practically equal"
    assert verdict(1e-9) != "practically equal"
    with pytest.raises(UserError, match=r"rope=1\.5"):
        compare(table, specs, rope=1.5, **options)


def test_twins_in_training_are_a_leak():
    keys = [RepeatUnit.parse(text).key for text in ("*C/C=C/C*", "*C/C=C\\C*", "*CC*", "*CO*")]
    folds = [Fold(0, 0, np.array([1, 3]), np.array([0, 2]))]
    judged = stamp("honest", SplitSpec(kind="rows"), folds, keys)
    assert judged.stamp == "leaky"
    assert judged.reasons == ("1 of 2 tested polymers stands in the training part of the same fold",)
