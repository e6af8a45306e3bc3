"""Near-identical polymers: the nearest ones of each, by Tanimoto similarity of periodic ECFP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from polyml.audit.divisions import Folds
from polyml.features import featurize
from polyml.progress import progress_bar

_BLOCK = 256
MOST_ROWS = 20_000
"""Rows up to which each row is compared with all others; of a larger file ``SAMPLED`` rows are."""
SAMPLED = 4_000
_ALONE = 20_000  # rows up to which features are made in this process, where the repeat units are parsed already
_K = 5
_NEAR = 0.6


@dataclass(frozen=True, eq=False)
class Near:
    """What the nearest polymers say of each row.

    Attributes
    ----------
    rows : ndarray of shape (m,)
        The rows that were compared, all unless the file is large.
    train_similarity : ndarray of shape (splits, m)
        Similarity to the nearest polymer in the training part of the fold that tests the row; NaN where none does.
    estimates : dict of str to ndarray of shape (m,)
        For each property the median value of the up to five nearest other polymers that have one (similarity of 0.6 at
        least); NaN where fewer than two are near.
    """

    rows: np.ndarray
    train_similarity: np.ndarray
    estimates: dict[str, np.ndarray]


def find_near(
    texts: Sequence[str],
    keys: Sequence[str],
    splits: Sequence[Folds],
    values: dict[str, np.ndarray],
    *,
    seed: int = 1,
    jobs: int = 1,
) -> Near:
    """Compare polymers with one another.

    Parameters
    ----------
    texts, keys : sequence of str
        pSMILES and canonical key of the rows; rows of one key are no neighbours of each other for the estimates.
    splits : sequence of Folds
    values : dict of str to ndarray of shape (n,)
        Properties on the modelled scale, with NaN.
    seed : int
        Of the rows that are drawn from a large file.
    jobs : int
        Processes for the features.
    """
    bits = np.asarray(featurize("ecfp", list(texts), jobs=jobs if len(texts) > _ALONE else 1), dtype=np.float32)
    codes = np.unique(np.asarray(keys), return_inverse=True)[1]
    rows = np.arange(len(bits))
    if len(bits) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(len(bits), SAMPLED, replace=False))
    nearest = np.full((len(splits), len(rows)), np.nan, dtype=np.float32)
    estimates = {name: np.full(len(rows), np.nan) for name in values}
    measured = {name: np.flatnonzero(~np.isnan(y)) for name, y in values.items()}
    for block, similarity in _similarities(bits, rows):
        for number, division in enumerate(splits):
            nearest[number, block] = _nearest_in_training(similarity, division, division.number[rows[block]])
        similarity[codes[rows[block]][:, None] == codes[None, :]] = -1.0
        for name, having in measured.items():
            estimates[name][block] = _estimate(similarity[:, having], values[name][having])
    return Near(rows, nearest, estimates)


def _similarities(bits: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield places in ``rows`` and the Tanimoto similarity of these rows to all, block by block."""
    sizes = bits.sum(axis=1)
    with progress_bar("Comparing polymers", len(rows)) as bar:
        for start in range(0, len(rows), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(rows)))
            shared = bits[rows[block]] @ bits.T
            union = sizes[rows[block]][:, None] + sizes[None, :] - shared
            yield block, np.divide(shared, union, out=np.ones_like(shared), where=union > 0)
            bar.advance(bar.task_ids[0], len(block))


def _nearest_in_training(similarity: np.ndarray, division: Folds, own: np.ndarray) -> np.ndarray:
    best = np.full(len(own), np.nan, dtype=np.float32)
    for fold in np.unique(own[own >= 0]):
        training = np.flatnonzero(division.training(int(fold)))
        tested = np.flatnonzero(own == fold)
        if len(training):
            best[tested] = similarity[np.ix_(tested, training)].max(axis=1)
    return best


def _estimate(similarity: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the median value of the nearest; NaN where fewer than two are near."""
    k = min(_K, similarity.shape[1])
    if k < 2:
        return np.full(len(similarity), np.nan)
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    near = np.take_along_axis(similarity, nearest, axis=1) >= _NEAR
    found = np.where(near, values[nearest], np.nan)
    enough = near.sum(axis=1) >= 2
    estimate = np.full(len(similarity), np.nan)
    estimate[enough] = np.nanmedian(found[enough], axis=1)
    return estimate
