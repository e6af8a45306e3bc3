"""Chains as words: letters are backbone pieces that look the same from both ends, so the answer is known by hand.

Two words are the same polymer exactly when their primitive words are one necklace, read in either direction. A centre's
letter turns into its mirror image when read backwards. Neither polyml nor RDKit decides what is equal here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyml.chem import RepeatUnit, canonicalize
from polyml.chem.canonical import multiplicity
from polyml.features import make_featurizer

PLAIN = ["C", "O", "N", "S", "C(C)", "C(F)(F)", "C(=O)", "c1ccc(cc1)", "[Si](C)(C)", "C=C", "C#C", "C1CC1", "N=N"]
CENTRES = ["[C@H](C)", "[C@@H](C)"]
BONDS = ["C/C=C/C", "C/C=C\\C"]
MIRROR = dict(zip(CENTRES, CENTRES[::-1], strict=True))


def turned(word: Sequence[str]) -> list[str]:
    return [MIRROR.get(letter, letter) for letter in reversed(word)]


def primitive(word: Sequence[str]) -> list[str]:
    for length in range(1, len(word) + 1):
        if len(word) % length == 0 and list(word) == list(word[:length]) * (len(word) // length):
            return list(word[:length])
    raise AssertionError


def necklace(word: Sequence[str]) -> tuple[str, ...]:
    root = primitive(word)
    return min(tuple(way[i:] + way[:i]) for way in (root, turned(root)) for i in range(len(root)))


def text(word: Sequence[str]) -> str:
    return "*" + "".join(word) + "*"


def words(letters: list[str]) -> st.SearchStrategy[list[str]]:
    # Few letters at a time, so that words nearly repeat themselves.
    alphabets = st.lists(st.sampled_from(letters), min_size=1, max_size=3, unique=True)
    return alphabets.flatmap(lambda few: st.lists(st.sampled_from(few), min_size=1, max_size=7))


ALPHABETS = {"plain": PLAIN, "centres": [*CENTRES, "C", "O", "C(F)(F)"], "double bonds": [*BONDS, "C", "O", *CENTRES]}


@pytest.mark.parametrize("letters", ALPHABETS.values(), ids=ALPHABETS.keys())
def test_a_word_has_one_key_however_it_is_written(letters: list[str]) -> None:
    @settings(max_examples=120, deadline=None, derandomize=True)
    @given(words(letters), st.integers(1, 3), st.integers(0, 20), st.booleans())
    def check(word: list[str], times: int, start: int, turn: bool) -> None:
        other = word * times
        start %= len(other)
        other = other[start:] + other[:start]
        other = turned(other) if turn else other
        unit, variant = RepeatUnit.parse(text(word)), RepeatUnit.parse(text(other))
        assert unit.key == variant.key
        assert canonicalize(unit.key) == unit.key

    check()


@pytest.mark.parametrize("letters", ALPHABETS.values(), ids=ALPHABETS.keys())
def test_different_words_have_different_keys(letters: list[str]) -> None:
    rng = np.random.default_rng(11)
    seen: dict[str, tuple[str, ...]] = {}
    for _ in range(250):
        few = rng.choice(letters, size=rng.integers(1, 4), replace=False)
        word = list(map(str, rng.choice(few, size=rng.integers(1, 8))))
        key = canonicalize(text(word))
        assert seen.setdefault(key, necklace(word)) == necklace(word), key
    assert len(set(seen.values())) == len(seen) > 50


def test_multiplicity_is_that_of_the_word() -> None:
    rng = np.random.default_rng(12)
    letters = ["CO", "S", "N=N", "C(=O)"]
    for _ in range(60):
        word = primitive(list(map(str, rng.choice(letters, size=rng.integers(1, 5)))))
        times = int(rng.integers(1, 5))
        assert multiplicity(RepeatUnit.parse(text(word * times))) == times


def test_fingerprints_of_words_agree() -> None:
    rng = np.random.default_rng(13)
    ecfp = make_featurizer("ecfp_count", radius=3, size=1024)
    for _ in range(60):
        word = list(map(str, rng.choice(PLAIN, size=rng.integers(1, 6))))
        start = int(rng.integers(len(word)))
        rows = ecfp.transform([text(word), text((word[start:] + word[:start]) * 2), text(turned(word))])
        assert np.array_equal(rows[0], rows[1])
        assert np.array_equal(rows[0], rows[2])
