"""Screening in two steps: what the quick model discards never reaches the ranked list, all else does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polyml.data.properties import Property
from polyml.errors import UserError
from polyml.screening.recall import drawn, estimate, recall_of, recall_of_top
from polyml.screening.screen import ScreenSpec, screen

OBJECTIVES = ["log10(O2)"]


@pytest.fixture(scope="module")
def quick(bundle_of):
    return bundle_of("kmeans")


def spec(**options):
    return ScreenSpec(objectives=OBJECTIVES, top=100, chunk_size=7, skip_known=False, **options)


def test_only_what_the_quick_model_passes_on_is_ranked(bundle, quick, library, tmp_path):
    everything = screen(library, bundle, spec(), tmp_path / "all")
    full = pd.read_csv(tmp_path / "all" / "ranked.csv")
    by_quick = quick.predict(full["psmiles"].tolist()).mean[:, 0]
    limit = float(np.median(by_quick))
    summary = screen(library, bundle, spec(prefilter=[f"O2 >= {limit!r}"]), tmp_path / "two", quick=quick)
    ranked = pd.read_csv(tmp_path / "two" / "ranked.csv")
    expected = full[by_quick >= limit]
    assert 0 < len(expected) < len(full)
    assert ranked["canonical"].tolist() == expected["canonical"].tolist()
    # The accurate model's numbers, not the quick one's. It read other polymers beside these, and the rows of a
    # product of matrices in single precision depend in their last digit on how many there are.
    np.testing.assert_allclose(ranked["O2"], expected["O2"], rtol=1e-5)
    for column in ("O2_std", "O2_lower", "O2_upper"):  # kept from the chunks here, computed at the end there
        np.testing.assert_allclose(ranked[column], expected[column], rtol=1e-6)
    assert summary.valid == everything.valid
    assert summary.passing <= summary.shortlisted < summary.valid
    assert everything.shortlisted == everything.valid


def test_processes_and_resume_give_the_same_bytes(bundle, quick, library, tmp_path):
    two_steps = spec(prefilter=["O2 >= 2"])
    screen(library, bundle, two_steps, tmp_path / "one", quick=quick)
    screen(library, bundle, two_steps, tmp_path / "two", quick=quick, jobs=2)
    before = (tmp_path / "one" / "ranked.csv").read_bytes()
    assert (tmp_path / "two" / "ranked.csv").read_bytes() == before
    next((tmp_path / "one" / "shards").glob("00000001.shard")).unlink()
    summary = screen(library, bundle, two_steps, tmp_path / "one", quick=quick, resume=True)
    assert summary.resumed > 0
    assert (tmp_path / "one" / "ranked.csv").read_bytes() == before


def test_another_quick_model_cannot_resume(bundle, bundle_of, quick, library, tmp_path):
    screen(library, bundle, spec(prefilter=["O2 >= 2"]), tmp_path / "out", quick=quick)
    with pytest.raises(UserError, match="quick model"):
        screen(library, bundle, spec(prefilter=["O2 >= 2"]), tmp_path / "out", quick=bundle_of("mean"), resume=True)


@pytest.mark.parametrize(
    ("options", "with_quick", "message"),
    [
        ({"prefilter": ["O2 >= 1"]}, False, "needs a quick model"),
        ({}, True, "no prefilter"),
        ({"prefilter": ["O2"]}, True, "not a comparison"),
        ({"prefilter": ["O3 >= 1"]}, True, "O3"),
        ({"prefilter": ["O2_lower >= 1"]}, True, "O2_lower"),
    ],
)
def test_a_bad_prefilter_is_refused_before_anything_is_read(
    bundle, quick, library, tmp_path, options, with_quick, message
):
    with pytest.raises(UserError, match=message):
        screen(library, bundle, spec(**options), tmp_path / "out", quick=quick if with_quick else None)
    assert not (tmp_path / "out").exists()


def test_the_models_must_predict_the_same(bundle, quick, library, tmp_path):
    from dataclasses import replace

    other = replace(quick, properties=(*quick.properties[:2], Property(name="Tg", unit="°C")))
    with pytest.raises(UserError, match="the quick model predicts Tg, which the model proper does not"):
        screen(library, bundle, spec(prefilter=["O2 >= 1"]), tmp_path / "out", quick=other)


def test_the_recall_of_the_prefilter_is_that_of_all_candidates_where_all_are_checked(bundle, quick, library, tmp_path):
    options = {"prefilter": ["O2 >= 6"], "constraints": ["O2 >= 5"], "prefilter_check": 1.0}
    everything = screen(library, bundle, spec(constraints=["O2 >= 5"]), tmp_path / "all")
    ranked = pd.read_csv(tmp_path / "all" / "ranked.csv")
    for top in (100, 5):
        asked = spec(**options).model_copy(update={"top": top})
        summary = screen(library, bundle, asked, tmp_path / str(top), quick=quick)
        found = summary.prefilter
        assert found["discarded"] == found["checked"] == everything.valid - summary.shortlisted > 0
        assert found["passing"]["estimate"] == pytest.approx(summary.passing / everything.passing, abs=1e-4)
        kept = pd.read_csv(tmp_path / str(top) / "ranked.csv")
        truth = kept["canonical"].isin(ranked["canonical"][:top]).sum() / len(ranked[:top])
        assert found["ranked"]["estimate"] == pytest.approx(truth, abs=1e-4)
        assert found["ranked"]["lower"] <= found["ranked"]["estimate"] <= found["ranked"]["upper"] <= 1
    assert summary.passing < everything.passing


def test_nothing_is_checked_where_that_is_not_wanted(bundle, quick, library, tmp_path):
    summary = screen(library, bundle, spec(prefilter=["O2 >= 6"], prefilter_check=0), tmp_path / "out", quick=quick)
    assert summary.prefilter["checked"] == 0
    assert summary.prefilter["passing"] is None


@pytest.mark.parametrize(("cut", "top"), [(1.0, 1000), (1.8, 1000), (2.3, 2000)])
def test_the_recall_of_the_ranked_list_is_that_of_the_whole_library(cut, top):
    """Whether the list loses little, half, or is cut short by the prefilter."""
    rng = np.random.default_rng(1)
    hits, estimates, truths = 0, [], []
    for _ in range(100):
        score = rng.normal(size=20_000)
        passed = score + rng.normal(size=20_000) / 2 > cut
        chosen = ~passed & (rng.random(20_000) < 0.2)
        ranked = np.sort(score[passed])[::-1][:top]
        found = recall_of_top(score[chosen], ranked, top, int((~passed).sum()), int(chosen.sum()))
        truths.append(passed[np.argsort(-score)[:top]].mean())
        estimates.append(found["estimate"])
        hits += found["lower"] <= truths[-1] <= found["upper"]
    assert np.mean(estimates) == pytest.approx(np.mean(truths), abs=0.005)
    assert hits >= 88  # 95 of 100 less three standard deviations


def test_a_polymer_that_is_ranked_is_not_lost():
    counts = {"valid": 10, "shortlisted": 6, "passing": 3, "checked": 4, "checked_passing": 2}
    ranked = pd.DataFrame({"score": [3.0, 2.0, 1.0], "canonical": ["*CC*", "*CO*", "*CN*"]})
    found = recall_of(counts, [(2.0, "*CO*"), (0.5, "*CS*")], ranked, spec(constraints=["O2 > 1"]))
    assert found["ranked"]["estimate"] == 3 / 4
    assert found["passing"]["estimate"] == 3 / 5


@pytest.mark.parametrize("wanted", [0, 3, 50])
def test_the_interval_of_the_recall_holds_what_it_promises(wanted):
    rng = np.random.default_rng(wanted)
    discarded, share = 20_000, 0.02
    lost = np.zeros(discarded, dtype=bool)
    lost[: wanted * 10] = True
    hits = 0
    for _ in range(200):
        chosen = rng.permutation(lost)[drawn(rng.permutation(discarded), share)]
        found = estimate(1000, discarded, len(chosen), int(chosen.sum()))
        true = 1000 / (1000 + wanted * 10)
        hits += found["lower"] - 1e-4 <= true <= found["upper"] + 1e-4
    assert hits >= 186  # 95 % of 200 less two standard deviations
