from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rdkit import DataStructs
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, SVR

from polyml.errors import UserError
from polyml.features.batch import featurize
from polyml.models import kernels, load_model, make_model
from polyml.models.checks import TOY_POLYMERS, check_model, toy_labels, toy_targets
from polyml.models.kernels import tanimoto

NEW = ("*CC(*)CCC", "*OCCCCCC*", "*CC(*)c1ccc(F)cc1")
COUNTS = st.integers(1, 6).flatmap(
    lambda d: st.tuples(*[arrays(np.int64, st.tuples(st.integers(1, 5), st.just(d)), elements=st.integers(0, 4))] * 2)
)


def by_rdkit(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    vectors = []
    for rows in (a, b):
        made = [DataStructs.UIntSparseIntVect(rows.shape[1]) for _ in rows]
        for vector, row in zip(made, rows, strict=True):
            for column, count in enumerate(row.tolist()):
                vector[column] = count
        vectors.append(made)
    return np.array([DataStructs.BulkTanimotoSimilarity(one, vectors[1]) for one in vectors[0]])


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_similarity_of_counts_is_that_of_rdkit(pair):
    a, b = pair
    found = tanimoto(a, b)
    empty = (a.sum(axis=1) == 0)[:, None] & (b.sum(axis=1) == 0)
    np.testing.assert_allclose(found[~empty], by_rdkit(a, b)[~empty], rtol=1e-6)
    assert (found[empty] == 1).all()


@settings(max_examples=40, deadline=None)
@given(COUNTS)
def test_similarity_is_a_kernel(pair):
    x = np.concatenate(pair)
    found = tanimoto(x, x)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1.0)
    assert np.linalg.eigvalsh(found.astype(float)).min() > -1e-5


def test_similarity_of_real_numbers_does_not_depend_on_the_batch(monkeypatch):
    x = np.abs(np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)) * (
        np.random.default_rng(1).random((50, 30)) < 0.4
    )
    expected = tanimoto(x, x[:20])
    monkeypatch.setattr(kernels, "_ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(tanimoto(x, x[:20]), expected)
    np.testing.assert_array_equal(tanimoto(x[13:14], x[:20]), expected[13:14])
    total, differing = x.sum(axis=1)[:, None] + x[:20].sum(axis=1), cdist(x, x[:20], "cityblock")
    np.testing.assert_allclose(expected, (total - differing) / (total + differing), atol=1e-6)


def test_tanimoto_svm_is_that_of_sklearn():
    y, x = toy_targets(missing=False)[:, 0], featurize("ecfp_count", TOY_POLYMERS)
    model = make_model("svm_tanimoto", targets="separate").fit(TOY_POLYMERS, y)
    raw = SVR(kernel="precomputed", C=model.C, epsilon=model.epsilon)
    raw.fit(tanimoto(x, x), (y - y.mean()) / y.std())
    expected = raw.predict(tanimoto(featurize("ecfp_count", NEW), x)) * y.std() + y.mean()
    np.testing.assert_allclose(model.predict(NEW), expected, atol=1e-6)


def test_tanimoto_svm_classifies_as_sklearn_does():
    labels = ["oxygen" if "O" in text else "other" for text in TOY_POLYMERS]
    x = featurize("ecfp_count", TOY_POLYMERS)
    model = make_model("svm_tanimoto", task="classification").fit(TOY_POLYMERS, labels)
    raw = SVC(kernel="precomputed", C=model.C).fit(tanimoto(x, x), labels)
    assert model.predict(NEW).tolist() == raw.predict(tanimoto(featurize("ecfp_count", NEW), x)).tolist()


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbours_are_those_of_sklearn(weights):
    y, x = toy_targets(missing=False)[:, 0], featurize("ecfp_count", TOY_POLYMERS)
    model = make_model("knn", n_neighbors=3, weights=weights).fit(TOY_POLYMERS, y)
    raw = KNeighborsRegressor(3, metric="precomputed", weights=weights).fit(1 - tanimoto(x, x), y)
    polymers = [*NEW, *TOY_POLYMERS[:5]]
    distances = 1 - tanimoto(featurize("ecfp_count", polymers), x)
    clear = [len(np.unique(np.sort(row)[:4])) == 4 for row in distances]  # no tie decides who is a neighbour
    assert sum(clear) > 4
    np.testing.assert_allclose(model.predict(polymers)[clear], raw.predict(distances)[clear], atol=1e-6)


def test_neighbours_vote_as_in_sklearn():
    labels = ["oxygen" if "O" in text else "other" for text in TOY_POLYMERS]
    x = featurize("ecfp_count", TOY_POLYMERS)
    model = make_model("knn", n_neighbors=1, task="classification").fit(TOY_POLYMERS, labels)
    raw = KNeighborsClassifier(1, metric="precomputed").fit(1 - tanimoto(x, x), labels)
    assert model.predict(NEW).tolist() == raw.predict(1 - tanimoto(featurize("ecfp_count", NEW), x)).tolist()


def test_neighbours_by_distance_keep_the_contract():
    check_model("knn", metric="euclidean", features=["ecfp_count", "descriptors"])


def test_gaussian_process_is_that_of_sklearn():
    class Tanimoto(RBF):
        def __call__(self, X, Y=None, eval_gradient=False):
            return tanimoto(X, X if Y is None else Y).astype(float) * amplitude

        def diag(self, X):
            return np.full(len(X), amplitude)

    y, x = toy_targets(missing=False)[:, 0], featurize("ecfp_count", TOY_POLYMERS)
    model = make_model("gp_tanimoto").fit(TOY_POLYMERS, y)
    amplitude, noise, centre, spread = model.estimators_[0].scale
    raw = GaussianProcessRegressor(Tanimoto(), alpha=noise + amplitude * 1e-6, optimizer=None)
    raw.fit(x, (y - centre) / spread)
    mean, std = raw.predict(featurize("ecfp_count", NEW), return_std=True)
    found = model.predict_dist(NEW)
    np.testing.assert_allclose(found.mean[:, 0], mean * spread + centre, atol=1e-5)
    np.testing.assert_allclose(found.std[:, 0], np.sqrt(std**2 + noise) * spread, atol=1e-5)


def test_amplitude_and_noise_have_the_best_likelihood():
    from polyml.models.tanimoto_process import _negative_log_likelihood

    rng = np.random.default_rng(0)
    values, squares = rng.random(30) * 3, rng.random(30)
    for theta in (np.array([0.3, -1.0]), np.array([-2.0, 0.5])):
        _, gradient = _negative_log_likelihood(theta, values, squares)
        for place in (0, 1):
            step = np.eye(2)[place] * 1e-5
            up, down = (_negative_log_likelihood(theta + sign * step, values, squares)[0] for sign in (1, -1))
            assert gradient[place] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("svm", {"kernel": "tanimoto"}),
        ("svm_tanimoto", {"features": "descriptors"}),
        ("knn", {"features": ["ecfp_count", "descriptors"]}),
        ("gp_tanimoto", {"features": "descriptors"}),
    ],
)
def test_tanimoto_refuses_descriptors_before_anything_is_trained(key, params):
    with pytest.raises(UserError, match=r"'descriptors' are none\n.*ecfp_count"):
        make_model(key, **params)


def test_unknown_kernel_metric_and_weights_name_the_nearest():
    with pytest.raises(UserError, match="did you mean 'tanimoto'"):
        make_model("svm", kernel="tanimotto")
    with pytest.raises(UserError, match="did you mean 'euclidean'"):
        make_model("knn", metric="euclid")
    with pytest.raises(UserError, match="unknown weights"):
        make_model("knn", weights="rank")
    with pytest.raises(UserError, match="weights must be a name, got 1"):
        make_model("knn", weights=1)
    with pytest.raises(UserError, match=r"n_neighbors=0(.|\n)*at least 1"):
        make_model("knn", n_neighbors=0)


def test_a_part_that_no_training_polymer_has_makes_a_candidate_less_alike():
    y = toy_targets(missing=False)[:, 0]
    known, strange = (
        make_model("gp_tanimoto").fit(TOY_POLYMERS, y).predict_dist(["*CC(*)CCC", "*[Ge](C)(C)[Sn](C)(C)*"]).std
    )
    assert strange[0] > known[0]


@pytest.mark.parametrize("key", ["knn", "gp_tanimoto", "svm_tanimoto"])
def test_training_polymers_are_kept_small(key, tmp_path):
    make_model(key).fit(TOY_POLYMERS, toy_targets()).save(tmp_path / "model")
    dense = featurize("ecfp_count", TOY_POLYMERS).nbytes
    assert sum(path.stat().st_size for path in (tmp_path / "model").rglob("*")) < dense
    assert load_model(tmp_path / "model").predict(NEW).shape == (3, 2)


def test_labels_of_the_neighbours_are_weighed():
    labels = toy_labels()
    plain = make_model("knn", n_neighbors=8, weights="uniform", task="classification")
    balanced = make_model("knn", n_neighbors=8, weights="uniform", task="classification", class_weight="balanced")
    rare = plain.fit(TOY_POLYMERS, labels).predict_proba(TOY_POLYMERS)[:, 0].mean()
    assert balanced.fit(TOY_POLYMERS, labels).predict_proba(TOY_POLYMERS)[:, 0].mean() > rare


def test_a_part_of_many_polymers_decides_the_length_scales_and_all_decide_the_predictions() -> None:
    polymers = [f"*{'C' * n}{x}*" for n in range(1, 21) for x in ("O", "S", "N")]
    y = np.array([np.sin(len(text) / 3) + text.count("O") for text in polymers])
    whole = make_model("gp", features="ecfp_count").fit(polymers, y)
    same = make_model("gp", features="ecfp_count", likelihood_rows=60).fit(polymers, y)
    part = make_model("gp", features="ecfp_count", likelihood_rows=30).fit(polymers, y)
    assert np.array_equal(whole.predict(polymers), same.predict(polymers))
    assert not np.allclose(part.processes_[0].theta, whole.processes_[0].theta)
    assert part.processes_[0].rows.tolist() == list(range(60))
    assert np.abs(part.predict(polymers) - y).mean() < 0.2 * y.std()
    other = make_model("gp", features="ecfp_count", likelihood_rows=30, random_state=7).fit(polymers, y)
    assert not np.allclose(part.processes_[0].theta, other.processes_[0].theta)
