"""Intervals that hold: coverage where the noise is known, the formulas, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from polyml.chem import RepeatUnit, canonicalize
from polyml.data.catalog import embedded_table
from polyml.data.splits import SplitSpec
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.models import catalog, checks, conformal
from polyml.models.base import PolymerModel, Prediction
from polyml.models.catalog import MODELS, make_model
from polyml.models.checks import TOY_POLYMERS, check_model, toy_targets
from polyml.models.conformal import METHODS, NEEDED, upper_quantile
from polyml.models.kernels import tanimoto
from polyml.models.local_error import LocalError, fingerprint_bits
from polyml.models.stacking import inner_folds

N = 2000
PIECES = ("C", "C(C)", "C(F)", "C(CC)", "C(C)(C)", "C(=O)", "C(CCC)", "C(C#N)")
QUIET = [f"*Oc1ccc(cc1)C(=O)N{''.join(parts)}*" for parts in product(PIECES, repeat=4)]
LOUD = [f"*Sc1ccc(s1)S(=O)(=O){''.join(parts)}*" for parts in product(PIECES, repeat=4)]


class Line(PolymerModel):
    """A ridge regression on the number of carbons; knows the spread of the noise where ``knows`` says so."""

    key, family, title, citation, input_kind = "line", "stand-in", "Stand-in", "none", "none"

    knows: bool = False

    @property
    def gives_std(self) -> bool:  # type: ignore[override]
        return self.knows

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> Line:
        from sklearn.linear_model import Ridge

        items, values, self.single_ = *self._training_data(psmiles, y), False
        known = [~np.isnan(column) for column in values.T]
        x = carbons(items)
        self.fits_ = [Ridge(1.0).fit(x[k], c[k]) for k, c in zip(known, values.T, strict=True)]
        return self

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        return np.column_stack([fit.predict(carbons(psmiles)) for fit in self.fits_])

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        mean = self.predict(psmiles)
        spread = np.where(["S" in text for text in psmiles], 2.0, 0.5)  # twice what it is
        return Prediction.gaussian(mean, np.tile(spread[:, None], mean.shape[1]) if self.knows else None)

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Line:
        raise NotImplementedError


class Memory(Line):
    """Knows every polymer it has seen by heart, and nothing of others."""

    key = "memory"

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> Memory:
        _, values = self._training_data(psmiles, y)
        self.seen_ = dict(zip(map(canonicalize, psmiles), values, strict=True))
        return self

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        return np.array([self.seen_.get(canonicalize(text), [0.0]) for text in psmiles])


def carbons(psmiles: Sequence[str]) -> np.ndarray:
    return np.array([[text.count("C") / 10.0] for text in psmiles])


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"line": f"{__name__}:Line", "memory": f"{__name__}:Memory"}
    monkeypatch.setattr(catalog, "MODELS", {**MODELS, **here})


def drawn(pool: Sequence[str], count: int, noise: float, seed: int) -> tuple[list[str], np.ndarray]:
    """Return polymers and a value of each: a line in the carbons, and noise of a known size."""
    rng = np.random.default_rng(seed)
    texts = [pool[i] for i in rng.permutation(len(pool))[:count]]
    return texts, 2.0 * carbons(texts)[:, 0] + noise * rng.normal(size=count)


def held(found: Prediction, y: np.ndarray) -> np.ndarray:
    return (found.lower[:, 0] <= y) & (y <= found.upper[:, 0])


def bound(tested: int, calibrated: int) -> float:
    """Four standard errors of a coverage: of the count among the tested, and of the quantile of the calibrated."""
    return 4.0 * math.sqrt(0.09 / tested + 0.09 / calibrated)


@pytest.mark.parametrize("method", METHODS)
def test_ninety_per_cent_of_new_values_are_held(method):
    train, y = drawn(QUIET, N, 0.5, seed=0)
    model = make_model("conformal", base="line", method=method, normalised=False).fit(train, y)
    rng = np.random.default_rng(1)
    new = 2.0 * carbons(QUIET)[:, 0] + 0.5 * rng.normal(size=len(QUIET))
    found = model.predict_dist(QUIET)
    calibrated = N // 5 if method == "split" else N
    assert abs(held(found, new).mean() - 0.9) < bound(len(new), calibrated)
    width = (found.upper - found.lower).mean()
    assert width == pytest.approx(2 * 1.645 * 0.5, rel=0.15)  # the least that holds 90 % of normal noise
    assert found.std.mean() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(("knows", "closed"), [(True, 0.6), (False, 0.9)])
def test_normalised_intervals_adapt_to_the_noise(knows, closed):
    """Two families with four times the noise in one: by the model's own spread, or by the neighbours' errors alone."""
    quiet, y_quiet = drawn(QUIET, 500, 0.25, seed=0)
    loud, y_loud = drawn(LOUD, 500, 1.0, seed=1)
    gap, widths = {}, {}
    for normalised in (False, True):
        model = make_model("conformal", base={"key": "line", "knows": knows}, normalised=normalised)
        model.fit([*quiet, *loud], np.concatenate([y_quiet, y_loud]))
        shares = {}
        for name, pool, noise in (("quiet", QUIET, 0.25), ("loud", LOUD, 1.0)):
            new, y = drawn(pool, 1000, noise, seed=2)
            found = model.predict_dist(new)
            shares[name] = held(found, y).mean()
            widths[name, normalised] = (found.upper - found.lower).mean()
        assert abs((shares["quiet"] + shares["loud"]) / 2 - 0.9) < bound(2000, 1000)
        gap[normalised] = shares["quiet"] - shares["loud"]
    assert widths["quiet", False] == pytest.approx(widths["loud", False])
    assert gap[False] > 0.17  # the same width for all holds too many of the ones, too few of the others
    assert gap[True] < closed * gap[False]
    assert widths["loud", True] > 2 * widths["quiet", True]
    assert widths["quiet", True] < 0.75 * widths["quiet", False]


@pytest.mark.parametrize("n", [9, 10, 19, 20, 99, 100])
def test_quantile_is_the_smallest_that_holds_nine_tenths_of_n_plus_one(n):
    scores = np.random.default_rng(n).permutation(n).astype(float)
    smallest = next(s for s in range(n) if 10 * (s + 1) >= 9 * (n + 1))  # s + 1 of the scores are at most s
    assert upper_quantile(scores) == smallest
    assert n >= NEEDED


def test_cv_plus_is_the_formula_of_its_paper():
    train, y = drawn(QUIET, 30, 0.5, seed=0)
    model = make_model("conformal", base="line", method="cv_plus", normalised=False, folds=3, random_state=4)
    found = model.fit(train, y).predict_dist(QUIET[:5])
    below, above, means = [], [], []
    for rows, left, _ in inner_folds(train, y[:, None], 3, 4):
        fold = Line().fit([train[i] for i in rows], y[rows])
        errors = np.abs(y[left] - fold.predict([train[i] for i in left])[:, 0])
        centre = fold.predict(QUIET[:5])[:, 0]
        below += [centre - error for error in errors]
        above += [centre + error for error in errors]
        means.append(centre)
    np.testing.assert_allclose(found.lower[:, 0], np.sort(below, axis=0)[2])  # floor(0.1 * 31) = 3rd smallest
    np.testing.assert_allclose(found.upper[:, 0], np.sort(above, axis=0)[27])  # ceil(0.9 * 31) = 28th smallest
    np.testing.assert_allclose(found.mean[:, 0], np.mean(means, axis=0))
    np.testing.assert_array_equal(model.predict(QUIET[:5]), found.mean[:, 0])


def test_split_is_one_fold_aside():
    train, y = drawn(QUIET, 60, 0.5, seed=0)
    model = make_model("conformal", base="line", method="split", normalised=False).fit(train, y)
    rows, left, _ = inner_folds(train, y[:, None], 5, 0)[0]
    fold = Line().fit([train[i] for i in rows], y[rows])
    errors = np.sort(np.abs(y[left] - fold.predict([train[i] for i in left])[:, 0]))
    found = model.predict_dist(QUIET[:3])
    np.testing.assert_allclose(found.upper[:, 0] - found.mean[:, 0], errors[11])  # ceil(0.9 * 13) = 12th of 12
    np.testing.assert_allclose(found.mean, fold.predict(QUIET[:3]))


@pytest.mark.parametrize("base", ["extra_trees", "lightgbm", "ridge"])
def test_predictions_are_those_of_the_model_itself(base):
    params = {"n_estimators": 20} if base != "ridge" else {}
    seed = {} if base == "ridge" else {"random_state": 3}
    plain = make_model(base, **params, **seed).fit(TOY_POLYMERS, toy_targets())
    model = make_model("conformal", base={"key": base, **params}, random_state=3).fit(TOY_POLYMERS, toy_targets())
    np.testing.assert_array_equal(model.predict(TOY_POLYMERS), plain.predict(TOY_POLYMERS))
    units = [RepeatUnit.parse(text) for text in TOY_POLYMERS]
    np.testing.assert_array_equal(model.predict(units), plain.predict(TOY_POLYMERS))


def test_rows_of_one_polymer_stay_on_one_side():
    """A model that knows its polymers by heart would have no errors on their other rows."""
    texts = [f"*{'C' * n}O*" for n in range(2, 32)]
    other = [f"*O{'C' * n}*" for n in range(2, 32)]
    y = np.tile(np.random.default_rng(0).normal(size=30), 2)
    model = make_model("conformal", base="memory", normalised=False).fit([*texts, *other], y)
    assert model.quantile_[0] == np.sort(np.abs(y))[54]  # ceil(0.9 * 61) = 55th of 60: nothing was known of any


def test_polymers_unlike_in_configurations_alone_stay_on_one_side():
    texts = [f"*C/C=C/{'C' * n}O*" for n in range(2, 32)]
    y = np.tile(np.random.default_rng(0).normal(size=30), 2)
    twins = [text.replace("=C/", "=C\\") for text in texts]
    model = make_model("conformal", base="memory", normalised=False).fit([*texts, *twins], y)
    assert model.quantile_[0] == np.sort(np.abs(y))[54]


def test_few_errors_teach_no_scale(tmp_path):
    train, y = drawn(QUIET, 60, 0.2, seed=0)
    both = np.column_stack([y, y])
    both[15:, 1] = np.nan
    model = make_model("conformal", base="ridge").fit(train, both)
    found = model.predict_dist(QUIET[:20])
    widths = found.upper - found.lower
    assert np.ptp(widths[:, 1]) < 1e-9 < np.ptp(widths[:, 0])
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(catalog.load_model(tmp_path / "model").predict_dist(QUIET[:20]).upper, found.upper)


def test_each_property_is_calibrated_by_itself_on_what_was_measured():
    train, y = drawn(QUIET, 400, 0.2, seed=0)
    both = np.column_stack([y, 2.0 * carbons(train)[:, 0] + 2.0 * np.random.default_rng(5).normal(size=400)])
    both[::3, 1] = np.nan
    found = make_model("conformal", base="line", normalised=False).fit(train, both).predict_dist(QUIET[:4])
    width = (found.upper - found.lower)[0]
    assert width == pytest.approx([2 * 1.645 * 0.2, 2 * 1.645 * 2.0], rel=0.2)


def test_a_polymer_like_others_that_err_little_has_a_small_local_error():
    polymers = [*QUIET[:40], *LOUD[:40]]
    errors = np.concatenate([np.full(40, 0.1), np.full(40, -1.0)])[:, None]
    errors[3] = np.nan
    local = LocalError.learn(fingerprint_bits(polymers), errors, polymers)
    near = local.at(fingerprint_bits([QUIET[45], LOUD[45]]))[:, 0]
    assert near[0] < 0.3 < 0.8 < near[1]
    again = LocalError.from_arrays(local.arrays())
    np.testing.assert_array_equal(again.at(local.bits), local.at(local.bits))


def test_local_error_by_hand():
    """Two neighbours: weights are squares of the similarity, the usual error weighs two."""
    bits = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)
    local = LocalError(bits, np.array([[3.0], [-1.0], [8.0]]), np.array([[1.0], [4.0]]))
    found = local.at(np.array([[1, 1, 0, 0], [0, 0, 1, 0]], dtype=bool))[:, 0]
    # Similarities 1, 1/2 and 0; distance 0 to the nearest. None is like the second: the usual error at distance 1,
    # where a usual error of 1 is less than 0.3 times the mean error, 4.
    assert found == pytest.approx([(1.0 * 3.0 + 0.25 * 1.0 + 2.0 * 1.2) / 3.25, 5.0])


def test_a_polymer_does_not_tell_of_its_own_error():
    polymers = [*QUIET[:30], LOUD[0]]
    errors = np.zeros((31, 1))
    errors[-1] = 5.0
    local = LocalError(fingerprint_bits(polymers), errors, np.array([[0.5], [0.0]]))
    assert local.at_known(polymers)[-1, 0] < 0.5  # the usual error, and the neighbours without an error
    assert local.at(local.bits[-1:])[0, 0] > 1.5
    twice = LocalError(local.bits, errors, local.usual)
    twice.bits[0], twice.errors[0] = twice.bits[-1], 5.0  # another row of the same polymer does not tell either
    assert twice.at_known([polymers[-1], *polymers[1:]])[-1, 0] < 0.5


def test_the_usual_error_grows_with_the_distance():
    rng = np.random.default_rng(0)
    bits = rng.random((300, 64)) < 0.3
    bits[::2] = bits[1::2]  # every other pair is alike
    bits[::4, :16] = rng.random((75, 16)) < 0.3
    known = LocalError.learn(bits, np.ones((300, 1)), np.arange(300).astype(str))
    assert known.usual[:, 0] == pytest.approx([1.0, 0.0])
    similarity = tanimoto(bits, bits) - np.eye(300)
    distance = 1.0 - similarity.max(axis=1)
    line = LocalError.learn(bits, (0.2 + 3.0 * distance)[:, None], np.arange(300).astype(str)).usual[:, 0]
    assert line == pytest.approx([0.2, 3.0], rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("base", ["extra_trees", "svm"])
def test_every_method_is_kept_in_a_file(method, base):
    params = {"n_estimators": 10} if base == "extra_trees" else {}
    model = make_model("conformal", base={"key": base, **params}, method=method, folds=2)
    model.fit(TOY_POLYMERS, toy_targets())
    checks.check_predictions(model)
    checks.check_rows_are_independent(model.predict)
    checks.check_file(
        model,
        lambda m: {name: getattr(m.predict_dist(TOY_POLYMERS), name) for name in ("mean", "std", "lower", "upper")},
    )


def test_errors_that_go_together_are_known_and_kept(tmp_path):
    rng = np.random.default_rng(4)
    shared = rng.normal(size=(len(TOY_POLYMERS), 1))
    y = np.hstack([shared, 3.0 * shared, rng.normal(size=shared.shape)])
    model = make_model("conformal", base="mean", folds=3).fit(TOY_POLYMERS, y)
    assert model.error_correlation_[0, 1] > 0.8
    assert np.abs(model.error_correlation_[2, :2]).max() < 0.7
    model.save(tmp_path)
    np.testing.assert_array_equal(catalog.load_model(tmp_path).error_correlation_, model.error_correlation_)


def test_a_model_saved_without_the_correlation_has_independent_errors(tmp_path, monkeypatch):
    model = make_model("conformal", base="mean", folds=3).fit(TOY_POLYMERS, toy_targets())
    learned = tuple(name for name in conformal._LEARNED if name != "error_correlation")
    monkeypatch.setattr(conformal, "_LEARNED", learned)
    model.save(tmp_path)
    loaded = catalog.load_model(tmp_path)
    np.testing.assert_array_equal(loaded.error_correlation_, np.eye(toy_targets().shape[1]))


@pytest.mark.parametrize("params", [{"base": "svm"}, {"base": "autoencoder"}, {"base": "mean", "normalised": False}])
def test_contract_around_other_models(params):
    cls = catalog.model_class(params["base"]) if isinstance(params["base"], str) else None
    base = {"key": params["base"], **cls.toy_params}
    if params["base"] == "mean":  # learns nothing by heart
        model = make_model("conformal", **{**params, "base": base, "folds": 3}).fit(TOY_POLYMERS, toy_targets())
        checks.check_predictions(model)
        return
    check_model("conformal", **{**params, "base": base, "folds": 3})


def test_what_a_search_inside_has_found_is_seen():
    base = {"key": "tuned", "base": "ridge", "trials": 2, "folds": 2}
    model = make_model("conformal", base=base, folds=2).fit(TOY_POLYMERS, toy_targets())
    assert len(model.trials_) == 2
    assert model.best_params_
    assert not hasattr(model, "history_")
    assert model.called() == "tuned, calibrated"


def test_too_few_values_are_refused_before_anything_is_fitted():
    y = toy_targets(missing=False)
    y[8:, 1] = np.nan
    model = make_model("conformal", base="memory")
    with pytest.raises(
        UserError, match=r"target 1: 8 values to calibrate a 90 % interval on, where at least 9"
    ) as error:
        model.fit(TOY_POLYMERS, y)
    assert "--no-calibrate" in str(error.value)
    with pytest.raises(UserError, match="Tg: 8 values"):
        model.fit_steps(TOY_POLYMERS, y, ["O2", "Tg"])
    with pytest.raises(UserError, match="target 0: 5 values"):
        make_model("conformal", base="memory", method="split").fit(TOY_POLYMERS, y)
    y[8, 1] = 1.0
    found = make_model("conformal", base="mean").fit(TOY_POLYMERS, y).predict_dist(TOY_POLYMERS)
    assert np.isfinite([found.lower, found.upper, found.std]).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"base": "extra_tree"}, "did you mean 'extra_trees'"),
        ({"base": {"key": "svm", "c": 1}}, "unknown parameter 'c'"),
        ({"base": "conformal"}, "cannot be calibrated again"),
        ({"base": "completion"}, "depend on what else is known"),
        ({"base": {"key": "svm", "task": "classification"}}, "a class has no interval"),
        ({"method": "cv+"}, "did you mean 'cv'"),
        ({"folds": 1}, "folds=1"),
        ({"normalised": "yes"}, "normalised must be true or false"),
        ({"task": "classification"}, "does no classification"),
    ],
)
def test_wrong_parameters(params, message):
    with pytest.raises(UserError, match=message):
        make_model("conformal", **params)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["knn", "pca_ridge", {"key": "extra_trees", "n_estimators": 50}])
def test_intervals_hold_on_the_test_folds_of_every_gas(base, tmp_path):
    table = embedded_table("gas_permeability")
    spec = Compared("conformal", params={"base": base})
    found = compare(table, [spec], SplitSpec(folds=5, seed=1), tmp_path / "out").uncertainty()
    assert list(found["property"]) == ["CH4", "CO2", "H2", "N2", "O2"]
    assert found["coverage"].between(0.88, 0.93).all(), found
