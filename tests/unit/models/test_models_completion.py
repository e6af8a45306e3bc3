"""Property completion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polyml.bundle import Bundle
from polyml.data.properties import Property
from polyml.data.splits import SplitSpec
from polyml.data.table_reader import read_table
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare
from polyml.models import load_model, make_model
from polyml.models.checks import TOY_POLYMERS
from polyml.models.conditioning import Joint, error_correlation, error_covariance
from polyml.prediction import predict_file

POLYMERS = [f"*{'C' * n}{x}*" for n in range(1, 16) for x in ("O", "S", "C(=O)O", "N(C)")]


def related(seed: int = 0) -> np.ndarray:
    """Three properties that a structure does not tell, the first two tied to each other."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=len(POLYMERS))
    return np.column_stack([common, 2 * common + 0.1 * rng.normal(size=len(POLYMERS)), rng.normal(size=len(POLYMERS))])


def test_covariance_of_complete_errors_is_the_sample_covariance():
    errors = related()
    expected = errors.T @ errors / len(errors)
    np.testing.assert_allclose(error_covariance(errors), expected, atol=0.15)


def test_covariance_with_gaps_is_that_of_maximum_likelihood():
    rng = np.random.default_rng(1)
    truth = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, -0.5], [0.0, -0.5, 1.0]])
    errors = rng.multivariate_normal(np.zeros(3), truth, size=4000)
    errors[rng.random(errors.shape) < 0.4] = np.nan
    np.testing.assert_allclose(error_covariance(errors), truth, atol=0.08)


def test_correlation_with_gaps_is_that_of_the_errors_in_any_unit():
    rng = np.random.default_rng(2)
    truth = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, -0.2], [0.3, -0.2, 1.0]])
    errors = rng.multivariate_normal(np.zeros(3), truth, size=3000) * [1e-3, 1.0, 50.0]
    errors[rng.random(errors.shape) < 0.3] = np.nan
    found = error_correlation(errors)
    np.testing.assert_allclose(found, truth, atol=0.08)
    np.testing.assert_array_equal(np.diag(found), 1.0)
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_few_errors_are_not_tied_together_by_chance(rows):
    errors = np.random.default_rng(rows).normal(size=(rows, 6))
    errors[:, 4] = np.nan  # never measured
    errors[: rows // 2, 0], errors[rows // 2 :, 1] = np.nan, np.nan  # never both
    found = error_correlation(errors)
    assert np.linalg.eigvalsh(found).min() > -1e-12
    assert np.abs(found - np.eye(6)).max() <= rows / (rows + 2) + 1e-9
    np.testing.assert_array_equal(found[4], np.eye(6)[4])


def test_errors_of_nothing_are_uncorrelated():
    np.testing.assert_array_equal(error_correlation(np.zeros((5, 2))), np.eye(2))


def test_conditioning_is_that_of_the_normal_distribution():
    model = make_model("completion", base="mean").fit(POLYMERS, related())
    known, new = np.array([[np.nan, 1.5, -0.5]]), ["*CCCCCO*"]
    s, plain = model.covariance_, model.predict(new)[0]
    weights = s[0, 1:] @ np.linalg.inv(s[1:, 1:])
    found = model.predict_dist(new, known)
    assert found.mean[0, 0] == pytest.approx(plain[0] + weights @ ([1.5, -0.5] - plain[1:]))
    assert found.std[0, 0] == pytest.approx(np.sqrt(s[0, 0] - weights @ s[1:, 0]))
    alone = model.predict(new, np.array([[np.nan, np.nan, -0.5]]))
    assert alone[0, 0] == pytest.approx(plain[0] + s[0, 2] / s[2, 2] * (-0.5 - plain[2]))
    with pytest.raises(UserError, match="known properties of shape"):
        model.predict(new, known[:, :2])


def test_what_is_known_of_each_polymer_is_conditioned_by_its_own_covariance():
    rng = np.random.default_rng(2)
    half = rng.normal(size=(5, 3, 3))
    joint = Joint(rng.normal(size=(5, 3)), half @ half.transpose(0, 2, 1) + np.eye(3))
    known = rng.normal(size=(5, 3))
    known[0], known[1, 1], known[2, 2] = np.nan, np.nan, np.nan
    mean, variance = joint.given(known, target=0)
    for row, c in enumerate(joint.covariance):
        at = [t for t in (1, 2) if not np.isnan(known[row, t])]
        weights = c[0, at] @ np.linalg.inv(c[np.ix_(at, at)]) if at else np.zeros(0)
        assert mean[row, 0] == pytest.approx(joint.mean[row, 0] + weights @ (known[row, at] - joint.mean[row, at]))
        assert variance[row] == pytest.approx(c[0, 0] - weights @ c[at, 0])
        np.testing.assert_allclose(mean[row, at], known[row, at])
    assert mean[1, 1] != joint.mean[1, 1]  # what is not known is expected too


def test_process_over_all_properties_completes_without_folds():
    y = related()
    train, test = np.arange(0, 60, 2), np.arange(1, 60, 2)
    model = make_model("completion", base={"key": "gp_coregional", "features": "ecfp_count"})
    model.fit([POLYMERS[i] for i in train], y[train])
    found = model.predict_dist([POLYMERS[i] for i in test], y[test])
    assert np.sqrt(np.mean((found.mean[:, 0] - y[test, 0]) ** 2)) < 0.2 * y[test, 0].std()
    inside = (found.lower[:, 0] <= y[test, 0]) & (y[test, 0] <= found.upper[:, 0])
    assert inside.mean() > 0.7


def test_second_level_learns_what_no_covariance_can_say(tmp_path):
    rng = np.random.default_rng(3)
    other = rng.normal(size=len(POLYMERS))
    y = np.column_stack([np.abs(other), other])  # uncorrelated, yet one tells the other
    train, test = np.arange(0, 60, 3).tolist() + np.arange(1, 60, 3).tolist(), np.arange(2, 60, 3).tolist()

    def error(**params) -> float:
        model = make_model("completion", base="mean", **params).fit([POLYMERS[i] for i in train], y[train])
        model.save(tmp_path / "model")
        found = load_model(tmp_path / "model").predict([POLYMERS[i] for i in test], y[test])
        np.testing.assert_array_equal(found, model.predict([POLYMERS[i] for i in test], y[test]))
        return float(np.sqrt(np.mean((found[:, 0] - y[test, 0]) ** 2)))

    trees = {"key": "extra_trees", "max_features": 1.0}
    assert error(second=trees) < 0.75 * error()
    assert error(second=[trees, {**trees, "random_state": 1}]) < error(
        second=trees
    )  # the first level counts for a third


def test_intervals_hold_out_of_fold():
    y = related()
    train, test = np.arange(0, 60, 2), np.arange(1, 60, 2)
    model = make_model("completion", base={"key": "extra_trees", "n_estimators": 30})
    model.fit([POLYMERS[i] for i in train], y[train])
    known = y[test].copy()
    found = model.predict_dist([POLYMERS[i] for i in test], known)
    inside = (found.lower[:, 0] <= y[test, 0]) & (y[test, 0] <= found.upper[:, 0])
    assert inside.mean() > 0.7
    assert found.std[:, 0].max() < 0.4 * found.std[:, 2].min()


def test_a_target_seldom_measured_is_no_reason_to_fail():
    y = related()
    y[2:, 2] = np.nan  # measured for two polymers: some folds have none to learn from
    model = make_model("completion", base="mean").fit(POLYMERS, y)
    assert np.isfinite(model.predict(POLYMERS, known=y)).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"base": "extra_tree"}, "did you mean 'extra_trees'"),
        ({"base": {"key": "svm", "c": 1}}, "unknown parameter 'c'"),
        ({"base": 3}, "3 is no model"),
        ({"base": "completion"}, "cannot be completed again"),
        ({"folds": 1}, "folds=1"),
        ({"second": "extra_tree"}, "did you mean 'extra_trees'"),
        ({"second": ["extra_trees", "svn"]}, "did you mean 'svm'"),
        ({"second": [3]}, "3 is no model"),
        ({"second": "gcn"}, "'gcn' cannot be the second level"),
        ({"second": "svm_tanimoto"}, "'svm_tanimoto' cannot be the second level"),
        ({"task": "classification"}, "does no classification"),
    ],
)
def test_wrong_parameters(params, message):
    with pytest.raises(UserError, match=message):
        make_model("completion", **params)


@pytest.fixture
def file(tmp_path):
    y = related()
    frame = pd.DataFrame({"smiles": POLYMERS, "a": 10 ** y[:, 0], "b": y[:, 1]})
    frame.loc[::7, "a"] = np.nan
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    return tmp_path / "pairs.csv"


PAIR = [Property(name="a", transform="log10"), Property(name="b")]


def test_completion_is_a_task_of_its_own(file, tmp_path):
    table = read_table(file, PAIR)
    specs = [Compared("extra_trees", params={"n_estimators": 20})]
    plain = compare(table, specs, SplitSpec(folds=3), tmp_path / "plain", jobs=1)
    given = compare(table, specs, SplitSpec(folds=3), tmp_path / "given", jobs=1, known_properties=True)
    assert given.leaderboard()["r2"].iloc[0] > 0.9 > plain.leaderboard()["r2"].iloc[0]
    assert "its other measured properties are given" in given.options["protocol"]["honest"]
    assert given.leaderboard()[["model", "key"]].iloc[0].tolist() == ["extra_trees", "completion"]
    # The same model under the honest protocol is told nothing of its test polymers.
    alone = compare(table, [Compared("completion", params={"base": {"key": "extra_trees", "n_estimators": 20}})],
                    SplitSpec(folds=3), tmp_path / "alone", jobs=1)  # fmt: skip
    assert alone.leaderboard()["r2"].iloc[0] < 0.9
    with pytest.raises(UserError, match="both parts of a ratio"):
        compare(table, specs, SplitSpec(), tmp_path / "ratio", known_properties=True, ratios=["a/b"])
    with pytest.raises(UserError, match="one target alone"):
        compare(read_table(file, PAIR[1:]), specs, SplitSpec(), tmp_path / "one", known_properties=True)


def test_predict_reads_what_the_file_knows(file, tmp_path):
    table = read_table(file, PAIR)
    model = make_model("completion", base="mean").fit(table.psmiles, table.y)
    bundle = Bundle(model, tuple(PAIR), tuple(table.keys), tuple(table.psmiles), table.values, table.digest, 1)
    bundle = Bundle.load(bundle.save(tmp_path / "model"))
    source = tmp_path / "new.csv"
    source.write_text("smiles,b,a\n*CC(C)O*,2.0,\n*CC(C)S*,,\nno polymer,2.0,\n*CC(CC)O*,text,-3\n")
    predict_file(bundle, source, tmp_path / "out.csv")
    out = pd.read_csv(tmp_path / "out.csv")
    expected = bundle.model.predict(["*CC(C)O*"], known=np.array([[np.nan, 2.0]]))
    assert out["a"][0] == pytest.approx(10 ** expected[0, 0])
    assert out["a"][0] > 3 * out["a"][1] > 0
    assert out["a"][3] == pytest.approx(out["a"][1])  # cells that are no usable number count as not known
    assert np.isnan(out["a"][2])
    assert out["a_std"][0] < 0.5 * out["a_std"][1]


def test_parsed_polymers_pass(file):
    y = related()[: len(TOY_POLYMERS)]
    model = make_model("completion", base="mean").fit(TOY_POLYMERS, y)
    assert model.predict(TOY_POLYMERS).shape == y.shape
