from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline

from polyml.chem import RepeatUnit
from polyml.errors import UserError
from polyml.models import load_model, make_model
from polyml.models.checks import TOY_POLYMERS, toy_targets
from polyml.models.tabular import informative_columns


def test_cross_val_score_and_pipeline_work():
    y = toy_targets(missing=False)
    model = make_model("extra_trees", n_estimators=20)
    scores = cross_val_score(model, list(TOY_POLYMERS), y, cv=3, error_score="raise")
    assert scores.shape == (3,)
    piped = Pipeline([("model", model)]).fit(list(TOY_POLYMERS), y).predict(TOY_POLYMERS[:2])
    np.testing.assert_array_equal(piped, model.fit(TOY_POLYMERS, y).predict(TOY_POLYMERS[:2]))


def test_parsed_units_predict_the_same_as_strings():
    model = make_model("svm").fit(TOY_POLYMERS, toy_targets())
    units = [RepeatUnit.parse(text) for text in TOY_POLYMERS]
    np.testing.assert_allclose(model.predict(units), model.predict(TOY_POLYMERS), atol=1e-6)


def test_a_missing_value_is_masked_not_imputed():
    y = toy_targets(missing=False)[:, 0]
    with_gap = y.copy()
    with_gap[3] = np.nan
    rest = [row for row in range(len(y)) if row != 3]
    gap = make_model("extra_trees", n_estimators=10).fit(TOY_POLYMERS, with_gap)
    without = make_model("extra_trees", n_estimators=10).fit([TOY_POLYMERS[row] for row in rest], y[rest])
    # The columns kept may differ by those that only the row without a value has; the values learned from may not.
    assert gap.estimators_[0].n_features_in_ >= without.estimators_[0].n_features_in_
    assert max(tree.tree_.n_node_samples[0] for tree in gap.estimators_[0].estimators_) == len(rest)


def test_decorrelated_targets_predict_a_ratio_better():
    rng = np.random.default_rng(0)
    polymers = [f"*{'C' * n}O{'C' * m}*" for n in range(1, 9) for m in range(n, 9)] + [
        f"*{'C' * n}S{'C' * m}*" for n in range(1, 9) for m in range(n, 9)
    ]
    sulfur = np.array(["S" in text for text in polymers], dtype=float)
    noise = rng.normal(size=len(polymers))  # shared by both targets, it cancels in the ratio
    truth = np.column_stack([noise + 0.5 * sulfur, noise])
    y = np.where(rng.random(truth.shape) < 0.25, np.nan, truth)  # the two models learn from other polymers
    test = np.arange(0, len(polymers), 4)
    train = np.setdiff1d(np.arange(len(polymers)), test)
    errors = {}
    for targets in ("separate", "decorrelated"):
        model = make_model("extra_trees", n_estimators=30, targets=targets)
        predicted = model.fit([polymers[row] for row in train], y[train]).predict([polymers[row] for row in test])
        errors[targets] = np.abs((predicted[:, 0] - predicted[:, 1]) - 0.5 * sulfur[test]).mean()
    assert errors["decorrelated"] < 0.5 * errors["separate"]


def test_predict_before_fit_and_wrong_items_are_refused():
    with pytest.raises(NotFittedError):
        make_model("svm").predict(["*CC*"])
    with pytest.raises(UserError, match="row 1"):
        make_model("mean").fit(["*CC*", None], np.array([1.0, 2.0]))


def test_constant_target_and_two_rows_are_learned():
    for key in ("kmeans", "pca_ridge", "svm", "lightgbm", "extra_trees"):
        model = make_model(key).fit(["*CC*", "*CCO*"], np.array([2.0, 2.0]))
        np.testing.assert_allclose(model.predict(["*CC*", "*CC(C)O*"]), 2.0, atol=1e-6)


def test_informative_columns_follow_the_number_of_rows():
    x = np.zeros((100, 3))
    x[0, 1] = 1.0
    x[:6, 2] = 1.0
    assert informative_columns(x, 5).tolist() == [2]
    assert informative_columns(x, 1).tolist() == [1, 2]
    assert informative_columns(np.zeros((4, 2))).tolist() == [0]


def test_a_foreign_type_in_a_saved_model_is_refused(tmp_path):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    folder = tmp_path / "model"
    make_model("svm").fit(TOY_POLYMERS, toy_targets()).save(folder)
    skops.io.dump(FunctionTransformer(check_bad_type), folder / "estimator_0.skops")
    with pytest.raises(UserError, match="check_bad_type"):
        load_model(folder)


def check_bad_type(x: np.ndarray) -> np.ndarray:
    return x


def test_a_damaged_tree_is_refused(tmp_path):
    import skops.io

    folder = tmp_path / "model"
    model = make_model("extra_trees", n_estimators=3).fit(TOY_POLYMERS, toy_targets())
    tree = model.estimators_[0].estimators_[0].tree_
    state = tree.__getstate__()
    state["nodes"]["left_child"][0] = 10_000_000
    tree.__setstate__(state)
    model.save(folder)
    assert skops.io.get_untrusted_types(file=folder / "estimator_0.skops") == ["sklearn.tree._tree.Tree"]
    with pytest.raises(UserError, match="damaged"):
        load_model(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not readable as JSON"), ('{"format": 0}', "another format"), ("[]", "another format")],
)
def test_a_broken_card_is_refused(tmp_path, content, message):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_model(tmp_path)


def test_an_empty_folder_and_an_unsavable_parameter_are_refused(tmp_path):
    with pytest.raises(UserError, match="no model is saved here"):
        load_model(tmp_path)
    model = make_model("extra_trees", n_estimators=2, random_state=np.random.RandomState(0))
    with pytest.raises(UserError, match="random_state must be an integer"):
        model.fit(TOY_POLYMERS, toy_targets()).save(tmp_path / "model")
