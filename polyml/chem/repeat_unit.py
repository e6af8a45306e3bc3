"""Repeat units: one period of an infinite chain, read from pSMILES.

A repeat unit is written as SMILES with its attachment points as ``*``. Linear polymers have two; a ladder polymer,
whose neighbouring units share two bonds, has four (two at each end).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rdkit import Chem, rdBase

from polyml.errors import RepeatUnitError

MAX_CHARACTERS = 2000
"""Longest pSMILES that is read; the largest repeat units in the literature have a few hundred characters."""

PEROXIDE = (
    "two oxygen atoms meet where the unit is repeated, which makes a peroxide; is one attachment point misplaced?"
)
"""Note on a unit that is more often a slip of the drawing than a polyperoxide."""

_STAR = Chem.MolFromSmarts("[#0]")
_BRACKET_STAR = re.compile(r"\[\d*\*(?::\d+)?\]|\[R\d*\]")
_ANY_STAR = re.compile(r"\[\d*\*(?::\d+)?\]|\*")
STEREO_BONDS = {
    Chem.BondStereo.STEREOZ,
    Chem.BondStereo.STEREOE,
    Chem.BondStereo.STEREOCIS,
    Chem.BondStereo.STEREOTRANS,
}
_ORDERS = {Chem.BondType.SINGLE: 1.0, Chem.BondType.DOUBLE: 2.0, Chem.BondType.TRIPLE: 3.0}
_UNUSUAL_BONDS = (">", "<", "~", "$")
_SPELLINGS = "write each attachment point as * (or [*], [1*], [*:1], [R1])"


@dataclass(frozen=True, eq=False)
class RepeatUnit:
    """One period of a polymer chain.

    Build it with :meth:`parse`. Two units are the same polymer exactly when their :attr:`key` is the same.

    Attributes
    ----------
    psmiles : str
        The text as it was given.
    mol : rdkit.Chem.Mol
        The unit with its attachment points as dummy atoms (atomic number 0, without labels). Do not edit it.
    stars : tuple of int
        Indices of the dummy atoms; for a ladder the two of one end come first.
    partners : tuple of int
        For each star the atom at which the chain goes on: the atom bonded to the star at the other end that this
        star meets in the next unit.

    Examples
    --------
    >>> RepeatUnit.parse("*OCC*").key == RepeatUnit.parse("[*:1]CCOCCO[*:2]").key
    True
    """

    psmiles: str
    mol: Chem.Mol = field(repr=False)
    stars: tuple[int, ...] = field(repr=False)
    partners: tuple[int, ...] = field(repr=False)
    has_stereo: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, psmiles: str) -> RepeatUnit:
        """Read a pSMILES.

        Raises
        ------
        RepeatUnitError
            When the text is no repeat unit that polyml supports; ``reason`` names the kind of refusal.
        """
        text = check_text(psmiles)
        mol, stars = read_mol(text)
        stereo = ("@" in text or "/" in text or "\\" in text) and has_stereo(mol)
        unit = cls.from_mol(mol, stars, psmiles=psmiles, stereo=stereo)
        if any(sign in text for sign in _UNUSUAL_BONDS):
            _ = unit.key  # refuses a backbone that cannot be cut at such a bond
        return unit

    @classmethod
    def from_mol(
        cls, mol: Chem.Mol, stars: tuple[int, ...] | None = None, *, psmiles: str = "", stereo: bool | None = None
    ) -> RepeatUnit:
        """Build from a sanitised molecule with dummy atoms at its attachment points (found unless given)."""
        stars = find_stars(mol) if stars is None else stars
        stereo = has_stereo(mol) if stereo is None else stereo
        psmiles = psmiles or Chem.MolToSmiles(mol)
        if len(stars) == 4:
            from polyml.chem.ladder import read_ladder

            return read_ladder(psmiles, mol, stars, stereo)
        (first, order), (second, other) = (attachment(mol, star) for star in stars)
        if order != other:
            raise RepeatUnitError(
                f"the two attachment points have different bond orders ({order:g} and {other:g})",
                reason="bond orders",
                fix="both bonds that cross the period must have one order: write *=CC=* or *CC*, not *=CC*",
            )
        if first in stars:
            raise RepeatUnitError("no atom between the attachment points", reason="no atoms")
        notes = (PEROXIDE,) if _is_oxygen(mol, first) and _is_oxygen(mol, second) and first != second else ()
        return cls(psmiles=psmiles, mol=mol, stars=stars, partners=(second, first), has_stereo=stereo, notes=notes)

    @property
    def is_ladder(self) -> bool:
        """Whether neighbouring units share two bonds (four attachment points)."""
        return len(self.stars) == 4

    @cached_property
    def key(self) -> str:
        """Canonical pSMILES: the same for every frame, direction, multiple and spelling of one polymer."""
        from polyml.chem.canonical import canonical_psmiles

        return canonical_psmiles(self)

    @property
    def n_atoms(self) -> int:
        """Number of atoms of the unit as written, attachment points and implicit hydrogens not counted."""
        return int(self.mol.GetNumAtoms()) - len(self.stars)


def ensure_units(items: Sequence[RepeatUnit | str]) -> list[RepeatUnit]:
    """Parse what is still text and pass parsed units through.

    Raises
    ------
    RepeatUnitError
        For the first text that cannot be read.
    """
    return [item if isinstance(item, RepeatUnit) else RepeatUnit.parse(item) for item in items]


def canonicalize(psmiles: str) -> str:
    """Return the canonical pSMILES.

    Examples
    --------
    >>> canonicalize("*OCC*") == canonicalize("[*]COC[*]") == canonicalize("*CCOCCO*")
    True
    """
    return RepeatUnit.parse(psmiles).key


def check_text(psmiles: str) -> str:
    """Refuse what can be refused without parsing and unify the spelling of attachment points."""
    if not isinstance(psmiles, str) or not psmiles.strip():
        raise RepeatUnitError("empty", reason="empty", fix="write the repeat unit as SMILES with two *")
    text = psmiles.strip()
    if len(text) > MAX_CHARACTERS:
        raise RepeatUnitError(
            f"{len(text):,} characters; the limit is {MAX_CHARACTERS:,}",
            reason="too long",
            fix="write the smallest repeat unit",
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise RepeatUnitError(
            "characters that no SMILES has (a blank, a control character, or one beyond ASCII)",
            reason="invalid SMILES",
            fix="one repeat unit a row, without names or comments",
        )
    if "[" in text:
        text = _BRACKET_STAR.sub("[*]", text)
    count = text.count("*")
    if count not in (0, 2, 4):
        raise _wrong_count(count)
    return text


def read_mol(text: str) -> tuple[Chem.Mol, tuple[int, ...]]:
    """Parse checked text into a molecule and the indices of its attachment points."""
    stereo = "@" in text or "/" in text or "\\" in text
    # With alike stars RDKit would drop a stereocentre whose two branches look the same up to the frame's ends,
    # so the stars differ (by isotope) while the text is read.
    labels = iter((1, 2, 3, 4))
    labelled = _ANY_STAR.sub(lambda _: f"[{next(labels)}*]", text) if stereo else text
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(labelled)
    if mol is None:
        raise RepeatUnitError(why_invalid(text), reason="invalid SMILES", fix="check brackets, ring closures, valences")
    stars = find_stars(mol)
    if len(stars) not in (2, 4):
        raise _wrong_count(len(stars))
    if "." in text and len(Chem.GetMolFrags(mol)) > 1:
        raise RepeatUnitError("several unconnected fragments", reason="fragments", fix="give one connected repeat unit")
    if ":" in text:
        for atom in mol.GetAtoms():
            atom.SetAtomMapNum(0)
    for star in stars:
        atom = mol.GetAtomWithIdx(star)
        if stereo:
            atom.SetIsotope(0)
        _check_star(atom)
    return mol, stars


def _check_star(atom: Chem.Atom) -> None:
    if atom.GetDegree() != 1:
        raise RepeatUnitError(
            f"an attachment point has {atom.GetDegree()} bonds", reason="attachment points", fix="each * takes one bond"
        )
    if atom.GetFormalCharge() or atom.GetTotalNumHs():
        raise RepeatUnitError(
            "an attachment point has a charge or hydrogens", reason="attachment points", fix=_SPELLINGS
        )


def find_stars(mol: Chem.Mol) -> tuple[int, ...]:
    """Return the indices of the dummy atoms."""
    return tuple(match[0] for match in mol.GetSubstructMatches(_STAR))


def has_stereo(mol: Chem.Mol) -> bool:
    """Return whether any atom or double bond carries a configuration."""
    return any(atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED for atom in mol.GetAtoms()) or any(
        bond.GetStereo() in STEREO_BONDS for bond in mol.GetBonds()
    )


def attachment(mol: Chem.Mol, star: int) -> tuple[int, float]:
    """Return the atom bonded to a star and the order of the bond: 1, 2 or 3.

    Raises
    ------
    RepeatUnitError
        For any other kind of bond (aromatic, dative, quadruple).
    """
    bond = mol.GetAtomWithIdx(star).GetBonds()[0]
    order = _ORDERS.get(bond.GetBondType())
    if order is None:
        raise RepeatUnitError(
            "an attachment point has a bond that is not single, double or triple", reason="bond orders"
        )
    return bond.GetOtherAtomIdx(star), order


def _is_oxygen(mol: Chem.Mol, atom: int) -> bool:
    return bool(mol.GetAtomWithIdx(atom).GetAtomicNum() == 8)


def _wrong_count(count: int) -> RepeatUnitError:
    found = {0: "no attachment point", 1: "one attachment point"}.get(count, f"{count} attachment points")
    return RepeatUnitError(
        found,
        reason="attachment points",
        fix=f"a linear repeat unit has two, a ladder unit four; {_SPELLINGS}",
    )


def why_invalid(text: str) -> str:
    """Say why RDKit refuses a SMILES, as far as it tells."""
    with rdBase.BlockLogs():
        raw = Chem.MolFromSmiles(text, sanitize=False)
        if raw is None:
            return "not a valid SMILES"
        problems = [problem.Message() for problem in Chem.DetectChemistryProblems(raw)]
    return problems[0] if problems else "not a valid SMILES"
