"""Tokens of pSMILES, with RDKit's own reading of the text as oracle."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from polyml.chem import RepeatUnit
from polyml.chem.variants import random_spellings, random_variant
from polyml.data.catalog import embedded_path
from polyml.errors import UserError
from polyml.features.tokens import END, PAD, SPECIALS, START, VOCABULARY, PsmilesTokens, decode, encode, tokenize

with embedded_path("gas_permeability").open(encoding="utf-8") as file:
    REAL = [row["psmiles"] for row in csv.DictReader(file) if row["psmiles"].count("*") in (2, 4)][::3]

TAKEN_APART = {
    "*CC(*)Cl": "* C C ( * ) Cl",
    "*CC(*)Br": "* C C ( * ) Br",
    "*CSc1ccc(*)cc1": "* C S c 1 c c c ( * ) c c 1",
    "*Sc1ccc(*)[se]1": "* S c 1 c c c ( * ) [ se ] 1",
    "*[Si](C)(C)O*": "* [ Si ] ( C ) ( C ) O *",
    "*c1cc(*)[nH]c1": "* c 1 c c ( * ) [ n H ] c 1",
    "*c1ccc(*)o1": "* c 1 c c c ( * ) o 1",
    "*C[C@@H](*)C": "* C [ C @@ H ] ( * ) C",
    "*C[C@H](*)C": "* C [ C @ H ] ( * ) C",
    "*C[13CH2]*": "* C [ 1 3 C H 2 ] *",
    "*C(*)[2H]": "* C ( * ) [ 2 H ]",
    "*CC[N+](*)(C)C": "* C C [ N + ] ( * ) ( C ) C",
    "*C[Ti+4]*": "* C [ Ti + 4 ] *",
    "*C[O-]*": "* C [ O - ] *",
    "*/C=C/C#C*": "* / C = C / C # C *",
    "*C%10CC%10*": "* C %10 C C %10 *",
    "*C%(123)*": "* C %( 1 2 3 ) *",
    "*[Sn]([Cn])*": "* [ Sn ] ( [ Cn ] ) *",
    "*[Sc]Sc1cocc1*": "* [ Sc ] S c 1 c o c c 1 *",
    "[*:1]CC[*:2]": "[ * : 1 ] C C [ * : 2 ]",
    "[1*]C[Pt@SP2](F)*": "[ 1 * ] C [ Pt @SP 2 ] ( F ) *",
    "*[Fe]<-N->[Fe]*": "* [ Fe ] <- N -> [ Fe ] *",
}


@pytest.mark.parametrize(("text", "tokens"), TAKEN_APART.items())
def test_a_text_is_taken_apart(text: str, tokens: str) -> None:
    assert tokenize(text) == tokens.split()
    assert decode(encode(text)) == text


@pytest.mark.parametrize("text", ["*CA*", "*C[Xx]*", "*C[C*", "*Sic*", "*C%1C*", "*Cé*", "*C C*", "*C[]*", "*\n*"])
def test_what_is_no_smiles_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="SMILES"):
        encode(text)


def test_the_vocabulary_has_every_element_once() -> None:
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    table = Chem.GetPeriodicTable()
    assert {table.GetElementSymbol(number) for number in range(1, 119)} <= set(VOCABULARY)
    assert [VOCABULARY[code] for code in (PAD, START, END)] == ["<pad>", "<start>", "<end>"]
    assert len(VOCABULARY) < np.iinfo(np.int16).max


def test_weights_on_disk_depend_on_the_order_of_the_vocabulary() -> None:
    found = {token: VOCABULARY.index(token) for token in ("*", "H", "Og", "b", "te", "-", "(", "0", "%10", "@", "+")}
    assert found == {
        "*": 4, "H": 5, "Og": 122, "b": 123, "te": 132, "-": 133, "(": 143, "0": 146, "%10": 156, "@": 249, "+": 256,
    }  # fmt: skip
    assert len(VOCABULARY) == 257


def atoms_of(tokens: list[str]) -> list[str]:
    """Return the symbols of the atoms among tokens: the first name in a bracket, and every name outside."""
    atoms, inside, named = [], False, False
    for token in tokens:
        if token == "[":
            inside, named = True, False
        elif token == "]":
            inside = False
        elif (token == "*" or token.isalpha()) and not (inside and named):
            atoms.append(token)
            named = True
    return atoms


@settings(deadline=None, max_examples=40)
@given(text=st.sampled_from(REAL), seed=st.integers(0, 10**6))
def test_any_spelling_of_a_real_polymer_comes_back_and_has_the_atoms_that_rdkit_reads(text: str, seed: int) -> None:
    spelling = random_variant(RepeatUnit.parse(text), np.random.default_rng(seed))
    spelling = re.sub(r"\[R\d?\]", "*", spelling)  # a way to write attachment points that RDKit has not
    assert decode(encode(spelling)) == spelling
    assert not set(encode(spelling)) & set(range(len(SPECIALS)))
    mol = Chem.MolFromSmiles(spelling, sanitize=False)
    symbols = [a.GetSymbol().lower() if a.GetIsAromatic() else a.GetSymbol() for a in mol.GetAtoms()]
    assert atoms_of(tokenize(spelling)) == symbols


@settings(deadline=None, max_examples=20)
@given(text=st.sampled_from(REAL), seed=st.integers(0, 10**6))
def test_every_row_is_the_polymer_and_every_way_to_write_it_gives_the_same_rows(text: str, seed: int) -> None:
    unit = RepeatUnit.parse(text)
    other = random_variant(unit, np.random.default_rng(seed))
    rows, again = PsmilesTokens(variants=4).transform([unit, other])
    assert np.array_equal(rows, again)
    texts = [decode(row) for row in rows]
    assert texts[0] == unit.key
    assert {RepeatUnit.parse(text).key for text in texts} == {unit.key}


@pytest.mark.parametrize("text", ["*C[C@H](*)C", "*/C=C/CC*", "*C[C@H]1CC[C@@H](*)CC1", "*=CC1CCC(C=*)C1", "*C*"])
def test_rows_of_units_with_configurations_and_with_double_bonds_to_the_next_unit(text: str) -> None:
    key = RepeatUnit.parse(text).key
    texts = random_spellings(key, 12, np.random.default_rng(0))
    assert len(texts) == 12
    assert {RepeatUnit.parse(other).key for other in texts} == {key}


def test_rows_cut_the_chain_elsewhere() -> None:
    rows = PsmilesTokens(variants=40).transform(["*NCCC(*)=O"])[0]
    texts = [decode(row) for row in rows]
    assert any("NC(=O)" in text or "C(=O)N" in text or "O=C(N" in text for text in texts)
    assert any(text.startswith("N(*)") or "N*" in text or text.startswith("*N") for text in texts)


def test_rows_are_padded_between_start_and_end() -> None:
    rows = PsmilesTokens(variants=6).transform(["*CC(*)c1ccccc1"])[0]
    for row in rows:
        length = int((row != PAD).sum())
        assert row[0] == START
        assert row[length - 1] == END
        assert (row[length:] == PAD).all()
        assert ((row == START) | (row == END)).sum() == 2
    assert max((rows != PAD).sum(axis=1)) == rows.shape[1]


def test_one_variant_is_the_canonical_text_alone() -> None:
    rows = PsmilesTokens(variants=1).transform(["*CCO*"])[0]
    assert [decode(row) for row in rows] == ["*CCO*"]
