from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from polyml.audit import Audit
from polyml.audit.spelling import HIDDEN, canonical_smiles, relation
from polyml.chem import RepeatUnit, constitution
from polyml.chem.variants import frames, multiple, random_variant, reversed_spelling

UNITS = ("*OCC(C)*", "*NC(=O)c1ccc(*)cc1", "*CC(*)C(=O)OC", "*OCCOC(=O)c1ccc(C(*)=O)cc1", "*C/C=C/C*", "*SCC(F)*")


@pytest.mark.parametrize("text", ["*OCC(*)=O", "*NCC(C)*"])
def test_the_kinds_of_spelling(text: str) -> None:
    unit = RepeatUnit.parse(text)
    other = next(item for item in frames(unit) if canonical_smiles(item) != canonical_smiles(text))
    assert relation(text, text) == "identical"
    assert relation(text, text.replace("*", "[*]")) == "respelled"
    assert relation(text, reversed_spelling(unit)) == "reversed"
    assert relation(text, other) == "shifted"
    assert relation(text, multiple(unit, 3)) == "multiplied"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(UNITS), st.integers(0, 10_000))
def test_rdkit_sees_a_variant_exactly_when_its_kind_says_so(text: str, seed: int) -> None:
    variant = random_variant(RepeatUnit.parse(text), np.random.default_rng(seed))
    kind = relation(text, variant)
    plain = [Chem.MolToSmiles(RepeatUnit.parse(item).mol) for item in (text, variant)]
    assert (kind in HIDDEN) == (plain[0] != plain[1])
    assert (kind == "multiplied") == (RepeatUnit.parse(text).n_atoms != RepeatUnit.parse(variant).n_atoms)
    assert constitution(text) == constitution(variant)


def test_duplicates_are_counted_by_what_sees_them(
    write: Callable[..., Path], look: Callable[..., Audit], checks: Callable
) -> None:
    # Three polymers: the first in three texts and four rows, the second in two that RDKit sees as one.
    texts = ["*OCC*", "*OCC*", "*COC*", "*CCOCCO*", "*CC(*)C", "*C(C)C*", "*CC*"]
    found = look(write(psmiles=texts, Tg=[200.0, 200.5, 201.0, 199.5, 260.0, 261.0, 195.0]))
    counts = found.files.iloc[0]
    assert counts[["rows", "texts", "canonical", "polymers", "frame_duplicates"]].tolist() == [7, 6, 5, 3, 2]
    assert counts[["identical", "reversed", "shifted", "multiplied"]].tolist() == [1, 1, 1, 1]
    frames_found = checks(found)["frames"]
    assert frames_found.count == 2
    assert set(frames_found.rows["text"]) == {"*COC*", "*CCOCCO*"}
    assert set(frames_found.rows["first_line"]) == {2}
    leak = found.tables["leaks"].set_index("split")
    assert leak.loc["kfold", "leaked_key"] == 0
    assert leak.loc["rows", "leaked_text"] <= leak.loc["rows", "leaked_canonical"] <= leak.loc["rows", "leaked_key"]


def _unlike(text: str) -> str | None:
    """Return a frame of the polymer that RDKit canonical SMILES take for another one."""
    own = canonical_smiles(text)
    return next((item for item in frames(RepeatUnit.parse(text)) if canonical_smiles(item) != own), None)


def test_two_files_share_a_polymer_in_two_frames(
    write: Callable[..., Path], look: Callable[..., Audit], polymers: Callable
) -> None:
    texts = polymers(60)
    hidden = {text: other for text in texts for other in [_unlike(text)] if other}
    assert len(hidden) >= 10
    shifted = [*list(hidden.values())[:10], *[text for text in texts if text not in hidden][:4]]
    first = write("one.csv", psmiles=texts, Tg=np.linspace(200, 400, 60))
    second = write("two.csv", psmiles=[*shifted, "*CCCCCCCCCCC(C)N*"], strength=np.linspace(1, 2, 15))
    found = look(first, second)
    row = found.tables["overlap"].iloc[0]
    assert row[["shared_polymers", "shared_canonical"]].tolist() == [14, 4]
    assert row["share_of_second"] == pytest.approx(14 / 15)
    total = found.files.set_index("file").loc["all files"]
    assert total[["polymers", "frame_duplicates"]].tolist() == [61, 10]


def test_clean_data_have_no_duplicates(
    write: Callable[..., Path], look: Callable[..., Audit], polymers: Callable, checks: Callable, smooth_tg: Callable
) -> None:
    texts = polymers(90)
    found = look(write(psmiles=texts, Tg=smooth_tg(texts)))
    assert not checks(found, "error", "warning")
    assert found.files["frame_duplicates"].tolist() == [0]


def test_polymers_that_differ_in_configurations_alone(
    write: Callable[..., Path], look: Callable[..., Audit], checks: Callable
) -> None:
    texts = ["*C/C=C/C*", r"*C/C=C\C*", "*CC*", "*CC(*)C", "*OCC*"]
    found = look(write(psmiles=texts, Tg=[215.0, 170.0, 195.0, 260.0, 206.0]))
    stereo = checks(found)["stereo"]
    assert stereo.count == 1
    assert stereo.rows["difference_Tg"].tolist() == [45.0]
    assert stereo.rows["lines"].tolist() == ["2;3"]


def test_a_swapped_copolymer_is_the_same_and_a_doubled_unit_another(
    write: Callable[..., Path], look: Callable[..., Audit], checks: Callable
) -> None:
    frame = pd.DataFrame(
        [
            ("*CC*", "*CC(*)C", 0.25, 0.75, "random"),
            ("*C(C)C*", "*CC*", 0.75, 0.25, "random"),  # the first, swapped and reversed
            ("*CC*", "*CC(*)C", 0.75, 0.25, "random"),  # other shares
            ("*CC*", "*CC(*)C", 0.25, 0.75, "block"),  # another arrangement
            ("*CCCC*", "*CC(*)C", 0.25, 0.75, "random"),  # a doubled unit is another comonomer
            ("*CC*", "*COC*", 0.5, 0.5, "alternating"),
            ("*CC*", "*CCO*", 0.5, 0.5, "alternating"),  # and so is a shifted one
        ],
        columns=["smiles_A", "smiles_B", "rA", "rB", "type"],
    )
    found = look(write(**{name: frame[name] for name in frame}, ea=np.linspace(1, 2, len(frame))))
    counts = found.files.iloc[0]
    assert (counts["rows"], counts["texts"], counts["polymers"]) == (7, 7, 6)
    assert checks(found)["repeats"].count == 1
    assert {"shared monomers kfold", "shared monomers rows"} <= set(checks(found))
