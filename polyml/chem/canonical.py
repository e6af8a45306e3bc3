"""Canonical pSMILES: one text for one polymer.

A linear chain can be cut into units at any backbone bond that is in no ring (a bridge between the two attachment
points). Seen along the chain, these bonds divide the period into a cyclic word of segments. The canonical frame is the
cut at which this word, read in either direction, is smallest; where several cuts tie, the smallest canonical SMILES
among them decides, so the result never depends on how the unit was written. A word that repeats may mean a multiple of
a smaller unit; it is one exactly when the pieces are the same molecule in the same direction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors

from polyml.chem.repeat_unit import STEREO_BONDS, RepeatUnit

HEAD, TAIL = 1, 2  # isotope labels that tell the two ends of a cut unit apart
_LABELLED_STAR = re.compile(r"\[[12]\*\]")

Token = tuple[int, int, int]


@dataclass(frozen=True)
class Backbone:
    """The backbone of a linear unit and the bonds at which its chain may be cut.

    Attributes
    ----------
    path : tuple of int
        Atoms on a shortest path from the first attachment atom to the second; after the last follows the first one
        of the next unit.
    cuts : tuple of int
        ``i`` stands for the bond from ``path[i]`` to its successor; the last index is the bond across the period.
    forward, reverse : tuple of (int, int, int)
        For each cut the segment that follows it, as seen in and against the direction of the path: invariant of its
        first atom, number of bonds along the path, and a sum of the invariants of all its atoms, side groups included,
        those of a side group weighed by their depth.
    sizes : tuple of int
        Number of atoms of each of these segments.
    has_stereo : bool
        Whether configurations count, which the tokens do not show.
    """

    path: tuple[int, ...]
    cuts: tuple[int, ...]
    forward: tuple[Token, ...] = ((0, 0, 0),)
    reverse: tuple[Token, ...] = ((0, 0, 0),)
    sizes: tuple[int, ...] = (0,)
    has_stereo: bool = False

    @classmethod
    def of(cls, unit: RepeatUnit) -> Backbone:
        """Find the backbone of a unit with two attachment points."""
        mol = unit.mol
        path = tuple(Chem.GetShortestPath(mol, unit.stars[0], unit.stars[1]))[1:-1]
        last = len(path) - 1
        share_ring = mol.GetRingInfo().AreAtomsInSameRing
        matrix = Chem.GetAdjacencyMatrix(mol, useBO=True)
        orders = {i: matrix[a, b] for i, (a, b) in enumerate(pairwise(path)) if not share_ring(a, b)}
        if unit.has_stereo:
            for i in list(orders):
                if mol.GetBondBetweenAtoms(path[i], path[i + 1]).GetStereo() in STEREO_BONDS:
                    del orders[i]
        orders[last] = matrix[path[0], unit.stars[0]]
        lowest = min(orders.values())
        cuts = tuple(i for i, order in orders.items() if order == lowest)
        if len(cuts) == 1 or cuts[-1] != last:  # nothing to choose, or a unit that is moved to another frame first
            return cls(path, cuts)
        return cls(path, cuts, *_segments(unit, path, cuts, matrix), unit.has_stereo)

    def bond(self, cut: int) -> tuple[int, int]:
        """Return the two atoms of a cut, in the direction of the path."""
        return self.path[cut], self.path[(cut + 1) % len(self.path)]

    def best_cuts(self) -> list[int]:
        """Return positions in :attr:`cuts` where the cyclic word is smallest in either direction."""
        count = len(self.cuts)
        if count == 1:
            return [0]
        forward, reverse = self.forward * 2, self.reverse[::-1] * 2
        words = [(forward[i : i + count], i) for i in range(count)]
        mirrored = [(reverse[i : i + count], (count - i) % count) for i in range(count)]
        smallest = min(min(words), min(mirrored))[0]
        ahead = [position for word, position in words if word == smallest]
        back = [position for word, position in mirrored if word == smallest]
        if not self.has_stereo and len(ahead) == len(back) == 1 and self._is_mirror(ahead[0], back[0]):
            return [max(ahead[0], back[0])]  # one and the same text; the last cut is the unit as it was written
        return sorted({*ahead, *back})

    def _is_mirror(self, ahead: int, back: int) -> bool:
        """Return whether the chain read forward from one cut is certainly the chain read backward from the other.

        So it is when each segment meets either itself and starts and ends in one atom, or another single atom.
        """
        count = len(self.cuts)
        for k in range(count):
            i, j = (ahead + k) % count, (back - 1 - k) % count
            if not (self.forward[i][1] == 0 if i == j else self.sizes[i] == self.sizes[j] == 1):
                return False
        return True

    def periods(self) -> list[int]:
        """Return the numbers of segments after which the cyclic word repeats, smaller than the whole."""
        word = self.forward
        return [p for p in range(1, len(word)) if len(word) % p == 0 and word == word[p:] + word[:p]]


def _segments(
    unit: RepeatUnit, path: Sequence[int], cuts: Sequence[int], orders: np.ndarray
) -> tuple[tuple[Token, ...], tuple[Token, ...], tuple[int, ...]]:
    """Describe the segments between successive cuts, the last cut being the bond across the period."""
    invariants = rdMolDescriptors.GetConnectivityInvariants(unit.mol)
    starts = (0, *(cut + 1 for cut in cuts[:-1]))
    neighbours: list[list[int]] = [[] for _ in invariants]
    for i, j in zip(*(ends.tolist() for ends in orders.nonzero()), strict=True):
        neighbours[i].append(j)
    seen = {*path, *unit.stars}
    sums, sizes = [], []
    for start, end in zip(starts, cuts, strict=True):
        # Side groups, and rings that the path runs through, hang on the path atoms of their own segment. Depth tells
        # where in a side group an atom is; through a ring the path has a choice of sides, so there it tells nothing.
        layer, deeper = list(path[start : end + 1]), 2 if start == end else 0
        weight, total, size = 1, 0, 0
        while layer:
            total += weight * sum(invariants[i] for i in layer)
            size += len(layer)
            weight += deeper
            following = []
            for i in layer:
                for j in neighbours[i]:
                    if j not in seen:
                        seen.add(j)
                        following.append(j)
            layer = following
        sums.append(total)
        sizes.append(size)
    forward = [(invariants[path[i]], j - i, x) for i, j, x in zip(starts, cuts, sums, strict=True)]
    reverse = [(invariants[path[j]], j - i, x) for i, j, x in zip(starts, cuts, sums, strict=True)]
    # The segment behind the bond across the period comes first along the path and last in the order of cuts.
    return (*forward[1:], forward[0]), (*reverse[1:], reverse[0]), (*sizes[1:], sizes[0])


def canonical_psmiles(unit: RepeatUnit) -> str:
    """Return the canonical pSMILES of a unit (:attr:`RepeatUnit.key` is the cached form)."""
    if unit.is_ladder:
        from polyml.chem.ladder import canonical_ladder

        return canonical_ladder(unit)
    backbone = Backbone.of(unit)
    if backbone.cuts[-1] != len(backbone.path) - 1:
        # Written with a cut multiple bond although the chain has a lower one to cut: move there first.
        return canonical_psmiles(_moved(unit, backbone, backbone.cuts[0]))
    best = backbone.best_cuts()
    if len(best) > 1:
        smaller = _primitive(unit, backbone, best[0])
        if smaller is not None:
            return canonical_psmiles(smaller)
    if unit.has_stereo:
        return _settled(_stereo_text(unit, backbone, best))
    return min(Chem.MolToSmiles(frame(unit, backbone, backbone.cuts[i])) for i in best)


def _stereo_text(unit: RepeatUnit, backbone: Backbone, best: Sequence[int]) -> str:
    strings = [text for i in best for text in _stereo_smiles(stereo_frame(unit, backbone, backbone.cuts[i]))]
    return _LABELLED_STAR.sub("*", min(strings))


@lru_cache(maxsize=256)
def _settled(text: str) -> str:
    """Read a text with configurations anew until it stays the same; of a cycle take the smallest text.

    RDKit has several canonical SMILES for some symmetric cages.
    """
    seen: list[str] = []
    while text not in seen:
        seen.append(text)
        unit = RepeatUnit.parse(text)
        if not unit.has_stereo:
            return unit.key
        backbone = Backbone.of(unit)
        text = _stereo_text(unit, backbone, backbone.best_cuts())
    return min(seen[seen.index(text) :])


def multiplicity(unit: RepeatUnit) -> int:
    """Return how many primitive units the unit as written holds (2 for ``*CCOCCO*``).

    Examples
    --------
    >>> multiplicity(RepeatUnit.parse("*CCOCCO*"))
    2
    """
    return unit.n_atoms // RepeatUnit.parse(unit.key).n_atoms


def _moved(unit: RepeatUnit, backbone: Backbone, cut: int) -> RepeatUnit:
    """Return the unit in another frame, configurations kept."""
    if not unit.has_stereo:
        return RepeatUnit.from_mol(frame(unit, backbone, cut))
    return RepeatUnit.parse(_LABELLED_STAR.sub("*", _stereo_smiles(stereo_frame(unit, backbone, cut))[0]))


def frame(unit: RepeatUnit, backbone: Backbone, cut: int) -> Chem.Mol:
    """Return the unit cut at another bond, without stereochemistry; the given frame is returned as it is.

    The first star of the result is bonded to the atom behind the cut.
    """
    if cut == len(backbone.path) - 1:
        return unit.mol
    mol = Chem.RWMol(unit.mol)
    head, tail = unit.stars
    first, last = backbone.path[0], backbone.path[-1]
    left, right = backbone.bond(cut)
    crossing = mol.GetBondBetweenAtoms(first, head).GetBondType()
    order = mol.GetBondBetweenAtoms(left, right).GetBondType()
    mol.RemoveBond(left, right)
    mol.RemoveBond(first, head)
    mol.RemoveBond(last, tail)
    mol.AddBond(last, first, crossing)
    mol.AddBond(head, right, order)
    mol.AddBond(tail, left, order)
    if crossing != order:
        Chem.SanitizeMol(mol)
    else:
        mol.UpdatePropertyCache(strict=False)
    return mol


def stereo_frame(unit: RepeatUnit, backbone: Backbone, cut: int) -> Chem.Mol:
    """Return the unit cut at another bond with its configurations kept, stars labelled as head and tail.

    Two units are joined and the window between the two cuts is taken out; RDKit carries the configurations through
    both steps.
    """
    if cut == len(backbone.path) - 1:
        return _labelled(unit.mol, unit.stars, (HEAD, TAIL))
    joint = 9
    size = unit.mol.GetNumAtoms()
    parts = []
    for copy, labels in enumerate([(HEAD, joint), (joint, TAIL)]):
        part = _labelled(unit.mol, unit.stars, labels)
        for atom in part.GetAtoms():
            atom.SetIntProp("origin", atom.GetIdx() + copy * size)
        parts.append(part)
    params = Chem.MolzipParams()
    params.label = Chem.MolzipLabel.Isotope
    with rdBase.BlockLogs():  # RDKit warns of the two outer stars, which stay
        dimer = Chem.molzip(parts[0], parts[1], params)
    place = {atom.GetIntProp("origin"): atom.GetIdx() for atom in dimer.GetAtoms()}
    left, right = backbone.bond(cut)
    bonds = [(place[left + copy * size], place[right + copy * size]) for copy in (0, 1)]
    for piece in _cut(dimer, bonds, offset=10):
        if sorted(atom.GetIsotope() for atom in piece.GetAtoms() if not atom.GetAtomicNum()) == [10 + HEAD, 10 + TAIL]:
            for atom in piece.GetAtoms():
                if not atom.GetAtomicNum():
                    atom.SetIsotope(atom.GetIsotope() - 10)
            return piece
    raise AssertionError("a dimer cut at two equivalent bonds has one middle piece")


def _cut(mol: Chem.Mol, bonds: Sequence[tuple[int, int]], offset: int = 0) -> list[Chem.Mol]:
    """Cut bonds (left, right); the dummy on a right atom is labelled HEAD, that on a left atom TAIL, plus an offset."""
    numbers, labels = [], []
    for left, right in bonds:
        bond = mol.GetBondBetweenAtoms(left, right)
        numbers.append(bond.GetIdx())
        # RDKit's pair: the label of the dummy that stands for the begin atom, then that for the end atom.
        pair = (offset + HEAD, offset + TAIL)
        labels.append(pair if bond.GetBeginAtomIdx() == left else pair[::-1])
    pieces = Chem.FragmentOnBonds(mol, numbers, addDummies=True, dummyLabels=labels)
    return list(Chem.GetMolFrags(pieces, asMols=True, sanitizeFrags=False))


def _labelled(mol: Chem.Mol, stars: Sequence[int], labels: Sequence[int]) -> Chem.Mol:
    copy = Chem.Mol(mol)
    for star, label in zip(stars, labels, strict=True):
        copy.GetAtomWithIdx(star).SetIsotope(label)
    return copy


def _stereo_smiles(mol: Chem.Mol) -> list[str]:
    """Return the canonical SMILES of a labelled frame in both directions."""
    stars = [atom.GetIdx() for atom in mol.GetAtoms() if not atom.GetAtomicNum()]
    return [Chem.MolToSmiles(_labelled(mol, stars, labels)) for labels in ((HEAD, TAIL), (TAIL, HEAD))]


def _primitive(unit: RepeatUnit, backbone: Backbone, start: int) -> RepeatUnit | None:
    """Return the smallest unit of which the given one is a multiple, or None."""
    periods = backbone.periods()
    if not periods:
        return None
    stereo = unit.has_stereo
    make = stereo_frame if stereo else frame
    turned = make(unit, backbone, backbone.cuts[start])
    first, last = backbone.bond(backbone.cuts[start])[::-1]
    stars = tuple(atom.GetIdx() for atom in turned.GetAtoms() if not atom.GetAtomicNum())
    if stereo:
        # The window was renumbered: read it anew, in its own numbering.
        heads = {atom.GetIsotope(): atom.GetIdx() for atom in turned.GetAtoms() if not atom.GetAtomicNum()}
        stars = (heads[HEAD], heads[TAIL])
        path = tuple(Chem.GetShortestPath(turned, *stars))[1:-1]
    else:
        cut = backbone.cuts[start]
        path = backbone.path[cut + 1 :] + backbone.path[: cut + 1]
        assert (path[0], path[-1]) == (first, last)
        by_neighbour = {turned.GetAtomWithIdx(s).GetNeighbors()[0].GetIdx(): s for s in stars}
        stars = (by_neighbour[first], by_neighbour[last]) if len(path) > 1 else stars
    turned = _labelled(turned, stars, (HEAD, TAIL))
    offsets = [
        (backbone.cuts[(start + k) % len(backbone.cuts)] - backbone.cuts[start]) % len(path)
        for k in range(len(backbone.cuts))
    ]
    for period in periods:
        bonds = [(path[at - 1], path[at]) for at in offsets[period::period]]
        pieces = {Chem.MolToSmiles(piece) for piece in _cut(turned, bonds)}
        if stereo:
            # A configuration may be needless in a piece alone: only a text that was read again is canonical.
            pieces = {Chem.CanonSmiles(piece) for piece in pieces}
        if len(pieces) == 1:
            return RepeatUnit.parse(_LABELLED_STAR.sub("*", pieces.pop()))
    return None
