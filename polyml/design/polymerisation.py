"""Candidates that can be made: every rule on every pair of monomers, a block at a time.

Nothing is held but the monomers and their halves: pairs are counted beforehand and made as they are asked for, so that
a list of ten thousand monomers gives tens of millions of candidates in constant memory. The order is that of the rules,
then of the monomers in their file, whatever the number of processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from rdkit import Chem

from polyml.chem import RepeatUnit
from polyml.design.halves import Half, halves, join
from polyml.design.reactions import copolymers, homopolymers
from polyml.design.rules import Rule, rules_for
from polyml.errors import RepeatUnitError, UserError

SAME_POLYMER = "same polymer from the same monomers"
NO_PRODUCT = "no product"
_BLOCK = 200  # pairs at a time: a tenth of a second
_MOLS = 512  # parsed monomers that are kept: most are needed once, for their halves


@dataclass(frozen=True)
class CandidateSpec:
    """What to make.

    Attributes
    ----------
    classes : tuple of str or None
        Polymer classes; all when None.
    homopolymers : bool
        Also those of a single monomer.
    raw : bool
        Keep every product of the rules: what polyml cannot read, and other spellings of a polymer of the same monomers.
    unique : bool
        Keep the first candidate of each polymer.
    limit, per_class : int or None
        Rows to write at most, altogether and of each polymer class.
    """

    classes: tuple[str, ...] | None = None
    homopolymers: bool = True
    raw: bool = False
    unique: bool = False
    limit: int | None = None
    per_class: int | None = None

    def __post_init__(self) -> None:
        if self.raw and self.unique:
            what = "what polyml cannot read has no canonical form to be unique by"
            raise UserError(what, where="--raw --unique", fix="leave one of them out")


class Block(NamedTuple):
    """A rule, one monomer, and some it is tried with; of a rule for one monomer, some monomers (``first`` is -1)."""

    rule: int
    first: int
    others: tuple[int, ...]


class Row(NamedTuple):
    """A candidate: its text, the places of its monomers (-1: none), and its canonical form where it is needed."""

    psmiles: str
    first: int
    second: int
    key: str = ""


class Made(NamedTuple):
    """What came of a block."""

    rule: int
    pairs: int
    rows: list[Row]
    left_out: Counter[str]


class Plan:
    """The rules that find their monomers in a list, and the pairs to try.

    Parameters
    ----------
    smiles : sequence of str
        Canonical SMILES of the monomers.
    classes : sequence of tuple of str
        The monomer classes of each.
    spec : CandidateSpec
    """

    def __init__(self, smiles: list[str], classes: list[tuple[str, ...]], spec: CandidateSpec) -> None:
        self.smiles, self.classes, self.spec = smiles, classes, spec
        rules = [rule for rule in rules_for(spec.classes) if rule.second or spec.homopolymers]
        members: dict[str, list[int]] = {"": []}
        for rule in rules:
            for name in (rule.first, rule.second):
                if name not in members:
                    members[name] = [place for place, of in enumerate(classes) if name in of]
        self.members = {
            name: dict.fromkeys(places) for name, places in members.items()
        }  # in order, and quick to look up
        self.wanted = rules
        self.rules = [rule for rule in rules if members[rule.first] and (not rule.second or members[rule.second])]

    def pairs(self, rule: Rule) -> int:
        """Count the pairs that a rule is tried on, each once; of a rule for one monomer, the monomers."""
        first, second = self.members[rule.first], self.members[rule.second]
        if not rule.second:
            return len(first)
        both = len(first.keys() & second.keys())
        return len(first) * len(second) - both - both * (both - 1) // 2

    def takes(self, rule: Rule, first: int, second: int) -> bool:
        """Return whether a rule takes two monomers in this order; of a rule for one, ``second`` is -1."""
        if not rule.second:
            return second < 0 and first in self.members[rule.first]
        return second >= 0 and first in self.members[rule.first] and second in self.members[rule.second]

    def blocks(self) -> Iterator[Block]:
        """Yield all pairs, in order."""
        for number, rule in enumerate(self.rules):
            if not rule.second:
                yield from _sliced(number, -1, list(self.members[rule.first]))
                continue
            for first in self.members[rule.first]:
                # Where both orders are possible they are tried together, with the earlier monomer.
                turned = first in self.members[rule.second]
                others = [
                    other
                    for other in self.members[rule.second]
                    if other != first and not (turned and other < first and other in self.members[rule.first])
                ]
                yield from _sliced(number, first, others)


def _sliced(rule: int, first: int, places: list[int]) -> Iterator[Block]:
    for start in range(0, len(places), _BLOCK):
        yield Block(rule, first, tuple(places[start : start + _BLOCK]))


class Maker:
    """Makes the candidates of a block."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.spec = plan, plan.spec
        self._mol = lru_cache(maxsize=_MOLS)(Chem.MolFromSmiles)
        self._found: dict[tuple[int, int, int], list[Half] | None] = {}

    def make(self, block: Block) -> Made:
        """Return the candidates of every pair of a block."""
        rows: list[Row] = []
        left_out: Counter[str] = Counter()
        for other in block.others:
            pair = (other, -1) if block.first < 0 else (block.first, other)
            skipped: Counter[str] = Counter()
            found, before = self._products(block.rule, *pair, skipped), dict[str, tuple[int, int]]()
            for earlier in range(block.rule):
                before |= self._products(earlier, *pair, Counter())
            products = [Row(text, *places) for text, places in found.items() if text not in before]
            if not found and not skipped:
                left_out[NO_PRODUCT] += 1
            left_out.update(skipped)
            rows += products if self.spec.raw else self._readable(products, list(before), left_out)
        return Made(block.rule, len(block.others), rows, left_out)

    def _products(self, number: int, first: int, second: int, skipped: Counter[str]) -> dict[str, tuple[int, int]]:
        """Return what a rule makes of a pair, in both orders where it takes both: text to monomers in their order."""
        rule, plan = self.plan.rules[number], self.plan
        orders = [(first, second), (second, first)] if second >= 0 else [(first, -1)]
        if rule.first == rule.second and not self.spec.raw:
            orders = orders[:1]  # the other order is the same chain, read from the next monomer on
        products: dict[str, tuple[int, int]] = {}
        for a, b in orders:
            if plan.takes(rule, a, b):
                for text in self._texts(number, a, b, skipped):
                    products.setdefault(text, (a, b))
        return products

    def _texts(self, number: int, first: int, second: int, skipped: Counter[str]) -> Iterable[str]:
        """Return the repeat units of a pair, from their halves where that is the same."""
        rule, mol = self.plan.rules[number], self._mol
        if second < 0:
            return homopolymers(rule, mol(self.plan.smiles[first]))
        ones, others = self._halves(number, 0, first), self._halves(number, 1, second)
        if ones is not None and others is not None:
            joined = self._joined(ones, others, skipped)
            if not any(one.two_ways or other.two_ways for one, other in joined):
                return dict.fromkeys(text for pair in joined if (text := join(*pair)))
            skipped.clear()
        return copolymers(rule, mol(self.plan.smiles[first]), mol(self.plan.smiles[second]))

    def _joined(self, ones: list[Half], others: list[Half], skipped: Counter[str]) -> list[tuple[Half, Half]]:
        """Return the halves to join; what would be refused or be there twice is told from them, and not made."""
        if self.spec.raw:
            return list(product(ones, others))
        kept = []
        for (i, one), (j, other) in product(enumerate(ones), enumerate(others)):
            stars = one.stars + other.stars
            if stars not in (2, 4):
                skipped["attachment points"] += 1
            elif stars == 4 and one.saturated and other.saturated:
                skipped["network"] += 1
            elif min(one.turned, other.turned) >= 0 and (one.turned, other.turned) < (i, j):
                skipped[SAME_POLYMER] += 1
            else:
                kept.append((one, other))
        return kept

    def _halves(self, number: int, side: int, monomer: int) -> list[Half] | None:
        place = (number, side, monomer)
        if place not in self._found:
            self._found[place] = halves(self.plan.rules[number], side, self._mol(self.plan.smiles[monomer]))
        return self._found[place]

    def _readable(self, products: list[Row], before: list[str], left_out: Counter[str]) -> list[Row]:
        """Keep what polyml can read, and of several texts for one polymer the first."""
        units = [(row, unit) for row in products if (unit := _parse(row.psmiles, left_out)) is not None]
        if not self.spec.unique and len(units) + len(before) < 2:
            return [row for row, _ in units]
        known = {key for text in before if (unit := _parse(text)) is not None and (key := _key(unit)) is not None}
        kept = []
        for row, unit in units:
            key = _key(unit, left_out)
            if key is None:
                continue
            if key in known:
                left_out[SAME_POLYMER] += 1
                continue
            known.add(key)
            kept.append(row._replace(key=key if self.spec.unique else ""))
        return kept


def _parse(text: str, left_out: Counter[str] | None = None) -> RepeatUnit | None:
    try:
        return RepeatUnit.parse(text)
    except RepeatUnitError as error:
        reason = error.reason
    except Exception:  # RDKit can fail in its own ways; one product must never cost the others
        reason = "failed"
    if left_out is not None:
        left_out[reason] += 1
    return None


def _key(unit: RepeatUnit, left_out: Counter[str] | None = None) -> str | None:
    try:
        return unit.key
    except Exception:
        if left_out is not None:
            left_out["failed"] += 1
        return None


_maker: list[Maker] = []


def start_worker(smiles: list[str], classes: list[tuple[str, ...]], spec: CandidateSpec) -> None:
    """Prepare this process to make blocks."""
    _maker[:] = [Maker(Plan(smiles, classes, spec))]


def make_in_worker(block: Block) -> Made:
    """Make a block in a process that was prepared."""
    return _maker[0].make(block)
