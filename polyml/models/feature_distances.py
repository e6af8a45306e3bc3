"""Distances between polymers, one for each featurizer, in comparable units: what the Gaussian processes read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyml.models.scaling import signed_root
from polyml.models.tabular import FeatureKeys, informative_columns

_MIN_POLYMERS = 2  # a column that a single polymer shows tells nothing of others
_CLIP = 5.0  # standard deviations; beyond, a descriptor of a strange candidate would rule all distances
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class FeatureBlock:
    """The columns of one featurizer: which are kept, and how they are scaled to comparable distances."""

    columns: np.ndarray
    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray) -> FeatureBlock:
        """Choose and scale columns of the training features (n, d)."""
        columns = informative_columns(x, _MIN_POLYMERS)
        root = signed_root(x[:, columns])
        if (root >= 0).all():  # counts: a common environment is common for all, only rare ones need no boost
            return cls(columns, np.zeros(len(columns), np.float32), np.ones(len(columns), np.float32))
        spread = root.std(axis=0)
        kept = spread > 0
        columns, root, spread = columns[kept], root[:, kept], spread[kept]
        return cls(columns, root.mean(axis=0), (1.0 / (spread * np.sqrt(max(len(columns), 1)))).astype(np.float32))

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Return the points between which distances are taken, (n, kept columns)."""
        root = signed_root(x[:, self.columns])
        if self.shift.any():
            limit = _CLIP / np.sqrt(len(self.columns))
            root = np.clip((root - self.shift) * self.scale, -limit, limit)
        return root


@dataclass(frozen=True)
class FeatureDistances:
    """Squared distances to the training polymers, one matrix a featurizer.

    They are those between square roots of counts (the Hellinger distance of environment frequencies) and between
    standardised descriptors.

    Attributes
    ----------
    keys : tuple of str
        The featurizers.
    blocks : tuple of FeatureBlock
    points : tuple of ndarray
        The training polymers in each block, (m, kept columns).
    widths : tuple of float
        Median squared distance between training polymers in each block.
    """

    keys: tuple[str, ...]
    blocks: tuple[FeatureBlock, ...]
    points: tuple[np.ndarray, ...]
    widths: tuple[float, ...]

    @classmethod
    def fit(cls, features: FeatureKeys, items: Sequence[Any]) -> tuple[FeatureDistances, list[np.ndarray]]:
        """Learn from the training polymers; return the distances between these too, float64 (m, m) a block."""
        keys = (features,) if isinstance(features, str) else tuple(features)
        raw = _featurize(keys, items)
        blocks = tuple(FeatureBlock.fit(x) for x in raw)
        points = tuple(np.ascontiguousarray(block.transform(x)) for block, x in zip(blocks, raw, strict=True))
        squares = [_squared_distances(own, own).astype(np.float64) for own in points]
        widths = tuple(float(np.median(square[square > 0])) if (square > 0).any() else 1.0 for square in squares)
        return cls(keys, blocks, points, widths), squares

    def parts(self, items: Sequence[Any]) -> Iterator[list[np.ndarray]]:
        """Yield the distances of some polymers at a time to the training polymers, float32 (rows, m) a block."""
        for at in range(0, len(items), _ROWS_AT_ONCE):
            raw = _featurize(self.keys, items[at : at + _ROWS_AT_ONCE])
            yield [
                _squared_distances(block.transform(x), points)
                for block, x, points in zip(self.blocks, raw, self.points, strict=True)
            ]

    def among_training(self, rows: int) -> Iterator[list[np.ndarray]]:
        """Yield the distances of ``rows`` training polymers at a time to all, float64 (rows, m) a block."""
        for at in range(0, len(self.points[0]), rows):
            yield [_squared_distances(p[at : at + rows], p).astype(np.float64) for p in self.points]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned as arrays; keys and :attr:`widths` are to be kept besides."""
        arrays: dict[str, np.ndarray] = {}
        for i, (block, points) in enumerate(zip(self.blocks, self.points, strict=True)):
            arrays |= {f"columns_{i}": block.columns, f"shift_{i}": block.shift, f"scale_{i}": block.scale}
            arrays[f"points_{i}"] = points
        return arrays

    @classmethod
    def restore(
        cls, features: FeatureKeys, widths: Sequence[float], arrays: Mapping[str, np.ndarray]
    ) -> FeatureDistances:
        """Build from what :meth:`arrays` returned."""
        keys = (features,) if isinstance(features, str) else tuple(features)
        blocks = tuple(
            FeatureBlock(*(arrays[f"{part}_{i}"] for part in ("columns", "shift", "scale"))) for i in range(len(keys))
        )
        return cls(keys, blocks, tuple(arrays[f"points_{i}"] for i in range(len(keys))), tuple(widths))


def _featurize(keys: Sequence[str], items: Sequence[Any]) -> list[np.ndarray]:
    from polyml.features.batch import featurize

    return [np.asarray(featurize(key, items), dtype=np.float32) for key in keys]


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances between rows, (n, m), by one matrix product."""
    square = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    return np.maximum(square, 0.0, out=square)
