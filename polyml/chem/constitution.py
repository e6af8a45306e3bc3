r"""Constitutions: which atoms are bonded to which, whatever their configurations (R/S, E/Z)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rdkit import Chem

from polyml.chem.repeat_unit import RepeatUnit

_MARKS = "@/\\"


def without_configurations(unit: RepeatUnit) -> RepeatUnit:
    """Return a unit with its configurations taken away."""
    if not unit.has_stereo:
        return unit
    mol = Chem.Mol(unit.mol)
    Chem.RemoveStereochemistry(mol)
    return RepeatUnit.from_mol(mol, unit.stars, stereo=False)


@lru_cache(maxsize=100_000)
def constitution(psmiles: str) -> str:
    r"""Return the key of a polymer with its configurations taken away.

    Examples
    --------
    >>> constitution("*C/C=C/C*") == constitution(r"*C/C=C\C*") == constitution("*CC=CC*")
    True
    """
    return without_configurations(RepeatUnit.parse(psmiles)).key


def constitution_of_key(key: str) -> str:
    """Return :func:`constitution` of a canonical key, at no cost where it has no configurations."""
    return constitution(key) if any(mark in key for mark in _MARKS) else key


def constitution_names(keys: Sequence[str]) -> list[str]:
    r"""Return a name of the constitution of each polymer: the first of the keys here that share it.

    No feature reads configurations, so that to a model polymers of one constitution are repeats of one another; folds
    keep them on one side. Polymers without such a twin keep their key.

    Parameters
    ----------
    keys : sequence of str
        Canonical keys (:attr:`RepeatUnit.key`).

    Examples
    --------
    >>> from polyml.chem import canonicalize
    >>> cis, trans, other = (canonicalize(text) for text in (r"*C/C=C\C*", "*C/C=C/C*", "*C/C=C/CO*"))
    >>> names = constitution_names([trans, other, cis])
    >>> names == [min(cis, trans), other, min(cis, trans)]
    True
    """
    plain = [constitution_of_key(key) for key in keys]
    first: dict[str, str] = {}
    for key, name in sorted(zip(keys, plain, strict=True)):
        first.setdefault(name, key)
    return [first[name] for name in plain]
