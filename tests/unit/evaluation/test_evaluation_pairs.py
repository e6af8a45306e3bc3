from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import r2_score

from polyml.evaluation.bootstrap import pool_scores
from polyml.evaluation.metrics import MEAN
from polyml.evaluation.pairs import add_bootstrap, add_wilcoxon, fold_scores, paired_tests, polymer_errors
from polyml.evaluation.stats import corrected_resampled_ttest, holm


def _scores(values: dict[tuple[str, str], list[float]], metric: str = "rmse") -> pd.DataFrame:
    rows = [
        {"model": model, "property": prop, "repeat": 0, "fold": i, "metric": metric, "score": value}
        for (model, prop), column in values.items()
        for i, value in enumerate(column)
    ]
    return pd.DataFrame(rows).assign(n_train=80, n_test=20)


def test_paired_tests_name_the_better_model_by_direction() -> None:
    values = {("a", "x"): [0.1, 0.2, 0.3], ("b", "x"): [0.3, 0.5, 0.4]}
    rmse = paired_tests(_scores(values), ["a", "b"], {})
    assert list(rmse["better"]) == ["a"]
    assert rmse["difference"].iloc[0] == pytest.approx(-0.2)
    r2 = paired_tests(_scores(values, "r2"), ["a", "b"], {})
    assert list(r2["better"]) == ["b"]
    direct = corrected_resampled_ttest([-0.2, -0.3, -0.1], 0.25)
    assert rmse["p"].iloc[0] == pytest.approx(direct.p)


def test_the_mean_over_properties_is_tested_too_and_holm_counts_the_pairs() -> None:
    rng = np.random.default_rng(0)
    values = {(m, prop): list(rng.normal(i, 0.3, 5)) for i, m in enumerate("abc") for prop in ("x", "y")}
    table = paired_tests(_scores(values), list("abc"), {"rmse": {"x": 0.5, "y": 0.5}})
    assert len(table) == 3 * 3
    mean = table[(table["property"] == MEAN) & (table["model_a"] == "a") & (table["model_b"] == "b")].iloc[0]
    by_hand = (np.array(values["a", "x"]) + values["a", "y"] - np.array(values["b", "x"]) - values["b", "y"]) / 2
    assert mean["p"] == pytest.approx(corrected_resampled_ttest(by_hand, 0.25).p)
    part = table[table["property"] == "x"]
    assert part["p_holm"].to_numpy() == pytest.approx(holm(part["p"].to_numpy()))
    assert (part["p_holm"] >= part["p"]).all()


def test_a_fold_without_a_score_of_one_property_leaves_the_mean_out() -> None:
    values = {("a", "x"): [1.0, 2.0, 3.5], ("a", "y"): [1.0, np.nan, 3.0]}
    values |= {("b", "x"): [2.0, 2.5, 3.0], ("b", "y"): [2.0, 2.0, 3.0]}
    table = paired_tests(_scores(values), ["a", "b"], {"rmse": {"x": 0.5, "y": 0.5}}).set_index("property")
    assert table.loc[MEAN, "folds"] == 2
    assert table.loc["x", "folds"] == 3


def test_no_models_give_an_empty_table_with_columns() -> None:
    table = paired_tests(_scores({("a", "x"): [1.0, 2.0]}), ["a"], {})
    assert len(table) == 0
    assert "p_holm" in table.columns


def test_every_model_is_tested_against_the_best_and_holm_counts_these_tests() -> None:
    rng = np.random.default_rng(1)
    models = list("abcdefgh")
    scores = _scores({(m, "x"): list(rng.normal(i, 0.5, 5)) for i, m in enumerate(models)})
    table = paired_tests(scores, models, {}, top=3)
    assert len(table) == 3 + 5  # the pairs of a, b, c; a against d to h
    against = table[table["model_a"] == "a"]
    assert list(against["model_b"]) == models[1:]
    assert against["p_holm_best"].to_numpy() == pytest.approx(holm(against["p"].to_numpy()))
    among = table[table["model_b"].isin(["b", "c"])]
    assert among["p_holm"].to_numpy() == pytest.approx(holm(among["p"].to_numpy()))
    assert table.loc[~table.index.isin(among.index), "p_holm"].isna().all()
    assert table.loc[table["model_a"] == "b", "p_holm_best"].isna().all()


def test_the_region_of_equivalence_has_the_unit_of_the_score() -> None:
    values = {("a", "x"): [1.0, 2.0, 3.5], ("b", "x"): [2.0, 2.5, 3.0]}
    rmse = paired_tests(_scores(values), ["a", "b"], {}, spreads={"x": 40.0}).iloc[0]
    assert rmse["rope"] == pytest.approx(0.4)
    assert rmse["p_a_better"] > rmse["p_b_better"]  # smaller errors
    assert rmse["p_a_better"] + rmse["p_equal"] + rmse["p_b_better"] == pytest.approx(1.0)
    r2 = paired_tests(_scores(values, "r2"), ["a", "b"], {}, rope=0.05).iloc[0]
    assert r2["rope"] == 0.05
    assert r2["p_b_better"] > r2["p_a_better"]
    unknown = paired_tests(_scores(values), ["a", "b"], {}).iloc[0]
    assert np.isnan(unknown["p_equal"])
    assert unknown["verdict"] == ""


def make_predictions(models: dict[str, float], n: int = 60, repeats: int = 1, seed: int = 0) -> pd.DataFrame:
    """Return out-of-fold predictions with errors of a given size, in folds of 1, 2 and 3 sixths."""
    rng = np.random.default_rng(seed)
    truth, fold = rng.normal(0, 2, n), np.repeat([0, 1, 1, 2, 2, 2], n // 6)
    head = {"key": [f"k{i:03d}" for i in range(n)], "property": "x", "y_true": truth}
    parts = [
        pd.DataFrame(head | {"model": model, "repeat": repeat, "y_pred": truth + rng.normal(0, size, n)}).assign(
            fold=rng.permutation(fold) if repeat else fold
        )
        for repeat in range(repeats)
        for model, size in models.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_the_mean_of_the_tested_r2_is_the_pooled_one() -> None:
    predictions = make_predictions({"a": 0.5, "b": 1.0})
    groups = predictions.groupby(["model", "repeat", "fold", "property"])
    rows = [
        dict(zip(("model", "repeat", "fold", "property"), place, strict=True))
        | {"metric": metric, "score": 0.25, "n_train": 40, "n_test": len(part)}
        for place, part in groups
        for metric in ("r2", "rmse")
    ]
    scores = fold_scores(pd.DataFrame(rows), predictions)
    assert (scores.loc[scores["metric"] == "rmse", "score"] == 0.25).all()
    for model, part in predictions.groupby("model"):
        own = scores[(scores["metric"] == "r2") & (scores["model"] == model)]["score"]
        assert own.mean() == pytest.approx(r2_score(part["y_true"], part["y_pred"]))
    test = paired_tests(scores, ["a", "b"], {})
    pooled = add_bootstrap(test, pool_scores(predictions, ["rmse", "r2"], {})).set_index("metric")
    assert pooled.loc["r2", "difference"] == pytest.approx(pooled.loc["r2", "pooled_difference"])
    assert pooled.loc["r2", "pooled_low"] < pooled.loc["r2", "pooled_difference"] < pooled.loc["r2", "pooled_high"]


def test_wilcoxon_is_that_of_scipy_on_errors_averaged_over_repeats() -> None:
    predictions = make_predictions({"a": 0.5, "b": 0.7, "c": 0.7}, repeats=2)
    errors = polymer_errors(predictions, ["x"], {"x": 2.0})
    wide = predictions.assign(e=(predictions["y_pred"] - predictions["y_true"]).abs()).pivot_table(
        index="key", columns="model", values="e", aggfunc="mean"
    )
    table = pd.DataFrame(
        [("rmse", "x", "a", "b"), ("rmse", "x", "a", "c"), ("rmse", "x", "b", "c")],
        columns=["metric", "property", "model_a", "model_b"],
    )
    found = add_wilcoxon(table, errors, ["a", "b", "c"])
    expected = [scipy_stats.wilcoxon(wide[a] - wide[b]).pvalue for a, b in (("a", "b"), ("a", "c"), ("b", "c"))]
    assert found["wilcoxon_p"].to_numpy() == pytest.approx(expected)
    assert (found["polymers"] == 60).all()
    assert found["wilcoxon_p_holm"].to_numpy() == pytest.approx(holm(expected))
    assert found["wilcoxon_p_holm_best"].iloc[:2].to_numpy() == pytest.approx(holm(expected[:2]))
    assert np.isnan(found["wilcoxon_p_holm_best"].iloc[2])


def test_equal_predictions_have_no_wilcoxon_test() -> None:
    predictions = make_predictions({"a": 0.5})
    both = pd.concat([predictions, predictions.assign(model="b")])
    table = pd.DataFrame([("rmse", "x", "a", "b")], columns=["metric", "property", "model_a", "model_b"])
    found = add_wilcoxon(table, polymer_errors(both, ["x"], {"x": 2.0}), ["a", "b"])
    assert found["wilcoxon_p"].isna().all()
    assert add_bootstrap(table, pool_scores(both, ["rmse"], {})).iloc[0][
        ["pooled_difference", "pooled_low", "pooled_high"]
    ].tolist() == [0.0, 0.0, 0.0]


def test_errors_of_several_properties_are_brought_to_one_scale() -> None:
    rows = [
        ("a", "p", "x", 1.0, 3.0),
        ("a", "p", "y", 10.0, 40.0),
        ("a", "q", "x", 1.0, 2.0),
        ("a", "q", "y", np.nan, 5.0),
    ]
    frame = pd.DataFrame(rows, columns=["model", "key", "property", "y_true", "y_pred"])
    errors = polymer_errors(frame, ["x", "y"], {"x": 2.0, "y": 10.0})
    assert errors[MEAN]["a"].to_dict() == pytest.approx({"p": (2 / 2 + 30 / 10) / 2, "q": 1 / 2})
    wrong = polymer_errors(frame, ["x"], {}, classes=True)
    assert wrong["x"]["a"].to_dict() == {"p": 1.0, "q": 1.0}
