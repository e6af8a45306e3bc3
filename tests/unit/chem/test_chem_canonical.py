"""Canonical pSMILES: every trap of periodic chemistry by name."""

from __future__ import annotations

import chem_oracle as oracle
import pytest

from polyml.chem import RepeatUnit, canonicalize
from polyml.chem.canonical import Backbone, multiplicity
from polyml.chem.variants import frames, multiple, reversed_spelling

SAME = {
    "poly(ethylene oxide) in three frames": ["*OCC*", "*COC*", "*CCO*", "*CCOCCO*", "*OCCOCCOCC*"],
    "polymethylene, one-atom backbone": ["*C*", "*CC*", "*CCC*", "*" + "C" * 12 + "*"],
    "acetylene does not close to benzene": ["*C=C*", "*C=CC=C*", "*C=CC=CC=C*", "*=CC=*", "*=CC=CC=*"],
    "both attachment points on one atom": ["*[Si](*)(C)C", "*[Si](C)(C)*", "*[Si](C)(C)[Si](C)(C)*"],
    "polypropylene": ["*CC(*)C", "*C(C)C*", "*CC(C)CC(*)C", "C(C*)(*)C"],
    "lactic acid, shifted through the ester": ["*OC(C)C(*)=O", "*C(=O)OC(*)C", "*C(C)C(=O)O*", "O=C(*)C(C)O*"],
    "nylon 6 reversed": ["*NCCCCCC(*)=O", "*C(=O)CCCCCN*", "*CCC(=O)NCCC*"],
    "p-phenylene": ["*c1ccc(*)cc1", "*C1=CC=C(*)C=C1", "*c1ccc(-c2ccc(*)cc2)cc1"],
    "poly(ether ether ketone)": [
        "*Oc1ccc(Oc2ccc(C(=O)c3ccc(*)cc3)cc2)cc1",
        "*c1ccc(Oc2ccc(Oc3ccc(C(*)=O)cc3)cc2)cc1",
        "*C(=O)c1ccc(Oc2ccc(Oc3ccc(*)cc3)cc2)cc1",
    ],
    "a multiple bond is cut although a single bond could be": ["*=CCC=*", "*C=CC*", "*CC=C*"],
    "triple bond across the period": ["*#CC#*", "*C#C*", "*C#CC#C*"],
    "cut triple bond beside single bonds": ["*#CCC#*", "*CC#CCC#C*", "*CC#C*"],
    "cumulene": ["*=C=*", "*=C=C=*"],
    "quinoid": ["*=C1C=CC(=*)C=C1", "*=C1C=CC(C=C1)=C1C=CC(=*)C=C1"],
    "azo": ["*N=N*", "*=NN=*", "*N=NN=N*"],
    "phosphazene": ["*N=P(*)(Cl)Cl", "*P(Cl)(Cl)=N*", "*=P(Cl)(Cl)N=*", "*N=P(Cl)(Cl)N=P(*)(Cl)Cl"],
    "ring-opened norbornene": ["*=CC1CCC(C=*)C1", "*C=CC1CCC(*)C1", "*C1CCC(C=C*)C1"],
    "siloxane": ["*[Si](C)(C)O*", "*O[Si](*)(C)C", "*[Si](C)(C)O[Si](C)(C)O*"],
    "boron": ["*OB(*)c1ccccc1", "*B(O*)c1ccccc1"],
    "cation in the backbone": ["*[N+](C)(C)CC*", "*C[N+](C)(C)C*"],
    "spiro ring": ["*C1(*)CCCC1", "*C1(CCCC1)C1(*)CCCC1"],
    "vinylidene fluoride, head to tail": ["*CC(*)(F)F", "*C(F)(F)C*", "*CC(F)(F)CC(F)(F)*"],
    "isotopes kept": ["*C[13CH2]*", "*[13CH2]C*", "*C[13CH2]C[13CH2]*"],
    "deuterium kept": ["*CC(*)([2H])[2H]", "*C([2H])([2H])C*"],
    "explicit hydrogens": ["*CC(*)[H]", "*C([H])([H])C*", "*C*"],
}


@pytest.mark.parametrize("texts", SAME.values(), ids=SAME.keys())
def test_same_polymer_has_one_key(texts: list[str]) -> None:
    keys = {text: canonicalize(text) for text in texts}
    assert len(set(keys.values())) == 1, keys


DIFFERENT = {
    "constitutional isomers": ["*CC(*)CC", "*CC(*)(C)C", "*CC(C)C(*)C"],
    "ethers of one formula": ["*OCC(*)C", "*OCCC*", "*OC(*)CC", "*OC(*)(C)C"],
    "ortho, meta, para": ["*c1ccc(*)cc1", "*c1cccc(*)c1", "*c1ccccc1*"],
    "head to head and head to tail": ["*CC(*)(F)F", "*CC(F)(F)C(F)(F)C*"],
    "ester turned round in every second unit": ["*OCC(*)=O", "*OCC(=O)C(=O)CO*"],
    "aromatic and quinoid phenylene": ["*c1ccc(*)cc1", "*=C1C=CC(=*)C=C1"],
    "polyacetylene and cumulene": ["*C=C*", "*=C=*", "*C#C*"],
    "charge": ["*CN(*)C", "*C[N+](*)(C)C", "*C[NH+](*)C"],
    "isotope": ["*CC*", "*C[13CH2]*", "*[13CH2]*", "*CC(*)[2H]"],
    "tacticity of polypropylene": ["*CC(*)C", "*C[C@H](*)C", "*C[C@H](C)C[C@@H](C)*"],
    "cis and trans": ["*C/C=C/C*", "*C/C=C\\C*", "*CC=CC*"],
    "cis, trans and alternating acetylene": ["*/C=C/*", "*/C=C\\*", "*C=C*", "*/C=C/C=C\\*"],
    "L and D lactic acid": ["*O[C@H](C)C(*)=O", "*O[C@@H](C)C(*)=O", "*OC(C)C(*)=O", "*O[C@H](C)C(=O)O[C@@H](C)C(*)=O"],
    "cis and trans ring": ["*C[C@H]1CC[C@@H](*)CC1", "*C[C@H]1CC[C@H](*)CC1", "*CC1CCC(*)CC1"],
    "cellulose and amylose": [
        "*O[C@H]1[C@H](O)[C@@H](O)[C@H](*)O[C@@H]1CO",
        "*O[C@H]1[C@H](O)[C@@H](O)[C@@H](*)O[C@@H]1CO",
    ],
    "configuration beside a cut double bond": ["*=C/C=C/CC=*", "*=C/C=C\\CC=*"],
    "centre beside a cut double bond": ["*=C[C@H](C)C(=O)OC=*", "*=C[C@@H](C)C(=O)OC=*"],
}


@pytest.mark.parametrize("texts", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_different_polymers_have_different_keys(texts: list[str]) -> None:
    keys = [canonicalize(text) for text in texts]
    assert len(set(keys)) == len(keys), keys


# In this spelling two centres of one mark follow each other with their methyls on alternating sides of the text,
# so equal marks in "C[C@H](C)" segments stand for an isotactic chain.
ISOTACTIC = ["*C[C@H](C)*", "*[C@H](C)C*", "*C[C@@H](C)*", "*C[C@H](C)C[C@H](C)*", "*[C@@H](C)C[C@@H](C)C*"]
SYNDIOTACTIC = ["*C[C@H](C)C[C@@H](C)*", "*C[C@@H](C)C[C@H](C)*", "*[C@H](C)C[C@@H](C)C*"]
HETEROTACTIC = ["*C[C@H](C)C[C@H](C)C[C@@H](C)C[C@@H](C)*"]


def test_tacticity_survives_shift_reversal_and_multiple() -> None:
    keys = [{canonicalize(text) for text in group} for group in (ISOTACTIC, SYNDIOTACTIC, HETEROTACTIC)]
    assert [len(group) for group in keys] == [1, 1, 1]
    assert len(set.union(*keys)) == 3


STEREO = [
    "*C[C@H](*)C",
    "*O[C@H](C)C(*)=O",
    "*NC(=O)[C@@H](*)C",
    "*/C=C/*",
    "*/C=C\\*",
    "*/C=C/C=C\\*",
    "*C/C=C\\C*",
    "*C/C(C)=C/C*",
    "*/C(F)=C(/F)*",
    "*/C(C)=C(/*)[Si](C)(C)C",
    "*=C/C=C/CC=*",
    "*=C[C@H](C)CC=*",
    "*[C@H](C)[C@@H](C)O*",
    "*[C@@H]1CCCC[C@H]1*",
    "*C[C@H]1CC[C@@H](*)CC1",
    "*C[C@H]1CC[C@H](*)CC1",
    "*OC[C@H]1CC[C@H](COC(=O)c2ccc(C(*)=O)cc2)CC1",
    "*[C@H]1C[C@@H]2C[C@H]1[C@@H](*)C2",
    "*O[C@H]1[C@H](O)[C@@H](O)[C@H](*)O[C@@H]1CO",
    "*[Si@](C)(CC)O*",
    "*[S@](=O)CC*",
    "*/N=N/c1ccc(*)cc1",
    "*C(=O)/C=C/C(=O)OCCO*",
]


@pytest.mark.parametrize("text", STEREO)
def test_configurations_are_kept_and_do_not_depend_on_the_frame(text: str) -> None:
    unit = RepeatUnit.parse(text)
    assert unit.has_stereo
    assert oracle.same_polymer(text, unit.key)
    others = [*oracle.shifted_frames(text), *frames(unit), reversed_spelling(unit)]
    others += [oracle.oligomer_text(text, n) for n in (2, 3)] if "*=" not in text else []
    others += [multiple(unit, n) for n in (2, 3)]
    assert {other: canonicalize(other) for other in others} == dict.fromkeys(others, unit.key)


WRITTEN = {text for texts in [*SAME.values(), *DIFFERENT.values()] for text in texts}
ACHIRAL = sorted(text for text in WRITTEN if not set(text) & set("@/\\"))


@pytest.mark.parametrize("text", ACHIRAL)
def test_key_is_the_same_molecule_at_every_cut(text: str) -> None:
    key = canonicalize(text)
    assert oracle.same_polymer(text, key)
    for other in oracle.shifted_frames(text, every_order=True):
        assert canonicalize(other) == key, other
    for n in (2, 3):
        assert canonicalize(oracle.oligomer_text(text, n)) == key


@pytest.mark.parametrize("text", [text for texts in SAME.values() for text in texts] + STEREO)
def test_canonicalisation_is_idempotent(text: str) -> None:
    key = canonicalize(text)
    assert canonicalize(key) == key


@pytest.mark.parametrize(
    ("text", "times"),
    [("*CCO*", 1), ("*CCOCCO*", 2), ("*CCCCCC*", 6), ("*C=CC=C*", 2), ("*C[C@H](C)C[C@@H](C)*", 1), ("*N=NN=NN=N*", 3)],
)
def test_multiplicity(text: str, times: int) -> None:
    assert multiplicity(RepeatUnit.parse(text)) == times


def test_almost_repeated_units_are_not_reduced() -> None:
    for text in ("*CCOCCS*", "*CCOCCOCCS*", "*CC(C)CC*", "*OCC(=O)OCC*"):
        assert multiplicity(RepeatUnit.parse(text)) == 1


def test_bonds_in_rings_and_double_bonds_are_no_cuts_when_a_single_bond_is_there() -> None:
    unit = RepeatUnit.parse("*c1ccc(C=CO*)cc1")
    backbone = Backbone.of(unit)
    symbols = {tuple(sorted(unit.mol.GetAtomWithIdx(i).GetSymbol() for i in backbone.bond(c))) for c in backbone.cuts}
    assert len(backbone.cuts) == 3
    assert symbols == {("C", "C"), ("C", "O")}
