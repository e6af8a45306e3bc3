"""Monomers from a file: each molecule once, and a reason for every row that is not used."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from polyml.design.library import make_candidates
from polyml.design.monomers import Monomers, check_any, read_monomers
from polyml.design.polymerisation import CandidateSpec
from polyml.errors import UserError


def rejects(monomers: Monomers) -> list[tuple[int, str]]:
    return [(item.line, item.reason) for item in monomers.rejects]


def test_rows_that_are_not_used_say_why(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    rows = ["C=C,ethene", "OCCO,glycol", "C(O)CO,glycol again", "[Na+].[O-]C=C,salt", "C1CC,ring", "[2H]OCCO,heavy"]
    rows += ["*CC*,unit", ",nothing", "CCO,ethanol", "OCCO,a,b", "C C,blank", "[CH2:1]=C,mapped"]
    path.write_text("SMILES,Name\n" + "\n".join(rows) + "\n" + "C" * 3000 + ",long\n")
    found = read_monomers(path)
    assert (found.smiles, found.names) == (["C=C", "OCCO"], ["ethene", "glycol"])
    assert rejects(found) == [
        (4, "duplicate"), (5, "mixture"), (6, "invalid SMILES"), (7, "isotopes"), (8, "attachment points"),
        (9, "empty"), (10, "no class"), (11, "broken row"), (12, "invalid SMILES"), (13, "duplicate"),
        (14, "too long"),
    ]  # fmt: skip
    assert found.rejects[0].detail == "the molecule of line 3"
    assert found.counts() == {"read": 13, "used": 2, "duplicates": 2, "without_class": 1, "refused": 8}
    assert list(found.reject_frame()["line"]) == [line for line, _ in rejects(found)]


@pytest.mark.parametrize("name", ["m.tsv", "m.smi", "m.parquet", "m.csv.gz"])
def test_other_formats(tmp_path: Path, name: str) -> None:
    path, frame = tmp_path / name, pd.DataFrame({"smiles": ["C=C", "OCCO"], "cid": [1, 2]})
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="," if name.endswith(".csv.gz") else "\t")
    found = read_monomers(path)
    assert (found.smiles, found.names) == (["C=C", "OCCO"], ["1", "2"])


def test_a_column_of_names_may_be_chosen_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("smiles,name,code\nC=C,ethene,E\n")
    assert read_monomers(path, name_column="code").names == ["E"]
    with pytest.raises(UserError, match="no column 'nmae'"):
        read_monomers(path, name_column="nmae")
    path.write_text("smiles\nC=C\n")
    found = read_monomers(path)
    assert not found.named
    (frame,) = make_candidates(found)
    assert list(frame) == ["psmiles", "monomer_1", "monomer_2", "polymer_class"]


def test_carbon_monoxide_is_added_once() -> None:
    diol = Monomers(["OCCO"], ["glycol"], [("diol", "diol_b")], named=True)
    given = diol.with_carbon_monoxide()
    assert given.names == ["glycol", "carbon monoxide"]
    assert given.with_carbon_monoxide() is given
    (frame,) = make_candidates(given)
    assert frame.iloc[0].tolist() == ["*OCCOC(*)=O", "OCCO", "[C-]#[O+]", "polyester", "glycol", "carbon monoxide"]


def test_no_usable_monomer_is_an_error_with_the_counts(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("smiles\nCCO\nCC\nC1C\n")
    with pytest.raises(UserError, match=r"none of the 3 rows .* no class \(2\), invalid SMILES \(1\)"):
        check_any(read_monomers(path), "look again")


def test_missing_partners_are_named() -> None:
    acid = Monomers(["O=C(O)CC(=O)O"], [""], [("diCOOH",)])
    with pytest.raises(UserError, match="the list has: diCOOH") as caught:
        list(make_candidates(acid))
    assert "diol for polyester with diCOOH" in str(caught.value)


def test_nothing_that_can_be_read_says_what_it_was() -> None:
    divinyl = Monomers(["C=CCOCC=C"], [""], [("vinyl",)])
    with pytest.raises(UserError, match=r"network \(1\)"):
        list(make_candidates(divinyl))
    (frame,) = make_candidates(divinyl, CandidateSpec(raw=True))
    assert frame["psmiles"][0].count("*") == 4


def test_raw_and_unique_do_not_go_together() -> None:
    with pytest.raises(UserError, match="canonical form"):
        CandidateSpec(raw=True, unique=True)
