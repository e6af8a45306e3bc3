from __future__ import annotations

import numpy as np
import pytest

from polyml.domain import fingerprints
from polyml.errors import UserError
from polyml.screening import shortlist
from polyml.screening.shortlist import cluster_picks, leader_picks, maxmin_picks

WAYS = [maxmin_picks, leader_picks, cluster_picks]


@pytest.fixture(scope="module")
def bits():
    """Variations of twenty patterns in a random order, some of them equal."""
    rng = np.random.default_rng(3)
    patterns = rng.random((20, 256)) < 0.1
    rows = patterns[rng.integers(20, size=200)]
    return (rows ^ (rng.random(rows.shape) < 0.005)).astype(np.float32)


def distances(bits):
    shared = bits @ bits.T
    count = bits.sum(axis=1)
    return 1.0 - shared / (count[:, None] + count - shared)


def test_maxmin_takes_the_farthest_polymer_each_time(bits):
    apart, expected = distances(bits), [0]
    while len(expected) < 30:
        nearest = apart[expected].min(axis=0)
        nearest[expected] = -1.0
        expected.append(int(nearest.argmax()))  # the better-ranked of equals
    found = maxmin_picks(bits, 30)
    assert found.rows.tolist() == expected
    nearest = [apart[row, expected[:i]].min() for i, row in enumerate(expected) if i]
    np.testing.assert_allclose(found.distance[1:], nearest, atol=1e-6)
    assert np.isnan(found.distance[0])
    assert (found.membership == apart[expected].argmin(axis=0) + 1).mean() > 0.99  # but for rounding
    assert found.cluster.tolist() == list(range(1, 31))
    assert found.size.sum() == len(bits)


def test_leaders_are_the_best_that_are_no_variations_of_a_better_one(bits):
    apart, expected = distances(bits), []
    for row in range(len(bits)):
        if not (apart[row, expected] <= 0.4).any():
            expected.append(row)
    found = leader_picks(bits, 1000, threshold=0.4)
    assert found.rows.tolist() == expected
    assert leader_picks(bits, 5, threshold=0.4).rows.tolist() == expected[:5]
    assert found.distance[1:].min() > 0.4


def by_butina(apart, threshold):
    """The oracle: clusters as the paper has them."""
    near = apart <= threshold
    order = sorted(range(len(apart)), key=lambda row: (-near[row].sum(), row))
    left, clusters = set(order), []
    for row in order:
        if row in left:
            members = sorted(left & set(np.flatnonzero(near[row]).tolist()))
            left -= set(members)
            clusters.append(members)
    return clusters


def test_a_cluster_is_represented_by_its_best_member(bits):
    clusters = sorted(by_butina(distances(bits), 0.4))
    found = cluster_picks(bits, 7, threshold=0.4)
    assert found.rows.tolist() == [rows[0] for rows in clusters[:7]]
    assert found.size.tolist() == [len(rows) for rows in clusters[:7]]
    assert {tuple(np.flatnonzero(found.membership == number)) for number in range(1, len(clusters) + 1)} == {
        tuple(rows) for rows in clusters
    }
    assert found.rows[0] == 0


@pytest.mark.parametrize("pick", WAYS)
def test_fewer_polymers_than_asked_are_fine(pick):
    ranked = fingerprints(["*CC*", "*CC(*)c1ccccc1", "*CC(*)c1ccccc1"])
    assert pick(ranked, 50).rows.tolist()[:2] == [0, 1]
    for n in (0, 1):
        found = pick(ranked[:n], 5)
        assert found.rows.tolist() == found.membership.tolist()[:0] + [0] * n
        assert len(found.size) == len(found.cluster) == n


@pytest.mark.parametrize("pick", WAYS)
def test_the_same_list_gives_the_same_picks(pick, bits):
    first, second = pick(bits, 20), pick(bits.astype(bool), 20)
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.distance, second.distance)
    assert first.rows[0] == 0


@pytest.mark.parametrize("pick", WAYS)
def test_no_picks_are_refused(pick):
    with pytest.raises(UserError, match="0 polymers"):
        pick(np.ones((2, 4)), 0)


@pytest.mark.parametrize("pick", [leader_picks, cluster_picks])
@pytest.mark.parametrize("threshold", [1.5, -0.1, float("nan")])
def test_what_is_no_distance_is_refused(pick, threshold):
    with pytest.raises(UserError, match="threshold"):
        pick(np.ones((2, 4)), 5, threshold=threshold)


def test_too_many_rows_to_cluster_are_refused(monkeypatch):
    monkeypatch.setattr(shortlist, "MOST_CLUSTERED", 3)
    with pytest.raises(UserError, match="4 polymers"):
        cluster_picks(np.ones((4, 4)), 1)
