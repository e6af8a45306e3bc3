"""Targets that are classes: read, merged, drawn, and divided into folds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from polyml.data.properties import Property
from polyml.data.sample import SampleSpec
from polyml.data.splits import SplitSpec, make_folds
from polyml.data.table_reader import read_table
from polyml.errors import UserError

FAMILY = Property(name="family", transform="class")


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["smiles,family,Tg", *rows]) + "\n")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    ethers = [f"*{'C' * n}O*,ether,{n}" for n in range(1, 31)]
    amides = [f"*{'C' * n}C(=O)N*,amide,{n}" for n in range(1, 11)]
    return write(tmp_path / "families.csv", [*ethers, *amides, "*CC*,,3"])


def test_labels_are_read_and_coded(file):
    table = read_table(file, [FAMILY])
    assert table.task == "classification"
    assert table.properties[0].classes == ("amide", "ether")
    assert Counter(table.y[:, 0].tolist()) == {1.0: 30, 0.0: 10}
    assert list(table.frame["family"][:2]) == ["ether", "ether"]
    assert table.rejects["reason"].tolist() == ["no value"]
    np.testing.assert_array_equal(table.values, table.y)


def test_a_class_of_numbers_is_text(tmp_path):
    table = read_table(write(tmp_path / "n.csv", ["*CC*,1,2", "*CO*,2,2", "*CS*,10,1"]), [FAMILY])
    assert table.properties[0].classes == ("1", "10", "2")


def test_the_commonest_label_of_one_polymer_is_kept_and_the_conflict_told(tmp_path):
    rows = ["*CCO*,a,1", "*COC*,b,1", "*OCC*,b,1", "*CC*,a,1", "*CS*,a,1", "*SC*,a,1"]
    table = read_table(write(tmp_path / "d.csv", rows), [FAMILY])
    assert list(table.frame["family"]) == ["b", "a", "a"]
    assert table.duplicates["conflict"].tolist() == [True, False]


def test_a_class_stands_alone_and_needs_two_labels(file, tmp_path):
    with pytest.raises(UserError, match="the class 'family' stands beside other targets"):
        read_table(file, [FAMILY, Property(name="Tg")])
    constant = read_table(write(tmp_path / "c.csv", ["*CC*,a,1", "*CO*,a,1"]), [FAMILY])
    with pytest.raises(UserError, match="all 2 values are 'a'"):
        constant.check_targets()
    with pytest.raises(UserError, match="'x' is no class of 'family'"):
        Property(name="family", transform="class", classes=("a",)).to_model(["x"])
    with pytest.raises(ValueError, match="no unit and no range"):
        Property(name="family", transform="class", unit="K")


def test_rare_classes_are_told(tmp_path):
    rows = [*(f"*{'C' * n}O*,ether,1" for n in range(1, 9)), "*CS*,sulfide,1"]
    warnings = read_table(write(tmp_path / "r.csv", rows), [FAMILY]).warnings
    assert warnings["detail"].tolist() == ["only 1 polymers are 'sulfide'"]


@pytest.mark.parametrize("kind", ["kfold", "scaffold", "cluster"])
def test_folds_have_the_same_share_of_each_class(file, kind):
    table = read_table(file, [FAMILY])
    folds = make_folds(table, SplitSpec(kind=kind, folds=2))
    share = [table.y[fold.test, 0].mean() for fold in folds]
    if kind == "kfold":
        assert share == [0.75, 0.75]
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(40))
    again = make_folds(table, SplitSpec(kind=kind, folds=2))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(folds, again, strict=True))


def test_rows_are_drawn_by_seed_and_evenly_over_classes(file):
    drawn = read_table(file, [FAMILY], sample=SampleSpec(per_class=7))
    assert Counter(drawn.frame["family"]) == {"ether": 7, "amide": 7}
    some = read_table(file, [FAMILY], sample=SampleSpec(rows=12))
    other = read_table(file, [FAMILY], sample=SampleSpec(rows=12, seed=2))
    assert len(some) + len(some.rejects) == 12
    assert some.digest == read_table(file, [FAMILY], sample=SampleSpec(rows=12)).digest != other.digest
    assert list(some.frame["line"]) == sorted(some.frame["line"])
    with pytest.raises(UserError, match="'Tg' is no class"):
        read_table(file, [Property(name="Tg")], sample=SampleSpec(per_class=7))


def test_more_folds_than_polymers_of_any_class_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("psmiles,family\n*CC*,a\n*CCO*,b\n*CC(C)*,c\n*CCCCO*,d\n*CC(F)*,d\n")
    table = read_table(tmp_path / "a.csv", [Property(name="family", transform="class")])
    with pytest.raises(UserError, match="no class has 3 polymers, one for each fold; the commonest has 2"):
        make_folds(table, SplitSpec(folds=3))
