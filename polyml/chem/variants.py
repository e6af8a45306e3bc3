"""Other ways to write the same polymer: for audits of other software, for augmentation and for tests.

Every function returns pSMILES texts of the polymer it is given: its unit cut elsewhere, turned round, repeated, or only
spelled differently. All of them have the same :attr:`~polyml.chem.RepeatUnit.key`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from rdkit import Chem, rdBase

from polyml.chem.canonical import Backbone, frame, stereo_frame
from polyml.chem.periodic import join
from polyml.chem.repeat_unit import MAX_CHARACTERS, RepeatUnit
from polyml.errors import UserError

_STAR = re.compile(r"\[(\d+)\*\]|\*")
_SPELLINGS = ("*", "[*]", "[{}*]", "[*:{}]", "[R{}]", "[R]")


def frames(unit: RepeatUnit) -> list[str]:
    """Write a linear unit cut at each bond where its chain can be cut, the frame as given last.

    A frame and its reverse read alike.

    Raises
    ------
    UserError
        For a ladder.

    Examples
    --------
    >>> frames(RepeatUnit.parse("*CCO*"))
    ['*COC*', '*CCO*', '*CCO*']
    """
    if unit.is_ladder:
        raise UserError(
            "frames are listed for linear units only", where=unit.psmiles, fix="give a unit that is no ladder"
        )
    backbone = Backbone.of(unit)
    make = stereo_frame if unit.has_stereo else frame
    return [_plain(Chem.MolToSmiles(make(unit, backbone, cut))) for cut in backbone.cuts]


def reversed_spelling(unit: RepeatUnit) -> str:
    """Write a linear unit from its second attachment point to its first.

    Examples
    --------
    >>> reversed_spelling(RepeatUnit.parse("*OCC(*)=O"))
    '*C(=O)CO*'
    """
    return _plain(Chem.MolToSmiles(_labelled(unit), rootedAtAtom=unit.stars[-1]))


def random_spelling(unit: RepeatUnit, rng: np.random.Generator) -> str:
    """Write the same unit with atoms in random order and attachment points in a random accepted form."""
    text = Chem.MolToRandomSmilesVect(_labelled(unit), 1, randomSeed=int(rng.integers(1, 2**31)))[0]
    form = str(rng.choice(_SPELLINGS))
    return _STAR.sub(lambda match: form.format(match[1]), text)


def multiple(unit: RepeatUnit, n: int) -> str:
    """Write ``n`` units joined head to tail as one, configurations kept.

    Examples
    --------
    >>> multiple(RepeatUnit.parse("*CCO*"), 2)
    '*CCOCCO*'
    """
    if n < 1:
        raise UserError(f"{n} units cannot be joined", fix="give a number of units of at least 1")
    if not unit.has_stereo:
        return Chem.MolToSmiles(join(unit, n)[0])
    return _plain(Chem.MolToSmiles(_zipped(unit, n)))


def random_variant(unit: RepeatUnit, rng: np.random.Generator, most: int = 3) -> str:
    """Write the polymer in a random way: cut at a random bond, repeated up to ``most`` times, spelled at random.

    A ladder keeps its cut.

    Examples
    --------
    >>> unit = RepeatUnit.parse("*OCC*")
    >>> RepeatUnit.parse(random_variant(unit, np.random.default_rng(1))).key == unit.key
    True
    """
    n = int(rng.integers(1, most + 1))
    while n > 1 and n * len(unit.psmiles) > MAX_CHARACTERS // 2:
        n -= 1
    if not unit.is_ladder:
        unit = RepeatUnit.parse(str(rng.choice(frames(unit))))
    if n > 1:
        unit = RepeatUnit.parse(multiple(unit, n))
    return random_spelling(unit, rng)


def random_spellings(key: str, count: int, rng: np.random.Generator) -> list[str]:
    """Write the polymer of a canonical text ``count`` times: atoms in random order, cuts spread evenly over the chain.

    A ladder keeps its cut. Some four times faster than :func:`random_variant`, which also repeats the unit and varies
    the attachment points.

    Examples
    --------
    >>> texts = random_spellings("*CCO*", 5, np.random.default_rng(1))
    >>> {RepeatUnit.parse(text).key for text in texts}
    {'*CCO*'}
    """
    if key.count("*") == 4:  # a canonical ladder says which of its ends are joined: no need to find out again
        mols = [Chem.MolFromSmiles(key)]
    else:
        unit = RepeatUnit.parse(key)
        backbone = Backbone.of(unit)
        make = stereo_frame if unit.has_stereo else frame
        mols = [make(unit, backbone, int(cut)) for cut in rng.permutation(backbone.cuts)[:count]]
    texts: list[str] = []
    for place, mol in enumerate(mols):
        share = len(range(place, count, len(mols)))
        texts += Chem.MolToRandomSmilesVect(mol, share, randomSeed=int(rng.integers(1, 2**31)))
    return [_plain(text) for text in texts]


def _labelled(unit: RepeatUnit, labels: Sequence[int] = (1, 2, 3, 4)) -> Chem.Mol:
    """Copy the unit with its attachment points told apart: otherwise RDKit may take two branches for the same."""
    mol = Chem.Mol(unit.mol)
    for star, label in zip(unit.stars, labels, strict=False):
        mol.GetAtomWithIdx(star).SetIsotope(label)
    return mol


def _plain(text: str) -> str:
    return _STAR.sub("*", text)


def _zipped(unit: RepeatUnit, n: int) -> Chem.Mol:
    """Join ``n`` units through RDKit, which carries the configurations over the joints."""
    params = Chem.MolzipParams()
    params.label = Chem.MolzipLabel.Isotope
    chain = _labelled(unit, (1, 10))
    for joint in range(10, 9 + n):
        with rdBase.BlockLogs():  # RDKit warns of the outer attachment points, which stay
            chain = Chem.molzip(chain, _labelled(unit, (joint, joint + 1)), params)
    return chain
