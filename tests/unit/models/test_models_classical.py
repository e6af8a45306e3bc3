"""Models on tables of features: they are what scikit-learn and the boosting libraries fit on the same features."""

from __future__ import annotations

import importlib.util
import json
import warnings

import numpy as np
import pytest
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from polyml.errors import UserError
from polyml.features.batch import featurize
from polyml.models import load_model, make_model
from polyml.models.catalog import MODELS, model_class
from polyml.models.checks import TOY_POLYMERS, toy_labels, toy_targets
from polyml.models.scaling import signed_root
from polyml.models.tabular import informative_columns

FEATURES = ["ecfp_count", "descriptors"]
Y = toy_targets(missing=False)[:, 0]
CLASSICAL = (
    *("baselines", "cluster", "neighbours", "linear", "svm", "trees", "forests"),
    *("boosting", "boosting_lightgbm", "boosting_xgboost", "ensembles", "stacking"),
)


def features(min_polymers: int) -> np.ndarray:
    x = featurize(FEATURES, TOY_POLYMERS)
    return x[:, informative_columns(x, min_polymers)]


def scaled() -> np.ndarray:
    return StandardScaler().fit_transform(signed_root(features(5)))


def test_trees_are_those_of_sklearn():
    x = features(3)
    raw = {
        "decision_tree": DecisionTreeRegressor(min_samples_leaf=5, max_features=1.0, random_state=0),
        "bagging": BaggingRegressor(DecisionTreeRegressor(), 10, max_features=0.3, random_state=0),
        "adaboost": AdaBoostRegressor(
            DecisionTreeRegressor(max_depth=3, max_features=0.5), n_estimators=10, random_state=0
        ),
        "hist_gradient_boosting": HistGradientBoostingRegressor(
            max_iter=20, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=2, max_features=0.2,
            l2_regularization=1.0, random_state=0,
        ),
    }  # fmt: skip
    params = {"bagging": {"n_estimators": 10}, "adaboost": {"n_estimators": 10, "max_depth": 3, "max_features": 0.5}}
    for key, estimator in raw.items():
        model = make_model(key, **{**model_class(key).toy_params, **params.get(key, {})})
        found = model.fit(TOY_POLYMERS, Y).predict(TOY_POLYMERS)
        np.testing.assert_allclose(found, estimator.fit(x, Y).predict(x), atol=1e-9, err_msg=key)


def test_classifiers_are_those_of_sklearn():
    labels = ["oxygen" if "O" in text else "other" for text in TOY_POLYMERS]
    tree = make_model("decision_tree", task="classification").fit(TOY_POLYMERS, labels)
    raw = DecisionTreeClassifier(min_samples_leaf=5, random_state=0).fit(features(3), labels)
    np.testing.assert_allclose(tree.predict_proba(TOY_POLYMERS), raw.predict_proba(features(3)))
    forest = make_model("random_forest", task="classification", n_estimators=20).fit(TOY_POLYMERS, labels)
    grown = RandomForestClassifier(20, max_features=0.2, random_state=0).fit(features(3), labels)
    np.testing.assert_allclose(forest.predict_proba(TOY_POLYMERS), grown.predict_proba(features(3)))
    svm = make_model("svm", task="classification").fit(TOY_POLYMERS, labels)
    x = scaled()
    machine = SVC(C=5.0, gamma=0.3 / x.shape[1]).fit(x, labels)
    assert svm.predict(TOY_POLYMERS).tolist() == machine.predict(x).tolist()
    ridge = make_model("ridge", task="classification", alpha=0.5).fit(TOY_POLYMERS, labels)
    logistic = LogisticRegression(C=2 / x.shape[1], max_iter=2000).fit(x, labels)
    np.testing.assert_allclose(ridge.predict_proba(TOY_POLYMERS), logistic.predict_proba(x), atol=1e-3)


def test_lasso_is_that_of_sklearn():
    found = make_model("lasso", alpha=0.05).fit(TOY_POLYMERS, Y).predict(TOY_POLYMERS)
    raw = make_pipeline(StandardScaler(), Lasso(0.05, max_iter=20_000, tol=1e-3))
    raw.fit(scaled(), (Y - Y.mean()) / Y.std())
    np.testing.assert_allclose(found, raw.predict(scaled()) * Y.std() + Y.mean(), atol=5e-3)
    assert (make_model("lasso", alpha=0.2).fit(TOY_POLYMERS, Y).estimators_[0].regressor_[-1].coef_ != 0).sum() < 20


@pytest.mark.parametrize("key", ["ridge", "lasso", "elastic_net", "sgd", "svm_linear", "svm_poly"])
def test_linear_models_stay_in_range_far_from_the_training_polymers(key):
    giant = "*CC(*)" + "C(F)(F)" * 40 + "S(=O)(=O)O"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted = make_model(key).fit(TOY_POLYMERS, toy_targets()).predict([giant])
    assert np.abs(predicted).max() < 20


def test_losses_and_other_parameters_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match="unknown loss for regression 'hinge'"):
        make_model("sgd", loss="hinge")
    assert make_model("sgd", loss="hinge", task="classification").loss == "hinge"
    for key, params, message in (
        ("sgd", {"eta0": 0.0}, "eta0=0.0 is out of range"),
        ("gp_tanimoto", {"task": "classification"}, "no classification"),
        ("ridge", {"class_weight": "balanced"}, "need task='classification'"),
        ("kmeans", {"n_clusters": 0}, "at least 1"),
        ("dbscan", {"eps": 0.0}, "at least"),
        ("dbscan", {"min_samples": 0}, "at least 1"),
        ("ridge", {"alpha": 0.0, "task": "classification"}, "above zero"),
        ("lasso", {"alpha": 0, "task": "classification"}, "above zero"),
        ("sgd", {"loss": 1}, "a name"),
        ("gin", {"pretrained": 0}, "a name"),
        ("extra_trees", {"random_state": -1}, "random_state=-1 is out of range"),
        ("voting", {"members": ["svn"]}, "unknown model 'svn'"),
        ("voting", {"members": [3, 4]}, "3 is no model"),
        ("tuned", {"base": 3}, "a name"),
        # what the model never uses
        ("svm_linear", {"gamma": 1.0}, "gamma has no effect"),
        ("svm", {"epsilon": 0.3, "task": "classification"}, "epsilon has no effect"),
        ("ridge", {"targets": "separate", "task": "classification"}, "targets has no effect"),
    ):
        with pytest.raises(UserError, match=message):
            make_model(key, **params)


@pytest.mark.parametrize("key", ["extra_trees", "random_forest", "gradient_boosting", "decision_tree"])
def test_a_part_of_one_is_all_features_not_one_of_them(key):
    y = toy_targets(missing=False)[:, 0]
    whole, one = (make_model(key, max_features=part).fit(TOY_POLYMERS, y).predict(TOY_POLYMERS) for part in (1.0, 1))
    np.testing.assert_array_equal(whole, one)


def classifiers() -> list[str]:
    modules = {MODELS[key].split(":")[0].removeprefix("polyml.models."): key for key in MODELS}
    assert set(CLASSICAL) <= set(modules)
    return [
        key
        for key in MODELS
        if MODELS[key].split(":")[0].removeprefix("polyml.models.") in CLASSICAL
        and "classification" in model_class(key).tasks
    ]


@pytest.mark.parametrize("key", classifiers())
def test_class_weights_change_the_probabilities(key):
    rng = np.random.default_rng(1)
    labels = np.where(rng.random(len(TOY_POLYMERS)) < 0.3, "rare", "common")
    params = {"task": "classification", **model_class(key).toy_params}
    if key.startswith("svm"):
        params |= {"C": 0.05}  # without errors there is nothing to weigh
    if key == "adaboost":
        params |= {"max_depth": 1}
    parts = []
    for class_weight in (None, "balanced"):
        model = make_model(key, class_weight=class_weight, **params).fit(TOY_POLYMERS[:17], labels[:17])
        parts.append(model.predict_proba(TOY_POLYMERS[17:]))
    assert np.abs(parts[0] - parts[1]).max() > 1e-4


def test_frequencies_of_the_classes_are_the_baseline():
    model = make_model("mean", task="classification").fit(TOY_POLYMERS, toy_labels())
    labels = [label for label in toy_labels() if label]
    np.testing.assert_allclose(
        model.predict_proba(["*CC*"])[0], [labels.count(name) / len(labels) for name in ("aromatic", "other", "oxygen")]
    )
    even = make_model("mean", task="classification", class_weight="balanced").fit(TOY_POLYMERS, toy_labels())
    np.testing.assert_allclose(even.predict_proba(["*CC*"])[0], 1 / 3)


@pytest.mark.parametrize("key", ["decision_tree", "bagging", "adaboost", "gradient_boosting", "random_forest"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_damaged_tree_is_refused(key, task, tmp_path):
    y = toy_targets() if task == "regression" else toy_labels()
    model = make_model(key, **{**model_class(key).toy_params, "task": task}).fit(TOY_POLYMERS, y)
    tree = next(model._trees(model.estimators_[0]))[0]
    state = tree.__getstate__()
    state["nodes"]["feature"][0] = 10_000_000
    tree.__setstate__(state)
    model.save(tmp_path / "model")
    with pytest.raises(UserError, match="damaged"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("field", ["left", "feature_idx", "is_categorical"])
def test_a_damaged_tree_on_bins_is_refused(field, tmp_path):
    model = make_model("hist_gradient_boosting", max_iter=3, min_samples_leaf=2).fit(TOY_POLYMERS, toy_targets())
    model.estimators_[0]._predictors[1][0].nodes[field][0] = 200
    model.save(tmp_path / "model")
    with pytest.raises(UserError, match="damaged"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("field", ["left_child", "split_feature", "leaf_value", "num_leaves"])
def test_a_damaged_lightgbm_tree_is_refused(field, tmp_path):
    make_model("lightgbm", n_estimators=5, min_child_samples=2, ensemble=1).fit(TOY_POLYMERS, Y).save(tmp_path / "m")
    path = tmp_path / "m" / "booster_0_0.txt"
    lines = path.read_text().splitlines()
    at = next(row for row, line in enumerate(lines) if line.startswith(f"{field}="))
    lines[at] = f"{field}=70000 " + lines[at].split("=")[1].partition(" ")[2]
    lines[at] = lines[at] if field != "leaf_value" else f"{field}=1.0"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match="damaged"):
        load_model(tmp_path / "m")


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="XGBoost is an extra")
@pytest.mark.parametrize("field", ["left_children", "split_indices", "split_type", "split_conditions"])
def test_a_damaged_xgboost_tree_is_refused(field, tmp_path):
    make_model("xgboost", n_estimators=5).fit(TOY_POLYMERS, Y).save(tmp_path / "m")
    path = tmp_path / "m" / "booster_0.json"
    content = json.loads(path.read_text())
    tree = content["learner"]["gradient_booster"]["model"]["trees"][2]
    tree[field] = tree[field][:-1] if field == "split_conditions" else [70000, *tree[field][1:]]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="damaged"):
        load_model(tmp_path / "m")
    path.write_text("{}")
    with pytest.raises(UserError, match="cannot be read"):
        load_model(tmp_path / "m")


def test_a_missing_xgboost_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("polyml.models.boosting_xgboost.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'polyml-chem\[xgboost\]'"):
        make_model("xgboost")


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="XGBoost is an extra")
def test_xgboost_is_that_of_its_own_interface():
    import xgboost

    found = make_model("xgboost", n_estimators=10, subsample=1.0, colsample=1.0).fit(TOY_POLYMERS, Y)
    raw = xgboost.XGBRegressor(
        n_estimators=10, learning_rate=0.05, max_depth=5, subsample=1.0, colsample_bytree=1.0, random_state=0
    ).fit(features(3), Y)
    np.testing.assert_allclose(found.predict(TOY_POLYMERS), raw.predict(features(3)), atol=1e-5)


def test_quick_ways_through_trees_give_the_numbers_of_the_libraries():
    """Forests are summed tree by tree and boosters read sparse rows; neither may change a bit."""
    for features in ("ecfp_count", ["ecfp_count", "descriptors"]):
        for key in ("extra_trees", "random_forest", "lightgbm"):
            model = make_model(key, features=features, n_estimators=20).fit(TOY_POLYMERS, toy_targets())
            x = model._features_of(TOY_POLYMERS)
            assert x.flags.c_contiguous
            for estimator in model.estimators_:
                found = model._predict_target(estimator, x)
                if key == "lightgbm":
                    expected = np.mean([booster.predict(x) for booster in estimator.boosters], axis=0)
                else:
                    expected = estimator.predict(x)
                assert np.array_equal(found, expected), (features, key)
