"""Folds of rows, as published work makes them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold

from polyml.data.properties import Property
from polyml.data.splits import SplitSpec, make_folds
from polyml.data.table_reader import read_table
from polyml.errors import UserError
from polyml.evaluation.compare import Compared, compare

DFT = Path(__file__).parents[4] / "shared" / "datasets"
TG = [Property(name="Tg")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [f"*{'C' * n}{x}*,{n}" for n in range(1, 11) for x in ("O", "S")]
    rows += ["*OC*,1.5", "*SC*,1.5", "*COC*,2.5"]  # three of them in another frame
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["smiles,Tg", *rows]))
    return path


def test_rows_are_shuffled_as_scikit_learn_does(file):
    table = read_table(file, TG, merge_duplicates=False)
    folds = make_folds(table, SplitSpec(kind="rows", folds=5, seed=1))
    expected = KFold(5, shuffle=True, random_state=1).split(range(23))
    for fold, (train, test) in zip(folds, expected, strict=True):
        np.testing.assert_array_equal(fold.train, train)
        np.testing.assert_array_equal(fold.test, test)


def test_a_comparison_on_rows_is_stamped(file, tmp_path):
    table = read_table(file, TG, merge_duplicates=False)
    results = compare(table, [Compared("mean")], SplitSpec(kind="rows"), tmp_path / "out", jobs=1)
    assert list(results.options["protocol"]) == ["leaky"]  # some of three spellings of twenty polymers
    assert re.search(r"[123] of 20 tested polymers stands? in the training part", results.options["leaks"][0])
    grouped = compare(read_table(file, TG), [Compared("mean")], SplitSpec(), tmp_path / "grouped", jobs=1)
    assert list(grouped.options["protocol"]) == ["honest"]


def test_missing_rows_are_refused(file, tmp_path):
    with pytest.raises(UserError, match="3 rows of the file were refused or merged"):
        make_folds(read_table(file, TG), SplitSpec(kind="rows"))
    bad = tmp_path / "bad.csv"
    bad.write_text(file.read_text() + "\nnonsense,3")
    with pytest.raises(UserError, match="1 rows of the file were refused"):
        make_folds(read_table(bad, TG, merge_duplicates=False), SplitSpec(kind="rows"))
    with pytest.raises(ValueError, match="one repeat"):
        SplitSpec(kind="rows", repeats=2)


@pytest.mark.skipif(not DFT.is_dir(), reason="the benchmark data are not here")
@pytest.mark.parametrize(("name", "rows"), [("egb", 561), ("eps", 382)])
def test_the_folds_of_the_papers(name, rows):
    table = read_table(DFT / f"dft_{name}.csv", [Property(name=name)], merge_duplicates=False)
    folds = make_folds(table, SplitSpec(kind="rows"))
    assert len(table) == rows
    expected = [test for _, test in KFold(5, shuffle=True, random_state=1).split(range(rows))]
    assert all(np.array_equal(fold.test, test) for fold, test in zip(folds, expected, strict=True))
