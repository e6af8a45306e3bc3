"""The stream of candidates as tables, and the count of what became of the pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from polyml.design.monomers import Monomers
from polyml.design.polymerisation import Block, CandidateSpec, Made, Maker, Plan, Row, make_in_worker, start_worker
from polyml.errors import UserError
from polyml.interrupts import interrupts_of_rdkit
from polyml.progress import progress_bar
from polyml.workers import call_in_order

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("psmiles", "monomer_1", "monomer_2", "polymer_class")
"""Columns of a table of candidates, as in the embedded set ``candidates``."""
MADE_BEFORE = "same polymer from other monomers"
_FEW = 3000  # pairs for which processes are not worth their start
_AT_A_TIME = 50_000  # rows of a table
_SHOWN = 4  # classes that a message names


@dataclass
class Tally:
    """What became of the pairs, filled while the candidates are made.

    Attributes
    ----------
    pairs, candidates : Counter of str
        Pairs tried (of rules for one monomer, monomers) and rows written, by polymer class.
    left_out : dict of str to Counter of str
        Products left out, by polymer class and reason.
    all_pairs : int
        Pairs there are.
    stopped : bool
        Whether the limit of rows was reached before all pairs were tried.
    """

    pairs: Counter[str] = field(default_factory=Counter)
    candidates: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)
    all_pairs: int = 0
    stopped: bool = False

    def reasons(self) -> dict[str, int]:
        """Count what was left out by reason, the most frequent first."""
        total: Counter[str] = Counter()
        for counts in self.left_out.values():
            total.update(counts)
        return dict(total.most_common())

    def as_json(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        classes = {
            name: {
                "pairs": self.pairs[name],
                "candidates": self.candidates[name],
                "left_out": self.left_out[name].total(),
            }
            for name in self.pairs
        }
        totals = {"pairs": self.all_pairs, "pairs_tried": self.pairs.total(), "candidates": self.candidates.total()}
        return {**totals, "stopped": self.stopped, "classes": classes, "left_out": self.reasons()}


def make_candidates(
    monomers: Monomers,
    spec: CandidateSpec | None = None,
    *,
    tally: Tally | None = None,
    jobs: int = 1,
    rows_at_a_time: int = _AT_A_TIME,
) -> Generator[pd.DataFrame, None, None]:
    """Make the candidates of a list of monomers, a table at a time.

    Parameters
    ----------
    monomers : Monomers
        See :func:`polyml.design.monomers.read_monomers`.
    spec : CandidateSpec, optional
    tally : Tally, optional
        Filled with what became of the pairs.
    jobs : int
        Processes; the rows and their order do not depend on it.
    rows_at_a_time : int
        Rows of a table; the last one may have fewer.

    Yields
    ------
    DataFrame
        Columns psmiles, monomer_1, monomer_2 (missing for a single monomer), polymer_class, and monomer_1_name and
        monomer_2_name where the monomers have names.

    Raises
    ------
    UserError
        No rule finds its monomers, or nothing that was made can be kept; the message says what would help.

    Examples
    --------
    >>> monomers = Monomers(["NCCN", "O=C(O)CC(=O)O"], ["", ""], [("diamin",), ("diCOOH",)])
    >>> [list(frame["psmiles"]) for frame in make_candidates(monomers)]
    [['*NCCNC(=O)CC(*)=O']]
    """
    spec, tally = spec or CandidateSpec(), Tally() if tally is None else tally
    plan = Plan(monomers.smiles, monomers.classes, spec)
    if not plan.rules:
        raise _nothing_to_do(plan, monomers)
    tally.all_pairs = sum(map(plan.pairs, plan.rules))
    filled: set[str] = set()  # classes that have their rows
    blocks = (block for block in plan.blocks() if plan.rules[block.rule].polymer_class not in filled)
    rows: list[tuple[Row, str]] = []
    with progress_bar("pairs of monomers", tally.all_pairs) as bar, closing(_made(plan, blocks, jobs)) as results:
        for row, name in _kept(plan, results, tally, filled, lambda n: bar.advance(bar.task_ids[0], n)):
            rows.append((row, name))
            if len(rows) == rows_at_a_time:
                yield _frame(rows, monomers)
                rows = []
    if not tally.candidates.total():
        raise _nothing_made(tally, monomers)
    if rows:
        yield _frame(rows, monomers)


def _made(plan: Plan, blocks: Iterator[Block], jobs: int) -> Generator[Made, None, None]:
    """Make the blocks, in order, here or in processes."""
    if jobs == 1 or sum(map(plan.pairs, plan.rules)) < _FEW:
        maker = Maker(plan)
        with interrupts_of_rdkit() as check:
            for block in blocks:
                made = maker.make(block)
                check()
                yield made
        return
    given = (plan.smiles, plan.classes, plan.spec)
    fix = "run it again with fewer --jobs"
    with closing(call_in_order(make_in_worker, blocks, jobs, start=start_worker, given=given, fix=fix)) as results:
        yield from results


def _kept(
    plan: Plan, results: Iterator[Made], tally: Tally, filled: set[str], advance: Any
) -> Iterator[tuple[Row, str]]:
    """Yield the rows to write with their class, and count."""
    spec, seen = plan.spec, set[bytes]()
    for made in results:
        name = plan.rules[made.rule].polymer_class
        advance(made.pairs)
        if name in filled:  # made ahead
            continue
        tally.pairs[name] += made.pairs
        left_out = tally.left_out.setdefault(name, Counter())
        left_out.update(made.left_out)
        for row in made.rows:
            if spec.unique:
                digest = blake2b(row.key.encode(), digest_size=8).digest()
                if digest in seen:
                    left_out[MADE_BEFORE] += 1
                    continue
                seen.add(digest)
            tally.candidates[name] += 1
            yield row, name
            if tally.candidates.total() == spec.limit:
                tally.stopped = True
                return
            if tally.candidates[name] == spec.per_class:
                tally.stopped = True
                filled.add(name)
                break


def _frame(rows: Sequence[tuple[Row, str]], monomers: Monomers) -> pd.DataFrame:
    import pandas as pd

    smiles, names = [*monomers.smiles, None], [*monomers.names, None]  # -1 stands for no monomer
    columns: dict[str, list[str | None]] = {
        "psmiles": [row.psmiles for row, _ in rows],
        "monomer_1": [smiles[row.first] for row, _ in rows],
        "monomer_2": [smiles[row.second] for row, _ in rows],
        "polymer_class": [name for _, name in rows],
    }
    if monomers.named:
        columns["monomer_1_name"] = [names[row.first] or None for row, _ in rows]
        columns["monomer_2_name"] = [names[row.second] or None for row, _ in rows]
    # Text even where all cells are missing: the parts of one file must have one type.
    return pd.DataFrame({name: pd.array(values, dtype="string") for name, values in columns.items()})


def _nothing_to_do(plan: Plan, monomers: Monomers) -> UserError:
    """Say which partners are missing."""
    there = monomers.class_counts()
    missing = []
    for rule in plan.wanted:
        for one, other in ((rule.first, rule.second), (rule.second, rule.first)):
            if plan.members[one] and other and not plan.members[other]:
                missing.append(f"{other} for {rule.polymer_class} with {one}")
    found = ", ".join(f"{name} ({n})" for name, n in there.items())
    what = f"no rule finds all its monomers; the list has: {found or 'none that a rule takes'}"
    others = f"add monomers: {'; '.join(missing[:_SHOWN])}" if missing else "add monomers, or ask for other classes"
    return UserError(
        what, where=monomers.source or None, fix=f"{others} (polyml candidates --list-classes explains them)"
    )


def _nothing_made(tally: Tally, monomers: Monomers) -> UserError:
    reasons = ", ".join(f"{reason} ({n:,})" for reason, n in tally.reasons().items())
    return UserError(
        f"none of {tally.all_pairs:,} pairs makes a polymer that polyml can read: {reasons}",
        where=monomers.source or None,
        fix="add monomers with one polymerisable group, or two of a kind; --raw keeps networks",
    )
