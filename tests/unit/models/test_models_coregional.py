"""The Gaussian process over several properties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from polyml.errors import UserError
from polyml.models import coregional as module
from polyml.models import make_model
from polyml.models.coregional_kernel import CoregionalKernel, _negative_log_likelihood, maximise_likelihood

POLYMERS = [f"*{'C' * n}{x}*" for n in range(1, 13) for x in ("O", "S", "N(C)")]


def targets(seed: int = 0) -> np.ndarray:
    """A property of the structure, one tied to it and to nothing else, and one that half of the polymers have."""
    rng = np.random.default_rng(seed)
    carbons = np.array([text.count("C") for text in POLYMERS], dtype=float)
    noise = rng.normal(size=len(POLYMERS))
    y = np.column_stack([carbons + noise, 2 * carbons + 2 * noise, rng.normal(size=len(POLYMERS))])
    y[::2, 1] = np.nan
    return y


def distances(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    points = rng.normal(size=(2, n, 2))
    return [((own[:, None] - own) ** 2).sum(axis=-1) for own in points]


def test_gradient_of_the_likelihood_is_that_of_differences():
    rng = np.random.default_rng(0)
    squares, z = distances(rng, 14), rng.normal(size=(14, 3))
    z[rng.random(z.shape) < 0.3] = np.nan
    start = CoregionalKernel.start(2, np.eye(3))
    vector = start.pack() + 0.1 * rng.normal(size=len(start.pack()))
    tasks, rows = np.nonzero(~np.isnan(z).T)
    rest = (start, [square[np.ix_(rows, rows)] for square in squares], rows, tasks, z[rows, tasks])
    expected = approx_fprime(vector, lambda at: _negative_log_likelihood(at, *rest)[0], 1e-6)
    np.testing.assert_allclose(_negative_log_likelihood(vector, *rest)[1], expected, atol=2e-3)


def test_packing_is_undone_by_unpacking():
    kernel = CoregionalKernel.start(2, np.array([[1.0, 0.9], [0.9, 1.0]]))
    again, _ = kernel.unpack(kernel.pack())
    np.testing.assert_allclose(again.covariances, kernel.covariances)
    np.testing.assert_allclose(again.noise, kernel.noise)


def test_likelihood_finds_the_covariances_that_values_were_drawn_from():
    rng = np.random.default_rng(1)
    n, truth = 150, np.array([[1.0, -0.9], [-0.9, 1.0]])
    squares = distances(rng, n)[:1]
    shape = np.exp(-0.5 * squares[0]) + 1e-9 * np.eye(n)
    z = np.linalg.cholesky(shape) @ rng.normal(size=(n, 2)) @ np.linalg.cholesky(truth).T
    z += 0.1 * rng.normal(size=z.shape)
    found = maximise_likelihood(CoregionalKernel.start(1, np.eye(2)), squares, z, 80)
    c = found.covariances[0]
    assert c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]) < -0.8
    np.testing.assert_allclose(np.diag(found.noise), 0.01, atol=0.006)


def test_expectation_without_a_polymer_is_that_of_the_matrix_without_it():
    y = targets()
    model = make_model("gp_coregional", features=["ecfp_count", "descriptors"]).fit(POLYMERS, y)
    found, kernel = model.leave_one_out(), model.kernel_
    shapes = next(model._training_shapes())
    at = np.ix_(model.rows_, model.rows_)
    matrix = kernel.between_values([shape[at] for shape in shapes], model.rows_, model.tasks_)
    z = ((y - model.centre_) / model.spread_)[model.rows_, model.tasks_]
    for row in (0, 7, 20):
        kept = model.rows_ != row
        inverse = np.linalg.inv(matrix[np.ix_(kept, kept)])
        cross = model._cross([shape[[row]] for shape in shapes])[0][:, kept]
        mean = cross @ inverse @ z[kept] * model.spread_ + model.centre_
        covariance = (model._prior() - cross @ inverse @ cross.T) * np.outer(model.spread_, model.spread_)
        np.testing.assert_allclose(found.mean[row], mean, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.covariance[row], covariance, rtol=1e-6, atol=1e-8)


def test_a_property_is_learned_from_those_that_more_polymers_have():
    y = targets()
    hidden = np.arange(0, len(POLYMERS), 2)
    together = make_model("gp_coregional", features="ecfp_count").fit(POLYMERS, y)
    alone = make_model("gp", features="ecfp_count", targets="separate").fit(POLYMERS, y)
    truth = 2 * y[hidden, 0]  # what noise has in common is known from the first property
    chosen = [POLYMERS[row] for row in hidden]
    error = [np.sqrt(np.mean((m.predict(chosen)[:, 1] - truth) ** 2)) for m in (together, alone)]
    assert error[0] < 0.9 * error[1]


def test_one_property_is_as_the_process_for_one():
    y = targets()[:, 0]
    pair = [make_model(key, features="ecfp_count").fit(POLYMERS, y) for key in ("gp_coregional", "gp")]
    new = ["*CCCCO*", "*CC(C)S*", "*CCCCCCCCCCCCCCO*"]
    found, expected = (model.predict_dist(new) for model in pair)
    np.testing.assert_allclose(found.mean, expected.mean, atol=0.05 * y.std())
    np.testing.assert_allclose(found.std, expected.std, rtol=0.1)


def test_too_many_values_are_refused(monkeypatch):
    monkeypatch.setattr(module, "_MOST_VALUES", 50)
    with pytest.raises(UserError, match="memory for this process grows"):
        make_model("gp_coregional").fit(POLYMERS, targets())


def test_polymers_with_several_properties_are_judged_first():
    y = targets()[:, :2]
    model = make_model("gp_coregional", features="ecfp_count", likelihood_values=20).fit(POLYMERS, y)
    judged = model._judged(~np.isnan(y))
    assert len(judged) == 10
    assert (~np.isnan(y[judged])).sum(axis=1).tolist() == [2] * 10
