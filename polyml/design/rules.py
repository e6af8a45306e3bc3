"""The polymerisation rules of the package smipoly, and the monomers they take.

A rule makes a polymer class from monomers of one or two classes. smipoly keeps reactions and patterns in its own files
and reads them when it is imported; they are data here, and what is done with them stands in
:mod:`polyml.design.reactions`.

Ohno, Hayashi, Zhang, Kaneko, Yoshida: SMiPoly. J. Chem. Inf. Model. 63, 5539 (2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from rdkit import Chem, rdBase

from polyml.errors import unknown_name

CARBON_MONOXIDE = "[C-]#[O+]"
"""The rules write a polycarbonate as a diol with carbon monoxide, whatever reagent brings the carbonyl group."""

MONOMER_CLASSES = {
    "vinyl": "C=CH2 groups, fluoro- and chloroolefins",
    "cOle": "cyclic olefins",
    "epo": "epoxides",
    "diepo": "molecules with 2 to 4 epoxides",
    "lactone": "lactones",
    "lactam": "lactams",
    "hydCOOH": "hydroxy acids",
    "aminCOOH": "amino acids",
    "hindPhenol": "2,6-disubstituted phenols",
    "cAnhyd": "cyclic anhydrides",
    "dicAnhyd": "molecules with 2 to 4 cyclic anhydrides",
    "CO": "carbon monoxide",
    "HCHO": "formaldehyde",
    "sfonediX": "bis(halophenyl) sulfones",
    "BzodiF": "bis(fluorophenyl) ketones",
    "diCOOH": "acids and acid halides with 2 to 4 groups",
    "diol": "alcohols, phenols and thiols with 2 to 4 groups",
    "diol_b": "alcohols and phenols with 2 to 4 groups",
    "diamin": "amines with 2 to 4 groups, secondary ones too",
    "pridiamin": "primary amines with 2 to 4 groups",
    "diNCO": "isocyanates and isothiocyanates with 2 to 4 groups",
}
"""What smipoly's short names of monomer classes mean."""


@dataclass(frozen=True, eq=False)
class Rule:
    """One way to make polymers of a class.

    Attributes
    ----------
    polymer_class : str
    first, second : str
        Classes of the monomers; ``second`` is empty where one monomer polymerises with itself.
    reaction : ChemicalReaction
        From monomers to repeat units with ``*`` at their ends.
    patterns, excluded : tuple of Mol
        Of a rule for one monomer: what polymerises, and what forbids it.
    """

    polymer_class: str
    first: str
    second: str
    reaction: Any = field(repr=False)
    patterns: tuple[Chem.Mol, ...] = field(default=(), repr=False)
    excluded: tuple[Chem.Mol, ...] = field(default=(), repr=False)


@dataclass(frozen=True, eq=False)
class FollowUp:
    """What a group that is left over in a product does: it is found by a pattern, and reacts on.

    Attributes
    ----------
    group : Mol
    reaction : ChemicalReaction or None
        None where the rules have no reaction for it.
    two_ways : bool
        Whether a ring may open to either side; the first that is found is taken.
    """

    group: Chem.Mol
    reaction: Any
    two_ways: bool = False


def polymer_classes() -> list[str]:
    """Return the polymer classes by smipoly's names.

    Examples
    --------
    >>> polymer_classes()[:2]
    ['polyolefin', 'polyester']
    """
    return list(dict.fromkeys(rule.polymer_class for rule in _all_rules()))


def rules_for(classes: Iterable[str] | None = None) -> tuple[Rule, ...]:
    """Return the rules of some polymer classes, or all, in smipoly's order.

    Raises
    ------
    UserError
        A class is unknown.
    """
    known = polymer_classes()
    wanted = known if classes is None else list(classes)
    for name in wanted:
        if name not in known:
            raise unknown_name("polymer class", name, known, where="--classes")
    return tuple(rule for rule in _all_rules() if rule.polymer_class in wanted)


def monomer_classes(smiles: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the classes of each molecule; none for one that no rule takes.

    Parameters
    ----------
    smiles : sequence of str
        Valid SMILES.

    Examples
    --------
    >>> monomer_classes(["C=Cc1ccccc1", "OCCO", "CCO"])
    [('vinyl',), ('diol', 'diol_b'), ()]
    """
    import pandas as pd
    from smipoly.smip.monc import moncls

    # Two molecules of smipoly's own, carbon monoxide and formaldehyde, come behind.
    frame = moncls(pd.DataFrame({"smiles": list(smiles)}), "smiles").iloc[: len(smiles)]
    names = [name for name in frame if name in MONOMER_CLASSES]
    flags = frame[names].to_numpy(dtype=bool)
    return [tuple(name for name, flag in zip(names, row, strict=True) if flag) for row in flags]


@lru_cache(maxsize=1)
def _all_rules() -> tuple[Rule, ...]:
    from smipoly.smip import polg

    rules = []
    with rdBase.BlockLogs():
        for polymer_class in polg.Ps_classL:
            for first, second, reaction in polg.Ps_GenL[polymer_class]:
                if second != "none":
                    reaction.Initialize()
                    rules.append(Rule(polymer_class, first, second, reaction))
                    continue
                number = polg.mon_dic[first]
                reaction = polg.Ps_rxnL[number]
                reaction.Initialize()
                patterns, excluded = (_compiled(texts[number]) for texts in (polg.monLg, polg.exclLg))
                rules.append(Rule(polymer_class, first, "", reaction, patterns, excluded))
    return tuple(rules)


def _compiled(smarts: Iterable[str]) -> tuple[Chem.Mol, ...]:
    return tuple(Chem.MolFromSmarts(text) for text in smarts)


# smipoly's numbers of groups that are left over, each with the number of its reaction; None: it has no reaction there.
_GROUPS: tuple[tuple[int, int | None], ...] = ((201, 201), (202, 202), (203, 203), (204, 204), (205, 205))
_OF_CLASS: dict[str, tuple[tuple[int, int | None], ...]] = {
    "polyolefin": ((200, 200),),
    "polyoxazolidone": ((201, 201), (205, 208)),
    "polyimide": (*_GROUPS, (206, 207)),
    "polyester": (*_GROUPS, (206, 206)),
}
_TWO_WAYS = (201, 206)  # epoxides, and anhydrides that become esters
_OF_ONE_MONOMER: tuple[tuple[int, int | None], ...] = ((202, 202), (203, 203), (204, 204))


@lru_cache(maxsize=64)
def follow_ups(rule: Rule) -> tuple[FollowUp, ...]:
    """Return what groups left over in a product of a rule do, in the order in which they are looked for.

    A monomer may have more groups than a chain needs; smipoly lets the others react too, which makes a network.
    """
    from smipoly.smip import polg

    if rule.second:
        numbers = _OF_CLASS.get(rule.polymer_class, (*_GROUPS, (206, None)))
    else:
        numbers = () if rule.first in ("vinyl", "cOle") else _OF_ONE_MONOMER
    found = []
    with rdBase.BlockLogs():
        for group, number in numbers:
            reaction = None if number is None else polg.Ps_rxnL[number]
            if reaction is not None:
                reaction.Initialize()
            found.append(FollowUp(Chem.MolFromSmarts(polg.monLg[group]), reaction, number in _TWO_WAYS))
    return tuple(found)
