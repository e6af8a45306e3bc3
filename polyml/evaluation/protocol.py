"""How far scores can be believed: the stamp that every comparison carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.chem import constitution_names

if TYPE_CHECKING:
    from polyml.data.splits import Fold, SplitSpec

PROTOCOLS: Mapping[str, str] = MappingProxyType(
    {
        "honest": "test folds never seen by training, scaling or selection",
        "paper": "networks keep the epoch that is best on the test fold: only to reproduce published figures",
    }
)
"""What a comparison may be asked for. One whose test folds are known to the models is stamped ``leaky`` besides."""
LEAKY = "leaky"
TOLERATED = 0.01
"""Share of the tested polymers that may stand on both sides of a fold before a comparison is called leaky."""

_GROUPED = "grouped by polymer"
_KINDS = {
    "rows": "rows shuffled as in published work, not grouped",
    "leave_one_group_out": "each value of a column tested on models that have seen none of its polymers",
    "time": "later rows tested on models of earlier ones",
    "extrapolation": "lowest and highest values tested on models of the others",
}


@dataclass(frozen=True)
class Protocol:
    """The stamp of a comparison.

    Attributes
    ----------
    stamp : {"honest", "paper", "leaky"}
    words : str
        How the scores were made.
    reasons : tuple of str
        Why it is leaky.
    """

    stamp: str
    words: str
    reasons: tuple[str, ...] = ()

    def as_options(self) -> dict[str, Any]:
        """Return what the options of a comparison hold of it."""
        return {"protocol": {self.stamp: self.words}, "leaks": list(self.reasons)}


def stamp(
    asked: str,
    split: SplitSpec,
    folds: Sequence[Fold],
    keys: Sequence[str],
    *,
    known_properties: bool = False,
    leaks: Sequence[str] = (),
) -> Protocol:
    """Judge how scores on these folds are made.

    Parameters
    ----------
    asked : str
        Name from :data:`PROTOCOLS`.
    split : SplitSpec
    folds : sequence of Fold
    keys : sequence of str
        Canonical key of each row.
    known_properties : bool
        Whether the models are given other properties of test polymers.
    leaks : sequence of str
        What is known besides that tells models of test polymers.

    Examples
    --------
    >>> from polyml.data.splits import Fold, SplitSpec
    >>> folds = [Fold(0, 0, np.array([0, 1]), np.array([2])), Fold(0, 1, np.array([0, 2]), np.array([1]))]
    >>> stamp("honest", SplitSpec(kind="rows", folds=2), folds, ["*CC*", "*CO*", "*CO*"]).reasons
    ('1 of 1 tested polymers stands in the training part of the same fold',)
    """
    shared, tested = shared_polymers(folds, keys)
    reasons = list(leaks)
    if shared > TOLERATED * tested:
        stand = "stands" if shared == 1 else "stand"
        reasons.insert(0, f"{shared} of {tested} tested polymers {stand} in the training part of the same fold")
    parts = [_KINDS.get(split.kind, _GROUPED)]
    if shared and not reasons:
        parts[0] += f" ({shared} of {tested} polymers on both sides of a fold; honest up to {100 * TOLERATED:g} %)"
    elif split.kind == "rows" and not shared:
        parts[0] += " (no polymer on both sides of a fold)"
    parts.append(PROTOCOLS[asked])
    if known_properties:
        parts.append("for each property of a test polymer its other measured properties are given")
    if reasons:
        parts = [parts[0], *reasons, *([PROTOCOLS[asked]] if asked != "honest" else []), *parts[2:]]
    return Protocol(LEAKY if reasons else asked, "; ".join(parts), tuple(reasons))


def run_tags(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags by which a tracked run carries the stamp that is in the options of a comparison.

    Examples
    --------
    >>> run_tags({"protocol": {"honest": "grouped by polymer"}})
    {'polyml.protocol': 'honest', 'polyml.protocol_words': 'grouped by polymer'}
    """
    ((stamped, words),) = options["protocol"].items()
    return {"polyml.protocol": stamped, "polyml.protocol_words": words}


def shared_polymers(folds: Sequence[Fold], keys: Sequence[str]) -> tuple[int, int]:
    """Count the polymers that stand on both sides of a fold, and those that are tested.

    Polymers unlike in configurations alone count as one: no feature tells them apart.
    """
    names = np.asarray(constitution_names(keys), dtype=object)
    shared: set[str] = set()
    tested: set[str] = set()
    for fold in folds:
        own = set(names[fold.test])
        shared |= own & set(names[fold.train])
        tested |= own
    return len(shared), len(tested)
