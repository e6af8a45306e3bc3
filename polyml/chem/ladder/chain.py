"""The chain of a ladder polymer: its frames, its smallest unit, its canonical labelled text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from rdkit import Chem, rdBase

from polyml.chem.ladder.ends import readings_as
from polyml.chem.periodic import PeriodicBatch, join
from polyml.chem.repeat_unit import RepeatUnit, attachment


def ladder_unit(mol: Chem.Mol, head: Sequence[int], tail: Sequence[int]) -> RepeatUnit:
    """Build a ladder unit whose head's attachment points meet the tail's in the order given."""
    atoms = {star: attachment(mol, star)[0] for star in (*head, *tail)}
    partners = tuple(atoms[star] for star in (*tail, *head))
    return RepeatUnit(psmiles=Chem.MolToSmiles(mol), mol=mol, stars=(*head, *tail), partners=partners)


@dataclass(frozen=True)
class Frame:
    """A way to cut the chain into units: cut bonds (left atom, right atom) and the period each atom is taken from."""

    cuts: tuple[tuple[int, int], ...]
    period: tuple[int, ...]


@dataclass(frozen=True)
class Chain:
    """Five joined units and the bonds of one period: (atom, atom, periods crossed, may be cut)."""

    mol: Chem.Mol
    size: int
    place: dict[tuple[int, int], int]
    bonds: tuple[tuple[int, int, int, bool], ...]

    @classmethod
    def of(cls, unit: RepeatUnit) -> Chain:
        """Join five units: a frame may span three, and its cut bonds lead one further on each side."""
        aromatic, home, _ = join(unit, 5)
        # Frames are cut from a Kekulé form, so that a piece of an aromatic system can be read on its own.
        mol = Chem.Mol(aromatic)
        Chem.Kekulize(mol, clearAromaticFlags=True)
        size = unit.n_atoms
        inner = np.flatnonzero(home >= 0).tolist()
        place = {(i // size, int(home[atom])): atom for i, atom in enumerate(inner)}
        where = {atom: spot for spot, atom in place.items()}
        bonds = []
        for bond in mol.GetBonds():
            if bond.GetBeginAtomIdx() not in where or bond.GetEndAtomIdx() not in where:
                continue
            (copy, i), (other, j) = where[bond.GetBeginAtomIdx()], where[bond.GetEndAtomIdx()]
            if copy != 2:
                (copy, i), (other, j) = (other, j), (copy, i)
            # Every bond that touches the middle unit once: inner ones, and of the crossing ones those that go on.
            if copy == 2 and other >= 2:
                bonds.append((i, j, other - 2, _always_single(aromatic, bond)))
        return cls(mol=mol, size=size, place=place, bonds=tuple(bonds))

    def frames(self, count: int) -> Iterator[Frame]:
        """Yield every frame that cuts ``count`` single bonds a period."""
        neighbours: list[list[tuple[int, int, int]]] = [[] for _ in range(self.size)]
        for number, (i, j, step, _) in enumerate(self.bonds):
            neighbours[i].append((j, step, number))
            neighbours[j].append((i, -step, number))
        free = [number for number, bond in enumerate(self.bonds) if bond[3]]
        for cut in combinations(free, count):
            period = self._periods(neighbours, cut)
            if period is None or max(period) - min(period) > 2:
                continue
            lowest = min(period)
            period = tuple(p - lowest for p in period)
            crossings = []
            for number in cut:
                i, j, step, _ = self.bonds[number]
                step += period[i] - period[j]
                crossings.append((i, j) if step == 1 else (j, i) if step == -1 else None)
            if None not in crossings:
                yield Frame(cuts=tuple(c for c in crossings if c), period=period)

    def _periods(self, neighbours: list[list[tuple[int, int, int]]], cut: Sequence[int]) -> tuple[int, ...] | None:
        """Return the period of each atom when all bonds but the cut ones stay whole, or None if they cannot."""
        period = {0: 0}
        stack = [0]
        while stack:
            i = stack.pop()
            for j, step, number in neighbours[i]:
                if number in cut:
                    continue
                if j not in period:
                    period[j] = period[i] + step
                    stack.append(j)
                elif period[j] != period[i] + step:
                    return None
        return tuple(period[i] for i in range(self.size)) if len(period) == self.size else None

    def window(self, frame: Frame) -> tuple[Chem.Mol, list[int], list[int]] | None:
        """Cut one unit out of the middle; return it with its head and tail stars, in the order of the cuts."""
        base = 1 if max(frame.period) > 1 else 2
        numbers, labels = [], []
        for k, (left, right) in enumerate(frame.cuts):
            for copy, head_star, tail_star in ((0, 10 + k, 90), (1, 90, 20 + k)):
                at = self.place.get((base + frame.period[left] + copy - 1, left))
                to = self.place.get((base + frame.period[right] + copy, right))
                bond = None if at is None or to is None else self.mol.GetBondBetweenAtoms(at, to)
                if bond is None:
                    return None
                numbers.append(bond.GetIdx())
                pair = (head_star, tail_star)
                labels.append(pair if bond.GetBeginAtomIdx() == at else pair[::-1])
        pieces = Chem.FragmentOnBonds(self.mol, numbers, addDummies=True, dummyLabels=labels)
        for piece in Chem.GetMolFrags(pieces, asMols=True, sanitizeFrags=False):
            if piece.GetNumAtoms() != self.size + 2 * len(frame.cuts):
                continue
            found = {atom.GetIsotope(): atom.GetIdx() for atom in piece.GetAtoms() if not atom.GetAtomicNum()}
            heads = [found.get(10 + k) for k in range(len(frame.cuts))]
            tails = [found.get(20 + k) for k in range(len(frame.cuts))]
            if None in heads or None in tails:
                continue
            return piece, [h for h in heads if h is not None], [t for t in tails if t is not None]
        return None


def _always_single(aromatic: Chem.Mol, kekule: Chem.Bond) -> bool:
    """Return whether a bond is single in every Kekulé form of a molecule; ``kekule`` is that bond in one of them."""
    if kekule.GetBondType() != Chem.BondType.SINGLE:
        return False
    number = kekule.GetIdx()
    if not aromatic.GetBondWithIdx(number).GetIsAromatic():
        return True
    # Atoms that take no double bond of the ring: an ether oxygen, a substituted nitrogen, a carbonyl carbon.
    if any(
        not any(b.GetBondType() == Chem.BondType.DOUBLE and b.IsInRing() for b in atom.GetBonds())
        for atom in (kekule.GetBeginAtom(), kekule.GetEndAtom())
    ):
        return True
    # Between two others the rest of the system may still forbid the double bond (BBL, aromatic throughout).
    trial = Chem.RWMol(aromatic)
    bond = trial.GetBondWithIdx(number)
    bond.SetBondType(Chem.BondType.DOUBLE)
    bond.SetIsAromatic(False)
    with rdBase.BlockLogs():
        try:
            Chem.Kekulize(trial, clearAromaticFlags=True)
        except Chem.KekulizeException:
            return True
    return False


Candidate = tuple[str, RepeatUnit]


def canonical_chain(unit: RepeatUnit) -> Candidate | None:
    """Return the smallest labelled text over all frames of a chain, reduced to its primitive unit, and that unit."""
    smaller = _primitive(unit)
    if smaller is not None:
        return canonical_chain(smaller)
    found, mirrored = _smallest_text(unit)
    if found is not None and mirrored is not None:
        # A chain whose rails are mirror images repeats by a translation and by a translation that swaps them.
        other, _ = _smallest_text(mirrored, either_pairing=True)
        found = min(found, other or found, key=lambda candidate: candidate[0])
    return found


def _smallest_text(unit: RepeatUnit, *, either_pairing: bool = False) -> tuple[Candidate | None, RepeatUnit | None]:
    """Return the smallest labelled text of a chain with its unit, and a mirror-symmetric unit joined the other way."""
    chain = Chain.of(unit)
    best: tuple[str, Chem.Mol, list[int], list[int]] | None = None
    mirrored = None
    for frame in chain.frames(2):
        window = chain.window(frame)
        if window is None:
            continue
        mol, heads, tails = window
        clean = sanitised(mol, (*heads, *tails))
        orders = readings_as(clean, heads, tails) if clean is not None else []
        if clean is None or not (tuple(tails) in orders or (either_pairing and orders)):
            continue
        text, symmetric = labelled_text(clean, heads, tails), _swaps_rails(clean, heads, tails)
        if best is None or text < best[0]:
            best = (text, clean, heads, tails)
        if symmetric and mirrored is None:
            mirrored = ladder_unit(clean, heads, tails[::-1])
    if best is None:
        return None, None
    text, mol, heads, tails = best
    return (text, ladder_unit(mol, heads, tails)), mirrored


def _swaps_rails(mol: Chem.Mol, heads: Sequence[int], tails: Sequence[int]) -> bool:
    """Return whether a unit is its own image when its two rails change places."""
    texts = set()
    for a, b in ((0, 1), (1, 0)):
        copy = Chem.Mol(mol)
        label(copy, {heads[a]: 1, heads[b]: 2, tails[a]: 3, tails[b]: 4})
        texts.add(Chem.MolToSmiles(copy))
    return len(texts) == 1


def sanitised(mol: Chem.Mol, stars: Sequence[int]) -> Chem.Mol | None:
    """Return the piece as it would be read from text, numbered alike, or None if it cannot be."""
    clean = Chem.RWMol(mol)
    label(clean, dict.fromkeys(stars, 0))
    try:
        Chem.SanitizeMol(clean)
    except (Chem.KekulizeException, Chem.AtomValenceException):
        return None
    return clean.GetMol()


def labelled_text(mol: Chem.Mol, heads: Sequence[int], tails: Sequence[int]) -> str:
    """Return the canonical SMILES with labelled stars, the smallest over both directions and both orders of rails."""
    texts = []
    for first, second in ((heads, tails), (tails, heads)):
        for a, b in ((0, 1), (1, 0)):
            copy = Chem.Mol(mol)
            label(copy, {first[a]: 1, first[b]: 2, second[a]: 3, second[b]: 4})
            texts.append(Chem.MolToSmiles(copy))
    return min(texts)


def label(mol: Chem.Mol, labels: dict[int, int]) -> None:
    """Give stars their isotope labels, in place."""
    for star, number in labels.items():
        mol.GetAtomWithIdx(star).SetIsotope(number)


def strip_labels(text: str) -> str:
    """Take the labels off the stars of a SMILES."""
    for number in "1234":
        text = text.replace(f"[{number}*]", "*")
    return text


def _primitive(unit: RepeatUnit) -> RepeatUnit | None:
    """Return the smallest unit of which the given ladder unit is a multiple, or None."""
    counts = np.unique(PeriodicBatch.of([unit]).morgan(12)[-1], return_counts=True)[1]
    shared = int(np.gcd.reduce(counts))
    for times in range(shared, 1, -1):
        if shared % times == 0:
            piece = _nth(unit, times)
            if piece is not None:
                return piece
    return None


def _nth(unit: RepeatUnit, times: int) -> RepeatUnit | None:
    """Return a piece of the unit that gives the unit's chain when joined ``times`` over, or None."""
    heads, tails = unit.stars[:2], unit.stars[2:]
    target = labelled_text(unit.mol, heads, tails)
    size = unit.n_atoms // times
    kekule = Chem.Mol(unit.mol)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    free = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        for bond in kekule.GetBonds()
        if bond.GetBeginAtom().GetAtomicNum() and bond.GetEndAtom().GetAtomicNum() and _always_single(unit.mol, bond)
    ]
    for cut in combinations(free, 2):
        numbers = [kekule.GetBondBetweenAtoms(*bond).GetIdx() for bond in cut]
        pieces = Chem.FragmentOnBonds(kekule, numbers, addDummies=True, dummyLabels=[(0, 0), (0, 0)])
        groups = Chem.GetMolFrags(pieces)
        group = next((g for g in groups if set(heads) <= set(g)), None)
        if group is None or len(group) != size + 4 or set(tails) & set(group):
            continue
        piece = next(
            m
            for m, g in zip(Chem.GetMolFrags(pieces, asMols=True, sanitizeFrags=False), groups, strict=True)
            if g == group
        )
        new_heads = [group.index(star) for star in heads]
        new_tails = [
            atom.GetIdx() for atom in piece.GetAtoms() if not atom.GetAtomicNum() and atom.GetIdx() not in new_heads
        ]
        clean = sanitised(piece, (*new_heads, *new_tails))
        if clean is None:
            continue
        for order in (new_tails, new_tails[::-1]):
            candidate = ladder_unit(clean, new_heads, order)
            chain, _, ends = join(candidate, times)
            if labelled_text(chain, ends[:2], ends[2:]) == target:
                return candidate
    return None
