from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold

from polyml.audit import Audit, AuditSpec, audit
from polyml.audit.files import write_audit
from polyml.chem import RepeatUnit
from polyml.chem.variants import multiple
from polyml.data.fold_files import save_folds
from polyml.data.properties import Property
from polyml.data.splits import SplitSpec, make_folds
from polyml.data.table_reader import read_table
from polyml.errors import UserError
from polyml.features import featurize

Look = Callable[..., Audit]
Write = Callable[..., Path]


def test_rows_are_shuffled_as_published_work_does_refused_rows_too(
    write: Write, look: Look, polymers: Callable
) -> None:
    texts = [*polymers(20), "broken", polymers(20)[0], polymers(20)[1]]
    found = look(write(psmiles=texts, Tg=np.linspace(250, 400, 23)), spec={"splits": (SplitSpec(kind="rows"),)})
    number = np.empty(23, dtype=int)
    for fold, (_, test) in enumerate(KFold(5, shuffle=True, random_state=1).split(np.zeros(23))):
        number[test] = fold
    parted = sum(2 for a, b in ((0, 21), (1, 22)) if number[a] != number[b])
    assert found.tables["leaks"].loc[0, ["test_rows", "leaked_key"]].tolist() == [22, parted]
    assert parted > 0


def test_the_nearest_training_polymer_is_that_of_all_pairs(
    write: Write, look: Look, polymers: Callable, smooth_tg: Callable
) -> None:
    texts = polymers(40)
    found = look(write(psmiles=texts, Tg=smooth_tg(texts)), spec={"splits": (SplitSpec(kind="rows", folds=4),)})
    bits = featurize("ecfp", texts).astype(bool)
    pairs = (bits[:, None] & bits[None]).sum(2) / (bits[:, None] | bits[None]).sum(2)
    best = np.empty(40)
    for train, test in KFold(4, shuffle=True, random_state=1).split(texts):
        best[test] = pairs[np.ix_(test, train)].max(axis=1)
    row = found.tables["similarity"].iloc[0]
    assert row["median"] == pytest.approx(np.median(best))
    assert row["above_0.7"] == pytest.approx(np.mean(best > 0.7))
    assert found.tables["histogram"]["count"].sum() == 40


def test_saved_folds_are_audited_as_they_are(
    write: Write, polymers: Callable, checks: Callable, smooth_tg: Callable
) -> None:
    texts, same = polymers(20), 7
    texts.append(multiple(RepeatUnit.parse(texts[same]), 2))
    data = write(psmiles=texts, Tg=smooth_tg(texts))
    folds = np.arange(21) % 3
    folds[20] = folds[same]
    spec = AuditSpec(splits=(), saved_splits=write("good.csv", fold=folds, psmiles=texts))
    assert not [name for name in checks(audit([data], spec)) if name.startswith("leak")]
    folds[20] = (folds[same] + 1) % 3
    spec = AuditSpec(splits=(), saved_splits=write("bad.csv", fold=folds, psmiles=texts))
    leak = checks(audit([data], spec))["leak saved"]
    assert (leak.severity, leak.count) == ("error", 2)


HELD_OUT = (
    SplitSpec(kind="time", column="year", folds=3),
    SplitSpec(kind="leave_one_group_out", column="source"),
    SplitSpec(kind="extrapolation", target="Tg", folds=4),
    SplitSpec(kind="leave_one_cluster_out", folds=3),
)


def _with_columns(write: Write, texts: list[str], values: np.ndarray) -> Path:
    places = np.arange(len(texts))
    sources = [("north", "south", "west")[place % 3] for place in places]
    return write(psmiles=texts, Tg=values, source=sources, year=1990 + places % 20)


@pytest.mark.parametrize("split", HELD_OUT, ids=lambda split: split.kind)
def test_held_out_parts_are_audited_with_their_own_training_parts(
    write: Write, polymers: Callable, smooth_tg: Callable, split: SplitSpec, tmp_path: Path
) -> None:
    texts = [*polymers(40), multiple(RepeatUnit.parse(polymers(40)[3]), 2)]
    data = _with_columns(write, texts, smooth_tg(texts))
    table = read_table(data, [Property(name="Tg")], merge_duplicates=False)
    folds = make_folds(table, split)
    found = audit([data], AuditSpec(splits=(split,)), targets=["Tg"])
    assert not [note for note in found.notes if "no split" in note]
    told = found.tables["folds"].set_index("fold")
    assert list(told.index) == [fold.fold for fold in folds]
    for fold in folds:
        row = told.loc[fold.fold]
        assert [row["n_test"], row["n_train"]] == [len(fold.test), len(fold.train)]
        assert row["mean_train"] == pytest.approx(table.y[fold.train, 0].mean())
    assert found.tables["leaks"]["leaked_key"].tolist() == [0]
    bits = featurize("ecfp", texts).astype(bool)
    pairs = (bits[:, None] & bits[None]).sum(2) / (bits[:, None] | bits[None]).sum(2)
    best = np.concatenate([pairs[np.ix_(fold.test, fold.train)].max(axis=1) for fold in folds])
    assert found.tables["similarity"].loc[0, "median"] == pytest.approx(np.median(best))

    save_folds(folds, table.frame, tmp_path / "splits.csv")  # the same folds as a file of a comparison
    for saved in (
        AuditSpec(splits=(), saved_splits=tmp_path / "splits.csv"),
        AuditSpec(splits=(SplitSpec(kind="fixed", file=str(tmp_path / "splits.csv")),)),
    ):
        again = audit([data], saved, targets=["Tg"]).tables
        pd.testing.assert_frame_equal(
            again["folds"].drop(columns=["split", "kind"]), found.tables["folds"].drop(columns=["split", "kind"])
        )
        assert again["similarity"].loc[0, "median"] == found.tables["similarity"].loc[0, "median"]


def test_a_training_part_that_holds_a_test_polymer_is_an_error(
    write: Write, polymers: Callable, checks: Callable, smooth_tg: Callable
) -> None:
    texts = polymers(12)
    data = write(psmiles=texts, Tg=smooth_tg(texts))
    parts = [(text, 0, "test" if place < 4 else "train") for place, text in enumerate(texts)]
    columns = dict(zip(("psmiles", "fold", "part"), map(list, zip(*parts, strict=True)), strict=True))
    spec = AuditSpec(splits=(), saved_splits=write("good.csv", **columns))
    assert not [name for name in checks(audit([data], spec)) if name.startswith("leak")]
    columns = {
        name: [*cells, cell] for (name, cells), cell in zip(columns.items(), (texts[1], 0, "train"), strict=True)
    }
    spec = AuditSpec(splits=(), saved_splits=write("bad.csv", **columns))
    leak = checks(audit([data], spec))["leak saved"]
    assert (leak.severity, leak.count) == ("error", 1)


def test_folds_that_name_lines_of_another_file_go_by_the_polymer(
    write: Write, polymers: Callable, smooth_tg: Callable
) -> None:
    texts = polymers(12)
    table = read_table(write("old.csv", psmiles=texts, Tg=smooth_tg(texts)), [Property(name="Tg")])
    save_folds(make_folds(table, SplitSpec(folds=3)), table.frame, table_path := write("splits.csv", x=[1]))
    turned = write("new.csv", psmiles=texts[::-1], Tg=smooth_tg(texts)[::-1])
    found = audit([turned], AuditSpec(splits=(), saved_splits=table_path), targets=["Tg"]).tables["folds"]
    expected = [table.y[fold.test, 0].mean() for fold in make_folds(table, SplitSpec(folds=3))]
    assert found["mean_test"].tolist() == pytest.approx(expected)


def test_a_file_without_the_column_is_noted_and_its_other_checks_go_on(
    write: Write, polymers: Callable, smooth_tg: Callable
) -> None:
    texts = polymers(20)
    data, other = _with_columns(write, texts, smooth_tg(texts)), write("other.csv", psmiles=texts, Tg=smooth_tg(texts))
    found = audit([data, other], AuditSpec(splits=HELD_OUT[:1]), targets=["Tg"])
    assert "other: no split of kind time: unknown column 'year'" in found.notes
    assert found.tables["leaks"]["file"].tolist() == ["data"]
    assert found.tables["tasks"].empty
    with pytest.raises(UserError, match="no file has a column 'yaer'"):
        audit([data], AuditSpec(splits=(SplitSpec(kind="time", column="yaer"),)))


def test_a_file_that_is_no_folds_is_refused(write: Write, polymers: Callable) -> None:
    data = write(psmiles=polymers(10), Tg=np.arange(300, 310))
    for columns in ({"x": [1]}, {"fold": ["a"], "psmiles": ["*CC*"]}, {"fold": [1], "psmiles": ["*CCCNCCC*"]}):
        with pytest.raises(UserError, match="fold"):
            audit([data], AuditSpec(saved_splits=write("folds.csv", **columns)))


def test_polymers_in_another_tasks_training_fold(
    write: Write, look: Look, polymers: Callable, checks: Callable
) -> None:
    texts = polymers(60)
    first = write("a.csv", psmiles=texts, egc=np.linspace(1, 6, 60))
    second = write("b.csv", psmiles=texts[:20][::-1], eps=np.linspace(2, 6, 20))
    found = look(first, second)
    tasks = found.tables["tasks"].set_index(["split", "test_file", "train_file"])
    folds = {}
    for name, n in (("a", 60), ("b", 20)):
        folds[name] = np.empty(n, dtype=int)
        for fold, (_, test) in enumerate(KFold(3, shuffle=True, random_state=1).split(np.zeros(n))):
            folds[name][test] = fold
    expected = sum(folds["b"][19 - i] != folds["a"][i] for i in range(20))
    assert tasks.loc[("rows", "b", "a"), "in_training"] == expected
    assert checks(found)["tasks rows"].severity == "error"
    apart = look(first, write("c.csv", psmiles=[f"*{'C' * k}N*" for k in range(3, 20)], eps=np.linspace(2, 6, 17)))
    assert not [name for name in checks(apart) if name.startswith("tasks")]


def test_the_distribution_of_a_fold_that_is_sorted_by_value(
    write: Write, polymers: Callable, checks: Callable, smooth_tg: Callable
) -> None:
    texts = polymers(90)
    values = np.sort(smooth_tg(texts))
    data = write(psmiles=texts, Tg=values)
    spec = AuditSpec(splits=(), saved_splits=write("sorted.csv", fold=np.arange(90) // 30, psmiles=texts))
    found = audit([data], spec)
    folds = found.tables["folds"]
    assert folds["mean_test"].tolist() == pytest.approx([values[i : i + 30].mean() for i in (0, 30, 60)])
    assert checks(found)["uneven folds saved"].count == 3


def test_what_cannot_be_audited_is_refused(write: Write, polymers: Callable) -> None:
    good = write(psmiles=polymers(5), Tg=[1.0, 2, 3, 4, 5])
    with pytest.raises(UserError, match="no such file"):
        audit([good, good.parent / "missing.csv"])
    with pytest.raises(UserError, match="no column of SMILES"):
        audit([good, write("none.csv", label=["a"], Tg=[1.0])])
    with pytest.raises(UserError, match="no row is usable"):
        audit([write("junk.csv", psmiles=["x", "y"], Tg=[1.0, 2.0])])
    with pytest.raises(UserError, match="named twice"):
        audit([good, good])
    with pytest.raises(UserError, match=r"(?s)no file has a column 'tg'.*Tg"):
        audit([good], targets=["tg"])


def test_bad_rows_are_counted_not_fatal(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    found = look(write(psmiles=[*polymers(30), "C", "junk"], Tg=np.linspace(300, 400, 32)))
    refused = checks(found)["refused"]
    assert set(refused.rows["line"]) == {32, 33}
    assert found.files["refused"].tolist() == [2]


def test_classes_and_files_without_numbers(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    texts = polymers(30)
    classes = ["a", "b"] * 15
    data = write(psmiles=[*texts, texts[0]], kind=[*classes, "b"])
    labelled = look(data, targets=["kind"], properties=[Property(name="kind", transform="class")])
    assert checks(labelled)["conflicts kind"].severity == "error"
    bare = look(data)
    assert bare.files["polymers"].tolist() == [30]
    assert any("only the structures" in note for note in bare.notes)


def test_the_folder_holds_page_json_and_rows(write: Write, look: Look, tmp_path: Path, polymers: Callable) -> None:
    texts = polymers(20)
    data = write("x<b>.csv", psmiles=[*texts, "*CCOCCO*", texts[0]], Tg=[*np.linspace(300, 400, 20), 300, -999])
    found = look(data, write("y.csv", psmiles=texts[:9], egc=np.linspace(1, 5, 9)))
    write_audit(found, tmp_path / "out")
    tree = json.loads((tmp_path / "out/audit.json").read_text())
    assert tree["counts"]["error"] == found.count("error") > 0
    for item in tree["findings"]:
        rows = item["rows_file"]
        assert not rows or len(pd.read_csv(tmp_path / "out" / rows)) >= len(item["rows"])
    page = (tmp_path / "out/audit.html").read_text()
    assert "x&lt;b&gt;" in page
    assert "x<b>" not in page.split("<body>")[1].split("Shared polymers")[0]
    assert "plotly" in page
    assert "src=" not in page.split("<body>")[1].split("<script")[0]
    write_audit(found, tmp_path / "out")  # replaces itself
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="something else"):
        write_audit(found, other)


@pytest.mark.skipif("POLYML_BENCHMARKS" not in os.environ, reason="needs the benchmark files")
def test_the_published_sets_share_most_of_their_polymers() -> None:
    folder = Path(os.environ["POLYML_BENCHMARKS"])
    files = [folder / f"dft_{name}.csv" for name in ("egc", "egb", "eea", "ei", "eps", "nc")]
    found = audit(files)
    assert found.files["frame_duplicates"].tolist() == [3, 0, 1, 1, 0, 0, 4]
    tasks = found.tables["tasks"]
    rows = tasks[(tasks["split"] == "rows") & (tasks["train_file"] == "any other")].set_index("test_file")["share"]
    assert (rows.drop("dft_egc") > 0.9).all()


def test_saved_folds_that_do_not_fit_the_file(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    texts = polymers(12)
    folds = write("splits.csv", psmiles=texts[:10], fold=np.arange(10) % 3)
    spec = {"splits": (), "saved_splits": folds}
    fitting = write("a.csv", psmiles=texts[:10], x=np.arange(10.0))
    assert not checks(look(fitting, spec=spec), "error")
    more = checks(look(write("b.csv", psmiles=texts, x=np.arange(12.0)), spec=spec), "error")
    assert more["incomplete folds saved"].rows["line"].tolist() == [12, 13]
    fewer = checks(look(write("c.csv", psmiles=texts[:8], x=np.arange(8.0)), spec=spec), "error")
    assert fewer["foreign folds"].rows["psmiles"].tolist() == texts[8:10]
    # Folds of the polymers with a value of one property are right for it.
    holes = np.where(np.arange(12) < 10, np.arange(12.0), np.nan)
    partly = look(write("d.csv", psmiles=texts, x=holes, y=np.arange(12.0)), spec=spec)
    assert not checks(partly, "error")


def test_twins_on_both_sides_of_a_split_are_told_from_the_same_polymer(
    write: Write, look: Look, checks: Callable, smooth_tg: Callable
) -> None:
    pairs = [(f"*C/C=C/{'C' * n}O*", f"*C/C=C\\{'C' * n}O*") for n in range(1, 16)]
    texts = [text for pair in pairs for text in pair]
    data = write(psmiles=texts, Tg=smooth_tg(texts))
    found = checks(look(data))
    parted = found["leak configurations rows"]
    assert (parted.severity, set(parted.rows["same"])) == ("warning", {"constitution"})
    assert "leak rows" not in found
    assert "leak configurations kfold" not in found  # the folds of polyml keep them together
    asked = checks(look(data, spec={"splits": (SplitSpec(kind="rows", folds=3),), "asked": True}))
    assert asked["leak configurations rows"].severity == "error"
    spec = AuditSpec(splits=(), saved_splits=write("folds.csv", fold=[0, 1] * 15, psmiles=texts))
    assert checks(audit([data], spec))["leak configurations saved"].count == 30


def test_saved_folds_that_overlap_or_lack_a_number(
    write: Write, polymers: Callable, checks: Callable, smooth_tg: Callable
) -> None:
    texts = polymers(12)
    data = write(psmiles=texts, Tg=smooth_tg(texts))

    def errors(name: str, folds: list[int], named: list[str]) -> dict:
        return checks(audit([data], AuditSpec(splits=(), saved_splits=write(name, fold=folds, psmiles=named))), "error")

    assert not errors("good.csv", [0, 1, 2] * 4, texts)
    twice = errors("twice.csv", [*[0, 1, 2] * 4, 1, 2], [*texts, texts[0], texts[1]])
    assert twice["overlapping folds"].rows["psmiles"].value_counts().to_dict() == {texts[0]: 2, texts[1]: 2}
    gap = errors("gap.csv", [1, 2, 4] * 4, texts)["missing folds"]
    assert gap.rows["fold"].tolist() == [0, 3]
    assert "fold 0 of repeat 0, fold 3 of repeat 0" in gap.what


def test_folds_in_other_spellings_and_parts_that_leave_rows_out(
    write: Write, polymers: Callable, checks: Callable, smooth_tg: Callable
) -> None:
    texts = polymers(12)
    data = write(psmiles=texts, Tg=smooth_tg(texts))

    def errors(name: str, **columns: list) -> dict:
        return checks(audit([data], AuditSpec(splits=(), saved_splits=write(name, **columns))), "error")

    other = multiple(RepeatUnit.parse(texts[0]), 2)
    assert not errors("spelled.csv", fold=[0, 1, 2] * 4, psmiles=[other, *texts[1:]])
    assert "overlapping folds" in errors("twice.csv", fold=[*[0, 1, 2] * 4, 1], psmiles=[*texts, other])
    # The earliest part is trained on and never tested, as a split by time does.
    parts = [(0, "train", text) for text in texts[:8]] + [(0, "test", text) for text in texts[8:]]
    fold, part, psmiles = map(list, zip(*parts, strict=True))
    assert not errors("time.csv", fold=fold, part=part, psmiles=psmiles)
    fold, part, psmiles = [*fold, 1, 1], [*part, "test", "train"], [*psmiles, texts[8], texts[0]]
    assert "overlapping folds" in errors("again.csv", fold=fold, part=part, psmiles=psmiles)
