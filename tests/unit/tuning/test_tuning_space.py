"""Which values a search may take."""

from __future__ import annotations

from itertools import product

import pytest

from polyml.errors import UserError
from polyml.tuning.space import make_space


def test_fixed_parameters_are_not_searched_and_names_pick_declared_ranges() -> None:
    assert list(make_space("svm", {"C": 3.0}).ranges) == ["epsilon", "gamma"]
    assert list(make_space("svm", {"task": "classification"}).ranges) == ["C", "gamma"]  # it has no epsilon
    chosen = make_space("svm", {}, ["gamma"])
    assert chosen.ranges["gamma"] == make_space("svm", {}).ranges["gamma"]
    assert list(chosen.ranges) == ["gamma"]


def test_a_grid_is_the_product_of_its_axes() -> None:
    space = make_space("svm", {}, {"C": {"low": 1, "high": 100, "log": True}, "kernel": ["rbf", "linear"]})
    found = [tuple(point.values()) for point in space.grid(7)]
    assert sorted(found) == sorted(product((1, 10, 100), ("rbf", "linear")))
    with pytest.raises(UserError, match="has 4 points"):
        space.grid(3)


def test_values_that_are_no_plain_ones_are_stored_by_their_place() -> None:
    space = make_space("svm", {"kernel": "rbf"}, {"features": [["maccs"], ["ecfp_count", "descriptors"]]})
    assert space.first() == {"features": 1}
    assert space.grid(5) == [{"features": 0}, {"features": 1}]
    assert space.decode({"features": 0}) == {"features": ["maccs"]}


def test_defaults_outside_of_a_users_range_move_to_its_end_and_of_a_declared_one_stay() -> None:
    assert make_space("svm", {}, {"C": {"low": 10.0, "high": 20.0}}).first() == {"C": 10.0}
    assert make_space("svm", {}, {"kernel": ["linear", "poly"]}).first() == {}
    ridge = make_space("ridge", {})
    assert (ridge.first(), ridge.outside) == ({}, {"alpha": None})


@pytest.mark.parametrize(
    ("key", "params", "given", "words"),
    [
        ("svmm", {}, None, "did you mean 'svm'"),
        ("svm", {}, {"gama": None}, "did you mean 'gamma'"),
        ("svm", {}, ["kernel"], "declares no range for 'kernel'"),
        ("svm", {"C": 1.0}, {"C": None}, "fixed and searched"),
        ("svm", {}, {"C": {"low": 3}}, "no range"),
        ("svm", {}, {"C": {"low": 3, "high": 1}}, "empty"),
        ("mean", {}, None, "declares no search space"),
    ],
)
def test_what_cannot_be_searched_is_refused(key: str, params: dict, given: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_space(key, params, given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("svm", {"kernel": ["rbf", "foo"]}, r"kernel='foo': unknown kernel"),
        ("svm", {"C": [-1.0, 2.0]}, "C=-1.0"),
        ("gps", {"width": [64, 66]}, "width=66"),
        ("mlp", {"optimizer": ["adam", "foo"]}, "optimizer='foo'"),
        ("mlp", {"dropout": {"low": 0.0, "high": 3.0}}, "dropout=3.0"),
    ],
)
def test_values_that_no_model_takes_are_refused_before_a_search(key, given, message):
    with pytest.raises(UserError, match=message):
        make_space(key, {}, given)


def test_values_that_go_together_with_some_others_are_taken():
    space = make_space("mlp", {}, {"optimizer": ["adam", "sgd"], "momentum": [0.5, 0.9]})
    assert list(space.ranges) == ["optimizer", "momentum"]


def test_only_a_trial_of_the_defaults_is_called_so():
    assert make_space("svm", {}, {"C": {"low": 1.0, "high": 20.0}}).holds_defaults
    assert not make_space("svm", {}, {"C": {"low": 10.0, "high": 20.0}}).holds_defaults
    assert make_space(
        "ridge", {}
    ).holds_defaults  # its own range lacks the default, and its trial takes it all the same
