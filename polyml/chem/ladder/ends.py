"""The two ends of a ladder unit and the ways to join them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rdkit import Chem

from polyml.chem.repeat_unit import attachment, find_stars
from polyml.errors import RepeatUnitError

RING_SIZES = (5, 6, 7, 8)
"""Sizes of the ring that two ends of a ladder close where they meet; the four attachment points of a crosslink close
another one (four-membered rings are taken only between aromatic atoms)."""
_MAX_PATHS = 5000


def find_ends(mol: Chem.Mol) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the attachment points of the two ends.

    Raises
    ------
    RepeatUnitError
        With reason ``network``: there is no one way to pair the four by distance, an end does not sit on a ring, the
        ring closed between two units would not be a small one, or all four are saturated carbon atoms.
    """
    stars = find_stars(mol)
    if _all_saturated(mol, stars):  # most networks of a library; told without a search for paths
        raise _network()
    a, b, c, d = stars
    splits = [((a, b), (c, d)), ((a, c), (b, d)), ((a, d), (b, c))]
    lengths = [sum(len(Chem.GetShortestPath(mol, *pair)) - 1 for pair in split) for split in splits]
    closest = [split for split, length in zip(splits, lengths, strict=True) if length == min(lengths)]
    # Two ends that meet close a ring through the shortest paths between the attachment atoms of either.
    ring_size = min(lengths) - 2
    if len(closest) > 1 or not _is_ladder(mol, closest[0], ring_size):
        raise _network()
    head, tail = closest[0]
    return head, tail


def _network() -> RepeatUnitError:
    return RepeatUnitError(
        "four attachment points that are not the two ends of a ladder (a crosslink of a network)",
        reason="network",
        fix="a ladder unit has two attachment points at each end, on a ring, and closes a small ring with the next",
    )


def _all_saturated(mol: Chem.Mol, stars: Sequence[int]) -> bool:
    """Return whether all four are on saturated carbon: two C=C bonds that polymerised separately."""
    for star in stars:
        atom = mol.GetAtomWithIdx(attachment(mol, star)[0])
        if atom.GetAtomicNum() != 6 or atom.GetHybridization() != Chem.HybridizationType.SP3:
            return False
    return True


def _is_ladder(mol: Chem.Mol, ends: Sequence[tuple[int, int]], ring_size: int) -> bool:
    if ring_size not in RING_SIZES and ring_size != 4:
        return False
    atoms = [mol.GetAtomWithIdx(attachment(mol, star)[0]) for end in ends for star in end]
    if ring_size == 4 and not all(atom.GetIsAromatic() for atom in atoms):
        return False
    return all(_on_ring(mol, end) for end in ends)


def _on_ring(mol: Chem.Mol, pair: tuple[int, int]) -> bool:
    path = Chem.GetShortestPath(mol, *pair)[1:-1]
    if len(path) == 1:
        return bool(mol.GetAtomWithIdx(path[0]).IsInRing())
    return any(mol.GetBondBetweenAtoms(i, j).IsInRing() for i, j in pairwise(path))


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


def readings_as(mol: Chem.Mol, heads: Sequence[int], tails: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the readings of a frame's text, none if the text would be refused or taken to have other ends."""
    try:
        ends = {frozenset(end) for end in find_ends(mol)}
    except RepeatUnitError:
        return []
    return readings(mol, heads, tails) if ends == {frozenset(heads), frozenset(tails)} else []
