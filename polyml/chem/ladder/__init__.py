"""Ladder polymers: neighbouring units share two bonds, so a unit has four attachment points, two at each end.

The text does not say which attachment points belong together. The two of one end are the ones close to each other;
each end must sit on a ring, or the unit is a crosslink of a network and no ladder. Of the two ways to join the ends the
one is read whose two rails run side by side through the unit without meeting, and that makes no bond between two
heteroatoms. Where both ways remain (a spiro atom lets the ladder turn over) the text stands for either: the unit
carries a note, and one and the same chain is taken for every text that can stand for it.

A ladder that has a single bond to cut somewhere (a biphenyl in every unit, say) is at the same time a linear polymer;
it becomes the linear unit, cut there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from rdkit import Chem

from polyml.chem.ladder.chain import Chain, canonical_chain, label, labelled_text, ladder_unit, sanitised, strip_labels
from polyml.chem.ladder.ends import find_ends, readings, readings_as
from polyml.chem.periodic import PeriodicBatch
from polyml.chem.repeat_unit import RepeatUnit, attachment
from polyml.errors import RepeatUnitError

AMBIGUOUS = "the text leaves open which attachment points of the two ends are joined; one of the isomers is taken"
CONJUGATED = "no bonds of the ladder are single in every Kekulé form: the canonical form keeps the cuts of the text"
_STEREO_DROPPED = "configurations are not kept in ladder polymers"
_MAX_ISOMERS = 32


def read_ladder(psmiles: str, mol: Chem.Mol, stars: tuple[int, ...], stereo: bool) -> RepeatUnit:
    """Read a unit with four attachment points.

    Raises
    ------
    RepeatUnitError
        With reason ``network`` when the four are not the two ends of a ladder.
    """
    find_ends(mol)  # refuses crosslinks before any work is done
    notes: tuple[str, ...] = ()
    if stereo:
        mol = Chem.Mol(mol)
        Chem.RemoveStereochemistry(mol)
        notes = (_STEREO_DROPPED,)
    if any(order != 1.0 for _, order in (attachment(mol, star) for star in stars)):
        raise RepeatUnitError(
            "a ladder's attachment points must have single bonds", reason="bond orders", fix="cut the ladder elsewhere"
        )
    unit = _resolve(Chem.MolToSmiles(mol))
    # The canonical chain stands for the text; the text itself is kept as it was given.
    resolved = replace(unit, psmiles=psmiles, notes=notes + unit.notes)
    resolved.__dict__["key"] = unit.key
    return resolved


def canonical_ladder(unit: RepeatUnit) -> str:
    """Return the canonical pSMILES of a ladder unit."""
    return _resolve(Chem.MolToSmiles(unit.mol)).key


@lru_cache(maxsize=512)  # twenty KiB each
def _resolve(text: str) -> RepeatUnit:
    """Read a ladder written as SMILES into its canonical chain, with the key filled in."""
    mol = Chem.MolFromSmiles(text)
    head, tail = find_ends(mol)
    units = [ladder_unit(mol, head, order) for order in readings(mol, head, tail)]
    linear = [unit for unit in map(_as_linear, units) if unit is not None]
    if linear:
        best = min(linear, key=lambda unit: unit.key)
        open_pairing = len({unit.key for unit in linear}) > 1
        return _with_key(best, best.key, (AMBIGUOUS,) if open_pairing else ())
    chains = _isomers(units)
    if not chains:
        plain = [_plain_key(unit) for unit in units]
        return _with_key(units[plain.index(min(plain))], min(plain), (CONJUGATED,))
    first = min(chains)
    return _with_key(chains[first], strip_labels(first), (AMBIGUOUS,) if len(chains) > 1 else ())


def _with_key(unit: RepeatUnit, key: str, notes: tuple[str, ...]) -> RepeatUnit:
    unit = replace(unit, notes=notes)
    unit.__dict__["key"] = key
    return unit


def _plain_key(unit: RepeatUnit) -> str:
    return strip_labels(labelled_text(unit.mol, unit.stars[:2], unit.stars[2:]))


def _as_linear(unit: RepeatUnit) -> RepeatUnit | None:
    """Return the unit cut at one single bond, or None if the chain has none."""
    chain = Chain.of(unit)
    for frame in chain.frames(1):
        window = chain.window(frame)
        if window is not None:
            mol, (head,), (tail,) = window
            label(mol, {head: 0, tail: 0})
            return RepeatUnit.parse(Chem.MolToSmiles(mol))
    return None


def _isomers(units: Sequence[RepeatUnit]) -> dict[str, RepeatUnit]:
    """Return every chain that some text of one of the given chains can stand for, by its canonical labelled text.

    Starting from a chain, each frame is written down and read again; where the reading is open, the other isomer
    joins the set.
    """
    smallest: dict[str, RepeatUnit] = {}
    for unit in units:
        found = canonical_chain(unit)
        if found:
            smallest.setdefault(*found)
    if not smallest:
        return {}
    # Of two readings one of which repeats a smaller unit, the smaller unit is meant.
    least = min(unit.n_atoms for unit in smallest.values())
    todo = [unit for unit in smallest.values() if unit.n_atoms == least]
    known = {id(unit): (text, unit) for text, unit in smallest.items()}  # finding the canonical chain is the slow step
    chains: dict[str, RepeatUnit] = {}
    seen: set[bytes] = set()
    while todo and len(chains) < _MAX_ISOMERS:
        unit = todo.pop()
        mark = _fingerprint(unit)
        if mark in seen:
            continue
        seen.add(mark)
        found = known.get(id(unit)) or canonical_chain(unit)
        if found is None:
            continue
        text, best = found
        if text in chains or best.n_atoms < least:
            continue
        chains[text] = best
        todo.extend(_open_readings(best))
    return chains


def _open_readings(unit: RepeatUnit) -> Iterator[RepeatUnit]:
    """Yield the other reading of every frame of a chain that can be read in two ways."""
    chain = Chain.of(unit)
    for frame in chain.frames(2):
        window = chain.window(frame)
        if window is None:
            continue
        mol, heads, tails = window
        clean = sanitised(mol, (*heads, *tails))
        if clean is not None and len(readings_as(clean, heads, tails)) == 2:
            yield ladder_unit(clean, heads, tails[::-1])


def _fingerprint(unit: RepeatUnit) -> bytes:
    """Return a mark that is the same for the same chain and almost never for another."""
    layer = PeriodicBatch.of([unit]).morgan(12)[-1]
    return np.sort(layer).tobytes()
