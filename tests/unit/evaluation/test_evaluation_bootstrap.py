from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import root_mean_squared_error

from polyml.errors import PolymlError
from polyml.evaluation.bootstrap import PooledScores, pool_scores
from polyml.evaluation.metrics import DEFAULT_METRICS, MEAN, METRICS
from polyml.evaluation.weighted import WEIGHTED, Block

REGRESSION = [name for name, metric in METRICS.items() if metric.task == "regression"]
CLASSIFICATION = [name for name, metric in METRICS.items() if metric.task == "classification"]


def _predictions(truth: np.ndarray, models: dict[str, np.ndarray], **columns: object) -> pd.DataFrame:
    keys = [f"k{i:05d}" for i in range(len(truth))]
    head = {"key": keys, "property": "x", "repeat": 0, "fold": 0, "y_true": truth} | columns
    return pd.concat([pd.DataFrame(head | {"model": m, "y_pred": y}) for m, y in models.items()], ignore_index=True)


def _block(name: str, rng: np.random.Generator, classes: int = 3, n: int = 40) -> Block:
    if METRICS[name].task == "regression":
        truth = rng.normal(300, 50, n).round(-1)  # with ties
        return Block(np.arange(n), truth, np.stack([truth + rng.normal(0, 30, n).round(-1), rng.normal(0, 1, n)]))
    probability = rng.dirichlet(np.ones(classes), (2, n))
    probability[0, :10] = probability[0, 10]  # ties
    return Block(
        np.arange(n), rng.integers(0, classes, n).astype(float), probability.argmax(axis=2).astype(float), probability
    )


def test_every_metric_has_a_weighted_form() -> None:
    assert set(WEIGHTED) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("classes", [2, 4])
def test_a_weighted_metric_is_the_metric_of_repeated_rows(name: str, classes: int) -> None:
    rng = np.random.default_rng(4)
    block = _block(name, rng, classes)
    weights = rng.integers(0, 4, (len(block.truth), 6)).astype(float)
    found = WEIGHTED[name](block, weights)
    assert found.shape == (2, 6)
    metric = METRICS[name]
    for column in range(6):
        rows = np.repeat(np.arange(len(block.truth)), weights[:, column].astype(int))
        for model in range(2):
            read = block.probability if metric.reads == "probability" else block.predicted
            assert read is not None
            assert found[model, column] == pytest.approx(metric(block.truth[rows], read[model][rows]), abs=1e-12)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.needs_spread])
def test_a_resample_without_spread_has_no_score(name: str) -> None:
    block = _block(name, np.random.default_rng(0))
    weights = np.zeros((len(block.truth), 2))
    weights[block.truth == block.truth[0], 0] = 2.0  # the second takes nothing at all
    assert np.isnan(WEIGHTED[name](block, weights)).all()


def test_the_interval_agrees_with_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1, 150)
    predicted = truth + rng.standard_t(4, 150) * 0.5
    pooled = pool_scores(_predictions(truth, {"a": predicted}), ["rmse"], {})
    assert pooled.score("rmse", "x", "a") == pytest.approx(root_mean_squared_error(truth, predicted))
    expected = scipy_stats.bootstrap(
        (truth, predicted), lambda t, p, axis: np.sqrt(((t - p) ** 2).mean(axis=axis)), paired=True,
        method="percentile", n_resamples=4000, rng=2,
    ).confidence_interval  # fmt: skip
    width = expected.high - expected.low
    assert pooled.interval("rmse", "x", "a") == pytest.approx((expected.low, expected.high), abs=0.05 * width)


def test_the_interval_of_an_rmse_covers_the_truth() -> None:
    # 200 experiments with Gaussian errors of size 1: of 95 % intervals 190 should cover it, and by the binomial
    # distribution 177 to 200 do but once in ten thousand times, with some room for the bias of percentiles.
    rng = np.random.default_rng(7)
    models = {str(i): rng.normal(0, 1, 150) for i in range(200)}
    pooled = pool_scores(_predictions(np.zeros(150), models), ["rmse"], {}, resamples=800)
    ends = [pooled.interval("rmse", "x", model) for model in models]
    assert 177 <= sum(low <= 1.0 <= high for low, high in ends) <= 199
    # An interval of half the width covers it far less often, so the count above can fail.
    half = [(low + (high - low) / 4, high - (high - low) / 4) for low, high in ends]
    assert sum(low <= 1.0 <= high for low, high in half) < 165


def test_all_rows_of_a_polymer_are_drawn_together() -> None:
    rng = np.random.default_rng(3)
    truth, predicted = rng.normal(0, 1, 30), rng.normal(0, 1, 30)
    once = _predictions(truth, {"a": predicted})
    thrice = pd.concat([once] * 3, ignore_index=True)  # each polymer measured three times, with the same result
    alone = thrice.assign(key=[f"k{i}" for i in range(90)])  # as if these were ninety polymers
    widths = {}
    for name, frame in (("once", once), ("thrice", thrice), ("alone", alone)):
        low, high = pool_scores(frame, ["mae"], {}).interval("mae", "x", "a")
        widths[name] = high - low
    assert widths["thrice"] == pytest.approx(widths["once"])
    assert widths["alone"] == pytest.approx(widths["once"] / np.sqrt(3), rel=0.1)


def test_repeats_are_averaged_and_properties_too() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 1, 50)
    parts = [
        _predictions(truth * scale, {"a": truth * scale + rng.normal(0, 1, 50)}, property=prop, repeat=repeat)
        for prop, scale in (("x", 1.0), ("y", 3.0))
        for repeat in (0, 1)
    ]
    pooled = pool_scores(pd.concat(parts), ["rmse", "r2"], {"r2": {"x": 0.5, "y": 0.5}, "rmse": {}})
    by_hand = [METRICS["r2"](p["y_true"].to_numpy(), p["y_pred"].to_numpy()) for p in parts]
    assert pooled.score("r2", "x", "a") == pytest.approx(np.mean(by_hand[:2]))
    assert pooled.score("r2", MEAN, "a") == pytest.approx(np.mean(by_hand))
    assert (MEAN in [prop for metric, prop in pooled.scores if metric == "rmse"]) is False
    low, high = pooled.interval("r2", MEAN, "a")
    assert low < pooled.score("r2", MEAN, "a") < high


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(6)
    truth, error = rng.normal(0, 1, 100), rng.normal(0, 1, 100)
    pooled = pool_scores(_predictions(truth, {"a": truth + error, "b": truth + 1.05 * error}), ["rmse"], {})
    gap, low, high = pooled.difference("rmse", "x", "a", "b")
    assert gap == pytest.approx(-0.05 * np.sqrt((error**2).mean()))
    assert low < gap < high < 0  # never is b better, though the two intervals overlap
    assert pooled.interval("rmse", "x", "a")[1] > pooled.interval("rmse", "x", "b")[0]


def test_the_same_seed_gives_the_same_intervals_whatever_the_other_models() -> None:
    rng = np.random.default_rng(8)
    truth = rng.normal(0, 1, 40)
    models = {name: truth + rng.normal(0, 1, 40) for name in "abc"}
    together = pool_scores(_predictions(truth, models), ["rmse", "mae"], {})
    alone = pool_scores(_predictions(truth, {"b": models["b"]}), ["mae"], {})
    assert together.interval("mae", "x", "b") == pytest.approx(alone.interval("mae", "x", "b"), abs=1e-12)
    other = pool_scores(_predictions(truth, models), ["mae"], {}, seed=1)
    assert other.interval("mae", "x", "b") != pytest.approx(alone.interval("mae", "x", "b"), abs=1e-12)


def test_values_that_were_not_measured_do_not_count() -> None:
    rng = np.random.default_rng(9)
    truth = rng.normal(0, 1, 40)
    predicted = truth + rng.normal(0, 1, 40)
    gaps = truth.copy()
    gaps[::2] = np.nan
    with_gaps = _predictions(gaps, {"a": predicted})
    without = with_gaps.dropna(subset=["y_true"])
    assert pool_scores(with_gaps, ["mae"], {}).interval("mae", "x", "a") == pool_scores(without, ["mae"], {}).interval(
        "mae", "x", "a"
    )


def test_what_has_no_score_has_no_interval() -> None:
    constant = pool_scores(_predictions(np.ones(10), {"a": np.arange(10.0)}), ["rmse", "r2"], {})
    assert np.isnan([constant.score("r2", "x", "a"), *constant.interval("r2", "x", "a")]).all()
    assert np.isfinite(constant.interval("rmse", "x", "a")).all()
    assert np.isnan(constant.interval("rmse", "x", "failed")).all()
    assert np.isnan(constant.difference("rmse", "x", "a", "failed")).all()
    assert pool_scores(pd.DataFrame(), ["rmse"], {}) == PooledScores((), {}, {})


def test_models_of_different_rows_are_not_compared() -> None:
    a, b = (_predictions(np.arange(n, dtype=float), {name: np.zeros(n)}) for n, name in ((5, "a"), (4, "b")))
    with pytest.raises(PolymlError, match="b was not tested on the same rows of x as a"):
        pool_scores(pd.concat([a, b]), ["rmse"], {})


def test_classification_has_intervals() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 120).astype(float)
    probability = rng.dirichlet(np.ones(3), 120) + 0.3 * np.eye(3)[truth.astype(int)]
    probability /= probability.sum(axis=1, keepdims=True)
    columns = {f"p[{name}]": probability[:, i] for i, name in enumerate("abc")}
    frame = _predictions(truth, {"m": probability.argmax(axis=1).astype(float)}, **columns)
    pooled = pool_scores(frame, DEFAULT_METRICS["classification"], {})
    for name in DEFAULT_METRICS["classification"]:
        low, high = pooled.interval(name, "x", "m")
        assert low < pooled.score(name, "x", "m") < high
