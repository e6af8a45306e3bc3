from __future__ import annotations

import numpy as np
import pytest
from rdkit.DataStructs import BulkTanimotoSimilarity, ExplicitBitVect
from sklearn.neighbors import NearestNeighbors

from polyml.chem import RepeatUnit
from polyml.chem.variants import multiple, reversed_spelling
from polyml.data.catalog import embedded_table
from polyml.domain import ApplicabilityDomain, DomainLimits, fingerprints
from polyml.errors import RepeatUnitError, UserError

TRAINING = [
    "*CC*", "*OCC*", "*CC(*)c1ccccc1", "*CC(*)(C)C(=O)OC", "*[Si](C)(C)O*", "*CC(*)C", "*CC(*)Cl", "*CC(*)(C)C",
    "*NCCCCCC(*)=O", "*CC(*)OC(C)=O", "*CC(*)C#N",
]  # fmt: skip
ASKED = ["*CC(*)CC", "*CC(*)c1ccccc1C", "*C(F)(F)C(*)(F)F", "*Oc1ccc(S(=O)(=O)c2ccc(*)cc2)cc1", "*CC(*)C"]


@pytest.fixture(scope="module")
def domain():
    return ApplicabilityDomain.fit(TRAINING)


def similarities(asked, training):
    """Compare bit by bit with RDKit."""

    def vectors(texts):
        found = []
        for row in fingerprints(texts):
            vector = ExplicitBitVect(len(row))
            vector.SetBitsFromList(np.flatnonzero(row).tolist())
            found.append(vector)
        return found

    known = vectors(training)
    return np.array([BulkTanimotoSimilarity(vector, known) for vector in vectors(asked)])


def test_the_scores_are_those_of_rdkit(domain):
    expected = similarities(ASKED, TRAINING)
    found = domain.judge(ASKED)
    np.testing.assert_allclose(found.similarity, expected.max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(expected[np.arange(len(ASKED)), found.nearest], expected.max(axis=1))
    np.testing.assert_allclose(found.score, np.sort(expected, axis=1)[:, -5:].mean(axis=1), rtol=1e-6)
    assert found.similarity[-1] == 1.0
    assert TRAINING[found.nearest[-1]] == "*CC(*)C"


def test_the_scores_are_those_of_nearest_neighbours_in_jaccard_distance():
    polymers = embedded_table("gas_permeability").psmiles
    known, asked = fingerprints(polymers[:60]), fingerprints(polymers[60:100])
    search = NearestNeighbors(n_neighbors=5, metric="jaccard", algorithm="brute").fit(known.astype(bool))
    distance = search.kneighbors(asked.astype(bool))[0]
    found = ApplicabilityDomain(known).judge_fingerprints(asked)
    np.testing.assert_allclose(found.score, 1 - distance.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.similarity, 1 - distance[:, 0], rtol=1e-5)


def test_the_limits_are_scores_of_training_polymers_left_out_in_turn():
    polymers = embedded_table("gas_permeability").psmiles[:300]
    pairs = similarities(polymers, polymers)
    scores = [np.sort(np.delete(row, i))[-5:].mean() for i, row in enumerate(pairs)]
    domain = ApplicabilityDomain.fit(polymers)
    ordered = np.sort(scores)
    assert domain.limits.edge == pytest.approx(ordered[int(0.05 * 299)])
    assert domain.limits.outside == pytest.approx(ordered[int(0.01 * 299)])
    assert 0 < domain.limits.outside < domain.limits.edge < 1


def test_the_verdict_follows_the_limits(domain):
    low, edge, high = np.sort(domain.judge(ASKED).score)[[1, 2, 3]]
    found = ApplicabilityDomain.fit(TRAINING, limits=DomainLimits(edge=high, outside=edge)).judge(ASKED)
    order = np.argsort(found.score)
    assert low < edge < high
    assert found.verdict[order].tolist() == ["outside", "outside", "edge", "inside", "inside"]


def test_rows_of_one_polymer_are_no_neighbours_of_each_other():
    frames = [*TRAINING, "*C(C)C*", "*C(c1ccccc1)C*"]
    keys = [RepeatUnit.parse(text).key for text in frames]
    pairs = similarities(frames, frames)
    pairs[np.equal.outer(np.array(keys), np.array(keys))] = 0.0
    scores = np.sort(pairs, axis=1)[:, -5:].mean(axis=1)
    assert ApplicabilityDomain.fit(frames, keys).limits.outside == pytest.approx(scores.min())
    assert ApplicabilityDomain.fit(frames).limits.edge >= ApplicabilityDomain.fit(frames, keys).limits.edge


@pytest.mark.parametrize("text", ["*CC(*)c1ccccc1C", "*OCCC*", "*Oc1ccc(C(*)=O)cc1", "*NCCCCCC(*)=O"])
def test_every_way_to_write_a_polymer_has_one_score(domain, text):
    unit = RepeatUnit.parse(text)
    spellings = [text, reversed_spelling(unit), multiple(unit, 2), multiple(unit, 3), unit.key]
    found = domain.judge(spellings)
    assert len(set(found.score.tolist())) == len(set(found.similarity.tolist())) == len(set(found.verdict)) == 1


def test_a_polymer_has_one_score_in_every_company(domain):
    many = ASKED * 120  # more than a block
    found = domain.judge(many)
    alone = np.array([domain.judge([text]).score[0] for text in ASKED])
    np.testing.assert_array_equal(found.score, np.tile(alone, 120))


def test_few_training_polymers_or_none():
    one = ApplicabilityDomain.fit(["*CC*"]).judge(["*CC*", "*CC(*)C"])
    assert one.verdict.tolist() == ["inside", "outside"]
    three = ApplicabilityDomain.fit(["*CC(*)C", "*CC(*)CC", "*CC(*)CCC"])
    assert three.limits.neighbours == 2
    assert three.judge(["*CC(*)CC"]).verdict.tolist() == ["inside"]
    none = ApplicabilityDomain.fit([]).judge(["*CC*"])
    assert np.isnan(none.score[0])
    assert none.nearest.tolist() == [-1]
    assert none.verdict.tolist() == ["outside"]
    assert len(three.judge([]).score) == 0


def test_what_is_no_polymer_is_refused(domain):
    with pytest.raises(RepeatUnitError):
        domain.judge(["*CC*", "*C"])


def test_limits_come_back_from_a_file(domain, tmp_path):
    domain.limits.save(tmp_path / "domain.json")
    assert DomainLimits.load(tmp_path / "domain.json") == domain.limits
    (tmp_path / "domain.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        DomainLimits.load(tmp_path / "domain.json")


def test_a_domain_comes_back_from_its_files(tmp_path):
    polymers = ["*CC*", "*CC(*)C", "*CC(*)F", "*OCC*", "*CC(*)c1ccccc1", "*c1ccc(C2CCC(*)CC2)cc1"]
    keys = [RepeatUnit.parse(text).key for text in polymers]
    fitted = ApplicabilityDomain.fit(polymers, keys)
    fitted.save(tmp_path / "domain.safetensors")
    asked = ["*CC(*)CC", "*CC(*)Cl", "*[Si](C)(C)O*", "*OCCCC*", *polymers]
    for limits in (None, fitted.limits):
        loaded = ApplicabilityDomain.load(tmp_path / "domain.safetensors", keys, limits)
        assert loaded.limits == fitted.limits
        for one, other in zip(vars(loaded.judge(asked)).values(), vars(fitted.judge(asked)).values(), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match="6 fingerprints of 5 training polymers"):
        ApplicabilityDomain.load(tmp_path / "domain.safetensors", keys[:5], None)
    (tmp_path / "domain.safetensors").write_bytes(b"no arrays")
    with pytest.raises(UserError, match="cannot be read"):
        ApplicabilityDomain.load(tmp_path / "domain.safetensors", keys, None)


def test_an_element_that_no_training_polymer_has_is_outside(domain):
    found = domain.judge(["*CC(*)C", "*CC(*)[Se]C", "*CC(*)Br", "*[Si](C)(C)O*"])
    assert found.verdict[1:3].tolist() == ["outside", "outside"]
    assert "outside" not in found.verdict[[0, 3]].tolist()
    bits = fingerprints(["*CC(*)Br"])
    assert domain.judge_fingerprints(bits).score[0] == found.score[2]
    assert domain.limits.outside < found.score[2]  # near enough but for its element
