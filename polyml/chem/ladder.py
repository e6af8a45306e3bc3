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
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import numpy as np
from rdkit import Chem

from polyml.chem.repeat_unit import RepeatUnit, attachment
from polyml.errors import RepeatUnitError

AMBIGUOUS = "the text leaves open which attachment points of the two ends are joined; one of the isomers is taken"
CONJUGATED = "the ladder is aromatic throughout: the canonical form keeps the bonds at which the text cuts the chain"
_STEREO_DROPPED = "configurations are not kept in ladder polymers"
_MAX_ISOMERS = 32
_MAX_PATHS = 5000


def read_ladder(psmiles: str, mol: Chem.Mol, stars: tuple[int, ...], stereo: bool) -> RepeatUnit:
    """Read a unit with four attachment points.

    Raises
    ------
    RepeatUnitError
        With reason ``network`` when the four are not the two ends of a ladder.
    """
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


@lru_cache(maxsize=4096)
def _resolve(text: str) -> RepeatUnit:
    """Read a ladder written as SMILES into its canonical chain, with the key filled in."""
    mol = Chem.MolFromSmiles(text)
    head, tail = find_ends(mol)
    units = [_ladder_unit(mol, head, order) for order in readings(mol, head, tail)]
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
    return _with_key(chains[first], _strip(first), (AMBIGUOUS,) if len(chains) > 1 else ())


def _with_key(unit: RepeatUnit, key: str, notes: tuple[str, ...]) -> RepeatUnit:
    unit = replace(unit, notes=notes)
    unit.__dict__["key"] = key
    return unit


def _ladder_unit(mol: Chem.Mol, head: Sequence[int], tail: Sequence[int]) -> RepeatUnit:
    atoms = {star: attachment(mol, star)[0] for star in (*head, *tail)}
    partners = tuple(atoms[star] for star in (*tail, *head))
    return RepeatUnit(psmiles=Chem.MolToSmiles(mol), mol=mol, stars=(*head, *tail), partners=partners)


# --- the two ends and how they join ---


def find_ends(mol: Chem.Mol) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the attachment points of the two ends.

    Raises
    ------
    RepeatUnitError
        When there is no one way to pair the four by distance, or an end does not sit on a ring.
    """
    stars = tuple(atom.GetIdx() for atom in mol.GetAtoms() if not atom.GetAtomicNum())
    distance = Chem.GetDistanceMatrix(mol)
    a, b, c, d = stars
    splits = [((a, b), (c, d)), ((a, c), (b, d)), ((a, d), (b, c))]
    lengths = [sum(distance[pair] for pair in split) for split in splits]
    closest = [split for split, length in zip(splits, lengths, strict=True) if length == min(lengths)]
    if len(closest) > 1 or not all(_on_ring(mol, pair) for pair in closest[0]):
        raise RepeatUnitError(
            "four attachment points that are not the two ends of a ladder (a crosslink of a network)",
            reason="network",
            fix="a ladder unit has two attachment points at each end, each pair on a ring",
        )
    head, tail = closest[0]
    return head, tail


def _on_ring(mol: Chem.Mol, pair: tuple[int, int]) -> bool:
    path = Chem.GetShortestPath(mol, *pair)[1:-1]
    if len(path) == 1:
        return bool(mol.GetAtomWithIdx(path[0]).IsInRing())
    return any(mol.GetBondBetweenAtoms(i, j).IsInRing() for i, j in zip(path, path[1:], strict=False))


def readings(mol: Chem.Mol, head: Sequence[int], tail: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the orders of the tail's attachment points, one or two, in which they may join the head's."""
    orders = [tuple(tail), tuple(tail[::-1])]
    atom = {star: attachment(mol, star)[0] for star in (*head, *tail)}

    def hetero_bonds(order: Sequence[int]) -> int:
        pairs = zip(head, order, strict=True)
        return sum(all(mol.GetAtomWithIdx(atom[s]).GetAtomicNum() != 6 for s in pair) for pair in pairs)

    fewest = min(map(hetero_bonds, orders))
    orders = [order for order in orders if hetero_bonds(order) == fewest]
    if len(orders) == 2:
        graph = [[n.GetIdx() for n in a.GetNeighbors() if n.GetAtomicNum()] for a in mol.GetAtoms()]
        ends = [atom[star] for star in head]
        apart = [order for order in orders if _disjoint(graph, ends, [atom[star] for star in order])]
        orders = apart or orders
    return orders


def _disjoint(graph: list[list[int]], starts: Sequence[int], goals: Sequence[int]) -> bool:
    """Return whether paths start 0 to goal 0 and start 1 to goal 1 exist that share no atom."""
    if any(not _connected(graph, starts, goals, without={atom}) for atom in range(len(graph))):
        return False  # one atom carries the whole ladder (a spiro centre): both rails meet in it
    ends = (starts[1], goals[1])
    for count, path in enumerate(_paths(graph, starts[0], goals[0], set(ends))):
        if _connected(graph, ends[:1], ends[1:], without=path):
            return True
        if count > _MAX_PATHS:
            return False
    return False


def _paths(graph: list[list[int]], start: int, goal: int, avoid: set[int]) -> Iterator[set[int]]:
    if start in avoid or goal in avoid:
        return
    stack = [(start, frozenset((start,)))]
    while stack:
        atom, path = stack.pop()
        if atom == goal:
            yield set(path)
            continue
        stack.extend((n, path | {n}) for n in graph[atom] if n not in path and n not in avoid)


def _connected(graph: list[list[int]], starts: Sequence[int], goals: Sequence[int], without: set[int]) -> bool:
    """Return whether any start reaches any goal on atoms other than those left out."""
    seen = set(starts) - without
    stack = list(seen)
    while stack:
        atom = stack.pop()
        if atom in goals:
            return True
        fresh = [n for n in graph[atom] if n not in seen and n not in without]
        seen.update(fresh)
        stack.extend(fresh)
    return False


# --- frames of a chain ---


@dataclass(frozen=True)
class _Frame:
    """A way to cut the chain into units: cut bonds (left atom, right atom) and the period each atom is taken from."""

    cuts: tuple[tuple[int, int], ...]
    period: tuple[int, ...]


@dataclass(frozen=True)
class _Chain:
    """Five joined units and the bonds of one period: (atom, atom, periods crossed, may be cut)."""

    mol: Chem.Mol
    size: int
    place: dict[tuple[int, int], int]
    bonds: tuple[tuple[int, int, int, bool], ...]

    @classmethod
    def of(cls, unit: RepeatUnit) -> _Chain:
        from polyml.chem.periodic import join

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
            ends = [where.get(bond.GetBeginAtomIdx()), where.get(bond.GetEndAtomIdx())]
            if None in ends:
                continue
            (copy, i), (other, j) = ends
            if copy != 2:
                (copy, i), (other, j) = (other, j), (copy, i)
            # Every bond that touches the middle unit once: inner ones, and of the crossing ones those that go on.
            if copy == 2 and other >= 2:
                bonds.append((i, j, other - 2, _always_single(aromatic.GetBondWithIdx(bond.GetIdx()), bond)))
        return cls(mol=mol, size=size, place=place, bonds=tuple(bonds))

    def frames(self, count: int) -> Iterator[_Frame]:
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
                yield _Frame(cuts=tuple(c for c in crossings if c), period=period)

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

    def window(self, frame: _Frame) -> tuple[Chem.Mol, list[int], list[int]] | None:
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
            found = {atom.GetIsotope(): atom.GetIdx() for atom in piece.GetAtoms() if not atom.GetAtomicNum()}
            heads = [found.get(10 + k) for k in range(len(frame.cuts))]
            tails = [found.get(20 + k) for k in range(len(frame.cuts))]
            if None in heads or None in tails or piece.GetNumAtoms() != self.size + len(heads) + len(tails):
                continue
            return piece, [h for h in heads if h is not None], [t for t in tails if t is not None]
        return None


def _always_single(bond: Chem.Bond, kekule: Chem.Bond) -> bool:
    """Return whether a bond is single in every Kekulé form.

    Within an aromatic ring these are the bonds of atoms that take no double bond of the ring: an ether oxygen, a
    substituted nitrogen, a carbonyl carbon.
    """
    if kekule.GetBondType() != Chem.BondType.SINGLE:
        return False
    if not bond.GetIsAromatic():
        return True
    return any(
        not any(b.GetBondType() == Chem.BondType.DOUBLE and b.IsInRing() for b in atom.GetBonds())
        for atom in (kekule.GetBeginAtom(), kekule.GetEndAtom())
    )


def _as_linear(unit: RepeatUnit) -> RepeatUnit | None:
    """Return the unit cut at one single bond, or None if the chain has none."""
    chain = _Chain.of(unit)
    for frame in chain.frames(1):
        window = chain.window(frame)
        if window is not None:
            mol, (head,), (tail,) = window
            _label(mol, {head: 0, tail: 0})
            return RepeatUnit.parse(Chem.MolToSmiles(mol))
    return None


# --- the canonical chain ---


def _isomers(units: Sequence[RepeatUnit]) -> dict[str, RepeatUnit]:
    """Return every chain that some text of one of the given chains can stand for, by its canonical labelled text.

    Starting from a chain, each frame is written down and read again; where the reading is open, the other isomer
    joins the set.
    """
    smallest: dict[str, RepeatUnit] = {}
    for unit in units:
        found = _canonical_chain(unit)
        if found:
            smallest.setdefault(*found)
    if not smallest:
        return {}
    # Of two readings one of which repeats a smaller unit, the smaller unit is meant.
    least = min(unit.n_atoms for unit in smallest.values())
    todo = [unit for unit in smallest.values() if unit.n_atoms == least]
    chains: dict[str, RepeatUnit] = {}
    seen: set[bytes] = set()
    while todo and len(chains) < _MAX_ISOMERS:
        unit = todo.pop()
        mark = _fingerprint(unit)
        if mark in seen:
            continue
        seen.add(mark)
        found = _canonical_chain(unit)
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
    chain = _Chain.of(unit)
    for frame in chain.frames(2):
        window = chain.window(frame)
        if window is None:
            continue
        mol, heads, tails = window
        clean = _sanitised(mol, (*heads, *tails))
        if clean is not None and len(_readings_as(clean, heads, tails)) == 2:
            yield _ladder_unit(clean, heads, tails[::-1])


def _readings_as(mol: Chem.Mol, heads: Sequence[int], tails: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the readings of a frame's text, none if the text would be refused or taken to have other ends."""
    try:
        ends = {frozenset(end) for end in find_ends(mol)}
    except RepeatUnitError:
        return []
    return readings(mol, heads, tails) if ends == {frozenset(heads), frozenset(tails)} else []


def _fingerprint(unit: RepeatUnit) -> bytes:
    """Return a mark that is the same for the same chain and almost never for another."""
    from polyml.chem.periodic import PeriodicBatch

    layer = PeriodicBatch.of([unit]).morgan(12)[-1]
    return np.sort(layer).tobytes()


def _canonical_chain(unit: RepeatUnit) -> tuple[str, RepeatUnit] | None:
    """Return the smallest labelled text over all frames of a chain, reduced to its primitive unit, and that unit."""
    smaller = _primitive(unit)
    if smaller is not None:
        return _canonical_chain(smaller)
    chain = _Chain.of(unit)
    best: tuple[str, Chem.Mol, list[int], list[int]] | None = None
    for frame in chain.frames(2):
        window = chain.window(frame)
        if window is None:
            continue
        mol, heads, tails = window
        clean = _sanitised(mol, (*heads, *tails))
        if clean is None or tuple(tails) not in _readings_as(clean, heads, tails):
            continue
        text = _labelled_text(clean, heads, tails)
        if best is None or text < best[0]:
            best = (text, clean, heads, tails)
    if best is None:
        return None
    text, mol, heads, tails = best
    return text, _ladder_unit(mol, heads, tails)


def _sanitised(mol: Chem.Mol, stars: Sequence[int]) -> Chem.Mol | None:
    """Return the piece as it would be read from text, numbered alike, or None if it cannot be."""
    clean = Chem.RWMol(mol)
    _label(clean, dict.fromkeys(stars, 0))
    try:
        Chem.SanitizeMol(clean)
    except (Chem.KekulizeException, Chem.AtomValenceException):
        return None
    return clean.GetMol()


def _labelled_text(mol: Chem.Mol, heads: Sequence[int], tails: Sequence[int]) -> str:
    """Return the canonical SMILES with labelled stars, the smallest over both directions and both orders of rails."""
    texts = []
    for first, second in ((heads, tails), (tails, heads)):
        for a, b in ((0, 1), (1, 0)):
            copy = Chem.Mol(mol)
            _label(copy, {first[a]: 1, first[b]: 2, second[a]: 3, second[b]: 4})
            texts.append(Chem.MolToSmiles(copy))
    return min(texts)


def _plain_key(unit: RepeatUnit) -> str:
    return _strip(_labelled_text(unit.mol, unit.stars[:2], unit.stars[2:]))


def _label(mol: Chem.Mol, labels: dict[int, int]) -> None:
    for star, label in labels.items():
        mol.GetAtomWithIdx(star).SetIsotope(label)


def _strip(text: str) -> str:
    for label in "1234":
        text = text.replace(f"[{label}*]", "*")
    return text


def _primitive(unit: RepeatUnit) -> RepeatUnit | None:
    """Return the smallest unit of which the given ladder unit is a multiple, or None."""
    from polyml.chem.periodic import PeriodicBatch

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
    from polyml.chem.periodic import join

    heads, tails = unit.stars[:2], unit.stars[2:]
    target = _labelled_text(unit.mol, heads, tails)
    size = unit.n_atoms // times
    kekule = Chem.Mol(unit.mol)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    free = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        for bond in kekule.GetBonds()
        if bond.GetBeginAtom().GetAtomicNum()
        and bond.GetEndAtom().GetAtomicNum()
        and _always_single(unit.mol.GetBondWithIdx(bond.GetIdx()), bond)
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
        clean = _sanitised(piece, (*new_heads, *new_tails))
        if clean is None:
            continue
        for order in (new_tails, new_tails[::-1]):
            candidate = _ladder_unit(clean, new_heads, order)
            chain, _, ends = join(candidate, times)
            if _labelled_text(chain, ends[:2], ends[2:]) == target:
                return candidate
    return None
