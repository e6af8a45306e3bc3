from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from polyml.bundle import Bundle
from polyml.chem import RepeatUnit
from polyml.domain import DomainLimits, elements
from polyml.errors import PolymlError, UserError
from polyml.models.catalog import make_model
from polyml.screening import screen as engine
from polyml.screening.plan import plan_screen
from polyml.screening.report import stages
from polyml.screening.robeson import distance
from polyml.screening.screen import Objective, ScreenSpec, screen
from polyml.screening.shards import ShardStore
from polyml.screening.worker import load_screener

SPEC = ScreenSpec(
    derive={"selectivity": "O2 / N2"},
    constraints=["O2 >= 1"],
    objectives=["log10(O2)"],
    top=10,
    chunk_size=7,
)


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def oracle(bundle, library, spec):
    """Rank the library the slow way: row by row, everything for every row."""
    found = []
    for row in read(library):
        try:
            unit = RepeatUnit.parse(row["psmiles"])
        except UserError:
            continue
        o2, n2, tg = bundle.predict([unit]).mean[0]
        if o2 >= 1 and not (spec.skip_known and unit.key in bundle.keys):
            found.append((-np.log10(o2), len(found), unit.key, row, o2, n2, tg))
    best = {}
    for item in sorted(found, key=lambda item: (round(item[0], 6), item[1])):
        best.setdefault(item[2], item)
    return list(best.values())[: spec.top]


def test_ranks_like_a_slow_loop_over_all_rows(bundle, library, tmp_path):
    summary = screen(library, bundle, SPEC, tmp_path / "out")
    ranked = pd.read_csv(tmp_path / "out" / "ranked.csv")
    expected = oracle(bundle, library, SPEC)
    assert len(expected) == 10
    assert ranked["canonical"].tolist() == [item[2] for item in expected]
    assert ranked["monomers"].tolist() == [item[3]["monomers"] for item in expected]
    assert ranked["rank"].tolist() == list(range(1, 11))
    np.testing.assert_allclose(ranked["O2"], [item[4] for item in expected], rtol=1e-5)
    np.testing.assert_allclose(ranked["Tg"], [item[6] for item in expected], rtol=1e-5)
    np.testing.assert_allclose(ranked["selectivity"], ranked["O2"] / ranked["N2"])
    np.testing.assert_allclose(ranked["score"], np.log10(ranked["O2"]))
    np.testing.assert_allclose(ranked["robeson O2/N2"], distance("O2/N2", ranked["O2"], ranked["N2"]))
    assert ranked["similarity"].between(0, 1).all()
    assert set(ranked["nearest_training"]) <= set(bundle.psmiles)
    assert ranked["nearest_warning"].isna().all()
    assert summary.ranked == 10
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["passing"] == summary.passing


def test_the_ranked_list_tells_who_is_outside_the_domain(bundle, library, tmp_path):
    limits = DomainLimits(edge=0.2, outside=0.15)
    narrow = Bundle(**{**vars_of(bundle), "domain_limits": limits})
    spec = SPEC.model_copy(update={"constraints": [], "top": 100})
    summary = screen(library, narrow, spec, tmp_path / "all")
    ranked = pd.read_csv(tmp_path / "all" / "ranked.csv")
    expected = narrow.domain.judge(ranked["psmiles"].tolist())
    np.testing.assert_allclose(ranked["domain_score"], expected.score)
    assert ranked["domain"].tolist() == expected.verdict.tolist()
    assert summary.outside == (expected.verdict == "outside").sum()
    assert 0 < summary.outside < summary.ranked
    assert summary.edge == (expected.verdict == "edge").sum() > 0
    funnel = stages(summary.to_dict(), plan_screen(spec, narrow.properties))
    assert funnel["ranked, in the domain"] == (expected.verdict == "inside").sum()
    spec = SPEC.model_copy(update={"constraints": ["domain_score >= 0.15", "similarity < 1"], "top": 100})
    inside = screen(library, narrow, spec, tmp_path / "inside")
    kept = pd.read_csv(tmp_path / "inside" / "ranked.csv")
    chosen = (expected.score >= 0.15) & (expected.similarity < 1)
    assert kept["canonical"].tolist() == ranked[chosen]["canonical"].tolist()
    # What is left outside has an element that no training polymer has.
    assert inside.outside == (expected.verdict[chosen] == "outside").sum()
    strange = ranked[chosen & (expected.verdict == "outside")]["psmiles"].tolist()
    trained = elements(bundle.psmiles).any(axis=0)
    assert strange
    assert (elements(strange) & ~trained).any(axis=1).all()


def test_a_derived_column_takes_no_name_that_is_written(bundle):
    for name in ("domain", "domain_score", "similarity"):
        with pytest.raises(UserError, match=f"the name '{name}' is taken"):
            plan_screen(SPEC.model_copy(update={"derive": {name: "O2"}}), bundle.properties)


def test_every_row_is_counted_and_every_refused_row_stands_in_the_rejects(bundle, library, tmp_path):
    summary = screen(library, bundle, SPEC, tmp_path / "out")
    rows = read(library)
    rejects = read(tmp_path / "out" / "rejects.csv")
    assert summary.read == len(rows) == summary.valid + summary.rejected
    assert summary.refused == Counter(item["reason"] for item in rejects)
    assert len(rejects) == summary.rejected == 5
    assert [item["line"] for item in rejects] == sorted((item["line"] for item in rejects), key=int)
    reasons = {item["psmiles"][:20]: item["reason"] for item in rejects}
    assert reasons["*C"] == "attachment points"
    assert reasons[""] == "empty"
    assert reasons["not a polymer"]
    assert all(len(item["psmiles"]) < 600 and item["message"] for item in rejects)
    by_line = {i: row["psmiles"] for i, row in enumerate(rows, start=2)}
    assert all(by_line[int(item["line"])].startswith(item["psmiles"].rstrip(".")[:400]) for item in rejects)


def test_a_training_polymer_in_another_frame_is_skipped_unless_asked_for(bundle, library, tmp_path):
    polystyrene = RepeatUnit.parse("*C(c1ccccc1)C*").key
    spec = SPEC.model_copy(update={"constraints": [], "top": 100})
    summary = screen(library, bundle, spec, tmp_path / "without")
    assert polystyrene not in pd.read_csv(tmp_path / "without" / "ranked.csv")["canonical"].tolist()
    assert summary.known >= 1
    kept = screen(library, bundle, spec.model_copy(update={"skip_known": False}), tmp_path / "with")
    ranked = pd.read_csv(tmp_path / "with" / "ranked.csv")
    assert polystyrene in ranked["canonical"].tolist()
    assert ranked.loc[ranked["canonical"] == polystyrene, "similarity"].item() == pytest.approx(1.0)
    assert kept.known == 0
    assert kept.ranked == summary.ranked + summary.known


def test_one_polymer_is_ranked_once_with_its_first_row(bundle, library, tmp_path):
    spec = SPEC.model_copy(update={"constraints": [], "top": 100})
    summary = screen(library, bundle, spec, tmp_path / "out")
    ranked = pd.read_csv(tmp_path / "out" / "ranked.csv")
    assert ranked["canonical"].is_unique
    assert "*OC(CC)*" in ranked["psmiles"].tolist()  # the earlier of the two spellings
    assert summary.duplicate >= 1
    assert summary.passing == summary.valid == summary.ranked + summary.known + summary.duplicate


@pytest.mark.parametrize("chunk_size", [1, 5, 1000])
def test_the_ranking_does_not_depend_on_the_chunks(bundle, library, tmp_path, chunk_size):
    screen(library, bundle, SPEC, tmp_path / "a")
    screen(library, bundle, SPEC.model_copy(update={"chunk_size": chunk_size}), tmp_path / "b")
    a, b = (pd.read_csv(tmp_path / name / "ranked.csv") for name in "ab")
    pd.testing.assert_frame_equal(a, b, rtol=1e-5)
    assert everything(tmp_path / "a")["rejects.csv"] == everything(tmp_path / "b")["rejects.csv"]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_resumed_gives_the_bytes_of_an_uninterrupted_run(bundle, library, tmp_path, interrupted, after):
    screen(library, bundle, SPEC, tmp_path / "whole")
    with interrupted(after):
        screen(library, bundle, SPEC, tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "ranked.csv").exists()
    with pytest.raises(UserError, match="--resume"):
        screen(library, bundle, SPEC, tmp_path / "stopped")
    summary = screen(library, bundle, SPEC, tmp_path / "stopped", resume=True)
    assert summary.resumed == 7 * after
    assert everything(tmp_path / "stopped") == everything(tmp_path / "whole")


def test_a_finished_chunk_is_not_predicted_again(bundle, library, tmp_path, monkeypatch):
    screen(library, bundle, SPEC, tmp_path / "out")
    before = everything(tmp_path / "out")
    monkeypatch.setattr(engine.ChunkScreener, "screen", lambda *args: pytest.fail("predicted again"))
    summary = screen(library, bundle, SPEC, tmp_path / "out", resume=True)
    assert summary.resumed == summary.read
    assert everything(tmp_path / "out") == before


def test_resume_refuses_another_input_spec_or_model(bundle, library, tmp_path):
    folder = tmp_path / "out"
    screen(library, bundle, SPEC, folder)
    with pytest.raises(UserError, match=r"something else \(top\)"):
        screen(library, bundle, SPEC.model_copy(update={"top": 3}), folder, resume=True)
    other = Bundle(**{**vars_of(bundle), "seed": 2})
    with pytest.raises(UserError, match=r"something else \(model\)"):
        screen(library, other, SPEC, folder, resume=True)
    with pytest.raises(UserError, match=r"something else \(input\)"):
        screen(library, bundle, SPEC, folder, resume=True, smiles_column="monomers")
    library.write_text(library.read_text() + "*CC(*)CCCCCC,x,y\n")
    with pytest.raises(UserError, match=r"something else \(input\)"):
        screen(library, bundle, SPEC, folder, resume=True)


def vars_of(bundle):
    names = ("model", "properties", "keys", "psmiles", "values", "data_digest", "seed", "scores", "versions")
    return {name: getattr(bundle, name) for name in names}


def test_a_folder_with_something_else_is_left_alone(bundle, library, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(UserError, match="not empty"):
            screen(library, bundle, SPEC, tmp_path / "out", resume=resume)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match="this is a file"):
        screen(library, bundle, SPEC, tmp_path / "out" / "thesis.txt")


def test_a_poison_row_costs_one_row(bundle, library, tmp_path, monkeypatch):
    screen(library, bundle, SPEC, tmp_path / "clean")
    clean = pd.read_csv(tmp_path / "clean" / "ranked.csv")
    poison = clean["psmiles"][0]
    predict = type(bundle.model).predict

    def fragile(self, units):
        if any(getattr(unit, "psmiles", unit) == poison for unit in units):
            raise ArithmeticError("a\nlibrary gives up")
        return predict(self, units)

    monkeypatch.setattr(type(bundle.model), "predict", fragile)
    summary = screen(library, bundle, SPEC.model_copy(update={"top": 9}), tmp_path / "out")
    ranked = pd.read_csv(tmp_path / "out" / "ranked.csv")
    assert ranked["psmiles"].tolist() == clean["psmiles"].tolist()[1:]
    refused = [item for item in read(tmp_path / "out" / "rejects.csv") if item["psmiles"] == poison]
    assert [(item["reason"], item["message"]) for item in refused] == [
        ("prediction failed", "ArithmeticError: a library gives up")
    ]
    assert summary.rejected == 6


def test_a_model_that_always_fails_is_an_error_not_a_list_of_rejects(bundle, library, tmp_path, monkeypatch):
    def broken(self, units):
        raise RuntimeError("no such layer")

    monkeypatch.setattr(type(bundle.model), "predict", broken)
    with pytest.raises(PolymlError, match=r"fails on every polymer.*no such layer"):
        screen(library, bundle, SPEC, tmp_path / "out")


def test_processes_give_the_bytes_of_one_process(bundle, library, tmp_path):
    bundle.save(tmp_path / "model")
    screen(library, tmp_path / "model", SPEC, tmp_path / "one")
    screen(library, tmp_path / "model", SPEC, tmp_path / "two", jobs=2)
    assert everything(tmp_path / "two") == everything(tmp_path / "one")


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"objectives": []}, "no objective"),
        ({"constraints": ["O3 > 1"]}, "unknown name 'O3'"),
        ({"constraints": ["O2 / N2"]}, "is not a comparison"),
        ({"objectives": ["O2 > 1"]}, "is a comparison"),
        ({"derive": {"O2": "N2"}}, "'O2' is taken"),
        ({"derive": {"a": "b", "b": "O2"}}, "unknown name 'b'"),
        ({"derive": {"a": "O2 > 1"}}, "is a comparison"),
        ({"objectives": ["O2_lower"]}, "gives no uncertainty"),
    ],
)
def test_a_bad_spec_is_refused_before_the_input_is_opened(bundle, tmp_path, update, message):
    spec = ScreenSpec.model_validate({**SPEC.model_dump(), **update})
    with pytest.raises(UserError, match=message):
        screen(tmp_path / "missing.csv", bundle, spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_ranking_can_ask_for_the_similarity(bundle, library, tmp_path):
    spec = ScreenSpec(
        derive={"twice": "2 * similarity"},
        constraints=["twice >= 0.5"],
        objectives=[{"expression": "twice", "direction": "minimize", "weight": 3.0}, "O2"],
        top=5,
    )
    screen(library, bundle, spec, tmp_path / "out")
    ranked = pd.read_csv(tmp_path / "out" / "ranked.csv")
    assert len(ranked) == 5
    np.testing.assert_allclose(ranked["twice"], 2 * ranked["similarity"])
    np.testing.assert_allclose(ranked["score"], ranked["O2"] - 3 * ranked["twice"])
    assert ranked["score"].is_monotonic_decreasing
    assert (ranked["twice"] >= 0.5).all()


@pytest.mark.parametrize("keep", ["ranked", "all"])
def test_the_summary_says_what_each_constraint_leaves(bundle, library, tmp_path, keep):
    constraints = ["similarity >= 0.3", "O2 >= 5", "selectivity >= 2", "O2 >= 5"]
    spec = SPEC.model_copy(update={"constraints": constraints, "keep": keep})
    summary = screen(library, bundle, spec, tmp_path / "out")
    everything = SPEC.model_copy(update={"constraints": [], "keep": "all"})
    screen(library, bundle, everything, tmp_path / "all")
    rows = pd.read_csv(tmp_path / "all" / "predictions.csv").query("outcome != 'refused'")
    left = {}
    for text in ("O2 >= 5", "selectivity >= 2", "similarity >= 0.3"):  # what costs more comes last
        rows = rows.query(text)
        left[text] = len(rows)
    assert list(summary.constraints.items()) == list(left.items())
    assert summary.valid > left["O2 >= 5"] > left["selectivity >= 2"] > summary.passing > 0
    assert summary.passing == left["similarity >= 0.3"]


@pytest.mark.parametrize("chunk_size", [2, 5, 100])
def test_copies_are_counted_down_to_the_last_of_the_list(bundle, tmp_path, chunk_size):
    path = tmp_path / "copies.smi"
    path.write_text("*CC(*)CCCC\n*OC(CC)*\n*CC(*)CCC\n*C(CC)O*\n*C(CC)O*\n*CC(*)O\n*C(O*)CC\n*OC(C)*\n")
    spec = SPEC.model_copy(update={"constraints": [], "chunk_size": chunk_size})
    whole = screen(path, bundle, spec, tmp_path / "whole")
    ranked = pd.read_csv(tmp_path / "whole" / "ranked.csv")
    last = int(ranked.loc[ranked["canonical"] == RepeatUnit.parse("*C(CC)O*").key, "rank"].item())
    spec = spec.model_copy(update={"top": last})
    assert screen(path, bundle, spec, tmp_path / "part").duplicate == whole.duplicate == 3


@pytest.mark.parametrize("top", [1, 3, 20])
def test_what_is_counted_among_equals_does_not_depend_on_the_chunks(bundle, library, tmp_path, top):
    spec = SPEC.model_copy(update={"constraints": [], "objectives": [Objective(expression="min(O2, 5)")], "top": top})
    found = []
    for size in (1, 2, 3, 7, 100):
        summary = screen(library, bundle, spec.model_copy(update={"chunk_size": size}), tmp_path / str(size))
        found.append((summary.known, summary.duplicate, summary.ranked))
    assert len(set(found)) == 1


@pytest.mark.parametrize("drift", [-1e-6, 1e-6])
@pytest.mark.parametrize("chunk_size", [1, 3])
def test_copies_may_differ_in_the_last_digits_of_their_scores(bundle, tmp_path, monkeypatch, chunk_size, drift):
    predict, rows = Bundle.predict_mean, itertools.count()

    def drifting(self, units):
        found = predict(self, units)
        return found * (1 + drift * np.array([[next(rows)] for _ in units]))

    monkeypatch.setattr(Bundle, "predict_mean", drifting)
    (tmp_path / "in.smi").write_text("*CC(*)F\n*C(F)C*\n*CC(*)CC\n")
    spec = SPEC.model_copy(update={"top": 1, "chunk_size": chunk_size})
    summary = screen(tmp_path / "in.smi", bundle, spec, tmp_path / "out")
    assert (summary.ranked, summary.duplicate) == (1, 1)
    assert pd.read_csv(tmp_path / "out" / "ranked.csv")["psmiles"].tolist() == ["*CC(*)F"]


def test_nothing_that_passes_gives_an_empty_list_with_its_header(bundle, library, tmp_path):
    spec = SPEC.model_copy(update={"constraints": ["O2 > 1e30"]})
    summary = screen(library, bundle, spec, tmp_path / "out")
    ranked = pd.read_csv(tmp_path / "out" / "ranked.csv")
    assert summary.passing == summary.ranked == len(ranked) == 0
    assert {"rank", "psmiles", "O2", "O2_std", "selectivity", "similarity", "monomers"} <= set(ranked.columns)


def test_only_bad_rows_are_no_error(bundle, tmp_path):
    (tmp_path / "bad.smi").write_text("C\nCC\n")
    summary = screen(tmp_path / "bad.smi", bundle, SPEC, tmp_path / "out")
    assert (summary.read, summary.valid, summary.ranked) == (2, 0, 0)
    assert len(read(tmp_path / "out" / "rejects.csv")) == 2


@pytest.mark.parametrize("keep", ["ranked", "all"])
@pytest.mark.parametrize("least", [0, 8, 1e30])
def test_a_score_without_value_has_no_rank(bundle, library, tmp_path, keep, least):
    goals = {"objectives": [f"log10(O2 - {least})"], "keep": keep, "skip_known": False, "top": 100}
    spec = ScreenSpec.model_validate({**SPEC.model_dump(), **goals})
    summary = screen(library, bundle, spec, tmp_path / "out")
    ranked = pd.read_csv(tmp_path / "out" / "ranked.csv")
    assert (ranked["O2"] > least).all()
    assert summary.ranked + summary.duplicate + summary.no_value == summary.passing
    assert (summary.no_value > 0) == (least > 0)
    assert (summary.ranked > 0) == (least < 1e30)


@pytest.mark.parametrize("damage", [b"PAR1", b"", None])
def test_a_damaged_shard_is_made_again(bundle, library, tmp_path, damage):
    screen(library, bundle, SPEC, tmp_path / "out")
    before = everything(tmp_path / "out")
    path = tmp_path / "out" / "shards" / "00000001.shard"
    content = bytearray(path.read_bytes())
    if damage is None:  # a bit on the disk has turned, in the middle of a page
        content[len(content) // 2] ^= 1
    path.write_bytes(content if damage is None else damage)
    summary = screen(library, bundle, SPEC, tmp_path / "out", resume=True)
    assert summary.read - summary.resumed == 7
    assert everything(tmp_path / "out") == before


def test_the_tracker_gets_the_funnel_and_the_tables(bundle, library, tmp_path):
    class Notes:
        def __init__(self):
            self.metrics, self.files = {}, []

        def log_metrics(self, metrics, step=0):
            self.metrics.update(metrics)

        def log_files(self, paths, folder=""):
            self.files.extend(path.name for path in paths)

    notes = Notes()
    summary = screen(library, bundle, SPEC, tmp_path / "out", tracker=notes)
    assert notes.metrics["screening/read"] == summary.read
    assert {"ranked.csv", "rejects.csv", "summary.json", "robeson.html"} <= set(notes.files)


def test_the_default_spec_ranks_by_the_first_bound_there_is(bundle):
    spec = ScreenSpec.default(bundle.properties)
    assert spec.derive == {"O2/N2": "O2 / N2"}
    assert spec.objectives[0].expression == 'robeson("O2/N2")'
    assert ScreenSpec.default(bundle.properties[2:]).objectives[0].expression == "`Tg`"


def test_a_disk_that_refuses_is_a_user_error(bundle, library, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("polyml.data.files.tempfile.mkstemp", full)
    with pytest.raises(UserError, match="No space left"):
        screen(library, bundle, SPEC, tmp_path / "out")
    monkeypatch.undo()
    screen(library, bundle, SPEC, tmp_path / "whole")
    screen(library, bundle, SPEC, tmp_path / "out", resume=True)
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_a_candidate_near_a_doubtful_training_polymer_says_so(bundle, tmp_path):
    doubtful = Bundle(**{**vars_of(bundle), "psmiles": ("*OCCO*", *bundle.psmiles[1:])})
    (tmp_path / "in.smi").write_text("*OCCOC*\n*OCCCO*\n*CC(*)Br\n")
    screen(tmp_path / "in.smi", doubtful, ScreenSpec(objectives=["O2"], skip_known=False), tmp_path / "out")
    ranked = pd.read_csv(tmp_path / "out" / "ranked.csv").set_index("nearest_training")
    assert ranked.loc[["*OCCO*"], "nearest_warning"].str.contains("peroxide").all()
    assert ranked["nearest_warning"].drop("*OCCO*").isna().all()
    assert ranked.set_index("psmiles")["warning"].notna().to_dict() == {
        "*OCCOC*": False, "*OCCCO*": True, "*CC(*)Br": False,
    }  # fmt: skip


def test_a_screen_that_failed_in_its_first_chunk_does_not_keep_its_folder(bundle, tmp_path, monkeypatch):
    (tmp_path / "none.csv").write_text("psmiles\n")
    (tmp_path / "good.csv").write_text("psmiles\n*CC(*)Br\n")
    out = tmp_path / "out"
    with pytest.raises(UserError, match="no rows"):
        screen(tmp_path / "none.csv", bundle, SPEC, out)
    assert not out.exists()
    write = ShardStore.write

    def full(self, number, *args):
        if number == 1:
            raise UserError("cannot write: No space left on device", fix="free some space")
        write(self, number, *args)

    (tmp_path / "two.csv").write_text("psmiles\n*CC(*)Br\n*CC(*)I\n")
    monkeypatch.setattr(ShardStore, "write", full)
    with pytest.raises(UserError, match="No space"):
        screen(tmp_path / "two.csv", bundle, SPEC.model_copy(update={"chunk_size": 1}), out)
    assert len(list((out / "shards").glob("[0-9]*.shard"))) == 1  # finished work is not thrown away


def parts_of(library, folder):
    """Lay the rows of a library into files of three kinds, in order."""
    folder.mkdir()
    frame = pd.read_csv(library, keep_default_na=False)
    frame[:9].to_csv(folder / "a.csv.gz", index=False)
    frame[9:20].to_parquet(folder / "b.parquet", index=False, row_group_size=4)
    frame[20:].to_csv(folder / "c.tsv", index=False, sep="\t")
    return folder


def test_a_folder_of_files_is_screened_as_one(bundle, library, tmp_path):
    parts = parts_of(library, tmp_path / "parts")
    a = screen(library, bundle, SPEC, tmp_path / "one")
    b = screen(parts, bundle, SPEC, tmp_path / "many")
    assert (a.read, a.passing, a.ranked) == (b.read, b.passing, b.ranked)
    one, many = (pd.read_csv(tmp_path / name / "ranked.csv") for name in ("one", "many"))
    assert set(many["file"]) <= {"a.csv.gz", "b.parquet", "c.tsv"}
    pd.testing.assert_frame_equal(one.drop(columns="line"), many.drop(columns=["file", "line"]), rtol=1e-6)
    refused = pd.read_csv(tmp_path / "many" / "rejects.csv", keep_default_na=False)
    assert list(refused)[:3] == ["file", "line", "psmiles"]
    (parts / "c.tsv").rename(parts / "0.tsv")
    with pytest.raises(UserError, match=r"something else \(input\)"):
        screen(parts, bundle, SPEC, tmp_path / "many", resume=True)


def test_parquet_is_read_by_who_works_on_it_and_gives_the_same(bundle, library, tmp_path):
    bundle.save(tmp_path / "model")
    frame = pd.read_csv(library, keep_default_na=False)
    frame.to_parquet(tmp_path / "library.parquet", index=False, row_group_size=10)
    screen(library, tmp_path / "model", SPEC, tmp_path / "csv")
    screen(tmp_path / "library.parquet", tmp_path / "model", SPEC, tmp_path / "parquet", jobs=2)
    a, b = (pd.read_csv(tmp_path / name / "ranked.csv") for name in ("csv", "parquet"))
    pd.testing.assert_frame_equal(a.drop(columns="line"), b.drop(columns="line"))
    assert (a["line"] == b["line"] + 1).all()  # no header


def test_a_damaged_row_group_costs_its_own_rows(bundle, library, tmp_path):
    frame = pd.read_csv(library, keep_default_na=False)
    path = tmp_path / "library.parquet"
    frame.to_parquet(path, index=False, row_group_size=10, compression="gzip")
    import pyarrow.parquet as pq

    column = pq.read_metadata(path).row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = column.data_page_offset + 30
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(content)
    summary = screen(path, bundle, SPEC.model_copy(update={"keep": "all"}), tmp_path / "out")
    assert summary.read == len(frame)
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv")
    assert (rejects["reason"] == "damaged").sum() == 10
    assert rejects[rejects["reason"] == "damaged"]["line"].tolist() == list(range(11, 21))


def test_several_models_are_asked_together(bundle, library, tmp_path):
    def trained(names, psmiles):
        at = [bundle.names.index(name) for name in names]
        rows = [bundle.psmiles.index(text) for text in psmiles]
        properties = tuple(bundle.properties[i] for i in at)
        values = bundle.values[rows][:, at]
        y = np.column_stack([item.to_model(values[:, i]) for i, item in enumerate(properties)])
        model = make_model("pca_ridge").fit(list(psmiles), y)
        keys = [bundle.keys[row] for row in rows]
        return Bundle(model, properties, keys, psmiles, values, "0" * 64, seed=1)

    models = [trained(["O2"], bundle.psmiles[:9]), trained(["N2", "Tg"], bundle.psmiles[2:])]
    with library.open("a") as file:
        file.writelines(f"{text},known to the second alone,0\n" for text in bundle.psmiles[9:])
    spec = SPEC.model_copy(update={"keep": "all", "constraints": ["O2 >= 1", "Tg >= 24.5"], "top": 100})
    summary = screen(library, models, spec, tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")
    good = rows[rows["outcome"] != "refused"]
    texts = good["psmiles"].tolist()
    np.testing.assert_allclose(good["O2"], models[0].predict(texts).mean[:, 0], rtol=1e-5)
    np.testing.assert_allclose(good[["N2", "Tg"]], models[1].predict(texts).mean, rtol=1e-5)
    assert summary.passing == ((good["O2"] >= 1) & (good["Tg"] >= 24.5)).sum() > 0
    # Known is what every model was trained on, and a polymer is judged by the model that knows it least.
    first, second = (model.domain.judge(texts) for model in models)
    np.testing.assert_allclose(good["domain_score"], np.minimum(first.score, second.score))
    severity = {"inside": 0, "edge": 1, "outside": 2}
    worst = [max(pair, key=severity.get) for pair in zip(first.verdict, second.verdict, strict=True)]
    assert good["domain"].tolist() == worst
    passing = good[good["outcome"] != "fails"].set_index("canonical")["outcome"]
    assert (passing == "known").tolist() == passing.index.isin(bundle.keys[2:9]).tolist()
    assert passing.index.isin(bundle.keys[9:]).any()
    ranked = pd.read_csv(tmp_path / "out" / "ranked.csv")
    assert set(ranked["nearest_training"]) <= set(bundle.psmiles)
    assert {"O2", "O2_std", "N2", "Tg_upper", "robeson O2/N2"} <= set(ranked)
    with pytest.raises(UserError, match="two models predict O2"):
        screen(library, [models[0], bundle], spec, tmp_path / "twice")


def test_all_candidates_are_kept_with_what_became_of_them(bundle, library, tmp_path):
    spec = SPEC.model_copy(update={"constraints": ["O2 >= 8", "N2 < 100", "O2 >= 5"], "keep": "all"})
    summary = screen(library, bundle, spec, tmp_path / "csv")
    rows = pd.read_csv(tmp_path / "csv" / "predictions.csv")
    assert len(rows) == summary.read
    assert rows["row"].tolist() == list(range(1, len(rows) + 1))
    assert rows["outcome"].value_counts().to_dict() == {
        "refused": summary.rejected,
        "passes": summary.passing - (rows["outcome"] == "known").sum(),
        "known": (rows["outcome"] == "known").sum(),
        "fails": summary.valid - summary.passing,
    }
    read_again = pd.read_csv(library, keep_default_na=False)
    assert rows["monomers"].tolist() == read_again["monomers"].tolist()
    good = rows[rows["outcome"] != "refused"]
    assert good["canonical"].tolist() == [RepeatUnit.parse(text).key for text in good["psmiles"]]
    expected = bundle.predict(good["psmiles"].tolist())
    np.testing.assert_allclose(good[["O2", "N2", "Tg"]], expected.mean, rtol=1e-5)
    np.testing.assert_allclose(good["similarity"], bundle.domain.judge(good["psmiles"].tolist()).similarity)
    assert good["domain"].tolist() == bundle.domain.judge(good["psmiles"].tolist()).verdict.tolist()
    fails = rows[rows["outcome"] == "fails"]
    assert len(fails)
    assert set(fails["reason"]) == {"O2 >= 8"}
    assert (fails["O2"] < 8).all()
    assert (fails["O2"] < 5).any()  # of two constraints that it fails, the first is told
    screen(library, bundle, spec.model_copy(update={"format": "parquet"}), tmp_path / "parquet", jobs=2)
    table = pd.read_parquet(tmp_path / "parquet" / "predictions.parquet")
    pd.testing.assert_frame_equal(table.replace("", np.nan), rows, check_dtype=False)
    ranked = pd.read_parquet(tmp_path / "parquet" / "ranked.parquet")
    assert ranked["psmiles"].tolist() == pd.read_csv(tmp_path / "csv" / "ranked.csv")["psmiles"].tolist()


def test_of_all_candidates_those_are_counted_that_are_new_and_inside_the_domain(bundle, library, tmp_path):
    narrow = Bundle(**{**vars_of(bundle), "domain_limits": DomainLimits(edge=0.15, outside=0.1)})
    spec = SPEC.model_copy(update={"constraints": ["O2 >= 5"], "keep": "all"})
    summary = screen(library, narrow, spec, tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv").query("outcome != 'refused'")
    new = rows[~rows["canonical"].isin(bundle.keys)]
    inside = new[new["domain"] == "inside"]
    passing = inside[inside["O2"] >= 5]
    assert (summary.new, summary.new_inside, summary.new_inside_passing) == (len(new), len(inside), len(passing))
    assert len(rows) > len(new) > len(inside) > len(passing) > 0
    assert len(passing) < (new["O2"] >= 5).sum()


@pytest.mark.parametrize("jobs", [1, 2])
def test_candidates_come_from_a_url_and_results_go_to_one(bundle, library, tmp_path, jobs):
    spec = ScreenSpec(objectives=["log10(O2)"], top=10, chunk_size=6)
    expected = screen(library, bundle, spec, tmp_path / "here")
    url = f"local://{tmp_path}/there"
    found = screen(f"local://{library}", bundle, spec, url, jobs=jobs)
    assert found.ranked == expected.ranked
    for name in ("ranked.csv", "rejects.csv"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    with pytest.raises(UserError, match="already holds a screen"):
        screen(f"local://{library}", bundle, spec, url)
    assert screen(f"local://{library}", bundle, spec, url, resume=True).resumed == expected.read
    library.write_text(library.read_text() + "*CC*\n")
    with pytest.raises(UserError, match="input"):
        screen(f"local://{library}", bundle, spec, url, resume=True)


def test_the_spread_of_the_ranked_list_does_not_depend_on_the_processes(bundle_of, library, tmp_path):
    """A Gaussian process sums over the training polymers, in an order that the number of threads would change."""
    model = bundle_of("gp")
    for jobs in (1, 2):
        screen(library, model, SPEC, tmp_path / str(jobs), jobs=jobs)
    assert everything(tmp_path / "1") == everything(tmp_path / "2")


def test_a_model_that_is_trained_anew_meanwhile_is_refused(bundle, bundle_of, library, tmp_path):
    folder = bundle.save(tmp_path / "model")
    digests = [Bundle.load(folder).digest]
    assert load_screener([folder], [], SPEC, digests).bundles[0].digest == digests[0]
    shutil.rmtree(folder)
    bundle_of("ridge").save(folder)
    with pytest.raises(UserError, match="a model was changed"):
        load_screener([folder], [], SPEC, digests)


def test_what_is_made_from_the_ranked_list_may_change_on_resume(bundle, library, tmp_path):
    screen(library, bundle, SPEC.model_copy(update={"shortlist": 3}), tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "shortlist.csv")) == 3
    spec = SPEC.model_copy(update={"shortlist": 2, "shortlist_by": "leader", "trade_offs": ["O2 vs N2"]})
    assert screen(library, bundle, spec, tmp_path / "out", resume=True).shortlist == 2
    screen(library, bundle, SPEC, tmp_path / "out", resume=True)
    assert not (tmp_path / "out" / "shortlist.csv").exists()


def test_columns_of_the_input_may_have_the_names_of_ours(bundle, tmp_path):
    text = "psmiles,pick,distance,cluster_size,outcome\n" + "".join(f"*CC(*){'C' * n},1,2,3,4\n" for n in range(4, 12))
    (tmp_path / "in.csv").write_text(text)
    for by in ("maxmin", "clusters"):
        spec = SPEC.model_copy(update={"shortlist": 3, "shortlist_by": by})
        screen(tmp_path / "in.csv", bundle, spec, tmp_path / by)
        assert pd.read_csv(tmp_path / by / "shortlist.csv")["distance_input"].unique().tolist() == [2]
    for name in ("pick", "objective 1", "robeson O2/N2", "probability"):
        spec = SPEC.model_copy(update={"derive": {name: "O2"}})
        with pytest.raises(UserError, match="is taken"):
            screen(tmp_path / "in.csv", bundle, spec, tmp_path / "no")


def test_two_candidates_that_no_model_can_read_cost_their_rows_alone(bundle, library, tmp_path, monkeypatch):
    """Even where they are all that is left of a chunk: the training polymers tell that the model itself works."""
    predict = Bundle.predict_mean

    def picky(self, units):
        if any("I" in unit.psmiles for unit in units):
            raise ValueError("iodine")
        return predict(self, units)

    monkeypatch.setattr(Bundle, "predict_mean", picky)
    (tmp_path / "in.smi").write_text("*CC*\n*CCC*\n*CC(*)I\n*CC(*)CI\n")
    summary = screen(tmp_path / "in.smi", bundle, SPEC.model_copy(update={"chunk_size": 2}), tmp_path / "out")
    assert (summary.read, summary.rejected) == (4, 2)
    monkeypatch.setattr(Bundle, "predict_mean", lambda self, units: 1 / 0)
    with pytest.raises(PolymlError, match="fails on every polymer"):
        screen(tmp_path / "in.smi", bundle, SPEC, tmp_path / "no")


def test_a_stream_is_not_resumed_and_files_keep_their_names(bundle, library, tmp_path):
    parts = tmp_path / "parts"
    parts.mkdir()
    for name in ("a.smi", "b.smi"):
        (parts / name).write_text("*CC*\n*CCC*\n" if name == "a.smi" else "*CO*\n")
    screen(parts, bundle, SPEC, tmp_path / "out")
    (parts / "b.smi").rename(parts / "c.smi")
    with pytest.raises(UserError, match=r"something else \(input\)"):
        screen(parts, bundle, SPEC, tmp_path / "out", resume=True)
    os.mkfifo(tmp_path / "pipe.smi")
    with pytest.raises(UserError, match="cannot be read a second time"):
        screen(tmp_path / "pipe.smi", bundle, SPEC, tmp_path / "out", resume=True)


def test_results_without_their_chunks_are_not_called_nothing(bundle, library, tmp_path):
    screen(library, bundle, SPEC, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "shards")
    for resume in (True, False):
        with pytest.raises(UserError, match="holds the results of a screen"):
            screen(library, bundle, SPEC, tmp_path / "out", resume=resume)


def test_what_a_kill_left_half_written_is_swept_up(bundle, library, tmp_path):
    screen(library, bundle, SPEC, tmp_path / "out")
    left = tmp_path / "out" / ".predictions.csv.ab12cd34.csv"
    own = tmp_path / "out" / ".mine.csv"
    shard = tmp_path / "out" / "shards" / ".00000009.shard.ab12cd34.shard"
    for path in (left, own, shard):
        path.write_text("")
    screen(library, bundle, SPEC, tmp_path / "out", resume=True)
    assert not left.exists()
    assert not shard.exists()
    assert own.exists()
