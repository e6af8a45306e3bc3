"""Ladder polymers."""

from __future__ import annotations

from rdkit import Chem

from polyml.chem.repeat_unit import RepeatUnit
from polyml.errors import RepeatUnitError


def read_ladder(psmiles: str, mol: Chem.Mol, stars: tuple[int, ...], stereo: bool) -> RepeatUnit:
    """Find the two ends of a unit with four attachment points."""
    raise RepeatUnitError("four attachment points are not supported yet", reason="attachment points")
