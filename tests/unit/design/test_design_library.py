"""The stream of candidates: its order, its limits, and processes."""

from __future__ import annotations

import pandas as pd
import pytest

from polyml.chem import RepeatUnit
from polyml.design import library
from polyml.design.library import MADE_BEFORE, Tally, make_candidates
from polyml.design.monomers import Monomers, read_monomers
from polyml.design.polymerisation import CandidateSpec

OPTIONS = CandidateSpec(classes=("polyurethane", "polyoxazolidone", "polyether"))


@pytest.fixture(scope="module")
def some() -> Monomers:
    """A part of the embedded monomers, isocyanates among them."""
    found = read_monomers("monomers")
    isocyanates = [place for place, classes in enumerate(found.classes) if "diNCO" in classes]
    places = sorted({*range(0, len(found), 9), *isocyanates[:5]})
    pick = [[items[place] for place in places] for items in (found.smiles, found.names, found.classes)]
    return Monomers(*pick, named=True)  # type: ignore[arg-type]


def table(monomers: Monomers, spec: CandidateSpec, **options: int) -> pd.DataFrame:
    return pd.concat(list(make_candidates(monomers, spec, **options)), ignore_index=True)


def test_processes_and_sizes_change_nothing(some: Monomers, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = table(some, OPTIONS)
    monkeypatch.setattr(library, "_FEW", 0)
    parts = list(make_candidates(some, OPTIONS, jobs=2, rows_at_a_time=7))
    assert {len(part) for part in parts[:-1]} == {7}
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), alone)


def test_a_limit_takes_the_first_rows(some: Monomers) -> None:
    whole, tally = table(some, OPTIONS), Tally()
    (frame,) = make_candidates(some, CandidateSpec(classes=OPTIONS.classes, limit=25), tally=tally)
    pd.testing.assert_frame_equal(frame, whole.head(25))
    assert tally.stopped
    assert tally.pairs.total() < tally.all_pairs


def test_a_limit_of_each_class(some: Monomers) -> None:
    whole, tally = table(some, OPTIONS), Tally()
    (frame,) = make_candidates(some, CandidateSpec(classes=OPTIONS.classes, per_class=4), tally=tally)
    pd.testing.assert_frame_equal(frame, whole.groupby("polymer_class", sort=False).head(4).reset_index(drop=True))
    assert tally.stopped


def test_unique_keeps_the_first_of_each_polymer() -> None:
    # A diol with an acid and with its chloride: one polymer of two pairs.
    smiles = ["O=C(O)CCC(=O)O", "O=C(Cl)CCC(=O)Cl", "OCCO"]
    given, tally = Monomers(smiles, [""] * 3, [("diCOOH",), ("diCOOH",), ("diol",)]), Tally()
    (both,), (one,) = make_candidates(given), make_candidates(given, CandidateSpec(unique=True), tally=tally)
    assert list(both["monomer_1"]) == smiles[:2]
    assert list(one["monomer_1"]) == smiles[:1]
    assert tally.reasons() == {MADE_BEFORE: 1}


def test_unique_of_many(some: Monomers) -> None:
    whole, unique = table(some, OPTIONS), table(some, CandidateSpec(classes=OPTIONS.classes, unique=True))
    keys = whole["psmiles"].map(lambda text: RepeatUnit.parse(text).key)
    pd.testing.assert_frame_equal(unique, whole[~keys.duplicated()].reset_index(drop=True))


def test_without_homopolymers(some: Monomers) -> None:
    classes = ("polyester", "polyether")
    whole, pairs = (table(some, CandidateSpec(classes=classes, homopolymers=both)) for both in (True, False))
    assert len(pairs) == whole["monomer_2"].notna().sum() < len(whole)


def test_every_part_has_text_columns(some: Monomers) -> None:
    """Parts of one Parquet file must have one type, where all second monomers are missing too."""
    types = {tuple(map(str, part.dtypes)) for part in make_candidates(some, OPTIONS, rows_at_a_time=5)}
    assert types == {("string",) * 6}
