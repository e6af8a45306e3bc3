"""Every polymer of the embedded sets, and of other public sets where they are at hand, written in other ways."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from pathlib import Path

import chem_oracle as oracle
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from polyml.chem import RepeatUnit, canonicalize
from polyml.chem.variants import random_variant, reversed_spelling
from polyml.errors import RepeatUnitError

BENCHMARKS = Path(os.environ.get("POLYML_BENCHMARKS", Path(__file__).parents[4] / "shared" / "datasets"))
FILES = sorted(BENCHMARKS.glob("*.csv*")) if BENCHMARKS.is_dir() else []


def read(texts: list[str], also: tuple[str, ...] = ()) -> list[RepeatUnit]:
    """Parse texts; refusals must be of the documented kinds."""
    units = []
    reasons = set()
    for text in texts:
        try:
            units.append(RepeatUnit.parse(text))
        except RepeatUnitError as error:
            reasons.add(error.reason)
    assert reasons <= {"attachment points", "network", *also}
    return units


def check_variants(units: list[RepeatUnit], seed: int, each: int) -> None:
    rng = np.random.default_rng(seed)
    wrong = []
    for unit in units:
        texts = [random_variant(unit, rng) for _ in range(each)]
        wrong += [(unit.psmiles, text) for text in [*texts, unit.key] if canonicalize(text) != unit.key]
    assert not wrong


def check_against_oracle(units: list[RepeatUnit]) -> None:
    """Compare keys with rings closed from oligomers: equal keys, equal molecules, and the other way round."""
    keys_of = defaultdict(set)
    for unit in units:
        assert oracle.same_polymer(unit.psmiles, unit.key), unit.psmiles
        keys_of[oracle.ring(unit.key, oracle.copies(unit.key))].add(unit.key)
        others = oracle.shifted_frames(unit.psmiles, every_order=not unit.has_stereo)
        others.append(oracle.oligomer_text(unit.psmiles, 2))
        for other in others:
            assert canonicalize(other) == unit.key, (unit.psmiles, other)
    assert all(len(keys) == 1 for keys in keys_of.values())


def linear(units: list[RepeatUnit]) -> list[RepeatUnit]:
    return [unit for unit in units if not unit.is_ladder and oracle_reads(unit.psmiles)]


def oracle_reads(text: str) -> bool:
    return len(oracle.STAR.findall(text)) == 2


def rdkit_is_canonical(unit: RepeatUnit) -> bool:
    """Return whether RDKit has one canonical SMILES for the unit.

    It has several for symmetric cages with configurations (adamantane written with ``@``), and no key can be better.
    """
    mol = oracle.labelled(unit.psmiles)
    spellings = Chem.MolToRandomSmilesVect(mol, 30, randomSeed=1)
    return len({Chem.CanonSmiles(text) for text in spellings}) == 1


def sample(texts: pd.Series, count: int, seed: int) -> list[str]:
    return texts.sample(min(count, len(texts)), random_state=seed).tolist()


def test_the_gas_set_is_read_as_described(gas_texts: list[str], gas_units: list[RepeatUnit]) -> None:
    assert len(gas_texts) == 786
    assert sum(text.count("*") == 2 for text in gas_texts) == 745
    assert sum(oracle_reads(unit.psmiles) for unit in gas_units) == 745
    assert len(gas_units) == 745 + 31


def test_every_polymer_of_the_gas_set_keeps_its_key(gas_units: list[RepeatUnit]) -> None:
    check_variants(linear(gas_units), seed=1, each=1)


@settings(max_examples=60, deadline=None)
@given(index=st.integers(0, 744), seed=st.integers(0, 2**32 - 1))
def test_random_variants_of_the_gas_set(gas_units: list[RepeatUnit], index: int, seed: int) -> None:
    unit = linear(gas_units)[index]
    text = random_variant(unit, np.random.default_rng(seed))
    assert canonicalize(text) == unit.key
    assert canonicalize(reversed_spelling(unit)) == unit.key


def test_a_sample_of_the_candidates_keeps_its_keys(candidate_texts: pd.Series) -> None:
    check_variants(linear(read(sample(candidate_texts, 500, seed=2))), seed=2, each=1)


def test_keys_of_both_sets_are_those_of_an_independent_oracle(
    gas_units: list[RepeatUnit], candidate_texts: pd.Series
) -> None:
    rng = np.random.default_rng(4)
    some = [linear(gas_units)[i] for i in rng.choice(745, size=60, replace=False)]
    check_against_oracle(some + linear(read(sample(candidate_texts, 80, seed=4))))


@pytest.mark.slow
def test_every_gas_polymer_against_the_oracle(gas_units: list[RepeatUnit]) -> None:
    check_against_oracle(linear(gas_units))
    check_variants(gas_units, seed=5, each=5)


@pytest.mark.slow
def test_many_candidates(candidate_texts: pd.Series) -> None:
    units = read(sample(candidate_texts, 10_000, seed=6))
    check_variants(units, seed=6, each=2)
    check_against_oracle(linear(units)[:2000])


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="no public data sets beside the checkout")
@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_public_sets(path: Path) -> None:
    table = pd.read_csv(path)
    columns = [column for column in ("psmiles", "smiles_A", "smiles_B") if column in table]
    texts = pd.Series(table[columns].to_numpy().ravel()).dropna().drop_duplicates()
    units = read(sample(texts, 1500, seed=7), also=("fragments", "bond orders", "invalid SMILES"))
    assert len(units) > 0.9 * min(1500, len(texts))
    unclear = [unit for unit in units if unit.has_stereo and not rdkit_is_canonical(unit)]
    assert len(unclear) < 0.01 * len(units)
    units = [unit for unit in units if unit not in unclear]
    check_variants(units, seed=7, each=2)
    check_against_oracle(linear(units)[:400])


@pytest.mark.slow
@pytest.mark.skipif(len(FILES) < 2, reason="no public data sets beside the checkout")
def test_keys_find_more_shared_polymers_than_canonical_smiles() -> None:
    """Two data sets share more polymers than plain canonical SMILES show: a split by SMILES leaks."""
    found = {}
    for path in FILES:
        table = pd.read_csv(path)
        if "psmiles" in table:
            units = read(table["psmiles"].dropna().tolist(), also=("fragments", "bond orders", "invalid SMILES"))
            found[path.name] = ({Chem.MolToSmiles(unit.mol) for unit in units}, {unit.key for unit in units})
    gained = 0
    for one, other in itertools.combinations(found, 2):
        by_text, by_key = (len(found[one][i] & found[other][i]) for i in (0, 1))
        print(f"{one} and {other}: {by_text} shared canonical SMILES, {by_key} shared keys")
        gained += by_key - by_text
    assert gained > 0
