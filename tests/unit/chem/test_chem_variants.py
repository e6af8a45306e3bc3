"""Other spellings of one polymer, checked by plain RDKit."""

from __future__ import annotations

import chem_oracle as oracle
import numpy as np
import pytest

from polyml.chem import RepeatUnit
from polyml.chem.variants import frames, multiple, random_spelling, random_variant, reversed_spelling
from polyml.errors import UserError

UNITS = [
    "*CCO*",
    "*C*",
    "*CC(*)C",
    "*C[C@H](*)C",
    "*/C=C/CC*",
    "*=CCC=*",
    "*#CC#*",
    "*O[C@H](C)C(*)=O",
    "*C[C@H]1CC[C@@H](*)CC1",
    "*Oc1ccc(C(C)(C)c2ccc(*)cc2)cc1",
    "*[Si](C)(C)O*",
]


@pytest.mark.parametrize("text", UNITS)
def test_variants_are_the_same_molecule(text: str) -> None:
    unit = RepeatUnit.parse(text)
    rng = np.random.default_rng(3)
    others = [*frames(unit), reversed_spelling(unit), multiple(unit, 1), multiple(unit, 2), multiple(unit, 3)]
    others += [random_variant(unit, rng) for _ in range(10)]
    for other in others:
        assert oracle.same_polymer(text, other), other


@pytest.mark.parametrize("text", UNITS)
def test_frames_are_those_of_an_independent_cut(text: str) -> None:
    def both_ways(psmiles: str) -> frozenset[str]:
        texts = []
        for labels in ("12", "21"):
            numbers = iter(labels)
            relabelled = oracle.STAR.sub(lambda _, n=numbers: f"[{next(n)}*]", psmiles)
            texts.append(oracle.Chem.CanonSmiles(relabelled))
        return frozenset(texts)

    start = oracle.shifted_frames(text)
    if "*=" not in text and "*#" not in text:
        start.append(text)
    assert {both_ways(frame) for frame in frames(RepeatUnit.parse(text))} == {both_ways(frame) for frame in start}


def test_reversed_spelling_begins_at_the_other_end() -> None:
    assert reversed_spelling(RepeatUnit.parse("*OCC(*)=O")) == "*C(=O)CO*"


def test_multiple_counts_units() -> None:
    unit = RepeatUnit.parse("*CC(*)c1ccccc1")
    assert [RepeatUnit.parse(multiple(unit, n)).n_atoms for n in (1, 2, 5)] == [8, 16, 40]
    with pytest.raises(UserError, match="0 units"):
        multiple(unit, 0)


def test_random_spellings_vary_and_repeat_with_the_seed() -> None:
    unit = RepeatUnit.parse("*Oc1ccc(C(C)(C)c2ccc(*)cc2)cc1")
    rng = np.random.default_rng(5)
    texts = {random_spelling(unit, rng) for _ in range(60)}
    assert len(texts) > 40
    forms = ("[*]", "[1*]", "[*:1]", "[R1]", "[R]")
    assert all(any(form in text for text in texts) for form in forms)
    again = np.random.default_rng(5)
    assert random_spelling(unit, np.random.default_rng(5)) == random_spelling(unit, again)


def test_long_units_are_not_repeated_past_the_limit() -> None:
    unit = RepeatUnit.parse("*" + "CCO" * 60 + "S*")
    rng = np.random.default_rng(1)
    sizes = {RepeatUnit.parse(random_variant(unit, rng, most=50)).n_atoms // unit.n_atoms for _ in range(12)}
    assert sizes <= set(range(1, 12))
    assert len(sizes) > 1


def test_ladders_have_no_listed_frames() -> None:
    with pytest.raises(UserError, match="linear"):
        frames(RepeatUnit.parse("*Oc1cc2c(cc1O*)C1(CC2(C)C)CC(C)(C)c2cc3c(cc21)Oc1c(C#N)c(*)c(*)c(C#N)c1O3"))
