"""Reading repeat units: accepted spellings and refusals with their reasons."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from polyml.chem import RepeatUnit, canonicalize, ensure_units
from polyml.chem.repeat_unit import MAX_CHARACTERS
from polyml.errors import RepeatUnitError, UserError

SPELLINGS = ["*", "[*]", "[1*]", "[2*]", "[*:1]", "[*:2]", "[1*:1]", "[R]", "[R1]", "[R2]"]


@pytest.mark.parametrize("first", SPELLINGS)
@pytest.mark.parametrize("second", SPELLINGS)
def test_every_spelling_of_attachment_points_reads_the_same(first: str, second: str) -> None:
    assert canonicalize(f"{first}CC({second})C(=O)OC") == canonicalize("*CC(*)C(=O)OC")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spelling_does_not_touch_configurations(spelling: str) -> None:
    assert canonicalize(f"{spelling}O[C@H](C)C({spelling})=O") == canonicalize("*O[C@H](C)C(*)=O")
    assert canonicalize(f"{spelling}/C=C/C{spelling}") == canonicalize("*/C=C/C*")


def test_labels_do_not_reach_the_molecule() -> None:
    unit = RepeatUnit.parse("[1*]C[C@H](C)[*:7]")
    for star in unit.stars:
        atom = unit.mol.GetAtomWithIdx(star)
        assert (atom.GetAtomicNum(), atom.GetIsotope(), atom.GetAtomMapNum()) == (0, 0, 0)


def test_atom_maps_on_ordinary_atoms_are_ignored() -> None:
    assert canonicalize("*[CH2:3]CO*") == canonicalize("*CCO*")


def test_surrounding_blanks_are_ignored_and_the_text_is_kept() -> None:
    unit = RepeatUnit.parse("  *CC* \r\n")
    assert unit.psmiles == "  *CC* \r\n"
    assert unit.key == canonicalize("*CC*")


REFUSED = [
    ("", "empty"),
    ("   ", "empty"),
    ("CCO", "attachment points"),
    ("*CCO", "attachment points"),
    ("*CC(*)O*", "attachment points"),
    ("*C(*)C(*)C(*)*", "attachment points"),
    ("*", "attachment points"),
    ("**", "no atoms"),
    ("[*][*]", "no atoms"),
    ("*=*", "no atoms"),
    ("C*C*", "attachment points"),
    ("*1CC*1", "attachment points"),
    ("*=CC*", "bond orders"),
    ("*#CC=*", "bond orders"),
    ("*=c1cc/c(=C/*)s1", "bond orders"),
    ("*->[Cu]*", "bond orders"),
    ("*C->[Fe]C*", "bond orders"),
    ("*C~C*", "bond orders"),
    ("*CC*.CC", "fragments"),
    ("*CC.CC*", "fragments"),
    ("*C(C*", "invalid SMILES"),
    ("*C1CC*", "invalid SMILES"),
    ("*C(C)(C)(C)(C)*", "invalid SMILES"),
    ("*c1cccc1*", "invalid SMILES"),
    ("*CXyC*", "invalid SMILES"),
    ("*[H]*", "invalid SMILES"),
    ("*CC[*+]", "attachment points"),
    ("*CC[*H]", "attachment points"),
    ("*" + "C" * MAX_CHARACTERS + "*", "too long"),
    ("*" + "C" * 100_000 + "*", "too long"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[text[:24] or "empty" for text, _ in REFUSED])
def test_refusals_name_their_reason(text: str, reason: str) -> None:
    with pytest.raises(RepeatUnitError) as caught:
        RepeatUnit.parse(text)
    assert caught.value.reason == reason
    assert isinstance(caught.value, UserError)
    assert isinstance(caught.value, ValueError)
    # A message for people: short even for a huge line, and more than the code.
    assert reason != str(caught.value)
    assert 5 < len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [None, 1.5, float("nan"), b"*CC*"])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(RepeatUnitError) as caught:
        RepeatUnit.parse(value)  # type: ignore[arg-type]
    assert caught.value.reason == "empty"


ODD = [
    *("*CC\x00C*", "*C\nC*", "*C\u00e9C*", "*CC*\u200b", "*C*\ud800"),  # control, accented, invisible, undecodable
    *("*CC* junk", "*C C*", "*(((((*", "*%%C*", "[" * 50 + "*" * 2),
]


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_odd_characters_are_refused_not_crashed_on(text: str) -> None:
    with pytest.raises(RepeatUnitError) as caught:
        RepeatUnit.parse(text)
    assert caught.value.reason == "invalid SMILES"


def test_long_texts_are_read() -> None:
    assert RepeatUnit.parse("*" + "C" * 800 + "*").key == "*C*"


@pytest.mark.slow
def test_the_longest_text_is_read() -> None:
    assert RepeatUnit.parse("*" + "C" * (MAX_CHARACTERS - 2) + "*").key == "*C*"


def test_units_cannot_be_reassigned() -> None:
    unit = RepeatUnit.parse("*CC*")
    with pytest.raises(dataclasses.FrozenInstanceError):
        unit.psmiles = "*C*"  # type: ignore[misc]


def test_partners_are_the_atoms_across_the_period() -> None:
    unit = RepeatUnit.parse("*OCC(*)=O")
    symbols = [unit.mol.GetAtomWithIdx(i).GetSymbol() for i in unit.partners]
    assert symbols == ["C", "O"]
    assert unit.n_atoms == 4


def test_ensure_units_passes_parsed_units_through() -> None:
    unit = RepeatUnit.parse("*CC*")
    first, second = ensure_units([unit, "*CO*"])
    assert first is unit
    assert second.psmiles == "*CO*"
    assert ensure_units([]) == []


def test_random_text_never_raises_anything_else() -> None:
    rng = np.random.default_rng(7)
    alphabet = list("()=#CNOSc11[]@/\\.+-H:%*CCCO")
    outcomes = {"read": 0, "refused": 0}
    for _ in range(3000):
        text = "*" + "".join(rng.choice(alphabet, size=rng.integers(1, 9))) + "*"
        try:
            key = RepeatUnit.parse(text).key
        except RepeatUnitError:
            outcomes["refused"] += 1
        else:
            assert canonicalize(key) == key
            outcomes["read"] += 1
    assert min(outcomes.values()) > 0


@pytest.mark.parametrize(("psmiles", "noted"), [("*OCCO*", True), ("*COOC*", False), ("*OCC*", False), ("*O*", False)])
def test_a_peroxide_that_only_the_repetition_makes_is_noted(psmiles: str, noted: bool) -> None:
    assert any("peroxide" in note for note in RepeatUnit.parse(psmiles).notes) == noted
