from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from polyml.errors import UserError
from polyml.evaluation.metrics import METRICS, Ratio, make_metrics, make_ratios, ratio_predictions, score


def _predictions() -> pd.DataFrame:
    rows = [
        ("a", "O2", 2.0, 2.5),
        ("a", "N2", 1.0, 1.0),
        ("b", "O2", np.nan, 3.0),
        ("b", "N2", 1.5, 1.0),
        ("c", "O2", 1.0, 1.0),
        ("c", "N2", 0.5, 1.5),
    ]
    frame = pd.DataFrame(rows, columns=["key", "property", "y_true", "y_pred"])
    frame = frame.assign(model="m", repeat=0, fold=0, psmiles=frame["key"], std=0.1, lower=0.0, upper=1.0)
    order = ["model", "repeat", "fold", "key", "psmiles", "property", "y_true", "y_pred", "std", "lower", "upper"]
    return frame[order]


def test_metrics_against_hand_computation_on_measured_rows() -> None:
    truth, predicted = np.array([1.0, 2.0, np.nan, 4.0]), np.array([2.0, 2.0, 99.0, 2.0])
    assert METRICS["rmse"](truth, predicted) == pytest.approx(math.sqrt((1 + 0 + 4) / 3))
    assert METRICS["mae"](truth, predicted) == pytest.approx(1.0)
    mean = 7 / 3
    total = sum((value - mean) ** 2 for value in (1.0, 2.0, 4.0))
    assert METRICS["r2"](truth, predicted) == pytest.approx(1 - 5 / total)
    assert METRICS["spearman"](truth, np.array([0.0, 1.0, 5.0, 7.0])) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["r2", "spearman"])
def test_a_metric_that_needs_spread_is_undefined_without_it(name: str) -> None:
    assert math.isnan(METRICS[name](np.array([1.0, 1.0]), np.array([1.0, 2.0])))
    assert math.isnan(METRICS[name](np.array([1.0]), np.array([1.0])))


@pytest.mark.parametrize("name", list(METRICS))
def test_nothing_measured_scores_nan(name: str) -> None:
    assert math.isnan(METRICS[name](np.array([np.nan]), np.array([1.0])))


def test_the_table_is_frozen() -> None:
    with pytest.raises(TypeError):
        METRICS["mine"] = METRICS["mae"]  # type: ignore[index]


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'rmse'"):
        make_metrics(["rsme"])
    assert [metric.name for metric in make_metrics(["r2", "mae", "r2"])] == ["r2", "mae"]


def test_ratio_rows_are_differences_and_measured_where_both_are() -> None:
    ratio = ratio_predictions(_predictions(), [Ratio("O2", "N2")]).set_index("key")
    assert list(ratio["property"].unique()) == ["O2/N2"]
    assert ratio.loc["a", "y_true"] == pytest.approx(1.0)
    assert ratio.loc["a", "y_pred"] == pytest.approx(1.5)
    assert math.isnan(ratio.loc["b", "y_true"])
    assert ratio.loc["b", "y_pred"] == pytest.approx(2.0)
    assert ratio["std"].isna().all()
    strange = ratio_predictions(_predictions().assign(novelty=2.0), [Ratio("O2", "N2")])
    assert strange["novelty"].tolist() == [2.0] * len(ratio)


def test_score_counts_measured_rows_only() -> None:
    scores = score(_predictions(), make_metrics(["mae"])).set_index("property")
    assert scores.loc["O2", "n_test"] == 2
    assert scores.loc["O2", "score"] == pytest.approx(0.25)
    assert scores.loc["N2", "score"] == pytest.approx((0 + 0.5 + 1.0) / 3)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["O2/N3"], "unknown property 'N3'"),
        (["O2/Tg"], "not modelled as log10"),
        (["O2"], "not a ratio"),
        ([("O2", "N2", "H2")], "not a ratio"),
    ],
)
def test_a_wrong_ratio_says_why(pairs: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_ratios(pairs, {"O2": "log10", "N2": "log10", "Tg": "identity"})


def test_a_ratio_given_twice_counts_once() -> None:
    assert make_ratios(["O2/N2", ("O2", "N2")], {"O2": "log10", "N2": "log10"}) == [Ratio("O2", "N2")]
