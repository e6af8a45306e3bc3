"""Scores over the number of training polymers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyml.data.properties import Property
from polyml.data.splits import SplitSpec, make_folds, thin_folds
from polyml.data.table import PolymerTable
from polyml.data.table_reader import read_table
from polyml.errors import UserError
from polyml.evaluation.learning_curve import Compared, LearningCurve, learning_curve


@pytest.fixture
def table(tmp_path: Path) -> PolymerTable:
    rows = [f"*{'C' * n}{x}*,{n + shift},{n if n > 12 else ''}" for n in range(1, 16) for shift, x in
            enumerate(("O", "S", "C(=O)O", "N(C)"))]  # fmt: skip
    (tmp_path / "data.csv").write_text("\n".join(["smiles,a,b", *rows]))
    return read_table(tmp_path / "data.csv", [Property(name="a"), Property(name="b")])


def test_smaller_parts_are_inside_larger_ones_and_have_values_of_every_property(table):
    folds = make_folds(table, SplitSpec(folds=3))
    small, large = (thin_folds(folds, table.keys, table.y, size, seed=1) for size in (8, 20))
    for thin, wide, whole in zip(small, large, folds, strict=True):
        assert (len(thin.train), len(wide.train)) == (8, 20)
        assert set(thin.train) < set(wide.train) < set(whole.train)
        np.testing.assert_array_equal(thin.test, whole.test)
        assert ((~np.isnan(table.y[thin.train])).sum(axis=0) >= 3).all()
    again = thin_folds(folds, table.keys, table.y, 8, seed=2)
    assert any(set(a.train) != set(b.train) for a, b in zip(small, again, strict=True))
    assert len(thin_folds(folds, table.keys, table.y, 1000, seed=1)[0].train) == len(folds[0].train)


def test_more_polymers_help_and_the_words_say_so(table, tmp_path):
    specs = [Compared("mean"), Compared("extra_trees", params={"n_estimators": 20})]
    curve = learning_curve(table, specs, SplitSpec(folds=3), tmp_path / "out", sizes=[6, 15], jobs=1)
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary["polymers"].tolist() == [6, 15, 40] * 2
    trees = summary[summary["model"] == "extra_trees"]["score"].to_numpy()
    assert trees[2] > trees[0]
    words = (tmp_path / "out" / "words.txt").read_text()
    assert "extra_trees against mean: " in words
    assert "mean: " in words
    assert (tmp_path / "out" / "learning_curve.html").stat().st_size > 10_000
    again = learning_curve(table, specs, SplitSpec(folds=3), tmp_path / "out", sizes=[6, 15], jobs=1)
    pd.testing.assert_frame_equal(again.frame, curve.frame)  # kept folds, the times too


def test_trends_are_told_apart():
    folds = range(5)
    rng = np.random.default_rng(0)
    rows = []
    for model, scores in {"rises": (0.2, 0.5, 0.8), "flat": (0.5, 0.7, 0.7)}.items():
        for size, score in zip((25, 50, 100), scores, strict=True):
            rows += [(model, size, 0, f, score + 0.01 * rng.normal(), 1.0) for f in folds]
    frame = pd.DataFrame(rows, columns=["model", "polymers", "repeat", "fold", "score", "fit_seconds"])
    curve = LearningCurve(frame, "r2", dict.fromkeys((25, 50, 100), 0.25))
    rises, flat, against = curve.words()
    assert "more polymers will help" in rises
    assert "levelled out" in flat
    frame["score"] += 0.3 * rng.normal(size=len(frame))
    assert "probably still rising" in curve.words()[0]
    assert re.search(r"against rises: better with 25 \(\+0\.\d+\), 50 \(\+0\.\d+\); worse with 100 \(-0\.", against)


def test_wrong_sizes(table, tmp_path):
    with pytest.raises(UserError, match="3 polymers are too few"):
        learning_curve(table, [Compared("mean")], SplitSpec(folds=3), tmp_path / "out", sizes=[3])


def test_a_leaky_curve_says_so_and_counts_polymers_not_rows(tmp_path):
    chains = [f"*{'C' * n}{x}*" for n in range(1, 11) for x in "OS"]
    rows = [f"{text},{len(text)}" for text in [*chains, *chains]]  # every polymer twice, so on both sides
    (tmp_path / "data.csv").write_text("\n".join(["smiles,a", *rows]))
    spec = SplitSpec(kind="rows", folds=2)
    table = read_table(tmp_path / "data.csv", [Property(name="a")], merge_duplicates=False)
    curve = learning_curve(table, [Compared("mean")], spec, tmp_path / "out", sizes=[5], jobs=1)
    assert list(curve.protocol) == ["leaky"]
    assert "stand in the training part of the same fold" in (tmp_path / "out" / "words.txt").read_text()
    written = json.loads((tmp_path / "out" / "learning_curve.json").read_text())
    assert (written["protocol"], written["split"]["kind"]) == (curve.protocol, "rows")
    assert written["leaks"]
    fewest = min(len({table.keys[row] for row in fold.train}) for fold in make_folds(table, spec))
    assert fewest < 20
    assert written["sizes"] == [5, fewest]
