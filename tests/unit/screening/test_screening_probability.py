from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from polyml.data.properties import Property
from polyml.errors import UserError
from polyml.screening import probability
from polyml.screening.plan import plan_screen
from polyml.screening.probability import Criteria, chances, normal_draws
from polyml.screening.spec import ScreenSpec

PROPERTIES = (
    Property(name="O2", unit="Barrer", transform="log10"),
    Property(name="N2", unit="Barrer", transform="log10"),
    Property(name="Tg", unit="K"),
)
CORRELATION = np.array([[1.0, 0.9, 0.2], [0.9, 1.0, 0.1], [0.2, 0.1, 1.0]])
RNG = np.random.default_rng(5)
N = 200
MEAN = np.column_stack([10 ** RNG.normal(2, 0.5, N), 10 ** RNG.normal(1.3, 0.5, N), RNG.normal(400, 50, N)])
STD = np.column_stack([RNG.uniform(0.05, 0.4, N), RNG.uniform(0.05, 0.4, N), RNG.uniform(5, 50, N)])


def criteria(*constraints, objectives=("log10(O2)",), derive=None):
    spec = ScreenSpec(derive=derive or {}, constraints=list(constraints), objectives=list(objectives))
    return Criteria.of(plan_screen(spec, PROPERTIES))


def judge(*constraints, mean=MEAN, std=STD, **options):
    asked = {name: options.pop(name) for name in ("objectives", "derive") if name in options}
    return chances(criteria(*constraints, **asked), PROPERTIES, mean, std, **options)


def test_one_threshold_is_the_normal_distribution():
    np.testing.assert_allclose(judge("Tg >= 420").probability, norm.sf((420 - MEAN[:, 2]) / STD[:, 2]), atol=0.005)
    expected = norm.cdf((2.0 - np.log10(MEAN[:, 0])) / STD[:, 0])  # decades of a property that is modelled as log10
    np.testing.assert_allclose(judge("O2 < 100").probability, expected, atol=0.005)


@pytest.mark.parametrize("correlation", [None, CORRELATION], ids=["independent", "correlated"])
def test_two_thresholds_are_the_bivariate_normal_distribution(correlation):
    found = judge("O2 >= 100", "N2 <= 25", correlation=correlation).probability
    together = 0.0 if correlation is None else -correlation[0, 1]  # the second is turned round
    z = np.column_stack([np.log10(MEAN[:, 0] / 100), np.log10(25 / MEAN[:, 1])]) / STD[:, :2]
    oracle = multivariate_normal([0, 0], [[1, together], [together, 1]])
    np.testing.assert_allclose(found, [oracle.cdf(row) for row in z], atol=0.01)


@pytest.mark.parametrize("correlation", [None, CORRELATION], ids=["independent", "correlated"])
def test_a_ratio_of_two_lognormal_properties_is_lognormal(correlation):
    together = 0.0 if correlation is None else correlation[0, 1]
    width = np.sqrt(STD[:, 0] ** 2 + STD[:, 1] ** 2 - 2 * together * STD[:, 0] * STD[:, 1])
    centre = np.log10(MEAN[:, 0] / MEAN[:, 1])
    options = {"derive": {"O2/N2": "O2 / N2"}, "objectives": ["log10(`O2/N2`)"], "correlation": correlation}
    found = judge("`O2/N2` >= 4", **options)
    np.testing.assert_allclose(found.probability, norm.cdf((centre - np.log10(4)) / width), atol=0.01)
    np.testing.assert_allclose(found.pessimistic, centre - norm.ppf(0.95) * width, atol=0.04 * width.max())


def test_correlated_errors_make_a_ratio_certain():
    mean, std = np.array([[80.0, 10.0, 300.0]]), np.array([[0.3, 0.3, 1.0]])
    apart = judge("O2 / N2 >= 5", mean=mean, std=std).probability[0]
    together = judge("O2 / N2 >= 5", mean=mean, std=std, correlation=CORRELATION).probability[0]
    assert apart < 0.75
    assert together > 0.9


def test_the_pessimistic_score_is_a_low_quantile():
    found = judge(objectives=["Tg"]).pessimistic
    np.testing.assert_allclose((found - MEAN[:, 2]) / STD[:, 2], norm.ppf(0.05), atol=0.02)
    minimized = judge(objectives=["minimize Tg"]).pessimistic
    np.testing.assert_allclose((-minimized - MEAN[:, 2]) / STD[:, 2], norm.ppf(0.95), atol=0.02)


def test_an_interval_says_how_wide_each_half_is():
    lower, upper = MEAN.copy(), MEAN.copy()
    lower[:, 2] -= 10.0
    upper[:, 2] += 40.0
    lower[:, 0] /= 2.0
    upper[:, 0] *= 8.0
    for end, sign, share in ((lower, "<", 0.05), (upper, ">", 0.05)):
        for i, name in ((0, "O2"), (2, "Tg")):
            demand = [f"{name} {sign} {value!r}" for value in end[:3, i].tolist()]
            found = [
                judge(text, mean=MEAN[[k]], std=STD[[k]], lower=lower[[k]], upper=upper[[k]]).probability[0]
                for k, text in enumerate(demand)
            ]
            np.testing.assert_allclose(found, share, atol=0.005)


def test_what_is_said_of_a_candidate_does_not_depend_on_its_company(monkeypatch):
    texts = ["O2 / N2 >= 4", "Tg > 380", 'robeson("O2/N2") > -0.5']
    whole = judge(*texts, correlation=CORRELATION)
    monkeypatch.setattr(probability, "_VALUES", 7 * 1024 * 6)
    for part in (slice(0, 1), slice(3, 20), slice(None)):
        found = judge(*texts, mean=MEAN[part], std=STD[part], correlation=CORRELATION)
        np.testing.assert_array_equal(found.probability, whole.probability[part])
        np.testing.assert_array_equal(found.pessimistic, whole.pessimistic[part])


def test_an_unknown_spread_counts_where_it_is_read_and_nowhere_else():
    mean, std = MEAN[:4].copy(), STD[:4].copy()
    std[1, 0], mean[2, 0], std[3, 1] = np.nan, np.nan, np.nan  # nothing reads N2
    found = judge("Tg >= 0", derive={"double": "2 * O2"}, objectives=["double"], mean=mean, std=std)
    assert found.probability.tolist() == [1.0] * 4
    assert np.isnan(found.pessimistic).tolist() == [False, True, True, False]
    assert np.isnan(judge("O2 > 1", mean=mean, std=std).probability).tolist() == [False, True, True, False]


def test_a_draw_without_a_value_counts_as_a_failure():
    mean, std = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 50.0]]), np.full((2, 3), 1.0)
    found = judge("log10(Tg) > -100", mean=mean, std=std, objectives=["log10(Tg)"])
    np.testing.assert_allclose(found.probability, [norm.cdf(1.0), 1.0], atol=0.005)
    assert np.isnan(found.pessimistic).tolist() == [True, False]  # 16 % of the first are not positive


def test_other_columns_have_no_error():
    fixed = {"similarity": np.array([0.2, 0.8, np.nan]), "O2_std": np.array([0.1, 0.5, 0.1])}
    mean, std = MEAN[:3], np.zeros((3, 3))
    found = judge("similarity > 0.5", mean=mean, std=std, objectives=["log10(O2) - O2_std"], fixed=fixed)
    np.testing.assert_array_equal(found.probability, [0.0, 1.0, np.nan])
    np.testing.assert_allclose(found.pessimistic, np.log10(mean[:, 0]) - fixed["O2_std"])
    np.testing.assert_array_equal(judge(objectives=["similarity"], mean=mean, std=std, fixed=fixed).pessimistic,
                                  fixed["similarity"])  # fmt: skip


def test_without_constraints_or_candidates_there_is_nothing_to_fail():
    assert judge().probability.tolist() == [1.0] * N
    found = judge("O2 > 1", mean=MEAN[:0], std=STD[:0])
    assert found.probability.shape == found.pessimistic.shape == (0,)


def test_draws_are_the_same_normal_ones_every_time():
    first = normal_draws(6, 1024)
    np.testing.assert_array_equal(first, normal_draws(6, 1024))
    assert np.abs(first.mean(axis=1)).max() < 0.01
    assert np.abs(first.std(axis=1) - 1).max() < 0.02
    assert np.abs(np.corrcoef(first) - np.eye(6)).max() < 0.05
    twice = normal_draws(2, 1024, np.ones((2, 2)))  # no positive definite matrix, and still a correlation
    np.testing.assert_allclose(twice[0], twice[1], atol=1e-6)
    with pytest.raises(UserError, match="power of two"):
        normal_draws(2, 1000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"correlation": np.eye(2)}, "shape"),
        ({"correlation": np.eye(3) * 2}, "no correlation"),
        ({"correlation": np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1.0]])}, "no correlation"),
        ({"lower": MEAN}, "one end"),
        ({"lower": MEAN, "upper": MEAN[:, :2]}, "shape"),
        ({"objectives": ["similarity"]}, "'similarity' is not given"),
        ({"objectives": ["similarity"], "fixed": {"similarity": np.zeros(2)}}, "2 values"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        judge("O2 > 1", **options)


def test_a_class_is_refused():
    with pytest.raises(UserError, match="class"):
        chances(criteria(), [Property(name="kind", transform="class")], MEAN[:, :1], STD[:, :1])
