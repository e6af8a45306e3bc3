"""The applicability domain of a model: how near a polymer is to those that the model was trained on.

A model is asked about a polymer unlike any it has seen, and answers with the same confidence. The *domain score* of a
polymer is its mean Tanimoto similarity to the five nearest training polymers: a density of training polymers, in the
space of binary periodic ECFP. The training polymers themselves, each compared with the others, say which scores are
usual: a polymer is ``outside`` the domain when its score is below those of 99 % of them, at the ``edge`` when it is
below those of 95 %, and ``inside`` otherwise. A polymer with an element that none of them has is ``outside``, whatever
its score. The model and the measured values have no part in this.

Sheridan et al.: Similarity to molecules in the training set is a good discriminator for prediction accuracy in QSAR.
J. Chem. Inf. Comput. Sci. 44, 1912 (2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyml.chem import RepeatUnit, ensure_units
from polyml.errors import DAMAGED, UserError

NEIGHBOURS = 5
EDGE, OUTSIDE = 0.05, 0.01
"""Parts of the training polymers that are at the edge of the domain or beyond, and outside."""
VERDICTS = ("inside", "edge", "outside")
FILE = "domain.json"
ARRAYS = "domain.safetensors"
_FEATURES = "ecfp"
_ELEMENTS = 119  # atomic numbers from 0
_BLOCK = 256  # polymers compared with the whole training set at once; bounds the memory
_COMPARED = 2000  # training polymers from which the limits are learned: enough for their hundredth part


class DomainLimits(BaseModel):
    """What the training polymers, each left out in turn, say about usual scores; the content of ``domain.json``.

    Attributes
    ----------
    features : {"ecfp"}
    neighbours : int
        Training polymers over which the similarity is averaged.
    edge, outside : float
        A polymer with a lower score is at the edge, or outside.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: Literal["ecfp"] = "ecfp"
    neighbours: int = Field(default=NEIGHBOURS, ge=1)
    edge: float = Field(ge=0, le=1)
    outside: float = Field(ge=0, le=1)

    def save(self, path: Path) -> None:
        """Write the limits as JSON."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> DomainLimits:
        """Read what :meth:`save` wrote; a :class:`UserError` says what is wrong with the file."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            what = f"the limits of the applicability domain cannot be read: {error}"
            raise UserError(what, where=str(path), fix=DAMAGED) from error


@dataclass(frozen=True)
class DomainScores:
    """Where ``n`` polymers stand to the training polymers.

    Attributes
    ----------
    similarity : ndarray of shape (n,)
        Tanimoto similarity to the nearest training polymer: 1 for the same set of environments.
    nearest : ndarray of int, shape (n,)
        Row of that polymer among the training polymers; -1 where there are none.
    score : ndarray of shape (n,)
        Mean similarity to the nearest training polymers, from 0 to 1.
    verdict : ndarray of str, shape (n,)
        ``inside``, ``edge`` or ``outside``.
    """

    similarity: np.ndarray
    nearest: np.ndarray
    score: np.ndarray
    verdict: np.ndarray


class ApplicabilityDomain:
    """The training polymers of a model, and how far from them it can be asked.

    Parameters
    ----------
    bits : ndarray of shape (m, d)
        Fingerprints of the training polymers; see :func:`fingerprints`.
    keys : sequence of str, optional
        Their canonical keys: rows of one key are one polymer, and no neighbours of each other.
    limits : DomainLimits, optional
        Learned from the training polymers when not given.
    known : ndarray of bool, shape (119,), optional
        Which elements the training polymers have, by atomic number; see :func:`elements`. All when not given.

    Examples
    --------
    >>> domain = ApplicabilityDomain.fit(["*CC*", "*CC(*)C", "*CC(*)CC", "*CC(*)CCC", "*CC(*)CCCC"])
    >>> found = domain.judge(["*C(C)C*", "*c1ccc(S(=O)(=O)c2ccc(*)cc2)cc1"])
    >>> found.similarity.tolist(), found.nearest.tolist(), found.verdict.tolist()
    ([1.0, 0.0], [1, 0], ['inside', 'outside'])
    """

    def __init__(
        self,
        bits: np.ndarray,
        keys: Sequence[str] | None = None,
        limits: DomainLimits | None = None,
        known: np.ndarray | None = None,
    ) -> None:
        self._bits = np.asarray(bits, dtype=np.float32)
        self._keys, self._limits, self._known = keys, limits, known

    @classmethod
    def fit(
        cls,
        polymers: Sequence[str | RepeatUnit],
        keys: Sequence[str] | None = None,
        limits: DomainLimits | None = None,
    ) -> ApplicabilityDomain:
        """Build the domain of training polymers."""
        return cls(fingerprints(polymers), keys, limits, np.logical_or.reduce(elements(polymers)))

    def save(self, path: Path) -> None:
        """Write the fingerprints and elements of the training polymers; the limits have a file of their own."""
        from safetensors.numpy import save

        known = np.ones(_ELEMENTS, dtype=bool) if self._known is None else self._known
        bits = np.packbits(self._bits > 0, axis=1)
        path.write_bytes(save({"bits": np.ascontiguousarray(bits), "elements": known.astype(np.uint8)}))

    @classmethod
    def load(cls, path: Path, keys: Sequence[str], limits: DomainLimits | None) -> ApplicabilityDomain:
        """Read what :meth:`save` wrote: quicker than to read the training polymers again.

        Raises
        ------
        UserError
            The file cannot be read, or is about another number of polymers.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays = load_file(path)
            bits, known = np.unpackbits(arrays["bits"], axis=1), arrays["elements"].astype(bool)
            if len(bits) != len(keys) or known.shape != (_ELEMENTS,):
                raise ValueError(f"{len(bits)} fingerprints of {len(keys)} training polymers")
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            what = f"the fingerprints of the training polymers cannot be read: {error}"
            raise UserError(what, where=str(path), fix=DAMAGED) from error
        return cls(bits, keys, limits, known)

    @cached_property
    def limits(self) -> DomainLimits:
        """The limits of the verdicts."""
        return self._limits or self._learned_limits()

    def judge(self, polymers: Sequence[str | RepeatUnit]) -> DomainScores:
        """Compare polymers with the training polymers."""
        return self.judge_fingerprints(fingerprints(polymers), elements(polymers))

    def judge_fingerprints(self, bits: np.ndarray, present: np.ndarray | None = None) -> DomainScores:
        """Compare polymers, by their :func:`fingerprints` (n, d) and :func:`elements`, with the training polymers."""
        similarity, nearest, score = (np.full(len(bits), fill) for fill in (np.nan, -1, np.nan))
        if not len(self._bits):
            return DomainScores(similarity, nearest, score, np.full(len(bits), "outside"))
        limits = self.limits
        for start in range(0, len(bits), _BLOCK):
            block, rows = _tanimoto(bits[start : start + _BLOCK], self._bits), slice(start, start + _BLOCK)
            similarity[rows], nearest[rows] = block.max(axis=1), block.argmax(axis=1)
            score[rows] = _mean_of_largest(block, limits.neighbours)
        place = (score < limits.edge).astype(int) + (score < limits.outside)
        if present is not None and self._known is not None:
            place[(present & ~self._known).any(axis=1)] = len(VERDICTS) - 1
        return DomainScores(similarity, nearest, score, np.array(VERDICTS)[place])

    def _learned_limits(self) -> DomainLimits:
        """Score each training polymer (some, where there are many) against the others, and take the lowest parts."""
        labels = (
            np.arange(len(self._bits)) if self._keys is None else np.unique(list(self._keys), return_inverse=True)[1]
        )
        different = len(np.unique(labels))
        if different < 2:
            return DomainLimits(neighbours=1, edge=1.0, outside=1.0)
        rows = np.arange(len(labels))
        if len(rows) > _COMPARED:
            rows = np.sort(np.random.default_rng(0).choice(rows, _COMPARED, replace=False))
        neighbours, scores = min(NEIGHBOURS, different - 1), []
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            block = _tanimoto(self._bits[part], self._bits)
            block[labels[part][:, None] == labels[None, :]] = 0.0  # itself
            scores.append(_mean_of_largest(block, neighbours))
        edge, outside = np.quantile(np.concatenate(scores), [EDGE, OUTSIDE], method="lower")
        return DomainLimits(neighbours=neighbours, edge=float(edge), outside=float(outside))


def fingerprints(polymers: Sequence[str | RepeatUnit]) -> np.ndarray:
    """Return the binary periodic ECFP by which polymers are compared, shape (n, d)."""
    from polyml.features.batch import featurize

    return np.asarray(featurize(_FEATURES, list(polymers)), dtype=np.float32)


def elements(polymers: Sequence[str | RepeatUnit]) -> np.ndarray:
    """Return which elements polymers have besides hydrogen, bool of shape (n, 119), by atomic number.

    Examples
    --------
    >>> [np.flatnonzero(row).tolist() for row in elements(["*CC*", "*[Si](C)(C)O*"])]
    [[6], [6, 8, 14]]
    """
    found = np.zeros((len(polymers), _ELEMENTS), dtype=bool)
    for row, unit in zip(found, ensure_units(polymers), strict=True):
        row[[atom.GetAtomicNum() for atom in unit.mol.GetAtoms()]] = True
    found[:, :2] = False  # attachment points and hydrogen
    return found


def _tanimoto(bits: np.ndarray, known: np.ndarray) -> np.ndarray:
    shared = bits @ known.T
    union = bits.sum(axis=1)[:, None] + known.sum(axis=1)[None, :] - shared
    return np.divide(shared, union, out=np.ones_like(shared), where=union > 0)


def _mean_of_largest(block: np.ndarray, count: int) -> np.ndarray:
    count = min(count, block.shape[1])
    largest = np.partition(block, block.shape[1] - count, axis=1)[:, block.shape[1] - count :]
    # In order, so that a polymer gets the same sum in every company.
    mean: np.ndarray = np.sort(largest, axis=1).astype(np.float64).mean(axis=1)
    return mean
