"""The model that tunes itself: what it hands on, what it keeps, and that it never sees a test value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyml.config import ModelSpec
from polyml.data import PolymerTable, Property, SplitSpec, make_folds, read_table
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.models.catalog import load_model, make_model
from polyml.models.checks import TOY_POLYMERS, toy_targets
from polyml.models.linear import RidgeModel
from polyml.tuning.model import TunedModel

TUNED = {"base": "ridge", "trials": 4, "folds": 3, "space": {"alpha": {"low": 0.001, "high": 100.0, "log": True}}}
SPLIT = SplitSpec(folds=2)


def test_the_choice_is_kept_on_disk(tmp_path: Path) -> None:
    model = make_model("tuned", **TUNED).fit(TOY_POLYMERS, toy_targets())
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert isinstance(again, TunedModel)
    assert again.best_params_ == model.best_params_ == {"alpha": model.model_.alpha}
    assert again.trials_ == model.trials_
    assert len(again.trials_) == 4
    assert (tmp_path / "m" / "model" / "model.json").is_file()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"base": "rigde"}, "did you mean 'ridge'"),
        ({"base": "tuned"}, "cannot be tuned again"),
        ({"base": "svm", "base_params": {"c": 3}}, "unknown parameter 'c'"),
        ({"base": "svm", "base_params": {"task": "classification"}}, "give it beside base"),
        ({"base": "svm", "space": {"gama": None}}, "did you mean 'gamma'"),
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"base": "mean"}, "declares no search space"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_trains(params: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_model("tuned", **params)


def test_a_recipe_wraps_the_model_and_keeps_its_parameters() -> None:
    spec = ModelSpec.model_validate(
        {"key": "svm", "params": {"C": 3.0}, "tune": {"trials": 5, "space": {"gamma": None}}}
    )
    wrapped = spec.wrapped()
    assert (wrapped.key, wrapped.label) == ("tuned", "svm_tuned")
    model = make_model(wrapped.key, **wrapped.params)
    assert (model.base, model.base_params, model.trials) == ("svm", {"C": 3.0}, 5)
    assert ModelSpec(key="svm").wrapped() == ModelSpec(key="svm")


def outer_train(table: PolymerTable) -> list[set[str]]:
    return [{table.psmiles[row] for row in fold.train} for fold in make_folds(table, SPLIT)]


def test_inner_models_see_polymers_of_the_training_part_alone(
    table: PolymerTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    fit, predict = RidgeModel.fit, RidgeModel.predict
    fit_all = TunedModel.fit

    def begin(self: Any, psmiles: Any, y: Any) -> Any:
        seen.append(set())
        return fit_all(self, psmiles, y)

    def watched_fit(self: Any, psmiles: Any, y: Any) -> Any:
        seen[-1] |= set(psmiles)
        return fit(self, psmiles, y)

    def watched_predict(self: Any, psmiles: Any) -> Any:
        if len(psmiles) < len(table) // 3:  # an inner test part; the outer one is half of the table
            seen[-1] |= set(psmiles)
        return predict(self, psmiles)

    monkeypatch.setattr(TunedModel, "fit", begin)
    monkeypatch.setattr(RidgeModel, "fit", watched_fit)
    monkeypatch.setattr(RidgeModel, "predict", watched_predict)
    results = compare(table, [Compared("tuned", params={**TUNED, "folds": 4})], SPLIT, tmp_path / "out", jobs=1)
    assert results.failures == {}
    assert seen == outer_train(table)


def test_values_of_the_test_part_change_nothing(csv: Path, table: PolymerTable, tmp_path: Path) -> None:
    first = make_folds(table, SPLIT)[0]
    tested = {table.psmiles[row] for row in first.test}
    frame = pd.read_csv(csv)
    rows = frame["psmiles"].isin(tested).to_numpy()
    values = frame.loc[rows, ["a", "b"]].to_numpy()
    frame.loc[rows, ["a", "b"]] = np.random.default_rng(0).permutation(values) * 3.0 + 5.0
    frame.to_csv(tmp_path / "shuffled.csv", index=False)
    other = read_table(tmp_path / "shuffled.csv", [Property(name="a"), Property(name="b")])
    spec = Compared("tuned", params=TUNED)
    one, two = (compare(t, [spec], SPLIT, tmp_path / n, jobs=1).predictions for t, n in ((table, "1"), (other, "2")))
    for fold, same in ((0, True), (1, False)):
        found = [
            part[part["fold"] == fold].set_index(["key", "property"])["y_pred"].sort_index() for part in (one, two)
        ]
        assert found[0].equals(found[1]) is same
