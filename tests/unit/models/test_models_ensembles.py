from __future__ import annotations

import numpy as np
import pytest

from polyml.chem import RepeatUnit
from polyml.errors import UserError
from polyml.models import load_model, make_model
from polyml.models.baselines import MeanModel
from polyml.models.checks import TOY_POLYMERS, toy_labels, toy_targets
from polyml.models.stacking import _fit_sum, grouped_folds

QUICK = ("ridge", "knn")
NEW = ["*CC(*)CCC", "*OCCCCCC*"]


def test_voting_is_the_mean_of_its_members():
    y = toy_targets()
    model = make_model("voting", members=QUICK).fit(TOY_POLYMERS, y)
    parts = np.stack([make_model(key).fit(TOY_POLYMERS, y).predict(NEW) for key in QUICK])
    found = model.predict_dist(NEW)
    np.testing.assert_allclose(found.mean, parts.mean(axis=0))
    np.testing.assert_allclose(found.std, parts.std(axis=0, ddof=1))


def test_voting_averages_probabilities():
    model = make_model("voting", members=QUICK, task="classification").fit(TOY_POLYMERS, toy_labels())
    parts = [make_model(key, task="classification").fit(TOY_POLYMERS, toy_labels()).predict_proba(NEW) for key in QUICK]
    np.testing.assert_allclose(model.predict_proba(NEW), np.mean(parts, axis=0))


def test_members_take_parameters_and_seeds_of_their_own():
    trees = {"key": "extra_trees", "n_estimators": 5}
    model = make_model("voting", members=[trees, trees, {**trees, "random_state": 7}])
    first, second, third = model.fit(TOY_POLYMERS, toy_targets()).members_
    assert (first.n_estimators, third.random_state) == (5, 7)
    assert first.random_state != second.random_state
    again = make_model("voting", members=[trees, trees, trees], random_state=1).fit(TOY_POLYMERS, toy_targets())
    assert again.members_[0].random_state != first.random_state


def test_members_are_saved_in_folders_of_their_own(tmp_path):
    model = make_model("stacking", members=["ridge", {"key": "knn", "n_neighbors": 3}], folds=3)
    model.fit(TOY_POLYMERS, toy_targets()).save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir() if path.is_dir()) == ["member_0", "member_1"]
    again = load_model(tmp_path / "model")
    assert again.members_[1].n_neighbors == 3
    np.testing.assert_array_equal(again.predict(NEW), model.predict(NEW))


@pytest.mark.parametrize("key", ["voting", "stacking"])
def test_wrong_members_are_refused_before_anything_is_trained(key):
    for members, message in (
        (["ridge", "swm"], "did you mean 'svm'"),
        (["ridge", {"key": "svm", "c": 1.0}], "unknown parameter 'c'"),
        (["ridge", {"C": 1.0}], "is no model"),
        (["ridge"], "two members or more"),
        ("ridge", "two members or more"),
        (["ridge", {"key": "svm", "kernel": "tanimoto"}], "needs fingerprints"),
    ):
        with pytest.raises(UserError, match=message):
            make_model(key, members=members)
    with pytest.raises(UserError, match="no classification"):
        make_model(key, members=["ridge", "gp_tanimoto"], task="classification")


def test_a_polymer_never_stands_on_both_sides_of_a_fold(monkeypatch):
    polymers = [*TOY_POLYMERS, "*COC*", "*C(C)C*", "*CCO*"]  # other spellings of three
    keys = np.array([RepeatUnit.parse(text).key for text in polymers])
    y = np.concatenate([toy_targets(missing=False)[:, 0], [0.0, 1.0, 2.0]])
    seen: list[set[str]] = []
    fitted = MeanModel.fit

    def fit(self, psmiles, targets):
        seen.append({RepeatUnit.parse(text).key for text in psmiles})
        return fitted(self, psmiles, targets)

    held: list[set[str]] = []
    predicted = MeanModel.predict

    def predict(self, psmiles):
        held.append({RepeatUnit.parse(text).key for text in psmiles})
        return predicted(self, psmiles)

    monkeypatch.setattr(MeanModel, "fit", fit)
    monkeypatch.setattr(MeanModel, "predict", predict)
    make_model("stacking", members=["mean", "ridge"], folds=4).fit(polymers, y)
    assert len(seen) == 5  # four folds, then all
    assert all(not train & test for train, test in zip(seen, held, strict=False))
    assert set.union(*held) == set(keys)
    assert seen[-1] == set(keys)


def test_folds_keep_keys_together_and_share_out_the_strata():
    keys = [f"k{number // 2}" for number in range(40)]
    strata = np.repeat([0, 1], [20, 20])
    number = grouped_folds(keys, strata, 5, seed=3)
    assert all(number[row] == number[row + 1] for row in range(0, 40, 2))
    assert np.bincount(number[:20]).tolist() == np.bincount(number[20:]).tolist() == [4] * 5
    assert not np.array_equal(number, grouped_folds(keys, strata, 5, seed=4))


def test_the_second_level_finds_the_better_member():
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    parts = np.column_stack([y + rng.normal(size=200) * 0.1, rng.normal(size=200), -y])
    y[:5], parts[7, 1] = np.nan, np.nan  # rows that teach nothing
    weights, shift, std = _fit_sum(parts, y)
    assert weights[0] > 0.95
    assert weights[1] < 0.05
    assert weights[2] == 0
    assert abs(shift) < 0.05
    assert std == pytest.approx(0.1, abs=0.02)
    assert _fit_sum(parts[:4], np.arange(4.0))[0].tolist() == [1 / 3] * 3


def test_stacking_trusts_the_member_that_knows():
    y = toy_targets()
    model = make_model("stacking", members=["mean", "ridge"]).fit(TOY_POLYMERS, y)
    assert (model.weights_[1] > 0.5).all()
    assert model.predict_dist(NEW).std.shape == (2, 2)


def test_a_target_measured_once_is_stacked_too():
    y = toy_targets(missing=False)
    y[1:, 1] = np.nan
    predicted = make_model("stacking", members=QUICK).fit(TOY_POLYMERS, y).predict(NEW)
    np.testing.assert_allclose(predicted[:, 1], y[0, 1], atol=1e-6)


def test_a_class_with_one_polymer_is_stacked_too():
    labels = ["a"] * 11 + ["b"] * 11 + ["c"]
    model = make_model("stacking", members=("ridge", "mean"), task="classification").fit(TOY_POLYMERS, labels)
    assert model.predict_proba(NEW).shape == (2, 3)
    two = make_model("stacking", members=("ridge", "mean"), task="classification").fit(TOY_POLYMERS[:2], ["a", "b"])
    assert set(two.predict(NEW)) <= {"a", "b"}


def test_ensembles_of_ensembles_work():
    inner = {"key": "voting", "members": ["mean", "knn"]}
    model = make_model("stacking", members=["ridge", inner], folds=2).fit(TOY_POLYMERS, toy_targets())
    assert np.isfinite(model.predict(NEW)).all()
