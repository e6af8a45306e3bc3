"""The two halves of a repeat unit: what becomes of each monomer, found once and joined with every partner.

A rule does to a monomer the same whatever its partner is. So each monomer reacts once with a small partner in the place
of the real ones; the product is cut where the two meet, and a candidate is two halves and the bonds between them. That
is several times as quick as the whole reaction for every pair, and gives the same repeat units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from rdkit import Chem

from polyml.design.reactions import Unfinished, follow
from polyml.design.rules import Rule, follow_ups

PARTNERS = {
    "vinyl": "C=C",
    "cOle": "C1=CCCC1",
    "epo": "C1CO1",
    "diepo": "C1OC1CCC1CO1",
    "hydCOOH": "OCC(=O)O",
    "aminCOOH": "NCC(=O)O",
    "cAnhyd": "O=C1CCC(=O)O1",
    "dicAnhyd": "O=c1oc(=O)c2cc3c(=O)oc(=O)c3cc12",
    "sfonediX": "O=S(=O)(c1ccc(F)cc1)c1ccc(F)cc1",
    "BzodiF": "O=C(c1ccc(F)cc1)c1ccc(F)cc1",
    "diCOOH": "O=C(O)CC(=O)O",
    "diol": "OCCO",
    "diol_b": "OCCO",
    "diamin": "NCCN",
    "diNCO": "O=C=NCCN=C=O",
}
"""The smallest monomer of each class, with no group more than the rules need."""
_SP3 = Chem.HybridizationType.SP3
_FOREIGN = 199  # isotope of the partner's atoms while the halves are told apart
_JOINT = 200  # and above: of those to which the half is bonded, with the number of the bond


@dataclass(frozen=True, eq=False, slots=True)
class Half:
    """What a rule makes of one monomer: its part of the repeat unit.

    Attributes
    ----------
    packed : bytes
        The part, with ``*`` at its end of the unit, as RDKit packs a molecule: a fortieth of the memory, and a list of
        monomers has many halves.
    joints : dict of int to int
        The atoms at which it is bonded to the other half, by the number of the bond.
    stars : int
        Attachment points.
    two_ways : bool
        Whether a left-over ring was opened, to the side that happened to be found first.
    saturated : bool
        Whether all attachment points are on saturated carbon.
    turned : int
        Place, among the halves of the monomer, of the one whose two ends have changed places; -1 where there is none.
        Two halves make the same chain as the two turned ones.
    """

    packed: bytes = field(repr=False)
    joints: dict[int, int]
    stars: int
    two_ways: bool = False
    saturated: bool = False
    turned: int = -1


def halves(rule: Rule, side: int, monomer: Chem.Mol) -> list[Half] | None:
    """Return the different halves that a rule makes of a monomer.

    Parameters
    ----------
    rule : Rule
        A rule for two monomers.
    side : int
        0 where the monomer is the first one, 1 where it is the second.
    monomer : Mol

    Returns
    -------
    list of Half or None
        None where a candidate must come from the whole reaction: a configuration could be lost in the joining.
    """
    partner = PARTNERS.get(rule.second if side == 0 else rule.first)
    text = Chem.MolToSmiles(monomer)
    if partner is None or any(mark in text for mark in "@/\\"):
        return None
    pair = (monomer, _parsed(partner)) if side == 0 else (_parsed(partner), monomer)
    found: dict[str, Half] = {}
    turned_texts: dict[str, str] = {}
    steps = follow_ups(rule)
    for (product,) in rule.reaction.RunReactants(pair):
        try:
            Chem.SanitizeMol(product)
            if not _mark(product, side):
                return None
            turned = any(step.two_ways and product.HasSubstructMatch(step.group) for step in steps)
            mol, half = _cut(follow(product, steps), turned)
        except (Unfinished, ValueError, RuntimeError):  # as in the whole reaction
            continue
        if (text := _text(mol, half.joints)) not in found:
            found[text], turned_texts[text] = half, _turned_text(mol, half)
    places = {text: place for place, text in enumerate(found)}
    return [replace(half, turned=places.get(turned_texts[text], -1)) for text, half in found.items()]


def join(first: Half, second: Half) -> str | None:
    """Return the repeat unit of two halves; None where it is no molecule.

    Examples
    --------
    >>> from polyml.design.rules import rules_for
    >>> rule = rules_for(["polyurethane"])[0]
    >>> monomers = [Chem.MolFromSmiles(smiles) for smiles in ("O=C=NCCN=C=O", "OCCO")]
    >>> (one,), (other,) = (halves(rule, side, mol) for side, mol in enumerate(monomers))
    >>> join(one, other)
    '*OCCOC(=O)NCCNC(*)=O'
    """
    one, other = _unpacked(first.packed), _unpacked(second.packed)
    whole, before = Chem.RWMol(Chem.CombineMols(one, other)), one.GetNumAtoms()
    for number, atom in first.joints.items():
        whole.AddBond(atom, second.joints[number] + before, Chem.BondType.SINGLE)
    try:
        Chem.SanitizeMol(whole)
    except (ValueError, RuntimeError):
        return None
    return str(Chem.MolToSmiles(whole))


@lru_cache(maxsize=64)
def _unpacked(packed: Any) -> Chem.Mol:  # bytes; RDKit's own types know nothing of them
    return Chem.Mol(packed)


@lru_cache(maxsize=64)
def _parsed(smiles: str) -> Chem.Mol:
    return Chem.MolFromSmiles(smiles)


def _sides(product: Chem.Mol) -> list[int]:
    """Tell which monomer each atom of a product is from; what the rule adds goes with the first that it touches."""
    sides = [atom.GetIntProp("react_idx") if atom.HasProp("react_idx") else -1 for atom in product.GetAtoms()]
    for side in (0, 1):
        reached = [place for place, of in enumerate(sides) if of == side]
        while reached:
            for neighbour in product.GetAtomWithIdx(reached.pop()).GetNeighbors():
                if sides[neighbour.GetIdx()] == -1:
                    sides[neighbour.GetIdx()] = side
                    reached.append(neighbour.GetIdx())
    return sides


def _mark(product: Chem.Mol, side: int) -> bool:
    """Mark the partner's atoms by isotopes, which later reactions keep; False where the halves cannot be told apart."""
    sides = _sides(product)
    joints = list(_crossing(product, sides))
    foreign = [pair[1 - side] for _, pair in joints]
    if len(set(foreign)) < len(foreign) or len({number for number, _ in joints}) < len(joints):
        return False
    for atom in product.GetAtoms():
        if sides[atom.GetIdx()] != side:
            atom.SetIsotope(_FOREIGN)
    for (number, _), place in zip(joints, foreign, strict=True):
        product.GetAtomWithIdx(place).SetIsotope(_JOINT + number)
    return True


def _crossing(product: Chem.Mol, sides: list[int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the bonds between the halves: the number that the rule gives to the second atom, and the two atoms."""
    for bond in product.GetBonds():
        one, other = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if sides[one] != sides[other]:
            pair = (one, other) if sides[one] == 0 else (other, one)
            yield product.GetAtomWithIdx(pair[1]).GetIntProp("old_mapno"), pair


def _cut(product: Chem.Mol, two_ways: bool) -> tuple[Chem.Mol, Half]:
    """Take the partner away; return what is left, as a molecule too."""
    own = [atom for atom in product.GetAtoms() if atom.GetIsotope() < _FOREIGN]
    place = {atom.GetIdx(): new for new, atom in enumerate(own)}
    numbers: dict[int, int] = {}
    ends = [atom.GetNeighbors()[0] for atom in own if atom.GetAtomicNum() == 0]
    half = Chem.RWMol(product)
    half.BeginBatchEdit()
    for atom in product.GetAtoms():
        if atom.GetIdx() in place:
            continue
        half.RemoveAtom(atom.GetIdx())
        if atom.GetIsotope() >= _JOINT:
            (joint,) = (item for item in atom.GetNeighbors() if item.GetIdx() in place)
            numbers[atom.GetIsotope() - _JOINT] = place[joint.GetIdx()]
    half.CommitBatchEdit()
    saturated = all(end.GetAtomicNum() == 6 and end.GetHybridization() == _SP3 for end in ends)
    mol = half.GetMol()
    packed = mol.ToBinary(Chem.PropertyPickleOptions.NoProps)
    return mol, Half(packed, numbers, len(ends), two_ways, saturated)


def _turned_text(whole: Chem.Mol, half: Half) -> str:
    """Write a half after its bond to the other half and its attachment point have changed places."""
    if half.stars != 1 or len(half.joints) != 1:
        return ""
    ((number, joint),) = half.joints.items()
    mol = Chem.RWMol(whole)
    star = next(atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0)
    (end,) = star.GetNeighbors()
    mol.RemoveBond(star.GetIdx(), end.GetIdx())
    mol.AddBond(star.GetIdx(), joint, Chem.BondType.SINGLE)
    return _text(mol, {number: end.GetIdx()})


def _text(mol: Chem.Mol, joints: dict[int, int]) -> str:
    """Write a half with its joints numbered, the same for the same half."""
    mol = Chem.Mol(mol)
    for number, place in joints.items():
        mol.GetAtomWithIdx(place).SetAtomMapNum(number)
    return str(Chem.MolToSmiles(mol))
