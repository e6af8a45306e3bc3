from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.model_selection import KFold

from polyml.models import make_model
from polyml.models.checks import TOY_POLYMERS, toy_labels, toy_targets
from polyml.models.partition import Partition, cluster_statistics, polymer_folds

# Two families far apart.
FAMILIES = [*(f"*{'C' * n}O*" for n in range(6, 14)), *(f"*{'C' * n}S(=O)(=O)*" for n in range(6, 14))]


def test_statistics_are_drawn_toward_all_by_the_weight_of_one():
    partition = Partition(np.array([0, 0, 1, -1]), np.zeros((2, 1)), np.arange(2))
    y = np.array([[1.0], [3.0], [np.nan], [8.0]])
    means, stds = cluster_statistics(partition, y, np.ones(4))
    np.testing.assert_allclose(means[:, 0], [(1 + 3 + 4) / 3, 4.0, 4.0])
    assert stds[1, 0] == stds[2, 0] == pytest.approx(np.std([1.0, 3.0, 8.0]))


def test_polymers_out_of_reach_belong_to_no_cluster():
    partition = Partition(np.array([0, 1]), np.array([[0.0], [10.0]]), np.array([0, 1]), reach=2.0)
    assert partition.assign(np.array([[1.0], [9.0], [5.0]])).tolist() == [0, 1, -1]
    assert Partition(np.array([-1]), np.empty((0, 1)), np.empty(0, dtype=int)).assign(np.array([[1.0]])).tolist() == [
        -1
    ]


@pytest.mark.parametrize("key", ["kmeans", "hierarchical"])
def test_clusters_tell_families_apart(key):
    y = np.repeat([0.0, 10.0], 8)
    model = make_model(key, n_clusters=2, n_components=3).fit(FAMILIES, y)
    np.testing.assert_allclose(model.predict(["*CCCCCCCO*", "*CCCCCCCS(=O)(=O)*"]), [5 / 9, 85 / 9])


def test_density_clusters_are_those_of_sklearn_and_strangers_get_the_mean():
    y = np.arange(16.0)
    model = make_model("dbscan", n_components=3, eps=3.0, min_samples=3).fit(FAMILIES, y)
    x = model._embed(model._featurize(FAMILIES)[:, model.columns_])
    raw = DBSCAN(eps=3.0, min_samples=3).fit(model.estimators_[0].transform(x))
    np.testing.assert_array_equal(model.partition_.members, raw.labels_)
    assert model.partition_.count >= 1
    core = raw.core_sample_indices_[0]
    np.testing.assert_array_equal(model._clusters_of([FAMILIES[core]]), raw.labels_[[core]])
    lonely = make_model("dbscan", eps=1e-6, min_samples=2).fit(FAMILIES, y)
    np.testing.assert_allclose(lonely.predict(["*CC(*)c1ccccc1"]), y.mean())


def test_the_share_of_a_class_is_its_mean():
    labels = np.array(["a"] * 8 + ["b"] * 8)
    model = make_model("hierarchical", n_clusters=2, n_components=3, task="classification").fit(FAMILIES, labels)
    np.testing.assert_allclose(model.predict_proba(["*CCCCCCCO*"]), [[8.5 / 9, 0.5 / 9]])
    assert model.predict(FAMILIES).tolist() == labels.tolist()


def test_more_clusters_than_polymers_are_as_many_as_there_are():
    model = make_model("hierarchical", n_clusters=100).fit(TOY_POLYMERS, toy_targets())
    assert model.partition_.count == len(TOY_POLYMERS)
    assert make_model("kmeans", task="classification").fit(TOY_POLYMERS[:4], toy_labels()[:4]).partition_.count == 1


def test_the_setting_is_chosen_by_folds_that_keep_a_polymer_together():
    ways = [f"*{'C' * n}O*" for n in range(2, 26)] + [f"*O{'C' * n}*" for n in range(2, 26)]
    y = np.tile(np.random.default_rng(0).normal(size=24), 2)  # nothing to learn but the polymers themselves
    model = make_model("kmeans").fit(ways, y)
    assert model.partition_.count <= 4  # folds of rows would take 16


def test_folds_of_different_polymers_are_shuffled_rows():
    keys = [chr(97 + n) for n in range(20)]
    for ours, theirs in zip(polymer_folds(keys, 3), KFold(3, shuffle=True, random_state=3).split(keys), strict=True):
        assert all(map(np.array_equal, ours, theirs))
    assert polymer_folds(["a", "b"] * 9, 0) == []


def test_a_target_measured_once_does_not_hinder_the_choice():
    y = toy_targets()
    y[1:, 1] = np.nan
    for key in ("kmeans", "dbscan"):
        np.testing.assert_allclose(make_model(key).fit(TOY_POLYMERS, y).predict(TOY_POLYMERS)[:, 1], y[0, 1])
