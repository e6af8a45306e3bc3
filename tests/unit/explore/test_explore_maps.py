import numpy as np
import pandas as pd
import pytest

from polyml.config import ExploreSpec
from polyml.data.properties import Property
from polyml.data.table_reader import read_table
from polyml.errors import UserError
from polyml.explore import explore
from polyml.explore.clusters import cluster
from polyml.explore.projections import project, reduce_features
from polyml.sections import check_section
from polyml.tracking import Tracker


@pytest.fixture
def blobs():
    """Three groups of 30, 20 and 10 points, far apart in six dimensions."""
    rng = np.random.default_rng(1)
    centres = np.array([[10, 0, 0, 0, 0, 0], [0, 10, 0, 0, 0, 0], [0, 0, 10, 0, 0, 0]])
    group = np.repeat([0, 1, 2], [30, 20, 10])
    return centres[group] + rng.normal(0, 0.3, (60, 6)), group


def test_k_means_finds_the_groups_and_numbers_them_by_size(blobs):
    points, group = blobs
    found = cluster(points, 3, seed=1)
    np.testing.assert_array_equal(found.labels, group + 1)
    assert [group[row] for row in found.representatives] == [0, 1, 2]
    assert found.silhouette > 0.8


def test_the_number_of_clusters_follows_from_the_silhouette(blobs):
    points, _ = blobs
    assert len(cluster(points, None, seed=1).representatives) == 3


def test_more_clusters_than_polymers_are_refused():
    with pytest.raises(UserError, match="at most 2 clusters"):
        cluster(np.array([[0.0], [0.0], [1.0]]), 3, seed=1)
    assert sorted(cluster(np.array([[0.0], [0.0], [1.0]]), None, seed=1).labels) == [1, 1, 2]


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_keeps_groups_apart_and_repeats_with_the_seed(blobs, method):
    points, group = blobs
    reduced = reduce_features(points, seed=1)
    first, again = project(reduced, method, seed=3).coordinates, project(reduced, method, seed=3).coordinates
    np.testing.assert_array_equal(first, again)
    assert first.shape == (60, 2)
    centres = np.array([first[group == index].mean(axis=0) for index in range(3)])
    within = max(first[group == index].std(axis=0).max() for index in range(3))
    between = min(np.linalg.norm(centres[a] - centres[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert between > 3 * within


@pytest.mark.parametrize("n", [5, 7, 40])
def test_the_perplexity_fits_few_polymers(n):
    features = np.random.default_rng(0).integers(0, 4, (n, 12))
    found = project(reduce_features(features, seed=1), "tsne", seed=1)
    assert np.isfinite(found.coordinates).all()
    assert found.note.startswith(f"perplexity {(n - 1) / 3:.0f}")


def test_one_feature_still_makes_a_map():
    reduced = reduce_features(np.arange(6.0)[:, None], seed=1)
    found = project(reduced, "pca", seed=1)
    assert found.coordinates.shape == (6, 2)
    assert np.ptp(found.coordinates[:, 1]) == 0


def test_columns_that_hold_no_number_are_left_out():
    values = np.random.default_rng(0).normal(size=(10, 3))
    with_nan = np.column_stack([values, np.full(10, np.nan), np.full(10, np.inf)])
    np.testing.assert_allclose(reduce_features(with_nan, seed=1), reduce_features(values, seed=1))


def test_what_cannot_be_mapped_is_refused():
    with pytest.raises(UserError, match="too few"):
        reduce_features(np.eye(4), seed=1)
    with pytest.raises(UserError, match="same features"):
        reduce_features(np.ones((9, 3)), seed=1)
    with pytest.raises(UserError, match="did you mean 'tsne'"):
        project(np.eye(6), "t-sne", seed=1)


@pytest.fixture
def table(gas_sample):
    properties = [Property(name=name, unit="Barrer", transform="log10") for name in ("O2", "N2")]
    return read_table(gas_sample(40), properties)


def test_explore_writes_and_logs_the_map(table, workdir):
    tracker = Tracker("gas")
    frame = explore(table, workdir / "maps", n_clusters=3, seed=2, tracker=tracker)
    written = pd.read_csv(workdir / "maps" / "map.csv")
    assert list(written.columns) == ["key", "psmiles", "pca_1", "pca_2", "tsne_1", "tsne_2", "cluster", "O2", "N2"]
    assert list(written["key"]) == table.keys
    np.testing.assert_allclose(written["tsne_1"], frame["tsne_1"])
    summary = pd.read_csv(workdir / "maps" / "clusters.csv")
    assert list(summary["size"]) == sorted(written["cluster"].value_counts(), reverse=True)
    assert set(summary["representative"]) <= set(table.psmiles)
    assert summary["O2"][0] == pytest.approx(written.loc[written["cluster"] == 1, "O2"].median())
    page = (workdir / "maps" / "maps.html").read_text(encoding="utf-8")
    assert "Principal components" in page
    assert "t-SNE" in page
    [logged] = (workdir / "mlruns").rglob("maps.html")
    assert logged.read_text(encoding="utf-8") == page


def test_explore_takes_other_features_and_methods(table, workdir):
    frame = explore(table, workdir / "maps", features="maccs", methods=["pca"])
    assert [name for name in frame if name.endswith("_1")] == ["pca_1"]
    assert not (workdir / "mlruns").exists()
    with pytest.raises(UserError, match="unknown projection 'umap'"):
        explore(table, workdir / "other", methods=["umap"])
    assert not (workdir / "other").exists()


def test_hierarchical_clusters_find_the_groups(blobs):
    points, group = blobs
    found = cluster(points, None, seed=1, method="hierarchical")
    np.testing.assert_array_equal(found.labels, group + 1)
    assert [group[row] for row in found.representatives] == [0, 1, 2]


def test_density_clusters_leave_strangers_out(blobs):
    points, group = blobs
    found = cluster(np.vstack([points, np.full(6, 50.0)]), None, seed=1, method="dbscan")
    assert found.labels[-1] == 0
    inside = found.labels[:-1] > 0
    assert inside.mean() > 0.8
    np.testing.assert_array_equal(found.labels[:-1][inside], group[inside] + 1)
    assert len(found.representatives) == 3


def test_density_takes_no_number_and_unknown_clusterings_name_the_nearest():
    with pytest.raises(UserError, match="finds the number of clusters itself"):
        cluster(np.eye(6), 3, seed=1, method="dbscan")
    with pytest.raises(UserError, match="did you mean 'kmeans'"):
        cluster(np.eye(6), 3, seed=1, method="k-means")
    found = cluster(np.eye(6), None, seed=1, method="dbscan")  # all as far from each other
    assert set(found.labels) <= {0, 1}


def test_explore_by_density_lists_the_polymers_in_no_cluster_last(table, workdir):
    frame = explore(table, workdir / "maps", clustering="dbscan", methods=["pca"])
    summary = pd.read_csv(workdir / "maps" / "clusters.csv")
    assert summary["size"].sum() == len(table)
    assert set(summary["cluster"]) == set(frame["cluster"])
    if (frame["cluster"] == 0).any():
        assert summary["cluster"].tolist()[-1] == 0
        assert pd.isna(summary["representative"].tolist()[-1])
    page = (workdir / "maps" / "maps.html").read_text("utf-8")
    assert ("no cluster (" in page) == bool((frame["cluster"] == 0).any())
    assert "cluster 0" not in page


def test_a_recipe_gives_density_clusters_no_number():
    with pytest.raises(UserError, match="dbscan finds the number of clusters itself"):
        check_section(ExploreSpec, clusters=3, clustering="dbscan")
    assert check_section(ExploreSpec, clustering="hierarchical").clusters is None
