"""What the rules make is what smipoly itself makes, monomer by monomer and pair by pair."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import pandas as pd
import pytest
from rdkit import Chem, rdBase

from polyml.chem import RepeatUnit
from polyml.design.halves import PARTNERS, halves
from polyml.design.library import Tally, make_candidates
from polyml.design.monomers import Monomers
from polyml.design.polymerisation import CandidateSpec, Plan
from polyml.design.reactions import copolymers, homopolymers
from polyml.design.rules import CARBON_MONOXIDE, MONOMER_CLASSES, monomer_classes, polymer_classes, rules_for
from polyml.errors import RepeatUnitError

# Two or more of every class, with groups left over, in both orders, and with configurations.
SMILES = (
    "C=Cc1ccccc1", "C=C(C)C(=O)OC", "C=CC(=C)C", "C=CC1CC=CCC1", "C1=CC2CCC1C2", "FC(F)=C(F)F", r"C=CC/C=C/C",
    "CC1CO1", "C=CC1CO1", "C1OC1CCC1CO1", "C[C@H]1CO1", "C(OCC1CO1)C1CO1", "O=C1CCCCCO1", "O=C1CCCCCN1", "OCCCC(=O)O",
    "O[C@@H](C)C(=O)O", "NCCCCCC(=O)O", "NCc1ccc(C(=O)O)cc1", "Cc1cccc(C)c1O", "O=C1CCC(=O)O1",
    "O=c1oc(=O)c2cc3c(=O)oc(=O)c3cc12", "O=C1OC(=O)C2C1C1C(=O)OC(=O)C21", "O=S(=O)(c1ccc(Cl)cc1)c1ccc(Cl)cc1",
    "O=C(c1ccc(F)cc1)c1ccc(F)cc1", "O=C(O)CCCCC(=O)O", "O=C(O)c1cccc(C(=O)O)c1C", "O=C(Cl)c1ccc(C(=O)Cl)cc1",
    "O=C(O)c1cc(C(=O)O)cc(C(=O)O)c1", "OCCO", "CC(O)CO", "OCC(O)CO", "SCCS", "CC(C)(c1ccc(O)cc1)c1ccc(O)cc1",
    "NCCN", "Cc1ccc(N)cc1N", "C1CNCCN1", "NCCNCCN", "O=C=NCCCCCCN=C=O", "Cc1ccc(N=C=O)cc1N=C=O",
    "C[C@@H](O)[C@H](C)O", "C=CCOCC=C",
)  # fmt: skip


@lru_cache(maxsize=1)
def monomers() -> Monomers:
    smiles = [Chem.MolToSmiles(Chem.MolFromSmiles(text)) for text in SMILES]
    return Monomers(smiles, [""] * len(smiles), monomer_classes(smiles)).with_carbon_monoxide()


def made(**options: object) -> pd.DataFrame:
    return pd.concat(list(make_candidates(monomers(), CandidateSpec(**options))))  # type: ignore[arg-type]


def rows_of(frame: pd.DataFrame) -> set[tuple[str, ...]]:
    names = ["monomer_1", "monomer_2", "psmiles", "polymer_class"]
    return set(frame[names].astype(object).fillna("").itertuples(index=False, name=None))


@lru_cache(maxsize=1)
def of_smipoly() -> pd.DataFrame:
    """The candidates by smipoly's own two functions."""
    from smipoly.smip import monc, polg

    with rdBase.BlockLogs():
        classified = monc.moncls(pd.DataFrame({"smiles": list(SMILES)}), "smiles")
        frame = polg.biplym(classified)
    return frame.rename(columns={"mon1": "monomer_1", "mon2": "monomer_2", "polym": "psmiles"})


def test_the_classes_and_their_monomers_are_those_of_smipoly() -> None:
    assert polymer_classes() == [
        "polyolefin", "polyester", "polyether", "polyamide", "polyimide", "polyurethane", "polyoxazolidone",
    ]  # fmt: skip
    rules = rules_for()
    assert {name for rule in rules for name in (rule.first, rule.second) if name} < set(MONOMER_CLASSES)
    assert [rule.second for rule in rules_for(["polyimide"])] == ["diamin"]


def test_every_rule_is_tried() -> None:
    there = {name for classes in monomers().classes for name in classes}
    assert {name for rule in rules_for() for name in (rule.first, rule.second) if name} <= there


def test_the_partners_of_halves_are_of_their_class_and_need_no_more() -> None:
    for (name, smiles), classes in zip(PARTNERS.items(), monomer_classes(list(PARTNERS.values())), strict=True):
        assert name in classes, smiles
        assert not any(mark in smiles for mark in "@/\\")


@pytest.mark.filterwarnings("ignore")
def test_raw_candidates_are_exactly_those_of_smipoly() -> None:
    mine = made(raw=True)
    assert rows_of(mine) == rows_of(of_smipoly())
    assert not mine.duplicated().any()


@pytest.mark.filterwarnings("ignore")
def test_of_one_class_too() -> None:
    from smipoly.smip import monc, polg

    with rdBase.BlockLogs():
        theirs = polg.biplym(monc.moncls(pd.DataFrame({"smiles": list(SMILES)}), "smiles"), targ=["polyester"])
    theirs = theirs.rename(columns={"mon1": "monomer_1", "mon2": "monomer_2", "polym": "psmiles"})
    assert rows_of(made(classes=("polyester",), raw=True)) == rows_of(theirs)


def keys_of_pairs(frame: pd.DataFrame) -> dict[frozenset[str], list[str]]:
    found: dict[frozenset[str], list[str]] = defaultdict(list)
    for text, first, second in zip(frame["psmiles"], frame["monomer_1"], frame["monomer_2"].fillna(""), strict=True):
        try:
            key = RepeatUnit.parse(text).key
        except RepeatUnitError:
            continue
        found[frozenset((first, second))].append(key)
    return dict(found)


def test_what_is_kept_are_the_polymers_of_each_pair_once() -> None:
    kept, raw = keys_of_pairs(made()), keys_of_pairs(made(raw=True))
    assert {pair: set(keys) for pair, keys in raw.items()} == {pair: set(keys) for pair, keys in kept.items()}
    assert all(len(set(keys)) == len(keys) for keys in kept.values())
    assert sum(map(len, raw.values())) > sum(map(len, kept.values()))


def test_what_is_left_out_is_counted_by_reason() -> None:
    tally = Tally()
    frame = pd.concat(list(make_candidates(monomers(), tally=tally)))
    assert tally.candidates.total() == len(frame)
    reasons = {"network", "attachment points", "same polymer from the same monomers", "no product"}
    assert set(tally.reasons()) == reasons
    assert tally.pairs.total() == tally.all_pairs == tally.as_json()["pairs_tried"]


def test_pairs_are_counted_before_they_are_made() -> None:
    plan = Plan(monomers().smiles, monomers().classes, CandidateSpec())
    blocks = list(plan.blocks())
    for number, rule in enumerate(plan.rules):
        assert plan.pairs(rule) == sum(len(block.others) for block in blocks if block.rule == number)
    pairs = [(block.rule, frozenset((block.first, other))) for block in blocks for other in block.others]
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize(
    ("polymer_class", "first", "second", "known"),
    [
        ("polyester", "O=C(O)c1ccc(C(=O)O)cc1", "OCCO", "*OCCOC(=O)c1ccc(C(*)=O)cc1"),  # PET
        ("polyamide", "O=C(O)CCCCC(=O)O", "NCCCCCCN", "*NCCCCCCNC(=O)CCCCC(*)=O"),  # nylon 6,6
        ("polyimide", "O=c1oc(=O)c2cc3c(=O)oc(=O)c3cc12", "Nc1ccc(Oc2ccc(N)cc2)cc1",
         "*c1ccc(Oc2ccc(-n3c(=O)c4cc5c(=O)n(*)c(=O)c5cc4c3=O)cc2)cc1"),  # Kapton
        ("polyester", "CC(C)(c1ccc(O)cc1)c1ccc(O)cc1", CARBON_MONOXIDE, "*Oc1ccc(C(C)(C)c2ccc(OC(*)=O)cc2)cc1"),
        ("polyolefin", "C=Cc1ccccc1", "", "*CC(*)c1ccccc1"),
        ("polyether", "Cc1cccc(C)c1O", "", "*Oc1c(C)cc(*)cc1C"),  # PPO
        ("polyamide", "O=C1CCCCCN1", "", "*NCCCCCC(*)=O"),  # nylon 6
    ],
)  # fmt: skip
def test_polymers_that_everybody_knows(polymer_class: str, first: str, second: str, known: str) -> None:
    smiles = [text for text in (first, second) if text]
    given = Monomers(smiles, [""] * len(smiles), monomer_classes(smiles))
    (frame,) = make_candidates(given, CandidateSpec(classes=(polymer_class,)))
    assert RepeatUnit.parse(known).key in {RepeatUnit.parse(text).key for text in frame["psmiles"]}


def test_configurations_come_from_the_whole_reaction() -> None:
    rule = next(rule for rule in rules_for(["polyurethane"]))
    assert halves(rule, 1, Chem.MolFromSmiles("C[C@@H](O)[C@H](C)O")) is None
    found = copolymers(rule, Chem.MolFromSmiles("O=C=NCCN=C=O"), Chem.MolFromSmiles("C[C@@H](O)[C@@H](C)O"))
    assert all("@" in text for text in found)


def test_a_monomer_that_the_rule_does_not_fit_makes_nothing() -> None:
    """smipoly would turn in a circle here: the group is there, and the reaction gives nothing."""
    lactone, olefin = (next(rule for rule in rules_for() if rule.first == name) for name in ("lactone", "vinyl"))
    assert homopolymers(lactone, Chem.MolFromSmiles("CCO")) == []
    assert homopolymers(olefin, Chem.MolFromSmiles("CC")) == []


def test_a_group_without_a_reaction_ends() -> None:
    """An anhydride is left over in a polyamide, where the rules have no reaction for it: smipoly turns in a circle."""
    rule = next(rule for rule in rules_for(["polyamide"]) if rule.second == "diamin")
    acid, amine = "O=C(O)CCC(C(=O)O)C1CC(=O)OC1=O", "NCCN(CCN)CCN"
    assert monomer_classes([acid, amine]) == [("cAnhyd", "diCOOH"), ("diamin", "pridiamin")]
    assert copolymers(rule, Chem.MolFromSmiles(acid), Chem.MolFromSmiles(amine)) == []
