"""Polymers unlike in configurations alone have one constitution, and no feature tells them apart."""

from __future__ import annotations

import numpy as np
import pytest

from polyml.chem import RepeatUnit, canonicalize, constitution, constitution_names, constitution_of_key
from polyml.chem.variants import frames, multiple
from polyml.features.batch import featurize
from polyml.features.catalog import FEATURIZERS, make_featurizer

TWINS = [
    ("*C/C=C/C*", r"*C/C=C\C*", "*CC=CC*"),
    ("*C[C@H](C)O*", "*C[C@@H](C)O*", "*CC(C)O*"),
    ("*O[C@H](C)C(*)=O", "*O[C@@H](C)C(*)=O", "*OC(C)C(*)=O"),
]


@pytest.mark.parametrize("twins", TWINS)
def test_configurations_do_not_count_and_the_frame_does_not(twins: tuple[str, ...]) -> None:
    expected = canonicalize(twins[-1])
    for text in twins:
        unit = RepeatUnit.parse(text)
        for spelling in (*frames(unit), multiple(unit, 2), unit.key):
            assert constitution(spelling) == expected
        assert constitution_of_key(unit.key) == expected


def test_twins_share_the_name_of_the_first_and_others_keep_their_own() -> None:
    keys = sorted({canonicalize(text) for twins in TWINS for text in twins[:2]} | {"*CC*"})
    names = constitution_names(keys)
    assert [name for key, name in zip(keys, names, strict=True) if key == name] == sorted(set(names))
    assert len(set(names)) == len({constitution(key) for key in keys}) < len(keys)
    single = [canonicalize("*C/C=C/C*"), "*CC*"]
    assert constitution_names(single) == single


@pytest.mark.parametrize("key", [key for key in FEATURIZERS if make_featurizer(key).output_kind == "array"])
def test_no_feature_reads_configurations(key: str) -> None:
    for one, other, plain in TWINS:
        x = np.asarray(featurize(key, [one, other, plain]))
        np.testing.assert_allclose(x[:2], x[[2, 2]], rtol=0, atol=1e-12)  # eigenvalues in another order of the atoms
