"""The ensemble of strong models: its budget, what it leaves out, and its spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polyml.errors import UserError
from polyml.evaluation.compared import Compared, as_completion
from polyml.models.best import MEMBERS, BestModel
from polyml.models.catalog import load_model, make_model
from polyml.models.limits import seconds

POLYMERS = [f"*{'C' * i}{tail}*" for i in range(1, 31) for tail in ("O", "N", "S")]
Y = np.array([len(text) + 2.0 * text.count("O") for text in POLYMERS])
QUICK = ({"key": "ridge"}, {"key": "gp", "features": "ecfp_count"}, {"key": "extra_trees", "n_estimators": 10})


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("90s", 90), ("5m", 300), ("1.5h", 5400), (" 2 MIN ", 120)])
def test_times_are_read(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["soon", "-5m", "0s", "5d", "", "5m 3s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no time"):
        make_model("best", budget=text)


def test_all_members_are_fitted_without_a_budget() -> None:
    model = BestModel(members=QUICK).fit(POLYMERS, Y)
    members = np.stack([member.predict(POLYMERS[:5]).ravel() for member in model.members_])
    assert model.chosen_ == (0, 1, 2)
    assert np.allclose(model.predict(POLYMERS[:5]), members.mean(axis=0))


def test_members_without_time_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("polyml.models.best._estimate", lambda model, *rest: 1e9 if model.key == "gp" else 0.0)
    with pytest.warns(UserWarning, match="left out, as a fit has 3.6e.03 s: gp .ecfp_count."):
        model = BestModel(members=QUICK, budget="1h").fit(POLYMERS, Y)
    assert model.chosen_ == (0, 2)
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.chosen_ == (0, 2)
    assert np.array_equal(loaded.predict(POLYMERS), model.predict(POLYMERS))


def test_calibration_shares_the_budget_among_its_fits() -> None:
    base = {"key": "best", "members": list(QUICK), "budget": "5m"}
    (inner,) = make_model("conformal", base=base, folds=5).inner_models()
    assert inner.get_params()["budget"] == 50.0


def test_calibration_takes_the_members_of_its_first_fit_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def estimate(model, *rest) -> float:  # type: ignore[no-untyped-def]
        asked.append(model.key)
        return 1e9 if model.key == "gp" and len(asked) < 3 else 0.0

    monkeypatch.setattr("polyml.models.best._estimate", estimate)
    base = {"key": "best", "members": list(QUICK), "budget": "5m"}
    with pytest.warns(UserWarning, match="as a fit has 75 s") as caught:
        model = make_model("conformal", base=base, folds=3).fit(POLYMERS, Y)
    assert asked == ["gp", "extra_trees"]  # those of the first fit alone
    assert model.models_[0].chosen_ == (0, 2)
    assert len([note for note in caught if "as a fit has" in str(note.message)]) == 1


def test_two_members_of_a_kind_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyml.models.best._estimate", lambda *rest: 1e9)
    members = ("ridge", {"key": "ridge", "features": ["ecfp_count", "descriptors"]}, {"key": "svm", "C": 2.0})
    with pytest.warns(UserWarning, match=r"ridge \(ecfp_count, descriptors\), svm$"):
        BestModel(members=members, budget="1h").fit(POLYMERS, Y)


def test_a_spent_budget_leaves_the_first_member() -> None:
    with pytest.warns(UserWarning, match="left out"):
        model = BestModel(members=QUICK, budget=1e-6).fit(POLYMERS, Y)
    assert [member.key for member in model.members_] == ["ridge"]


def test_the_variance_is_that_of_the_means_and_the_mean_of_the_variances() -> None:
    model = BestModel(members=QUICK[:2]).fit(POLYMERS, Y)
    ridge, gp = (member.predict_dist(POLYMERS[:7]) for member in model.members_)
    means = np.stack([ridge.mean, gp.mean])
    assert np.allclose(model.predict_dist(POLYMERS[:7]).std ** 2, means.var(axis=0) + gp.std**2)


def test_classes_are_learned_by_the_members_that_classify() -> None:
    labels = np.array(["oxygen" if "O" in text else "none" for text in POLYMERS])
    model = BestModel(members=QUICK, task="classification").fit(POLYMERS, labels)
    assert [member.key for member in model.members_] == ["ridge", "extra_trees"]
    assert (model.predict(POLYMERS) == labels).mean() > 0.9


def test_the_trial_measures_a_target_that_few_polymers_have() -> None:
    y = np.column_stack([Y, np.where(np.arange(len(Y)) < 5, Y, np.nan)])
    model = BestModel(members=({"key": "ridge"}, {"key": "svm"}), budget="10m").fit(POLYMERS, y)
    assert model.predict(POLYMERS[:3]).shape == (3, 2)
    assert model.chosen_ == (0, 1)


def test_the_members_of_the_catalog_are_different_kinds() -> None:
    made = BestModel()._make_members(0)
    assert len({member.family for member in made}) >= 4
    assert len(made) == len(MEMBERS)


def test_best_is_compared_as_the_completion_of_two_levels() -> None:
    assert as_completion(Compared("best")) == Compared("completion", "best", {"preset": "two_levels"})
    made = make_model("completion", preset="two_levels")
    assert made.get_params(deep=False)["base"]["key"] == "gp_coregional"
    limited = as_completion(Compared("best", params={"budget": "5m"}))
    assert limited.params == {"base": {"key": "best", "budget": "5m"}}
