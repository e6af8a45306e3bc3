"""The search itself: folds, scores, samplers, pruning, failures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from polyml.chem import ensure_units
from polyml.errors import UserError
from polyml.models.checks import TOY_POLYMERS, toy_labels, toy_targets
from polyml.tuning import SearchSettings, search
from polyml.tuning.inner import inner_folds, make_problem
from polyml.tuning.samplers import quiet_optuna
from polyml.tuning.search import make_parts, run_trials
from polyml.tuning.trials import SearchResult, collect


def find(sampler: str = "tpe", trials: int = 6, **more: Any) -> SearchResult:
    settings = SearchSettings(trials=trials, sampler=sampler, folds=3, **more.pop("settings", {}))
    return search(more.pop("key", "svm"), TOY_POLYMERS, more.pop("y", toy_targets()), settings=settings, **more)


def drawn(found: SearchResult) -> list[tuple[str, dict[str, Any], tuple[float, ...]]]:
    return [(trial.state, trial.params, trial.scores) for trial in found.trials]


def test_spellings_of_a_polymer_fall_into_one_fold_and_strata_into_all() -> None:
    texts = ["*OCC*", "*COC*", *TOY_POLYMERS[:8]]
    keys = [unit.key for unit in ensure_units(texts)]
    for fold in inner_folds(keys, ["a"] * 4 + ["b"] * 6, 3, repeats=2, seed=3):
        assert not {keys[i] for i in fold.train} & {keys[i] for i in fold.test}
        assert {i >= 4 for i in fold.test} == {True, False}
    assert len(inner_folds(keys, ["a"] * 10, None)) == 9
    with pytest.raises(UserError, match="20 inner folds"):
        inner_folds(keys, ["a"] * 10, 20)


def test_targets_count_alike_whatever_their_unit() -> None:
    y = toy_targets()
    scaled = search("ridge", TOY_POLYMERS, y * [1.0, 1000.0], settings=SearchSettings(trials=1, folds=3))
    plain = search("ridge", TOY_POLYMERS, y, settings=SearchSettings(trials=1, folds=3))
    assert scaled.best.score == pytest.approx(plain.best.score, abs=1e-6)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_samplers_begin_with_the_defaults_and_follow_the_seed(sampler: str) -> None:
    found = find(sampler, space=["C", "gamma"], settings={"seed": 3, "pruner": "none"})
    assert [trial.state for trial in found.trials] == ["complete"] * 6
    assert found.trials[0].params == {"C": 5.0, "gamma": 0.3}
    assert found.trials[0] == found.defaults
    assert found.best.score >= found.trials[0].score
    assert len({trial.params["C"] for trial in found.trials}) == 6
    assert drawn(find(sampler, space=["C", "gamma"], settings={"seed": 3, "pruner": "none"})) == drawn(found)
    other = find(sampler, trials=2, space=["C", "gamma"], settings={"seed": 4, "pruner": "none"})
    assert other.trials[1].params != found.trials[1].params


def test_a_grid_is_the_defaults_and_exactly_the_product() -> None:
    space = {"C": [1.0, 5.0, 100.0], "kernel": ["rbf", "linear"]}
    found = find("grid", trials=30, space=space)
    assert found.trials[0].defaults
    assert found.trials[0].params == {"C": 5.0, "kernel": "rbf"}
    points = [(trial.params["C"], trial.params["kernel"]) for trial in found.trials]
    assert sorted(points) == sorted((c, k) for c in space["C"] for k in space["kernel"])


def test_a_first_trial_that_is_not_the_defaults_is_not_called_so() -> None:
    found = find("grid", trials=30, space={"C": [1.0, 10.0], "kernel": ["rbf", "linear"]})
    assert found.defaults is None
    assert not any(trial.defaults for trial in found.trials)


def test_defaults_that_no_range_contains_take_part_and_may_win() -> None:
    found = find(key="ridge", trials=5, space=["alpha"])
    assert found.defaults is not None
    assert found.defaults.params == {"alpha": None}
    assert all(trial.params["alpha"] is not None for trial in found.trials[1:])
    assert "alpha" in found.best_params


def test_a_hopeless_trial_is_pruned() -> None:
    import optuna

    settings = SearchSettings(trials=7, folds=6)
    space = {"C": {"low": 1e-9, "high": 100.0, "log": True}}
    data = {"params": {}, "space": space, "folds": 6, "repeats": 1, "seed": 0}
    problem = make_problem("svm", TOY_POLYMERS, toy_targets(), **data)
    with quiet_optuna():
        study = optuna.create_study(study_name="search", direction="maximize", **make_parts(settings, 6))
        for value in (5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 1e-9):
            study.enqueue_trial({"C": value})
        run_trials(study, problem, settings)
        found = collect(study, problem)
    assert [trial.state for trial in found.trials[:5]] == ["complete"] * 5
    assert found.trials[6].state == "pruned"
    assert len(found.trials[6].scores) < 6
    assert found.best.number != 6


@pytest.fixture
def broken_poly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fit fail with one of the kernels."""
    from polyml.models.svm import SupportVectorModel

    honest = SupportVectorModel.fit

    def fit(self: Any, psmiles: Any, y: Any) -> Any:
        if self.kernel == "poly":
            raise UserError("the poly kernel is out of order", fix="take another")
        return honest(self, psmiles, y)

    monkeypatch.setattr(SupportVectorModel, "fit", fit)


@pytest.mark.usefixtures("broken_poly")
def test_a_trial_whose_model_raises_is_a_failed_one() -> None:
    found = find("grid", trials=9, space={"kernel": ["rbf", "poly", "linear"]})
    states = {trial.params["kernel"]: trial.state for trial in found.trials}
    assert states == {"rbf": "complete", "poly": "failed", "linear": "complete"}
    assert "out of order" in next(trial.error for trial in found.trials if trial.state == "failed")
    with pytest.raises(UserError, match=r"all 5 trials failed; the first: .*out of order"):
        find("random", trials=50, space={"kernel": ["poly"]})


def test_classes_are_scored_by_balanced_accuracy() -> None:
    found = find(y=toy_labels(), params={"task": "classification"}, space=["C"], trials=3)
    assert found.problem.metric == "balanced accuracy"
    assert 0.5 < found.best.score <= 1.0


def test_ctrl_c_is_not_taken_for_a_failed_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    from polyml.models.svm import SupportVectorModel

    def stop(self: Any, psmiles: Any, y: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SupportVectorModel, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        find()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"pruner": "mediam"}, "did you mean 'median'"),
        ({"sampler": "gp", "pruner": "median"}, "learns nothing from pruned"),
        ({"trials": 0}, "trials=0"),
        ({"folds": 1}, "folds=1"),
        ({"sampler": "grid", "trials": 3}, "has 8 points"),
        ({"folds": 24}, "24 inner folds"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        search("svm", TOY_POLYMERS, toy_targets(), settings=SearchSettings(**settings))


def test_constant_targets_are_refused() -> None:
    with pytest.raises(UserError, match="constant"):
        search("svm", TOY_POLYMERS, np.ones(len(TOY_POLYMERS)))


@pytest.mark.usefixtures("broken_poly")
def test_optuna_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    found = find("grid", trials=9, space={"kernel": ["rbf", "poly"]})
    assert math.isfinite(found.best.score)
    assert capfd.readouterr() == ("", "")
