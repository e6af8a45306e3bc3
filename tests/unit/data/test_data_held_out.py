"""Folds by source, time, target, cluster and file: nothing known on both sides, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyml.data.fold_files import folds_digest, folds_frame, load_folds, save_folds
from polyml.data.properties import Property
from polyml.data.splits import Fold, SplitSpec, make_folds
from polyml.data.table import PolymerTable
from polyml.data.table_reader import read_table
from polyml.errors import UserError
from polyml.pipeline import steps

TG = [Property(name="Tg")]


def write(tmp_path: Path, rows: list[str]) -> PolymerTable:
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["psmiles,Tg,source,year", *rows]) + "\n")
    return read_table(path, TG, merge_duplicates=False)


@pytest.fixture
def table(tmp_path: Path) -> PolymerTable:
    sources = ["Alpha", "Beta", "Gamma"]
    rows = [f"*{'C' * n}O*,{10 * n},{sources[n % 3]},{2000 + n}" for n in range(1, 13)]
    # The second polymer, measured in another laboratory and later, in another frame.
    return write(tmp_path, [*rows, "*COC*,21,Alpha,2012"])


def test_each_source_is_tested_without_its_polymers(table):
    folds = make_folds(table, SplitSpec(kind="leave_one_group_out", column="source"))
    assert len(folds) == 3
    source, keys = table.frame["source"].to_numpy(), np.array(table.keys)
    for fold, name in zip(folds, ["Alpha", "Beta", "Gamma"], strict=True):
        assert set(source[fold.test]) == {name}
        assert name not in set(source[fold.train])
        assert not set(keys[fold.test]) & set(keys[fold.train])
    # The polymer that both Alpha and Gamma have measured is tested with each, and trains neither.
    assert 12 in folds[0].test
    assert 1 in folds[2].test
    assert 12 not in folds[2].train
    assert 1 not in folds[0].train


@pytest.mark.parametrize("dates", [False, True])
def test_later_rows_are_tested_on_models_of_earlier_ones(table, dates, tmp_path):
    if dates:
        lines = [f"*{'C' * n}O*,{10 * n},A,20{n:02d}-05-01" for n in range(1, 14)]
        table = write(tmp_path, lines)
    folds = make_folds(table, SplitSpec(kind="time", column="year", folds=3))
    year = table.frame["year"].astype(str).to_numpy()
    assert len(folds) == 3
    for fold in folds:
        assert max(year[fold.train]) < min(year[fold.test])
    tested = np.concatenate([fold.test for fold in folds])
    assert len(tested) == len(set(tested))
    assert set(year[folds[-1].test]) >= {max(year)}


def test_equal_times_stay_together(tmp_path):
    rows = [f"*{'C' * n}O*,{n},A,{2000 + n // 5}" for n in range(1, 25)]
    table = write(tmp_path, rows)
    for fold in make_folds(table, SplitSpec(kind="time", column="year", folds=2)):
        year = table.frame["year"].to_numpy()
        assert not set(year[fold.train]) & set(year[fold.test])


def test_times_of_several_zones_are_in_order_and_infinite_ones_are_refused(tmp_path):
    spec = SplitSpec(kind="time", column="year", folds=2)
    rows = ["*CC*,1,A,2024-01-01T10:00+02:00", "*CO*,2,A,2024-01-01T09:00Z", "*CS*,3,A,2024-01-01T10:00"]
    folds = make_folds(write(tmp_path, rows), spec)  # 8, 9 and 10 o'clock at Greenwich
    assert [fold.test.tolist() for fold in folds] == [[1], [2]]
    with pytest.raises(UserError, match="'inf' in column 'year' is neither a number nor a date"):
        make_folds(write(tmp_path, ["*CC*,1,A,1", "*CO*,2,A,2", "*CS*,3,A,inf"]), spec)


def test_extrapolation_tests_the_ends(table):
    low, high = make_folds(table, SplitSpec(kind="extrapolation", folds=4))
    y = table.y[:, 0]
    assert y[low.test].max() < y[low.train].min()
    assert y[high.test].min() > y[high.train].max()
    assert 3 <= len(low.test) <= 4


def test_a_cluster_is_a_fold():
    polymers = [f"*{'C' * n}*" for n in range(2, 9)] + [f"*c1ccc(O{'C' * n}*)cc1" for n in range(1, 8)]
    folds = make_folds([*polymers, "*CO*"], SplitSpec(kind="leave_one_cluster_out", folds=2))
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(15))
    aromatic = set(range(7, 14))
    assert any(aromatic <= set(fold.test.tolist()) for fold in folds)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "time", "column": "yeer"}, "unknown column 'yeer'"),
        ({"kind": "time", "column": "source", "folds": 2}, "'Beta' in column 'source' is neither a number nor a date"),
        ({"kind": "time", "column": "year", "folds": 40}, "12 different times; 40 folds need 41"),
        ({"kind": "extrapolation", "target": "Tm"}, "unknown target 'Tm'"),
        ({"kind": "extrapolation", "folds": 9}, "too few"),
    ],
)
def test_what_does_not_divide_is_refused(table, spec, message):
    with pytest.raises(UserError, match=message):
        make_folds(table, SplitSpec(**spec))


def test_one_group_is_no_division(tmp_path):
    table = write(tmp_path, ["*CC*,1,A,1", "*CO*,2,A,1"])
    with pytest.raises(UserError, match="column 'source' has 1 different values"):
        make_folds(table, SplitSpec(kind="leave_one_group_out", column="source"))


def test_a_missing_source_is_refused(tmp_path):
    table = write(tmp_path, ["*CC*,1,A,1", "*CO*,2,B,1", "*CN*,3,,1"])
    with pytest.raises(UserError, match="1 rows have no value in column 'source'"):
        make_folds(table, SplitSpec(kind="leave_one_group_out", column="source"))


def test_one_source_that_has_everything_leaves_nothing_to_train_on(tmp_path):
    table = write(tmp_path, ["*CC*,1,A,1", "*CO*,2,A,1", "*OC*,3,B,1"])
    with pytest.raises(UserError, match="nothing is left to train on in fold 0"):
        make_folds(table, SplitSpec(kind="leave_one_group_out", column="source"))


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "time"}, {"column": "year"}, {"kind": "fixed"}, {"kind": "fixed", "file": "a.csv", "digest": "abc"},
     {"kind": "leave_one_cluster_out", "repeats": 2}, {"target": "Tg"}],
)  # fmt: skip
def test_specs_that_do_not_go_together_are_refused(wrong):
    with pytest.raises(ValueError, match=r"needs|is for|one repeat|at least 8"):
        SplitSpec(**wrong)


@pytest.mark.parametrize(
    "spec",
    [
        SplitSpec(kind="leave_one_group_out", column="source"),
        SplitSpec(kind="time", column="year", folds=3),
        SplitSpec(kind="extrapolation", folds=4),
        SplitSpec(folds=3),
    ],
    ids=lambda spec: spec.kind,
)
def test_saved_folds_come_back_and_are_named_by_their_digest(table, spec, tmp_path):
    folds = make_folds(table, spec)
    save_folds(folds, table.frame, tmp_path / "splits.csv")
    digest = folds_digest(folds_frame(folds, table.frame))
    again = make_folds(table, SplitSpec(kind="fixed", file=str(tmp_path / "splits.csv"), digest=digest[:12]))
    for old, new in zip(folds, again, strict=True):
        assert np.array_equal(old.train, new.train)
        assert np.array_equal(old.test, new.test)
    with pytest.raises(UserError, match="have the digest"):
        make_folds(table, SplitSpec(kind="fixed", file=str(tmp_path / "splits.csv"), digest="0" * 8))


def folds_file(tmp_path: Path, rows: list[dict]) -> Path:
    pd.DataFrame(rows).to_csv(tmp_path / "folds.csv", index=False)
    return tmp_path / "folds.csv"


def test_own_folds_may_name_polymers_in_any_spelling(tmp_path):
    path = folds_file(tmp_path, [{"psmiles": "*OCC*", "fold": 0}, {"psmiles": "*SCCS*", "fold": 1}])
    first, second = make_folds(["*CCO*", "*CSSC*"], SplitSpec(kind="fixed", file=str(path)))
    assert (first.test.tolist(), second.test.tolist()) == ([0], [1])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("*CC*", 0, "test"), ("*CO*", 1, "test"), ("*OC*", 0, "test")], "1 polymers are in two folds"),
        ([("*CC*", 0, "test"), ("*CO*", 2, "test")], "no fold 1"),
        ([("*CC*", 0, "test")], "incomplete: 1 polymers"),
        ([("*CC*", 0, "test"), ("*CO*", 0, "train"), ("*OC*", 0, "test")], "both sides of fold 0"),
        ([("*CC*", 0, "test"), ("*CO*", 0, "validation")], "part is test or train"),
        ([("*CC*", 0, "test"), ("CC", 1, "test")], "row 2, 'CC': no attachment point"),
        ([("*CC*", 0, "test"), ("*CO*", -1, "test")], "'-1' is no fold: it stands in row 2"),
        ([("*CC*", 0, "test"), ("*CO*", "", "test")], "'' is no fold: it stands in row 2"),
        ([("*CC*", 0, "test"), ("*CO*", 0, "train"), ("*CC*", 1, "test"), ("*CO*", 1, "train")], "tested in two folds"),
        ([("*CC*", 0, "test"), ("*CO*", 0, "test")], "the training part of fold 0 is empty"),
    ],
)
def test_bad_folds_are_refused_with_what_is_wrong(rows, message, tmp_path):
    path = folds_file(tmp_path, [{"psmiles": text, "fold": fold, "part": part} for text, fold, part in rows])
    with pytest.raises(UserError, match=message):
        make_folds(["*CC*", "*CO*"], SplitSpec(kind="fixed", file=str(path)))


def test_a_missing_file_of_folds_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no such file of folds"):
        load_folds(tmp_path / "none.csv", ["*CC*"])


def test_a_file_without_folds_is_refused_by_its_columns(tmp_path):
    path = folds_file(tmp_path, [{"polymer": "*CC*", "fold": 0}])
    with pytest.raises(UserError, match=r"its columns are polymer, fold[\s\S]*key \(or psmiles\) and fold"):
        load_folds(path, ["*CC*"])


def test_named_training_parts_leave_no_polymer_out(tmp_path):
    rows = [("*CC*", 0, "test"), ("*CO*", 0, "train"), ("*CO*", 1, "test"), ("*CC*", 1, "train")]
    path = folds_file(tmp_path, [{"psmiles": text, "fold": fold, "part": part} for text, fold, part in rows])
    assert len(make_folds(["*CC*", "*CO*"], SplitSpec(kind="fixed", file=str(path)))) == 2
    with pytest.raises(UserError, match=r"incomplete: 1 polymers of the data are in none: '\*CS\*'"):
        make_folds(["*CC*", "*CO*", "*CS*"], SplitSpec(kind="fixed", file=str(path)))


@pytest.mark.parametrize("kind", ["leave_one_group_out", "time"])
def test_folds_of_single_rows_are_read_with_the_rows_they_were_made_of(kind, tmp_path):
    lines = [f"*{'C' * n}O*,{n},{'AB'[n % 2]},{1990 + n}" for n in range(1, 9)]
    lines += ["*CO*,9,A,1999", "*OCC*,8,A,1985"]  # two polymers stand in two rows, those of one in two sources
    write(tmp_path, lines)
    spec = SplitSpec(kind=kind, column="source" if kind == "leave_one_group_out" else "year", folds=2)
    file = str(tmp_path / "data.csv")
    table = steps.read(file, TG, split=spec)
    folds = make_folds(table, spec)
    save_folds(folds, table.frame, tmp_path / "splits.csv")
    fixed = SplitSpec(kind="fixed", file=str(tmp_path / "splits.csv"))
    again = steps.read(file, TG, split=fixed)
    assert len(again) == len(table) == 10
    for old, new in zip(folds, make_folds(again, fixed), strict=True):
        assert np.array_equal(old.train, new.train)
        assert np.array_equal(old.test, new.test)
    merged = steps.read(file, TG)
    save_folds(make_folds(merged, SplitSpec(folds=2)), merged.frame, tmp_path / "splits.csv")
    assert len(steps.read(file, TG, split=fixed)) == len(merged) == 8


def test_the_digest_tells_folds_apart():
    frame = pd.DataFrame({"line": [2, 3, 4], "key": ["a", "b", "c"], "psmiles": ["a", "b", "c"]})

    def digest(*parts: tuple[list[int], list[int]]) -> str:
        folds = [Fold(0, place, np.array(train), np.array(test)) for place, (train, test) in enumerate(parts)]
        return folds_digest(folds_frame(folds, frame))

    whole = digest(([1, 2], [0]), ([0], [1, 2]))
    assert whole == digest(([2, 1], [0]), ([0], [2, 1]))
    assert whole != digest(([0, 2], [1]), ([1], [0, 2]))
    assert whole != digest(([1], [0]), ([0], [1, 2]))  # a row trains no more
