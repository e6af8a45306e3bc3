"""What models say of their own uncertainty: Monte Carlo dropout, learned noise, quantiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm, spearmanr
from torch import nn

from polyml.data.catalog import embedded_table
from polyml.domain import ApplicabilityDomain
from polyml.errors import UserError
from polyml.models import make_model
from polyml.models.catalog import load_model, model_class
from polyml.models.checks import TOY_POLYMERS, check_regression, toy_labels, toy_targets
from polyml.models.nn.mc_dropout import thinned
from polyml.models.nn.targets import TargetScaler
from polyml.models.targets import TargetBasis

SMALL = {"width": 16, "batch_size": 16, "ensemble": 1, "max_epochs": 8}
GROUPS = {"O": 0.1, "S": 1.0}  # noise of a polymer that holds it
CHAINS = [f"*{'C' * n}{x}{'C' * m}({tail})*" for n in range(1, 9) for m in range(1, 4) for tail in "FC" for x in GROUPS]


def noisy(repeats, seed):
    """Return polymers, each ``repeats`` times with another value, and the standard deviation of the noise in them."""
    rng = np.random.default_rng(seed)
    polymers = CHAINS * repeats
    noise = np.array([next(scale for x, scale in GROUPS.items() if x in text) for text in polymers])
    return polymers, rng.normal(scale=noise), noise


def test_thinned_networks_spread_as_the_theory_says():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Dropout(0.3), nn.Linear(40, 1)).eval()
    x = torch.rand(5, 40)
    with torch.inference_mode():
        samples = []
        for sample in range(3000):
            with thinned(network, 0, sample):
                samples.append(network(x))
        found = torch.stack(samples)
        weights = network[1].weight
        expected = (x**2 * weights**2).sum(dim=1, keepdim=True) * 0.3 / 0.7
        np.testing.assert_allclose(found.var(dim=0), expected, rtol=0.1)
        np.testing.assert_allclose(found.mean(dim=0), network(x), atol=0.02)
        assert torch.equal(network(x), network(x))  # nothing is dropped outside
        with thinned(network, 0, 7):
            torch.testing.assert_close(network(x[2:3]), samples[7][2:3])  # one network, whatever the company


def test_polymers_far_from_the_data_spread_more_under_dropout():
    frame = embedded_table("gas_permeability").frame.dropna(subset=["O2"]).sample(450, random_state=0)
    train, test = frame[:250], frame[250:]
    model = make_model("mlp", mc_dropout=20, ensemble=1, features="ecfp_count", width=64, max_epochs=20)
    model.fit(train["psmiles"].tolist(), np.log10(train["O2"].to_numpy()))
    std = model.predict_dist(test["psmiles"].tolist()).std[:, 0]
    score = ApplicabilityDomain.fit(train["psmiles"].tolist()).judge(test["psmiles"].tolist()).score
    assert spearmanr(std, score).statistic < -0.2
    third = np.quantile(score, [1 / 3, 2 / 3])
    assert np.median(std[score < third[0]]) > 1.15 * np.median(std[score > third[1]])


@pytest.mark.parametrize("key", ["perceptron", "mlp", "gin", "lstm", "transformer"])
def test_dropout_changes_no_prediction_and_spreads_each_polymer_alike(key, tmp_path):
    params = {name: value for name, value in SMALL.items() if name != "width" or key != "perceptron"}
    params |= {"dropout": 0.2, "max_epochs": 2}
    plain = make_model(key, **params).fit(TOY_POLYMERS, toy_targets())
    model = make_model(key, mc_dropout=4, **params).fit(TOY_POLYMERS, toy_targets())
    assert model.gives_std
    assert not plain.gives_std
    np.testing.assert_array_equal(model.predict(TOY_POLYMERS), plain.predict(TOY_POLYMERS))
    found = model.predict_dist(TOY_POLYMERS)
    np.testing.assert_array_equal(found.mean, plain.predict(TOY_POLYMERS))
    assert (found.std > 0).all()
    np.testing.assert_allclose(model.predict_dist(TOY_POLYMERS[3:5]).std, found.std[3:5], atol=1e-6)
    frames = model.predict_dist(["*OCC*", "*COC*", "*CCOCCO*"]).std
    np.testing.assert_allclose(frames, frames[[0, 0, 0]], atol=1e-6)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(load_model(tmp_path / "m").predict_dist(TOY_POLYMERS).std, found.std)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mc_dropout": 20, "dropout": 0.0}, "this network drops nothing"),
        ({"mc_dropout": 1}, "one sample has no spread"),
        ({"mc_dropout": -3}, "mc_dropout"),
        ({"mc_dropout": 20, "task": "classification"}, "mc_dropout has no effect"),
        ({"loss": "beta_nll", "task": "classification"}, "is for regression"),
        ({"loss": "beta_nl"}, "did you mean 'beta_nll'"),
    ],
    ids=str,
)
def test_what_gives_no_spread_is_refused(params, message):
    with pytest.raises(UserError, match=message):
        make_model("gcn", **params)


@pytest.mark.parametrize("loss", ["gaussian_nll", "beta_nll"])
def test_the_learned_noise_is_where_the_noise_is(loss):
    polymers, y, noise = noisy(3, seed=0)
    params = {**SMALL, "max_epochs": 60, "lr": 0.01, "dropout": 0.0}
    model = make_model("mlp", loss=loss, **params).fit(polymers, y)
    std = model.predict_dist(polymers).std[:, 0]
    assert spearmanr(std, noise).statistic > 0.7
    assert 0.4 < np.median(std[noise == 1.0]) < 1.6
    assert np.median(std[noise == 0.1]) < 0.4


def test_the_beta_likelihood_weighs_by_the_predicted_deviation():
    y = np.array([[1.0], [2.0], [4.0]])
    out, log_variance = torch.tensor([[0.5], [0.0], [-2.0]]), torch.tensor([[0.1], [-0.3], [0.7]])
    truth = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    scaler = TargetScaler(1, "beta_nll").fit(y, TargetBasis.separate(1))
    each = torch.nn.GaussianNLLLoss(reduction="none")(out, truth, log_variance.exp())
    expected = 2 * (each * (log_variance / 2).exp()).mean()
    both = torch.cat([out, log_variance], dim=1)
    assert float(scaler.loss(both, torch.tensor(y).float())) == pytest.approx(float(expected), rel=1e-5)


def test_the_variance_of_an_ensemble_is_that_of_its_means_and_the_mean_of_its_own():
    params = {**SMALL, "ensemble": 3, "loss": "gaussian_nll", "dropout": 0.2, "max_epochs": 3}
    model = make_model("mlp", mc_dropout=5, **params).fit(TOY_POLYMERS, toy_targets())
    means, noise = model._member_predictions(TOY_POLYMERS)
    _, both = model._member_predictions(TOY_POLYMERS, samples=5)
    assert (both > noise).all()
    expected = np.var(means, axis=0, ddof=1) + both.mean(axis=0)
    np.testing.assert_allclose(model.predict_dist(TOY_POLYMERS).std ** 2, expected)


def test_quantiles_keep_the_contract():
    cls = model_class("lightgbm")
    check_regression(lambda **more: make_model("lightgbm", **{**cls.toy_params, "spread": "quantile", **more}), cls)


def test_quantiles_are_where_the_noise_is_and_leave_the_prediction_alone():
    polymers, y, noise = noisy(12, seed=1)
    params = {"n_estimators": 120, "ensemble": 2}
    found = make_model("lightgbm", spread="quantile", **params).fit(polymers, y).predict_dist(CHAINS)
    plain = make_model("lightgbm", **params).fit(polymers, y)
    np.testing.assert_array_equal(found.mean[:, 0], plain.predict(CHAINS))
    true = noise[: len(CHAINS)]
    assert spearmanr(found.std[:, 0], true).statistic > 0.7
    half = norm.ppf(0.95) * true  # the true quantiles
    for scale in GROUPS.values():
        here = true == scale
        assert 0.5 < np.median((found.upper - found.lower)[here, 0] / (2 * half[here])) < 1.5
    np.testing.assert_allclose((found.upper - found.lower)[:, 0], 2 * norm.ppf(0.95) * found.std[:, 0])


def test_quantiles_that_cross_are_sorted_and_hold_the_prediction():
    params = {"n_estimators": 20, "ensemble": 1, "min_child_samples": 2, "spread": "quantile"}
    model = make_model("lightgbm", **params).fit(TOY_POLYMERS, toy_targets())
    whole = model.predict_dist(TOY_POLYMERS)
    model.quantiles_ = [pair[::-1] for pair in model.quantiles_]
    crossed = model.predict_dist(TOY_POLYMERS)
    np.testing.assert_array_equal(crossed.lower, whole.lower)
    assert (whole.lower <= whole.mean).all()
    assert (whole.mean <= whole.upper).all()


def test_one_booster_alone_says_that_it_has_no_spread():
    model = make_model("lightgbm", n_estimators=5, min_child_samples=2, ensemble=1).fit(TOY_POLYMERS, toy_targets())
    assert not model.gives_std
    assert np.isnan(model.predict_dist(TOY_POLYMERS).std).all()
    classifier = make_model("lightgbm", n_estimators=5, min_child_samples=2, ensemble=1, task="classification")
    assert classifier.fit(TOY_POLYMERS, toy_labels()).predict_proba(TOY_POLYMERS).shape == (len(TOY_POLYMERS), 3)
    with pytest.raises(UserError, match="did you mean 'quantile'"):
        make_model("lightgbm", spread="quantiles")
