from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyml.data.properties import Property
from polyml.errors import PolymlError, UserError
from polyml.screening.histogram import StreamedHistogram

EDGES = [0.1, 0.2, 0.30000000000000004, 5.0]
values = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20).map(np.array)


@given(st.lists(values, max_size=5), st.randoms(use_true_random=False))
def test_a_whole_is_the_sum_of_its_parts_in_any_order(parts, random):
    whole = StreamedHistogram(EDGES)
    whole.add(np.concatenate([np.empty(0), *parts]))
    counted = []
    for part in parts:
        counted.append(StreamedHistogram(EDGES))
        counted[-1].add(part)
    random.shuffle(counted)
    merged = StreamedHistogram(EDGES)
    for item in counted:  # by way of a file, as an interrupted run goes on
        merged.merge(StreamedHistogram.from_dict(json.loads(json.dumps(item.to_dict()))))
    assert merged.to_dict() == whole.to_dict()
    assert merged.counts.sum() + merged.missing == sum(len(part) for part in parts)


def test_counts_are_those_of_numpy():
    drawn = np.random.default_rng(0).normal(size=5000)
    histogram = StreamedHistogram(np.linspace(-2, 2, 21))
    histogram.add(drawn.reshape(50, 100))
    expected = np.histogram(drawn, np.concatenate([[-np.inf], np.linspace(-2, 2, 21), [np.inf]]))[0]
    np.testing.assert_array_equal(histogram.counts, expected)


def test_bins_hold_the_training_values_in_the_modelled_scale():
    item = Property(name="O2", unit="Barrer", transform="log10")
    histogram = StreamedHistogram.of_training(item, np.array([1.0, 1e4, np.nan, -3.0]), bins=6)
    np.testing.assert_allclose(histogram.edges, np.linspace(-1, 5, 7))
    histogram.add(np.array([1.0, 1e4, 1e-3, 1e9]))
    assert histogram.counts.tolist() == [1, 0, 1, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("known", [[], [300.0], [0.0, 0.0], [np.nan]])
def test_few_training_values_give_bins_as_well(known):
    histogram = StreamedHistogram.of_training(Property(name="Tg"), np.array(known))
    assert len(histogram.counts) == 42
    histogram.add(np.array([value for value in known if value == value]))
    assert histogram.counts[[0, -1]].tolist() == [0, 0]


def test_other_bins_do_not_merge():
    for other in (StreamedHistogram([0.1, 0.2]), StreamedHistogram(EDGES, "log10")):
        with pytest.raises(PolymlError, match="different bins"):
            StreamedHistogram(EDGES).merge(other)


@pytest.mark.parametrize("edges", [[1.0], [1.0, 1.0], [2.0, 1.0], [[1.0, 2.0]], [0.0, np.nan]])
def test_edges_rise(edges):
    with pytest.raises(PolymlError, match="rise"):
        StreamedHistogram(edges)


def test_a_class_has_no_histogram():
    with pytest.raises(PolymlError, match="class"):
        StreamedHistogram.of_training(Property(name="kind", transform="class"), np.array([1.0]))


@pytest.mark.parametrize(
    "change", [{"edges": [1, 0]}, {"counts": [1]}, {"counts": [-1, 0, 0, 0, 0]}, {"missing": "many"}, {"counts": None}]
)
def test_a_damaged_file_is_refused(change):
    content = StreamedHistogram(EDGES).to_dict()
    with pytest.raises(UserError, match="histogram"):
        StreamedHistogram.from_dict(content | change)
    with pytest.raises(UserError, match="histogram"):
        StreamedHistogram.from_dict({key: content[key] for key in content if key not in change})
