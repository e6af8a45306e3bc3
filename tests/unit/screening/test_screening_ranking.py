"""Pareto fronts, pessimistic scores, probabilities, shortlists and the report, against oracles on all candidates."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from polyml.bundle import Bundle
from polyml.data.properties import Property
from polyml.domain import fingerprints
from polyml.errors import UserError
from polyml.models.catalog import make_model
from polyml.screening import shortlist
from polyml.screening.pareto import pareto_front
from polyml.screening.screen import ScreenSpec, screen


@pytest.fixture(scope="module")
def uncertain(bundle):
    """Train a model that tells how uncertain it is."""
    y = np.column_stack([item.to_model(bundle.values[:, i]) for i, item in enumerate(bundle.properties)])
    model = make_model("gp", features=["descriptors"]).fit(list(bundle.psmiles), y)
    return Bundle(model, bundle.properties, bundle.keys, bundle.psmiles, bundle.values, "0" * 64, seed=1)


def spec(**options):
    return ScreenSpec.model_validate({"objectives": ["log10(O2)"], "top": 1000, "chunk_size": 7, **options})


def rows_of(library, bundle, folder, **options):
    screen(library, bundle, spec(keep="all", **options), folder)
    rows = pd.read_csv(folder / "predictions.csv")
    return rows[rows["outcome"] != "refused"]


def ranked_of(library, bundle, folder, **options):
    summary = screen(library, bundle, spec(**options), folder)
    return summary, pd.read_csv(folder / "ranked.csv")


GOALS = {"objectives": ["O2", "minimize Tg"], "rank_by": "pareto"}


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_the_pareto_front_is_that_of_all_candidates(bundle, library, tmp_path, chunk_size):
    everything = rows_of(library, bundle, tmp_path / "all")
    new = everything[everything["outcome"] == "passes"].drop_duplicates("canonical")
    front = new[pareto_front(new[["O2", "Tg"]].to_numpy(), [True, False])]
    summary, ranked = ranked_of(library, bundle, tmp_path / "front", **GOALS, chunk_size=chunk_size)
    assert set(ranked["canonical"]) == set(front["canonical"])
    assert summary.front == summary.ranked == len(front) > 2
    assert ranked["score"].is_monotonic_decreasing
    np.testing.assert_allclose(ranked["score"], ranked["O2"] - ranked["Tg"])


def test_a_known_polymer_keeps_no_other_off_the_front(bundle, library, tmp_path):
    # Polystyrene, of the training set, is the largest and so the best of all in O2.
    goals = {"objectives": ["O2", "N2"], "rank_by": "pareto"}
    without, ranked = ranked_of(library, bundle, tmp_path / "without", **goals)
    _, kept = ranked_of(library, bundle, tmp_path / "with", **goals, skip_known=False)
    known = set(kept["canonical"]) & set(bundle.keys)
    assert known
    assert without.known >= len(known)
    for options in ({"chunk_size": 1}, {"chunk_size": 1000}, {"keep": "all"}):
        again, _ = ranked_of(library, bundle, tmp_path / str(options), **goals, **options)
        assert again.known == without.known
    assert not set(ranked["canonical"]) & set(bundle.keys)
    assert set(ranked["canonical"]) >= set(kept["canonical"]) - known


@pytest.mark.parametrize("chunk_size", [1, 100])
@pytest.mark.parametrize("rank_by", ["score", "pareto"])
def test_every_row_of_a_known_polymer_is_counted(bundle, tmp_path, rank_by, chunk_size):
    path = tmp_path / "in.smi"
    path.write_text("*CC(*)c1ccccc1\n*CC(*)CC\n*C(c1ccccc1)C*\n")
    goals = {"objectives": ["O2", "N2"], "rank_by": rank_by, "chunk_size": chunk_size}
    summary, _ = ranked_of(path, bundle, tmp_path / "out", **goals)
    assert (summary.passing, summary.known, summary.ranked) == (3, 2, 1)


def test_processes_give_the_bytes_of_one_process(bundle, library, tmp_path):
    bundle.save(tmp_path / "model")
    for name, jobs in (("one", 1), ("two", 2)):
        screen(library, tmp_path / "model", spec(**GOALS), tmp_path / name, jobs=jobs)
    assert (tmp_path / "one" / "ranked.csv").read_bytes() == (tmp_path / "two" / "ranked.csv").read_bytes()


def test_the_probability_is_that_of_the_normal_distribution(uncertain, library, tmp_path):
    from scipy.stats import norm

    constraint = {"constraints": ["O2 >= 8"]}
    everything = rows_of(library, uncertain, tmp_path / "all", **constraint)
    z = (np.log10(everything["O2"]) - np.log10(8)) / everything["O2_std"]
    everything["expected"] = norm.cdf(z)
    _, ranked = ranked_of(library, uncertain, tmp_path / "ranked", **constraint)
    by_key = everything.drop_duplicates("canonical").set_index("canonical")["expected"]
    np.testing.assert_allclose(ranked["probability"], by_key.loc[ranked["canonical"]], atol=0.01)
    limit = float(np.median(ranked["probability"]))
    summary, likely = ranked_of(library, uncertain, tmp_path / "likely", **constraint, min_probability=limit)
    assert set(likely["canonical"]) == set(ranked[ranked["probability"] >= limit]["canonical"])
    assert 0 < summary.ranked < len(ranked)
    kept = rows_of(library, uncertain, tmp_path / "kept", **constraint, min_probability=limit)
    doubtful = kept[kept["reason"].fillna("").str.startswith("probability <")]
    assert len(doubtful)
    assert (doubtful["probability"] < limit).all()


def test_the_probability_of_a_ratio_counts_with_errors_that_go_together(uncertain, library, tmp_path):
    from scipy.stats import norm

    model = copy.copy(uncertain.model)
    model.error_correlation_ = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = {}
    for name, bundle in (("together", replace(uncertain, model=model)), ("apart", uncertain)):
        _, ranked = ranked_of(library, bundle, tmp_path / name, constraints=["O2 / N2 >= 2"])
        shared = 1.8 if name == "together" else 0.0
        first, second = ranked["O2_std"], ranked["N2_std"]
        width = np.sqrt(first**2 + second**2 - shared * first * second)
        found[name] = ranked["probability"]
        np.testing.assert_allclose(found[name], norm.cdf(np.log10(ranked["O2"] / ranked["N2"] / 2) / width), atol=0.01)
    assert (found["together"] - found["apart"]).max() > 0.05


def test_a_pessimist_ranks_by_the_low_end_of_the_score(uncertain, library, tmp_path):
    _, plain = ranked_of(library, uncertain, tmp_path / "plain")
    _, low = ranked_of(library, uncertain, tmp_path / "low", pessimistic=True)
    expected = np.log10(low["O2"]) - 1.645 * low["O2_std"]
    np.testing.assert_allclose(low["score"], expected, atol=0.02 * low["O2_std"].max())
    assert low["score"].is_monotonic_decreasing
    assert set(low["canonical"]) == set(plain["canonical"])
    assert low["canonical"].tolist() != plain["canonical"].tolist()


@pytest.mark.parametrize("by", ["maxmin", "leader", "clusters"])
def test_the_shortlist_holds_candidates_that_differ(bundle, library, tmp_path, by):
    with library.open("a") as file:
        file.writelines(f"*CC(*)c1ccc({tail})cc1,a variation,0\n" for tail in ("C", "CC", "CCC"))
    summary, ranked = ranked_of(library, bundle, tmp_path / "out", shortlist=4, shortlist_by=by)
    chosen = pd.read_csv(tmp_path / "out" / "shortlist.csv")
    assert summary.shortlist == len(chosen) == 4
    assert chosen["pick"].tolist() == [1, 2, 3, 4]
    assert chosen["rank"][0] == 1
    assert set(chosen["canonical"]) <= set(ranked["canonical"])
    bits = fingerprints(chosen["psmiles"].tolist())
    shared = bits @ bits.T
    union = bits.sum(1)[:, None] + bits.sum(1)[None, :] - shared
    distance = 1 - shared / union
    for i in range(1, 4):
        assert chosen["distance"][i] == pytest.approx(distance[i, :i].min(), abs=1e-6)
    if by == "maxmin":
        assert chosen["distance"][1:].is_monotonic_decreasing
    else:
        pick = {"leader": shortlist.leader_picks, "clusters": shortlist.cluster_picks}[by]
        assert chosen["cluster_size"].tolist() == pick(fingerprints(ranked["psmiles"].tolist()), 4).size.tolist()
        assert chosen["cluster_size"].max() > 1


def test_of_a_long_list_the_best_are_clustered(bundle, library, tmp_path, monkeypatch):
    monkeypatch.setattr(shortlist, "MOST_CLUSTERED", 5)
    _, ranked = ranked_of(library, bundle, tmp_path / "out", shortlist=4, shortlist_by="clusters")
    assert len(ranked) > 5
    chosen = pd.read_csv(tmp_path / "out" / "shortlist.csv")
    assert chosen["rank"].max() <= 5
    assert chosen["cluster_size"].sum() <= 5


def test_histograms_count_every_valid_candidate_whatever_the_chunks(bundle, library, tmp_path):
    from polyml.data.readers import read_candidates
    from polyml.screening.histogram import StreamedHistogram
    from polyml.screening.predictors import Predictors
    from polyml.screening.screener import ChunkScreener

    totals = {}
    for size in (7, 1000):
        screener = ChunkScreener(Predictors([bundle]), spec(constraints=["O2 > 1e30"]))
        found = screener.histograms()
        for chunk in read_candidates(library, chunk_size=size):
            for histogram, part in zip(found, screener.screen(chunk).histograms, strict=True):
                histogram.merge(StreamedHistogram.from_dict(part))
        totals[size] = [item.counts.tolist() for item in found]
    assert totals[7] == totals[1000]
    assert [sum(counts) for counts in totals[7]] == [30, 30, 30]


def test_the_report_shows_funnel_structures_and_the_pair_that_was_asked_for(uncertain, library, tmp_path):
    options = {"constraints": ["O2 >= 1"], "trade_offs": ["Tg vs N2"], "derive": {"<b>x</b>": "O2 / N2"}}
    ranked_of(library, uncertain, tmp_path / "out", **options)
    page = (tmp_path / "out" / "report.html").read_text()
    for text in ("meeting O2 ", "N2 against Tg", "O2/N2: selectivity", "O2: predictions of all", "<svg"):
        assert text in page
    assert "<b>x</b>" not in page
    assert '<script src="' not in page
    assert "<link" not in page


def test_the_report_shows_the_shortlist_and_the_nearest_polymers(uncertain, library, tmp_path):
    ranked_of(library, uncertain, tmp_path / "out", constraints=["O2 >= 1"], shortlist=3, keep="all")
    page = (tmp_path / "out" / "report.html").read_text()
    for text in (
        "The shortlist: 3 that differ",
        "nearest_training</span>",
        "of these new, in the domain",
        "Score: what is",
    ):
        assert text in page


def test_the_report_of_other_properties_draws_the_objectives(bundle, library, tmp_path):
    other = Bundle(
        bundle.model,
        tuple(Property(name=name) for name in ("Tg", "eps", "egc")),
        bundle.keys,
        bundle.psmiles,
        bundle.values,
        "0" * 64,
        seed=1,
    )
    _, ranked = ranked_of(library, other, tmp_path / "out", objectives=["eps", "minimize Tg"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Tg against eps" in page
    assert "egc against eps" in page
    front, wrong = (pareto_front(ranked[["eps", "Tg"]].to_numpy(), [True, up]).sum() for up in (False, True))
    assert int(re.search(r"Pareto front \((\d+)\)", page)[1]) == front != wrong
    assert not (tmp_path / "out" / "robeson.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank_by": "pareto"}, "needs two objectives"),
        ({"objectives": ["O2", "N2"], "rank_by": "pareto", "pessimistic": True}, "no single score"),
        ({"min_probability": 0.9}, "no constraint to meet"),
        ({"trade_offs": ["O2 Tg"]}, "no pair of columns"),
        ({"trade_offs": ["O2 vs Tq"]}, "unknown column 'Tq'"),
        ({"derive": {"probability": "O2"}}, "'probability' is taken"),
    ],
)
def test_what_does_not_go_together_is_refused(uncertain, library, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        screen(library, uncertain, spec(**options), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_without_uncertainty_cannot_be_pessimistic(bundle, library, tmp_path):
    for options in ({"pessimistic": True}, {"min_probability": 0.5, "constraints": ["O2 > 1"]}):
        with pytest.raises(UserError, match="gives no uncertainty"):
            screen(library, bundle, spec(**options), tmp_path / "out")
